//! Executes the `console` blocks of a lesson and compares what they print.
//!
//! A block looks like a terminal: a line that begins with `$ ` is a command (`> ` continues it), what follows is its
//! output with standard error in it. `[..]` stands for anything within a line, a line `...` for any number of lines. A
//! last line `? 1` says that the command ends with that status; without it the status must be 0.
//!
//! All blocks of one file run in one bash, one after the other, in a temporary folder. `cargo run ... --example NAME
//! -- ARGS` runs the example that is already built, and `mini-docker` is the one that is built (set `PATH` otherwise).

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Outcome, build_dir};

/// One command of a block with what it must print.
#[derive(Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Line number of the command in the file, from 1.
    pub line: usize,
    /// The command, with its continuation lines.
    pub command: String,
    /// Expected output, with wildcards.
    pub output: String,
    /// Expected exit status.
    pub status: i32,
}

/// Reads the blocks of a Markdown text.
pub fn parse(markdown: &str) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    let (mut inside, mut commands_in_block) = (false, 0);
    for (index, text) in markdown.lines().enumerate() {
        if text.trim_start().starts_with("```") {
            inside = !inside && text.trim() == "```console";
            commands_in_block = 0;
        } else if !inside {
        } else if let Some(command) = text.strip_prefix("$ ") {
            commands_in_block += 1;
            exchanges.push(Exchange {
                line: index + 1,
                command: command.to_owned(),
                output: String::new(),
                status: 0,
            });
        } else if commands_in_block > 0 {
            let last = exchanges.last_mut().expect("a command precedes");
            if let Some(more) = text.strip_prefix("> ").filter(|_| last.output.is_empty()) {
                write!(last.command, "\n{more}").expect("a String takes all");
            } else if let Some(status) = text.strip_prefix("? ") {
                last.status = status.trim().parse().unwrap_or(-1);
            } else {
                writeln!(last.output, "{text}").expect("a String takes all");
            }
        }
    }
    exchanges
}

/// Runs every console block of `file` in `dir` and compares.
///
/// # Errors
/// The first command whose output or status differs, with both; a file without any block.
pub fn check(file: &Path, dir: &Path) -> Outcome {
    check_with(file, dir, &[])
}

/// As [`check`], with more environment variables for the commands.
///
/// # Errors
/// As [`check`].
pub fn check_with(file: &Path, dir: &Path, env: &[(&str, &Path)]) -> Outcome {
    let exchanges = parse(&std::fs::read_to_string(file)?);
    if exchanges.is_empty() {
        return Err(format!("{}: no console block", file.display()).into());
    }
    let marker = format!("--{}--", std::process::id());
    let build = build_dir();
    let examples = build.join("examples");
    let mut script = format!(
        "export PATH={}:{}:$PATH\n\
         cargo() {{ while [ $# -gt 0 ] && [ \"$1\" != --example ]; do shift; done; \
         local bin={}/\"$2\"; shift 2; [ \"$1\" = -- ] && shift; \"$bin\" \"$@\"; }}\n\
         export -f cargo\n",
        build.display(),
        examples.display(),
        examples.display()
    );
    for exchange in &exchanges {
        writeln!(script, "{{ {}\n}} 2>&1 </dev/null\necho \"{marker}$?\"", exchange.command)?;
    }
    let script_path = dir.join("console.sh");
    std::fs::write(&script_path, script)?;
    let output = Command::new("bash")
        .arg(&script_path)
        .current_dir(dir)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut rest = printed.as_str();
    for exchange in &exchanges {
        let place = format!("{}:{}: $ {}", file.display(), exchange.line, exchange.command);
        let Some((actual, after)) = rest.split_once(&marker) else {
            return Err(format!("{place}\nthe shell ended; it had printed:\n{rest}").into());
        };
        let (status, after) = after.split_once('\n').unwrap_or((after, ""));
        rest = after;
        compare(exchange, actual, status.trim().parse()?)
            .map_err(|difference| format!("{place}\n{difference}"))?;
    }
    Ok(())
}

fn compare(exchange: &Exchange, actual: &str, status: i32) -> Result<(), Box<dyn Error>> {
    let assert = snapbox::Assert::new().action_env("MINI_DOCKER_CONSOLE").normalize_paths(false);
    let mut actual = actual.to_owned();
    if !actual.is_empty() && !actual.ends_with('\n') {
        actual.push('\n');
    }
    assert.try_eq(Some(&"output"), actual.into(), exchange.output.clone().into())?;
    if status == exchange.status {
        Ok(())
    } else {
        Err(format!("exit status {status}, expected {}", exchange.status).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_commands_output_and_status() {
        let text =
            "text\n```console\n$ echo a \\\n> b\na b\n$ false\n? 1\n```\n```text\n$ no\n```\n";
        let parsed = parse(text);
        assert_eq!(parsed.len(), 2);
        assert_eq!(parsed[0].command, "echo a \\\nb");
        assert_eq!(parsed[0].output, "a b\n");
        assert_eq!((parsed[1].line, parsed[1].status), (6, 1));
    }

    #[test]
    fn a_difference_is_found_and_wildcards_are_not_one() {
        let exchange = Exchange {
            line: 1,
            command: String::new(),
            output: "pid [..]\n...\nend\n".into(),
            status: 0,
        };
        compare(&exchange, "pid 17\nx\ny\nend\n", 0).unwrap();
        compare(&exchange, "pid 17\nx\n", 0).unwrap_err();
        compare(&exchange, "pid 17\nend\n", 1).unwrap_err();
    }
}
