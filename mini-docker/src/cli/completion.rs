//! `completion` and `man`: what may be typed, and pages of the manual, from the definitions that parse the command line.

#[cfg(test)]
mod tests;
mod things;
mod words;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::builder::{Resettable, StyledStr};
use clap::{Arg, ArgAction, Args, Command, ValueEnum};

use self::things::names;
use self::words::Line;
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
    pub(super) fn run(self) -> Result<u8> {
        table::print(match self.shell {
            Shell::Bash => include_str!("completion/complete.bash"),
            Shell::Zsh => include_str!("completion/complete.zsh"),
            Shell::Fish => include_str!("completion/complete.fish"),
        });
        Ok(0)
    }
}

/// Say what may be typed next: what the scripts ask.
///
/// One answer a line, with a tab before what it is for; the line `:files` stands for names of files.
#[derive(Debug, Args)]
pub(super) struct Complete {
    /// The words behind the name of the program; the last one is being typed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Complete {
    pub(super) fn run(self, command: Command, root: &Path, run_root: &Path) -> Result<u8> {
        let mut command = shown(&command, NAME);
        command.build();
        let line = Line::read(&command, &self.words);
        let answer = line.answer();
        // The line that is typed may name other roots than this process was given.
        let root = line.values.get("root").map_or(root, Path::new);
        let run_root = line.values.get("run_root").map_or(run_root, Path::new);
        let typed = self.words.last().map_or("", String::as_str);
        let typed = typed.strip_prefix(&answer.before).unwrap_or(typed);
        let mut text = String::new();
        for (word, help) in &answer.words {
            let tab = if help.is_empty() { "" } else { "\t" };
            text.push_str(&format!("{word}{tab}{help}\n"));
        }
        for name in answer.things.iter().flat_map(|all| names(root, run_root, *all, typed)) {
            text.push_str(&format!("{}{name}\n", answer.before));
        }
        if answer.files {
            text.push_str(":files\n");
        }
        table::print(&text);
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
