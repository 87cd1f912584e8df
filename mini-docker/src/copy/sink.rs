//! New files in an open directory. What has the name already makes way, unless one of the two is a directory and the
//! other is not. Nothing is written through a link, and a name is never more than one step away.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::libc;
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat, mknodat};
use nix::unistd::{UnlinkatFlags, Whence, ftruncate, linkat, lseek, symlinkat, unlinkat};
use syscalls::During;

use super::item::{Item, is_kernels};
use super::meta::{Meta, give};
use super::walk::Tell;
use crate::failure::Failure;

/// So much of a file is copied at once, as the kernel does it best: whole blocks that a copy may share. In between it is
/// told how far it is.
const CHUNK: u64 = 8 << 20;

/// How often somebody may put something back in the way.
const ATTEMPTS: usize = 16;

/// Opens the directory `name`, making it if it is missing. Its attributes are given when it is full.
pub(super) fn directory(parent: BorrowedFd<'_>, name: &OsStr, shown: &str) -> Result<OwnedFd> {
    match mkdirat(parent, name, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => Err(errno).during("make directory", shown)?,
    }
    let item = Item::open(parent, name).during("open directory", shown)?;
    if !item.is_dir() {
        return Err(Failure::new(format!(
            "cannot overwrite non-directory with directory: `{shown}`"
        ))
        .hint("remove it there, or copy to another place")
        .into());
    }
    let dir = item.directory().during("open directory", shown)?;
    refuse_kernels(dir.as_fd(), shown)?;
    Ok(dir)
}

/// Fails for a place in /proc, /sys or the like.
pub(super) fn refuse_kernels(dir: BorrowedFd<'_>, shown: &str) -> Result<()> {
    if !is_kernels(dir).during("ask for the file system of", shown)? {
        return Ok(());
    }
    Err(Failure::new(format!("`{shown}` is on a file system of the kernel"))
        .hint("cp is for files; what is in /proc and /sys is read and written with `mini-docker exec`")
        .into())
}

/// Makes a regular file; `fill` writes it and returns the number of bytes.
pub(super) fn file(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    meta: &Meta,
    shown: &str,
    fill: impl FnOnce(&File) -> Result<u64>,
) -> Result<u64> {
    let exclusive = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let create =
        || openat(parent, name, exclusive | OFlag::O_CLOEXEC, Mode::S_IRUSR | Mode::S_IWUSR);
    let made = match make(parent, name, shown, create) {
        // A file that is mounted, /etc/hosts: its name cannot go, but it can be written.
        Err(error) if errno(&error) == Some(Errno::EBUSY) => mounted_file(parent, name, shown)?,
        other => other?,
    };
    let file = File::from(made);
    let bytes = fill(&file)?;
    meta.give(file.as_fd(), SFlag::S_IFREG, shown)?;
    Ok(bytes)
}

fn mounted_file(parent: BorrowedFd<'_>, name: &OsStr, shown: &str) -> Result<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = openat(parent, name, flags, Mode::empty()).during("open file", shown)?;
    let stat = fstat(&file).during("look at file", shown)?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        Err(Errno::EBUSY).during("replace file", shown)?;
    }
    refuse_kernels(file.as_fd(), shown)?;
    ftruncate(&file, 0).during("empty file", shown)?;
    Ok(file)
}

/// Makes a symbolic link.
pub(super) fn link(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    target: &OsStr,
    meta: &Meta,
    shown: &str,
) -> Result<()> {
    make(parent, name, shown, || symlinkat(target, parent, name))?;
    finish(parent, name, SFlag::S_IFLNK, meta, shown)
}

/// Makes a device or a named pipe.
pub(super) fn node(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    kind: SFlag,
    device: libc::dev_t,
    meta: &Meta,
    shown: &str,
) -> Result<()> {
    make(parent, name, shown, || mknodat(parent, name, kind, Mode::empty(), device))?;
    finish(parent, name, kind, meta, shown)
}

/// Gives a file that is held a second name.
pub(super) fn hard_link(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    first: &Item,
    shown: &str,
) -> Result<()> {
    // A link to itself is there already; making way for it would remove the file.
    if Item::open(parent, name).is_ok_and(|there| there.identity() == first.identity()) {
        return Ok(());
    }
    let path = first.path();
    make(parent, name, shown, || linkat(AT_FDCWD, &path, parent, name, AtFlags::AT_SYMLINK_FOLLOW))
}

/// Attributes for what cannot be opened: it was made a moment ago, and is still what was made.
fn finish(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    kind: SFlag,
    meta: &Meta,
    shown: &str,
) -> Result<()> {
    let item = Item::open(parent, name).during("open", shown)?;
    if item.kind() != kind {
        Err(Errno::ESTALE).during("open", shown)?;
    }
    give(meta, &item, shown)
}

/// Makes something new under a name, after what has it has made way.
fn make<T>(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    shown: &str,
    create: impl Fn() -> Result<T, Errno>,
) -> Result<T> {
    for _ in 0..ATTEMPTS {
        match create() {
            Err(Errno::EEXIST) => {}
            other => return Ok(other.during("make file", shown)?),
        }
        match Item::open(parent, name) {
            Err(Errno::ENOENT) => continue,
            Ok(item) if item.is_dir() => {
                return Err(Failure::new(format!(
                    "cannot overwrite directory with non-directory: `{shown}`"
                ))
                .hint("remove it there, or copy to another place")
                .into());
            }
            other => other.during("open", shown)?,
        };
        // unlink(2) would take the mount away, in the container too: it is not of our mount namespace.
        if is_mount(parent, name) {
            Err(Errno::EBUSY).during("replace file", shown)?;
        }
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT | Errno::EISDIR) => {}
            other => other.during("replace file", shown)?,
        }
    }
    Ok(Err(Errno::EEXIST).during("make file", shown)?)
}

/// Whether something is mounted on a file: then its name leads over the border of a mount.
fn is_mount(parent: BorrowedFd<'_>, name: &OsStr) -> bool {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_XDEV);
    openat2(parent, name, how).err() == Some(Errno::EXDEV)
}

fn errno(error: &anyhow::Error) -> Option<Errno> {
    error.downcast_ref::<syscalls::KernelError>().map(|error| error.errno)
}

/// Copies the data of a file, at most as much as it had when it was looked at: one that grows while we read must not
/// fill the disk. Holes stay holes (lseek(2), `SEEK_DATA`).
pub(super) fn contents(
    from: &File,
    to: &File,
    size: i64,
    shown: &str,
    tell: Tell<'_>,
) -> Result<u64> {
    let (mut position, mut bytes) = (0, 0);
    while position < size {
        let start = match lseek(from, position, Whence::SeekData) {
            // Nothing but a hole up to the end.
            Err(Errno::ENXIO) => break,
            // A file system without holes.
            Err(Errno::EINVAL) => position,
            other => other.during("read file", shown)?,
        };
        let end = lseek(from, start, Whence::SeekHole).unwrap_or(size).min(size);
        let (mut source, mut copy) = (from, to);
        source.seek(io::SeekFrom::Start(start.cast_unsigned())).during("read file", shown)?;
        copy.seek(io::SeekFrom::Start(start.cast_unsigned())).during("write file", shown)?;
        let wanted = (end - start).max(0).cast_unsigned().min(CHUNK);
        // The standard library asks for copy_file_range(2), which shares blocks where the file system can.
        let copied = io::copy(&mut from.take(wanted), &mut copy).during("copy file", shown)?;
        bytes += copied;
        tell(copied);
        if copied == 0 {
            break;
        }
        position = start + copied.cast_signed();
    }
    // A hole at its end. One that has become shorter meanwhile stays short.
    let now = from.metadata().during("look at file", shown)?.len();
    to.set_len(now.min(size.cast_unsigned())).during("write file", shown)?;
    Ok(bytes)
}

/// Makes what is missing of a directory, with mode 0755, root's.
pub(super) fn directories(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let shown = path.display().to_string();
    let place = syscalls::inroot::create_dir_all(root, path).during("make directory", &shown)?;
    let item = Item::of(place).during("look at directory", &shown)?;
    item.directory().with_context(|| format!("open directory `{shown}`"))
}
