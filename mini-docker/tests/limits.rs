//! Limits of whole containers, proved by what they do and not by what the files say. Runs on the host's cgroups
//! (v1, hybrid or v2) and in the virtual machine with pure v2.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use std::path::Path;
use std::time::Instant;

use support::Docker;
use testkit::{Outcome, Sandbox};

fn main() {
    testkit::main(&[
        ("twenty_percent_of_a_cpu_is_held", twenty_percent_of_a_cpu_is_held),
        ("memory_beyond_the_limit_kills_and_says_so", memory_beyond_the_limit_kills_and_says_so),
        ("processes_beyond_the_limit_are_refused", processes_beyond_the_limit_are_refused),
        ("devices_beyond_the_list_are_refused", devices_beyond_the_list_are_refused),
        ("the_container_sees_its_own_cgroup", the_container_sees_its_own_cgroup),
        ("all_limits_hold_from_birth", all_limits_hold_from_birth),
        ("exec_finds_room_beside_cgroups_of_its_own", exec_finds_room_beside_cgroups_of_its_own),
    ]);
}

/// CPU time a container used, as a share of the time that it ran.
fn share(docker: &Docker, flags: &[&str]) -> Result<f64, Box<dyn std::error::Error>> {
    let script = "u() { cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null || awk '/^usage_usec/ {print $2 \"000\"}' /sys/fs/cgroup/cpu.stat; }; \
         t() { cut -d' ' -f1 /proc/uptime; }; a=$(u); s=$(t); \
         timeout 2 sh -c 'while :; do :; done'; b=$(u); e=$(t); echo $a $b $s $e";
    let ran = docker.sh(flags, script)?;
    let numbers: Vec<f64> =
        ran.stdout.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [used_before, used_after, began, ended] = numbers[..] else {
        return Err(format!("{ran:?}").into());
    };
    Ok((used_after - used_before) / 1e9 / (ended - began))
}

fn twenty_percent_of_a_cpu_is_held(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    for flags in [&["--cpu-period=100000", "--cpu-quota=20000"][..], &["--cpus", "0.2"]] {
        let share = share(&docker, flags)?;
        assert!((0.18..=0.22).contains(&share), "{flags:?}: {share}");
    }
    let free = share(&docker, &[])?;
    // However busy the machine is: more than the limit would have let it.
    assert!(free > 0.22, "without a limit: {free}");
    Ok(())
}

fn memory_beyond_the_limit_kills_and_says_so(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // tail keeps what it has read and not yet seen the end of: 26 MB, 30 % more than the limit.
    let script = "head -c 26m /dev/zero | tail -c 26m | wc -c";
    let touch = [
        "run",
        "--rm",
        "--network",
        "none",
        "-m",
        "20m",
        "--memory-swap",
        "20m",
        "--name",
        "hungry",
    ];
    let ran = docker.ran(touch.iter().chain(&["busybox", "tail", "-c", "26m", "/dev/zero"]))?;
    assert_eq!(ran.code, 137, "{ran:?}");
    let text = "mini-docker: container hungry was killed: out of memory (limit 20 MiB)\n\
                hint: raise it with -m, or look for a leak in the program\n";
    assert_eq!(ran.stderr, text);
    let control = docker.sh(&["-m", "80m"], script)?;
    assert_eq!((control.code, control.stdout.trim()), (0, "27262976"), "{control:?}");
    // Killed by somebody else is not out of memory.
    let killed = docker.sh(&["-m", "20m", "--init"], "kill -9 $$")?;
    assert_eq!((killed.code, killed.stderr.as_str()), (137, ""));
    Ok(())
}

fn processes_beyond_the_limit_are_refused(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script =
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 2 & done; echo all; kill $(jobs -p)";
    let refused = docker.sh(&["--pids-limit", "10"], script)?;
    assert!(
        refused.stderr.contains("can't fork") && !refused.stdout.contains("all"),
        "{refused:?}"
    );
    let control = docker.sh(&["--pids-limit", "20"], script)?;
    assert!(control.stdout.contains("all"), "{control:?}");
    Ok(())
}

fn devices_beyond_the_list_are_refused(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // /dev/kmsg, 1:11, is not on Docker's list; making the node is allowed, opening it is not.
    let script = "mknod /kmsg c 1 11; head -c 1 /kmsg > /dev/null && echo opened; head -c 4 /dev/zero | wc -c";
    let refused = docker.sh(&[], script)?;
    assert!(refused.stderr.contains("Operation not permitted"), "{refused:?}");
    assert_eq!(refused.stdout, "4\n");
    let granted =
        docker.sh(&["--device", "/dev/full:/dev/fuller:r"], "head -c 3 /dev/fuller | wc -c")?;
    assert_eq!(granted.stdout, "3\n", "{granted:?}");
    Ok(())
}

fn the_container_sees_its_own_cgroup(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let started = Instant::now();
    let ran = docker.sh(
        &["-m", "64m"],
        "cut -d: -f3 /proc/self/cgroup | sort -u; \
        cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; \
        echo 1 > /sys/fs/cgroup/cgroup.procs",
    )?;
    assert!(started.elapsed().as_secs() < 60);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    // Hierarchies without a limit of ours keep the caller's cgroup; all others are the root of what it sees.
    assert!(lines.contains(&"/"), "{ran:?}");
    assert!(lines.contains(&"67108864"), "{ran:?}");
    assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
    Ok(())
}

fn all_limits_hold_from_birth(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let flags = ["--explain", "-m", "64m", "--cpus", "0.5", "--pids-limit", "12"];
    // The values as the kernel keeps them: v2's names first, then v1's. A file that is not there says nothing.
    let script = "cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes cpu.max cpu/cpu.cfs_quota_us \
         pids.max pids/pids.max 2>/dev/null; exit 0";
    let ran = docker.sh(&flags, script)?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let quota = if v2 { "50000 100000" } else { "50000" };
    let values: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(values, ["67108864", quota, "12"], "{ran:?}");
    // The order of the story: every limit is written before there is a process, and where there is a v2 hierarchy the
    // process is born in it. On pure v2 it then never moves.
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let at = |what: &str| lines.iter().position(|line| line.contains(what));
    let clone3 = at("clone3(").ok_or("no clone3")?;
    for name in ["memory.", "cpu.", "pids.max"] {
        let written =
            at(&format!("/{name}")).ok_or_else(|| format!("no {name}: {}", ran.stderr))?;
        assert!(written < clone3, "{name}: {}", ran.stderr);
    }
    let hybrid = Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists();
    assert_eq!(lines[clone3].contains("into cgroup"), v2 || hybrid, "{}", lines[clone3]);
    let moved = lines.iter().any(|line| line.contains("child") && line.contains("cgroup.procs"));
    assert_eq!(moved, !v2, "{}", ran.stderr);
    Ok(())
}

/// systemd in a container does so: it hands its controllers down, and then nobody can be in the container's own cgroup.
fn exec_finds_room_beside_cgroups_of_its_own(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let script = "mount -o remount,rw /sys/fs/cgroup; cd /sys/fs/cgroup; mkdir init && echo 1 > init/cgroup.procs && echo +pids > cgroup.subtree_control
                  echo done; exec sleep 1000";
    let run = ["run", "-d", "--privileged", "--network", "none", "--name", "nest"];
    let health = ["--health-cmd", "true", "--health-interval", "100ms"];
    assert_eq!(
        docker.ran(run.iter().chain(&health).chain(&["busybox", "sh", "-c", script]))?.code,
        0
    );
    support::wait_until("it has its cgroups", || {
        Ok(docker.ran(["logs", "nest"])?.stdout.contains("done"))
    })?;
    let ran = docker.ran(["exec", "nest", "cat", "/proc/self/cgroup"])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout.contains("0::/init"), v2, "{ran:?}");
    support::wait_until("a check has found room, too", || {
        Ok(docker.ran(["inspect", "-f", "{{.State.Health.Status}}", "nest"])?.stdout == "healthy\n")
    })?;
    assert_eq!(docker.ran(["rm", "-f", "nest"])?.code, 0);
    Ok(())
}
