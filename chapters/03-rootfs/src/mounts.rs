//! The container's mounts: made as descriptors, attached to places inside the root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use syscalls::mount::{Attr, FsContext, SetAttr, set_attr};
use syscalls::{During, KernelError, inroot, step};

use crate::copy_up;
use crate::dev::{self, Dev};
use crate::plan::{Mount, Plan, Source};
use crate::root::{Place, Root};

/// Mounts that later steps need, each by its descriptor: a path could have been covered meanwhile.
#[derive(Default)]
pub(crate) struct Made {
    /// Our own /dev.
    pub(crate) dev: Option<Dev>,
    /// The container's devpts.
    pub(crate) devpts: Option<OwnedFd>,
}

/// Makes and attaches all mounts of the plan in order.
pub(crate) fn attach_all(root: &Root, plan: &Plan) -> Result<Made, KernelError> {
    let mut made = Made::default();
    for mount in &plan.mounts {
        match &mount.source {
            Source::Detached(fd) => {
                let place = root.find_or_create(&mount.target, mount.is_file)?;
                attach(mount, fd.as_fd(), mount.attr, &place)?;
            }
            Source::Filesystem { kind, options } => {
                let place = root.find_or_create(&mount.target, false)?;
                let fd = filesystem(mount, kind, options, &place)?;
                if mount.copy_up && !place.created {
                    copy_what_is_there(root, mount, fd.as_fd())?;
                }
                let dev = match mount.is_own_dev() {
                    true => Some(dev::fill(fd.as_fd(), plan)?),
                    false => None,
                };
                attach(mount, fd.as_fd(), Attr::empty(), &place)?;
                if let Some(dev) = dev {
                    dev.bind_host_nodes()?;
                    made.dev = Some(dev);
                } else if kind == "devpts" {
                    made.devpts = Some(fd);
                }
            }
        }
    }
    Ok(made)
}

/// Makes a file system as a detached mount with its attributes.
fn filesystem(
    mount: &Mount,
    kind: &str,
    options: &[(String, Option<String>)],
    place: &Place,
) -> Result<OwnedFd, KernelError> {
    let target = mount.target.display();
    let name = |error: KernelError| {
        let object = format!("{target} ({})", error.object);
        KernelError { object, ..error }
    };
    let context = step!("fsopen", ("{kind:?}"), FsContext::open(kind)).map_err(name)?;
    // What mount(8) and df(1) show; without it the kernel says "none".
    if !options.iter().any(|(key, _)| key == "source") {
        let set = || context.set_string("source", kind);
        step!("fsconfig", ("{kind}, SET_STRING, \"source\", {kind:?}"), set()).map_err(name)?;
    }
    for (key, value) in options {
        let set = match value {
            Some(value) => {
                let set = || context.set_string(key, value);
                step!("fsconfig", ("{kind}, SET_STRING, {key:?}, {value:?}"), set())
            }
            None => step!("fsconfig", ("{kind}, SET_FLAG, {key:?}"), context.set_flag(key)),
        };
        match set {
            // A user namespace without the group `tty`: terminals keep the group of their user.
            Err(error) if error.errno == Errno::EINVAL && kind == "devpts" && key == "gid" => {}
            set => set.map_err(name)?,
        }
    }
    // /tmp must stay 1777 and /run 0755 when a tmpfs covers them.
    if kind == "tmpfs" && !place.created && !options.iter().any(|(key, _)| key == "mode") {
        let mode = format!("{:o}", place.stat.st_mode & 0o7777);
        let set = || context.set_string("mode", &mode);
        step!("fsconfig", ("tmpfs, SET_STRING, \"mode\", {mode:?}"), set()).map_err(name)?;
    }
    let attr = mount.attr;
    step!("fsmount", ("{kind}, {attr:?}"), context.mount(attr)).map_err(name)
}

/// Sets what the plan wants of a mount, then gives it its place: it is never seen in another state.
fn attach(mount: &Mount, fd: BorrowedFd<'_>, attr: Attr, place: &Place) -> Result<(), KernelError> {
    let target = &mount.target;
    if mount.read_only_recursive {
        let change = SetAttr { set: Attr::RDONLY, ..SetAttr::default() };
        let set = || set_attr(fd, true, &change);
        step!("mount_setattr", ("{target:?}, AT_RECURSIVE, {{RDONLY}}"), set())
            .during("make read-only", target.display())?;
    }
    if !attr.is_empty() || mount.propagation.is_some() {
        let propagation = mount.propagation;
        let change = SetAttr { set: attr, propagation, ..SetAttr::default() };
        let set = || set_attr(fd, false, &change);
        step!("mount_setattr", ("{target:?}, {{{attr:?}, propagation={propagation:?}}}"), set())
            .during("set mount attributes", target.display())?;
    }
    Root::mount(fd, place.fd.as_fd(), target)
}

fn copy_what_is_there(root: &Root, mount: &Mount, to: BorrowedFd<'_>) -> Result<(), KernelError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let from = inroot::open(root.as_fd(), &mount.target, flags, Mode::empty())
        .during("open", mount.target.display())?;
    let to = inroot::open(to, Path::new("/"), flags, Mode::empty())
        .during("open", mount.target.display())?;
    copy_up::copy(from, to, &mount.target)
}
