//! v2 only: controllers are handed down from directory to directory.
//!
//! A child has the files of a controller only if its parent names it in `cgroup.subtree_control`, and the parent can
//! name only what its own parent gave it. So they are enabled from the top down. And a cgroup below the root cannot
//! both hold processes and hand memory or io to children (`EBUSY`; "no internal processes", cgroups(7); cpu and pids
//! are exempt because they can also divide single threads). Inside a container our own cgroup looks like the root but
//! is not one: its processes are moved to a leaf first.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use syscalls::{During, KernelError, step};

use crate::group::Group;
use crate::{Controller, Version};

/// The leaf that takes the processes of a cgroup that is about to get children with controllers.
const LEAF: &str = "mini-docker-init";

/// Makes the directories from `top` down to the parent of `path`, and enables `wanted` in each of them, `top` included.
pub(crate) fn enable(top: &Path, path: &Path, wanted: &[Controller]) -> Result<(), KernelError> {
    let names: Vec<&str> = wanted.iter().filter_map(|controller| controller.v2_name()).collect();
    let parent = path.parent().unwrap_or(top);
    // Usually an earlier container has left nothing to do, and one look is enough.
    if let Ok(dir) = open(parent)
        && missing(&dir, &names)?.is_empty()
    {
        return Ok(());
    }
    let mut chain: Vec<PathBuf> =
        parent.ancestors().take_while(|dir| *dir != top).map(Path::to_owned).collect();
    chain.push(top.to_owned());
    for dir in chain.iter().rev() {
        if dir != top {
            make(dir)?;
        }
        let group = open(dir)?;
        let missing = missing(&group, &names)?;
        if !missing.is_empty() {
            enable_here(&group, &missing)?;
        }
    }
    Ok(())
}

fn enable_here(group: &Group, names: &[&str]) -> Result<(), KernelError> {
    let list: Vec<String> = names.iter().map(|name| format!("+{name}")).collect();
    let list = list.join(" ");
    // Processes may fork while they are being moved: look again until none is left.
    for _ in 0..16 {
        match group.write("cgroup.subtree_control", &list) {
            Err(error) if error.errno == Errno::EBUSY => move_to_leaf(group)?,
            other => return other,
        }
    }
    Err(KernelError::new("enable controllers", group.path.display(), Errno::EBUSY)
        .with_detail("processes keep appearing in it"))
}

fn move_to_leaf(group: &Group) -> Result<(), KernelError> {
    let path = group.path.join(LEAF);
    make(&path)?;
    let leaf = open(&path)?;
    for pid in group.read("cgroup.procs")?.lines() {
        match leaf.write("cgroup.procs", pid) {
            // It has ended meanwhile, or it is outside of our pid namespace and cannot be named.
            Err(error) if matches!(error.errno, Errno::ESRCH | Errno::EINVAL) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Which of the names a directory does not hand down yet.
fn missing<'a>(group: &Group, names: &[&'a str]) -> Result<Vec<&'a str>, KernelError> {
    let enabled = group.read("cgroup.subtree_control")?;
    let enabled: Vec<&str> = enabled.split_whitespace().collect();
    Ok(names.iter().copied().filter(|name| !enabled.contains(name)).collect())
}

fn open(path: &Path) -> Result<Group, KernelError> {
    Group::open(path.to_owned(), Version::V2, Vec::new())
}

/// mkdir that is content with what is there.
pub(crate) fn make(path: &Path) -> Result<(), KernelError> {
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o755);
    match step!("mkdir", ("{path:?}, 0755"), nix::unistd::mkdir(path, mode)) {
        Err(Errno::EEXIST) => Ok(()),
        other => other.during("create cgroup", path.display()),
    }
}
