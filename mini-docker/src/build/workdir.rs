//! `WORKDIR`: a directory for whoever executes the next steps.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchownat};
use syscalls::inroot;

/// Makes it and what leads to it, mode 0755. What is made belongs to `user`, as with BuildKit: a program of that user
/// can write where it begins. What is there already stays as it is.
///
/// # Errors
/// If there is no such user, or something that is no directory is in the way.
pub(super) fn make(root: BorrowedFd<'_>, path: &Path, user: &str) -> Result<()> {
    let missing = missing(root, path)?;
    inroot::create_dir_all(root, path)?;
    if user.is_empty() || missing.is_empty() {
        return Ok(());
    }
    let (user, group) = user.split_once(':').unwrap_or((user, ""));
    let (uid, gid) = crate::container::user::owner(root, user, group)?;
    for path in missing {
        let made = open(root, &path)?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        fchownat(&made, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
    }
    Ok(())
}

/// The directories on the way that are not there yet.
fn missing(root: BorrowedFd<'_>, path: &Path) -> Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    for path in path.ancestors() {
        match open(root, path) {
            Ok(_) => break,
            Err(Errno::ENOENT) => missing.push(path.to_owned()),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(missing)
}

fn open(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    inroot::open(root, path, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())
}
