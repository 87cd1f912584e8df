//! /dev: a tmpfs of our own, filled before it has a place, so that no name in the image takes part.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, makedev, mkdirat, mknodat};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};
use syscalls::mount::{Attr, SetAttr, clone_tree, set_attr};
use syscalls::{During, KernelError, inroot, step};

use crate::plan::{Device, Plan, Source};
use crate::root::{Root, file_type};

/// Links that programs expect (OCI runtime spec, runtime-linux.md, "Dev symbolic links"; `core` and `ptmx` as runc).
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Our own /dev, with what other steps need of it.
pub(crate) struct Dev {
    /// The null device in it, if it was made by us: the cover for masked files.
    pub(crate) null: Option<OwnedFd>,
    /// The empty file on which the terminal is bound.
    pub(crate) console: Option<OwnedFd>,
    /// Empty files for nodes that could not be made and are bound from the host.
    to_bind: Vec<(OwnedFd, Device)>,
}

/// Fills a detached tmpfs: nodes, links, and folders for the mounts that the plan has below /dev.
pub(crate) fn fill(dev: BorrowedFd<'_>, plan: &Plan) -> Result<Dev, KernelError> {
    let mut filled = Dev { null: None, console: None, to_bind: Vec::new() };
    for device in &plan.devices {
        let Ok(name) = device.path.strip_prefix("/dev") else { continue };
        let (dir, name) = parent(dev, name)?;
        let dir = dir.as_ref().map_or(dev, AsFd::as_fd);
        if plan.private_devices && make_node(dir, &name, device)? {
            if is_null(device) && !plan.masked.is_empty() {
                filled.null = Some(open_name(dir, &name)?);
            }
        } else {
            filled.to_bind.push((empty_file(dir, &name)?, device.clone()));
        }
    }
    for (name, target) in LINKS {
        // A device of the plan may have the name already.
        match step!("symlinkat", ("{target:?}, dev, {name:?}"), symlinkat(target, dev, name)) {
            Err(Errno::EEXIST) => {}
            made => made.during("create link", format!("/dev/{name}"))?,
        }
    }
    for mount in &plan.mounts {
        let Ok(name) = mount.target.strip_prefix("/dev") else { continue };
        if name != Path::new("") && !mount.is_file {
            make_directory(dev, name)?;
        }
    }
    if plan.terminal.is_some() {
        filled.console = Some(empty_file(dev, Path::new("console"))?);
    }
    Ok(filled)
}

impl Dev {
    /// Binds nodes of the host where the kernel does not let us make our own. After /dev has its place: a mount can
    /// be attached to another only inside a mount namespace.
    pub(crate) fn bind_host_nodes(&self) -> Result<(), KernelError> {
        self.to_bind.iter().try_for_each(|(place, device)| bind_host_node(place.as_fd(), device))
    }
}

/// Makes the nodes that do not lie in our own /dev: `--device /dev/sda:/disk`, or a container without /dev.
pub(crate) fn nodes_elsewhere(root: &Root, plan: &Plan) -> Result<(), KernelError> {
    let own_dev = plan.mounts.iter().any(|mount| mount.is_own_dev());
    // A folder of the host mounted as /dev is complete, and not ours to write to.
    let hosts_dev = plan.mounts.iter().any(|mount| {
        mount.target == Path::new("/dev") && matches!(mount.source, Source::Detached(_))
    });
    for device in &plan.devices {
        if device.path.starts_with("/dev") && (own_dev || hosts_dev) {
            continue;
        }
        let (folder, name) = inroot::split(&device.path)
            .ok_or(Errno::EINVAL)
            .during("create device", device.path.display())?;
        let dir = inroot::create_dir_all(root.as_fd(), folder)
            .during("create directory", folder.display())?;
        if !(plan.private_devices && make_node(dir.as_fd(), Path::new(name), device)?) {
            let place = root.find_or_create(&device.path, true)?;
            bind_host_node(place.fd.as_fd(), device)?;
        }
    }
    Ok(())
}

fn is_null(device: &Device) -> bool {
    device.path == Path::new("/dev/null") && (device.major, device.minor) == (1, 3)
}

/// The folder of a name that may have several parts (`net/tun`). None: the tmpfs itself.
fn parent(dev: BorrowedFd<'_>, name: &Path) -> Result<(Option<OwnedFd>, PathBuf), KernelError> {
    match inroot::split(name) {
        Some((dir, last)) if dir != Path::new("") => {
            let dir = inroot::create_dir_all(dev, dir)
                .during("create directory", format!("/dev/{}", dir.display()))?;
            Ok((Some(dir), last.into()))
        }
        Some((_, last)) => Ok((None, last.into())),
        None => Err(KernelError::new("create device", "/dev", Errno::EINVAL)),
    }
}

/// Makes the place of a mount below /dev.
fn make_directory(dev: BorrowedFd<'_>, name: &Path) -> Result<(), KernelError> {
    let (dir, name) = parent(dev, name)?;
    let dir = dir.as_ref().map_or(dev, AsFd::as_fd);
    match step!("mkdirat", ("dev, {name:?}"), mkdirat(dir, &name, Mode::from_bits_truncate(0o755)))
    {
        Err(Errno::EEXIST) => Ok(()),
        made => made.during("create mount target", format!("/dev/{}", name.display())),
    }
}

/// Makes a node, which never follows a link. False where making nodes is forbidden.
fn make_node(dir: BorrowedFd<'_>, name: &Path, device: &Device) -> Result<bool, KernelError> {
    let shown = device.path.display();
    let kind = node_type(device).during("create device", &shown)?;
    let mode = Mode::from_bits_truncate(device.mode);
    let number = makedev(device.major, device.minor);
    let made = step!(
        "mknodat",
        (
            "{:?}, {} {}:{}, {:#o}",
            device.path,
            device.kind,
            device.major,
            device.minor,
            device.mode
        ),
        mknodat(dir, name, kind, mode, number)
    );
    match made {
        // A user namespace, or a container without CAP_MKNOD around us.
        Err(Errno::EPERM) => return Ok(false),
        // The image brought it along.
        Err(Errno::EEXIST) if same_node(&open_name(dir, name)?, device) => {}
        made => made.during("create device", &shown)?,
    }
    if (device.uid, device.gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .during("change owner", shown)?;
    }
    Ok(true)
}

fn node_type(device: &Device) -> Result<SFlag, Errno> {
    match device.kind {
        'c' | 'u' => Ok(SFlag::S_IFCHR),
        'b' => Ok(SFlag::S_IFBLK),
        'p' => Ok(SFlag::S_IFIFO),
        _ => Err(Errno::EINVAL),
    }
}

/// Whether a file is that very device: a name proves nothing.
fn same_node(fd: &OwnedFd, device: &Device) -> bool {
    fstat(fd).is_ok_and(|stat| {
        Ok(file_type(&stat)) == node_type(device)
            && (device.kind == 'p' || stat.st_rdev == makedev(device.major, device.minor))
    })
}

/// Binds the host's node of the same path and number.
fn bind_host_node(place: BorrowedFd<'_>, device: &Device) -> Result<(), KernelError> {
    let path = &device.path;
    let node = step!(
        "open_tree",
        ("AT_FDCWD, {path:?}, OPEN_TREE_CLONE"),
        clone_tree(AT_FDCWD, path, false)
    )
    .during("bind device", path.display())?;
    if !same_node(&node, device) {
        return Err(KernelError::new("bind device", path.display(), Errno::ENODEV)
            .with_detail("the host has something else under this name"));
    }
    // The node is the host's own: its root may be ours too, and must not change mode or owner. Reading and writing the
    // device is no change of the file system.
    let set = Attr::RDONLY | Attr::NOSUID | Attr::NOEXEC;
    let change = SetAttr { set, ..SetAttr::default() };
    step!("mount_setattr", ("{path:?}, {{{set:?}}}"), set_attr(node.as_fd(), false, &change))
        .during("bind device", path.display())?;
    Root::mount(node.as_fd(), place, path)
}

fn open_name(dir: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd, KernelError> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, name, flags, Mode::empty()).during("open device", name.display())
}

/// Makes an empty file as a place for a mount and opens it as one.
fn empty_file(dir: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd, KernelError> {
    let mode = Mode::from_bits_truncate(0o666);
    step!("mknodat", ("dev, {name:?}, S_IFREG"), mknodat(dir, name, SFlag::S_IFREG, mode, 0))
        .during("create mount target", name.display())?;
    open_name(dir, name)
}
