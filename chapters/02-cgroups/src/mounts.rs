//! What the container sees at /sys/fs/cgroup: its own cgroup as if it were the root, read-only.

use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, fstatat, mkdirat};
use syscalls::mount::{Attr, FsContext, SetAttr, set_attr};
use syscalls::{During, KernelError, step};

use crate::{Hierarchies, Version};

/// Makes detached mounts of the cgroup filesystems, to be attached at /sys/fs/cgroup in the order of the list.
///
/// Call it in the child, after it has joined its cgroup and *then* entered a cgroup namespace: the mount begins at the
/// cgroup where the namespace was made. With v2 alone there is one entry, with the empty name. Otherwise the first
/// (also with the empty name) is a tmpfs that has a directory for each further entry: `memory`, `cpu,cpuacct`, ...; and
/// a link for each part of a name with a comma. A hierarchy in which the container has no cgroup of its own would show
/// the host's root; it is left out.
///
/// # Errors
/// Those of fsopen(2) and fsmount(2): `EPERM` without CAP_SYS_ADMIN in the user namespace of the cgroup namespace.
pub fn container_mounts(h: &Hierarchies) -> Result<Vec<(String, OwnedFd)>, KernelError> {
    let quiet = Attr::RDONLY | Attr::NOSUID | Attr::NODEV | Attr::NOEXEC;
    if h.iter().all(|one| one.version == Version::V2) {
        let mount = step!("fsmount", "cgroup2, ro", FsContext::open("cgroup2")?.mount(quiet))?;
        return Ok(vec![(String::new(), mount)]);
    }
    let tmpfs = FsContext::open("tmpfs")?;
    tmpfs.set_string("mode", "0755")?;
    tmpfs.set_string("size", "64k")?;
    let base = step!("fsmount", "tmpfs for v1 cgroups", tmpfs.mount(quiet - Attr::RDONLY))?;
    let mut mounts = Vec::new();
    // All controllers that share a hierarchy must be named: the lines of /proc/self/cgroup have them.
    let own = std::fs::read_to_string("/proc/self/cgroup").during("read", "/proc/self/cgroup")?;
    for names in own.lines().filter_map(|line| line.split(':').nth(1)) {
        let known = h.iter().any(|one| {
            one.controllers.iter().any(|c| names.split(',').any(|name| name == c.v1_name()))
        });
        if !known || names.is_empty() {
            continue;
        }
        let context = FsContext::open("cgroup")?;
        for name in names.split(',') {
            context.set_flag(name)?;
        }
        let mount = step!("fsmount", ("cgroup {names}, ro"), context.mount(quiet))?;
        // Only the root of a v1 hierarchy has a release agent.
        if fstatat(&mount, "release_agent", AtFlags::empty()).is_ok() {
            continue;
        }
        mkdirat(&base, names, Mode::from_bits_truncate(0o755)).during("create directory", names)?;
        if names.contains(',') {
            for name in names.split(',') {
                nix::unistd::symlinkat(names, &base, name).during("create link", name)?;
            }
        }
        mounts.push((names.to_owned(), mount));
    }
    let read_only = SetAttr { set: Attr::RDONLY, ..SetAttr::default() };
    set_attr(base.as_fd(), false, &read_only).during("make read-only", "tmpfs")?;
    mounts.insert(0, (String::new(), base));
    Ok(mounts)
}
