//! `ps`, `container ls`.

mod filter;
mod ports;
mod row;
mod status;

use anyhow::Result;
use clap::Args;

use crate::cli::filter::{Pair, pair};
use crate::cli::table;
use crate::engine::Engine;
use crate::failure;
use crate::format::{Listing, Show};
use crate::record::Record;
use crate::state::Looker;
use filter::Filter;
pub(in crate::cli) use row::Rows;

#[derive(Debug, Args)]
pub(in crate::cli) struct Ps {
    /// Show all, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Show the one that was created last, whether it runs or not
    #[arg(short, long)]
    latest: bool,
    /// Show so many that were created last, whether they run or not
    #[arg(short = 'n', long, value_name = "NUMBER", allow_negative_numbers = true)]
    last: Option<i64>,
    /// Show ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show how much each has written, and how large its files are with those of its image
    #[arg(short, long)]
    size: bool,
    /// Show ids, commands and names of mounts in full
    #[arg(long)]
    no_trunc: bool,
    /// Only containers that are so: id, name, label, status, exited, health, ancestor, before, since, volume, network, ...
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = pair)]
    filter: Vec<Pair>,
    /// Print `json`, a template for each, or `table TEMPLATE`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

const HEADERS: [(&str, &str); 14] = [
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
];

const TABLE: [&str; 8] =
    ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names", "Size"];

impl Ps {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let format = self.format.as_deref().filter(|text| !text.is_empty());
        if self.quiet && format.is_some() {
            failure::tell(
                "WARNING: Ignoring custom format, because both --format and --quiet are set.",
            );
        }
        let format = format.filter(|_| !self.quiet);
        let looker = Looker::new(engine);
        let all = looker.list()?;
        let filter = Filter::new(engine, &self.filter, &all)?;
        let most = if self.latest { 1 } else { self.last.unwrap_or(-1) };
        let most = usize::try_from(most).ok().filter(|count| *count > 0);
        let with_ended = self.all || most.is_some() || filter.is_about_state();
        let chosen: Vec<&Record> = all
            .iter()
            .filter(|record| with_ended || record.is_active())
            .filter(|record| filter.takes(&looker, record))
            // The list begins with the newest.
            .take(most.unwrap_or(usize::MAX))
            .collect();
        let sizes = self.size || format.is_some_and(|format| format.contains(".Size"));
        let mut rows = Rows::new(engine, &looker, self.no_trunc, sizes);
        let rows: Vec<_> = chosen.into_iter().map(|record| rows.row(record)).collect();
        let listing = Listing {
            headers: &HEADERS,
            table: if self.size { &TABLE } else { &TABLE[..7] },
            quiet: "ID",
            ids: &["ID"],
        };
        let show = Show { format, quiet: self.quiet, no_trunc: self.no_trunc };
        table::print(&listing.render(show, &rows)?);
        Ok(0)
    }
}
