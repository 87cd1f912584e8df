//! Files that have been hashed before are not read again.
//!
//! A file whose device, inode, size and times are those of last time has the content of last time:
//! any write changes `ctime`, which no program can set (inode(7)). With one exception, git's *racy
//! clean*: clocks of file systems are coarse, so two writes within the same tick leave the same
//! `ctime`. A file that changed less than two seconds ago is therefore hashed now and not
//! remembered.
//!
//! The key is device and inode rather than a path: a hard link has one content, and a file that was
//! moved aside for another has a new `ctime` anyway. (Not for the merged tree of a stage: an
//! overlay's device number is given to the next overlay when it is gone.)
//!
//! The file: `mini-docker file hashes 1` and a newline, records of 85 bytes in little-endian, and
//! the SHA-256 of all that. It is only a shortcut: one that is damaged, old or missing is as good
//! as an empty one, and a write that fails costs time and nothing else. What nobody asked for in 30
//! days is left out when it is written.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use syscalls::{During, KernelError};

use crate::hash::Digest;
use crate::select::Stamp;

const HEADER: &[u8] = b"mini-docker file hashes 1\n";
const RECORD: usize = 85;
/// Younger changes may be followed by another in the same tick of the clock, in seconds.
const SETTLED: i64 = 2;
const DAY: i64 = 86_400;
/// After so many days without use a record is dropped.
const KEPT: u32 = 30;

/// What is known of files from earlier builds.
#[derive(Debug, Default)]
pub struct Remembered {
    path: PathBuf,
    records: HashMap<(u64, u64), Record>,
    changed: bool,
}

/// The content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The SHA-256 of its bytes.
    pub content: Digest,
    /// Whether it has extended attributes that are copied.
    pub has_xattrs: bool,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    stamp: Stamp,
    known: Known,
    /// The last day it was asked for, counted from 1970.
    used: u32,
}

impl Remembered {
    /// Reads the file, if it is there and whole. It belongs to one user: nobody else may write it.
    pub fn load(path: &Path) -> Self {
        let records = fs::read(path).ok().and_then(|bytes| parse(&bytes)).unwrap_or_default();
        Self { path: path.to_owned(), records, changed: false }
    }

    /// How many files are known.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no file is known.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What is known of a file in this very state.
    pub fn get(&mut self, stamp: &Stamp) -> Option<Known> {
        let record = self.records.get_mut(&(stamp.dev, stamp.ino))?;
        if record.stamp != *stamp {
            return None;
        }
        let today = today();
        if record.used != today {
            record.used = today;
            self.changed = true;
        }
        Some(record.known)
    }

    /// Notes what is in a file, if it has been at rest for long enough.
    pub fn put(&mut self, stamp: Stamp, known: Known) {
        if now() - stamp.ctime.0 <= SETTLED {
            return;
        }
        self.records.insert((stamp.dev, stamp.ino), Record { stamp, known, used: today() });
        self.changed = true;
    }

    /// Writes the file if there is anything new, as a whole: a reader sees the old one or the new
    /// one.
    ///
    /// # Errors
    /// Those of open(2), write(2) and rename(2); the caller may ignore them.
    pub fn save(&mut self) -> Result<(), KernelError> {
        if !self.changed {
            return Ok(());
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let temporary = self.path.with_file_name(format!(".{name}.{}", std::process::id()));
        let written = self.write(&temporary).and_then(|()| {
            fs::rename(&temporary, &self.path).during("rename", self.path.display())
        });
        match written {
            Ok(()) => self.changed = false,
            Err(_) => drop(fs::remove_file(&temporary)),
        }
        written
    }

    fn write(&self, path: &Path) -> Result<(), KernelError> {
        let mut bytes = HEADER.to_vec();
        let oldest = today().saturating_sub(KEPT);
        for record in self.records.values().filter(|record| record.used >= oldest) {
            record.write(&mut bytes);
        }
        let sum = Digest::of(&bytes);
        bytes.extend_from_slice(&sum.0);
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .during("create", path.display())?;
        file.write_all(&bytes).during("write", path.display())
    }
}

fn parse(bytes: &[u8]) -> Option<HashMap<(u64, u64), Record>> {
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    if Digest::of(body).0 != *sum {
        return None;
    }
    let records = body.strip_prefix(HEADER)?.chunks_exact(RECORD);
    if !records.remainder().is_empty() {
        return None;
    }
    records
        .map(|bytes| {
            let record = Record::read(bytes)?;
            Some(((record.stamp.dev, record.stamp.ino), record))
        })
        .collect()
}

impl Record {
    fn write(&self, bytes: &mut Vec<u8>) {
        let Stamp { dev, ino, size, mtime, ctime } = self.stamp;
        bytes.extend_from_slice(&dev.to_le_bytes());
        bytes.extend_from_slice(&ino.to_le_bytes());
        bytes.extend_from_slice(&size.to_le_bytes());
        for (seconds, nanoseconds) in [mtime, ctime] {
            bytes.extend_from_slice(&seconds.to_le_bytes());
            bytes.extend_from_slice(&(nanoseconds as u32).to_le_bytes());
        }
        bytes.extend_from_slice(&self.used.to_le_bytes());
        bytes.push(u8::from(self.known.has_xattrs));
        bytes.extend_from_slice(&self.known.content.0);
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
            let (first, rest) = bytes.split_first_chunk::<N>()?;
            *bytes = rest;
            Some(*first)
        }
        let bytes = &mut bytes;
        let dev = u64::from_le_bytes(take(bytes)?);
        let ino = u64::from_le_bytes(take(bytes)?);
        let size = i64::from_le_bytes(take(bytes)?);
        let mtime = (i64::from_le_bytes(take(bytes)?), u32::from_le_bytes(take(bytes)?).into());
        let ctime = (i64::from_le_bytes(take(bytes)?), u32::from_le_bytes(take(bytes)?).into());
        let used = u32::from_le_bytes(take(bytes)?);
        let [has_xattrs] = take(bytes)?;
        let known = Known { content: Digest(take(bytes)?), has_xattrs: has_xattrs != 0 };
        Some(Self { stamp: Stamp { dev, ino, size, mtime, ctime }, known, used })
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

fn today() -> u32 {
    u32::try_from(now() / DAY).unwrap_or(0)
}

#[cfg(test)]
#[path = "remember/tests.rs"]
mod tests;
