//! Removes a tree whatever it looks like.
//!
//! Recursion needs a descriptor or a stack frame per level, and a hostile layer can nest deeper
//! than there are descriptors. Here a directory that is not empty is moved up beside the one being
//! removed, and taken next: two descriptors are enough for any depth.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Removes `name` in `parent` with all that is in it. Links are removed, never followed. Nothing
/// there is no error.
///
/// Meanwhile `parent` holds directories with the reserved name `.wh..wh.rm.N`.
pub(crate) fn remove_all(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR) => {}
        Err(errno) => return Err(errno),
    }
    let mut pending = vec![CString::new(name).map_err(|_| Errno::EINVAL)?];
    let mut serial = 0_u64;
    while let Some(directory) = pending.last().cloned() {
        let before = pending.len();
        empty(parent, &directory, &mut pending, &mut serial)?;
        match unlinkat(parent, &*directory, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => drop(pending.remove(before - 1)),
            // readdir(3) may miss names while a directory shrinks: look again.
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Unlinks the files of a directory and moves its directories up into `parent`.
fn empty(
    parent: BorrowedFd<'_>,
    directory: &CString,
    pending: &mut Vec<CString>,
    serial: &mut u64,
) -> Result<(), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut dir = Dir::openat(parent, &**directory, flags, Mode::empty())?;
    let names: Result<Vec<CString>, Errno> = dir
        .iter()
        .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
        .filter(|name| !matches!(name.as_deref().map(|name| name.to_bytes()), Ok(b"." | b"..")))
        .collect();
    for name in names? {
        match unlinkat(dir.as_fd(), &*name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => continue,
            Err(Errno::EISDIR) => {}
            Err(errno) => return Err(errno),
        }
        match unlinkat(dir.as_fd(), &*name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => continue,
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        let moved = loop {
            *serial += 1;
            let text = format!(".wh..wh.rm.{serial}");
            let moved = CString::new(text).map_err(|_| Errno::EINVAL)?;
            match renameat(dir.as_fd(), &*name, parent, &*moved) {
                Ok(()) => break moved,
                // Left by a removal that was killed.
                Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => {}
                Err(errno) => return Err(errno),
            }
        };
        pending.push(moved);
    }
    Ok(())
}
