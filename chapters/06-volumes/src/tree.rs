//! Emptying and measuring trees of files that strangers have filled: by descriptors, never across a
//! mount.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Opens the directory `name` of `dir` for reading. A link is not followed, a mount not entered.
///
/// # Errors
/// `ELOOP` or `ENOTDIR` if it is a link or a file, `EXDEV` if something is mounted there.
pub fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(dir, name, how)
}

/// The names in a directory, without `.` and `..`, and whether each is a directory.
///
/// # Errors
/// What getdents(2) says.
pub fn names(dir: BorrowedFd<'_>) -> Result<Vec<(CString, bool)>, Errno> {
    // A descriptor of its own: the reading position is shared between duplicates.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut stream = Dir::from_fd(openat(dir, c".", flags, Mode::empty())?)?;
    let mut names = Vec::new();
    for entry in stream.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let is_dir = match entry.file_type() {
            Some(kind) => kind == Type::Directory,
            None => is_dir(dir, name)?,
        };
        names.push((name.to_owned(), is_dir));
    }
    Ok(names)
}

fn is_dir(dir: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok(SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
}

/// Removes everything in `top`, and leaves `top` itself.
///
/// A container can nest directories deeper than any stack or descriptor table goes, so nothing
/// recurses here: a directory inside a directory is first moved up into `top`. What another process
/// removes meanwhile is not missed.
///
/// # Errors
/// `EXDEV` or `EBUSY` if something is mounted in the tree, `EPERM` for an immutable file.
pub fn clear(top: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut moved: u64 = 0;
    loop {
        let entries = names(top)?;
        if entries.is_empty() {
            return Ok(());
        }
        for (name, is_dir) in entries {
            if !is_dir {
                gone(unlinkat(top, name.as_c_str(), UnlinkatFlags::NoRemoveDir))?;
                continue;
            }
            match open_dir(top, &name) {
                Ok(dir) => flatten(top, dir, &mut moved)?,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(errno),
            }
            gone(unlinkat(top, name.as_c_str(), UnlinkatFlags::RemoveDir))?;
        }
    }
}

/// Empties one directory: files are removed, directories moved up into `top`.
fn flatten(top: BorrowedFd<'_>, dir: OwnedFd, moved: &mut u64) -> Result<(), Errno> {
    use std::os::fd::AsFd;
    for (name, is_dir) in names(dir.as_fd())? {
        if !is_dir {
            gone(unlinkat(&dir, name.as_c_str(), UnlinkatFlags::NoRemoveDir))?;
            continue;
        }
        // Most directories are empty or hold only files by the time we meet them; try the cheap way
        // first.
        match unlinkat(&dir, name.as_c_str(), UnlinkatFlags::RemoveDir) {
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
            other => {
                gone(other)?;
                continue;
            }
        }
        loop {
            *moved += 1;
            match renameat(&dir, name.as_c_str(), top, format!(".moved-{moved}").as_str()) {
                // The name is taken by a file or by a directory that is not empty.
                Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => {}
                other => break gone(other)?,
            }
        }
    }
    Ok(())
}

fn gone(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// Deepest nesting that [`usage`] looks into: each level holds a descriptor.
const MEASURED_DEPTH: usize = 200;

/// Bytes that a tree takes on disk, as du(1) counts: blocks, hard links once, other mounts not at
/// all.
///
/// # Errors
/// What open(2) and getdents(2) say.
pub fn usage(top: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut linked = HashSet::new();
    usage_below(top, MEASURED_DEPTH, &mut linked)
}

fn usage_below(
    dir: BorrowedFd<'_>,
    depth: usize,
    linked: &mut HashSet<(u64, u64)>,
) -> Result<u64, Errno> {
    use std::os::fd::AsFd;
    let mut bytes = 0;
    for (name, is_dir) in names(dir)? {
        let stat = match fstatat(dir, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => continue,
            other => other?,
        };
        if is_dir && depth > 0 {
            match open_dir(dir, &name) {
                Ok(inner) => bytes += usage_below(inner.as_fd(), depth - 1, linked)?,
                Err(Errno::ENOENT | Errno::EXDEV) => continue,
                Err(errno) => return Err(errno),
            }
        }
        let first = is_dir || stat.st_nlink < 2 || linked.insert((stat.st_dev, stat.st_ino));
        if first {
            // st_blocks counts 512 bytes each, whatever the filesystem's block size is (stat(2)).
            bytes += stat.st_blocks as u64 * 512;
        }
    }
    Ok(bytes)
}
