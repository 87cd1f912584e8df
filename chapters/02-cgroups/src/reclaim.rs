//! What a runtime that was killed has left: cgroups that nobody remembers.

use std::collections::BTreeSet;

use nix::errno::Errno;

use crate::group::children;
use crate::tree::remove_empty_parents;
use crate::{Cgroup, Error, Hierarchies};

/// Removes the children of `parent` (a path as for [`Cgroup::create`], without the last name) whose name is not alive,
/// killing what is in them. Returns their names. The parent goes too once it is empty.
///
/// # Errors
/// The first cgroup that could not be removed; the others are tried all the same.
pub fn reclaim(
    h: &Hierarchies,
    parent: &str,
    alive: &dyn Fn(&str) -> bool,
) -> Result<Vec<String>, Error> {
    let names: BTreeSet<String> = h
        .iter()
        .flat_map(|one| children(&one.parent.join(parent)))
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .filter(|name| !alive(name))
        .collect();
    let (mut removed, mut outcome) = (Vec::new(), Ok(()));
    for name in names {
        let gone = Cgroup::open(h, &format!("{parent}/{name}")).and_then(|left| Ok(left.remove()?));
        match gone {
            Ok(()) => removed.push(name),
            // Another process has reclaimed it since we have listed it.
            Err(Error::Kernel(error)) if error.errno == Errno::ENOENT => {}
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    for hierarchy in h.iter() {
        remove_empty_parents(&hierarchy.parent, &hierarchy.parent.join(parent).join("child"));
    }
    outcome.map(|()| removed)
}
