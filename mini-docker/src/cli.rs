//! The command line: Docker's verbs and flags. One file per group of verbs; each verb calls the library.

mod archive;
mod build;
mod completion;
mod container;
mod events;
mod filter;
mod image;
mod inspect;
mod prune;
mod registry;
mod system;
pub(crate) mod table;
mod transfer;
mod usage;
mod volume;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::create::options::switch;
use crate::engine::{DEFAULT_ROOT, DEFAULT_RUN_ROOT, Engine};
use crate::failure::{self, Failure, code};

/// Pull, run and push images and containers: Docker's commands, without a daemon.
#[derive(Debug, Parser)]
#[command(name = "mini-docker", version, propagate_version = true, max_term_width = 100)]
#[command(subcommand_required = true)]
struct Cli {
    #[command(flatten)]
    roots: Roots,
    #[command(subcommand)]
    command: Command,
}

/// Where state is kept.
#[derive(Debug, Args)]
struct Roots {
    /// Folder for images, layers, volumes and containers
    #[arg(long, global = true, env = "MINI_DOCKER_ROOT", default_value = DEFAULT_ROOT, value_name = "DIR")]
    #[arg(hide_env = true, help_heading = "Global options")]
    root: PathBuf,
    /// Folder for state that ends with a reboot
    #[arg(long, global = true, env = "MINI_DOCKER_RUN_ROOT", default_value = DEFAULT_RUN_ROOT, value_name = "DIR")]
    #[arg(hide_env = true, help_heading = "Global options")]
    run_root: PathBuf,
    /// File of settings, with the keys of Docker's daemon.json [default: /etc/mini-docker/daemon.json]
    #[arg(long, global = true, env = "MINI_DOCKER_CONFIG_FILE", value_name = "FILE")]
    #[arg(hide_env = true, help_heading = "Global options")]
    config_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a container from an image and run a command in it
    Run(container::Run),
    /// Create a container without starting it
    Create(container::Create),
    /// Start created or exited containers
    Start(container::Start),
    /// Run a command in a running container
    Exec(container::Exec),
    /// List containers
    #[command(alias = "list")]
    Ps(container::Ps),
    /// Show what running containers use, again and again
    Stats(container::Stats),
    /// Show the processes of a running container
    Top(container::Top),
    /// Remove containers
    Rm(container::Rm),
    /// Show what a container has written
    Logs(container::Logs),
    /// Stop containers: a signal, and after some time the end by force
    Stop(container::Stop),
    /// Send a signal to containers, KILL by default
    Kill(container::Kill),
    /// Stop containers and start them again
    Restart(container::Restart),
    /// Make all processes of containers stand still
    Pause(container::Pause),
    /// Let the processes of paused containers go on
    Unpause(container::Unpause),
    /// Wait until containers have ended and print their exit codes
    Wait(container::Wait),
    /// Give a container another name
    Rename(container::Rename),
    /// See what a running container writes and type what it reads
    Attach(container::Attach),
    /// Work with containers
    #[command(subcommand, subcommand_required = true)]
    Container(container::Verb),
    /// Build an image from a Dockerfile
    Build(Box<build::Build>),
    /// Work with builds
    #[command(subcommand, subcommand_required = true)]
    Builder(Box<build::Verb>),
    /// Download an image from a registry
    Pull(transfer::Pull),
    /// Upload an image to a registry
    Push(transfer::Push),
    /// Load images from an archive or an OCI layout
    Load(archive::Load),
    /// Make an image from a tar of a root file system
    Import(archive::Import),
    /// Save images as an archive
    Save(archive::Save),
    /// Write a container's files as a tar
    Export(archive::Export),
    /// Make an image of a container
    Commit(archive::Commit),
    /// Copy files between a container and this machine
    Cp(container::cp::Cp),
    /// Show what a container has changed in its image's files
    Diff(container::diff::Diff),
    /// List images
    Images(image::List),
    /// Show how an image was made
    History(image::History),
    /// Show containers, images and volumes as JSON
    Inspect(inspect::Inspect),
    /// Give an image another name
    Tag(image::Tag),
    /// Remove images
    Rmi(image::Remove),
    /// Work with images
    #[command(subcommand, subcommand_required = true)]
    Image(image::Verb),
    #[command(flatten)]
    Registry(registry::Verb),
    /// Work with volumes
    #[command(subcommand, subcommand_required = true)]
    Volume(volume::Verb),
    /// Show what happens to containers, images and volumes, while it happens
    Events(events::Events),
    /// Show what this machine can do and what is stored
    Info(system::Info),
    /// Show the version
    Version(system::Version),
    /// Work with everything at once
    #[command(subcommand, subcommand_required = true)]
    System(system::Verb),
    /// Change limits and restart policy of containers
    Update(container::Update),
    /// Show where the ports of a container are published
    Port(container::Port),
    Completion(completion::Completion),
    #[command(hide = true, name = "__complete")]
    Complete(completion::Complete),
    #[command(hide = true)]
    Man(completion::Man),
}

/// Parses the command line, runs the verb, reports what failed.
pub fn main() -> ExitCode {
    // Files and folders of containers have the modes that are written in the code, whatever the caller's umask is.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let cli = match parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return usage::tell(&error),
    };
    // `run` fails with 125, so that the code cannot be mistaken for the command's own.
    let usual = match &cli.command {
        Command::Run(_) | Command::Container(container::Verb::Run(_)) => code::RUNTIME,
        _ => code::OTHER,
    };
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(failure::report(&error, usual)),
    }
}

/// Reads a command line. For all verbs alike: `--flag=false` is no flag, and of a flag that is given twice the last counts.
fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    fn lenient(command: clap::Command) -> clap::Command {
        command.args_override_self(true).mut_args(switch).mut_subcommands(lenient)
    }
    let mut command = lenient(Cli::command());
    let matches = command.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn dispatch(cli: Cli) -> Result<u8> {
    // What needs neither root nor state.
    match cli.command {
        Command::Version(verb) => return verb.run(),
        Command::Completion(verb) => return verb.run(),
        Command::Complete(verb) => {
            return verb.run(Cli::command(), &cli.roots.root, &cli.roots.run_root);
        }
        Command::Man(verb) => return verb.run(Cli::command()),
        Command::Registry(verb) => return verb.run(cli.roots.config_file.as_deref()),
        _ => {}
    }
    crate::engine::require_root()?;
    if starts_a_container(&cli.command) {
        security::run_from_read_only_mount()?;
        // exec by descriptor has named the process after the descriptor.
        nix::sys::prctl::set_name(c"mini-docker").ok();
    }
    let mut engine = Engine::open(&cli.roots.root, &cli.roots.run_root)?;
    engine.config_file = cli.roots.config_file;
    if let Err(error) = crate::reclaim::reclaim(&engine) {
        // Another run root is the user's mistake. What one container left is not in the way of another.
        if error.downcast_ref::<Failure>().is_some() {
            return Err(error);
        }
        failure::warn(&error);
    }
    match cli.command {
        Command::Run(verb) => verb.run(&engine),
        Command::Create(verb) => verb.run(&engine),
        Command::Start(verb) => verb.run(&engine),
        Command::Exec(verb) => verb.run(&engine),
        Command::Ps(verb) => verb.run(&engine),
        Command::Stats(verb) => verb.run(&engine),
        Command::Top(verb) => verb.run(&engine),
        Command::Rm(verb) => verb.run(&engine),
        Command::Logs(verb) => verb.run(&engine),
        Command::Stop(verb) => verb.run(&engine),
        Command::Kill(verb) => verb.run(&engine),
        Command::Restart(verb) => verb.run(&engine),
        Command::Pause(verb) => verb.run(&engine),
        Command::Unpause(verb) => verb.run(&engine),
        Command::Wait(verb) => verb.run(&engine),
        Command::Rename(verb) => verb.run(&engine),
        Command::Attach(verb) => verb.run(&engine),
        Command::Container(verb) => verb.run(&engine),
        Command::Build(verb) => verb.run(&engine),
        Command::Builder(verb) => verb.run(&engine),
        Command::Pull(verb) => verb.run(&engine),
        Command::Push(verb) => verb.run(&engine),
        Command::Load(verb) => verb.run(&engine),
        Command::Import(verb) => verb.run(&engine),
        Command::Save(verb) => verb.run(&engine),
        Command::Export(verb) => verb.run(&engine),
        Command::Commit(verb) => verb.run(&engine),
        Command::Cp(verb) => verb.run(&engine),
        Command::Diff(verb) => verb.run(&engine),
        Command::Images(verb) => verb.run(&engine),
        Command::History(verb) => verb.run(&engine),
        Command::Inspect(verb) => verb.run(&engine),
        Command::Tag(verb) => verb.run(&engine),
        Command::Rmi(verb) => verb.run(&engine),
        Command::Image(verb) => verb.run(&engine),
        Command::Registry(verb) => verb.run(engine.config_file.as_deref()),
        Command::Volume(verb) => verb.run(&engine),
        Command::Events(verb) => verb.run(&engine),
        Command::Info(verb) => verb.run(&engine),
        Command::System(verb) => verb.run(&engine),
        Command::Update(verb) => verb.run(&engine),
        Command::Port(verb) => verb.run(&engine),
        Command::Version(verb) => verb.run(),
        Command::Completion(verb) => verb.run(),
        Command::Complete(verb) => verb.run(Cli::command(), &engine.root, &engine.run_root),
        Command::Man(verb) => verb.run(Cli::command()),
    }
}

fn starts_a_container(command: &Command) -> bool {
    use container::Verb;
    matches!(
        command,
        Command::Run(_)
            | Command::Start(_)
            | Command::Restart(_)
            | Command::Exec(_)
            | Command::Build(_)
            | Command::Builder(_)
            | Command::Image(image::Verb::Build(_))
            | Command::Container(Verb::Run(_) | Verb::Start(_) | Verb::Restart(_) | Verb::Exec(_))
            | Command::System(system::Verb::RestartAll(_))
    )
}

#[cfg(test)]
mod tests;
