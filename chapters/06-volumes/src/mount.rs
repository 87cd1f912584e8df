//! A [`Spec`] becomes a detached mount: a descriptor that chapter 03 gives its place in the
//! container.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use syscalls::mount::{Attr, FsContext, Propagation, SetAttr, clone_tree, set_attr};
use syscalls::{During, KernelError, inroot, step};

use crate::spec::{ParseError, Spec, propagation_name};
use crate::store::{Error, Volume};

const PLACE: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

/// Opens the host's file or folder behind a bind mount. A relative path is relative to the working
/// directory.
///
/// What is missing is made as a folder, with its parents, if the flag was `-v`
/// ([`Spec::create_source`]).
///
/// # Errors
/// [`Error::Invalid`], in Docker's words, if it is missing and may not be made; `ENOTDIR` and
/// others of open(2).
pub fn open_source(spec: &Spec) -> Result<OwnedFd, Error> {
    let source = spec.source.as_deref().unwrap_or_default();
    match step!("openat", ("\"{source}\", O_PATH"), open(source, PLACE, Mode::empty())) {
        Err(Errno::ENOENT) if spec.create_source => {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(source);
            step!("mkdir", ("\"{source}\", 0755"), made).during("create bind source", source)?;
            Ok(open(source, PLACE, Mode::empty()).during("open bind source", source)?)
        }
        Err(Errno::ENOENT) => Err(Error::Invalid(ParseError::new(
            format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {source}"
            ),
            format!("create it, or let -v create it: -v {source}:{}", spec.target.display()),
        ))),
        other => Ok(other.during("open bind source", source)?),
    }
}

/// Opens the folder of a volume: its `_data`, or the `device` of a volume with the driver options
/// of a bind mount.
///
/// # Errors
/// `ENOENT` if the device is not there.
pub fn open_volume(volume: &Volume) -> Result<OwnedFd, Error> {
    let place = match bind_device(&volume.options)? {
        Some(device) => Path::new(device),
        None => &volume.mountpoint,
    };
    let opened = open(place, PLACE | OFlag::O_DIRECTORY, Mode::empty());
    let opened = step!("openat", ("{place:?}, O_PATH|O_DIRECTORY"), opened);
    Ok(opened.during("open volume", place.display())?)
}

/// What the `local` driver's options ask for: none is an ordinary volume, `o=bind,device=/path`
/// (with `type=none`, or without) another folder of the host under a volume's name.
///
/// # Errors
/// Everything else that Docker would pass to mount(8): such a mount would have to stay on the host
/// between two containers, which nothing here does.
pub(crate) fn bind_device(options: &BTreeMap<String, String>) -> Result<Option<&str>, ParseError> {
    if options.is_empty() {
        return Ok(None);
    }
    if let Some(key) = options.keys().find(|key| !matches!(key.as_str(), "type" | "o" | "device")) {
        return Err(ParseError::new(
            format!("create volume: invalid option: \"{key}\""),
            "the local driver knows type, o and device",
        ));
    }
    let get = |key: &str| options.get(key).map_or("", String::as_str);
    let (kind, flags, device) = (get("type"), get("o"), get("device"));
    if kind == "tmpfs" {
        return Err(ParseError::new(
            "create volume: type=tmpfs is not supported as a volume",
            "use --tmpfs or --mount type=tmpfs: its data ends with the container",
        ));
    }
    if !matches!(kind, "" | "none" | "bind") || !matches!(flags, "bind" | "rbind") {
        return Err(ParseError::new(
            format!("create volume: type={kind},o={flags} is not supported"),
            "mount it on the host, then use it with -v /path:/target or o=bind,device=/path",
        ));
    }
    if !device.starts_with('/') {
        return Err(ParseError::new(
            format!("create volume: device \"{device}\" must be an absolute path"),
            "-o type=none -o o=bind -o device=/path",
        ));
    }
    Ok(Some(device))
}

/// Copies the mount at `source` as a detached mount, as `spec` asks: a bind mount without a place
/// yet.
///
/// 1. `volume-subpath` is resolved inside the source, links and `..` cannot leave it;
/// 2. open_tree(2) copies the mount, with those below it unless `bind-nonrecursive`;
/// 3. mount_setattr(2) makes the copy read-only, all mounts below it in the same call, and sets its
///    propagation.
///
/// With mount(2), a bind mount that is made read-only is so only at the top: a submount stays
/// writable. mount_setattr(2) needs Linux 5.12; there is no fallback, because one that leaves
/// submounts writable would be a surprise.
///
/// # Errors
/// What these calls say; `EINVAL` with a detail if `shared` or `slave` is asked and the source's
/// own mount is private, since nothing would propagate.
pub fn detached(source: BorrowedFd<'_>, spec: &Spec) -> Result<OwnedFd, KernelError> {
    let target = spec.target.display();
    let inner = match &spec.subpath {
        Some(subpath) => Some(
            step!("openat2", ("{subpath:?}, RESOLVE_IN_ROOT"), inroot::open_path(source, subpath))
                .during("open volume subpath", subpath.display())?,
        ),
        None => None,
    };
    let source = inner.as_ref().map_or(source, std::os::fd::AsFd::as_fd);
    let propagation = spec.propagation.unwrap_or(Propagation::Private);
    if matches!(propagation, Propagation::Shared | Propagation::Slave) {
        check_peers(source, spec, propagation)?;
    }
    let flags = if spec.recursive { "OPEN_TREE_CLONE|AT_RECURSIVE" } else { "OPEN_TREE_CLONE" };
    let tree = step!("open_tree", ("{target}, {flags}"), clone_tree(source, "", spec.recursive))
        .during("copy mount", &target)?;
    let tree_fd = std::os::fd::AsFd::as_fd(&tree);
    let change = SetAttr { propagation: Some(propagation), set: spec.attr, ..SetAttr::default() };
    let name = propagation_name(propagation, spec.propagation_recursive);
    if spec.read_only && spec.read_only_recursive == spec.propagation_recursive {
        let change = SetAttr { set: spec.attr | Attr::RDONLY, ..change };
        return step!(
            "mount_setattr",
            ("{target}, {name}, MOUNT_ATTR_RDONLY"),
            set_attr(tree_fd, spec.propagation_recursive, &change)
        )
        .during("make mount read-only", &target)
        .map(|()| tree);
    }
    step!(
        "mount_setattr",
        ("{target}, {name}"),
        set_attr(tree_fd, spec.propagation_recursive, &change)
    )
    .during("set propagation of mount", &target)?;
    if spec.read_only {
        let change = SetAttr { set: Attr::RDONLY, ..SetAttr::default() };
        step!(
            "mount_setattr",
            ("{target}, MOUNT_ATTR_RDONLY"),
            set_attr(tree_fd, spec.read_only_recursive, &change)
        )
        .during("make mount read-only", &target)?;
    }
    Ok(tree)
}

/// Makes the tmpfs of `spec` as a detached mount (tmpfs(5)). It belongs to the caller's user
/// namespace.
///
/// # Errors
/// `EINVAL` with the kernel's own sentence for an option that tmpfs refuses.
pub fn tmpfs(spec: &Spec) -> Result<OwnedFd, KernelError> {
    let context = step!("fsopen", "\"tmpfs\"", FsContext::open("tmpfs"))?;
    context.set_string("source", "tmpfs")?;
    let mode = format!("{:o}", spec.tmpfs_mode.unwrap_or(0o1777));
    step!("fsconfig", ("mode={mode}"), context.set_string("mode", &mode))?;
    if let Some(bytes) = spec.tmpfs_size {
        step!("fsconfig", ("size={bytes}"), context.set_string("size", bytes.to_string()))?;
    }
    for (key, value) in &spec.tmpfs_options {
        step!("fsconfig", ("{key}={value}"), context.set_string(key, value))?;
    }
    let read_only = if spec.read_only { Attr::RDONLY } else { Attr::empty() };
    step!("fsmount", ("tmpfs for {}", spec.target.display()), context.mount(spec.attr | read_only))
}

/// Refuses a propagation that could do nothing, in Docker's words. Reads /proc/self/mountinfo,
/// which costs time on a host with many mounts, but only for the few who ask for `shared` or
/// `slave`.
fn check_peers(
    source: BorrowedFd<'_>,
    spec: &Spec,
    propagation: Propagation,
) -> Result<(), KernelError> {
    let name = spec.source.as_deref().unwrap_or_default();
    let fdinfo = format!("/proc/self/fdinfo/{}", source.as_raw_fd());
    let fdinfo = std::fs::read_to_string(&fdinfo).during("read", &fdinfo)?;
    let id = fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap_or_default();
    let mountinfo = File::open("/proc/self/mountinfo").during("read", "/proc/self/mountinfo")?;
    for line in BufReader::new(mountinfo).lines() {
        let line = line.during("read", "/proc/self/mountinfo")?;
        // 36 35 98:0 /root /mount/point options [optional fields] - ... (proc_pid_mountinfo(5))
        let mut words = line.split(' ');
        if words.next() != Some(id.trim()) {
            continue;
        }
        let point = words.nth(3).unwrap_or_default().to_owned();
        let mut optional = words.skip(1).take_while(|word| *word != "-");
        let (fits, kind) = match propagation {
            Propagation::Shared => (optional.any(|word| word.starts_with("shared:")), "shared"),
            _ => (
                optional.any(|word| word.starts_with("shared:") || word.starts_with("master:")),
                "shared or slave",
            ),
        };
        if fits {
            return Ok(());
        }
        return Err(KernelError::new("set propagation of mount", name, Errno::EINVAL).with_detail(
            format!("path {name} is mounted on {point} but it is not a {kind} mount"),
        ));
    }
    // A detached mount or one of another namespace: the kernel has the last word.
    Ok(())
}
