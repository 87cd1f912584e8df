//! A person at a terminal.

use std::process::Command;
use std::time::Duration;

use rexpect::session::{PtySession, spawn_command};
use testkit::{Outcome, Sandbox, Test};

use crate::support::Docker;

pub const TESTS: &[Test] = &[
    ("a_terminal_has_its_size_from_the_first_line", a_terminal_has_its_size_from_the_first_line),
    ("keys_and_ctrl_c_go_to_the_container", keys_and_ctrl_c_go_to_the_container),
    ("the_users_terminal_is_restored", the_users_terminal_is_restored),
    ("without_t_a_program_sees_no_terminal", without_t_a_program_sees_no_terminal),
    ("a_pipe_is_no_terminal", a_pipe_is_no_terminal),
    ("without_i_ctrl_c_interrupts", without_i_ctrl_c_interrupts),
    ("a_closed_terminal_keeps_nobody_busy", a_closed_terminal_keeps_nobody_busy),
    ("the_last_output_of_a_terminal_arrives", the_last_output_of_a_terminal_arrives),
];

fn session(command: Command) -> Result<PtySession, rexpect::error::Error> {
    spawn_command(command, Some(10_000))
}

pub fn resize(session: &PtySession, rows: u16, cols: u16) -> Outcome {
    let size = syscalls::tty::Size { rows, cols };
    let pty = session.process().get_file_handle()?;
    syscalls::tty::set_size(std::os::fd::AsFd::as_fd(&pty), size)?;
    Ok(())
}

/// A shell on the terminal, so that its size is set before mini-docker starts.
pub fn shell(docker: &Docker) -> Result<PtySession, Box<dyn std::error::Error>> {
    let mut command = Command::new("/bin/busybox");
    command.arg("sh").env("PS1", "host> ");
    command.env("MINI_DOCKER_ROOT", &docker.root).env("MINI_DOCKER_RUN_ROOT", &docker.run_root);
    let mut session = session(command)?;
    session.exp_string("host> ")?;
    Ok(session)
}

/// Ends the host's shell: it would ignore the signal by which the session is ended otherwise.
pub fn leave(mut session: PtySession) -> Outcome {
    session.send_line("exit")?;
    session.exp_eof()?;
    Ok(())
}

fn run(arguments: &str) -> String {
    format!("{} run --rm --network none {arguments}", env!("CARGO_BIN_EXE_mini-docker"))
}

fn a_terminal_has_its_size_from_the_first_line(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut session = shell(&docker)?;
    resize(&session, 43, 132)?;
    session.send_line(&run("-it busybox stty size"))?;
    session.exp_string("43 132")?;
    session.exp_string("host> ")?;
    // And it follows the user's.
    session.send_line(&run(
        "-it busybox sh -c \"trap 'stty size' WINCH; echo re''ady; while :; do sleep 0.1; done\"",
    ))?;
    session.exp_string("ready")?;
    resize(&session, 20, 70)?;
    session.exp_string("20 70")?;
    session.send_control('c')?;
    session.exp_string("host> ")?;
    leave(session)
}

fn keys_and_ctrl_c_go_to_the_container(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut session = shell(&docker)?;
    session.send_line(&run("-it -e PS1='in> ' busybox"))?;
    session.exp_string("in> ")?;
    session.send_line("tty; test -t 0 && echo ter''minal; echo $TERM")?;
    session.exp_string("/dev/pts/0")?;
    session.exp_string("terminal")?;
    session.exp_string("xterm")?;
    session.exp_string("in> ")?;
    session.send_line("sleep 100")?;
    std::thread::sleep(Duration::from_millis(200));
    session.send_control('c')?;
    session.exp_string("in> ")?;
    session.send_line("echo alive")?;
    session.exp_string("alive")?;
    session.exp_string("in> ")?;
    session.send_line("exit 9")?;
    session.exp_string("host> ")?;
    session.send_line("echo code $?")?;
    session.exp_string("code 9")?;
    leave(session)
}

fn the_users_terminal_is_restored(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut session = shell(&docker)?;
    session.send_line("A=$(stty -g); echo sa''ved")?;
    session.exp_string("saved")?;
    session.exp_string("host> ")?;
    for arguments in [
        "-it busybox true",
        "-it busybox nosuch",
        "-it busybox sh -c 'kill -9 $$; sleep 0.1; exit 1'",
    ] {
        session.send_line(&run(arguments))?;
        session.exp_string("host> ")?;
        session.send_line("test \"$A\" = \"$(stty -g)\" && echo sa''me || echo dif''ferent")?;
        session
            .exp_regex("same|different")
            .map(|(_, found)| assert_eq!(found, "same", "{arguments}"))?;
        session.exp_string("host> ")?;
    }
    leave(session)
}

fn without_t_a_program_sees_no_terminal(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut session = shell(&docker)?;
    // The quotes keep the words apart from the echo of what is typed.
    let script = "for n in 0 1 2; do test -t $n && echo ter\"\"minal || echo pi\"\"pe; done; \
                  read line; echo got $line";
    session.send_line(&run(&format!("-i busybox sh -c '{script}'")))?;
    for _ in 0..3 {
        session.exp_regex("terminal|pipe").map(|(_, found)| assert_eq!(found, "pipe"))?;
    }
    session.send_line("typed")?;
    session.exp_string("got typed")?;
    session.exp_string("host> ")?;
    leave(session)
}

fn a_pipe_is_no_terminal(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let ran = docker.sh(&["-it"], "true")?;
    assert_eq!(ran.code, 125);
    assert!(ran.stderr.contains("the input device is not a terminal"), "{ran:?}");
    // -t alone is fine: output comes from a terminal, with carriage returns.
    assert_eq!(docker.sh(&["-t"], "echo a; tty")?.stdout, "a\r\n/dev/pts/0\r\n");
    Ok(())
}

fn without_i_ctrl_c_interrupts(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut session = shell(&docker)?;
    session.send_line(&run(
        "-t busybox sh -c \"trap 'exit 7' INT; echo re''ady; while :; do sleep 0.1; done\"",
    ))?;
    session.exp_string("ready")?;
    session.send_control('c')?;
    session.exp_string("host> ")?;
    session.send_line("echo code $?")?;
    session.exp_string("code 7")?;
    leave(session)
}

/// How often a process has gone to sleep: once per wake-up.
fn sleeps(pid: u32) -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(line.unwrap_or_default().trim().parse()?)
}

fn a_closed_terminal_keeps_nobody_busy(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // It closes its terminal, waits to be told, and comes back to it.
    let script = "trap 'echo back >/dev/pts/0; exit 5' TERM; echo here; \
                  exec </dev/null >/dev/null 2>&1; while :; do sleep 0.2; done";
    let mut command = docker.command(["run", "--rm", "--network", "none", "-t", "busybox", "sh"]);
    let mut child = command.args(["-c", script]).stdout(std::process::Stdio::piped()).spawn()?;
    let mut output = child.stdout.take().unwrap();
    let mut here = [0; 6];
    std::io::Read::read_exact(&mut output, &mut here)?;
    assert_eq!(&here, b"here\r\n");
    std::thread::sleep(Duration::from_millis(300));
    let before = sleeps(child.id())?;
    std::thread::sleep(Duration::from_secs(1));
    let wakeups = sleeps(child.id())? - before;
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut output, &mut rest)?;
    assert_eq!((child.wait()?.code(), rest.as_str()), (Some(5), "back\r\n"));
    assert!(wakeups < 20, "{wakeups} wake-ups in a second");
    Ok(())
}

fn the_last_output_of_a_terminal_arrives(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    for round in 0..8 {
        let ran =
            docker.ran(["run", "--rm", "--network", "none", "-t", "busybox", "seq", "3000"])?;
        let expected: String = (1..=3000).map(|n| format!("{n}\r\n")).collect();
        assert!(ran.stdout == expected, "{round}: {} of {}", ran.stdout.len(), expected.len());
    }
    Ok(())
}
