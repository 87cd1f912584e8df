//! What is new, and what is not.

use std::os::fd::AsFd;
use std::path::Path;

use namespaces::exec::exec;
use namespaces::{IdMap, Kind, Plan, TimeOffsets, inspect, spawn};
use nix::fcntl::{OFlag, open};
use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Pid, Uid, gethostname, setgroups, setresgid, setresuid};
use syscalls::clone::{CloneArgs, Cloned, clone3};
use syscalls::process::{Exit, Target, exit_now, wait};
use testkit::{Outcome, Sandbox, skip};

use crate::helpers::{command, eventually, sh, start, start_idle};

fn map(outside: u32) -> Vec<IdMap> {
    vec![IdMap { inside: 0, outside, count: 65_536 }]
}

fn has(kind: Kind) -> bool {
    Path::new("/proc/self/ns").join(kind.proc_name()).exists()
}

pub(crate) fn every_created_namespace_is_new(_: &Sandbox) -> Outcome {
    let create: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| has(*kind)).collect();
    let plan = Plan {
        create: create.clone(),
        uid_map: map(1 << 20),
        gid_map: map(1 << 20),
        ..Plan::default()
    };
    let mut init = spawn(&plan, None, |child| {
        child.enter_cgroup_namespace()?;
        child.wait_for_parent()?;
        Err(exec(&command(&["sleep", "1000"])))
    })?;
    init.go()?;
    init.wait_exec()?;
    let init = crate::helpers::Running(init);
    for kind in create {
        assert!(inspect::is_new(init.pid, kind)?, "{kind} is the host's");
        let opened = nix::sys::stat::fstat(init.namespace(kind)?)?;
        assert_eq!(opened.st_ino, inspect::inode(init.pid, kind)?);
    }
    Ok(())
}

pub(crate) fn what_is_not_created_is_shared(_: &Sandbox) -> Outcome {
    let create = vec![Kind::Uts, Kind::Ipc];
    let init = start_idle(&Plan { create: create.clone(), ..Plan::default() })?;
    for kind in Kind::ALL.into_iter().filter(|kind| has(*kind)) {
        assert_eq!(inspect::is_new(init.pid, kind)?, create.contains(&kind), "{kind}");
    }
    Ok(())
}

pub(crate) fn the_first_process_is_pid_1(sandbox: &Sandbox) -> Outcome {
    let answer = sandbox.path("answer");
    let script = format!("echo $$ $PPID >{}; exec sleep 1000", answer.display());
    let plan = Plan { create: vec![Kind::Pid], ..Plan::default() };
    let init = start(&plan, &sh(&script))?;
    let pids = inspect::pids(init.pid)?;
    assert_eq!(pids, [init.pid, Pid::from_raw(1)], "from outside");
    assert!(eventually(|| answer.metadata().is_ok_and(|meta| meta.len() > 0)));
    // Its parent is outside, hence nobody.
    assert_eq!(std::fs::read_to_string(answer)?, "1 0\n", "from inside");
    Ok(())
}

pub(crate) fn a_name_of_its_own(sandbox: &Sandbox) -> Outcome {
    let before = gethostname()?;
    let answer = sandbox.path("answer");
    let script = format!("uname -n >{0}; cat /proc/sys/kernel/domainname >>{0}", answer.display());
    let plan = Plan {
        create: vec![Kind::Uts],
        hostname: Some(sandbox.name.clone()),
        domainname: Some("example.org".into()),
        ..Plan::default()
    };
    let mut init = start(&plan, &sh(&script))?;
    assert_eq!(init.wait()?, Exit::Code(0));
    assert_eq!(std::fs::read_to_string(answer)?, format!("{}\nexample.org\n", sandbox.name));
    assert_eq!(gethostname()?, before, "the host was renamed");
    Ok(())
}

fn words(path: String) -> std::io::Result<Vec<String>> {
    Ok(std::fs::read_to_string(path)?.split_whitespace().map(str::to_owned).collect())
}

pub(crate) fn the_map_is_exact(_: &Sandbox) -> Outcome {
    let uids = vec![
        IdMap { inside: 0, outside: 70_000, count: 10 },
        IdMap { inside: 1000, outside: 80_000, count: 1 },
    ];
    let gids = vec![IdMap { inside: 0, outside: 90_000, count: 5 }];
    let plan = Plan { create: vec![Kind::User], uid_map: uids, gid_map: gids, ..Plan::default() };
    let init = start_idle(&plan)?;
    let proc = format!("/proc/{}", init.pid);
    assert_eq!(words(format!("{proc}/uid_map"))?, ["0", "70000", "10", "1000", "80000", "1"]);
    assert_eq!(words(format!("{proc}/gid_map"))?, ["0", "90000", "5"]);
    assert_eq!(words(format!("{proc}/setgroups"))?, ["allow"]);
    let status = std::fs::read_to_string(format!("{proc}/status"))?;
    assert!(status.contains("Uid:\t70000\t70000\t70000\t70000\n"), "{status}");
    assert!(status.contains("Gid:\t90000\t90000\t90000\t90000\n"), "{status}");
    assert!(status.contains("Groups:\t \n"), "groups of the caller came along: {status}");
    assert!(!status.contains("CapEff:\t0000000000000000\n"), "root inside has capabilities");
    Ok(())
}

pub(crate) fn an_ordinary_user_may_be_root_inside(sandbox: &Sandbox) -> Outcome {
    let answer = sandbox.path("answer");
    std::fs::File::create(&answer)?;
    std::os::unix::fs::chown(&answer, Some(4321), Some(4321))?;
    let file = std::fs::File::options().write(true).open(&answer)?;
    let plain = CloneArgs { namespaces: CloneFlags::empty(), cgroup: None };
    match clone3(&plain)? {
        Cloned::Child => {
            let (uid, gid) = (Uid::from_raw(4321), Gid::from_raw(4321));
            setgroups(&[]).unwrap();
            setresgid(gid, gid, gid).unwrap();
            setresuid(uid, uid, uid).unwrap();
            // As after the exec that made a login shell: our /proc files belong to us.
            nix::sys::prctl::set_dumpable(true).unwrap();
            let one = vec![IdMap { inside: 0, outside: 4321, count: 1 }];
            let create = vec![Kind::User, Kind::Pid, Kind::Uts];
            let hostname = Some("mine".to_owned());
            let plan =
                Plan { create, uid_map: one.clone(), gid_map: one, hostname, ..Plan::default() };
            nix::unistd::dup2_stdout(&file).unwrap();
            let mut init =
                start(&plan, &sh("id -u; uname -n; cat /proc/$PPID/setgroups 2>&-; echo $$"))
                    .unwrap();
            assert_eq!(init.wait().unwrap(), Exit::Code(0));
            // Into the network of such a container: allowed only after its user namespace.
            let create = vec![Kind::User, Kind::Net];
            let map = vec![IdMap { inside: 0, outside: 4321, count: 1 }];
            let plan = Plan { create, uid_map: map.clone(), gid_map: map, ..Plan::default() };
            let first = start_idle(&plan).unwrap();
            let join = [Kind::Net, Kind::User].map(|kind| (kind, first.namespace(kind).unwrap()));
            let plan = Plan { join: join.into(), ..Plan::default() };
            let second = start_idle(&plan).unwrap();
            for kind in [Kind::Net, Kind::User] {
                let inode = |pid| inspect::inode(pid, kind).unwrap();
                assert_eq!(inode(second.pid), inode(first.pid));
            }
            drop((first, second));
            exit_now(0)
        }
        Cloned::Parent { pidfd, .. } => {
            let (_, exit) = wait(Target::Process(pidfd.as_fd()), true)?.unwrap();
            assert_eq!(exit, Exit::Code(0));
        }
    }
    assert_eq!(std::fs::read_to_string(answer)?, "0\nmine\n1\n");
    Ok(())
}

fn uptime(text: &str) -> f64 {
    text.split_whitespace().next().unwrap().parse().unwrap()
}

pub(crate) fn clocks_of_its_own(sandbox: &Sandbox) -> Outcome {
    if !has(Kind::Time) {
        return skip("needs time namespaces (Linux 5.6, CONFIG_TIME_NS)");
    }
    let answer = sandbox.path("answer");
    let script = format!("cat /proc/uptime >{}", answer.display());
    let offsets = TimeOffsets { monotonic_s: 1_000, boottime_s: 1_000_000 };
    let plan = Plan { create: vec![Kind::Time], time_offsets: Some(offsets), ..Plan::default() };
    let own = uptime(&std::fs::read_to_string("/proc/uptime")?);
    let mut init = start(&plan, &sh(&script))?;
    assert!(inspect::is_new(init.pid, Kind::Time)?);
    assert_eq!(init.wait()?, Exit::Code(0));
    let inside = uptime(&std::fs::read_to_string(answer)?);
    assert!((inside - own - 1_000_000.0).abs() < 5.0, "{own} outside, {inside} inside");
    let ours = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}"));
    assert_eq!(ours("time")?, ours("time_for_children")?, "the parent came back");
    Ok(())
}

pub(crate) fn born_in_a_cgroup_that_is_its_root(sandbox: &Sandbox) -> Outcome {
    let unified = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let Some(root) = unified.into_iter().find(|dir| dir.join("cgroup.controllers").exists()) else {
        return skip("needs a cgroup v2 hierarchy");
    };
    let dir = root.join(&sandbox.name);
    std::fs::create_dir(&dir)?;
    let cgroup = open(&dir, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let answer = sandbox.path("answer");
    let script = format!("grep ^0: /proc/self/cgroup >{}; exec sleep 1000", answer.display());
    let plan = Plan { create: vec![Kind::Cgroup], ..Plan::default() };
    let mut init = spawn(&plan, Some(cgroup.as_fd()), |child| {
        child.enter_cgroup_namespace()?;
        Err(exec(&sh(&script)))
    })?;
    init.wait_exec()?;
    let init = crate::helpers::Running(init);
    let outside = std::fs::read_to_string(format!("/proc/{}/cgroup", init.pid))?;
    assert!(eventually(|| answer.metadata().is_ok_and(|meta| meta.len() > 0)));
    drop(init);
    let removed = eventually(|| std::fs::remove_dir(&dir).is_ok());
    assert!(outside.contains(&format!("/{}\n", sandbox.name)), "{outside}");
    assert_eq!(std::fs::read_to_string(answer)?, "0::/\n");
    assert!(removed);
    Ok(())
}

pub(crate) fn signals_are_at_their_defaults(_: &Sandbox) -> Outcome {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGUSR1);
    mask.thread_block()?;
    let of = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/status"));
    let line = |status: &str, name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
    };
    let ours = of("self")?;
    assert_ne!(line(&ours, "SigIgn:"), "0000000000000000", "Rust ignores SIGPIPE");
    let init = start_idle(&Plan::default())?;
    let status = of(&init.pid.to_string())?;
    assert_eq!(line(&status, "SigIgn:"), "0000000000000000");
    assert_eq!(line(&status, "SigBlk:"), "0000000000000000");
    // And nothing of the set-up is left open.
    for entry in std::fs::read_dir(format!("/proc/{}/fd", init.pid))?.flatten() {
        let name: u32 = entry.file_name().to_string_lossy().parse()?;
        let target = std::fs::read_link(entry.path())?;
        assert!(name < 3 || !target.to_string_lossy().starts_with("socket:"), "{name} {target:?}");
    }
    Ok(())
}
