//! `events`, also as `system events`.

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;

use crate::engine::Engine;
use crate::events::{self, Event, Filter, Span};
use crate::failure::Failure;
use crate::format::Template;
use crate::prune::moment;

#[derive(Debug, Args)]
pub(super) struct Events {
    /// Show what has happened since then too: 10m, 2026-01-31T12:00:00Z, seconds since 1970
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// End then [default: never]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// Only some: container=, event=, image=, label=KEY[=VALUE], type=, volume=
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Print a template, or `json`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl Events {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let now = Timestamp::now();
        let span = Span {
            since: self
                .since
                .as_deref()
                .map(|text| time("--since", text, now))
                .transpose()?
                .unwrap_or(now),
            until: self.until.as_deref().map(|text| time("--until", text, now)).transpose()?,
        };
        let filter = Filter::parse(&self.filter)?;
        let format = Format::parse(self.format.as_deref())?;
        let mut out = std::io::stdout();
        events::watch(engine, span, &filter, &mut |event| {
            // Nobody reads on (`| head -1`): then there is nothing to wait for.
            let written = out.write_all(format.line(event)?.as_bytes()).and_then(|()| out.flush());
            Ok(if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(0)
    }
}

fn time(flag: &str, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    moment(text, now).ok_or_else(|| {
        Failure::new(format!("invalid value for {flag}: `{text}`")).hint(
            "a time ago (10m, 1h30m), a date (2026-01-31), a time of RFC 3339, or seconds since 1970",
        )
    })
}

/// How events are printed.
enum Format {
    Lines,
    Json,
    Template(Template),
}

impl Format {
    fn parse(text: Option<&str>) -> Result<Self, Failure> {
        Ok(match text {
            None | Some("") => Self::Lines,
            Some("json" | "{{json .}}") => Self::Json,
            Some(text) => Self::Template(Template::parse(text)?),
        })
    }

    fn line(&self, event: &Event) -> Result<String, Failure> {
        let text = match self {
            Self::Lines => event.line(),
            Self::Json => event.to_json().to_string(),
            Self::Template(template) => {
                crate::format::sanitized(&template.render(&event.fields())?)
            }
        };
        Ok(text + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_dockers() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, moment) in [
            ("10m", "2026-01-31T11:50:00Z"),
            ("1h30m", "2026-01-31T10:30:00Z"),
            ("-10s", "2026-01-31T12:00:10Z"),
            ("0s", "2026-01-31T12:00:00Z"),
            ("2026-01-02", "2026-01-02T00:00:00Z"),
            ("2026-01-02T03:04:05", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05.5+01:00", "2026-01-02T02:04:05.5Z"),
            ("1785000000", "2026-07-25T17:20:00Z"),
            ("1785000000.012345678", "2026-07-25T17:20:00.012345678Z"),
            ("1785000000.5", "2026-07-25T17:20:00.5Z"),
        ] {
            assert_eq!(time("--since", text, now).unwrap(), moment.parse().unwrap(), "{text}");
        }
        for wrong in ["", "yesterday", "1.x", "1785000000."] {
            assert!(time("--since", wrong, now).is_err(), "{wrong}");
        }
    }
}
