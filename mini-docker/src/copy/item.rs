//! A file that is held: whatever its name leads to later, this is what is looked at and read.
//!
//! The container's processes run while we copy, and may exchange a file for a link, a fifo or a device between two of
//! our calls. So each file is opened once, by one plain name in an open directory and without following a link
//! (`O_PATH`); what kind it is, its owner and its contents are then asked of the descriptor, which cannot change.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::sys::statfs::fstatfs;

/// A file of any kind, held by an `O_PATH` descriptor.
#[derive(Debug)]
pub(crate) struct Item {
    fd: OwnedFd,
    pub(crate) stat: FileStat,
}

impl Item {
    /// What `name` in a directory is now. A link is held itself.
    pub(crate) fn open(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Self, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Self::of(openat(dir, name, flags, Mode::empty())?)
    }

    /// What an `O_PATH` descriptor holds.
    pub(crate) fn of(fd: OwnedFd) -> Result<Self, Errno> {
        let stat = fstat(&fd)?;
        Ok(Self { fd, stat })
    }

    pub(crate) fn kind(&self) -> SFlag {
        SFlag::from_bits_truncate(self.stat.st_mode) & SFlag::S_IFMT
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.kind() == SFlag::S_IFDIR
    }

    /// Device and inode.
    pub(crate) fn identity(&self) -> (u64, u64) {
        identity(&self.stat)
    }

    /// Opens the directory for reading.
    pub(crate) fn directory(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat(&self.fd, ".", flags, Mode::empty())
    }

    /// Opens the regular file for reading.
    pub(crate) fn contents(&self) -> io::Result<File> {
        File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(self.path())
    }

    /// Where the link leads.
    pub(crate) fn target(&self) -> Result<OsString, Errno> {
        readlinkat(&self.fd, "")
    }

    /// The name under which the kernel gives access to this very file, even to a link (proc_pid_fd(5)).
    pub(crate) fn path(&self) -> PathBuf {
        descriptor_path(self.fd.as_fd())
    }

    /// Whether a directory is on a file system in which the kernel shows itself.
    pub(crate) fn is_kernels(&self) -> Result<bool, Errno> {
        is_kernels(self.fd.as_fd())
    }
}

impl AsFd for Item {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Device and inode.
pub(crate) fn identity(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

pub(crate) fn descriptor_path(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// The names in a directory, sorted by their bytes.
pub(crate) fn names(dir: BorrowedFd<'_>) -> Result<Vec<OsString>, Errno> {
    // A descriptor of its own: the reading position is shared between duplicates.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut dir = Dir::openat(dir, ".", flags, Mode::empty())?;
    let name = |name: &CStr| OsStr::from_bytes(name.to_bytes()).to_owned();
    let mut names: Vec<OsString> = dir
        .iter()
        .map(|entry| entry.map(|entry| name(entry.file_name())))
        .collect::<Result<_, _>>()?;
    names.retain(|name| name != "." && name != "..");
    names.sort();
    Ok(names)
}

/// Whether a file system is one whose files are the kernel's own answers and switches: proc, sysfs, cgroup and their
/// kind (numbers of `linux/magic.h`). We write with more rights than the container has, so a link that leads there must
/// not make us do what it may not (`/proc/1/oom_score_adj`); and reading there may block or never end.
pub(crate) fn is_kernels(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(matches!(
        fstatfs(fd)?.filesystem_type().0 as u32,
        // proc, sysfs, cgroup, cgroup2, devpts, mqueue
        0x9fa0 | 0x6265_6572 | 0x0027_e0eb | 0x6367_7270 | 0x1cd1 | 0x1980_0202
        // debugfs, tracefs, securityfs, bpf, binfmt_misc, pstore, efivarfs, configfs, fusectl
        | 0x6462_6720 | 0x7472_6163 | 0x7363_6673 | 0xcafe_4a11 | 0x4249_4e4d | 0x6165_676c | 0xde5e_81e4
        | 0x6265_6570 | 0x6573_5543
    ))
}
