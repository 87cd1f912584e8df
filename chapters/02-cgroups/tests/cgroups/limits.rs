//! Each limit, enforced.

use std::hint::black_box;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cgroups::{Cgroup, DeviceRule, Error, Hierarchies, Limits, Mode, Throttle, Version};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode as Permissions, SFlag, major, makedev, minor, mknod};
use testkit::{Outcome, Sandbox};

use crate::inside::{End, Failure, fork_sleeper, fresh, random, run, sleep_for_ever, start};

const MIB: u64 = 1 << 20;

/// Allocates and writes to every page.
fn touch(bytes: u64) -> i32 {
    let mut memory = vec![0u8; bytes as usize];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    black_box(&memory);
    0
}

pub(crate) fn memory_beyond_the_limit_is_killed(sandbox: &Sandbox) -> Outcome {
    let limit = random(24, 64) * MIB;
    let bytes = Some(limit as i64);
    let limits = Limits { memory: bytes, memory_swap: bytes, ..Limits::default() };
    let (_, limited) = fresh(sandbox, &limits)?;
    assert_eq!(run(&limited, || touch(limit * 7 / 10))?, End::Code(0), "70 % of {limit} fits");
    assert_eq!(limited.oom_kills()?, 0);
    assert_eq!(run(&limited, || touch(limit * 13 / 10))?, End::Killed(Signal::SIGKILL));
    assert_eq!(limited.oom_kills()?, 1);
    let stats = limited.stats();
    assert_eq!(stats.memory_limit, Some(limit));
    assert!(stats.memory_peak.unwrap() > limit * 9 / 10, "{stats:?}");
    drop(limited);
    let (_, free) = fresh(sandbox, &Limits::default())?;
    assert_eq!(run(&free, || touch(limit * 13 / 10))?, End::Code(0), "without the limit it lives");
    assert_eq!((free.oom_kills()?, free.stats().memory_limit), (0, None));
    Ok(())
}

pub(crate) fn pids_end_with_eagain(sandbox: &Sandbox) -> Outcome {
    let limit = random(5, 20);
    let tries = limit as i32 + 20;
    // The exit status is the number of forks that succeeded.
    let forks = || (0..tries).take_while(|_| fork_sleeper().unwrap()).count() as i32;
    let limits = Limits { pids: Some(limit as i64), ..Limits::default() };
    let (_, limited) = fresh(sandbox, &limits)?;
    assert_eq!(run(&limited, forks)?, End::Code(limit as i32 - 1), "one of {limit} is the parent");
    assert_eq!(limited.stats().pids_current, limit - 1);
    assert_eq!(limited.stats().pids_limit, Some(limit));
    drop(limited);
    let unlimited = Limits { pids: Some(-1), ..Limits::default() };
    let (_, free) = fresh(sandbox, &unlimited)?;
    assert_eq!(run(&free, forks)?, End::Code(tries));
    free.kill()?;
    assert!(free.procs().is_empty());
    Ok(())
}

pub(crate) fn cpu_quota_holds(sandbox: &Sandbox) -> Outcome {
    // All the weight there is, directly below the root: on a busy machine the quota shall be what binds.
    let h = Hierarchies::detect()?;
    let limits = Limits { cpu_shares: Some(262_144), ..Limits::default() };
    let quota =
        Limits { cpu_quota_us: Some(20_000), cpu_period_us: Some(100_000), ..limits.clone() };
    let limited = Cgroup::create(&h, &sandbox.name, &quota)?;
    let mut with = busy(&limited)?;
    for _ in 0..2 {
        // On a machine with more work than CPUs the clock and the counter may be read far apart: look again.
        if !(18.0..=22.0).contains(&with) {
            with = busy(&limited)?;
        }
    }
    let throttled = limited.stats();
    assert!(throttled.nr_throttled >= 15 && throttled.throttled_us > 500_000, "{throttled:?}");
    drop(limited);
    let free = Cgroup::create(&h, &sandbox.name, &limits)?;
    let without = busy(&free)?;
    println!("cpu: {with:.1} % with a quota of 20 %, {without:.1} % without");
    assert!((18.0..=22.0).contains(&with), "{with} % of a CPU with a quota of 20 %");
    assert!(without > 50.0, "{without} % of a CPU without a quota");
    assert_eq!(free.stats().nr_throttled, 0);
    Ok(())
}

/// The part of a CPU, in percent, that a busy loop gets during two seconds.
fn busy(cgroup: &Cgroup) -> Result<f64, Failure> {
    let _loop = start(cgroup, || {
        let mut count = 0u64;
        loop {
            count = black_box(count.wrapping_add(1));
        }
    })?;
    // The first period is only partly over when the process begins.
    std::thread::sleep(Duration::from_millis(200));
    let (before, clock) = (cgroup.stats().cpu_usage_us, Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    let (after, elapsed) = (cgroup.stats().cpu_usage_us, clock.elapsed());
    Ok((after - before) as f64 / elapsed.as_micros() as f64 * 100.0)
}

fn rule(allow: bool, kind: char, numbers: Option<(i64, i64)>, access: &str) -> DeviceRule {
    DeviceRule {
        allow,
        kind,
        major: numbers.map(|(major, _)| major),
        minor: numbers.map(|(_, minor)| minor),
        access: access.into(),
    }
}

/// What a child sees: 0 for success, otherwise the errno.
fn open(path: &str, write: bool) -> i32 {
    let opened = std::fs::OpenOptions::new().read(!write).write(write).open(path);
    opened.map_or_else(|error| error.raw_os_error().unwrap_or(255), |_| 0)
}

fn make_node(path: &Path, kind: SFlag, numbers: (u64, u64)) -> i32 {
    let made = mknod(path, kind, Permissions::S_IRUSR, makedev(numbers.0, numbers.1));
    made.map_or_else(|errno| errno as i32, |()| 0)
}

pub(crate) fn devices_not_listed_are_refused(sandbox: &Sandbox) -> Outcome {
    let (name, device) = [("/dev/zero", (1, 5)), ("/dev/full", (1, 7)), ("/dev/urandom", (1, 9))]
        [random(0, 3) as usize];
    let limits = Limits {
        devices: vec![
            rule(false, 'a', None, "rwm"),
            rule(true, 'c', Some((1, 3)), "rwm"),
            rule(true, 'c', Some(device), "r"),
        ],
        ..Limits::default()
    };
    let refused = End::Code(Errno::EPERM as i32);
    let (_, limited) = fresh(sandbox, &limits)?;
    let disk = || make_node(&sandbox.path("disk"), SFlag::S_IFBLK, (7, 0));
    let null = || make_node(&sandbox.path("null"), SFlag::S_IFCHR, (1, 3));
    assert_eq!(run(&limited, || open("/dev/null", true))?, End::Code(0));
    assert_eq!(run(&limited, || open(name, false))?, End::Code(0), "{name} may be read");
    assert_eq!(run(&limited, || open(name, true))?, refused, "{name} may not be written");
    assert_eq!(run(&limited, || open("/dev/random", false))?, refused);
    assert_eq!(run(&limited, disk)?, refused, "a disk's node may not be made");
    assert_eq!(run(&limited, null)?, End::Code(0));
    drop(limited);
    let (_, free) = fresh(sandbox, &Limits::default())?;
    assert_eq!(run(&free, || open(name, true))?, End::Code(0));
    assert_eq!(run(&free, || open("/dev/random", false))?, End::Code(0));
    assert_eq!(run(&free, disk)?, End::Code(0));
    Ok(())
}

pub(crate) fn dockers_device_list_holds(sandbox: &Sandbox) -> Outcome {
    let limits = Limits { devices: cgroups::default_device_rules(), ..Limits::default() };
    let (_, limited) = fresh(sandbox, &limits)?;
    for name in ["null", "zero", "full", "random", "urandom"] {
        assert_eq!(run(&limited, || open(&format!("/dev/{name}"), false))?, End::Code(0), "{name}");
    }
    // The node of the kernel's log may be made, but not opened.
    let node = sandbox.path("kmsg");
    let made = run(&limited, || make_node(&node, SFlag::S_IFCHR, (1, 11)))?;
    assert_eq!(made, End::Code(0));
    let opened = run(&limited, || open(node.to_str().unwrap(), false))?;
    assert_eq!(opened, End::Code(Errno::EPERM as i32));
    drop(limited);
    let (_, free) = fresh(sandbox, &Limits::default())?;
    assert_eq!(run(&free, || open(node.to_str().unwrap(), false))?, End::Code(0));
    Ok(())
}

pub(crate) fn cpuset_confines(sandbox: &Sandbox) -> Outcome {
    let all = affinity();
    if all.len() < 2 {
        return testkit::skip("needs two CPUs");
    }
    let chosen = all[random(0, all.len() as u64) as usize];
    let limits = Limits { cpuset_cpus: Some(chosen.to_string()), ..Limits::default() };
    let (_, limited) = fresh(sandbox, &limits)?;
    let same = run(&limited, || i32::from(affinity() != [chosen]))?;
    assert_eq!(same, End::Code(0), "CPU {chosen} alone of {all:?}");
    drop(limited);
    let (_, free) = fresh(sandbox, &Limits::default())?;
    assert_eq!(run(&free, || i32::from(affinity() != all))?, End::Code(0));
    let wrong = Limits { cpuset_cpus: Some("4095".into()), ..Limits::default() };
    let error = Cgroup::create(&Hierarchies::detect()?, &format!("{}/w", sandbox.name), &wrong);
    assert!(matches!(error, Err(Error::Kernel(_))), "{error:?}");
    Ok(())
}

/// The CPUs on which we may run.
fn affinity() -> Vec<usize> {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    (0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap()).collect()
}

/// A place whose writes reach a block device, and the numbers of the whole disk.
fn disk(sandbox: &Sandbox) -> Option<(PathBuf, u64, u64)> {
    let vm = Path::new("/dev/ubda");
    if let Ok(found) = vm.metadata()
        && found.file_type().is_block_device()
    {
        return Some((vm.to_owned(), major(found.rdev()), minor(found.rdev())));
    }
    let device = sandbox.dir.metadata().ok()?.dev();
    let sys = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    let sys = std::fs::canonicalize(sys).ok()?;
    let whole = if sys.join("partition").exists() { sys.parent()?.to_owned() } else { sys };
    let numbers = std::fs::read_to_string(whole.join("dev")).ok()?;
    let (major, minor) = numbers.trim().split_once(':')?;
    Some((sandbox.path("written"), major.parse().ok()?, minor.parse().ok()?))
}

pub(crate) fn io_is_held_back(sandbox: &Sandbox) -> Outcome {
    let Some((place, major, minor)) = disk(sandbox) else {
        return testkit::skip("needs a block device: TMPDIR on a disk");
    };
    // Two MiB at one MiB per second, past the page cache: v1 holds back nothing else.
    let write = || {
        let direct = nix::fcntl::OFlag::O_DIRECT.bits();
        let buffer = vec![7u8; 128 << 10];
        let aligned = buffer.as_ptr().align_offset(4096);
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .custom_flags(direct)
            .open(&place)
            .unwrap();
        for _ in 0..32 {
            file.write_all(&buffer[aligned..aligned + (64 << 10)]).unwrap();
        }
        0
    };
    let timed = |cgroup: &Cgroup| -> Result<Duration, Failure> {
        let clock = Instant::now();
        assert_eq!(run(cgroup, write)?, End::Code(0));
        Ok(clock.elapsed())
    };
    let limits =
        Limits { write_bps: vec![Throttle { major, minor, rate: MIB }], ..Limits::default() };
    let (_, limited) = fresh(sandbox, &limits)?;
    let with = timed(&limited)?;
    assert!(limited.stats().io_write_bytes >= 2 * MIB, "{:?}", limited.stats());
    drop(limited);
    let (_, free) = fresh(sandbox, &Limits::default())?;
    let without = timed(&free)?;
    // What has no limit is counted all the same.
    assert!(free.stats().io_write_bytes >= 2 * MIB, "{:?}", free.stats());
    println!("io: {with:?} with 1 MiB/s, {without:?} without");
    assert!(with > Duration::from_millis(1500), "{with:?}");
    assert!(without < with / 2, "{without:?} against {with:?}");
    Ok(())
}

pub(crate) fn limits_change_while_it_runs(sandbox: &Sandbox) -> Outcome {
    let memory = |mib: u64| Limits { memory: Some((mib * MIB) as i64), ..Limits::default() };
    let (h, cgroup) = fresh(sandbox, &memory(64))?;
    let sleeper = start(&cgroup, || sleep_for_ever())?;
    let other = Cgroup::open(&h, cgroup.path())?;
    // Up beyond memory+swap of before, and down again: v1 takes either only in the right order.
    for mib in [256, 32, 512] {
        other.update(&memory(mib))?;
        assert_eq!(cgroup.stats().memory_limit, Some(mib * MIB));
    }
    other.update(&Limits {
        memory: Some(-1),
        pids: Some(random(1, 9) as i64),
        ..Limits::default()
    })?;
    assert_eq!(cgroup.stats().memory_limit, None);
    assert!(cgroup.stats().pids_limit.is_some());
    other.update(&Limits { pids: Some(0), ..Limits::default() })?;
    assert_eq!(cgroup.stats().pids_limit, None);
    drop(sleeper);
    Ok(())
}

pub(crate) fn a_missing_controller_is_named(sandbox: &Sandbox) -> Outcome {
    // A tree without memory, as a session that was not given it: v2 takes what is left.
    let h = Hierarchies::detect()?;
    let mountinfo = format!(
        "1 2 0:3 / {} rw - cgroup2 none rw\n",
        h.v2().map_or("/none".into(), |one| one.mount.display().to_string())
    );
    let bare = Hierarchies::from_mountinfo(&mountinfo, "0::/\n")?;
    assert_eq!(bare.mode(), Mode::Unified);
    let limits = Limits { memory: Some(64 << 20), ..Limits::default() };
    let error = Cgroup::create(&bare, &format!("{}/c", sandbox.name), &limits).unwrap_err();
    assert!(matches!(error, Error::MissingController { controller: "memory", .. }), "{error}");
    // A weight of io needs a scheduler: either it works or the message names the file.
    let weight = Limits { blkio_weight: Some(500), ..Limits::default() };
    match Cgroup::create(&h, &format!("{}/w", sandbox.name), &weight) {
        Ok(_) => {}
        Err(Error::Unsupported { file: "blkio.bfq.weight" | "io.weight", .. }) => {}
        Err(other) => return Err(other.into()),
    }
    assert!(h.iter().all(|one| one.version == Version::V1 || one.parent.is_dir()));
    assert!(!crate::inside::exists(&h, &sandbox.name), "nothing stays of what failed");
    Ok(())
}
