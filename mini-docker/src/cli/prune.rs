//! `image prune`.

use anyhow::Result;
use clap::Args;

use super::table;
use crate::engine::Engine;
use crate::failure;
use crate::prune::{self, Filters};

#[derive(Debug, Args)]
#[command(args_override_self = true, mut_args(crate::create::options::switch))]
pub(super) struct Images {
    /// Also images with a name that no container was made from
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only some: until=24h, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
}

impl Images {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let filters = Filters::parse(self.all, &self.filter, jiff::Timestamp::now())?;
        let what = match filters.all {
            true => "all images without at least one container associated to them",
            false => "all dangling images",
        };
        let question =
            format!("WARNING! This will remove {what}.\nAre you sure you want to continue? [y/N] ");
        if !self.force && !failure::confirmed(&question)? {
            return Ok(0);
        }
        let pruned = prune::images(engine, &filters)?;
        if !pruned.lines.is_empty() {
            table::print(&format!("Deleted Images:\n{}\n\n", pruned.lines.join("\n")));
        }
        table::print(&format!("Total reclaimed space: {}\n", table::size(pruned.reclaimed)));
        Ok(0)
    }
}
