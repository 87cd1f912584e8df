//! The monitor: what it does with a container that ends, and what becomes of the container when it ends itself.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Outcome, Sandbox, Test};

use crate::act::{TRAP, detached, exit_code, ready, record, state};
use crate::support::{Docker, Result, finish, transcript, wait_until};

pub const TESTS: &[Test] = &[
    ("on_failure_counts", on_failure_counts),
    ("always_means_always", always_means_always),
    ("who_was_stopped_stays_stopped", who_was_stopped_stays_stopped),
    ("a_stop_reaches_who_is_about_to_start_again", a_stop_reaches_who_is_about_to_start_again),
    ("a_monitor_outlives_the_users_session", a_monitor_outlives_the_users_session),
    ("a_killed_monitor_takes_its_container_along", a_killed_monitor_takes_its_container_along),
    ("a_killed_monitor_starts_nothing_again", a_killed_monitor_starts_nothing_again),
    ("a_monitor_that_is_told_to_end_ends_politely", a_monitor_that_is_told_to_end_ends_politely),
    ("a_monitor_makes_the_first_network", a_monitor_makes_the_first_network),
    ("the_last_byte_arrives", the_last_byte_arrives),
    ("one_name_one_monitor", one_name_one_monitor),
    ("ends_in_any_order_leave_nothing", ends_in_any_order_leave_nothing),
];

fn on_failure_counts(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let starts = "echo start >> /shared/ready;";
    ready(&docker, "fails", &["--restart", "on-failure:3"], &format!("{starts} exit 5"))?;
    ready(&docker, "works", &["--restart", "on-failure:3"], &format!("{starts} exit 0"))?;
    ready(&docker, "plain", &[], &format!("{starts} exit 5"))?;
    for (name, restarts, code) in [("fails", 3, 5), ("works", 0, 0), ("plain", 0, 5)] {
        wait_until("it has ended for good", || Ok(state(&docker, name)? == "exited"))?;
        assert_eq!(record(&docker, name)?["restarts"], restarts, "{name}");
        assert_eq!(exit_code(&docker, name)?, Some(code), "{name}");
        let file = docker.root.join("volumes").join(name).join("_data/ready");
        assert_eq!(std::fs::read_to_string(file)?.lines().count(), restarts + 1, "{name}");
    }
    // Whoever starts it begins anew.
    assert_eq!(docker.ran(["start", "fails"])?.code, 0);
    let file = docker.root.join("volumes/fails/_data/ready");
    wait_until("it has been started four times more", || {
        Ok(std::fs::read_to_string(&file)?.lines().count() == 8
            && state(&docker, "fails")? == "exited")
    })?;
    assert_eq!(record(&docker, "fails")?["restarts"], 3);
    assert_eq!(docker.ran(["rm", "fails", "works", "plain"])?.code, 0);
    Ok(())
}

/// A command of the user's cannot be told from the program's own end.
fn always_means_always(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script = "echo start >> /shared/ready; test $(wc -l < /shared/ready) -gt 3 && exec sleep 1000; exit 0";
    for policy in ["always", "unless-stopped"] {
        ready(&docker, policy, &["--restart", policy], script)?;
        wait_until("it has been started again", || Ok(record(&docker, policy)?["restarts"] == 3))?;
        wait_until("it runs", || Ok(state(&docker, policy)? == "running"))?;
        // From outside, by somebody else than us.
        let pid = record(&docker, policy)?["status"]["pid"].as_i64().unwrap_or_default();
        kill(Pid::from_raw(pid.try_into()?), Signal::SIGKILL)?;
        wait_until("it has been started again", || {
            Ok(record(&docker, policy)?["restarts"] == 4 && state(&docker, policy)? == "running")
        })?;
    }
    assert_eq!(docker.ran(["rm", "-f", "always", "unless-stopped"])?.code, 0);
    Ok(())
}

fn who_was_stopped_stays_stopped(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    for (policy, end) in [
        ("always", &["stop", "-t", "60"][..]),
        ("unless-stopped", &["stop", "-t", "60"]),
        ("on-failure", &["kill", "-s", "TERM"]),
        ("always", &["kill"]),
    ] {
        ready(&docker, "web", &["--restart", policy], TRAP)?;
        assert_eq!(docker.ran(end.iter().chain(&["web"]))?.code, 0);
        wait_until("it has ended", || Ok(state(&docker, "web")? == "exited"))?;
        let code = if end == ["kill"] { 137 } else { 7 };
        assert_eq!(exit_code(&docker, "web")?, Some(code), "{end:?}");
        // The monitor has gone, so nobody is left to start it again.
        let id = std::fs::read_to_string(docker.root.join("names/web"))?;
        let held = docker.run_root.join("containers").join(id);
        wait_until("its monitor has let go", || Ok(!held.exists()))?;
        let stopped = record(&docker, "web")?;
        assert_eq!((&stopped["halted"], &stopped["restarts"]), (&true.into(), &0.into()));
        // The user's own start counts again.
        assert_eq!(docker.ran(["start", "web"])?.code, 0);
        assert_eq!(record(&docker, "web")?["halted"], false);
        assert_eq!(docker.ran(["rm", "-f", "web"])?.code, 0);
    }
    Ok(())
}

fn a_stop_reaches_who_is_about_to_start_again(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    for end in [&["stop"][..], &["kill"], &["kill", "-s", "TERM"], &["rm", "-f"], &["restart"]] {
        detached(&docker, "fails", &["--restart", "always"], "exit 5")?;
        wait_until("its pauses are long enough", || {
            Ok(record(&docker, "fails")?["restarts"] == 4
                && state(&docker, "fails")? == "restarting")
        })?;
        if end == ["stop"] {
            assert_eq!(docker.ran(["kill", "-s", "HUP", "fails"])?.code, 1);
            assert_eq!(docker.ran(["start", "fails"])?.stdout, "fails\n");
            assert!(docker.ran(["attach", "fails"])?.stderr.contains("it is restarting"));
            assert!(docker.ran(["pause", "fails"])?.stderr.contains("is restarting"));
        }
        let ran = docker.ran(end.iter().chain(&["fails"]))?;
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "fails\n"), "{end:?} {ran:?}");
        match end[0] {
            "rm" => assert_eq!(docker.ran(["ps", "-aq"])?.stdout, ""),
            "restart" => assert!(record(&docker, "fails")?["restarts"].as_i64() < Some(4)),
            _ => {
                let stopped = record(&docker, "fails")?;
                assert_eq!(
                    (&stopped["status"]["state"], &stopped["status"]["code"]),
                    (&"exited".into(), &5.into())
                );
            }
        }
        docker.ran(["rm", "-f", "fails"])?;
    }
    Ok(())
}

fn a_monitor_outlives_the_users_session(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut command = Command::new("/bin/busybox");
    command.arg("sh").env("PS1", "host> ");
    command.env("MINI_DOCKER_ROOT", &docker.root).env("MINI_DOCKER_RUN_ROOT", &docker.run_root);
    let mut session = rexpect::session::spawn_command(command, Some(10_000))?;
    session.exp_string("host> ")?;
    let binary = env!("CARGO_BIN_EXE_mini-docker");
    session.send_line(&format!("{binary} run -dit --network none --name stays busybox cat"))?;
    session.exp_regex("[0-9a-f]{64}")?;
    // The window is closed: the shell and all its jobs get SIGHUP.
    session.process_mut().set_kill_timeout(Some(100));
    drop(session);
    assert_eq!(state(&docker, "stays")?, "running");
    assert!(docker.ran(["ps"])?.stdout.contains("stays"));
    // And a whole process group that is killed.
    let run = ["run", "-d", "--network", "none", "--name", "stays2", "busybox", "sleep", "1000"];
    let mut child = docker.command(run).stdout(Stdio::null()).process_group(0).spawn()?;
    child.wait()?;
    nix::sys::signal::killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL).ok();
    assert_eq!(state(&docker, "stays2")?, "running");
    assert_eq!(docker.ran(["rm", "-f", "stays", "stays2"])?.code, 0);
    Ok(())
}

/// The monitor of a container that runs: its process's parent.
pub(crate) fn monitor(docker: &Docker, name: &str) -> Result<Pid> {
    let pid = record(docker, name)?["status"]["pid"].as_i64().unwrap_or_default();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default();
    Ok(Pid::from_raw(parent.trim().parse()?))
}

fn a_killed_monitor_takes_its_container_along(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let first = ["run", "--rm", "-v", "kept:/one", "-v", "removed:/two", "busybox", "true"];
    assert_eq!(docker.ran(first)?.code, 0);
    let before = docker.footprint()?;
    for paused in [false, true] {
        ready(
            &docker,
            "kept",
            &["--restart", "always", "--network", "bridge", "-p", "18080:80"],
            TRAP,
        )?;
        ready(&docker, "removed", &["--rm", "-v", "/anonymous"], TRAP)?;
        for name in ["kept", "removed"] {
            let pid = record(&docker, name)?["status"]["pid"].as_i64().unwrap_or_default();
            let waits = docker.command(["wait", name]).stdout(Stdio::piped()).spawn()?;
            let id = std::fs::read_to_string(docker.root.join("names").join(name))?;
            let file = docker.run_root.join("containers").join(id).join("exit-code");
            wait_until("somebody waits", || Ok(file.exists()))?;
            if paused {
                assert_eq!(docker.ran(["pause", name])?.code, 0);
            }
            kill(monitor(&docker, name)?, Signal::SIGKILL)?;
            if !paused {
                // One that has ended and was not collected yet has no namespaces any more.
                let proc = format!("/proc/{pid}/ns/mnt");
                wait_until("its process ends", || Ok(std::fs::read_link(&proc).is_err()))?;
            }
            // Whoever waits hears of it, though nobody is left to say it.
            let output = waits.wait_with_output()?;
            assert_eq!(String::from_utf8_lossy(&output.stdout), "137\n", "{output:?}");
        }
        let listed = docker.ran(["ps", "-a"])?;
        assert!(listed.stdout.contains("Exited (137)"), "{listed:?}");
        assert!(!listed.stdout.contains("removed"), "{listed:?}");
        assert_eq!(listed.stderr, "");
        assert_eq!(
            (state(&docker, "kept")?.as_str(), exit_code(&docker, "kept")?),
            ("exited", Some(137))
        );
        // It can be started again and removed.
        assert_eq!(docker.ran(["start", "kept"])?.code, 0);
        assert_eq!(docker.ran(["rm", "-f", "kept"])?.code, 0);
    }
    std::fs::remove_file(docker.root.join("volumes/kept/_data/ready"))?;
    std::fs::remove_file(docker.root.join("volumes/removed/_data/ready"))?;
    wait_until("nothing is left", || Ok(docker.footprint()?.same_as(&before).is_ok()))
        .or_else(|_| docker.footprint()?.same_as(&before))?;
    Ok(())
}

/// The random id of a network comes from the kernel, not from what a closed descriptor has become.
fn a_monitor_makes_the_first_network(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let run = ["run", "-d", "--name", "web", "busybox", "sleep", "1000"];
    let ran = docker.ran(run)?;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(record(&docker, "web")?["network"]["address"].is_string());
    assert_eq!(docker.ran(["rm", "-f", "web"])?.code, 0);
    Ok(())
}

fn a_killed_monitor_starts_nothing_again(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    ready(&docker, "fails", &["--restart", "always"], &format!("{TRAP}; exit 3"))?;
    let monitor = monitor(&docker, "fails")?;
    // Ends several times, so that the pause is long enough to be met.
    wait_until("its pauses are long enough", || {
        if let Some(pid) = record(&docker, "fails")?["status"]["pid"].as_i64() {
            kill(Pid::from_raw(pid.try_into()?), Signal::SIGTERM).ok();
            kill(Pid::from_raw(pid.try_into()?), Signal::SIGKILL).ok();
        }
        Ok(record(&docker, "fails")?["restarts"] == 5 && state(&docker, "fails")? == "restarting")
    })?;
    kill(monitor, Signal::SIGKILL)?;
    wait_until("its end is seen", || Ok(docker.ran(["ps", "-a"])?.stdout.contains("Exited (")))?;
    assert_eq!(state(&docker, "fails")?, "exited");
    assert_eq!(docker.ran(["rm", "fails"])?.code, 0);
    Ok(())
}

fn a_monitor_that_is_told_to_end_ends_politely(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    for paused in [false, true] {
        ready(&docker, "web", &["--restart", "always"], TRAP)?;
        let monitor = monitor(&docker, "web")?;
        if paused {
            assert_eq!(docker.ran(["pause", "web"])?.code, 0);
        }
        kill(monitor, Signal::SIGTERM)?;
        wait_until("it has ended", || Ok(state(&docker, "web")? == "exited"))?;
        let ended = record(&docker, "web")?;
        // Not by the user: after a boot it comes back.
        assert_eq!((&ended["status"]["code"], &ended["halted"]), (&7.into(), &false.into()));
        assert_eq!(docker.ran(["rm", "web"])?.code, 0);
    }
    Ok(())
}

fn the_last_byte_arrives(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let lines: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    let run = ["run", "--name", "talks", "--network", "none", "busybox", "seq", "100000"];
    let ran = docker.ran(run)?;
    assert!((ran.code, ran.stdout == lines) == (0, true), "{} bytes", ran.stdout.len());
    for _ in 0..5 {
        let ran = docker.ran(["start", "-a", "talks"])?;
        assert!((ran.code, ran.stdout == lines) == (0, true), "{} bytes", ran.stdout.len());
    }
    assert_eq!(docker.ran(["rm", "talks"])?.code, 0);
    // Input to its end, too.
    let run = ["run", "-i", "--name", "echo", "--network", "none", "busybox", "cat"];
    let file = sandbox.path("lines");
    std::fs::write(&file, &lines)?;
    let mut command = docker.command(run);
    let ran = finish(command.stdin(std::fs::File::open(file)?))?;
    assert!((ran.code, ran.stdout == lines) == (0, true), "{} bytes", ran.stdout.len());
    assert_eq!(docker.ran(["rm", "echo"])?.code, 0);
    Ok(())
}

fn one_name_one_monitor(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let children: Vec<_> = (0..20)
        .map(|_| {
            let run =
                ["run", "-d", "--name", "same", "--network", "none", "busybox", "sleep", "1000"];
            docker.command(run).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
        })
        .collect::<std::result::Result<_, _>>()?;
    let mut winners = Vec::new();
    for child in children {
        let output = child.wait_with_output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => winners.push(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            Some(125) => {
                assert!(stderr.contains("name `same` is already in use by container"), "{stderr}");
            }
            other => panic!("{other:?}: {stderr}"),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(docker.ran(["ps", "-q", "--no-trunc"])?.stdout.trim(), winners[0]);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[SHORT ID]");
    let text = transcript(&docker, sandbox, &["run", "--name", "same", "busybox"])?;
    settings.bind(|| insta::assert_snapshot!(text));
    // Twenty that start it find it running.
    let children: Vec<_> = (0..20)
        .map(|_| docker.command(["restart", "-t", "0", "same"]).stdout(Stdio::null()).spawn())
        .collect::<std::result::Result<_, _>>()?;
    for mut child in children {
        assert_eq!(child.wait()?.code(), Some(0));
    }
    assert_eq!(state(&docker, "same")?, "running");
    assert_eq!(docker.ran(["rm", "-f", "same"])?.code, 0);
    Ok(())
}

/// Whatever is done to a container by several at once, it is in one state afterwards, and goes when it is removed.
fn ends_in_any_order_leave_nothing(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    assert_eq!(docker.sh(&[], "true")?.code, 0);
    let before = docker.footprint()?;
    let mut seed = u64::from(std::process::id());
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let acts: [&[&str]; 8] = [
        &["stop", "-t", "1"],
        &["start"],
        &["restart", "-t", "0"],
        &["kill"],
        &["pause"],
        &["unpause"],
        &["wait"],
        &["rename"],
    ];
    for round in 0..6 {
        detached(&docker, "any", &["--restart", "always"], "sleep 0.2; exit 1")?;
        let mut children = Vec::new();
        for _ in 0..16 {
            let act = acts[random(acts.len())];
            let to = ["any", "some"];
            let mut command = docker.command(act);
            command.arg(to[random(2)]);
            if act == ["rename"] {
                command.arg(to[random(2)]);
            }
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
            if random(4) == 0 {
                child.kill()?;
            }
            children.push((act[0], child));
            std::thread::sleep(std::time::Duration::from_millis(random(30) as u64));
        }
        let name = if docker.root.join("names/some").exists() { "some" } else { "any" };
        let name = if docker.ran(["stop", "-t", "0", name])?.code == 0 { name } else { "any" };
        let removed = docker.ran(["rm", "-f", name, "some", "any"])?;
        for (act, child) in children {
            let output = child.wait_with_output()?;
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            let known =
                ["no such", "not running", "paused", "restarting", "already", "removed", "busy"];
            assert!(
                output.status.code() != Some(1) || known.iter().any(|words| stderr.contains(words)),
                "round {round}: {act}: {stderr}"
            );
        }
        // A start that was on its way may have come after.
        docker.ran(["rm", "-f", "some", "any"])?;
        assert_eq!(docker.ran(["ps", "-aq"])?.stdout, "", "round {round}: {removed:?}");
        wait_until("nothing is left", || Ok(docker.footprint()?.same_as(&before).is_ok()))
            .or_else(|_| docker.footprint()?.same_as(&before))
            .map_err(|error| format!("round {round}: {error}"))?;
    }
    Ok(())
}
