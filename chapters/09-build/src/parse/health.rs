//! `HEALTHCHECK [options] CMD command` and `HEALTHCHECK NONE`.

use std::time::Duration;

use super::{Parser, Statement, at_least_one, command};
use crate::duration;
use crate::error::Fault;
use crate::instruction::{Command, Healthcheck};

/// Less than this only 0, which means the default. Moby: `container.MinimumDuration`.
const MINIMUM: Duration = Duration::from_millis(1);

/// All of it.
pub(super) fn read(
    parser: &mut Parser<'_>,
    statement: &Statement<'_>,
) -> Result<Healthcheck, Fault> {
    let flags = &statement.flags;
    let known = ["interval", "timeout", "start-period", "start-interval", "retries"];
    flags.only("HEALTHCHECK", &known)?;
    let (kind, rest) = statement.rest.split_first();
    at_least_one("HEALTHCHECK", statement, kind.text().len())?;
    match &kind.text().to_ascii_uppercase()[..] {
        "NONE" if rest.is_empty() => return Ok(Healthcheck::None),
        "NONE" => {
            return Err(Fault::new(rest.span(), "HEALTHCHECK NONE takes no arguments"));
        }
        "CMD" => {}
        upper => {
            let message = format!("Unknown type \"{upper}\" in HEALTHCHECK (try CMD)");
            return Err(Fault::new(kind.span(), message).hint("HEALTHCHECK CMD command"));
        }
    }
    let command = command::read(parser, rest)?;
    let empty = match &command {
        Command::Exec(words) => words.is_empty(),
        Command::Shell(text) => text.is_empty(),
    };
    if empty {
        return Err(Fault::new(kind.span(), "Missing command after HEALTHCHECK CMD"));
    }
    let time = |name| period(statement, name);
    Ok(Healthcheck::Test {
        command,
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start-period")?,
        start_interval: time("start-interval")?,
        retries: retries(statement)?,
    })
}

fn period(statement: &Statement<'_>, name: &str) -> Result<Duration, Fault> {
    let Some(word) = statement.flags.word(name)? else { return Ok(Duration::ZERO) };
    if word.text.is_empty() {
        return Ok(Duration::ZERO);
    }
    let time = duration::parse(&word.text)
        .map_err(|message| Fault::new(word.span.clone(), message).hint("1m30s, 100ms, 2h"))?;
    // Nothing stands for less than nothing.
    match time {
        Some(time) if time.is_zero() || time >= MINIMUM => Ok(time),
        _ => {
            let message = format!("Interval \"{name}\" cannot be less than 1ms");
            Err(Fault::new(word.span, message))
        }
    }
}

fn retries(statement: &Statement<'_>) -> Result<u32, Fault> {
    let Some(word) = statement.flags.word("retries")? else { return Ok(0) };
    if word.text.is_empty() {
        return Ok(0);
    }
    match word.text.parse::<i32>().map(u32::try_from) {
        Ok(Ok(retries)) => Ok(retries),
        Ok(Err(_)) => {
            let message = format!("--retries cannot be negative ({})", word.text);
            Err(Fault::new(word.span, message))
        }
        Err(_) => {
            let message = format!("--retries must be a whole number, not \"{}\"", word.text);
            Err(Fault::new(word.span, message))
        }
    }
}
