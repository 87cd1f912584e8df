//! Removes a tree whatever it looks like.
//!
//! Recursion needs a descriptor or a stack frame per level, and a hostile layer can nest deeper
//! than there are descriptors. Here a directory that is not empty is moved up beside the one being
//! removed, and taken next: three descriptors are enough for any depth.

use std::ffi::CString;
use std::os::fd::BorrowedFd;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Removes `name` in `parent` with all that is in it. Links are removed, never followed. Nothing
/// there is no error, nor is somebody else who removes things in the same `parent`.
///
/// Meanwhile `parent` holds directories with the reserved name `.wh..wh.rm.N`.
pub(crate) fn remove_all(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR) => {}
        Err(errno) => return Err(errno),
    }
    // Only the first one has a name of its own, so that a million of them take 8 MB of memory.
    let first = CString::new(name).map_err(|_| Errno::EINVAL)?;
    let mut pending = vec![0_u64];
    let mut serial = 0_u64;
    while let Some(&number) = pending.last() {
        let directory = if number == 0 { first.clone() } else { moved(number)? };
        let before = pending.len();
        match empty(parent, &directory, &mut pending, &mut serial) {
            // Somebody else has found it beside us and taken it for refuse, which it is.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        match unlinkat(parent, &*directory, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => drop(pending.remove(before - 1)),
            // readdir(3) may miss names while a directory shrinks: look again.
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The name of a directory that was moved up.
fn moved(serial: u64) -> Result<CString, Errno> {
    CString::new(format!(".wh..wh.rm.{serial}")).map_err(|_| Errno::EINVAL)
}

/// Unlinks the files of a directory and moves its directories up into `parent`. The names are taken
/// as they come: of a directory with a million files no list is made.
fn empty(
    parent: BorrowedFd<'_>,
    directory: &CString,
    pending: &mut Vec<u64>,
    serial: &mut u64,
) -> Result<(), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let dir = openat(parent, &**directory, flags, Mode::empty())?;
    let mut names = Dir::openat(&dir, ".", flags, Mode::empty())?;
    for entry in names.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => continue,
            Err(Errno::EISDIR) => {}
            Err(errno) => return Err(errno),
        }
        match unlinkat(&dir, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => continue,
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        loop {
            *serial += 1;
            match renameat(&dir, name, parent, &*moved(*serial)?) {
                Ok(()) => break,
                // Left by a removal that was killed.
                Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
        pending.push(*serial);
    }
    Ok(())
}
