//! Layers that the disk may not have yet.
//!
//! A file that was written is in memory first; the kernel brings it to the disk within half a
//! minute. To wait for that takes longer than all the rest of unpacking. A killed process loses
//! nothing of it, a power cut does, and then a layer may be there with files that are empty. So a
//! new layer has a mark that says in which *boot* of the machine it was made:
//!
//! ```text
//! DIR/<64 hex digits>/unsynced -> 34f9a4b5-...    the boot (proc(5), random/boot_id)
//! ```
//!
//! In that boot the layer is as good as any. After the next one, with the mark still there, nobody
//! knows, and the layer does not count. The mark is a symbolic link because that is made with its
//! content in one step: no crash leaves an empty one.

use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::stat::fstatat;
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

use crate::digest::DiffId;

const MARK: &str = "unsynced";

/// Whether a layer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// There is none.
    Missing,
    /// The disk has it.
    Synced,
    /// Memory has it.
    Unsynced,
    /// Perhaps the machine went down before the disk had all of it.
    Doubtful,
}

/// The state of a layer, in two system calls for one that is synced.
pub(crate) fn state(store: impl AsFd, id: &DiffId) -> State {
    match readlinkat(&store, &*format!("{}/{MARK}", id.hex())) {
        Ok(boot) if this_boot().is_some_and(|this| boot == this) => State::Unsynced,
        Ok(_) => State::Doubtful,
        Err(Errno::ENOENT) => match fstatat(&store, id.hex(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => State::Synced,
            Err(_) => State::Missing,
        },
        Err(_) => State::Doubtful,
    }
}

/// Marks the layer in an open folder. False if this boot has no name, because /proc is not mounted.
pub(crate) fn mark(folder: impl AsFd) -> Result<bool, Errno> {
    match this_boot() {
        Some(boot) => symlinkat(boot, folder, MARK).map(|()| true),
        None => Ok(false),
    }
}

/// Takes the mark off, after a sync.
pub(crate) fn unmark(folder: impl AsFd) -> Result<(), Errno> {
    match unlinkat(folder, MARK, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// How long ago a layer was marked. None for one that has no mark.
pub(crate) fn marked_for(store: impl AsFd, id: &DiffId) -> Option<Duration> {
    let mark = format!("{}/{MARK}", id.hex());
    let stat = fstatat(store, &*mark, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    let made = UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).ok()?);
    // A clock that was set back: old enough.
    Some(SystemTime::now().duration_since(made).unwrap_or(Duration::MAX))
}

fn this_boot() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(text.trim().to_owned()).filter(|boot| !boot.is_empty())
    };
    BOOT.get_or_init(read).as_deref()
}
