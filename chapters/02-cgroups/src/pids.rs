//! The number of processes and threads: fork and clone fail with `EAGAIN` at the limit. A fork bomb's end.
//!
//! v1 and v2 have the same file, `pids.max`. Only creation counts: a process that is moved in is never refused.

use crate::group::Group;
use crate::{Error, Limits};

pub(crate) fn apply(group: &Group, limits: &Limits) -> Result<(), Error> {
    match limits.pids {
        None => Ok(()),
        Some(count) if count > 0 => Ok(group.write("pids.max", &count.to_string())?),
        Some(_) => Ok(group.write("pids.max", "max")?),
    }
}
