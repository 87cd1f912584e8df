//! How one gets into a container: `exec`, `attach`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::Outcome;

use crate::script::{OWN_ERROR, SERVER, Script};
use crate::scripts;
use crate::support::wait_until;

scripts![exec, attach];

fn exec(docker: &mut Script<'_>) -> Outcome {
    docker.server("one", &["-e", "WHO=container", "-w", "/root", "-h", "box"])?;
    docker
        .does(&["exec", "one", "sh", "-c", "echo out; echo err >&2; exit 3"])?
        .code(3)
        .prints("out\n")
        .says("err\n");
    docker
        .does(&["exec", "one", "sh", "-c", "echo $WHO $PWD $(id -u) $(hostname)"])?
        .code(0)
        .prints("container /root 0 box\n");
    docker
        .does(&[
            "exec",
            "-e",
            "WHO=exec",
            "-w",
            "/tmp",
            "-u",
            "7:8",
            "one",
            "sh",
            "-c",
            "echo $WHO $PWD $(id -u) $(id -g)",
        ])?
        .code(0)
        .prints("exec /tmp 7 8\n");
    // The same processes, the same files.
    docker.does(&["exec", "one", "sh", "-c", "kill -USR1 1 && echo x > /file"])?.code(0);
    docker.wait_for_log("one", "usr1")?;
    docker.does(&["exec", "one", "cat", "/file"])?.prints("x\n");
    docker.does(&["exec", "one", "sh", "-c", "kill -9 $$"])?.code(137);
    let file = docker.sandbox.path("input");
    std::fs::write(&file, "typed\n")?;
    for (flags, expected) in [(&["-i"][..], "typed\n"), (&[], "")] {
        let args = [&["exec"], flags, &["one", "cat"]].concat();
        let mut command = docker.command(&args);
        command.stdin(std::fs::File::open(&file)?);
        docker.does_this(&args, command)?.code(0).prints(expected);
    }
    // In the background.
    docker
        .does(&["exec", "-d", "one", "sh", "-c", "sleep 0.2; echo late > /late"])?
        .code(0)
        .prints("")
        .differs("podman", "prints the id of the session");
    wait_until("it has been written", || {
        Ok(docker.prepare(&["exec", "one", "cat", "/late"]).is_ok_and(|text| text == "late"))
    })?;
    docker.does(&["exec", "one", "nosuch"])?.code(127).complains("nosuch");
    docker.does(&["exec", "one", "/etc/passwd"])?.code(126).complains("permission denied");
    docker
        .does(&["exec", "-u", "nosuch", "one", "true"])?
        .complains("nosuch")
        .expect("a failure", |ran| ran.code != 0);
    docker.does(&["exec", "nosuch", "true"])?.finds_none();
    docker.prepare(&["stop", "one"])?;
    docker
        .does(&["exec", "one", "true"])?
        .complains("is not running")
        .differs("podman", "says that it needs a running container")
        .code(1)
        .differs("podman", "255 if no command could be started");
    Ok(())
}

fn attach(docker: &mut Script<'_>) -> Outcome {
    // Its input, its outputs, its exit code.
    docker.prepare(&[
        "run",
        "-d",
        "-i",
        "--name",
        "echo",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "while read line; do echo \"got $line\"; [ $line = end ] && exit 6; done",
    ])?;
    let file = docker.sandbox.path("input");
    std::fs::write(&file, "one\nend\n")?;
    let args = ["attach", "echo"];
    let mut command = docker.command(&args);
    command.stdin(std::fs::File::open(&file)?);
    docker
        .does_this(&args, command)?
        .code(6)
        .differs("podman", "0 if its own input ends first")
        .prints("got one\ngot end\n")
        .differs("podman", "ends with an empty line");
    // Signals reach the container, and what it says of them comes back. Who hears it is there.
    let script =
        format!("echo before; {}", SERVER.replace("while :; do", "while :; do echo tick;"));
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
        &script,
    ])?;
    docker.wait_for_log("one", "tick")?;
    let mut child =
        docker.command(&["attach", "--no-stdin", "one"]).stdout(Stdio::piped()).spawn()?;
    let pid = Pid::from_raw(child.id() as i32);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut heard = Vec::new();
    for (line, signal) in
        [("tick", Signal::SIGUSR1), ("usr1", Signal::SIGTERM), ("bye", Signal::SIGCONT)]
    {
        loop {
            let next = lines.next().ok_or(format!("no {line} in {heard:?}"))??;
            heard.push(next);
            if heard.last().is_some_and(|last| last == line) {
                break;
            }
        }
        kill(pid, signal)?;
    }
    assert!(!heard.iter().any(|line| line == "before"), "what was before is in the log: {heard:?}");
    let code = child.wait()?.code();
    docker
        .does(&["inspect", "-f", "{{.State.ExitCode}}", "one"])?
        .prints("5\n")
        .expect("the same from attach", |_| code == Some(5))
        .differs("podman", "0 if its own input ends first, or there is none");
    docker.does(&["attach", "one"])?.complains("attach").code(1).differs("podman", OWN_ERROR);
    docker.does(&["attach", "nosuch"])?.finds_none();
    // Whoever leaves, leaves it alone.
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
        SERVER,
    ])?;
    docker.wait_for_log("two", "out")?;
    let attach = ["attach", "--no-stdin", "--sig-proxy=false", "two"];
    let mut child = docker.command(&attach).stdout(Stdio::piped()).spawn()?;
    docker.prepare(&["kill", "-s", "USR1", "two"])?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    child.kill()?;
    child.wait()?;
    docker.does(&["ps", "--format", "{{.Names}}"])?.prints("two\n");
    Ok(())
}
