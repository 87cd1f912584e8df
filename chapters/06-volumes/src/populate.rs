//! The first use of a volume: it begins with what the image has at that place.
//!
//! The image is data from strangers and is only read through descriptors: the target through
//! `openat2(RESOLVE_IN_ROOT)`, everything below it name by name with `O_NOFOLLOW`. A link is copied
//! as a link and never followed. A marker, an extended attribute on the volume's folder, is set
//! before the first file and taken off after the last has reached the disk: whoever finds it knows
//! that the copy was cut short, and starts again.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::syncfs;
use syscalls::{During, KernelError, inroot, step};

use crate::copy::Copy;
use crate::store::exclusive;
use crate::tree;

/// Fills an empty volume with what the image has at `target`, and gives the volume's root the
/// owner, mode, times and attributes of that folder. True if it did.
///
/// Nothing happens if the volume has anything in it already, or if the image has no folder there.
/// Of several processes that come at once, one copies and the others wait. A copy that was cut
/// short is thrown away and redone.
///
/// Copied are: contents (shared blocks where the filesystem can, holes stay holes), modes, owners,
/// times, extended attributes with file capabilities and ACLs, symbolic and hard links, devices,
/// fifos and sockets.
///
/// `volume_data` and `image_root` may be `O_PATH`; needs /proc.
///
/// # Errors
/// The first call that failed, with the path in the image; the next start tries again.
pub fn populate(
    volume_data: BorrowedFd<'_>,
    image_root: BorrowedFd<'_>,
    target: &Path,
) -> Result<bool, KernelError> {
    let data = settled(volume_data)?;
    if !tree::names(data.as_fd()).during("read volume for", target.display())?.is_empty() {
        return Ok(false);
    }
    let directory = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let image = match step!(
        "openat2",
        ("{target:?}, RESOLVE_IN_ROOT"),
        inroot::open(image_root, target, directory, Mode::empty())
    ) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(false),
        other => other.during("open in image", target.display())?,
    };
    let mut copy = Copy::new(data.as_fd());
    if tree::names(image.as_fd()).during("read in image", target.display())?.is_empty() {
        copy.tree(image.as_fd(), data.as_fd()).during("copy to volume", target.display())?;
        return Ok(true);
    }
    marker::set(&data).during("mark volume for", target.display())?;
    let copied = copy.tree(image.as_fd(), data.as_fd());
    step!("copy_file_range", ("everything in {} -> volume", target.display()), copied)
        .during("copy to volume", target.join(copy.path()).display())?;
    // The marker may only go when the files are on the disk: journals do not order data against
    // attributes.
    step!("syncfs", "volume", syncfs(data.as_fd())).during("sync volume for", target.display())?;
    marker::remove(&data).during("unmark volume for", target.display())?;
    Ok(true)
}

/// Throws away what a killed [`populate`] left in a volume, waiting for one that is at work. For
/// uses that do not populate (`nocopy`).
///
/// # Errors
/// What the calls say.
pub fn settle(volume_data: BorrowedFd<'_>) -> Result<(), KernelError> {
    settled(volume_data).map(drop)
}

/// The volume's folder, locked and without a half copy.
fn settled(volume_data: BorrowedFd<'_>) -> Result<Flock<File>, KernelError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let data = openat(volume_data, c".", flags, Mode::empty()).during("open volume", "")?;
    let data = exclusive(File::from(data)).during("lock volume", "")?;
    if marker::is_set(&data).during("read marker of volume", "")? {
        tree::clear(data.as_fd()).during("remove a half copy from volume", "")?;
        marker::remove(&data).during("unmark volume", "")?;
    }
    Ok(data)
}

/// "This copy is not finished", as an extended attribute: containers do not see it among their
/// files.
mod marker {
    use std::fs::File;
    use std::io;

    use nix::errno::Errno;
    use xattr::FileExt;

    /// Containers cannot set this one: it needs CAP_SYS_ADMIN in the first user namespace
    /// (xattr(7)).
    const TRUSTED: &str = "trusted.mini-docker.populating";
    /// What remains for a runtime without that capability.
    const USER: &str = "user.mini-docker.populating";

    pub(super) fn set(dir: &File) -> io::Result<()> {
        match dir.set_xattr(TRUSTED, b"1") {
            Err(error) if error.raw_os_error() == Some(Errno::EPERM as i32) => {
                dir.set_xattr(USER, b"1")
            }
            other => other,
        }
    }

    pub(super) fn is_set(dir: &File) -> io::Result<bool> {
        for name in [TRUSTED, USER] {
            match dir.get_xattr(name) {
                Ok(None) => {}
                Ok(Some(_)) => return Ok(true),
                // A filesystem without such attributes cannot have been marked.
                Err(error) if error.raw_os_error() == Some(Errno::ENOTSUP as i32) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    pub(super) fn remove(dir: &File) -> io::Result<()> {
        for name in [TRUSTED, USER] {
            match dir.remove_xattr(name) {
                Err(error)
                    if matches!(
                        error.raw_os_error().map(Errno::from_raw),
                        Some(Errno::ENODATA | Errno::EPERM | Errno::ENOTSUP)
                    ) => {}
                other => other?,
            }
        }
        Ok(())
    }
}
