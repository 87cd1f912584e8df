//! `stats`.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value};

use crate::cli::table;
use crate::containers::Containers;
use crate::engine::Engine;
use crate::format::{Listing, Show};
use crate::record::Record;
use crate::state::Looker;
use crate::stats::{Meter, Usage};

#[derive(Debug, Args)]
pub(in crate::cli) struct Stats {
    /// Show all containers, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Show it once
    #[arg(long)]
    no_stream: bool,
    /// Show ids in full
    #[arg(long)]
    no_trunc: bool,
    /// Print `json`, a template for each, or `table TEMPLATE`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Names or ids [default: all that run]
    containers: Vec<String>,
}

const HEADERS: [(&str, &str); 9] = [
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

const LISTING: Listing<'_> = Listing {
    headers: &HEADERS,
    table: &["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"],
    quiet: "ID",
    ids: &["ID", "Container"],
};

/// Between two looks: long enough for a number that does not jump, Docker's value.
const PAUSE: Duration = Duration::from_secs(1);

/// Clears the screen; to its first line; clears to the end of the line, of the screen (console_codes(4)).
const CLEAR: &str = "\x1b[2J\x1b[H";
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K";
const REST: &str = "\x1b[J";

/// A container, and how the user named it.
struct Shown {
    key: String,
    record: Record,
}

impl Stats {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let containers = Containers::new(engine);
        // Each is looked for once: who is renamed meanwhile stays the same.
        let named: Vec<(String, String)> = self
            .containers
            .iter()
            .map(|key| Ok((key.clone(), containers.find(key)?.id)))
            .collect::<Result<_>>()?;
        // A template that says nothing that can be said is refused before a second has passed.
        LISTING.render(self.show(), &[cells("", "", "", None)])?;
        let in_place = !self.no_stream && std::io::stdout().is_terminal();
        let mut meter = Meter::new(engine);
        let mut first = true;
        loop {
            let mut rows = Vec::new();
            let shown = self.shown(engine, &named)?;
            for one in &shown {
                let usage = meter.look(&one.record)?;
                rows.push(cells(&one.key, &one.record.id, &one.record.name, usage.as_ref()));
            }
            // The share of the CPU is known from the second look on. Somebody who sits there sees the rest at once.
            if (!first || in_place) && !write(&self.text(&rows, in_place, first)?) {
                return Ok(0);
            }
            let is_over = !named.is_empty() && shown.is_empty();
            if is_over || (self.no_stream && !first) {
                return Ok(0);
            }
            first = false;
            std::thread::sleep(PAUSE);
        }
    }

    fn show(&self) -> Show<'_> {
        Show { format: self.format.as_deref(), quiet: false, no_trunc: self.no_trunc }
    }

    /// Which there are to show now.
    fn shown(&self, engine: &Engine, named: &[(String, String)]) -> Result<Vec<Shown>> {
        let looker = Looker::new(engine);
        if !named.is_empty() {
            let containers = Containers::new(engine);
            let shown = named.iter().filter_map(|(key, id)| {
                let record = looker.look(containers.load(id).ok()?)?;
                Some(Shown { key: key.clone(), record })
            });
            return Ok(shown.collect());
        }
        let records = looker.list()?.into_iter();
        let shown = records.filter(|record| self.all || record.pid().is_some());
        Ok(shown.map(|record| Shown { key: record.id.clone(), record }).collect())
    }

    /// One table; `in_place` of the one before.
    fn text(&self, rows: &[Map<String, Value>], in_place: bool, first: bool) -> Result<String> {
        let text = LISTING.render(self.show(), rows)?;
        if !in_place {
            return Ok(text);
        }
        let home = if first { CLEAR } else { HOME };
        Ok(format!("{home}{}{REST}", text.replace('\n', &format!("{END_OF_LINE}\n"))))
    }
}

/// False if nobody reads any more.
fn write(text: &str) -> bool {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// What one uses, in Docker's words. Without usage: it does not run.
fn cells(key: &str, id: &str, name: &str, usage: Option<&Usage>) -> Map<String, Value> {
    let nothing = Usage { cpu: Some(0.0), ..Usage::default() };
    let usage = usage.unwrap_or(&nothing);
    let pair = |one: String, other: String| format!("{one} / {other}");
    let cells = [
        ("Container", key.to_owned()),
        ("ID", id.to_owned()),
        ("Name", name.to_owned()),
        ("CPUPerc", usage.cpu.map_or_else(|| "--".to_owned(), |cpu| format!("{cpu:.2}%"))),
        ("MemUsage", pair(binary(usage.memory), binary(usage.memory_limit))),
        ("MemPerc", format!("{:.2}%", usage.memory_percent())),
        ("NetIO", pair(table::size(usage.received), table::size(usage.sent))),
        ("BlockIO", pair(table::size(usage.read), table::size(usage.written))),
        ("PIDs", usage.pids.to_string()),
    ];
    cells.into_iter().map(|(field, text)| (field.to_owned(), text.into())).collect()
}

/// A size with four digits and a power of 1024, as Docker shows memory: `1.953MiB`.
fn binary(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    // So many digits behind the point that there are four in all.
    let places = [9.9995, 99.995, 999.95].iter().filter(|limit| value < **limit).count();
    let text = format!("{value:.places$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_four_digits() {
        for (bytes, text) in [
            (0, "0B"),
            (1, "1B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (1536, "1.5KiB"),
            (2_047_999, "1.953MiB"),
            (10_485_760, "10MiB"),
            (16_777_217, "16MiB"),
            (33_715_651_379, "31.4GiB"),
            (99_876_864, "95.25MiB"),
            (131_281_715, "125.2MiB"),
            (1_048_575, "1024KiB"),
        ] {
            assert_eq!(binary(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn a_row_reads_as_dockers() {
        let busy = Usage {
            cpu: Some(12.345),
            memory: 6 << 20,
            memory_limit: 64 << 20,
            received: 1_500,
            sent: 700,
            read: 4_100_000,
            written: 0,
            pids: 3,
        };
        let id = "0123456789ab".repeat(5);
        let rows = [
            cells("web", &id, "web", Some(&busy)),
            cells(&id, &id, "new", Some(&Usage { cpu: None, ..busy })),
            cells(&id, &id, "ended", None),
        ];
        let text = LISTING.render(Show::default(), &rows).unwrap();
        insta::assert_snapshot!(text);
    }
}
