//! PID 1 of `--init`.

use std::os::fd::AsFd;
use std::path::Path;

use namespaces::exec::{Command, exec};
use namespaces::{Exit, KernelError, Kind, Plan, reaper, spawn};
use nix::fcntl::{OFlag, open};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, setsid};
use syscalls::pidfd;
use testkit::{Outcome, Sandbox};

use crate::helpers::{Running, command, ends, eventually, sh};

/// Starts a command behind init in new pid and mount namespaces.
fn start(command: &Command) -> Result<Running, KernelError> {
    let plan = Plan { create: vec![Kind::Pid, Kind::Mount], ..Plan::default() };
    let mut init = spawn(&plan, None, |_| {
        reaper::become_init()?;
        Err(exec(command))
    })?;
    init.wait_exec()?;
    Ok(Running(init))
}

fn children(pid: Pid) -> Vec<Pid> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

/// The fields of /proc/PID/stat from the third, the state, on.
fn stat(pid: Pid) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit(") ").next().unwrap_or_default();
    fields.split_whitespace().map(str::to_owned).collect()
}

pub(crate) fn init_is_pid_1_and_reaps(sandbox: &Sandbox) -> Outcome {
    let done = sandbox.path("done");
    // Orphans: their parent ends at once, they a little later. One of them by a real-time signal.
    let script = format!(
        "for i in 1 2 3 4 5; do (sleep 0.0$i &); done; (bash -c 'sleep 0.03; kill -40 $$' &); \
         sleep 0.1; echo $$ >{}; exec sleep 1000",
        done.display()
    );
    let init = start(&sh(&script))?;
    assert!(eventually(|| done.metadata().is_ok_and(|meta| meta.len() > 0)));
    assert_eq!(std::fs::read_to_string(&done)?, "2\n");
    assert_eq!(std::fs::read_to_string(format!("/proc/{}/comm", init.pid))?, "init\n");
    assert!(eventually(|| children(init.pid).len() == 1), "zombies: {:?}", children(init.pid));
    // Nothing of the runtime's set-up is open in it.
    let fds = std::fs::read_dir(format!("/proc/{}/fd", init.pid))?.count();
    assert!(fds <= 5, "0, 1, 2, the signal and the pid descriptor; but {fds}");
    Ok(())
}

pub(crate) fn init_forwards_signals(sandbox: &Sandbox) -> Outcome {
    for (signal, name) in [(15, "TERM"), (10, "USR1"), (1, "HUP"), (37, "RTMIN+3"), (28, "WINCH")] {
        let ready = sandbox.path(format!("ready-{signal}"));
        let script = format!(
            "trap 'exit {signal}' {name}; touch {}; while :; do sleep 0.01; done",
            ready.display()
        );
        let mut init = start(&sh(&script))?;
        assert!(eventually(|| ready.exists()));
        pidfd::send_raw(init.pidfd.as_fd(), signal)?;
        assert!(ends(&init.pidfd), "{name}");
        assert_eq!(init.wait()?, Exit::Code(signal), "{name}");
    }
    // The program relies on the default action: as PID 1 it would never end.
    let mut init = start(&command(&["sleep", "1000"]))?;
    pidfd::send_raw(init.pidfd.as_fd(), 15)?;
    assert!(ends(&init.pidfd));
    assert_eq!(init.wait()?, Exit::Code(143));
    let alone = crate::helpers::start_idle(&Plan { create: vec![Kind::Pid], ..Plan::default() })?;
    kill(alone.pid, Signal::SIGTERM)?;
    std::thread::sleep(std::time::Duration::from_millis(50));
    kill(alone.pid, None)?;
    assert_ne!(stat(alone.pid)[0], "Z", "without init the signal is not delivered");
    Ok(())
}

pub(crate) fn init_ends_as_its_child(_: &Sandbox) -> Outcome {
    for (script, code) in
        [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill -40 $$", 168)]
    {
        let mut init = start(&sh(script))?;
        assert!(ends(&init.pidfd));
        assert_eq!(init.wait()?, Exit::Code(code), "{script}");
    }
    Ok(())
}

pub(crate) fn inits_binary_cannot_be_opened(sandbox: &Sandbox) -> Outcome {
    const SYS_PTRACE: u8 = 19;
    let answer = sandbox.path("answer");
    let script = format!(
        "mount -t proc proc /proc; exec >{} 2>&1; \
         readlink -v /proc/1/exe; readlink -v /proc/1/fd/0; readlink -v /proc/2/exe",
        answer.display()
    );
    let plan = Plan { create: vec![Kind::Pid, Kind::Mount], ..Plan::default() };
    let mut init = spawn(&plan, None, |_| {
        // Init and program with the same capabilities, and both without the one that would open
        // everything: what is refused now is refused because init is not dumpable.
        use syscalls::capability::{drop_bounding, get, set};
        drop_bounding(SYS_PTRACE).unwrap();
        let mut sets = get().unwrap();
        sets.effective &= !(1 << SYS_PTRACE);
        sets.permitted &= !(1 << SYS_PTRACE);
        set(sets).unwrap();
        reaper::become_init()?;
        Err(exec(&sh(&script)))
    })?;
    init.wait_exec()?;
    init.wait()?;
    let answer = std::fs::read_to_string(answer)?;
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines[0], "readlink: /proc/1/exe: Permission denied", "{answer}");
    assert_eq!(lines[1], "readlink: /proc/1/fd/0: Permission denied", "{answer}");
    assert!(lines[2].starts_with('/'), "the program itself can be looked at: {answer}");
    Ok(())
}

pub(crate) fn a_failed_exec_passes_init(_: &Sandbox) -> Outcome {
    let error = start(&command(&["/no/such/program"])).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "exec `/no/such/program`: No such file or directory (ENOENT)");
    Ok(())
}

pub(crate) fn the_terminal_belongs_to_the_program(sandbox: &Sandbox) -> Outcome {
    let pair = openpty(None, None)?;
    let name = nix::unistd::ttyname(&pair.slave)?;
    let ready = sandbox.path("ready");
    // No second process: bash would wait for it, and see ^C as meant for that one.
    let script = format!(": >{}; exec sleep 1000", ready.display());
    let plan = Plan { create: vec![Kind::Pid], ..Plan::default() };
    let mut init = spawn(&plan, None, |_| {
        setsid().unwrap();
        let terminal = open(Path::new(&name), OFlag::O_RDWR, Mode::empty()).unwrap();
        syscalls::tty::set_controlling(terminal.as_fd()).unwrap();
        nix::unistd::dup2_stdin(&terminal).unwrap();
        reaper::become_init()?;
        Err(exec(&sh(&script)))
    })?;
    init.wait_exec()?;
    let mut init = Running(init);
    assert!(eventually(|| ready.exists()));
    let program = children(init.pid)[0];
    // Fields 5 and 8: process group, and foreground group of the terminal (proc_pid_stat(5)).
    let fields = stat(program);
    assert_eq!(fields[2], program.to_string(), "a group of its own");
    assert_eq!(fields[5], fields[2], "in the foreground");
    assert_ne!(stat(init.pid)[2], fields[2]);
    nix::unistd::write(&pair.master, b"\x03")?;
    assert!(ends(&init.pidfd));
    assert_eq!(init.wait()?, Exit::Code(130), "^C");
    Ok(())
}
