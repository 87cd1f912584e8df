//! From mkdir to rmdir.

use std::path::Path;
use std::time::Duration;

use cgroups::{Cgroup, Error, Hierarchies, Limits, Mode, Version};
use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use testkit::{Outcome, Sandbox};

use crate::inside::{
    End, eventually, exists, fork_sleeper, fresh, run, sleep_for_ever, start, start_in,
};

pub(crate) fn detection_agrees_with_mountinfo(_: &Sandbox) -> Outcome {
    let quick = Hierarchies::detect()?;
    let read = |path| std::fs::read_to_string(path);
    let slow =
        Hierarchies::from_mountinfo(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)?;
    assert_eq!(quick.mode(), slow.mode());
    let v1 = |h: &Hierarchies| {
        let trees = h.iter().filter(|one| one.version == Version::V1);
        let mut trees: Vec<_> =
            trees.map(|one| (one.controllers.clone(), one.mount.clone())).collect();
        trees.sort_by_key(|(_, mount)| mount.clone());
        trees
    };
    assert_eq!(v1(&quick), v1(&slow));
    assert_eq!(quick.v2().map(|one| &one.mount), slow.v2().map(|one| &one.mount));
    for needed in ["memory", "pids", "cpu", "devices", "freezer"] {
        assert!(quick.controllers().iter().any(|name| name == needed), "{needed}: {quick:?}");
    }
    Ok(())
}

/// The child's first act after joining: does /proc/self/cgroup name the cgroup in every hierarchy it was made in?
pub(crate) fn in_force_before_the_first_instruction(sandbox: &Sandbox) -> Outcome {
    let limits = Limits { cpu_quota_us: Some(50_000), ..Limits::default() };
    let (h, cgroup) = fresh(sandbox, &limits)?;
    let made = h.iter().filter(|one| one.parent.join(cgroup.path()).exists()).count();
    let path = format!("/{}", cgroup.path());
    let inside = || {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        own.lines().filter(|line| line.ends_with(&path)).count() as i32
    };
    assert_eq!(run(&cgroup, inside)?, End::Code(made as i32));
    assert!(made >= 1);
    Ok(())
}

pub(crate) fn a_running_process_can_be_added(sandbox: &Sandbox) -> Outcome {
    let (h, cgroup) = fresh(sandbox, &Limits::default())?;
    let elsewhere = Cgroup::create(&h, &format!("{}/d", sandbox.name), &Limits::default())?;
    let process = start(&elsewhere, || sleep_for_ever())?;
    assert!(eventually(|| elsewhere.stats().pids_current == 1));
    cgroup.add(process.pid)?;
    assert_eq!((cgroup.procs(), elsewhere.procs()), (vec![process.pid], Vec::new()));
    drop(process);
    // The child opens everything itself: also what CLONE_INTO_CGROUP would have done.
    let joiner = cgroup.joiner_with_v2();
    let late = start(&elsewhere, || match joiner.join_self() {
        Ok(()) => sleep_for_ever(),
        Err(_) => 1,
    })?;
    assert!(eventually(|| cgroup.procs() == [late.pid] && elsewhere.procs().is_empty()));
    Ok(())
}

pub(crate) fn the_guard_removes(sandbox: &Sandbox) -> Outcome {
    let (h, cgroup) = fresh(sandbox, &Limits::default())?;
    let path = cgroup.path().to_owned();
    assert!(exists(&h, &path));
    // The process is killed on the way: dropping must not wait for it to end by itself.
    let process = start(&cgroup, || sleep_for_ever())?;
    drop(cgroup);
    assert_eq!(process.wait()?, End::Killed(Signal::SIGKILL));
    assert!(!exists(&h, &sandbox.name), "the empty parent goes too");

    let mut kept = Cgroup::create(&h, &path, &Limits::default())?;
    kept.keep();
    drop(kept);
    assert!(exists(&h, &path));
    drop(Cgroup::open(&h, &path)?);
    assert!(exists(&h, &path));
    Cgroup::open(&h, &path)?.remove()?;
    assert!(!exists(&h, &path));
    let gone = Cgroup::open(&h, &path).map(drop);
    assert!(matches!(gone, Err(Error::Kernel(ref error)) if error.errno == Errno::ENOENT));
    for bad in ["", "/", "..", "a/../../b", "./a/.."] {
        assert!(matches!(Cgroup::open(&h, bad), Err(Error::Invalid { .. })), "{bad}");
    }
    Ok(())
}

pub(crate) fn a_forked_copy_of_the_guard_does_nothing(sandbox: &Sandbox) -> Outcome {
    let (h, cgroup) = fresh(sandbox, &Limits::default())?;
    let other = Cgroup::create(&h, &format!("{}/d", sandbox.name), &Limits::default())?;
    let path = cgroup.path().to_owned();
    let guard = std::cell::RefCell::new(Some(cgroup));
    for namespaces in [CloneFlags::empty(), CloneFlags::CLONE_NEWPID] {
        // In the child's memory the cell holds a copy of the guard.
        let child = start_in(&other, namespaces, || {
            drop(guard.take());
            0
        })?;
        assert_eq!(child.wait()?, End::Code(0));
        assert!(exists(&h, &path), "removed by a copy in {namespaces:?}");
    }
    drop(guard.take());
    assert!(!exists(&h, &path));
    Ok(())
}

pub(crate) fn a_namesake_is_refused_and_left_alone(sandbox: &Sandbox) -> Outcome {
    let (h, cgroup) = fresh(sandbox, &Limits::default())?;
    let process = start(&cgroup, || sleep_for_ever())?;
    assert!(eventually(|| cgroup.procs() == [process.pid]));
    let below = format!("{}/made-inside", cgroup.path());
    Cgroup::create(&h, &below, &Limits::default())?.keep();
    let limits = Limits { cpu_quota_us: Some(50_000), ..Limits::default() };
    let error = Cgroup::create(&h, cgroup.path(), &limits).unwrap_err();
    assert!(matches!(error, Error::Kernel(ref error) if error.errno == Errno::EBUSY), "{error}");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(cgroup.procs(), [process.pid], "still alive");
    assert!(exists(&h, &below), "and untouched");
    // An empty one is what a killed runtime leaves.
    let path = format!("{}/left", sandbox.name);
    Cgroup::create(&h, &path, &limits)?.keep();
    Cgroup::create(&h, &path, &limits)?;
    Ok(())
}

pub(crate) fn cgroups_made_inside_are_removed_too(sandbox: &Sandbox) -> Outcome {
    let (h, cgroup) = fresh(sandbox, &Limits::default())?;
    for one in h.iter().map(|one| one.parent.join(cgroup.path())).filter(|path| path.exists()) {
        std::fs::create_dir_all(one.join("system.slice/a"))?;
    }
    let inner = Cgroup::open(&h, &format!("{}/system.slice/a", cgroup.path()))?;
    let process = start(&inner, || sleep_for_ever())?;
    assert!(eventually(|| cgroup.procs() == [process.pid]), "procs looks below");
    cgroup.remove()?;
    assert_eq!(process.wait()?, End::Killed(Signal::SIGKILL));
    assert!(!exists(&h, &sandbox.name));
    Ok(())
}

pub(crate) fn leftovers_are_reclaimed(sandbox: &Sandbox) -> Outcome {
    let h = Hierarchies::detect()?;
    let mut processes = Vec::new();
    for name in ["dead", "alive", "dead-too"] {
        let path = format!("{}/{name}", sandbox.name);
        let mut cgroup = Cgroup::create(&h, &path, &Limits::default())?;
        cgroup.keep();
        processes.push(start(&cgroup, || sleep_for_ever())?);
    }
    let mut removed = cgroups::reclaim(&h, &sandbox.name, &|name| name == "alive")?;
    removed.sort();
    assert_eq!(removed, ["dead", "dead-too"]);
    let alive = Cgroup::open(&h, &format!("{}/alive", sandbox.name))?;
    assert_eq!(alive.procs(), [processes[1].pid]);
    assert!(!exists(&h, &format!("{}/dead", sandbox.name)));
    assert_eq!(cgroups::reclaim(&h, &sandbox.name, &|_| false)?, ["alive"]);
    assert!(!exists(&h, &sandbox.name));
    assert!(cgroups::reclaim(&h, &sandbox.name, &|_| false)?.is_empty(), "nothing is no error");
    Ok(())
}

pub(crate) fn kill_ends_a_fork_bomb(sandbox: &Sandbox) -> Outcome {
    // The limit is there for the machine's sake; the bomb refills it as fast as it can.
    let (_, cgroup) = fresh(sandbox, &Limits { pids: Some(60), ..Limits::default() })?;
    let bomb = start(&cgroup, || {
        loop {
            fork_sleeper().ok();
        }
    })?;
    assert!(eventually(|| cgroup.stats().pids_current == 60));
    cgroup.kill()?;
    assert_eq!(cgroup.procs(), []);
    assert_eq!(bomb.wait()?, End::Killed(Signal::SIGKILL));
    Ok(())
}

pub(crate) fn kill_ends_frozen_processes(sandbox: &Sandbox) -> Outcome {
    let (_, cgroup) = fresh(sandbox, &Limits::default())?;
    let process = start(&cgroup, || sleep_for_ever())?;
    assert!(eventually(|| cgroup.procs() == [process.pid]));
    cgroup.freeze()?;
    cgroup.kill()?;
    assert_eq!(process.wait()?, End::Killed(Signal::SIGKILL));
    Ok(())
}

pub(crate) fn freeze_stops_and_thaw_goes_on(sandbox: &Sandbox) -> Outcome {
    let (_, cgroup) = fresh(sandbox, &Limits::default())?;
    let file = sandbox.path("progress");
    std::fs::write(&file, "")?;
    // One byte per millisecond.
    let _process = start(&cgroup, || {
        use std::io::Write as _;
        let mut out = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
        loop {
            out.write_all(b".").unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    })?;
    let progress = || length(&file);
    let moves = || {
        let before = progress();
        eventually(|| progress() > before)
    };
    assert!(moves());
    for _ in 0..3 {
        cgroup.freeze()?;
        assert!(cgroup.is_frozen()?);
        let before = progress();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(progress(), before, "it stands still");
        cgroup.thaw()?;
        assert!(moves(), "it goes on");
        assert!(!cgroup.is_frozen()?);
    }
    Ok(())
}

fn length(file: &Path) -> u64 {
    file.metadata().unwrap().len()
}

/// v1: a hierarchy that nobody asked for at the start is joined when it is needed.
pub(crate) fn update_joins_another_hierarchy(sandbox: &Sandbox) -> Outcome {
    let (h, cgroup) = fresh(sandbox, &Limits::default())?;
    assert_ne!(h.mode(), Mode::Unified);
    let process = start(&cgroup, || sleep_for_ever())?;
    assert!(eventually(|| cgroup.procs() == [process.pid]));
    let quota = Limits { cpu_quota_us: Some(50_000), ..Limits::default() };
    // From another process than the one that owns the guard, as `mini-docker update` is.
    Cgroup::open(&h, cgroup.path())?.update(&quota)?;
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", process.pid))?;
    assert!(own.contains(&format!(":cpu:/{}", cgroup.path())), "{own}");
    drop(process);
    drop(cgroup);
    assert!(!exists(&h, &sandbox.name), "the guard finds the hierarchy that was added");
    Ok(())
}
