//! How much an archive may unpack to.
//!
//! A thousand bytes of zeros compress to one: a download of 100 MB can be a layer of 100 GB, and a
//! million empty files take no data and yet all inodes of a disk.

use std::cell::Cell;
use std::io::{self, Read};

use crate::error::{UnpackError, shown};

/// What a layer may hold. With more it is refused, at the entry that goes too far; a file that is
/// too large is refused before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in files (holes not counted), in targets of symbolic links, and in extended
    /// attributes. No limit by default; the free space of the disk, less a reserve, makes a good
    /// one.
    pub bytes: u64,
    /// Entries of the archive, and directories that must be made for them. By default ten million:
    /// more than a hundred times as many as a whole desktop system has.
    pub entries: u64,
    /// Bytes of the uncompressed archive, with all that follows its end. No limit by default. It
    /// bounds the time to read it, not the space: padding behind the end is hashed and dropped.
    pub archive: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: u64::MAX, entries: 10_000_000, archive: u64::MAX }
    }
}

/// What is left of the limits.
pub(crate) struct Budget {
    limits: Limits,
    bytes: Cell<u64>,
    entries: Cell<u64>,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, bytes: Cell::new(limits.bytes), entries: Cell::new(limits.entries) }
    }

    /// Spends bytes, all or none of them.
    pub(crate) fn bytes(&self, bytes: u64, entry: &[u8]) -> Result<(), UnpackError> {
        spend(&self.bytes, bytes, self.limits.bytes, "bytes", entry)
    }

    /// Spends one entry.
    pub(crate) fn entry(&self, entry: &[u8]) -> Result<(), UnpackError> {
        spend(&self.entries, 1, self.limits.entries, "files and directories", entry)
    }
}

fn spend(
    left: &Cell<u64>,
    number: u64,
    allowed: u64,
    what: &'static str,
    entry: &[u8],
) -> Result<(), UnpackError> {
    match left.get().checked_sub(number) {
        Some(rest) => {
            left.set(rest);
            Ok(())
        }
        None => Err(UnpackError::Limit { entry: shown(entry), allowed, what }),
    }
}

/// A reader that fails after so many bytes, if there are more.
pub(crate) struct Bounded<R> {
    inner: R,
    allowed: u64,
    left: u64,
}

impl<R> Bounded<R> {
    pub(crate) fn new(inner: R, allowed: u64) -> Self {
        Self { inner, allowed, left: allowed }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if length == 0 && !into.is_empty() {
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::other(format!(
                    "the archive has more than the {} bytes that are allowed",
                    self.allowed
                ))),
            };
        }
        let length = self.inner.read(&mut into[..length])?;
        self.left -= length as u64;
        Ok(length)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_is_still_allowed() {
        for allowed in 0..7 {
            let mut got = Vec::new();
            let read = Bounded::new(&b"12345"[..], allowed).read_to_end(&mut got);
            assert_eq!(read.is_ok(), allowed >= 5, "{allowed}");
            assert_eq!(got.len() as u64, allowed.min(5));
        }
    }
}
