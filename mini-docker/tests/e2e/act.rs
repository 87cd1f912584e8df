//! What is done to containers: stop, kill, pause, restart, start, rm.

use std::time::Duration;

use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Ran, Result, transcript, wait_until};

pub const TESTS: &[Test] = &[
    ("stop_asks_and_then_kills", stop_asks_and_then_kills),
    ("stop_sends_the_containers_own_signal", stop_sends_the_containers_own_signal),
    ("stop_asks_all_before_it_waits_for_one", stop_asks_all_before_it_waits_for_one),
    ("kill_sends_signals", kill_sends_signals),
    ("paused_containers_stand_still", paused_containers_stand_still),
    ("a_signal_that_ends_reaches_the_paused", a_signal_that_ends_reaches_the_paused),
    ("restart_starts_what_it_has_stopped", restart_starts_what_it_has_stopped),
    ("start_says_what_docker_says", start_says_what_docker_says),
    ("rm_removes_what_does_not_run", rm_removes_what_does_not_run),
];

/// The record of a container as it is on the disk.
pub(crate) fn record(docker: &Docker, name: &str) -> Result<serde_json::Value> {
    let id = std::fs::read_to_string(docker.root.join("names").join(name))?;
    let file = docker.root.join("containers").join(id).join("record.json");
    Ok(serde_json::from_slice(&std::fs::read(file)?)?)
}

/// `created`, `running`, `restarting` or `exited`.
pub(crate) fn state(docker: &Docker, name: &str) -> Result<String> {
    Ok(record(docker, name)?["status"]["state"].as_str().unwrap_or_default().to_owned())
}

pub(crate) fn exit_code(docker: &Docker, name: &str) -> Result<Option<i64>> {
    Ok(record(docker, name)?["status"]["code"].as_i64())
}

/// Starts `sh -c SCRIPT` in the background.
pub(crate) fn detached(docker: &Docker, name: &str, flags: &[&str], script: &str) -> Outcome {
    let fixed = ["run", "-d", "--network", "none", "--name", name];
    let ran = docker
        .ran(fixed.iter().chain(flags).chain(&["busybox", "sh", "-c", script]))
        .map_err(|error| error.to_string())?;
    assert_eq!((ran.code, ran.stdout.len(), ran.stderr.as_str()), (0, 65, ""), "{ran:?}");
    Ok(())
}

/// As [`detached`], and waits until the script has made the file `ready` in a volume of that name.
pub(crate) fn ready(docker: &Docker, name: &str, flags: &[&str], script: &str) -> Outcome {
    let volume = format!("{name}:/shared");
    let flags: Vec<&str> = flags.iter().copied().chain(["-v", &volume]).collect();
    let file = docker.root.join("volumes").join(name).join("_data/ready");
    std::fs::remove_file(&file).ok();
    detached(docker, name, &flags, script)?;
    wait_until("it is ready", || Ok(file.exists()))?;
    Ok(())
}

pub(crate) fn told(docker: &Docker, sandbox: &Sandbox, commands: &[&[&str]]) -> Result<String> {
    commands.iter().map(|args| transcript(docker, sandbox, args)).collect()
}

pub(crate) fn assert_ran(ran: &Ran, code: i32, stdout: &str, stderr: &str) {
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (code, stdout, stderr));
}

pub(crate) const TRAP: &str = "trap 'exit 7' TERM; : > /shared/ready; while :; do sleep 0.05; done";
/// Process 1 without a handler.
const DEAF: &str = ": > /shared/ready; while :; do sleep 0.05; done";
/// Process 1 that hears and does not care.
const STUBBORN: &str = "trap 'echo no' TERM; : > /shared/ready; while :; do sleep 0.05; done";

fn stop_asks_and_then_kills(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    ready(&docker, "polite", &[], TRAP)?;
    ready(&docker, "deaf", &[], DEAF)?;
    ready(&docker, "helped", &["--init"], DEAF)?;
    ready(&docker, "stubborn", &["--stop-timeout", "1"], STUBBORN)?;
    ready(&docker, "brief", &[], STUBBORN)?;
    let text = told(
        &docker,
        sandbox,
        &[
            &["stop", "polite"],
            &["stop", "polite"],
            &["stop", "-t", "1", "deaf"],
            &["stop", "helped", "nosuch"],
            &["container", "stop", "stubborn"],
            &["stop", "--time=0", "brief"],
            &["wait", "polite", "deaf", "helped", "stubborn", "brief"],
            &["stop", "-s", "NOPE", "polite"],
            &["rm", "polite", "deaf", "helped", "stubborn", "brief"],
        ],
    )?;
    insta::assert_snapshot!(text);
    Ok(())
}

fn stop_sends_the_containers_own_signal(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let tar = sandbox.path("busybox.tar");
    let import = ["import", "-c", "STOPSIGNAL SIGUSR1", tar.to_str().unwrap(), "signals"];
    assert_eq!(docker.ran(import)?.code, 0);
    let script = "trap 'exit 11' USR1; trap 'exit 12' USR2; trap 'exit 13' HUP; trap 'exit 15' TERM
                  : > /shared/ready; while :; do sleep 0.05; done";
    for (name, flags, image, stop, code) in [
        ("image", &[][..], "signals", &[][..], 11),
        ("flag", &["--stop-signal", "USR2"], "signals", &[], 12),
        ("given", &["--stop-signal", "USR2"], "signals", &["-s", "1"], 13),
        ("usual", &[], "busybox", &[], 15),
    ] {
        let volume = format!("{name}:/shared");
        let run = ["run", "-d", "--network", "none", "-v", &volume, "--name", name];
        let run = run.into_iter().chain(flags.iter().copied()).chain([image, "sh", "-c", script]);
        assert_eq!(docker.ran(run)?.code, 0);
        let file = docker.root.join("volumes").join(name).join("_data/ready");
        wait_until("it is ready", || Ok(file.exists()))?;
        let stop = ["stop", "-t", "60"].iter().chain(stop).chain([&name]);
        assert_ran(&docker.ran(stop)?, 0, &format!("{name}\n"), "");
        assert_eq!(exit_code(&docker, name)?, Some(code), "{name}");
    }
    assert_eq!(docker.ran(["rm", "image", "flag", "given", "usual"])?.code, 0);
    Ok(())
}

fn stop_asks_all_before_it_waits_for_one(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // Each ends only when the other has been asked too.
    for (own, other) in [("one", "two"), ("two", "one")] {
        let script = format!(
            "trap ': > /common/{own}; while ! test -e /common/{other}; do sleep 0.05; done; exit 7' TERM
             : > /shared/ready; while :; do sleep 0.05; done"
        );
        ready(&docker, own, &["-v", "common:/common"], &script)?;
    }
    assert_ran(&docker.ran(["stop", "-t", "20", "two", "one"])?, 0, "two\none\n", "");
    assert_ran(&docker.ran(["wait", "one", "two"])?, 0, "7\n7\n", "");
    assert_eq!(docker.ran(["rm", "one", "two"])?.code, 0);
    Ok(())
}

fn kill_sends_signals(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script = "trap ': > /shared/heard' HUP; trap 'exit 9' USR2; : > /shared/ready
                  while :; do sleep 0.05; done";
    ready(&docker, "hears", &["--restart", "always", "--stop-signal", "USR2"], script)?;
    let heard = docker.root.join("volumes/hears/_data/heard");
    assert_ran(&docker.ran(["kill", "-s", "hup", "hears"])?, 0, "hears\n", "");
    wait_until("it has heard", || Ok(heard.exists()))?;
    assert_eq!(record(&docker, "hears")?["halted"], false);
    // The signal that stops it stops it, whatever the policy.
    assert_ran(&docker.ran(["kill", "--signal", "USR2", "hears"])?, 0, "hears\n", "");
    wait_until("it has ended", || Ok(state(&docker, "hears")? == "exited"))?;
    assert_eq!(exit_code(&docker, "hears")?, Some(9));
    assert_eq!(docker.ran(["start", "hears"])?.code, 0);
    assert_eq!(docker.ran(["pause", "hears"])?.code, 0);
    // Killed also where it stands still, and seen as ended when the command returns.
    assert_ran(&docker.ran(["kill", "hears"])?, 0, "hears\n", "");
    assert_eq!(
        (state(&docker, "hears")?.as_str(), exit_code(&docker, "hears")?),
        ("exited", Some(137))
    );
    let text = told(
        &docker,
        sandbox,
        &[
            &["kill", "hears", "nosuch"],
            &["kill", "-s", "FOO", "hears"],
            &["container", "kill", "-s", "TERM", "hears"],
            &["rm", "hears"],
        ],
    )?;
    insta::assert_snapshot!(text);
    Ok(())
}

fn paused_containers_stand_still(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script = "trap 'exit 7' TERM; n=0; while :; do n=$((n+1)); echo $n > /shared/new
                  mv /shared/new /shared/ready; sleep 0.01; done";
    ready(&docker, "counter", &[], script)?;
    let file = docker.root.join("volumes/counter/_data/ready");
    let count = || std::fs::read_to_string(&file);
    let mut text =
        told(&docker, sandbox, &[&["pause", "counter", "nosuch"], &["pause", "counter"]])?;
    let then = count()?;
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(count()?, then);
    text += &told(
        &docker,
        sandbox,
        &[
            &["attach", "counter"],
            &["start", "counter"],
            &["rm", "counter"],
            &["unpause", "counter"],
            &["container", "unpause", "counter"],
        ],
    )?;
    wait_until("it goes on", || Ok(count()? != then))?;
    // A paused one hears that it is to stop.
    text += &told(
        &docker,
        sandbox,
        &[
            &["container", "pause", "counter"],
            &["stop", "-t", "60", "counter"],
            &["wait", "counter"],
            &["pause", "counter"],
            &["unpause", "counter"],
            &["rm", "counter"],
        ],
    )?;
    insta::assert_snapshot!(text);
    Ok(())
}

/// What stands still hears nothing, but `kill` is to end it.
fn a_signal_that_ends_reaches_the_paused(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    for (how, code) in [(&["-s", "TERM"][..], 7), (&[], 137)] {
        ready(&docker, "box", &[], TRAP)?;
        assert_eq!(docker.ran(["pause", "box"])?.code, 0);
        assert_eq!(docker.ran(["kill"].iter().chain(how).chain(&["box"]))?.code, 0);
        wait_until("it has ended", || Ok(state(&docker, "box")? == "exited"))?;
        assert_eq!(exit_code(&docker, "box")?, Some(code));
        assert_eq!(docker.ran(["rm", "box"])?.code, 0);
    }
    Ok(())
}

fn restart_starts_what_it_has_stopped(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // Its own file system stays, so it can count its starts.
    let script = "echo start >> /starts; trap 'exit 7' TERM; cp /starts /shared/ready
                  while :; do sleep 0.05; done";
    let starts = |name: &str| -> Result<usize> {
        let file = docker.root.join("volumes").join(name).join("_data/ready");
        Ok(std::fs::read_to_string(file)?.lines().count())
    };
    for (name, flags) in
        [("kept", &[][..]), ("always", &["--restart", "always"]), ("removed", &["--rm"])]
    {
        ready(&docker, name, flags, script)?;
        for number in 2..4 {
            assert_ran(&docker.ran(["restart", "-t", "60", name])?, 0, &format!("{name}\n"), "");
            wait_until("it has started again", || Ok(starts(name)? == number))?;
            let record = record(&docker, name)?;
            assert_eq!((&record["halted"], &record["restarts"]), (&false.into(), &0.into()));
        }
        assert_eq!(record(&docker, name)?["auto_remove"], name == "removed");
    }
    // Also what does not run, and what stands still.
    assert_eq!(docker.ran(["stop", "always"])?.code, 0);
    assert_eq!(docker.ran(["pause", "kept"])?.code, 0);
    let ran = docker.ran(["container", "restart", "always", "nosuch", "kept"])?;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "always\nkept\n"), "{ran:?}");
    wait_until("it has started again", || Ok(starts("always")? == 4 && starts("kept")? == 4))?;
    assert_eq!(docker.ran(["stop", "removed"])?.code, 0);
    assert!(!docker.ran(["ps", "-a"])?.stdout.contains("removed"));
    assert_eq!(docker.ran(["rm", "-f", "kept", "always"])?.code, 0);
    Ok(())
}

fn start_says_what_docker_says(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    for (name, command) in
        [("prints", "echo out; echo err >&2; exit 3"), ("sleeps", "exec sleep 1000")]
    {
        let create =
            ["create", "--name", name, "--network", "none", "busybox", "sh", "-c", command];
        assert_eq!(docker.ran(create)?.code, 0);
    }
    let create = ["create", "--name", "missing", "--network", "none", "busybox", "nosuch"];
    assert_eq!(docker.ran(create)?.code, 0);
    let text = told(
        &docker,
        sandbox,
        &[
            &["start", "-a", "prints"],
            &["start", "nosuch", "sleeps", "missing"],
            &["start", "sleeps"],
            &["start", "-a", "missing"],
            &["start", "-a", "prints", "sleeps"],
            &["rm", "-f", "prints", "sleeps", "missing"],
        ],
    )?;
    insta::assert_snapshot!(text);
    Ok(())
}

fn rm_removes_what_does_not_run(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    assert_eq!(docker.sh(&["-v", "/data"], "true")?.code, 0);
    let before = docker.footprint()?;
    detached(&docker, "runs", &["-v", "/data"], "exec sleep 1000")?;
    detached(&docker, "paused", &["-v", "/data", "--restart", "always"], "exec sleep 1000")?;
    detached(&docker, "fails", &["--restart", "always"], "exit 3")?;
    assert_eq!(docker.ran(["pause", "paused"])?.code, 0);
    // So that it does not run at the moment of the look.
    wait_until("its pauses are long enough", || Ok(record(&docker, "fails")?["restarts"] == 4))?;
    wait_until("it waits", || Ok(state(&docker, "fails")? == "restarting"))?;
    let text = told(
        &docker,
        sandbox,
        &[
            &["rm", "fails"],
            &["rm", "runs", "paused", "nosuch"],
            &["rm", "-f", "-v", "fails", "nosuch", "runs", "paused"],
            &["ps", "-a"],
        ],
    )?;
    insta::assert_snapshot!(text);
    docker.footprint()?.same_as(&before)?;
    Ok(())
}
