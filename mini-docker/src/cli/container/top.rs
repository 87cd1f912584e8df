//! `top`.

use std::process::{Command, Output};

use anyhow::{Context, Result};
use clap::Args;
use nix::unistd::Pid;

use crate::cli::table;
use crate::containers::Containers;
use crate::engine::Engine;
use crate::events;
use crate::failure::Failure;
use crate::format::sanitized;
use crate::record::Record;
use crate::state::{Looker, State};
use crate::top::{COLUMNS, processes};

#[derive(Debug, Args)]
pub(in crate::cli) struct Top {
    /// Name or id
    container: String,
    /// Options of the machine's `ps` [default: -ef, without any ps]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PS OPTIONS")]
    options: Vec<String>,
}

/// Fewest characters of a column and the space behind it, as in Docker's.
const WIDTH: usize = 20;
const SPACE: usize = 3;

impl Top {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let record = Containers::new(engine).find(&self.container)?;
        let looker = Looker::new(engine);
        let pids = self.pids(&looker, &record)?;
        // As Docker: they are one text, cut at its blanks.
        let options: Vec<&str> =
            self.options.iter().flat_map(|option| option.split_whitespace()).collect();
        let (header, rows) = if options.is_empty() {
            (COLUMNS.map(str::to_owned).to_vec(), processes(&pids))
        } else {
            by_ps(&options, &pids)?
        };
        events::container(engine, &record, "top", &[]);
        table::print(&text(&header, &rows));
        Ok(0)
    }

    /// Its processes, frozen or not.
    fn pids(&self, looker: &Looker<'_>, record: &Record) -> Result<Vec<Pid>> {
        let now = looker.look(record.clone());
        let state = now.as_ref().map_or(State::Exited, |now| looker.state(now));
        if matches!(state, State::Running | State::Paused)
            && let Some(cgroup) = looker.cgroup(record)
        {
            return Ok(cgroup.procs());
        }
        let (what, hint) = match state {
            State::Restarting => ("is restarting", "wait until it runs".to_owned()),
            _ => ("is not running", format!("start it: mini-docker start {}", record.name)),
        };
        Err(Failure::new(format!("container {} {what}", self.container)).hint(hint).into())
    }
}

/// What the machine's `ps` says of these processes.
fn by_ps(options: &[&str], pids: &[Pid]) -> Result<(Vec<String>, Vec<Vec<String>>)> {
    let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
    let some = format!("-q{}", list.join(","));
    // Not every option goes with -q: then it shows all, and the others are left out below.
    let mut output = ps(options, Some(&some))?;
    if !output.status.success() {
        output = ps(options, None)?;
    }
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let line = words.lines().find(|line| !line.trim().is_empty()).unwrap_or("it failed");
        return Err(Failure::new(format!("ps {}: {}", options.join(" "), line.trim()))
            .hint("what follows the container are options of ps: see ps(1)")
            .into());
    }
    select(&String::from_utf8_lossy(&output.stdout), pids)
}

fn ps(options: &[&str], more: Option<&str>) -> Result<Output> {
    match Command::new("ps").args(options).args(more).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Failure::new("there is no `ps` on this machine")
                .hint("leave out the options, or install procps")
                .into())
        }
        other => other.context("execute ps"),
    }
}

/// Lines of `ps` whose PID is one of these. Its last column takes all that is left of a line.
fn select(output: &str, pids: &[Pid]) -> Result<(Vec<String>, Vec<Vec<String>>)> {
    let mut lines = output.lines();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let header = words(lines.next().unwrap_or_default());
    let column = header.iter().position(|name| name == "PID").ok_or_else(|| {
        Failure::new("ps shows no column PID")
            .hint("processes are found by it: with -o, ask for pid too")
    })?;
    let mut rows = Vec::new();
    let mut before = false;
    for line in lines {
        let mut row = words(line);
        let Some(cell) = row.get(column) else { continue };
        let is_ours = match cell.parse::<i32>() {
            Ok(number) => pids.contains(&Pid::from_raw(number)),
            // A thread (`m`) belongs to the process above it.
            Err(_) if cell == "-" => before,
            Err(_) => {
                return Err(Failure::new(format!("ps shows `{cell}` in its column PID"))
                    .hint("give no other column that name")
                    .into());
            }
        };
        before = is_ours;
        if is_ours {
            let last = row.split_off((header.len() - 1).min(row.len())).join(" ");
            row.push(last);
            rows.push(row);
        }
    }
    Ok((header, rows))
}

/// Columns as Docker prints them; the last one is not padded.
fn text(header: &[String], rows: &[Vec<String>]) -> String {
    let all: Vec<Vec<String>> = std::iter::once(header)
        .chain(rows.iter().map(Vec::as_slice))
        .map(|row| row.iter().map(|cell| sanitized(cell)).collect())
        .collect();
    let mut widths = vec![WIDTH; header.len()];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + SPACE);
        }
    }
    let mut text = String::new();
    for row in &all {
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text.push_str(cell);
            if index + 1 < row.len() {
                text.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ps_are_chosen_by_pid() {
        let of = |output: &str| {
            let pids = [7, 9].map(Pid::from_raw);
            select(output, &pids)
                .map(|(_, rows)| rows.iter().map(|row| row.join("|")).collect::<Vec<_>>())
        };
        let output = "  PID COMMAND\n    7 sh -c  x\n    8 other\n\n    9 cat\n   77 no\n";
        assert_eq!(of(output).unwrap(), ["7|sh -c x", "9|cat"]);
        // Threads stand below their process.
        let output = "USER PID STAT CMD\nroot 7 - sh\nroot - Sl -\nroot 8 - no\nroot - Sl -\n";
        assert_eq!(of(output).unwrap(), ["root|7|-|sh", "root|-|Sl|-"]);
        for (wrong, message) in [
            ("USER CMD\nroot sh\n", "ps shows no column PID"),
            ("", "ps shows no column PID"),
            ("CMD PID\nsh sleep\n", "ps shows `sleep` in its column PID"),
        ] {
            assert_eq!(of(wrong).unwrap_err().to_string(), message, "{wrong}");
        }
    }

    #[test]
    fn columns_are_wide_and_clean() {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let rows: [Vec<String>; 2] =
            [strings(&["1", "a\u{1b}[31m"]), strings(&["a name of 21 letters..", "b"])];
        let expected = "PID                      CMD\n\
                        1                        a\\u{1b}[31m\n\
                        a name of 21 letters..   b\n";
        assert_eq!(text(&strings(&["PID", "CMD"]), &rows), expected);
    }
}
