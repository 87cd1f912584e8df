//! `exec`, also as `container exec`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::check_keyboard;
use crate::attach::{self, Manner};
use crate::container::First;
use crate::containers::Containers;
use crate::engine::Engine;
use crate::exec::{self, Request};
use crate::terminal::Streams;

#[derive(Debug, Args)]
pub(in crate::cli) struct Exec {
    /// Run it in the background
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave it alone [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Set an environment variable, or pass on the one of that name
    #[arg(short, long, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// Give it all capabilities
    #[arg(long)]
    privileged: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// User and group, by name or number [default: the container's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Working directory inside [default: the container's]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Container, then command and arguments; flags end here
    #[arg(required = true, num_args = 2.., trailing_var_arg = true)]
    #[arg(value_names = ["CONTAINER", "COMMAND"])]
    container: Vec<String>,
}

impl Exec {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let Self { interactive, tty: terminal, detach, .. } = self;
        if !detach {
            check_keyboard(terminal && interactive)?;
        }
        let detach_keys = attach::detach_keys(self.detach_keys.as_deref())?;
        let record = Containers::new(engine).find(&self.container[0])?;
        let request = Request {
            args: self.container[1..].to_vec(),
            terminal,
            user: self.user,
            env_files: self.env_file,
            env: self.env,
            workdir: self.workdir,
            privileged: self.privileged,
        };
        // What has a terminal, or nobody before it, is given no stream of ours.
        let streams = match terminal || detach {
            true => Streams::default(),
            false => Streams::plain(interactive)?,
        };
        let stdin = !detach && interactive && (terminal || streams.carries_input());
        let first = First {
            attached: !detach,
            stdin,
            interactive,
            stdin_once: true,
            size: attach::first_size(),
        };
        let visitor = exec::launch(engine, &record, &request, streams, first)?;
        if detach {
            attach::until_started(&visitor)?;
            return Ok(0);
        }
        attach::see_through(&visitor, Manner { stdin, terminal, sig_proxy: false, detach_keys })
    }
}
