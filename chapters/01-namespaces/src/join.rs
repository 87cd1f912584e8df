//! Into namespaces that exist already (setns(2)).

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::{setns, unshare};
use nix::unistd::Pid;
use syscalls::{During, KernelError, pidfd, step};

use crate::plan::{TimeOffsets, flags};
use crate::{Beside, Kind, Plan};

/// Moves the calling process into namespaces of a running one, all in one call: all or none
/// (setns(2) with a pidfd, Linux 5.8).
///
/// The pid namespace counts for children only: fork after it. The caller must have one thread for
/// `User`, `Mount` and `Time`.
///
/// # Errors
/// `ESRCH` if the process has ended, `EPERM` without CAP_SYS_ADMIN over each of them, `EINVAL` for
/// the caller's own user namespace.
pub fn join(pid: Pid, kinds: &[Kind]) -> Result<(), KernelError> {
    let pidfd = step!("pidfd_open", ("{pid}"), pidfd::open(pid)).during("open process", pid)?;
    join_pidfd(pidfd.as_fd(), kinds)
}

/// As [`join`], for a process that is known by its pidfd: the pid cannot have been used again
/// meanwhile.
///
/// # Errors
/// As [`join`].
pub fn join_pidfd(pidfd: BorrowedFd<'_>, kinds: &[Kind]) -> Result<(), KernelError> {
    let names = kinds.iter().map(|kind| kind.proc_name()).collect::<Vec<_>>().join(",");
    step!("setns", ("pidfd, {names}"), setns(pidfd, flags(kinds.iter().copied())))
        .during("join namespaces", names)
}

fn enter(kind: Kind, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    step!("setns", ("{kind}"), setns(fd, kind.flag()))
}

/// Child: joins the namespaces of a running process but the pid namespace, in which it was born.
/// One call, so the kernel finds the order: the rights over one may come with another.
pub(crate) fn join_beside(plan: &Plan) -> Result<(), KernelError> {
    let Some(Beside { pidfd, kinds }) = &plan.beside else { return Ok(()) };
    let kinds: Vec<_> = kinds.iter().copied().filter(|kind| *kind != Kind::Pid).collect();
    if kinds.is_empty() { Ok(()) } else { join_pidfd(pidfd.as_fd(), &kinds) }
}

/// Child: joins what the plan says and [`Visit`] has not done.
///
/// Rights over a namespace come from the user namespace that owns it. So there is no order that is
/// always right: what root of the host owns is joined before we leave the host's user namespace,
/// what the container's root owns after that. The kernel knows: whatever gives `EPERM` is tried
/// again afterwards.
pub(crate) fn join_planned(plan: &Plan) -> Result<(), KernelError> {
    let mut later = Vec::new();
    let planned = plan.join.iter().filter(|(kind, _)| !by_parent(plan, *kind));
    let (user, others): (Vec<_>, Vec<_>) = planned.partition(|(kind, _)| *kind == Kind::User);
    for (kind, fd) in others {
        match enter(*kind, fd.as_fd()) {
            Err(Errno::EPERM) if !user.is_empty() => later.push((kind, fd)),
            other => other.during("join namespace", kind)?,
        }
    }
    for (kind, fd) in user {
        enter(*kind, fd.as_fd()).during("join namespace", kind)?;
    }
    for (kind, fd) in later {
        enter(*kind, fd.as_fd()).during("join namespace", kind)?;
    }
    Ok(())
}

/// What only the parent can join, before clone3: a pid namespace is for children of the caller; and
/// a child born into a new user namespace has no rights over the others any more. A mount namespace
/// stays the child's in any case, since joining it changes the root and working directory.
fn by_parent(plan: &Plan, kind: Kind) -> bool {
    kind == Kind::Pid || (plan.creates(Kind::User) && kind != Kind::Mount)
}

/// The parent in other namespaces for the moment of clone3; it comes back when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    home: Vec<(Kind, OwnedFd)>,
}

impl Visit {
    /// Parent: goes where the child is to be born.
    pub(crate) fn begin(plan: &Plan) -> Result<Self, KernelError> {
        let mut visit = Self::default();
        for (kind, fd) in plan.join.iter().filter(|(kind, _)| by_parent(plan, *kind)) {
            visit.remember(*kind)?;
            enter(*kind, fd.as_fd()).during("join namespace", kind)?;
        }
        if let Some(beside) =
            plan.beside.as_ref().filter(|beside| beside.kinds.contains(&Kind::Pid))
        {
            visit.remember(Kind::Pid)?;
            join_pidfd(beside.pidfd.as_fd(), &[Kind::Pid])?;
        }
        if let Some(offsets) = plan.time_offsets {
            visit.remember(Kind::Time)?;
            make_time(offsets)?;
        }
        Ok(visit)
    }

    fn remember(&mut self, kind: Kind) -> Result<(), KernelError> {
        // What children get may differ from what we are in, for pid and time: then that is what
        // must come back.
        let path = match kind {
            Kind::Pid => "/proc/self/ns/pid_for_children".to_owned(),
            Kind::Time => "/proc/self/ns/time_for_children".to_owned(),
            kind => format!("/proc/self/ns/{kind}"),
        };
        let home = File::open(&path).during("open namespace", &path)?;
        self.home.push((kind, home.into()));
        Ok(())
    }

    /// Parent: comes back, and hears if that failed.
    pub(crate) fn end(mut self) -> Result<(), KernelError> {
        self.back()
    }

    /// Child: it was born here and stays.
    pub(crate) fn stay(mut self) {
        self.home.clear();
    }

    fn back(&mut self) -> Result<(), KernelError> {
        while let Some((kind, fd)) = self.home.pop() {
            enter(kind, fd.as_fd()).during("return to namespace", kind)?;
        }
        Ok(())
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // Only on the way out with another error, which is the one to tell.
        self.back().ok();
    }
}

/// Makes a time namespace for the next child. Its offsets can be set only while nobody is in it, so
/// clone3, which would put the child there at once, cannot be used (time_namespaces(7)).
fn make_time(offsets: TimeOffsets) -> Result<(), KernelError> {
    step!("unshare", "CLONE_NEWTIME", unshare(Kind::Time.flag()))
        .during("create namespace", Kind::Time)?;
    let path = "/proc/self/timens_offsets";
    let TimeOffsets { monotonic_s, boottime_s } = offsets;
    let text = format!("monotonic {monotonic_s} 0\nboottime {boottime_s} 0\n");
    step!(
        "write",
        ("{path}, {text:?}"),
        File::options().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()))
    )
    .during("set clock offsets", path)
}
