//! Paths inside a root, followed step by step.
//!
//! [`syscalls::inroot`] has the kernel follow a whole path. Here every link has to be seen on the
//! way: `.dockerignore` is about the real names of files, and directories that `COPY` makes get
//! their owner. So each step is one `openat2(2)` of a *real* path, one without links, with
//! `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`: should somebody put a link into it meanwhile, the
//! kernel says `ELOOP`, and nobody gets out. `..` is taken away here and never asked of the kernel.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use crate::names::{joined, split};

/// The kernel's own limit for links in one path (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// Where a path leads.
#[derive(Debug)]
pub(crate) struct Place {
    /// The path from the root without links; empty for the root.
    pub(crate) path: Vec<u8>,
    /// What is there; links have been followed, so it is none.
    pub(crate) stat: FileStat,
    /// The real paths of the links on the way.
    pub(crate) links: Vec<Vec<u8>>,
}

/// What to do about a name that is not there: in which directory, which name, whether it is the
/// last one of the path.
pub(crate) type Missing<'a> = dyn FnMut(&[u8], &[u8], bool) -> Result<(), Errno> + 'a;

/// Opens a path from the root that has no links in it. With `O_PATH | O_NOFOLLOW` the last part may
/// be one.
///
/// # Errors
/// As openat2(2); `ELOOP` if there is a link.
pub(crate) fn open_real(
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlag,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS,
    );
    let path = if path.is_empty() { b"." } else { path };
    openat2(root, Path::new(OsStr::from_bytes(path)), how)
}

/// Opens a real directory for reading.
///
/// # Errors
/// As [`open_real`].
pub(crate) fn open_dir(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    open_real(root, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())
}

/// Follows a path to what is there.
///
/// # Errors
/// `ENOENT`, `ENOTDIR`, `ELOOP` after 40 links; those of openat2(2).
pub(crate) fn follow(root: BorrowedFd<'_>, path: &[u8]) -> Result<Place, Errno> {
    follow_making(root, path, &mut |_, _, _| Err(Errno::ENOENT))
}

/// As [`follow`]; `missing` is called for each name that is not there, with its real directory and
/// whether it is the last one of the path, and may make it. The target of a dangling link is one,
/// too.
///
/// # Errors
/// As [`follow`], and what `missing` says.
pub(crate) fn follow_making(
    root: BorrowedFd<'_>,
    path: &[u8],
    missing: &mut Missing<'_>,
) -> Result<Place, Errno> {
    let mut todo: VecDeque<Vec<u8>> = parts(path).collect();
    let mut here: Vec<u8> = Vec::new();
    let mut links = Vec::new();
    let look = |path: &[u8]| -> Result<(OwnedFd, FileStat), Errno> {
        let fd = open_real(root, path, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty())?;
        let stat = fstat(&fd)?;
        Ok((fd, stat))
    };
    let (_, mut stat) = look(b"")?;
    while let Some(name) = todo.pop_front() {
        if kind(&stat) != SFlag::S_IFDIR {
            return Err(Errno::ENOTDIR);
        }
        if name == b".." {
            here = split(&here).0.to_vec();
            stat = look(&here)?.1;
            continue;
        }
        let next = joined(&here, &name);
        let (fd, found) = match look(&next) {
            Err(Errno::ENOENT) => {
                missing(&here, &name, todo.is_empty())?;
                look(&next)?
            }
            other => other?,
        };
        if kind(&found) != SFlag::S_IFLNK {
            (here, stat) = (next, found);
            continue;
        }
        links.push(next);
        if links.len() as u32 > MAX_LINKS {
            return Err(Errno::ELOOP);
        }
        let target = readlinkat(&fd, "")?.into_vec();
        if target.starts_with(b"/") {
            here.clear();
            stat = look(b"")?.1;
        }
        for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
            todo.push_front(part);
        }
    }
    Ok(Place { path: here, stat, links })
}

fn parts(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.map(<[u8]>::to_vec)
}

/// The kind of a file.
pub(crate) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}
