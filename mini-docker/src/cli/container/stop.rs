//! `stop`: a signal, some time, and the end by force.

use anyhow::Result;
use clap::Args;

use super::each::failed;
use crate::cli::table;
use crate::container::stop::{How, stop};
use crate::containers::Containers;
use crate::engine::Engine;
use crate::terminal::parse_signal;

/// How to stop: the flags of `stop` and `restart`.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Signal to send [default: the container's own, or SIGTERM]
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Seconds to wait before it is killed; -1 for ever [default: the container's own, or 10]
    #[arg(
        short,
        long,
        visible_alias = "time",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    timeout: Option<i64>,
}

impl Flags {
    pub(super) fn how(&self) -> Result<How> {
        let signal = self.signal.as_deref().map(parse_signal).transpose()?;
        Ok(How { signal, timeout: self.timeout, tells: true })
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Stop {
    #[command(flatten)]
    flags: Flags,
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Stop {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let how = self.flags.how()?;
        let (mut records, mut places) = (Vec::new(), Vec::new());
        let mut results: Vec<Option<Result<()>>> = Vec::new();
        for (place, key) in self.containers.iter().enumerate() {
            match Containers::new(engine).find(key) {
                Ok(record) => {
                    records.push(record);
                    places.push(place);
                    results.push(None);
                }
                Err(error) => results.push(Some(Err(error))),
            }
        }
        // They end in any order, and are told in the order in which they were given.
        let (mut told, mut worst) = (0, 0);
        let mut tell = |results: &mut [Option<Result<()>>]| {
            while let Some(result) = results.get_mut(told).and_then(Option::take) {
                match result {
                    Ok(()) => table::print(&format!("{}\n", self.containers[told])),
                    Err(error) => worst = failed(&error),
                }
                told += 1;
            }
        };
        tell(&mut results);
        stop(engine, &records, &how, |index, result| {
            results[places[index]] = Some(result);
            tell(&mut results);
        });
        Ok(worst)
    }
}
