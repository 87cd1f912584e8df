//! Paths inside a root that cannot lead out of it.
//!
//! A container's image is data from strangers: `/dev` may be a symbolic link to `/`, and `..` may be anywhere. Each
//! path is resolved **once**, by the kernel, with the container's root as `/` (`openat2(2)`, `RESOLVE_IN_ROOT`, Linux
//! 5.6), to a descriptor; from then on only the descriptor is used. Where `openat2` is missing or refused
//! (`ENOSYS`; `EPERM` under old seccomp filters) there is no fallback here: the caller must fail.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{Mode, mkdirat};

/// Opens `path` with `root` as its `/`. Absolute links and `..` stay inside; links of /proc are refused.
///
/// `mode` counts only together with `O_CREAT`.
///
/// # Errors
/// Those of open(2); `ELOOP` for a magic link of /proc, `EXDEV` if the kernel could not be sure, `ENOSYS` before
/// Linux 5.6.
pub fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlag, mode: Mode) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .mode(mode)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    // EAGAIN: somebody renamed a directory while `..` was being resolved; openat2(2) says to try again.
    for _ in 0..128 {
        match openat2(root, path, how) {
            Err(Errno::EAGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::EAGAIN)
}

/// Opens a place, without reading or writing: the target of a mount (`O_PATH`). Links are followed inside the root.
///
/// # Errors
/// As [`open`].
pub fn open_path(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    open(root, path, OFlag::O_PATH, Mode::empty())
}

/// Opens the directory `path`, creating what is missing of it with mode 0755. A dangling link on the way is followed
/// too: its target is created inside the root.
///
/// # Errors
/// As [`open`] and mkdir(2); `ENOTDIR` if something else is in the way, `ELOOP` after 40 dangling links.
pub fn create_dir_all(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    create_dirs(root, path, 40)
}

fn create_dirs(root: BorrowedFd<'_>, path: &Path, links: u32) -> Result<OwnedFd, Errno> {
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY;
    match open(root, path, directory, Mode::empty()) {
        Err(Errno::ENOENT) if links > 0 => {}
        Err(Errno::ENOENT) => return Err(Errno::ELOOP),
        other => return other,
    }
    let mut done = PathBuf::from("/");
    let mut here = open_path(root, &done)?;
    for name in names(path) {
        let parent = done.clone();
        done.push(&name);
        here = match open(root, &done, directory, Mode::empty()) {
            Err(Errno::ENOENT) => {
                // `here` is the resolved parent; the new name is one plain component in it.
                match mkdirat(&here, name.as_os_str(), Mode::from_bits_truncate(0o755)) {
                    Ok(()) => open(
                        here.as_fd(),
                        Path::new(&name),
                        directory | OFlag::O_NOFOLLOW,
                        Mode::empty(),
                    )?,
                    Err(Errno::EEXIST) => match readlinkat(&here, name.as_os_str()) {
                        Ok(target) => create_dirs(root, &parent.join(target), links - 1)?,
                        // Somebody else has just made it.
                        Err(Errno::EINVAL) => open(root, &done, directory, Mode::empty())?,
                        Err(errno) => return Err(errno),
                    },
                    Err(errno) => return Err(errno),
                }
            }
            other => other?,
        };
    }
    Ok(here)
}

/// Opens the file `path` as a place, creating an empty one (mode 0644) and its directories if it is missing.
///
/// # Errors
/// As [`create_dir_all`]; `EINVAL` for a path without a last name.
pub fn create_file(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    match open_path(root, path) {
        Err(Errno::ENOENT) => {}
        other => return other,
    }
    let (parent, name) = split(path).ok_or(Errno::EINVAL)?;
    let parent = create_dir_all(root, parent)?;
    let flags = OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_NONBLOCK;
    open(parent.as_fd(), Path::new(name), flags, Mode::from_bits_truncate(0o644))?;
    open(parent.as_fd(), Path::new(name), OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty())
}

/// The working directory in the kernel's own words (`getcwd(2)`, the system call).
///
/// One that cannot be reached from the process's root begins with `(unreachable)` (Linux 2.6.36). The C library hides
/// that: it searches upwards on its own then.
///
/// # Errors
/// `ENOENT` if the directory was removed, `ERANGE` if its path is longer than a page.
pub fn current_directory() -> Result<PathBuf, Errno> {
    let mut buffer = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: the buffer may be written up to the length that is given, and outlives the call.
    let length = crate::check(unsafe {
        libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len())
    })?;
    // The length includes the zero byte at the end.
    buffer.truncate((length as usize).saturating_sub(1));
    Ok(OsString::from_vec(buffer).into())
}

/// The parent and the last name of a path. None if the last part is missing, `.` or `..`.
pub fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

/// The plain names of a path, `..` taken away with what stands before it, as a shell's `cd -L` would.
fn names(path: &Path) -> Vec<OsString> {
    let mut names: Vec<OsString> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::ParentDir => drop(names.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    names
}
