//! `info` and `version`.

use anyhow::Result;
use clap::Args;

use super::table;
use crate::engine::Engine;
use crate::info;

#[derive(Debug, Args)]
pub(super) struct Info {}

impl Info {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        table::print(&info::render(&info::collect(engine)?));
        Ok(0)
    }
}

pub(super) fn version() -> Result<u8> {
    table::print(&format!("mini-docker {}\n", env!("CARGO_PKG_VERSION")));
    Ok(0)
}
