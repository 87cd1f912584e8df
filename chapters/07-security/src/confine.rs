//! The story: the last steps of the child, in the only order that works.

use std::collections::BTreeSet;

use nix::errno::Errno;
use nix::sys::prctl::{set_keepcaps, set_no_new_privs};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use syscalls::capability::{self as kernel, Sets};
use syscalls::{During, KernelError, keyring, step};

use crate::capability::mask;
use crate::{Capability, Rlimit, set_oom_score_adj};

/// The five sets of a process (capabilities(7), "Thread capability sets").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CapSets {
    /// The most that any exec can ever give again.
    pub bounding: BTreeSet<Capability>,
    /// What counts when the kernel asks.
    pub effective: BTreeSet<Capability>,
    /// What may be made effective.
    pub permitted: BTreeSet<Capability>,
    /// What an exec of a file with the same inheritable capability keeps. Docker leaves it empty
    /// since CVE-2022-24769.
    pub inheritable: BTreeSet<Capability>,
    /// What an exec of an ordinary file keeps, for users that are not root.
    pub ambient: BTreeSet<Capability>,
}

/// Another name of [`CapSets`].
pub type Caps = CapSets;

impl CapSets {
    /// The sets that Docker gives a process: all of `set` for root; for another user only as the
    /// bounding set, which is what an exec by that user would leave anyhow. A set-user-id program
    /// can still get them.
    pub fn docker(set: &BTreeSet<Capability>, uid: u32) -> Self {
        let held = if uid == 0 { set.clone() } else { BTreeSet::new() };
        Self { bounding: set.clone(), effective: held.clone(), permitted: held, ..Self::default() }
    }
}

/// Who the program runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// User id, inside.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups: replaces whatever the caller had.
    pub groups: Vec<u32>,
}

/// What is taken from the process before it becomes the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confinement {
    /// The five capability sets.
    pub caps: CapSets,
    /// Who it runs as.
    pub user: User,
    /// No exec gives more than there is: set-user-id bits and file capabilities do not count any
    /// more.
    pub no_new_privileges: bool,
    /// Limits of the process; what is not named stays as it is.
    pub rlimits: Vec<Rlimit>,
    /// Likelihood to be killed when memory is short, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
}

/// Confines the calling process: in the child, as the last thing before exec.
///
/// 1. OOM score and resource limits, which may need privileges;
/// 2. a session keyring of its own: keys know no namespaces;
/// 3. to 7. [`apply_caps`];
/// 8. no-new-privileges.
///
/// # Errors
/// The first step that failed; the process is half confined then and must not go on.
pub fn confine(c: &Confinement) -> Result<(), KernelError> {
    // 1: the limits after the score, whose file a low limit on open files would keep closed.
    if let Some(value) = c.oom_score_adj {
        set_oom_score_adj(value)?;
    }
    for limit in &c.rlimits {
        limit.apply()?;
    }
    // 2
    join_new_keyring()?;
    // 3 to 7
    apply_caps(&c.caps, &c.user)?;
    // 8: last, since it must hold for the program and hinders nothing here. The filter will come
    // after it.
    if c.no_new_privileges {
        step!("prctl", "PR_SET_NO_NEW_PRIVS, 1", set_no_new_privs())
            .during("set no_new_privs", "")?;
    }
    Ok(())
}

fn join_new_keyring() -> Result<(), KernelError> {
    match step!("keyctl", "KEYCTL_JOIN_SESSION_KEYRING", keyring::join_new_session()) {
        // A kernel without keyrings; a filter of an outer container; the user's quota of keys is
        // used up, which must not keep a container from starting: it then shares the caller's
        // session keyring, as with other runtimes.
        Ok(()) | Err(Errno::ENOSYS | Errno::EPERM | Errno::EDQUOT) => Ok(()),
        Err(errno) => Err(KernelError::new("join session keyring", "", errno)),
    }
}

/// Becomes `user` with exactly the capabilities of `sets`.
///
/// 1. Drop from the bounding set: needs CAP_SETPCAP, hence first.
/// 2. Ask to keep permitted capabilities over the change of user (`PR_SET_KEEPCAPS`), if there is
///    one.
/// 3. Groups, then group, then user: each needs rights that the next one takes away.
/// 4. Effective, permitted and inheritable in one capset(2): they limit each other.
/// 5. Ambient: must be permitted and inheritable already.
///
/// # Errors
/// `EPERM` if a capability is asked for that the caller does not have itself, or it may not change
/// its user; `EINVAL` for an id that the user namespace does not map.
pub fn apply_caps(sets: &CapSets, user: &User) -> Result<(), KernelError> {
    // 1
    for capability in Capability::ALL {
        if !sets.bounding.contains(capability) {
            drop_bounding(*capability)?;
        }
    }
    // 2
    let keep = user.uid != 0 && !sets.permitted.is_empty();
    if keep {
        step!("prctl", "PR_SET_KEEPCAPS, 1", set_keepcaps(true)).during("keep capabilities", "")?;
    }
    // 3
    become_user(user)?;
    // 4
    let wanted = Sets {
        effective: mask(&sets.effective),
        permitted: mask(&sets.permitted),
        inheritable: mask(&sets.inheritable),
    };
    step!("capset", ("{wanted:x?}"), kernel::set(wanted))
        .during("set capabilities", "")
        .map_err(|error| explain(error, sets))?;
    if keep {
        set_keepcaps(false).during("keep capabilities", "")?;
    }
    // 5
    match kernel::clear_ambient() {
        // Before Linux 4.3 there is no ambient set, so it is empty.
        Err(Errno::EINVAL) if sets.ambient.is_empty() => {}
        other => other.during("clear ambient capabilities", "")?,
    }
    for capability in &sets.ambient {
        step!(
            "prctl",
            ("PR_CAP_AMBIENT_RAISE, {capability}"),
            kernel::raise_ambient(capability.index())
        )
        .during("raise ambient capability", capability)?;
    }
    Ok(())
}

fn drop_bounding(capability: Capability) -> Result<(), KernelError> {
    let index = capability.index();
    // Asking costs less than dropping what is not there, and needs no privilege.
    match kernel::in_bounding(index) {
        Ok(false) => return Ok(()),
        // An older kernel that does not know it.
        Err(Errno::EINVAL) => return Ok(()),
        _ => {}
    }
    step!("prctl", ("PR_CAPBSET_DROP, {capability}"), kernel::drop_bounding(index))
        .during("drop from bounding set", capability)
}

fn become_user(user: &User) -> Result<(), KernelError> {
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    match step!("setgroups", ("{:?}", user.groups), setgroups(&groups)) {
        // In a user namespace whose parent had to deny setgroups; beyond the primary group nothing
        // is missing.
        Err(Errno::EPERM) if user.groups.iter().all(|gid| *gid == user.gid) => {}
        other => other.during("set groups", format!("{:?}", user.groups))?,
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let unmapped = |error: KernelError| match error.errno {
        Errno::EINVAL => error.with_detail("the user namespace does not map this id"),
        _ => error,
    };
    step!("setresgid", ("{gid}, {gid}, {gid}"), setresgid(gid, gid, gid))
        .during("become group", gid)
        .map_err(unmapped)?;
    step!("setresuid", ("{uid}, {uid}, {uid}"), setresuid(uid, uid, uid))
        .during("become user", uid)
        .map_err(unmapped)
}

/// Says which capability is missing: the errno is the same for all.
fn explain(error: KernelError, sets: &CapSets) -> KernelError {
    let Ok(own) = kernel::get() else { return error };
    let missing: Vec<&str> = sets
        .permitted
        .iter()
        .filter(|capability| own.permitted & capability.bit() == 0)
        .map(|capability| capability.name())
        .collect();
    if missing.is_empty() {
        return error;
    }
    error.with_detail(format!("this process does not have {} to give", missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_users_keep_only_the_bound() {
        let set = BTreeSet::from(crate::DEFAULT);
        let root = CapSets::docker(&set, 0);
        assert_eq!((&root.effective, &root.permitted, &root.bounding), (&set, &set, &set));
        let other = CapSets::docker(&set, 1000);
        assert_eq!(other, CapSets { bounding: set, ..CapSets::default() });
    }
}
