//! `diff`, also as `container diff`.

use anyhow::Result;
use clap::Args;

use crate::changes;
use crate::cli::table;
use crate::engine::Engine;
use crate::format::sanitized;

/// A: added, C: changed, D: deleted.
#[derive(Debug, Args)]
pub(in crate::cli) struct Diff {
    /// Name or id
    container: String,
}

impl Diff {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let changes = changes::changes(engine, &self.container)?;
        let lines: String = changes
            .iter()
            .map(|change| format!("{} {}\n", change.kind.letter(), sanitized(&change.path)))
            .collect();
        table::print(&lines);
        Ok(0)
    }
}
