//! Verbs that take several containers go on after an error, as Docker does.

use anyhow::Result;

use crate::cli::table;
use crate::containers::Containers;
use crate::engine::Engine;
use crate::failure::{self, code};
use crate::record::Record;

/// Does it to each container, and prints its name or id as it was given.
pub(super) fn each(
    engine: &Engine,
    keys: &[String],
    act: impl Fn(&Engine, &Record) -> Result<()>,
) -> u8 {
    let mut worst = 0;
    for key in keys {
        let found = Containers::new(engine).find(key);
        match found.and_then(|record| act(engine, &record)) {
            Ok(()) => table::print(&format!("{key}\n")),
            Err(error) => worst = failed(&error),
        }
    }
    worst
}

/// Says what failed. Whatever that was, the command did not do what it should: 1.
pub(super) fn failed(error: &anyhow::Error) -> u8 {
    failure::report(error, code::OTHER);
    code::OTHER
}
