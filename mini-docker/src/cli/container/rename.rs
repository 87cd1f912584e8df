//! `rename`: a container gets another name.

use anyhow::Result;
use clap::Args;

use crate::containers::Containers;
use crate::engine::Engine;

#[derive(Debug, Args)]
pub(in crate::cli) struct Rename {
    /// Its name or id
    container: String,
    /// Its new name
    name: String,
}

impl Rename {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let containers = Containers::new(engine);
        let record = containers.find(&self.container)?;
        containers.rename(&record.id, &self.name)?;
        Ok(0)
    }
}
