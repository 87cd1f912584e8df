//! What a container has done: `logs`, `events`.

use std::process::Stdio;

use testkit::Outcome;

use crate::script::Script;
use crate::scripts;

scripts![logs, logs_that_follow, events];

fn logs(docker: &mut Script<'_>) -> Outcome {
    let script = "for i in 1 2 3 4 5; do echo line $i; done; echo err >&2; printf 'no end'";
    docker.prepare(&[
        "run",
        "-d",
        "--name",
        "one",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        script,
    ])?;
    docker.prepare(&["wait", "one"])?;
    docker
        .does(&["logs", "one"])?
        .code(0)
        .prints("line 1\nline 2\nline 3\nline 4\nline 5\nno end")
        .says("err\n");
    docker.prepare(&[
        "run",
        "-d",
        "--name",
        "two",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "for i in 1 2 3 4 5; do echo line $i; done",
    ])?;
    docker.prepare(&["wait", "two"])?;
    for (flags, expected) in [
        (&["--tail", "2"][..], "line 4\nline 5\n"),
        (&["-n", "1"], "line 5\n"),
        (&["--tail", "0"], ""),
        (&["--tail", "all"], "line 1\nline 2\nline 3\nline 4\nline 5\n"),
        (&["--tail", "100"], "line 1\nline 2\nline 3\nline 4\nline 5\n"),
        (&["--since", "1h"], "line 1\nline 2\nline 3\nline 4\nline 5\n"),
        (&["--since", "2030-01-01T00:00:00Z"], ""),
        (&["--until", "2020-01-01T00:00:00Z"], ""),
        (&["--until", "1h"], ""),
    ] {
        let step = docker.does(&[&["logs"], flags, &["two"]].concat())?.prints(expected);
        match flags {
            ["--tail", "all"] => drop(step.differs("podman", "its word for all is -1")),
            ["-n", "1"] => drop(step.differs("podman", "-n asks for names")),
            ["--until", "1h"] => drop(step.differs("podman", "counts it from now on, not back")),
            _ => {}
        }
    }
    docker.does(&["logs", "-t", "--tail", "1", "two"])?.code(0).expect(
        "a time before the line",
        |ran| {
            let time = ran.stdout.strip_suffix(" line 5\n").unwrap_or_default();
            time.len() >= 20 && time.as_bytes()[4] == b'-' && time.as_bytes()[10] == b'T'
        },
    );
    // -f of what has ended ends.
    docker.does(&["logs", "-f", "two"])?.code(0).prints("line 1\nline 2\nline 3\nline 4\nline 5\n");
    docker.does(&["logs", "nosuch"])?.finds_none();
    docker.prepare(&["create", "--name", "three", "--network", "none", "busybox"])?;
    docker.does(&["logs", "three"])?.code(0).prints("").says("");
    // One log for all of its runs.
    docker.prepare(&["start", "two"])?;
    docker.prepare(&["wait", "two"])?;
    docker.does(&["logs", "two"])?.expect("ten lines", |ran| ran.stdout.lines().count() == 10);
    Ok(())
}

fn logs_that_follow(docker: &mut Script<'_>) -> Outcome {
    docker.server("one", &[])?;
    let follow = |flags: &[&str]| {
        let args = [&["logs", "-f"], flags, &["one"]].concat();
        docker.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    };
    let (all, new) = (follow(&[])?, follow(&["--tail", "0"])?);
    // Both have begun when they have found the log; there is no way to see that from outside.
    std::thread::sleep(std::time::Duration::from_millis(1000));
    docker.prepare(&["kill", "-s", "USR1", "one"])?;
    docker.wait_for_log("one", "usr1")?;
    docker.prepare(&["stop", "one"])?;
    // It ends with the container.
    for (child, expected) in [(all, "out\nusr1\nbye\n"), (new, "usr1\nbye\n")] {
        let output = child.wait_with_output()?;
        assert_eq!(String::from_utf8(output.stdout)?, expected);
        assert_eq!(output.status.code(), Some(0));
    }
    Ok(())
}

fn events(docker: &mut Script<'_>) -> Outcome {
    docker.is_unsteady();
    let second = || {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map(|time| time.as_secs())
    };
    let since = second()?.to_string();
    docker.server("one", &["-l", "who=me"])?;
    docker.prepare(&["exec", "one", "true"])?;
    docker.prepare(&["pause", "one"])?;
    docker.prepare(&["unpause", "one"])?;
    docker.prepare(&["rename", "one", "two"])?;
    docker.prepare(&["kill", "-s", "USR1", "two"])?;
    docker.wait_for_log("two", "usr1")?;
    docker.prepare(&["stop", "two"])?;
    let id = docker.inspect("two", "{{.Id}}")?;
    docker.prepare(&["rm", "two"])?;
    // A time that is still to come is waited for.
    let since_then = (second()? + 2).to_string();
    let range = ["events", "--since", &since, "--until", &since_then];
    let args = [&range[..], &["--filter", "type=container", "--format", "{{.Status}}"]].concat();
    let mut step = docker.does(&args)?.code(0);
    for event in ["create", "start", "pause", "unpause", "rename", "kill"] {
        step = step.prints_line(event);
    }
    step.prints_line("die")
        .differs("podman", "calls it died")
        .prints_line("stop")
        .differs("podman", "only tells the end")
        .prints_line("destroy")
        .differs("podman", "calls it remove")
        .expect("the session's event has its command", |ran| {
            ran.stdout.lines().any(|line| line == "exec_start: true")
        })
        .differs("podman", "calls it exec");
    let filter = format!("container={}", &id[..12]);
    let until = (second()? + 1).to_string();
    let range = ["events", "--since", &since, "--until", &until];
    let args =
        [&range[..], &["--filter", &filter, "--filter", "event=start", "--format", "{{.Status}}"]]
            .concat();
    docker.does(&args)?.code(0).prints("start\n");
    let args = [&range[..], &["--filter", "label=who=you"]].concat();
    docker.does(&args)?.code(0).prints("");
    let range = ["events", "--since", &since, "--until", &since_then];
    let args =
        [&range[..], &["--filter", &filter, "--filter", "event=start", "--format", "{{.Status}}"]]
            .concat();
    docker
        .does(&args)?
        .code(0)
        .prints("start\n")
        .differs("podman", "tells nothing if the time is over");
    Ok(())
}
