//! The PID 1 that `--init` puts in front of a program.
//!
//! PID 1 is special twice. A signal that it has no handler for is not delivered
//! (pid_namespaces(7)): a program that relies on the default action of SIGTERM cannot be stopped
//! politely. And every orphan becomes its child: if nobody waits for them, zombies fill the process
//! table. A small PID 1 cures both; Docker's is tini.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::prctl::{get_dumpable, set_child_subreaper, set_dumpable, set_name};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, getpid, setpgid, tcsetpgrp};
use syscalls::clone::{CloneArgs, Cloned, clone3};
use syscalls::process::{Exit, Target, close_from_and, exit_now, wait};
use syscalls::{During, KernelError, pidfd, step};

/// What PID 1 exits with if it cannot do its work.
const BROKEN: i32 = 125;

/// Forks. The child returns and goes on to exec the program; the parent stays behind as init: it
/// forwards every signal that can be caught to the child, collects whatever ends, and ends with the
/// child's code, 128+n after a signal. It never returns.
///
/// The child gets a process group of its own and, if standard input is its session's terminal,
/// becomes the foreground group: what is typed (^C, ^Z) goes to the program's group and does not
/// reach it a second time through init.
///
/// Init is not dumpable, so /proc/1/exe (the runtime's own binary) and /proc/1/fd cannot be opened
/// from inside without CAP_SYS_PTRACE; and it keeps no descriptor but 0, 1 and 2.
///
/// # Errors
/// `EAGAIN` if there may be no more processes.
pub fn become_init() -> Result<(), KernelError> {
    let mut old = SigSet::empty();
    // Before the fork, so that no signal is lost between it and the first read.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut old))
        .during("block signals", "")?;
    let dumpable = get_dumpable().during("read dumpable", "")?;
    step!("prctl", "PR_SET_DUMPABLE, 0", set_dumpable(false)).during("clear dumpable", "")?;
    let arguments = CloneArgs { namespaces: CloneFlags::empty(), cgroup: None };
    let cloned = step!("clone3", "init and its child", clone3(&arguments));
    match cloned {
        Ok(Cloned::Parent { pid, .. }) => close_from_and(3, pid, serve),
        Ok(Cloned::Child) => take_the_terminal()?,
        Err(_) => {}
    }
    // The child has its own memory, and nobody else is in its pid namespace before it execs.
    set_dumpable(dumpable).during("restore dumpable", "")?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&old), None).during("unblock signals", "")?;
    cloned.map(drop).during("fork", "init")
}

/// SIGTTOU, which a background group gets for this, is blocked.
fn take_the_terminal() -> Result<(), KernelError> {
    let own = Pid::from_raw(0);
    step!("setpgid", "0, 0", setpgid(own, own)).during("create process group", "")?;
    match step!("ioctl", "stdin, TIOCSPGRP", tcsetpgrp(std::io::stdin().as_fd(), getpid())) {
        // Not a terminal, closed, or not the terminal of this session.
        Ok(()) | Err(Errno::ENOTTY | Errno::EBADF | Errno::ENXIO) => Ok(()),
        Err(errno) => Err(KernelError::new("become foreground group", "", errno)),
    }
}

/// Init's whole life.
fn serve(child: Pid) -> ! {
    set_name(c"init").ok();
    if getpid().as_raw() != 1 {
        // In a shared pid namespace orphans come to us only if we ask for them.
        set_child_subreaper(true).ok();
    }
    let Ok(signals) = SignalFd::new(&SigSet::all()) else { exit_now(BROKEN) };
    // It may have ended already, but it was not collected: its pid is still its own.
    let Ok(pidfd) = pidfd::open(child) else { exit_now(BROKEN) };
    loop {
        let signal = match signals.read_signal() {
            Ok(Some(info)) => info.ssi_signo as i32,
            Ok(None) | Err(Errno::EINTR) => continue,
            Err(_) => exit_now(BROKEN),
        };
        match signal {
            libc::SIGCHLD => {
                if let Some(exit) = reap(child) {
                    exit_now(exit.shell_code());
                }
            }
            // About our own use of the terminal, of which there is none.
            libc::SIGTTIN | libc::SIGTTOU => {}
            // ESRCH: the child has ended, and its SIGCHLD is on the way.
            other => drop(pidfd::send_raw(pidfd.as_fd(), other)),
        }
    }
}

/// Collects all that have ended: one SIGCHLD may stand for many. Returns how the child ended, if it
/// did.
fn reap(child: Pid) -> Option<Exit> {
    let mut ended = None;
    while let Ok(Some((pid, exit))) = wait(Target::Any, false) {
        if pid == child {
            ended = Some(exit);
        }
    }
    ended
}
