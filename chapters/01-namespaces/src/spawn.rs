//! The story: one call makes a process in new namespaces, then two processes finish the work
//! together.
//!
//! ```text
//! parent                                   child
//!   1 join what only a parent can
//!   2 clone3(CLONE_NEW..., cgroup) ------- born: PID 1 of its pid namespace
//!   3 come back from 1                     4 signals to their defaults
//!                                          5 join the rest of the plan
//!   6 write uid_map, gid_map, say 'm' ---> 7 become user 0
//!                                          8 host name
//!   [the caller's work: network, ...]      9 body: mounts, devices, ... wait for 'g'
//!     Init::go, say 'g' ----------------->   security, exec: the channel closes
//!     Init::wait_exec: end of file <------
//! ```

use std::cell::Cell;
use std::convert::Infallible;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::sched::unshare;
use nix::sys::prctl::{get_dumpable, set_dumpable};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::sethostname;
use syscalls::clone::{CloneArgs, Cloned, clone3};
use syscalls::{During, KernelError, process, step, trace};

use crate::channel::{Channel, Word, pair};
use crate::join::{Visit, join_beside, join_planned};
use crate::plan::flags;
use crate::{Init, Kind, Plan, idmap};

/// Exit code of a child that did not get to exec. Docker's code for a failure of the runtime
/// itself; nobody but a reader of strace sees it, since the report says more.
const NOT_STARTED: i32 = 125;

/// The child's side of [`spawn`], handed to its body.
#[derive(Debug)]
pub struct Child {
    channel: Channel,
    released: Cell<bool>,
    creates_cgroup: bool,
}

impl Child {
    /// Blocks until the parent has called [`Init::go`].
    ///
    /// # Errors
    /// `EPIPE` if the parent died or gave up: return the error, and the child ends without a word.
    pub fn wait_for_parent(&self) -> Result<(), KernelError> {
        if !self.released.get() {
            step!("recvfrom", "parent: go?", self.channel.hear(Word::Go))
                .during("wait for the parent", "")?;
            self.released.set(true);
        }
        Ok(())
    }

    /// Makes the cgroup that the child is in *now* the root of what it sees in /proc/self/cgroup.
    /// Does nothing unless the plan creates [`Kind::Cgroup`].
    ///
    /// Not part of clone3: that would take the parent's cgroup, since namespaces are copied before
    /// the child is moved (`CLONE_INTO_CGROUP`), and on v1 the child joins by itself later still.
    ///
    /// # Errors
    /// `EPERM` without CAP_SYS_ADMIN.
    pub fn enter_cgroup_namespace(&self) -> Result<(), KernelError> {
        if !self.creates_cgroup {
            return Ok(());
        }
        step!("unshare", "CLONE_NEWCGROUP", unshare(Kind::Cgroup.flag()))
            .during("create namespace", Kind::Cgroup)
    }
}

/// Creates a process in the namespaces of `plan`, born in `cgroup` if given (cgroup v2), and runs
/// `body` in it.
///
/// `body` ends in an exec; it returns only to say why there was none, and then the child ends.
/// Signal mask and actions are the defaults when it begins. A plan that joins a pid namespace, or
/// a running process, makes the child not dumpable until it execs: whoever is in there could
/// otherwise reach into it, and to the runtime's descriptors and binary, through /proc
/// (CVE-2016-9962, CVE-2019-5736).
///
/// # Errors
/// `EINVAL` for a plan that contradicts itself; otherwise the parent's own failed step: clone3
/// (`EPERM` without CAP_SYS_ADMIN, `ENOSPC` for too many namespaces, `EDEADLK` with more than one
/// thread), a map, setns. The child is gone then. What fails in the child is reported by
/// [`Init::wait_exec`].
pub fn spawn<F>(plan: &Plan, cgroup: Option<BorrowedFd<'_>>, body: F) -> Result<Init, KernelError>
where
    F: FnOnce(&Child) -> Result<Infallible, KernelError>,
{
    plan.check()?;
    let (ours, theirs) = pair().during("create channel", "")?;

    // 1
    let hidden = Hidden::begin(plan)?;
    let visit = Visit::begin(plan)?;

    // 2
    let namespaces = flags(plan.create.iter().copied().filter(|kind| at_birth(plan, *kind)));
    let arguments = CloneArgs { namespaces, cgroup };
    // Returns twice; it is told once.
    let started = trace::start();
    let cloned = clone3(&arguments);
    if !matches!(cloned, Ok(Cloned::Child)) {
        let chapter = env!("CARGO_PKG_NAME");
        trace::finish(started, chapter, "clone3", || describe(plan, &arguments), &cloned);
    }
    match cloned.map_err(|errno| explain(plan, errno))? {
        Cloned::Child => {
            drop(ours);
            visit.stay();
            std::mem::forget(hidden);
            let creates_cgroup = plan.creates(Kind::Cgroup);
            let child = Child { channel: theirs, released: Cell::new(false), creates_cgroup };
            run(plan, &child, body)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            let init = Init::new(pid, pidfd, ours);
            // 3; if it fails, dropping `init` ends the child.
            visit.end()?;
            drop(hidden);
            // 6
            if plan.creates(Kind::User) {
                idmap::write(pid, &plan.uid_map, &plan.gid_map)?;
                init.say(Word::Mapped)?;
            }
            Ok(init)
        }
    }
}

/// The child's whole life, from birth to exec or a report. A panic is reported like any other
/// failure: its way up would lead into the caller's code, which is the parent's.
fn run<F>(plan: &Plan, child: &Child, body: F) -> !
where
    F: FnOnce(&Child) -> Result<Infallible, KernelError>,
{
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        prepare(plan, child)?;
        body(child)
    }));
    let error = match outcome {
        Ok(Ok(never)) => match never {},
        Ok(Err(error)) => error,
        Err(panic) => {
            let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
            let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
            KernelError::new("set up container", "", Errno::ENOTRECOVERABLE)
                .with_detail(format!("panic: {}", words.unwrap_or_default()))
        }
    };
    child.channel.report(&error);
    process::exit_now(NOT_STARTED)
}

/// Steps 4 to 8.
fn prepare(plan: &Plan, child: &Child) -> Result<(), KernelError> {
    process::default_signals();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .during("unblock signals", "")?;
    join_planned(plan)?;
    join_beside(plan)?;
    if plan.creates(Kind::User) {
        step!("recvfrom", "parent: maps written?", child.channel.hear(Word::Mapped))
            .during("wait for the id maps", "")?;
        idmap::become_root()?;
    } else if plan.beside.as_ref().is_some_and(|beside| beside.kinds.contains(&Kind::User)) {
        // Its ids are still those outside, which mean nobody here.
        idmap::become_root()?;
    }
    if let Some(name) = &plan.hostname {
        step!("sethostname", ("{name:?}"), sethostname(name)).during("set hostname", name)?;
    }
    if let Some(name) = &plan.domainname {
        step!("setdomainname", ("{name:?}"), process::set_domainname(name))
            .during("set domain name", name)?;
    }
    Ok(())
}

/// What clone3 itself creates: not the cgroup namespace, and not a time namespace that needed
/// offsets first.
fn at_birth(plan: &Plan, kind: Kind) -> bool {
    kind != Kind::Cgroup && !(kind == Kind::Time && plan.time_offsets.is_some())
}

fn describe(plan: &Plan, arguments: &CloneArgs<'_>) -> String {
    let mut words: Vec<_> = plan
        .create
        .iter()
        .filter(|kind| at_birth(plan, **kind))
        .map(|kind| format!("new {kind}"))
        .collect();
    if arguments.cgroup.is_some() {
        words.push("into cgroup".to_owned());
    }
    words.join(", ")
}

fn explain(plan: &Plan, errno: Errno) -> KernelError {
    let kinds: Vec<_> = plan.create.iter().map(|kind| kind.proc_name()).collect();
    let error = KernelError::new("create process in namespaces", kinds.join(","), errno);
    match errno {
        Errno::EPERM if plan.creates(Kind::User) => error.with_detail(
            "user namespaces are not allowed here: root of a chroot, a seccomp filter, AppArmor \
             (kernel.apparmor_restrict_unprivileged_userns) or kernel.unprivileged_userns_clone",
        ),
        Errno::EPERM => error.with_detail("needs root, or a user namespace to be root in"),
        Errno::ENOSPC => error.with_detail("a limit in /proc/sys/user/max_*_namespaces"),
        Errno::EDEADLK => error.with_detail("the caller has more than one thread"),
        Errno::ENOSYS => {
            error.with_detail("needs Linux 5.3, or a seccomp filter that lets clone3 pass")
        }
        _ => error,
    }
}

/// Keeps the child, who inherits it, out of reach of others in a pid namespace that is joined. Set
/// before birth, because there is no moment after it that is early enough.
struct Hidden {
    was: Option<bool>,
}

impl Hidden {
    fn begin(plan: &Plan) -> Result<Self, KernelError> {
        // Beside a running process it is seen by that one in any case: both may be in the pid
        // namespace of the caller.
        if !plan.joins(Kind::Pid) && plan.beside.is_none() {
            return Ok(Self { was: None });
        }
        let was = get_dumpable().during("read dumpable", "")?;
        step!("prctl", "PR_SET_DUMPABLE, 0", set_dumpable(false)).during("clear dumpable", "")?;
        Ok(Self { was: Some(was) })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(was) = self.was {
            // Cannot fail: 0 and 1 are always accepted.
            set_dumpable(was).ok();
        }
    }
}
