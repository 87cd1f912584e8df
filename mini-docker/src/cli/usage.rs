//! What is said when there is no verb to run: help, the version, what is wrong with a command line.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Cli;
use crate::create::options::BOOL_SUFFIX;
use crate::failure::{self, Failure, code};

/// Help and version go to standard output; a wrong command line is one line, a hint, and 125 or 1.
pub(super) fn tell(error: &clap::Error) -> ExitCode {
    match error.kind() {
        // Without a verb there is nothing to do but to show the verbs.
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            verb_in_use(std::env::args().skip(1)).0.print_help().ok();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelp => {
            // As it is without what `parse` adds to each flag; unless this command line needs that.
            let plain = Cli::command().try_get_matches().err();
            print_help(
                plain.filter(|plain| plain.kind() == error.kind()).as_ref().unwrap_or(error),
            );
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayVersion => {
            error.print().ok();
            ExitCode::SUCCESS
        }
        _ => {
            let text = error.render().to_string().replace(BOOL_SUFFIX, "");
            let lines: Vec<&str> =
                text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            let message: Vec<&str> = lines
                .iter()
                .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("tip:"))
                .filter(|line| !line.starts_with("For more information"))
                .copied()
                .collect();
            let message = message.join(" ");
            let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
            let tips = lines.iter().filter_map(|line| line.strip_prefix("tip: "));
            // "to pass X as a value, use -- X" helps nobody who mistyped a flag.
            let tips: Vec<&str> = tips.filter(|tip| !tip.starts_with("to pass")).collect();
            let (_, verb) = verb_in_use(std::env::args().skip(1));
            let mut hint = tips.join("\n");
            if !hint.is_empty() {
                hint.push('\n');
            }
            hint.push_str(&format!("see `mini-docker {verb}--help`"));
            let failure = Failure::new(message).hint(hint);
            ExitCode::from(failure::report(&failure.into(), code_of(error)))
        }
    }
}

/// Help without a word after each flag that may also be given as `--flag=false`.
fn print_help(error: &clap::Error) {
    let text = error.render();
    let mut out = std::io::stdout();
    let colors = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let text = if colors { text.ansi().to_string() } else { text.to_string() };
    // As many blanks, so that the columns stay.
    let text = text.replace(&format!("{BOOL_SUFFIX}\n"), "\n");
    let text = text.replace(BOOL_SUFFIX, &" ".repeat(BOOL_SUFFIX.len()));
    // A closed pipe (`mini-docker --help | head -1`) is not a failure.
    out.write_all(text.as_bytes()).ok();
}

/// Docker's: a flag that is wrong is 125; too many or too few names, and a verb that is none, are 1.
pub(super) fn code_of(error: &clap::Error) -> u8 {
    let is_name = |text: &String| !text.starts_with('-');
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::MissingRequiredArgument | ErrorKind::InvalidSubcommand, _) => code::OTHER,
        (_, Some(ContextValue::String(text))) if is_name(text) => code::OTHER,
        _ => code::RUNTIME,
    }
}

/// The verb that was typed, and its words with a space after each: `volume rm `.
pub(super) fn verb_in_use(arguments: impl Iterator<Item = String>) -> (clap::Command, String) {
    let (mut command, mut words) = (Cli::command(), String::new());
    command.build();
    for argument in arguments.filter(|argument| !argument.starts_with('-')) {
        match command.find_subcommand(&argument) {
            Some(verb) => command = verb.clone(),
            // The value of a global flag, or what the verb is about.
            None if words.is_empty() => continue,
            None => break,
        }
        words.push_str(&format!("{argument} "));
    }
    (command, words)
}
