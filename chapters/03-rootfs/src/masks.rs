//! Paths that tell too much are covered, paths that change the host are made read-only.
//!
//! The kernel separates what belongs to a namespace; much of /proc and /sys does not. `/proc/kcore` is the memory of
//! the machine, `/proc/sysrq-trigger` restarts it, whoever asks.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{SFlag, fstat, makedev};
use syscalls::mount::{Attr, FsContext, SetAttr, clone_tree, set_attr};
use syscalls::{During, KernelError, step};

use crate::mounts::Made;
use crate::root::{Root, file_type};

/// Covers each path that exists: a directory with an empty one, a file with the null device.
///
/// Both covers are read-only, so that nobody in the container can change their modes.
pub(crate) fn cover(root: &Root, paths: &[PathBuf], made: &Made) -> Result<(), KernelError> {
    let (mut directory, mut file) = (None, None);
    for path in paths {
        let Some(place) = root.find(path)? else { continue };
        let first = if place.is_dir() { &mut directory } else { &mut file };
        // Before Linux 6.15 only a mount that has a place can be copied: the first has one when the second is made.
        let cover = match first {
            Some(first) => copy(first),
            None if place.is_dir() => empty_directory(),
            None => null_device(made),
        }
        .map_err(|error| KernelError { object: path.display().to_string(), ..error })?;
        Root::mount(cover.as_fd(), place.fd.as_fd(), path)?;
        first.get_or_insert(cover);
    }
    Ok(())
}

/// Makes each path that exists read-only, with everything mounted below it: a copy of the mount lies on top of it.
pub(crate) fn make_read_only(root: &Root, paths: &[PathBuf]) -> Result<(), KernelError> {
    for path in paths {
        let Some(place) = root.find(path)? else { continue };
        let copy = step!(
            "open_tree",
            ("{path:?}, OPEN_TREE_CLONE | AT_RECURSIVE"),
            clone_tree(place.fd.as_fd(), "", true)
        )
        .during("bind", path.display())?;
        let change = SetAttr { set: Attr::RDONLY, ..SetAttr::default() };
        step!(
            "mount_setattr",
            ("{path:?}, AT_RECURSIVE, {{RDONLY}}"),
            set_attr(copy.as_fd(), true, &change)
        )
        .during("make read-only", path.display())?;
        Root::mount(copy.as_fd(), place.fd.as_fd(), path)?;
    }
    Ok(())
}

fn empty_directory() -> Result<OwnedFd, KernelError> {
    let context = step!("fsopen", "\"tmpfs\"", FsContext::open("tmpfs"))?;
    for (key, value) in [("source", "tmpfs"), ("mode", "0555")] {
        let set = || context.set_string(key, value);
        step!("fsconfig", ("tmpfs, SET_STRING, {key:?}, {value:?}"), set())?;
    }
    let attr = Attr::RDONLY | Attr::NOSUID | Attr::NODEV | Attr::NOEXEC;
    step!("fsmount", ("tmpfs, {attr:?}"), context.mount(attr))
}

/// Our own null device where we could make one, otherwise the host's: never one from the image.
fn null_device(made: &Made) -> Result<OwnedFd, KernelError> {
    let null = match made.dev.as_ref().and_then(|dev| dev.null.as_ref()) {
        Some(ours) => copy(ours)?,
        None => step!(
            "open_tree",
            "AT_FDCWD, \"/dev/null\", OPEN_TREE_CLONE",
            clone_tree(AT_FDCWD, "/dev/null", false)
        )
        .during("mask", "")?,
    };
    let stat = fstat(&null).during("mask", "")?;
    if file_type(&stat) != SFlag::S_IFCHR || stat.st_rdev != makedev(1, 3) {
        return Err(KernelError::new("mask", "", Errno::ENODEV)
            .with_detail("the host's /dev/null is not the null device"));
    }
    let set = Attr::RDONLY | Attr::NOSUID | Attr::NOEXEC;
    let change = SetAttr { set, ..SetAttr::default() };
    step!("mount_setattr", ("null, {{{set:?}}}"), set_attr(null.as_fd(), false, &change))
        .during("mask", "")?;
    Ok(null)
}

fn copy(mount: &OwnedFd) -> Result<OwnedFd, KernelError> {
    step!("open_tree", "cover, \"\", OPEN_TREE_CLONE", clone_tree(mount.as_fd(), "", false))
        .during("mask", "")
}
