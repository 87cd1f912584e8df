//! What `events` tells, while it happens and afterwards.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Result, stdout, transcript, wait_until};

pub const TESTS: &[Test] = &[
    ("events_tell_a_life", events_tell_a_life),
    ("events_in_the_users_own_words", events_in_the_users_own_words),
    ("events_stream_through_a_rotation", events_stream_through_a_rotation),
    ("events_end_in_time", events_end_in_time),
    ("a_killed_supervisor_is_told_of", a_killed_supervisor_is_told_of),
];

/// All events so far, without what varies.
fn told(docker: &Docker, flags: &[&str]) -> Result<String> {
    let all = ["events", "--since", "1", "--until", "0s"];
    stdout(&mut docker.command(all.iter().chain(flags)))
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{64}", "[ID]");
    settings.add_filter(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{9}Z", "[TIME]");
    settings.add_filter("execDuration=[0-9]+", "execDuration=[SECONDS]");
    settings
}

fn events_tell_a_life(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let life: [&[&str]; 9] = [
        &["run", "--rm", "--network", "none", "--name", "gone", "-v", "/data", "busybox", "true"],
        &[
            "run",
            "--network",
            "none",
            "--name",
            "kept",
            "-l",
            "tier=front",
            "busybox",
            "sh",
            "-c",
            "exit 3",
        ],
        &["start", "-a", "kept"],
        &["update", "--pids-limit", "50", "kept"],
        &["container", "prune", "-f"],
        &["tag", "busybox", "box:2"],
        &["rmi", "busybox", "box:2"],
        &["volume", "create", "data"],
        &["volume", "rm", "data"],
    ];
    for arguments in life {
        docker.ran(arguments)?;
    }
    settings().bind(|| insta::assert_snapshot!(told(&docker, &[]).unwrap()));
    // Only some of them.
    for (filters, count) in [
        (&["container=kept"][..], 7),
        (&["event=die"], 3),
        (&["event=die", "container=kept"], 2),
        (&["label=tier=front"], 7),
        (&["type=volume"], 4),
        (&["image=busybox", "event=start"], 3),
    ] {
        let flags: Vec<&str> = filters.iter().flat_map(|filter| ["--filter", filter]).collect();
        let told = told(&docker, &flags)?;
        assert_eq!(told.lines().count(), count, "{filters:?}: {told}");
    }
    Ok(())
}

fn events_in_the_users_own_words(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    docker.ran(["create", "--name", "web", "-l", "tier=front", "busybox"])?;
    docker.ran(["volume", "create", "data"])?;
    let mut text = String::new();
    for format in
        ["json", "{{.Type}} {{.Status}} {{.From}} {{.Actor.Attributes.tier}}", "{{.Nope}}", "{{"]
    {
        let arguments = [
            "events",
            "--since",
            "1",
            "--until",
            "0s",
            "--filter",
            "type=container",
            "--format",
            format,
        ];
        text.push_str(&transcript(&docker, sandbox, &arguments)?);
    }
    for wrong in [["--since", "yesterday"], ["--until", "x"], ["--filter", "colour=red"]] {
        text.push_str(&transcript(&docker, sandbox, &["events", wrong[0], wrong[1]])?);
    }
    docker.ran(["rm", "web"])?;
    let mut settings = settings();
    settings.add_filter("\"time(Nano)?\":[0-9]+", "\"time$1\":[NUMBER]");
    settings.bind(|| insta::assert_snapshot!(text));
    let line = told(&docker, &["--filter", "type=volume", "--format", "json"])?;
    let event: serde_json::Value = serde_json::from_str(&line)?;
    let (seconds, nanoseconds) =
        (event["time"].as_i64().unwrap(), event["timeNano"].as_i64().unwrap());
    assert_eq!(seconds, nanoseconds / 1_000_000_000);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    assert!((now as i64 - seconds).abs() < 600, "{line}");
    Ok(())
}

/// A command that ends with the test.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn events_stream_through_a_rotation(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::new(sandbox);
    docker.ran(["volume", "create", "first"])?;
    let watch =
        ["events", "--since", "1", "--filter", "type=volume", "--format", "{{.Action}} {{.ID}}"];
    let mut watcher = Watcher(docker.command(watch).stdout(Stdio::piped()).spawn()?);
    let mut lines = BufReader::new(watcher.0.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap();
    assert_eq!(next()?, "create first");
    let (journal, older) = (docker.run_root.join("events"), docker.run_root.join("events.1"));
    for round in 0..3 {
        // Nearly full: what the next command writes is the last line of this file.
        let length = std::fs::metadata(&journal).map_or(0, |file| file.len());
        let mut file = std::fs::File::options().create(true).append(true).open(&journal)?;
        let filling = "\n".repeat((512 << 10) - 10 - length as usize);
        std::io::Write::write_all(&mut file, filling.as_bytes())?;
        for name in [format!("last{round}"), format!("fresh{round}")] {
            assert_eq!(docker.ran(["volume", "create", name.as_str()])?.code, 0);
            assert_eq!(next()?, format!("create {name}"), "round {round}");
        }
        assert!(std::fs::metadata(&journal)?.len() < 1000, "round {round}: it has not rotated");
        assert!(std::fs::metadata(&older)?.len() > 512 << 10, "round {round}");
    }
    // What is older than two files is forgotten; what is in them is not.
    let all = told(&docker, &["--format", "{{.ID}}"])?;
    assert_eq!(all, "fresh1\nlast2\nfresh2\n");
    Ok(())
}

fn events_end_in_time(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::new(sandbox);
    docker.ran(["volume", "create", "before"])?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let until = (now + 3).to_string();
    let watch = docker
        .command(["events", "--until", &until, "--format", "{{.ID}}"])
        .stdout(Stdio::piped())
        .spawn()?;
    // It may begin late: one of many comes in its time. Those from after its end do not.
    let mut number = 0;
    let second =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    while second() <= now + 4 {
        docker.ran(["volume", "create", &format!("v{number}")])?;
        number += 1;
    }
    let output = watch.wait_with_output()?;
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout)?;
    assert!(text.starts_with('v') && text.lines().count() < number, "{number}: {text}");
    // Nobody reads on: the next event ends it.
    let mut watcher =
        Watcher(docker.command(["events", "--since", "1"]).stdout(Stdio::piped()).spawn()?);
    let mut first = String::new();
    let mut reader = BufReader::new(watcher.0.stdout.take().unwrap());
    reader.read_line(&mut first)?;
    assert!(first.contains(" volume create before "), "{first}");
    drop(reader);
    wait_until("it ends", || {
        docker.ran(["volume", "create", &format!("w{number}")])?;
        number += 1;
        Ok(watcher.0.try_wait()?.is_some())
    })
}

fn a_killed_supervisor_is_told_of(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let run = ["run", "--rm", "--name", "victim", "--network", "none", "busybox", "sleep", "100"];
    let mut child = docker.command(run).spawn()?;
    wait_until("it runs", || Ok(told(&docker, &["--filter", "event=start"])?.contains("victim")))?;
    child.kill()?;
    child.wait()?;
    docker.ran(["ps"])?;
    let format =
        ["--filter", "container=victim", "--format", "{{.Action}} {{.Actor.Attributes.exitCode}}"];
    let all = told(&docker, &format)?;
    assert_eq!(all, "create <no value>\nstart <no value>\ndie 137\ndestroy <no value>\n");
    Ok(())
}
