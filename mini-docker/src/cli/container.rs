//! `run`, `create`, `ps`, and what is done to containers, also as `container ...`.

mod attach;
mod each;
mod kill;
mod pause;
mod rename;
mod restart;
mod rm;
mod start;
mod stop;
mod wait;

pub(super) mod cp;
pub(super) mod diff;
mod exec;
mod logs;

pub(super) mod ps;
mod stats;
mod top;

mod port;
mod update;

use anyhow::Result;
use clap::{ArgAction, Args, Subcommand};

pub(super) use self::attach::Attach;
pub(super) use self::kill::Kill;
pub(super) use self::pause::{Pause, Unpause};
pub(super) use self::rename::Rename;
pub(super) use self::restart::Restart;
pub(super) use self::rm::Rm;
pub(super) use self::start::Start;
pub(super) use self::stop::Stop;
pub(super) use self::wait::Wait;
use super::table;
use crate::attach::{self as attachment, Manner};
use crate::container::First;
use crate::create::options::{Options, parse_bool};
use crate::create::{Created, create};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::record::Record;
use crate::{container, explain};
pub(super) use exec::Exec;
pub(super) use logs::Logs;
pub(super) use port::Port;
pub(super) use ps::Ps;
pub(super) use stats::Stats;
pub(super) use top::Top;
pub(super) use update::Update;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Create a container from an image and run a command in it
    Run(Run),
    /// Create a container without starting it
    Create(Create),
    /// Start created or exited containers
    Start(Start),
    /// Run a command in a running container
    Exec(Exec),
    /// List containers
    #[command(aliases = ["list", "ps"])]
    Ls(Ps),
    /// Show containers as JSON
    Inspect(super::inspect::Container),
    /// Show what running containers use, again and again
    Stats(Stats),
    /// Show the processes of a running container
    Top(Top),
    /// Remove containers
    #[command(alias = "remove")]
    Rm(Rm),
    /// Show what a container has written
    Logs(Logs),
    /// Stop containers: a signal, and after some time the end by force
    Stop(Stop),
    /// Send a signal to containers, KILL by default
    Kill(Kill),
    /// Stop containers and start them again
    Restart(Restart),
    /// Make all processes of containers stand still
    Pause(Pause),
    /// Let the processes of paused containers go on
    Unpause(Unpause),
    /// Wait until containers have ended and print their exit codes
    Wait(Wait),
    /// Give a container another name
    Rename(Rename),
    /// See what a running container writes and type what it reads
    Attach(Attach),
    /// Change limits and restart policy of containers
    Update(Update),
    /// Show where the ports of a container are published
    Port(Port),
    /// Remove all containers that do not run
    Prune(super::prune::Containers),
    /// Write a container's files as a tar
    Export(super::archive::Export),
    /// Make an image of a container
    Commit(super::archive::Commit),
    /// Copy files between a container and this machine
    Cp(cp::Cp),
    /// Show what a container has changed in its image's files
    Diff(diff::Diff),
}

impl Verb {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        match self {
            Self::Run(verb) => verb.run(engine),
            Self::Create(verb) => verb.run(engine),
            Self::Start(verb) => verb.run(engine),
            Self::Exec(verb) => verb.run(engine),
            Self::Ls(verb) => verb.run(engine),
            Self::Inspect(verb) => verb.run(engine),
            Self::Stats(verb) => verb.run(engine),
            Self::Top(verb) => verb.run(engine),
            Self::Rm(verb) => verb.run(engine),
            Self::Logs(verb) => verb.run(engine),
            Self::Stop(verb) => verb.run(engine),
            Self::Kill(verb) => verb.run(engine),
            Self::Restart(verb) => verb.run(engine),
            Self::Pause(verb) => verb.run(engine),
            Self::Unpause(verb) => verb.run(engine),
            Self::Wait(verb) => verb.run(engine),
            Self::Rename(verb) => verb.run(engine),
            Self::Attach(verb) => verb.run(engine),
            Self::Update(verb) => verb.run(engine),
            Self::Port(verb) => verb.run(engine),
            Self::Prune(verb) => verb.run(engine),
            Self::Export(verb) => verb.run(engine),
            Self::Commit(verb) => verb.run(engine),
            Self::Cp(verb) => verb.run(engine),
            Self::Diff(verb) => verb.run(engine),
        }
    }
}

/// `-h` is the host name, as in Docker, so help has only its long form.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Run {
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    /// Tell the story of the start: each step, each kernel call, how long it took
    #[arg(long)]
    explain: bool,
    /// Pass signals on to the process
    #[arg(long, num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(default_value = "true", default_missing_value = "true", hide_default_value = true)]
    #[arg(value_parser = parse_bool, value_name = "BOOL")]
    sig_proxy: bool,
    /// Keys that leave the container alone [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    #[command(flatten)]
    options: Options,
    /// Image (or folder, with --rootfs), then command and arguments; flags end here
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "COMMAND"])]
    image: Vec<String>,
}

impl Run {
    pub(super) fn run(mut self, engine: &Engine) -> Result<u8> {
        self.options.background = self.detach;
        if !self.detach {
            check_keyboard(self.options.tty && self.options.interactive)?;
        }
        if self.detach && (self.explain || !self.sig_proxy) {
            let flag = if self.explain { "--explain" } else { "--sig-proxy=false" };
            return Err(Failure::new(format!("conflicting options: -d and {flag}"))
                .hint("leave out one of them")
                .into());
        }
        if self.explain {
            explain::listen()?;
        }
        let created = create(engine, &self.image[0], &self.image[1..], &self.options)?;
        let outcome = match self.needs_monitor(&created.record) {
            true => self.under_monitor(engine, created),
            false => container::run(engine, created),
        };
        if self.explain {
            explain::tell()?;
        }
        outcome
    }

    /// Whether anything may be left to do for the container when nobody sits before it. A plain `run --rm` is its own
    /// supervisor: that is the quickest start. So is one that tells its story.
    fn needs_monitor(&self, record: &Record) -> bool {
        let plain = record.auto_remove && !record.terminal && record.health_check.is_none();
        !self.explain && (self.detach || !plain || !self.sig_proxy)
    }

    fn under_monitor(&self, engine: &Engine, created: Created<'_>) -> Result<u8> {
        let (id, terminal) = (created.record.id.clone(), created.record.terminal);
        let interactive = created.record.interactive;
        let manner = Manner {
            stdin: interactive,
            terminal,
            sig_proxy: self.sig_proxy,
            detach_keys: attachment::detach_keys(self.detach_keys.as_deref())?,
        };
        let first = First {
            attached: !self.detach,
            stdin: interactive && !self.detach,
            interactive,
            stdin_once: !self.detach,
            size: attachment::first_size(),
        };
        let visitor = container::launch(engine, created, first)?;
        if self.detach {
            // As Docker: what could not be started is there, and its id is what one needs to look at it or remove it.
            let started = attachment::until_started(&visitor);
            table::print(&format!("{id}\n"));
            return started.map(|()| 0);
        }
        attachment::see_through(&visitor, manner)
    }
}

/// Whoever types into a container's terminal sits at one: anything else is a mistake that Docker names too.
fn check_keyboard(types: bool) -> Result<()> {
    use std::io::IsTerminal;
    if types && !std::io::stdin().is_terminal() {
        return Err(Failure::new("the input device is not a terminal")
            .hint("leave out -t when standard input is a pipe or a file")
            .into());
    }
    Ok(())
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Create {
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    options: Options,
    /// Image (or folder, with --rootfs), then command and arguments; flags end here
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "COMMAND"])]
    image: Vec<String>,
}

impl Create {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let created = create(engine, &self.image[0], &self.image[1..], &self.options)?;
        let id = container::keep(engine, created)?;
        table::print(&format!("{id}\n"));
        Ok(0)
    }
}
