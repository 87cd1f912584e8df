//! A container that lives on without the command that started it, and those who come to see it.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rexpect::session::PtySession;
use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Result, finish, wait_until};
use crate::terminal::{leave, resize, shell};

pub const TESTS: &[Test] = &[
    ("who_leaves_can_come_back", who_leaves_can_come_back),
    ("a_dead_container_gives_the_terminal_back", a_dead_container_gives_the_terminal_back),
    (
        "a_visitor_that_is_told_to_end_leaves_the_terminal_sane",
        a_visitor_that_is_told_to_end_leaves_the_terminal_sane,
    ),
    ("two_see_the_same_terminal", two_see_the_same_terminal),
    ("a_large_paste_arrives_whole", a_large_paste_arrives_whole),
    ("a_large_input_arrives_whole", a_large_input_arrives_whole),
    ("a_slow_reader_loses_nothing", a_slow_reader_loses_nothing),
    ("ctrl_z_stops_the_visitor_alone", ctrl_z_stops_the_visitor_alone),
    (
        "a_monitor_is_small_and_holds_nothing_of_its_callers",
        a_monitor_is_small_and_holds_nothing_of_its_callers,
    ),
    ("a_killed_visitor_leaves_the_container_alone", a_killed_visitor_leaves_the_container_alone),
    ("signals_are_passed_on_or_not", signals_are_passed_on_or_not),
    ("the_first_failure_is_told_and_leaves_nothing", the_first_failure_is_told_and_leaves_nothing),
];

fn cmd(arguments: &str) -> String {
    format!("{} {arguments}", env!("CARGO_BIN_EXE_mini-docker"))
}

fn start(name: &str, arguments: &str) -> String {
    cmd(&format!("run --name {name} --network none {arguments}"))
}

/// What the terminal does with keys, as `stty` says it, now that the host's shell has it back.
fn is_sane(session: &mut PtySession) -> Outcome {
    session.exp_string("host> ")?;
    session.send_line(
        "stty -a | tr ' ;' '\\n\\n' | grep -cx -e isig -e icanon -e opost; echo do''ne",
    )?;
    session.exp_string("3\r\ndone")?;
    session.exp_string("host> ")?;
    Ok(())
}

fn state(docker: &Docker, name: &str) -> Result<String> {
    Ok(docker
        .ran(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name])?
        .stdout
        .trim()
        .to_owned())
}

fn who_leaves_can_come_back(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut session = shell(&docker)?;
    resize(&session, 30, 100)?;
    session.send_line(&start("sh", "-it busybox sh"))?;
    session.exp_string("/ # ")?;
    session.send_line("echo one; mark=here")?;
    session.exp_string("one\r\n")?;
    // The first key of the sequence alone is the container's.
    session.send_control('p')?;
    session.send("x")?;
    session.flush()?;
    session.exp_string("x")?;
    session.send_control('u')?;
    session.send_control('p')?;
    session.send_control('q')?;
    is_sane(&mut session)?;
    assert_eq!(state(&docker, "sh")?, "running 0");
    resize(&session, 41, 111)?;
    session.send_line(&cmd("start -ai sh"))?;
    session.send_line("echo $mark $(stty size)")?;
    session.exp_string("here 41 111")?;
    session.send_line("exit 5")?;
    is_sane(&mut session)?;
    assert_eq!(state(&docker, "sh")?, "exited 5");
    leave(session)
}

fn a_dead_container_gives_the_terminal_back(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut session = shell(&docker)?;
    session.send_line(&format!("{}; echo code $?", start("sh", "-it busybox sh")))?;
    session.exp_string("/ # ")?;
    let pid = docker.ran(["inspect", "-f", "{{.State.Pid}}", "sh"])?.stdout.trim().parse()?;
    kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    session.exp_string("code 137")?;
    is_sane(&mut session)?;
    leave(session)
}

fn a_visitor_that_is_told_to_end_leaves_the_terminal_sane(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut session = shell(&docker)?;
    session.send_line(&format!("{} & echo visitor $!; fg", start("sh", "-it busybox sh")))?;
    session.exp_string("visitor ")?;
    let visitor: i32 = session.read_line()?.trim().parse()?;
    session.exp_string("/ # ")?;
    kill(Pid::from_raw(visitor), Signal::SIGTERM)?;
    is_sane(&mut session)?;
    assert_eq!(state(&docker, "sh")?, "running 0");
    docker.ran(["rm", "-f", "sh"])?;
    leave(session)
}

fn two_see_the_same_terminal(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let (mut one, mut two) = (shell(&docker)?, shell(&docker)?);
    one.send_line(&start("sh", "-it busybox sh"))?;
    one.exp_string("/ # ")?;
    two.send_line(&cmd("start -ai sh"))?;
    two.send_line("echo by''two")?;
    two.exp_string("bytwo\r\n")?;
    one.exp_string("bytwo\r\n")?;
    one.send_line("exit 3")?;
    for mut session in [one, two] {
        session.exp_string("host> ")?;
        session.send_line("echo code $?")?;
        session.exp_string("code 3")?;
        leave(session)?;
    }
    Ok(())
}

fn a_large_paste_arrives_whole(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut session = shell(&docker)?;
    // 10 MB of lines, into a program that is slow to begin.
    let line = format!("{}\n", "0123456789".repeat(9));
    let lines = 10_000_000 / line.len();
    let script = format!("stty -echo; echo re''ady; sleep 1; head -n {lines} | md5sum; exit 0");
    session.send_line(&start("paste", &format!("-it busybox sh -c \"{script}\"")))?;
    session.exp_string("ready")?;
    let text = line.repeat(lines);
    let digest = docker.sh(&["-i"], "true")?;
    assert_eq!(digest.code, 0);
    let mut expected = std::process::Command::new("md5sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    expected.stdin.take().unwrap().write_all(text.as_bytes())?;
    let expected = String::from_utf8(expected.wait_with_output()?.stdout)?;
    let mut pty = session.process().get_file_handle()?;
    pty.write_all(text.as_bytes())?;
    session.exp_string(expected.split_whitespace().next().unwrap())?;
    leave(session)
}

fn a_large_input_arrives_whole(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let bytes: Vec<u8> =
        (0..3_000_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
    let mut command =
        docker.command(["run", "-i", "--name", "cat", "--network", "none", "busybox", "cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || input.write_all(&sent));
    let mut back = Vec::new();
    output.read_to_end(&mut back)?;
    writer.join().unwrap()?;
    assert_eq!(child.wait()?.code(), Some(0));
    assert!(back == bytes, "{} of {} bytes", back.len(), bytes.len());
    Ok(())
}

fn a_slow_reader_loses_nothing(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script = "i=0; while [ $i -lt 60000 ]; do echo line $i of many; i=$((i+1)); done; echo end >&2; exit 9";
    let mut command = docker.command([
        "run",
        "--name",
        "slow",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // Nobody reads until more is written than all buffers on the way hold.
    std::thread::sleep(Duration::from_secs(2));
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text)?;
    let ran = child.wait_with_output()?;
    let expected: String = (0..60_000).map(|n| format!("line {n} of many\n")).collect();
    assert!(text == expected, "{} of {} bytes", text.len(), expected.len());
    assert_eq!((ran.status.code(), String::from_utf8(ran.stderr)?.as_str()), (Some(9), "end\n"));
    Ok(())
}

fn ctrl_z_stops_the_visitor_alone(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut session = shell(&docker)?;
    // Without -i keys are the shell's.
    let script = "i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.1; done";
    session.send_line(&start("tick", &format!("-t busybox sh -c '{script}'")))?;
    session.exp_string("tick 1")?;
    session.send_control('z')?;
    session.exp_string("host> ")?;
    let processor = || docker.ran(["inspect", "-f", "{{.State.Status}}", "tick"]);
    assert_eq!(processor()?.stdout, "running\n");
    session.send_line("fg")?;
    session.exp_string("tick 3")?;
    session.send_control('c')?;
    session.exp_string("host> ")?;
    docker.ran(["rm", "-f", "tick"])?;
    leave(session)
}

fn monitor_of(docker: &Docker, name: &str) -> Result<i32> {
    let id = docker.ran(["inspect", "-f", "{{.Id}}", name])?.stdout.trim().to_owned();
    let title = format!("mini-docker: monitor of {name} ({})", &id[..12]);
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if line.trim_end_matches('\0') == title {
            return Ok(pid);
        }
    }
    Err(format!("no process is called `{title}`").into())
}

fn a_monitor_is_small_and_holds_nothing_of_its_callers(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // A shell that waits for the end of a pipe must not wait for the container.
    let (mut reader, writer) = std::io::pipe()?;
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
    let script = "while :; do echo some words; sleep 0.05; done";
    let ran = finish(&mut docker.command([
        "run",
        "-d",
        "--name",
        "box",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        script,
    ]))?;
    assert_eq!((ran.code, ran.stdout.trim().len()), (0, 64), "{ran:?}");
    drop(writer);
    let mut nothing = Vec::new();
    reader.read_to_end(&mut nothing)?;
    let monitor = monitor_of(&docker, "box")?;
    let status = || std::fs::read_to_string(format!("/proc/{monitor}/status"));
    // The code of a program that is not optimised is several times as large.
    let (field, most) = if cfg!(debug_assertions) { ("RssAnon:", 5) } else { ("VmRSS:", 3) };
    wait_until("it is small", || {
        let status = status()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        let kib: u64 = line.split_whitespace().next().unwrap_or_default().parse()?;
        Ok(kib < most << 10)
    })?;
    let stat = std::fs::read_to_string(format!("/proc/{monitor}/stat"))?;
    let session = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().to_owned();
    assert_eq!(session, monitor.to_string(), "a session of its own");
    assert_eq!(std::fs::read_link(format!("/proc/{monitor}/cwd"))?.as_os_str(), "/");
    assert_eq!(docker.ran(["rm", "-f", "box"])?.code, 0);
    Ok(())
}

fn a_killed_visitor_leaves_the_container_alone(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut command = docker.command([
        "run",
        "--name",
        "box",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "echo here; exec sleep 1000",
    ]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut here = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut here)?;
    child.kill()?;
    child.wait()?;
    assert_eq!(state(&docker, "box")?, "running 0");
    assert_eq!(docker.ran(["rm", "-f", "box"])?.code, 0);
    Ok(())
}

fn signals_are_passed_on_or_not(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script = "trap 'echo got it; exit 4' TERM; echo here; while :; do sleep 0.05; done";
    for (flag, code, after) in
        [("--sig-proxy", 4, "exited 4"), ("--sig-proxy=false", 143, "running 0")]
    {
        let mut command = docker.command([
            "run",
            flag,
            "--name",
            "box",
            "--network",
            "none",
            "busybox",
            "sh",
            "-c",
            script,
        ]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut here = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut here)?;
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM)?;
        assert_eq!(child.wait()?.code(), Some(code), "{flag}");
        assert_eq!(state(&docker, "box")?, after, "{flag}");
        assert_eq!(docker.ran(["rm", "-f", "box"])?.code, 0);
    }
    Ok(())
}

fn the_first_failure_is_told_and_leaves_nothing(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let before = docker.footprint()?;
    for flags in [&["-d"][..], &["-t"], &["-d", "-t"], &[]] {
        let ran = docker
            .ran([&["run", "--rm", "--network", "none"], flags, &["busybox", "/nope"]].concat())?;
        // With -d the id is told in any case.
        let id = if flags.contains(&"-d") { 65 } else { 0 };
        assert_eq!((ran.code, ran.stdout.len()), (127, id), "{flags:?} {ran:?}");
        assert!(ran.stderr.contains("/nope") && ran.stderr.contains("hint:"), "{flags:?} {ran:?}");
    }
    docker.footprint()?.same_as(&before)?;
    // Without --rm it stays, as created; Docker keeps it too.
    let ran = docker.ran(["run", "-d", "--name", "box", "--network", "none", "busybox", "/etc"])?;
    assert_eq!(ran.code, 126, "{ran:?}");
    assert!(state(&docker, "box")?.starts_with("created"));
    assert_eq!(docker.ran(["rm", "box"])?.code, 0);
    docker.footprint()?.same_as(&before)
}
