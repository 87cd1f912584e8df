//! `restart`: stopped and started again.

use anyhow::Result;
use clap::Args;

use super::each::each;
use super::stop::Flags;
use crate::container::stop::restart;
use crate::engine::Engine;

#[derive(Debug, Args)]
pub(in crate::cli) struct Restart {
    #[command(flatten)]
    flags: Flags,
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Restart {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let how = self.flags.how()?;
        // One after the other, as Docker: the others serve meanwhile.
        Ok(each(engine, &self.containers, |engine, record| restart(engine, record, &how)))
    }
}
