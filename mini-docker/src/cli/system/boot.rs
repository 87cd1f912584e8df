//! `system restart-all` and `system stop-all`: for the unit of systemd in `contrib/`.

use anyhow::Result;
use clap::Args;

use crate::boot;
use crate::cli::table;
use crate::engine::Engine;
use crate::failure::{self, code};

#[derive(Debug, Args)]
pub(in crate::cli) struct RestartAll {}

impl RestartAll {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let mut worst = 0;
        boot::restart_all(engine, &mut |name, outcome| tell(name, outcome, &mut worst))?;
        Ok(worst)
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StopAll {}

impl StopAll {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let mut worst = 0;
        for (name, outcome) in boot::stop_all(engine)? {
            tell(&name, outcome, &mut worst);
        }
        Ok(worst)
    }
}

fn tell(name: &str, outcome: Result<()>, worst: &mut u8) {
    match outcome {
        Ok(()) => table::print(&format!("{name}\n")),
        Err(error) => {
            failure::report(&error.context(format!("container {name}")), code::OTHER);
            *worst = code::OTHER;
        }
    }
}
