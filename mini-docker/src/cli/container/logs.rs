//! `logs`: what a container has written.

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;

use crate::containers::Containers;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::log::{self, Selection, Tail};

#[derive(Debug, Args)]
pub(in crate::cli) struct Logs {
    /// Go on with what comes, until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Show so many lines from the end
    #[arg(
        short = 'n',
        long,
        value_name = "NUMBER|all",
        default_value = "all",
        allow_hyphen_values = true
    )]
    tail: String,
    /// Show what was written since then: 2026-01-02T15:04:05Z, Unix seconds, or so long ago (10m)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Show what was written until then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Show attributes that log options have added
    #[arg(long)]
    details: bool,
    /// Name or id
    container: String,
}

impl Logs {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let now = Timestamp::now();
        let time = |what, text: Option<&String>| {
            text.map(|text| log::when::parse(what, text, now)).transpose()
        };
        let selection = Selection {
            tail: parse_tail(&self.tail)?,
            since: time("since", self.since.as_ref())?,
            until: time("until", self.until.as_ref())?,
            timestamps: self.timestamps,
            details: self.details,
            follow: self.follow,
        };
        let record = Containers::new(engine).find(&self.container)?;
        log::show(engine, &record, &selection)
    }
}

/// A number of lines. Docker takes a negative one for all.
fn parse_tail(text: &str) -> Result<Tail> {
    if text == "all" {
        return Ok(Tail::All);
    }
    match text.parse::<i64>() {
        Ok(number) => Ok(u64::try_from(number).map_or(Tail::All, Tail::Last)),
        Err(_) => Err(Failure::new(format!("invalid number of lines `{text}`"))
            .hint("--tail takes a number or `all`")
            .into()),
    }
}
