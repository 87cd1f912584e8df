//! Owner, mode, extended attributes and time of an unpacked entry, in the only order that works.
//!
//! `chown` clears set-user-id bits and file capabilities, so it goes first; everything changes the
//! time, so that goes last.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{
    FchmodatFlags, Mode, UtimensatFlags, fchmod, fchmodat, fstat, futimens, utimensat,
};
use nix::unistd::{Gid, Uid, fchown, fchownat};
use syscalls::{During, KernelError};
use xattr::FileExt;

use crate::archive::{Entry, Kind};

/// Overlay's own attributes. A layer that brings them could redirect a directory to any other of
/// the image, or turn its files into holes; they mean something on our disk only.
pub(crate) const OVERLAY_PREFIXES: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// The mode to make a file or directory with: already the right one for most, but nobody gets a
/// set-user-id program of root for the moment until its owner is set.
pub(crate) fn first_mode(entry: &Entry) -> Mode {
    Mode::from_bits_truncate(entry.mode & 0o777)
}

/// Sets all attributes of an open file or directory. Returns the number of extended attributes that
/// were left out.
///
/// Most files are root's, with a mode that the umask lets through, and so were made right at once:
/// to look costs less than a tenth of two changes, each of which the filesystem logs.
pub(crate) fn set_on(file: &File, entry: &Entry) -> Result<u64, KernelError> {
    let name = || entry.shown();
    let stat = fstat(file).during("read attributes", name())?;
    if (stat.st_uid, stat.st_gid) != (entry.uid, entry.gid) {
        let (uid, gid) = owner(entry);
        fchown(file, uid, gid).during("set owner", name())?;
    }
    // The change of owner has cleared nothing that `stat` saw: a file has no set-user-id bits yet,
    // and a directory keeps them.
    if stat.st_mode & 0o7777 != entry.mode {
        fchmod(file, Mode::from_bits_truncate(entry.mode)).during("set mode", name())?;
    }
    let skipped = xattrs(entry, |key, value| file.set_xattr(key, value))?;
    futimens(file, &entry.mtime, &entry.mtime).during("set time", name())?;
    Ok(skipped)
}

/// Sets all attributes of what cannot be opened: a link, a device, a pipe. `name` was made a moment
/// ago, by us.
pub(crate) fn set_at(
    parent: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
) -> Result<u64, KernelError> {
    let shown = || entry.shown();
    let (uid, gid) = owner(entry);
    fchownat(parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW).during("set owner", shown())?;
    // A link has no mode of its own, and fchmodat would follow it.
    if entry.kind != Kind::Symlink {
        let mode = Mode::from_bits_truncate(entry.mode);
        fchmodat(parent, name, mode, FchmodatFlags::FollowSymlink).during("set mode", shown())?;
    }
    let skipped = if entry.xattrs.is_empty() {
        0
    } else {
        // There is no lsetxattr below a descriptor before Linux 6.13: /proc leads to the directory,
        // and the last part of the path is not followed.
        let path = below(parent, name);
        xattrs(entry, |key, value| xattr::set(&path, key, value))?
    };
    let no_follow = UtimensatFlags::NoFollowSymlink;
    utimensat(parent, name, &entry.mtime, &entry.mtime, no_follow).during("set time", shown())?;
    Ok(skipped)
}

/// A path that leads to `name` in an open directory, for calls that know no descriptors.
pub(crate) fn below(parent: BorrowedFd<'_>, name: &[u8]) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(OsStr::from_bytes(name))
}

/// Whether an attribute belongs to the overlay filesystem.
pub(crate) fn is_overlays(key: &[u8]) -> bool {
    OVERLAY_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// Takes away what an earlier entry of the same name has set, except overlay's own.
pub(crate) fn clear_xattrs(file: &File, shown: &str) -> Result<(), KernelError> {
    let names = match file.list_xattr() {
        Ok(names) => names,
        Err(error) if is(&error, Errno::ENOTSUP) => return Ok(()),
        Err(error) => return Err(error).during("list attributes", shown),
    };
    for key in names {
        let ours = [&b"user."[..], b"trusted.", b"security.capability"]
            .iter()
            .any(|prefix| key.as_bytes().starts_with(prefix));
        if ours && !is_overlays(key.as_bytes()) {
            file.remove_xattr(&key).during("remove attribute", shown)?;
        }
    }
    Ok(())
}

/// Marks a directory as opaque for overlay.
pub(crate) fn set_opaque(dir: &File, key: &str, shown: &str) -> Result<(), KernelError> {
    dir.set_xattr(key, b"y").during("mark opaque directory", shown)
}

fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
}

fn xattrs(
    entry: &Entry,
    set: impl Fn(&OsStr, &[u8]) -> io::Result<()>,
) -> Result<u64, KernelError> {
    let mut skipped = 0;
    for (key, value) in &entry.xattrs {
        if is_overlays(key) {
            skipped += 1;
            continue;
        }
        match set(OsStr::from_bytes(key), value) {
            Ok(()) => {}
            // The filesystem has no such attributes. Docker and containerd go on without them too.
            Err(error) if is(&error, Errno::ENOTSUP) => skipped += 1,
            // user.* exists on files and directories only (xattr(7)).
            Err(error) if is(&error, Errno::EPERM) && key.starts_with(b"user.") => skipped += 1,
            Err(error) => {
                let detail = format!("attribute {}", crate::error::shown(key));
                return Err(error)
                    .during("set attribute", entry.shown())
                    .map_err(|error| error.with_detail(detail));
            }
        }
    }
    Ok(skipped)
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// Opens what `name` in `parent` is now, if it is a directory.
pub(crate) fn open_dir(parent: impl AsFd, name: &[u8]) -> Result<File, Errno> {
    use nix::fcntl::{OFlag, openat};
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty()).map(File::from)
}
