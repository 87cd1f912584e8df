//! `kill`: a signal and nothing else.

use anyhow::Result;
use clap::Args;

use super::each::each;
use crate::container::act;
use crate::engine::Engine;
use crate::terminal::parse_signal;

#[derive(Debug, Args)]
pub(in crate::cli) struct Kill {
    /// Signal to send to the first process: a name or a number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Kill {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let signal = parse_signal(&self.signal)?;
        Ok(each(engine, &self.containers, |engine, record| act::kill(engine, record, signal)))
    }
}
