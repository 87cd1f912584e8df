//! Copies a tree of files from one descriptor to another, with all that belongs to a file.
//!
//! Every file is opened or made by one plain name in an open directory, never by a longer path and
//! never through a link. What cannot be opened (links, devices, fifos) is held by an `O_PATH`
//! descriptor, and reached where a call wants a path through `/proc/self/fd/N`, which leads to that
//! very file even if its name has been swapped.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{
    FileStat, Mode, SFlag, UtimensatFlags, fstat, fstatat, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, Whence, fchownat, linkat, lseek, symlinkat};
use syscalls::inroot;

use crate::tree;

/// Deepest nesting that is copied; each level holds two descriptors.
const DEPTH: usize = 300;

const NO_FOLLOW: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC);

/// A copy under way.
pub(crate) struct Copy<'a> {
    /// The root of the copy.
    root: BorrowedFd<'a>,
    /// Files with several names: device and inode of the original, path of the first copy below
    /// `root`.
    links: HashMap<(u64, u64), PathBuf>,
    /// Where we are, for hard links and, after a failure, for the error.
    path: PathBuf,
}

impl<'a> Copy<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>) -> Self {
        Self { root, links: HashMap::new(), path: PathBuf::new() }
    }

    /// The file at which the copy is, or at which it failed, below the root.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Copies what is in the directory `from` into the directory `to`, then `from`'s own metadata.
    pub(crate) fn tree(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
        if self.path.components().count() > DEPTH {
            return Err(Errno::ENAMETOOLONG.into());
        }
        let stat = fstat(from)?;
        for (name, _) in tree::names(from)? {
            self.path.push(OsStr::from_bytes(name.to_bytes()));
            self.entry(from, to, &name)?;
            self.path.pop();
        }
        // Last, because every new name changes the directory's times.
        metadata(&stat, from, to)
    }

    fn entry(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let stat = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let kind = file_type(&stat);
        if kind == SFlag::S_IFDIR {
            mkdirat(to, name, Mode::S_IRWXU)?;
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | NO_FOLLOW;
            let source = openat(from, name, flags, Mode::empty())?;
            let copy = openat(to, name, flags, Mode::empty())?;
            return self.tree(source.as_fd(), copy.as_fd());
        }
        let identity = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&identity) {
                let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
                let first = inroot::open(self.root, first, flags, Mode::empty())?;
                let flags = AtFlags::AT_SYMLINK_FOLLOW;
                return Ok(linkat(AT_FDCWD, &descriptor_path(first.as_fd()), to, name, flags)?);
            }
            self.links.insert(identity, self.path.clone());
        }
        match kind {
            SFlag::S_IFREG => {
                let source = File::from(open_same(from, name, OFlag::O_RDONLY, &stat)?);
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | NO_FOLLOW;
                let copy = File::from(openat(to, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
                contents(&source, &copy, stat.st_size)?;
                return metadata(&stat, source.as_fd(), copy.as_fd());
            }
            SFlag::S_IFLNK => symlinkat(readlinkat(from, name)?.as_os_str(), to, name)?,
            _ => mknodat(to, name, kind, Mode::empty(), stat.st_rdev)?,
        }
        let source = open_same(from, name, OFlag::O_PATH, &stat)?;
        let copy = openat(to, name, OFlag::O_PATH | NO_FOLLOW, Mode::empty())?;
        if file_type(&fstat(&copy)?) != kind {
            // Somebody has put another file in its place.
            return Err(Errno::ESTALE.into());
        }
        metadata(&stat, source.as_fd(), copy.as_fd())
    }
}

/// Gives a file the owner, mode, extended attributes and times of another, whatever kind they are.
/// `stat` is from before the original was read, which changes its access time.
pub(crate) fn metadata(
    stat: &FileStat,
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
) -> io::Result<()> {
    let (source, copy) = (descriptor_path(from), descriptor_path(to));
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchownat(to, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
    // After chown(2), which takes set-user-id bits and file capabilities off.
    if file_type(stat) != SFlag::S_IFLNK {
        fs::set_permissions(&copy, Permissions::from_mode(stat.st_mode & 0o7777))?;
    }
    attributes(&source, &copy)?;
    let accessed = TimeSpec::new(stat.st_atime, stat.st_atime_nsec);
    let modified = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
    Ok(utimensat(AT_FDCWD, &copy, &accessed, &modified, UtimensatFlags::FollowSymlink)?)
}

/// Opens a file that was just looked at, and makes sure that it still is that file.
fn open_same(
    dir: BorrowedFd<'_>,
    name: &CStr,
    flags: OFlag,
    seen: &FileStat,
) -> Result<OwnedFd, Errno> {
    // O_NONBLOCK: should it be a fifo by now, opening must not wait for a writer.
    let fd = openat(dir, name, flags | NO_FOLLOW | OFlag::O_NONBLOCK, Mode::empty())?;
    let stat = fstat(&fd)?;
    if (stat.st_ino, file_type(&stat)) == (seen.st_ino, file_type(seen)) {
        Ok(fd)
    } else {
        Err(Errno::ESTALE)
    }
}

fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// The name under which the kernel gives access to the file behind a descriptor, even a link
/// (proc_pid_fd(5)).
fn descriptor_path(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Copies the data of a file and leaves its holes out (lseek(2), `SEEK_DATA`).
fn contents(from: &File, to: &File, size: i64) -> io::Result<()> {
    let mut position = 0;
    while position < size {
        let start = match lseek(from, position, Whence::SeekData) {
            // Nothing but a hole up to the end.
            Err(Errno::ENXIO) => break,
            other => other?,
        };
        let end = lseek(from, start, Whence::SeekHole)?;
        lseek(from, start, Whence::SeekSet)?;
        lseek(to, start, Whence::SeekSet)?;
        // The standard library asks for copy_file_range(2), which shares blocks where the
        // filesystem can, then sendfile(2), then read(2) and write(2).
        if io::copy(&mut from.take((end - start) as u64), &mut &*to)? == 0 {
            break;
        }
        position = end;
    }
    to.set_len(size as u64)
}

/// Copies extended attributes; ACLs and file capabilities are such.
fn attributes(from: &Path, to: &Path) -> io::Result<()> {
    let names = match xattr::list_deref(from) {
        Err(error) if error.raw_os_error() == Some(Errno::ENOTSUP as i32) => return Ok(()),
        other => other?,
    };
    for name in names {
        let text = name.as_bytes();
        // What overlayfs notes for itself, and the label of another place.
        if text.starts_with(b"trusted.overlay.") || text == b"security.selinux" {
            continue;
        }
        let Some(value) = xattr::get_deref(from, &name)? else { continue };
        match xattr::set_deref(to, &name, &value) {
            // The filesystem of the volume has no attributes of this kind (tmpfs before Linux 6.6:
            // `user.`).
            Err(error) if error.raw_os_error() == Some(Errno::ENOTSUP as i32) => {}
            other => other?,
        }
    }
    Ok(())
}
