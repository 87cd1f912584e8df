//! `completion` and `man`: scripts for shells and pages of the manual, from the definitions that parse the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::builder::{Resettable, StyledStr};
use clap::{Arg, ArgAction, Args, Command, ValueEnum};

use super::table;

const NAME: &str = "mini-docker";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Write a script that completes commands and flags
#[derive(Debug, Args)]
#[command(after_help = "Bash: source <(mini-docker completion bash)\n\
    Zsh:  mini-docker completion zsh > \"${fpath[1]}/_mini-docker\"\n\
    Fish: mini-docker completion fish > ~/.config/fish/completions/mini-docker.fish")]
pub(super) struct Completion {
    /// For which shell
    shell: Shell,
}

impl Completion {
    pub(super) fn run(self, command: Command) -> Result<u8> {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut shown(&command, NAME), NAME, &mut script);
        let script = String::from_utf8_lossy(&script);
        // clap_complete 4.6 has two spellings of a name with a dash, so that bash would never come past the first verb.
        table::print(&script.replace("mini__subcmd__docker", "mini__docker"));
        Ok(0)
    }
}

/// Write the pages of the manual, one for each command
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Folder for the pages
    dir: PathBuf,
}

impl Man {
    pub(super) fn run(self, command: Command) -> Result<u8> {
        let place = || format!("write pages of the manual to `{}`", self.dir.display());
        std::fs::create_dir_all(&self.dir).with_context(place)?;
        let version = command.get_version().map(str::to_owned).unwrap_or_default();
        let mut command = shown(&command, NAME).version(leak(&version));
        command.build();
        write_pages(&command, &format!("{NAME} {version}"), &self.dir).with_context(place)?;
        Ok(0)
    }
}

/// A page for the command, and for each of its own.
fn write_pages(command: &Command, source: &str, dir: &Path) -> std::io::Result<()> {
    let page = clap_mangen::Man::new(command.clone()).source(source).manual("User Commands");
    page.generate_to(dir)?;
    command.get_subcommands().try_for_each(|command| write_pages(command, source, dir))
}

/// The command as people are shown it: without what is hidden, and flags as flags, though each of them also takes
/// `=false` (`create::options::switch`).
fn shown(command: &Command, name: &str) -> Command {
    let visible = |command: &&Command| !command.is_hide_set();
    let subcommands = command.get_subcommands().filter(visible);
    let aliases = command.get_visible_aliases().map(leak);
    let mut shown = Command::new(leak(name))
        .about(text(command.get_about()))
        .after_help(text(command.get_after_help()))
        .disable_help_flag(command.is_disable_help_flag_set())
        .disable_help_subcommand(true)
        .visible_aliases(aliases)
        .subcommand_required(command.is_subcommand_required_set())
        .args(command.get_arguments().filter(|argument| !argument.is_hide_set()).map(flag))
        .subcommands(subcommands.map(|command| self::shown(command, command.get_name())));
    if let Some(heading) = command.get_subcommand_help_heading() {
        shown = shown.subcommand_help_heading(leak(heading));
    }
    shown
}

fn text(text: Option<&StyledStr>) -> Resettable<StyledStr> {
    text.cloned().map_or(Resettable::Reset, Resettable::Value)
}

/// A flag with an optional BOOL, as the flag that it mostly is: `--rm`, but `--sig-proxy=false`.
fn flag(argument: &Arg) -> Arg {
    let argument = argument.clone();
    let is_switch = argument
        .get_value_names()
        .is_some_and(|names| names.iter().any(|name| name.as_str() == "BOOL"));
    if !is_switch {
        return argument;
    }
    let is_on = argument.get_default_values().iter().any(|value| value == "true");
    let argument = argument
        .default_value(Resettable::Reset)
        .default_missing_value(Resettable::Reset)
        .hide_default_value(false);
    if is_on {
        return argument.num_args(1).value_parser(["true", "false"]);
    }
    argument
        .value_name(Resettable::Reset)
        .value_parser(Resettable::Reset)
        .require_equals(false)
        .num_args(0)
        .action(ArgAction::SetTrue)
}

/// For a command that lives as long as the process: clap wants names that do, and the process ends with this verb.
fn leak(text: &str) -> &'static str {
    String::leak(text.to_owned())
}
