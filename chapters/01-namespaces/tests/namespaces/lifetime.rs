//! Two processes that wait for each other, and what happens when one of them dies.

use std::os::fd::AsFd;
use std::time::Duration;

use namespaces::{Exit, KernelError, Kind, Plan, spawn};
use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use syscalls::clone::{CloneArgs, Cloned, clone3};
use syscalls::pidfd;
use testkit::{Outcome, Sandbox};

use crate::helpers::{ends, eventually, sh, start, start_idle};

pub(crate) fn the_childs_error_arrives_whole(_: &Sandbox) -> Outcome {
    let error = KernelError::new("attach mount", "/a b", Errno::EBUSY).with_detail("why: \"x\"");
    let plan = Plan { create: vec![Kind::Pid, Kind::Mount], ..Plan::default() };
    let mut init = spawn(&plan, None, |_| Err(error.clone()))?;
    assert!(ends(&init.pidfd));
    init.go()?;
    assert_eq!(init.wait_exec(), Err(error));
    assert_eq!(init.wait()?, Exit::Code(125));
    assert_eq!(init.wait()?, Exit::Code(125), "the end is remembered");
    Ok(())
}

pub(crate) fn a_panic_in_the_child_is_an_error(_: &Sandbox) -> Outcome {
    // The message on standard error is the default of the panic hook; here it would only confuse.
    std::panic::set_hook(Box::new(|_| {}));
    let mut init = spawn(&Plan::default(), None, |_| panic!("at {}", "once"))?;
    let error = init.wait_exec().unwrap_err();
    assert_eq!(error.detail, "panic: at once");
    assert_eq!(init.wait()?, Exit::Code(125));
    Ok(())
}

pub(crate) fn a_dropped_child_is_killed(_: &Sandbox) -> Outcome {
    let init = spawn(&Plan::default(), None, |child| {
        child.wait_for_parent()?;
        loop {
            nix::unistd::pause();
        }
    })?;
    let pid = init.pid;
    kill(pid, None)?;
    drop(init);
    assert_eq!(kill(pid, None), Err(Errno::ESRCH), "still there, or a zombie");
    Ok(())
}

pub(crate) fn the_body_waits_for_go(sandbox: &Sandbox) -> Outcome {
    let (ready, went) = (sandbox.path("ready"), sandbox.path("went"));
    let mut init = spawn(&Plan::default(), None, |child| {
        std::fs::write(&ready, "").unwrap();
        child.wait_for_parent()?;
        child.wait_for_parent()?;
        std::fs::write(&went, "").unwrap();
        Err(namespaces::exec::exec(&sh("exit 3")))
    })?;
    assert!(eventually(|| ready.exists()));
    std::thread::sleep(Duration::from_millis(50));
    assert!(!went.exists());
    assert_eq!(init.try_wait()?, None);
    init.go()?;
    init.wait_exec()?;
    assert!(went.exists());
    assert_eq!(init.wait()?, Exit::Code(3));
    Ok(())
}

pub(crate) fn a_killed_parent_takes_the_child_along(sandbox: &Sandbox) -> Outcome {
    let (file, survived) = (sandbox.path("pid"), sandbox.path("survived"));
    let plain = CloneArgs { namespaces: CloneFlags::empty(), cgroup: None };
    let Cloned::Parent { pid: parent, .. } = clone3(&plain)? else {
        let plan = Plan { create: vec![Kind::Pid, Kind::Uts], ..Plan::default() };
        let init = spawn(&plan, None, |child| {
            child.wait_for_parent()?;
            std::fs::write(&survived, "").unwrap();
            Err(namespaces::exec::exec(&sh("sleep 1000")))
        })
        .unwrap();
        let temporary = file.with_extension("new");
        std::fs::write(&temporary, init.pid.to_string()).unwrap();
        std::fs::rename(&temporary, &file).unwrap();
        loop {
            nix::unistd::pause();
        }
    };
    assert!(eventually(|| file.exists()));
    let child: i32 = std::fs::read_to_string(&file)?.parse()?;
    let child = pidfd::open(Pid::from_raw(child))?;
    kill(parent, Signal::SIGKILL)?;
    nix::sys::wait::waitpid(parent, None)?;
    let ended = ends(&child);
    pidfd::send_signal(child.as_fd(), Signal::SIGKILL).ok();
    assert!(ended, "the child waits for a parent that is dead");
    assert!(!survived.exists());
    Ok(())
}

pub(crate) fn the_end_is_told_as_it_was(_: &Sandbox) -> Outcome {
    let end = |script: &str| start(&Plan::default(), &sh(script)).and_then(|mut init| init.wait());
    assert_eq!(end("exit 255")?, Exit::Code(255));
    assert_eq!(end("kill -TERM $$")?, Exit::Signal(15));
    assert_eq!(end("kill -TERM $$")?.shell_code(), 143);
    // A real-time signal has no name, and must not be lost for that.
    assert_eq!(end("kill -40 $$")?, Exit::Signal(40));
    Ok(())
}

pub(crate) fn a_running_process_outlives_its_handle(_: &Sandbox) -> Outcome {
    let mut running = start_idle(&Plan::default())?;
    assert_eq!(running.try_wait()?, None);
    let plain = spawn(&Plan::default(), None, |child| {
        child.wait_for_parent()?;
        loop {
            nix::unistd::pause();
        }
    })?;
    let (pid, pidfd) = plain.into_running();
    // Its channel closed, so it ends by itself here: but nobody killed it.
    assert!(ends(&pidfd));
    assert_eq!(nix::sys::wait::waitpid(pid, None)?, nix::sys::wait::WaitStatus::Exited(pid, 125));
    Ok(())
}
