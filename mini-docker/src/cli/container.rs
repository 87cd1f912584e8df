//! `run`, `create`, `start`, `ps`, `rm`, also as `container ...`.

use anyhow::Result;
use clap::{ArgAction, Args, Subcommand};

use super::table;
use crate::containers::Containers;
use crate::create::options::{Options, parse_bool, switch};
use crate::create::{create, remove_anonymous};
use crate::engine::Engine;
use crate::failure::{self, Failure, code};
use crate::record::{Record, Status};
use crate::{container, explain};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Create a container from an image and run a command in it
    Run(Run),
    /// Create a container without starting it
    Create(Create),
    /// Start a created or exited container and wait for it
    Start(Start),
    /// List containers
    #[command(aliases = ["list", "ps"])]
    Ls(Ps),
    /// Remove containers
    Rm(Rm),
    /// Write a container's files as a tar
    Export(super::archive::Export),
    /// Make an image of a container
    Commit(super::archive::Commit),
}

impl Verb {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        match self {
            Self::Run(verb) => verb.run(engine),
            Self::Create(verb) => verb.run(engine),
            Self::Start(verb) => verb.run(engine),
            Self::Ls(verb) => verb.run(engine),
            Self::Rm(verb) => verb.run(engine),
            Self::Export(verb) => verb.run(engine),
            Self::Commit(verb) => verb.run(engine),
        }
    }
}

/// `-h` is the host name, as in Docker, so help has only its long form.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, args_override_self = true, mut_args(switch))]
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
    /// Pass signals on to the process, which is always done
    #[arg(long, num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(default_value = "true", default_missing_value = "true", hide_default_value = true)]
    #[arg(value_parser = parse_bool, value_name = "BOOL")]
    sig_proxy: bool,
    #[command(flatten)]
    options: Options,
    /// Image (or folder, with --rootfs), then command and arguments; flags end here
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "COMMAND"])]
    image: Vec<String>,
}

impl Run {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        if self.detach {
            return Err(Failure::new("running in the background is not supported yet")
                .hint("leave out -d, and put the shell's `&` after the command")
                .into());
        }
        if !self.sig_proxy {
            return Err(Failure::new(
                "--sig-proxy=false needs the monitor, which is not supported yet",
            )
            .hint("leave it out: a signal that ends mini-docker ends the container too")
            .into());
        }
        check_terminal(&self.options)?;
        if self.explain {
            explain::listen()?;
        }
        let created = create(engine, &self.image[0], &self.image[1..], &self.options)?;
        let outcome = container::run(engine, created);
        if self.explain {
            explain::tell()?;
        }
        outcome
    }
}

/// `-it` with something else than a terminal is a mistake that Docker names too.
fn check_terminal(options: &Options) -> Result<()> {
    use std::io::IsTerminal;
    if options.tty && options.interactive && !std::io::stdin().is_terminal() {
        return Err(Failure::new("the input device is not a terminal")
            .hint("leave out -t when standard input is a pipe or a file")
            .into());
    }
    Ok(())
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true, args_override_self = true, mut_args(switch))]
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

#[derive(Debug, Args)]
pub(super) struct Start {
    /// Accepted for Docker's sake: without a monitor, start always waits and shows the output
    #[arg(short, long)]
    attach: bool,
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// Names or ids: one is started when the one before it has ended
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Start {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        if self.containers.len() > 1 && (self.attach || self.interactive) {
            return Err(Failure::new("you cannot start and attach multiple containers at once")
                .hint("name one, or leave out -a and -i")
                .into());
        }
        let mut first_bad = 0;
        for key in &self.containers {
            let code = self.start(engine, key);
            let code = code.unwrap_or_else(|error| failure::report(&error, code::OTHER));
            if first_bad == 0 {
                first_bad = code;
            }
        }
        Ok(first_bad)
    }

    fn start(&self, engine: &Engine, key: &str) -> Result<u8> {
        let record = Containers::new(engine).find(key)?;
        container::start_again(engine, record, self.interactive)
    }
}

#[derive(Debug, Args)]
pub(super) struct Ps {
    /// Show all, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Show the one that was created last, whether it runs or not
    #[arg(short, long)]
    latest: bool,
    /// Show so many that were created last, whether they run or not
    #[arg(short = 'n', long, value_name = "NUMBER", allow_negative_numbers = true)]
    last: Option<i64>,
    /// Show ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show ids in full
    #[arg(long)]
    no_trunc: bool,
}

impl Ps {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let containers = Containers::new(engine);
        let mut records = containers.list()?;
        match if self.latest { Some(1) } else { self.last.filter(|count| *count > 0) } {
            // The list begins with the newest.
            Some(count) => records.truncate(count.unsigned_abs() as usize),
            None => records.retain(|record| self.all || is_running(record)),
        }
        let id = |record: &Record| {
            let length = if self.no_trunc { record.id.len() } else { 12 };
            record.id[..length].to_owned()
        };
        if self.quiet {
            let ids: String = records.iter().map(|record| id(record) + "\n").collect();
            table::print(&ids);
            return Ok(0);
        }
        let rows: Vec<Vec<String>> = records
            .iter()
            .map(|record| {
                vec![
                    id(record),
                    record.image.clone().unwrap_or_else(|| "<rootfs>".to_owned()),
                    command(record, self.no_trunc),
                    table::ago(record.created),
                    status(record),
                    record.network.ports.join(", "),
                    record.name.clone(),
                ]
            })
            .collect();
        let header = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
        table::print(&table::table(&header, &rows));
        Ok(0)
    }
}

fn is_running(record: &Record) -> bool {
    matches!(record.status, Status::Running { .. })
}

fn command(record: &Record, whole: bool) -> String {
    let mut text = record.command.join(" ");
    if !whole && text.chars().count() > 20 {
        text = text.chars().take(19).chain(['…']).collect();
    }
    format!("\"{text}\"")
}

fn status(record: &Record) -> String {
    let since = |time: &jiff::Timestamp| {
        table::duration((jiff::Timestamp::now().as_second() - time.as_second()).max(0))
    };
    match &record.status {
        Status::Created => "Created".to_owned(),
        Status::Running { started, .. } => format!("Up {}", since(started)),
        Status::Exited { code, finished, oom } => {
            let oom = if *oom { ", out of memory" } else { "" };
            format!("Exited ({code}{oom}) {} ago", since(finished))
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Rm {
    /// Also remove containers that run, ending their processes
    #[arg(short, long)]
    force: bool,
    /// Also remove their anonymous volumes
    #[arg(short, long)]
    volumes: bool,
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Rm {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let mut worst = 0;
        for key in &self.containers {
            match self.remove(engine, key) {
                Ok(()) => table::print(&format!("{key}\n")),
                // As Docker: it is said, but what is wanted is so.
                Err(error) if self.force && is_missing(engine, key)? => {
                    failure::report(&error, code::OTHER);
                }
                Err(error) => worst = failure::report(&error, code::OTHER),
            }
        }
        Ok(worst)
    }

    fn remove(&self, engine: &Engine, key: &str) -> Result<()> {
        let containers = Containers::new(engine);
        let record = containers.find(key)?;
        let held = match containers.hold(&record.id)? {
            Some(held) => held,
            None if self.force => match container::end(engine, &record)? {
                Some(held) => held,
                // `--rm`: its supervisor has removed it.
                None => return Ok(()),
            },
            None => {
                return Err(Failure::new(format!("container {key} is running"))
                    .hint("end it first, or remove it with -f")
                    .into());
            }
        };
        if self.volumes {
            remove_anonymous(engine, &record.mounts, &record.id);
        }
        containers.remove(&record.id, &record.name, held)
    }
}

/// Whether no container has that name, and no id begins so. A beginning of several ids is a mistake, not a missing one.
fn is_missing(engine: &Engine, key: &str) -> Result<bool> {
    let is_it = |record: &Record| record.name == key || record.id.starts_with(key);
    Ok(!Containers::new(engine).list()?.iter().any(is_it))
}
