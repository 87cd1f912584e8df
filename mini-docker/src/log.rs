//! The log of a container: what it has written, as lines, in Docker's json-file format.
//!
//! The monitor writes it ([`Writer`]), `logs` reads it ([`show`]), and both may do so at the same time, while the files
//! are rotated. One JSON object is one line:
//!
//! ```text
//! {"log":"text\n","stream":"stdout","time":"2026-01-01T00:00:00.123456789Z"}
//! ```
//!
//! - `<id>-json.log` is written; `.1` is the file before it, `.2` the one before that.
//! - A file is rotated only by who holds an exclusive `flock(2)` on it. Who opens several files holds a shared one for
//!   that moment, so that they are a row without gaps. The writer does not wait for it, it rotates later.
//! - Bytes that were written stay as they are, also after a crash or on a full disk: a torn line gets its end with the
//!   next write, and readers pass over it.

mod entry;
mod files;
mod follow;
mod lines;
mod show;
pub mod when;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use show::{Selection, Tail, show};
pub use writer::Writer;

/// Where a container's log is: in the folder of its record. Older files have `.1`, `.2` and so on behind the name.
pub fn path(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("{id}-json.log"))
}

/// The name of an older file: the one before the log is number 1.
fn older(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}
