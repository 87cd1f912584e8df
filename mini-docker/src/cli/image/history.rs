//! `history`.

use anyhow::Result;
use clap::{ArgAction, Args};
use serde_json::{Map, Value};

use crate::cli::table;
use crate::create::options::parse_bool;
use crate::engine::Engine;
use crate::format::{Listing, Show, sanitized};
use crate::image;
use crate::inspect::{self, Step};

/// Characters of a step's command without `--no-trunc`.
const CREATED_BY: usize = 45;

#[derive(Debug, Args)]
pub(in crate::cli) struct History {
    /// Print `json`, a template for each step, or `table TEMPLATE`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Sizes and times for people; with --human=false in bytes and RFC 3339
    #[arg(short = 'H', long, num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(default_value = "true", default_missing_value = "true", hide_default_value = true)]
    #[arg(value_parser = parse_bool, value_name = "BOOL")]
    human: bool,
    /// Show ids and commands in full
    #[arg(long)]
    no_trunc: bool,
    /// Show ids only
    #[arg(short, long)]
    quiet: bool,
    /// Image, by name or id
    image: String,
}

const HEADERS: [(&str, &str); 6] = [
    ("ID", "IMAGE"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

impl History {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let image = image::resolve(engine, &self.image)?;
        let steps = inspect::history(engine, &image)?;
        let rows: Vec<_> = steps.iter().map(|step| self.row(step)).collect();
        let created = if self.human { "CreatedSince" } else { "CreatedAt" };
        let listing = Listing {
            headers: &HEADERS,
            table: &["ID", created, "CreatedBy", "Size", "Comment"],
            quiet: "ID",
            ids: &["ID"],
        };
        let show =
            Show { format: self.format.as_deref(), quiet: self.quiet, no_trunc: self.no_trunc };
        table::print(&listing.render(show, &rows)?);
        Ok(0)
    }

    fn row(&self, step: &Step) -> Map<String, Value> {
        let mut by = sanitized(&step.created_by);
        if !self.no_trunc && by.chars().count() > CREATED_BY {
            by = by.chars().take(CREATED_BY - 1).chain(['…']).collect();
        }
        let none = || "N/A".to_owned();
        let size = if self.human { table::size(step.size) } else { step.size.to_string() };
        let at = |time: jiff::Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let cells = [
            ("ID", step.id.clone().unwrap_or_else(|| "<missing>".to_owned())),
            ("CreatedAt", step.created.map_or_else(none, at)),
            ("CreatedSince", step.created.map_or_else(none, table::ago)),
            ("CreatedBy", by),
            ("Size", size),
            ("Comment", sanitized(&step.comment)),
        ];
        cells.into_iter().map(|(field, text)| (field.to_owned(), text.into())).collect()
    }
}
