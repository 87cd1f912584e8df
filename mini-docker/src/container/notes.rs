//! What should be in a container's record and could not be written there, because its disk is full: it is noted in the
//! folder of the run root, which is on another file system, and usually in memory.
//!
//! A note holds until the folder goes, or the container is started again: [`crate::reclaim`] carries it into the record.

use std::path::Path;

use crate::files::{read_json, remove_file, write_json};
use crate::record::Status;

/// How it ended: a [`Status::Exited`] or [`Status::Restarting`].
const END: &str = "ended";
/// The user wants it stopped.
const HALT: &str = "halted";

pub(super) fn note_end(run_dir: &Path, status: &Status) {
    // If that disk is full too, a killed supervisor is all that can be told of.
    write_json(&run_dir.join(END), status, false).ok();
}

/// How the run that began then has ended, if that could not be written down.
pub(crate) fn end_of(run_dir: &Path, running: &Status) -> Option<(i32, bool, jiff::Timestamp)> {
    let Status::Running { started: began, .. } = running else { return None };
    match read_json(&run_dir.join(END)).ok()? {
        Status::Exited { code, oom, started, finished }
        | Status::Restarting { code, oom, started, finished }
            if started == Some(*began) =>
        {
            Some((code, oom, finished))
        }
        _ => None,
    }
}

pub(super) fn note_halt(run_dir: &Path) -> anyhow::Result<()> {
    write_json(&run_dir.join(HALT), &true, false)
}

pub(super) fn is_halted(run_dir: &Path) -> bool {
    run_dir.join(HALT).exists()
}

/// The user starts it.
pub(super) fn forget_halt(run_dir: &Path) -> anyhow::Result<()> {
    remove_file(&run_dir.join(HALT))
}
