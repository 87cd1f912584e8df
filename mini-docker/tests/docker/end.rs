//! How a container ends: `stop`, `restart`, `kill`, `wait`, `rm`.

use std::process::Stdio;

use testkit::Outcome;

use crate::script::{OWN_ERROR, Script};
use crate::scripts;
use crate::support::wait_until;

scripts![stop, restart, kill, wait, rm];

const STATE: &str = "{{.State.Status}} {{.State.ExitCode}}";

fn stop(docker: &mut Script<'_>) -> Outcome {
    docker.server("one", &[])?;
    docker.does(&["stop", "one"])?.code(0).prints("one\n").says("");
    docker.does(&["inspect", "-f", STATE, "one"])?.prints("exited 5\n");
    docker.does(&["logs", "one"])?.prints("out\nbye\n").says("err\n");
    // It is stopped already, which is what was wanted.
    docker.does(&["stop", "one"])?.code(0).prints("one\n");
    // Who does not hear the signal is killed when the time is over.
    docker.prepare(&[
        "run",
        "-d",
        "--name",
        "deaf",
        "--network",
        "none",
        "busybox",
        "sleep",
        "1000",
    ])?;
    docker.does(&["stop", "-t", "1", "deaf"])?.code(0).prints("deaf\n");
    docker.does(&["inspect", "-f", STATE, "deaf"])?.prints("exited 137\n");
    // Its own signal, its own time.
    docker.server("two", &["--stop-signal", "USR1", "--stop-timeout", "1"])?;
    docker.does(&["stop", "two"])?.code(0).prints("two\n");
    docker.does(&["inspect", "-f", STATE, "two"])?.prints("exited 137\n");
    docker.does(&["logs", "two"])?.prints_line("usr1").prints_no_line("bye");
    docker.does(&["stop", "nosuch"])?.finds_none().prints("");
    // The others are stopped all the same.
    docker.prepare(&["start", "one"])?;
    docker.wait_for_log("one", "bye\nout")?;
    docker
        .does(&["stop", "nosuch", "one"])?
        .finds_none()
        .prints("one\n")
        .differs("podman", "looks at all names first, and stops none");
    Ok(())
}

fn restart(docker: &mut Script<'_>) -> Outcome {
    let id = docker.server("one", &[])?;
    let pid = docker.inspect("one", "{{.State.Pid}}")?;
    docker.does(&["restart", "one"])?.code(0).prints("one\n").says("");
    docker
        .does(&["inspect", "-f", "{{.Id}} {{.State.Status}}", "one"])?
        .prints(&format!("{id} running\n"));
    assert_ne!(docker.inspect("one", "{{.State.Pid}}")?, pid, "the same process");
    docker.wait_for_log("one", "out\nbye\nout")?;
    docker.does(&["logs", "one"])?.prints("out\nbye\nout\n");
    // What does not run is started.
    docker.prepare(&["stop", "one"])?;
    docker.does(&["restart", "-t", "1", "one"])?.code(0).prints("one\n");
    docker.does(&["ps", "--format", "{{.Names}}"])?.prints("one\n");
    docker.prepare(&[
        "create",
        "--name",
        "two",
        "--network",
        "none",
        "busybox",
        "sleep",
        "1000",
    ])?;
    docker.does(&["restart", "--time", "0", "two"])?.code(0).prints("two\n");
    docker.does(&["restart", "-t", "0", "two"])?.code(0).prints("two\n");
    // A restart by hand is none by policy.
    docker
        .does(&["inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "two"])?
        .prints("running 0\n");
    docker.does(&["restart", "nosuch"])?.finds_none().prints("");
    Ok(())
}

fn kill(docker: &mut Script<'_>) -> Outcome {
    docker.server("one", &[])?;
    let mut seen = "out".to_owned();
    for signal in ["USR1", "SIGUSR1", "10"] {
        docker.does(&["kill", "-s", signal, "one"])?.code(0).prints("one\n").says("");
        seen.push_str("\nusr1");
        // Two of one kind at the same time would be one.
        docker.wait_for_log("one", &seen)?;
    }
    docker.does(&["logs", "one"])?.prints("out\nusr1\nusr1\nusr1\n");
    docker
        .does(&["kill", "--signal=NOSUCH", "one"])?
        .complains("NOSUCH")
        .code(1)
        .differs("podman", OWN_ERROR);
    docker.does(&["kill", "one"])?.code(0).prints("one\n");
    docker.wait_for_state("one", "exited")?;
    docker.does(&["inspect", "-f", STATE, "one"])?.prints("exited 137\n");
    docker
        .does(&["kill", "one"])?
        .prints("")
        .complains("is not running")
        .differs("podman", "says that only running containers can be killed")
        .code(1)
        .differs("podman", OWN_ERROR);
    docker.does(&["kill", "nosuch"])?.finds_none().prints("");
    // Who is killed is not brought back.
    docker.server("two", &["--restart", "always"])?;
    docker.does(&["kill", "two"])?.code(0).prints("two\n");
    docker.wait_for_state("two", "exited")?;
    docker
        .does(&["inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "two"])?
        .prints("exited 0\n");
    Ok(())
}

fn wait(docker: &mut Script<'_>) -> Outcome {
    docker.server("one", &[])?;
    docker.server("two", &[])?;
    let waits = docker.command(&["wait", "one", "two"]).stdout(Stdio::piped()).spawn()?;
    docker.prepare(&["kill", "one"])?;
    docker.prepare(&["stop", "two"])?;
    let output = waits.wait_with_output()?;
    assert_eq!(String::from_utf8(output.stdout)?, "137\n5\n");
    assert_eq!(output.status.code(), Some(0), "whatever the containers' codes are");
    // What has ended already.
    docker.does(&["wait", "two"])?.code(0).prints("5\n").says("");
    docker.does(&["wait", "nosuch"])?.finds_none().prints("");
    docker
        .does(&["wait", "nosuch", "one"])?
        .finds_none()
        .prints("137\n")
        .differs("podman", "ends with the first that it does not find");
    Ok(())
}

fn rm(docker: &mut Script<'_>) -> Outcome {
    docker.server("one", &["-v", "/anonymous", "-v", "named:/data"])?;
    docker
        .does(&["rm", "one"])?
        .prints("")
        .complains("running")
        .code(1)
        .differs("podman", "2 if a container runs");
    docker.does(&["ps", "--format", "{{.Names}}"])?.prints("one\n");
    docker.does(&["rm", "-f", "-v", "one"])?.code(0).prints("one\n").says("");
    docker.does(&["ps", "-aq"])?.prints("");
    // What has a name stays.
    docker.does(&["volume", "ls", "-q"])?.prints("named\n");
    for name in ["two", "three"] {
        docker.prepare(&[
            "create",
            "--name",
            name,
            "--network",
            "none",
            "-v",
            "/anonymous",
            "busybox",
        ])?;
    }
    docker
        .does(&["rm", "two", "nosuch", "three"])?
        .complains("no such container")
        .code(1)
        .prints("two\nthree\n")
        .differs("podman", "looks at all names first, and removes none");
    docker.engine.remove_all();
    docker.prepare(&["create", "--name", "two", "--network", "none", "busybox"])?;
    docker
        .does(&["rm", "-f", "nosuch", "two"])?
        .code(0)
        .prints("two\n")
        .differs("podman", "looks at all names first, and removes none");
    docker.engine.remove_all();
    docker.does(&["ps", "-aq"])?.prints("");
    let volumes = docker.prepare(&["volume", "ls", "-q"])?;
    assert_eq!(volumes.lines().count(), 3, "anonymous volumes stay without -v: {volumes}");
    docker.does(&["rm", "nosuch"])?.complains("no such container").code(1);
    // Its end is the end of those who wait for it.
    docker.server("four", &[])?;
    let mut waits =
        docker.command(&["wait", "four"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    docker.prepare(&["rm", "-f", "four"])?;
    wait_until("nobody waits any more", || Ok(waits.try_wait()?.is_some()))?;
    Ok(())
}
