//! Into namespaces that exist already.

use std::os::fd::AsFd;

use namespaces::exec::exec;
use namespaces::{Beside, Exit, IdMap, Kind, Plan, inspect, join, spawn};
use nix::sched::CloneFlags;
use nix::sys::prctl::get_dumpable;
use nix::unistd::{Pid, gethostname};
use syscalls::clone::{CloneArgs, Cloned, clone3};
use syscalls::process::{Target, exit_now, wait};
use testkit::{Outcome, Sandbox};

use crate::helpers::{Running, sh, start, start_idle};

const KINDS: [Kind; 5] = [Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Pid, Kind::Net];

fn container(name: &str) -> Result<Running, Box<dyn std::error::Error>> {
    let hostname = Some(name.to_owned());
    Ok(start_idle(&Plan { create: KINDS.to_vec(), hostname, ..Plan::default() })?)
}

fn into(container: &Running, kinds: &[Kind]) -> Result<Plan, Box<dyn std::error::Error>> {
    let mut plan = Plan::default();
    for kind in kinds {
        plan.join.push((*kind, container.namespace(*kind)?));
    }
    Ok(plan)
}

pub(crate) fn joined_namespaces_are_the_same(sandbox: &Sandbox) -> Outcome {
    let first = container(&sandbox.name)?;
    let second = start_idle(&into(&first, &KINDS)?)?;
    for kind in KINDS {
        assert_eq!(inspect::inode(second.pid, kind)?, inspect::inode(first.pid, kind)?, "{kind}");
        assert!(!inspect::is_new(Pid::this(), kind)?);
    }
    assert_eq!(inspect::pids(second.pid)?.len(), 2);
    let ours = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}"));
    assert_eq!(ours("pid")?, ours("pid_for_children")?, "the parent came back");
    Ok(())
}

pub(crate) fn a_joined_child_is_out_of_reach(sandbox: &Sandbox) -> Outcome {
    let dumpable = |plan: &Plan, name: &str| {
        let answer = sandbox.path(name);
        let init = spawn(plan, None, |_| {
            std::fs::write(&answer, get_dumpable().unwrap().to_string()).unwrap();
            Err(exec(&sh("true")))
        });
        let mut init = init.unwrap();
        init.wait_exec().unwrap();
        init.wait().unwrap();
        std::fs::read_to_string(answer).unwrap()
    };
    let first = container(&sandbox.name)?;
    assert_eq!(dumpable(&into(&first, &[Kind::Pid])?, "joined"), "false");
    assert_eq!(dumpable(&Plan::default(), "plain"), "true");
    assert!(get_dumpable()?, "the parent is what it was");
    Ok(())
}

pub(crate) fn a_new_user_in_an_old_network(sandbox: &Sandbox) -> Outcome {
    let first = container(&sandbox.name)?;
    let map = vec![IdMap { inside: 0, outside: 1 << 20, count: 65_536 }];
    let mut plan = into(&first, &[Kind::Net, Kind::Uts])?;
    plan.create = vec![Kind::User, Kind::Pid];
    (plan.uid_map, plan.gid_map) = (map.clone(), map);
    let second = start_idle(&plan)?;
    for kind in [Kind::Net, Kind::Uts] {
        assert_eq!(inspect::inode(second.pid, kind)?, inspect::inode(first.pid, kind)?, "{kind}");
    }
    assert!(inspect::is_new(second.pid, Kind::User)?);
    assert_ne!(gethostname()?.to_string_lossy(), sandbox.name, "the parent came back");
    let ours = std::fs::read_link("/proc/self/ns/net")?;
    assert_ne!(ours, std::fs::read_link(format!("/proc/{}/ns/net", first.pid))?);

    // And into both, user and what it owns: rights over it come with the user namespace only.
    let mut owner = Plan { create: vec![Kind::User, Kind::Net], ..Plan::default() };
    owner.uid_map = plan.uid_map.clone();
    owner.gid_map = plan.gid_map.clone();
    let third = start_idle(&owner)?;
    let mut fourth = start(&into(&third, &[Kind::Net, Kind::User])?, &sh("true"))?;
    assert_eq!(fourth.wait()?, Exit::Code(0));
    Ok(())
}

pub(crate) fn into_a_running_process(sandbox: &Sandbox) -> Outcome {
    let first = container(&sandbox.name)?;
    let plain = CloneArgs { namespaces: CloneFlags::empty(), cgroup: None };
    match clone3(&plain)? {
        Cloned::Child => {
            join(first.pid, &[Kind::Uts, Kind::Net]).unwrap();
            exit_now(i32::from(gethostname().unwrap().to_string_lossy() != sandbox.name))
        }
        Cloned::Parent { pidfd, .. } => {
            let (_, exit) = wait(Target::Process(pidfd.as_fd()), true)?.unwrap();
            assert_eq!(exit, Exit::Code(0));
        }
    }
    let pid = first.pid;
    drop(first);
    let error = join(pid, &[Kind::Uts]).unwrap_err();
    assert_eq!(error.to_string(), format!("open process `{pid}`: No such process (ESRCH)"));
    Ok(())
}

pub(crate) fn a_child_beside_a_running_process(sandbox: &Sandbox) -> Outcome {
    let first = container(&sandbox.name)?;
    let kinds = inspect::differences(first.pid)?;
    assert_eq!(kinds, KINDS);
    let beside = Some(Beside { pidfd: first.pidfd.try_clone()?, kinds });
    let plan = Plan { beside, ..Plan::default() };
    let second = start_idle(&plan)?;
    for kind in Kind::ALL {
        assert_eq!(inspect::inode(second.pid, kind)?, inspect::inode(first.pid, kind)?, "{kind}");
    }
    assert_eq!(inspect::pids(second.pid)?.len(), 2);
    let ours = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}"));
    assert_eq!(ours("pid")?, ours("pid_for_children")?, "the parent came back");
    assert!(get_dumpable()?, "the parent is what it was");
    assert_eq!(inspect::differences(Pid::this())?, []);

    // With its own users, too: there it is root.
    let map = vec![IdMap { inside: 0, outside: 1 << 20, count: 65_536 }];
    let create = vec![Kind::User, Kind::Pid, Kind::Mount];
    let owner = Plan { create, uid_map: map.clone(), gid_map: map, ..Plan::default() };
    let owner = start_idle(&owner)?;
    let kinds = inspect::differences(owner.pid)?;
    let beside = Some(Beside { pidfd: owner.pidfd.try_clone()?, kinds });
    let mut fourth =
        start(&Plan { beside, ..Plan::default() }, &sh("exit $(($(id -u) + $(id -g)))"))?;
    assert_eq!(fourth.wait()?, Exit::Code(0));
    drop((fourth, owner));

    // Until it execs it is out of reach, even if it joins no pid namespace.
    let beside = Some(Beside { pidfd: first.pidfd.try_clone()?, kinds: vec![Kind::Uts] });
    let mut third = spawn(&Plan { beside, ..Plan::default() }, None, |_| {
        Err(exec(&sh(if get_dumpable().unwrap() { "exit 1" } else { "exit 0" })))
    })?;
    third.wait_exec()?;
    assert_eq!(third.wait()?, Exit::Code(0));

    // It ends with process 1, and only then can that one be gone.
    drop(second);
    drop(first);
    let error = spawn(&plan, None, |_| Err(exec(&sh("true")))).unwrap_err();
    assert_eq!(error.to_string(), "join namespaces `pid`: No such process (ESRCH)");
    Ok(())
}
