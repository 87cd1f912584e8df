//! `logs`: what a container has written, also while it is being written and rotated.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Result, finish, transcript, wait_until};

pub const TESTS: &[Test] = &[
    ("a_log_is_shown_as_docker_shows_it", a_log_is_shown_as_docker_shows_it),
    ("a_follower_sees_every_line_of_a_rotated_log", a_follower_sees_every_line_of_a_rotated_log),
    ("a_follower_ends_with_the_container", a_follower_ends_with_the_container),
    ("a_follower_ends_when_it_is_told_to", a_follower_ends_when_it_is_told_to),
    ("a_late_follower_is_told_what_it_missed", a_late_follower_is_told_what_it_missed),
    ("a_log_goes_on_with_the_next_start", a_log_goes_on_with_the_next_start),
    ("a_terminals_log_is_standard_output", a_terminals_log_is_standard_output),
    ("what_a_full_disk_took_is_told_in_the_log", what_a_full_disk_took_is_told_in_the_log),
    ("some_containers_have_no_log", some_containers_have_no_log),
];

/// Starts a container in the background that runs a script.
fn run(docker: &Docker, name: &str, flags: &[&str], script: &str) -> Outcome {
    let fixed = ["run", "-d", "--name", name, "--network", "none"];
    let ran = docker.ran(fixed.iter().chain(flags).chain(&["busybox", "sh", "-c", script]))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Ok(())
}

fn wait_for_end(docker: &Docker, name: &str) -> Outcome {
    wait_until("the container ends", || Ok(!docker.ran(["ps"])?.stdout.contains(name)))
}

/// A folder that the container sees as `/go`: it waits for a file in it.
fn gate(sandbox: &Sandbox) -> Result<(PathBuf, String)> {
    let folder = sandbox.path("go");
    std::fs::create_dir_all(&folder)?;
    let volume = format!("{}:/go", folder.display());
    Ok((folder.join("now"), volume))
}

const WAIT: &str = "while [ ! -e /go/now ]; do sleep 0.02; done;";

fn follower(
    docker: &Docker,
    arguments: &[&str],
) -> Result<(Child, BufReader<std::process::ChildStdout>)> {
    let mut command = docker.command(["logs", "-f"].iter().chain(arguments));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = BufReader::new(child.stdout.take().unwrap());
    Ok((child, stdout))
}

fn a_log_is_shown_as_docker_shows_it(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    run(&docker, "both", &[], "echo out; echo err >&2; echo \"\\\"more\\\"\"; printf 'no end'")?;
    run(&docker, "three", &[], "echo one; echo two; echo three")?;
    run(&docker, "early", &[], "exit 0")?;
    assert_eq!(docker.ran(["create", "--name", "new", "busybox"])?.code, 0);
    wait_for_end(&docker, "both")?;
    wait_for_end(&docker, "three")?;
    wait_for_end(&docker, "early")?;
    let both = docker.ran(["logs", "both"])?;
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n\"more\"\nno end", "err\n"));
    let mut text = String::new();
    for arguments in [
        &["logs", "three"][..],
        &["container", "logs", "--tail", "2", "three"],
        &["logs", "-n1", "three"],
        &["logs", "-n", "0", "three"],
        &["logs", "--tail=-1", "three"],
        &["logs", "-f", "three"],
        &["logs", "-t", "--tail", "1", "three"],
        &["logs", "--details", "-t", "-n1", "three"],
        &["logs", "--since", "1h", "-n1", "three"],
        &["logs", "--since=-1h", "three"],
        &["logs", "--since", "2020-01-01T00:00:00", "--until", "2020-01-02", "three"],
        &["logs", "--until", "0", "three"],
        &["logs", "early"],
        &["logs", "new"],
        &["logs", "-f", "new"],
        &["logs", "nosuch"],
        &["logs"],
        &["logs", "--tail", "few", "three"],
        &["logs", "--since", "yesterday", "three"],
        &["logs", "--until", "2020-13-01", "three"],
    ] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", "[TIME]");
    settings.bind(|| insta::assert_snapshot!(text));
    // Exactly from a line's own time on: `--since` and `--until` include it.
    let times = docker.ran(["logs", "-t", "-n1", "three"])?.stdout;
    let time = times.split(' ').next().unwrap();
    assert!(docker.ran(["logs", "--since", time, "three"])?.stdout.ends_with("three\n"));
    assert!(docker.ran(["logs", "--until", time, "three"])?.stdout.ends_with("three\n"));
    // As the Docker's file is, for whoever reads it directly.
    let id = std::fs::read_to_string(docker.root.join("names/both"))?;
    let file = docker.root.join("containers").join(&id).join(format!("{id}-json.log"));
    let lines = std::fs::read_to_string(file)?;
    assert!(
        lines.contains("{\"log\":\"\\\"more\\\"\\n\",\"stream\":\"stdout\",\"time\":\"2"),
        "{lines}"
    );
    Ok(())
}

fn a_follower_sees_every_line_of_a_rotated_log(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let (go, volume) = gate(sandbox)?;
    let flags = ["-v", &volume, "--log-opt", "max-size=200k", "--log-opt", "max-file=2"];
    run(&docker, "counter", &flags, &format!("echo ready; {WAIT} seq 0 99999"))?;
    let (mut child, mut stdout) = follower(&docker, &["counter"])?;
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    assert_eq!(line, "ready\n");
    std::fs::write(go, "")?;
    let mut expected = 0;
    for line in stdout.lines() {
        assert_eq!(line?.parse::<u32>()?, expected);
        expected += 1;
    }
    assert_eq!(expected, 100_000);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors)?;
    assert_eq!((child.wait()?.code(), errors.as_str()), (Some(0), ""));
    // Two files are left, with the end of it.
    let left = docker.ran(["logs", "counter"])?.stdout;
    let left: Vec<u32> = left.lines().map(|line| line.parse().unwrap()).collect();
    assert!(left.windows(2).all(|pair| pair[0] + 1 == pair[1]) && left.ends_with(&[99_999]));
    let id = std::fs::read_to_string(docker.root.join("names/counter"))?;
    let folder = docker.root.join("containers").join(&id);
    let sizes: Vec<u64> = std::fs::read_dir(folder)?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("-json.log"))
        .map(|entry| entry.metadata().map_or(0, |found| found.len()))
        .collect();
    assert!(sizes.len() == 2 && sizes.iter().all(|size| *size < 201_000 + 4800), "{sizes:?}");
    Ok(())
}

fn a_follower_ends_with_the_container(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let (go, volume) = gate(sandbox)?;
    run(
        &docker,
        "box",
        &["-v", &volume],
        &format!("echo first; {WAIT} echo err >&2; printf last; exit 3"),
    )?;
    let (mut child, mut stdout) = follower(&docker, &["box"])?;
    let mut text = String::new();
    stdout.read_line(&mut text)?;
    assert_eq!(text, "first\n");
    assert!(child.try_wait()?.is_none(), "it has not waited");
    std::fs::write(go, "")?;
    stdout.read_to_string(&mut text)?;
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors)?;
    assert_eq!((text.as_str(), errors.as_str()), ("first\nlast", "err\n"));
    // Its own code: not the container's.
    assert_eq!(child.wait()?.code(), Some(0));

    // A monitor that dies is an end, too.
    run(&docker, "killed", &[], "echo here; sleep 1000")?;
    let (mut child, mut stdout) = follower(&docker, &["killed"])?;
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    assert_eq!(line, "here\n");
    assert_eq!(docker.ran(["rm", "-f", "killed"])?.code, 0);
    assert_eq!(child.wait()?.code(), Some(0));
    Ok(())
}

fn a_follower_ends_when_it_is_told_to(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    run(&docker, "box", &[], "echo first; exec sleep 1000")?;
    wait_until("it writes", || Ok(docker.ran(["logs", "box"])?.stdout == "first\n"))?;
    let until = docker.ran(["logs", "-f", "--until=-1s", "box"])?;
    assert_eq!((until.code, until.stdout.as_str()), (0, "first\n"), "{until:?}");
    let past = docker.ran(["logs", "-f", "--until=1h", "box"])?;
    assert_eq!((past.code, past.stdout.as_str()), (0, ""), "{past:?}");

    let (mut child, mut stdout) = follower(&docker, &["box"])?;
    stdout.read_line(&mut String::new())?;
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGINT)?;
    // A shell reports 130.
    assert_eq!(child.wait()?.signal(), Some(2));

    // A reader that has gone, also when nothing is written any more.
    let (mut child, mut stdout) = follower(&docker, &["box"])?;
    stdout.read_line(&mut String::new())?;
    drop(stdout);
    assert_eq!(child.wait()?.code(), Some(141));
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors)?;
    assert_eq!(errors, "");
    assert_eq!(docker.ran(["rm", "-f", "box"])?.code, 0);
    Ok(())
}

fn a_late_follower_is_told_what_it_missed(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let (go, volume) = gate(sandbox)?;
    let flags = ["-v", &volume, "--log-opt", "max-size=1k", "--log-opt", "max-file=1"];
    run(&docker, "fast", &flags, &format!("echo ready; {WAIT} seq 1 400000; sleep 1000"))?;
    let (mut child, mut stdout) = follower(&docker, &["fast"])?;
    stdout.read_line(&mut String::new())?;
    std::fs::write(go, "")?;
    // It does not read, and the container is not stopped by that.
    wait_until("everything is written", || {
        Ok(docker.ran(["logs", "--tail", "1", "fast"])?.stdout == "400000\n")
    })?;
    let mut last = 0;
    let mut missed = 0;
    for line in stdout.by_ref().lines() {
        let number: u32 = line?.parse()?;
        assert!(number > last, "{number} after {last}");
        missed += number - last - 1;
        last = number;
        if number == 400_000 {
            break;
        }
    }
    assert!(missed > 0, "the test is too small");
    assert_eq!(docker.ran(["rm", "-f", "fast"])?.code, 0);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors)?;
    assert!(errors.starts_with("mini-docker: warning: lines are missing here"), "{errors}");
    assert_eq!(child.wait()?.code(), Some(0));
    Ok(())
}

fn a_log_goes_on_with_the_next_start(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    run(&docker, "box", &[], "echo out; printf end")?;
    wait_for_end(&docker, "box")?;
    assert_eq!(docker.ran(["start", "-a", "box"])?.stdout, "out\nend");
    assert_eq!(docker.ran(["logs", "box"])?.stdout, "out\nendout\nend");
    // As after a crash in the middle of a line.
    let id = std::fs::read_to_string(docker.root.join("names/box"))?;
    let file = docker.root.join("containers").join(&id).join(format!("{id}-json.log"));
    let whole = std::fs::read(&file)?;
    std::fs::write(&file, &whole[..whole.len() - 20])?;
    assert_eq!(docker.ran(["start", "-a", "box"])?.code, 0);
    let ran = docker.ran(["logs", "box"])?;
    assert_eq!(ran.stdout, "out\nendout\nout\nend");
    assert_eq!(
        ran.stderr,
        "mini-docker: warning: 1 line of the log could not be read and was left out\n"
    );
    Ok(())
}

fn a_terminals_log_is_standard_output(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    run(&docker, "box", &["-t"], "echo out; echo err >&2")?;
    wait_for_end(&docker, "box")?;
    let ran = docker.ran(["logs", "box"])?;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\r\nerr\r\n", ""));
    Ok(())
}

fn what_a_full_disk_took_is_told_in_the_log(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let (go, volume) = gate(sandbox)?;
    let small = docker.root.join("containers");
    let status = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "none"])
        .arg(&small)
        .status()?;
    assert!(status.success());
    // More than what may still be in the container's pipe when it goes on.
    let filler = small.join("filler");
    std::fs::write(&filler, vec![0; 3 << 20])?;
    let script = format!("seq 1 100000; touch /go/full; {WAIT} echo after");
    run(&docker, "box", &["-v", &volume, "--log-opt", "max-size=-1"], &script)?;
    let full = sandbox.path("go").join("full");
    wait_until("the container goes on", || Ok(full.exists()))?;
    std::fs::remove_file(&filler)?;
    std::fs::write(go, "")?;
    wait_for_end(&docker, "box")?;
    let ran = docker.ran(["logs", "box"])?;
    let (numbers, after) = ran.stdout.rsplit_once("\nafter\n").unwrap();
    assert_eq!(after, "");
    let numbers: Vec<u32> = numbers.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    // Where a little room was left, in more than one place.
    let mut lost = 0;
    for words in ran.stderr.lines() {
        let words = words.strip_prefix("mini-docker: ").unwrap();
        let Some((count, rest)) = words.split_once(" lines (") else { continue };
        assert!(rest.ends_with("could not be written here: No space left on device"), "{rest}");
        lost += count.parse::<usize>()?;
    }
    assert!(lost > 0 && lost + numbers.len() == 100_000, "{lost} + {}", numbers.len());
    assert_eq!(docker.ran(["rm", "-f", "box"])?.code, 0);
    assert!(Command::new("umount").arg("-l").arg(&small).status()?.success());
    Ok(())
}

fn some_containers_have_no_log(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    run(&docker, "silent", &["--log-driver", "none"], "echo lost")?;
    let foreground =
        ["run", "--rm", "--name", "front", "--network", "none", "busybox", "sleep", "1000"];
    let mut child = docker.command(foreground).stdout(Stdio::null()).spawn()?;
    wait_until("it runs", || Ok(docker.ran(["ps"])?.stdout.contains("front")))?;
    wait_for_end(&docker, "silent")?;
    let mut text = String::new();
    for arguments in [&["logs", "silent"][..], &["logs", "front"], &["logs", "-f", "front"]] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    insta::assert_snapshot!(text);
    assert_eq!(finish(&mut docker.command(["rm", "-f", "front"]))?.code, 0);
    child.wait()?;
    Ok(())
}
