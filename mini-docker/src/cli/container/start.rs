//! `start`: a container that exists runs, perhaps before the user's eyes.

use anyhow::Result;
use clap::{ArgAction, Args};

use super::each::failed;
use crate::attach::{self, Manner};
use crate::cli::table;
use crate::container::{self, First, act};
use crate::containers::Containers;
use crate::create::options::parse_bool;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::record::Record;

#[derive(Debug, Args)]
pub(in crate::cli) struct Start {
    /// Show its output, pass signals on, and wait for its end
    #[arg(short, long)]
    attach: bool,
    /// As -a, and send it what is typed
    #[arg(short, long)]
    interactive: bool,
    /// Pass signals on to the process
    #[arg(long, num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(default_value = "true", default_missing_value = "true", hide_default_value = true)]
    #[arg(value_parser = parse_bool, value_name = "BOOL")]
    sig_proxy: bool,
    /// Keys that leave the container alone [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Start {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        if self.containers.len() > 1 && (self.attach || self.interactive) {
            return Err(Failure::new("you cannot start and attach multiple containers at once")
                .hint("name one, or leave out -a and -i")
                .into());
        }
        let mut first_bad = 0;
        for key in &self.containers {
            let code = self.start(engine, key);
            // As Docker: 127 for a missing command is what `run` says.
            let code = code.unwrap_or_else(|error| failed(&error));
            if first_bad == 0 {
                first_bad = code;
            }
        }
        Ok(first_bad)
    }

    fn start(&self, engine: &Engine, key: &str) -> Result<u8> {
        let record = Containers::new(engine).find(key)?;
        let attached = self.attach || self.interactive;
        let manner = Manner {
            stdin: self.interactive && record.interactive,
            terminal: record.terminal,
            sig_proxy: self.sig_proxy,
            detach_keys: attach::detach_keys(self.detach_keys.as_deref())?,
        };
        let first = First {
            attached,
            stdin: manner.stdin,
            interactive: record.interactive,
            stdin_once: manner.stdin,
            size: attach::first_size(),
        };
        let Some(visitor) = container::start_again(engine, &record.id, first)? else {
            return self.is_running(engine, &record, key, manner);
        };
        if attached {
            return attach::see_through(&visitor, manner);
        }
        attach::until_started(&visitor)?;
        table::print(&format!("{key}\n"));
        Ok(0)
    }

    /// It runs already, which is what is wanted.
    fn is_running(
        &self,
        engine: &Engine,
        record: &Record,
        key: &str,
        manner: Manner,
    ) -> Result<u8> {
        let record = &Containers::new(engine).load(&record.id)?;
        if act::is_paused(engine, record) {
            return Err(Failure::new(format!(
                "cannot start container {}: it is paused",
                record.name
            ))
            .hint(format!("let it go on: mini-docker unpause {}", record.name))
            .into());
        }
        if self.attach || self.interactive {
            return attach::join(engine, record, manner);
        }
        table::print(&format!("{key}\n"));
        Ok(0)
    }
}
