//! Which CPUs and which memory nodes may be used.
//!
//! | | v1 | v2 |
//! |---|---|---|
//! | files | `cpuset.cpus`, `cpuset.mems` | the same |
//! | a new cgroup | has *empty* lists, and no process can enter (`ENOSPC`) until both are filled, from the top down | inherits those of its parent until told otherwise |

use std::path::{Path, PathBuf};

use crate::group::Group;
use crate::{Error, Limits, Version};

pub(crate) fn apply(group: &Group, limits: &Limits) -> Result<(), Error> {
    for (file, value) in
        [("cpuset.cpus", &limits.cpuset_cpus), ("cpuset.mems", &limits.cpuset_mems)]
    {
        if let Some(value) = value {
            group.write(file, value)?;
        }
    }
    Ok(())
}

/// v1: fills the empty lists of every directory from below `top` down to `path` with those of its parent.
pub(crate) fn inherit(top: &Path, path: &Path) -> Result<(), Error> {
    let mut chain: Vec<PathBuf> =
        path.ancestors().take_while(|dir| *dir != top).map(Path::to_owned).collect();
    chain.push(top.to_owned());
    chain.reverse();
    let open = |dir: &Path| Group::open(dir.to_owned(), Version::V1, Vec::new());
    let mut parent = open(top)?;
    for dir in &chain[1..] {
        let group = open(dir)?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if group.read(file)?.trim().is_empty() {
                group.write(file, parent.read(file)?.trim())?;
            }
        }
        parent = group;
    }
    Ok(())
}
