//! `wait`: the exit codes of containers, when they have ended.

use anyhow::Result;
use clap::Args;

use super::each::failed;
use crate::cli::table;
use crate::container::wait::Waiting;
use crate::containers::Containers;
use crate::engine::Engine;

#[derive(Debug, Args)]
pub(in crate::cli) struct Wait {
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Wait {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let begin = |key: &String| {
            Containers::new(engine).find(key).and_then(|record| Waiting::begin(engine, &record))
        };
        // The second may end, and be removed, while the first runs.
        let all: Vec<Result<Waiting<'_>>> = self.containers.iter().map(begin).collect();
        let mut worst = 0;
        for waiting in all {
            match waiting.and_then(Waiting::code) {
                Ok(code) => table::print(&format!("{code}\n")),
                Err(error) => worst = failed(&error),
            }
        }
        Ok(worst)
    }
}
