//! `attach`: before a container that runs.

use anyhow::Result;
use clap::{ArgAction, Args};

use crate::attach::{self, Manner};
use crate::container::act;
use crate::containers::Containers;
use crate::create::options::parse_bool;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::record::{Record, Status};

#[derive(Debug, Args)]
pub(in crate::cli) struct Attach {
    /// Send it nothing of what is typed
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the process
    #[arg(long, num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(default_value = "true", default_missing_value = "true", hide_default_value = true)]
    #[arg(value_parser = parse_bool, value_name = "BOOL")]
    sig_proxy: bool,
    /// Keys that leave the container alone [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Its name or id
    container: String,
}

impl Attach {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let record = Containers::new(engine).find(&self.container)?;
        let manner = Manner {
            stdin: !self.no_stdin && record.interactive,
            terminal: record.terminal,
            sig_proxy: self.sig_proxy,
            detach_keys: attach::detach_keys(self.detach_keys.as_deref())?,
        };
        check(engine, &record)?;
        super::check_keyboard(manner.terminal && manner.stdin)?;
        attach::join(engine, &record, manner)
    }
}

fn check(engine: &Engine, record: &Record) -> Result<()> {
    let name = &record.name;
    let failure = match record.status {
        Status::Running { .. } if act::is_paused(engine, record) => {
            Failure::new(format!("cannot attach to container {name}: it is paused"))
                .hint(format!("let it go on: mini-docker unpause {name}"))
        }
        Status::Running { .. } => return Ok(()),
        Status::Restarting { .. } => {
            Failure::new(format!("cannot attach to container {name}: it is restarting"))
                .hint("wait until it runs")
        }
        Status::Created | Status::Exited { .. } => {
            Failure::new(format!("cannot attach to container {name}: it is not running"))
                .hint(format!("start it: mini-docker start -a {name}"))
        }
    };
    Err(failure.into())
}
