//! Inside a container: what it sees of its cgroup, and containers in it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use cgroups::{Cgroup, Hierarchies, Limits};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use syscalls::mount::{Attr, FsContext, attach};
use testkit::{Outcome, Sandbox};

use crate::inside::{End, Failure, fresh, random, run, start_in};

/// 0, or 1 with the error on standard error: what a child can say.
fn report(outcome: Result<(), Failure>) -> i32 {
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("child: {error}");
            1
        }
    }
}

/// Attaches the mounts for a container at /sys/fs/cgroup of our own mount namespace.
fn mount_at_sys_fs_cgroup(h: &Hierarchies) -> Result<(), Failure> {
    for (name, mount) in cgroups::container_mounts(h)? {
        attach_at(&Path::new("/sys/fs/cgroup").join(name), &mount)?;
    }
    Ok(())
}

fn attach_at(target: &Path, mount: &OwnedFd) -> Result<(), Failure> {
    let place = open(target, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(attach(mount.as_fd(), place.as_fd())?)
}

pub(crate) fn container_sees_its_own_root(sandbox: &Sandbox) -> Outcome {
    let limit = random(5, 500);
    let limits = Limits { pids: Some(limit as i64), ..Limits::default() };
    let (h, cgroup) = fresh(sandbox, &limits)?;
    let container = start_in(&cgroup, CloneFlags::CLONE_NEWNS, || {
        report((|| {
            unshare(CloneFlags::CLONE_NEWCGROUP)?;
            mount_at_sys_fs_cgroup(&h)?;
            let seen = Hierarchies::detect()?;
            let pids = &seen.home(cgroups::Controller::Pids).ok_or("no pids")?.mount;
            let max = std::fs::read_to_string(pids.join("pids.max"))?;
            if max.trim() != limit.to_string() {
                return Err(format!("pids.max is {max}, not {limit}").into());
            }
            let written = std::fs::write(pids.join("pids.max"), "max").unwrap_err();
            if written.raw_os_error() != Some(Errno::EROFS as i32) {
                return Err(format!("writing: {written}").into());
            }
            // No hierarchy shows anything of the host: in each our own processes are at the root.
            for one in seen.iter() {
                let procs = std::fs::read_to_string(one.mount.join("cgroup.procs"))?;
                if procs.trim() != std::process::id().to_string() {
                    return Err(format!("{} shows processes {procs:?}", one.mount.display()).into());
                }
            }
            Ok(())
        })())
    })?;
    assert_eq!(container.wait()?, End::Code(0));
    Ok(())
}

/// v2 in a container: its own cgroup looks like the root, has processes, and so cannot hand out controllers.
pub(crate) fn v2_moves_to_a_leaf(sandbox: &Sandbox) -> Outcome {
    let (_, cgroup) = fresh(sandbox, &Limits { pids: Some(50), ..Limits::default() })?;
    let container = start_in(&cgroup, CloneFlags::CLONE_NEWNS, || {
        report((|| {
            unshare(CloneFlags::CLONE_NEWCGROUP)?;
            // As container_mounts makes it, but writable: a privileged container.
            let mount = FsContext::open("cgroup2")?.mount(Attr::empty())?;
            attach_at(Path::new("/sys/fs/cgroup"), &mount)?;
            let refused = std::fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
            if refused.map_err(|error| error.raw_os_error()) != Err(Some(Errno::EBUSY as i32)) {
                return Err("the experiment is wrong: this cgroup hands out controllers".into());
            }
            let limits = Limits { pids: Some(1), ..Limits::default() };
            let inner = Cgroup::create(&Hierarchies::detect()?, "engine/inner", &limits)?;
            let forked = run(&inner, || i32::from(crate::inside::fork_sleeper().unwrap()))?;
            if forked != End::Code(0) {
                return Err(format!("the inner limit does not hold: {forked:?}").into());
            }
            inner.remove()?;
            let own = std::fs::read_to_string("/proc/self/cgroup")?;
            if own.trim() != "0::/mini-docker-init" {
                return Err(format!("we are in {own}").into());
            }
            Ok(())
        })())
    })?;
    assert_eq!(container.wait()?, End::Code(0));
    Ok(())
}
