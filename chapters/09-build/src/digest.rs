//! What is in a selection, as one number: two that are equal make the same layer, so the cache may
//! take the old one.
//!
//! In it for each entry: the path from the target, what it is, mode and owner as they will be,
//! where a link points, a device's number, extended attributes, the SHA-256 of a file's content,
//! and which names are hard links of one file. Not in it: times. A `git clone` or a `touch` changes
//! them and nothing that a program in the image would miss.
//!
//! Files are hashed where they are, by two threads, and not at all if [`Remembered`] knows them.
//! Beside the one number there is a short one for each entry: only with them can a cache say what
//! has changed.

mod changes;

use std::collections::{BTreeMap, HashMap};
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use syscalls::During;

pub use changes::Changes;

use crate::attributes::{Attributes, xattrs};
use crate::file_error::FileError;
use crate::hash::{Digest, Hasher};
use crate::names::{Shown, shown};
use crate::remember::{Known, Remembered};
use crate::select::{Entry, Kind, Selection, Stamp};

/// Bytes that are read at a time.
const BUFFER: usize = 256 * 1024;
/// Fewer files than that are hashed before a second thread has started.
const WORTH_A_THREAD: usize = 16;
/// Hex digits of an entry's short digest.
const SHORT: usize = 16;

/// What is in a selection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Of everything.
    pub digest: Digest,
    /// The entries' names from the root (as [`shown`] writes them), each with a short digest.
    pub entries: BTreeMap<String, String>,
}

/// Takes the digest of a selection below the root in which it was found.
///
/// # Errors [`FileError::Changed`] if a file is not what it was when it was selected; those of
/// open(2) and read(2).
pub fn digest(
    root: BorrowedFd<'_>,
    selection: &Selection,
    attributes: &Attributes,
    mut remembered: Option<&mut Remembered>,
) -> Result<Content, FileError> {
    let known = contents(root, selection, &mut remembered)?;
    let mut whole = Hasher::new();
    whole.field(b"mini-docker selection 1");
    whole.update(&[u8::from(selection.parents)]);
    let mut entries = BTreeMap::new();
    let mut first_names: HashMap<(u64, u64), &[u8]> = HashMap::new();
    let mut known = known.into_iter();
    for top in &selection.tops {
        whole.update(&[u8::from(top.is_directory)]);
        whole.update(&(top.entries.len() as u64).to_le_bytes());
        for entry in &top.entries {
            let mut hash = Hasher::new();
            head(&mut hash, entry, attributes);
            let known = known.next().flatten();
            if entry.kind == Kind::File && entry.linked {
                let inode = (entry.stamp.dev, entry.stamp.ino);
                hash.field(first_names.entry(inode).or_insert(&entry.path));
            }
            if entry.kind == Kind::Directory || known.is_some_and(|known| known.has_xattrs) {
                let (file, _) = entry.open_with(root, OFlag::O_RDONLY)?;
                for (name, value) in xattrs(&file, &entry.source)? {
                    hash.field(name.as_encoded_bytes());
                    hash.field(&value);
                }
            }
            if let Some(known) = known {
                hash.update(&known.content.0);
            }
            let digest = hash.finish();
            whole.update(&digest.0);
            entries.insert(shown(&entry.source), digest.short(SHORT));
        }
    }
    Ok(Content { digest: whole.finish(), entries })
}

/// Takes the digest of a file that the builder makes itself: a heredoc, a download.
pub fn digest_of_bytes(bytes: &[u8], name: &[u8], mode: u32, attributes: &Attributes) -> Content {
    let mut hash = Hasher::new();
    let (uid, gid) = attributes.owner.of(0, 0);
    hash.field(b"mini-docker bytes 1");
    hash.field(name);
    hash.update(&attributes.mode(mode, false).to_le_bytes());
    hash.update(&uid.to_le_bytes());
    hash.update(&gid.to_le_bytes());
    hash.field(bytes);
    let digest = hash.finish();
    Content { digest, entries: BTreeMap::from([(shown(name), digest.short(SHORT))]) }
}

/// All but attributes and content.
fn head(hash: &mut Hasher, entry: &Entry, attributes: &Attributes) {
    let (uid, gid) = attributes.owner.of(entry.uid, entry.gid);
    hash.field(&entry.path);
    hash.update(&entry.kind.flag().bits().to_le_bytes());
    hash.update(&attributes.mode_of(entry).to_le_bytes());
    hash.update(&uid.to_le_bytes());
    hash.update(&gid.to_le_bytes());
    hash.update(&[u8::from(entry.implied)]);
    match &entry.kind {
        Kind::Symlink(target) => hash.field(target),
        Kind::Device(_, number) => hash.update(&number.to_le_bytes()),
        Kind::Directory | Kind::File | Kind::Fifo => {}
    }
}

/// What is in each file, in the order of the entries; none for what is no file.
fn contents(
    root: BorrowedFd<'_>,
    selection: &Selection,
    remembered: &mut Option<&mut Remembered>,
) -> Result<Vec<Option<Known>>, FileError> {
    let entries: Vec<&Entry> = selection.entries().collect();
    let mut known = vec![None; entries.len()];
    let mut unknown = Vec::new();
    for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.kind == Kind::File) {
        known[at] = remembered.as_mut().and_then(|remembered| remembered.get(&entry.stamp));
        if known[at].is_none() {
            unknown.push(at);
        }
    }
    for (at, stamp, found) in read(root, &entries, &unknown)? {
        known[at] = Some(found);
        if let Some(remembered) = remembered.as_mut().filter(|_| stamp == entries[at].stamp) {
            remembered.put(stamp, found);
        }
    }
    Ok(known)
}

/// A file's place in the list, its state after it was read, and what is in it.
type Found = (usize, Stamp, Known);

/// Hashes files, by two threads if there are many.
fn read(
    root: BorrowedFd<'_>,
    entries: &[&Entry],
    unknown: &[usize],
) -> Result<Vec<Found>, FileError> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::with_capacity(unknown.len()));
    let work = || -> Result<(), FileError> {
        let mut buffer = vec![0; BUFFER];
        while let Some(&at) = unknown.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (stamp, known) = read_one(root, entries[at], &mut buffer).inspect_err(|_| {
                // The other thread need not go on.
                next.store(unknown.len(), Ordering::Relaxed);
            })?;
            found.lock().unwrap_or_else(|poison| poison.into_inner()).push((at, stamp, known));
        }
        Ok(())
    };
    if unknown.len() < WORTH_A_THREAD {
        work()?;
    } else {
        std::thread::scope(|scope| {
            let other =
                std::thread::Builder::new().name("hash files".into()).spawn_scoped(scope, work);
            let mine = work();
            // No thread to be had: then this one has done it all.
            let others = other.map_or(Ok(()), |thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            mine.and(others)
        })?;
    }
    Ok(found.into_inner().unwrap_or_else(|poison| poison.into_inner()))
}

fn read_one(
    root: BorrowedFd<'_>,
    entry: &Entry,
    buffer: &mut [u8],
) -> Result<(Stamp, Known), FileError> {
    let (file, _) = entry.open_with(root, OFlag::O_RDONLY)?;
    let mut hash = Hasher::new();
    hash.read(&file, buffer).during("read", Shown(&entry.source))?;
    let has_xattrs = !xattrs(&file, &entry.source)?.is_empty();
    let stat = nix::sys::stat::fstat(&file).during("read attributes", Shown(&entry.source))?;
    Ok((Stamp::of(&stat), Known { content: hash.finish(), has_xattrs }))
}
