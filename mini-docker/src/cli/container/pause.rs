//! `pause` and `unpause`: all processes of a container stand still, and go on.

use anyhow::Result;
use clap::Args;

use super::each::each;
use crate::container::act;
use crate::engine::Engine;

#[derive(Debug, Args)]
pub(in crate::cli) struct Pause {
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Pause {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        Ok(each(engine, &self.containers, act::pause))
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Unpause {
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Unpause {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        Ok(each(engine, &self.containers, act::unpause))
    }
}
