//! The user's side of a container: signals, terminal, pipes.
//!
//! One loop over `poll(2)` does all of it. Without `-t`, a container whose output goes to a pipe or a file writes to it
//! directly; only a terminal of the user's is put behind a pipe, so that a program inside does not take it for its own.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use namespaces::Init;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{self, SetArg, Termios};
use syscalls::tty::{self, Size};

use crate::failure::Failure;

/// Reads a signal by name or number: `SIGTERM`, `term`, `15`.
///
/// # Errors
/// A failure with a hint for anything else.
pub fn parse_signal(text: &str) -> Result<i32> {
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper.clone() } else { format!("SIG{upper}") };
    // The real-time signals have no names in the kernel; bash and Docker count from both ends (signal(7)).
    let real_time = name
        .strip_prefix("SIGRTMIN+")
        .map(|plus| (34, plus))
        .or_else(|| name.strip_prefix("SIGRTMAX-").map(|minus| (-64, minus)));
    let number = match (name.parse::<Signal>(), text.parse::<i32>(), real_time) {
        (Ok(signal), _, _) => Some(signal as i32),
        (_, Ok(number), _) => Some(number),
        (_, _, Some((base, offset))) => {
            offset.parse::<i32>().ok().map(|offset| (base + offset).abs())
        }
        _ => None,
    };
    number.filter(|number| (1..=64).contains(number)).ok_or_else(|| {
        Failure::new(format!("unknown signal `{text}`"))
            .hint("a name as in kill -l (TERM, SIGHUP, RTMIN+3) or a number from 1 to 64")
            .into()
    })
}

/// Blocks the signals that are passed on and receives them from a descriptor instead. Blocked before the container is
/// made, so that none is lost between the start and the loop.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    previous: SigSet,
}

/// Signals that belong to this process alone: faults, job control of the user's shell, and what poll tells anyway.
const OWN: [Signal; 12] = [
    Signal::SIGCHLD,
    Signal::SIGKILL,
    Signal::SIGSTOP,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGILL,
    Signal::SIGFPE,
    Signal::SIGABRT,
    Signal::SIGPIPE,
];

impl Signals {
    /// Begins to collect.
    ///
    /// # Errors
    /// If the kernel refuses a descriptor.
    pub fn collect() -> Result<Self> {
        let mut set = SigSet::all();
        for own in OWN {
            set.remove(own);
        }
        let mut previous = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut previous))
            .context("block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&set, flags).context("open a signal descriptor")?;
        Ok(Self { fd, previous })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // What is pending was meant for a container that has ended.
        while let Ok(Some(_)) = self.fd.read_signal() {}
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.previous), None).ok();
    }
}

/// Where the container's standard streams come from and go to.
#[derive(Debug)]
pub struct Streams {
    /// Given to the container as 0, 1 and 2; none of them with a terminal of its own.
    pub child: [Option<OwnedFd>; 3],
    /// Copied by the loop: what the container writes, and where it goes.
    copies: Vec<Copy>,
    /// A pipe to the container's standard input, if the user's is a terminal.
    input: Option<File>,
}

/// One direction of a copy.
#[derive(Debug)]
struct Copy {
    from: File,
    to: Target,
}

#[derive(Debug)]
enum Target {
    Stdout,
    Stderr,
}

impl Streams {
    /// Prepares the streams of a container without a terminal. Without `interactive` it reads nothing.
    ///
    /// # Errors
    /// If a pipe cannot be made.
    pub fn plain(interactive: bool) -> Result<Self> {
        let mut streams = Self { child: [None, None, None], copies: Vec::new(), input: None };
        let stdin: OwnedFd = if interactive && std::io::stdin().is_terminal() {
            let (from, to) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("make a pipe")?;
            set_nonblocking(to.as_fd())?;
            streams.input = Some(to.into());
            from
        } else if interactive {
            std::io::stdin().as_fd().try_clone_to_owned().context("copy standard input")?
        } else {
            File::open("/dev/null").context("open `/dev/null`")?.into()
        };
        streams.child[0] = Some(stdin);
        let outputs = [
            (1, std::io::stdout().is_terminal(), Target::Stdout),
            (2, std::io::stderr().is_terminal(), Target::Stderr),
        ];
        for (number, is_terminal, target) in outputs {
            if is_terminal {
                let (from, to) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("make a pipe")?;
                set_nonblocking(from.as_fd())?;
                streams.child[number] = Some(to);
                streams.copies.push(Copy { from: from.into(), to: target });
            } else {
                let fd = if number == 1 {
                    std::io::stdout().as_fd().try_clone_to_owned()
                } else {
                    std::io::stderr().as_fd().try_clone_to_owned()
                };
                streams.child[number] = Some(fd.context("copy a standard stream")?);
            }
        }
        Ok(streams)
    }

    /// A container with a terminal of its own takes nothing from here.
    pub fn terminal() -> Self {
        Self { child: [None, None, None], copies: Vec::new(), input: None }
    }

    /// Forgets the container's ends, so that the end of its output can be seen.
    pub fn given(&mut self) {
        self.child = [None, None, None];
    }
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    let flags = OFlag::from_bits_truncate(nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFL)?);
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Size of the user's terminal, if there is one.
pub fn size() -> Option<Size> {
    tty::size(std::io::stdin().as_fd())
        .or_else(|_| tty::size(std::io::stdout().as_fd()))
        .ok()
        .filter(|size| size.rows > 0 && size.cols > 0)
}

/// The user's terminal in raw mode, so that every key goes to the container; restored when dropped.
#[derive(Debug)]
pub struct Raw {
    saved: Option<Termios>,
}

impl Raw {
    /// Enters raw mode if standard input is a terminal.
    ///
    /// # Errors
    /// If the terminal's settings cannot be changed.
    pub fn enter() -> Result<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(Self { saved: None });
        }
        let saved = termios::tcgetattr(stdin.as_fd()).context("read terminal settings")?;
        let mut raw = saved.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw).context("set raw mode")?;
        Ok(Self { saved: Some(saved) })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            termios::tcsetattr(std::io::stdin().as_fd(), SetArg::TCSADRAIN, saved).ok();
        }
    }
}

/// Carries signals, keys, output and window sizes until the container's process has ended and its output is drained.
///
/// # Errors
/// If waiting fails; what cannot be written (a closed pipe) ends that direction only.
pub fn serve(
    init: &mut Init,
    signals: &Signals,
    streams: Streams,
    master: Option<OwnedFd>,
    interactive: bool,
) -> Result<namespaces::Exit> {
    // Without a terminal on either side the container has our standard input itself.
    let reads = interactive && (master.is_some() || streams.input.is_some());
    let mut carrier = Carrier {
        copies: streams.copies,
        input: streams.input,
        master: master.map(File::from),
        keys: Vec::new(),
        stdin_open: reads,
        ended: None,
    };
    if let Some(master) = &carrier.master {
        set_nonblocking(master.as_fd())?;
    }
    loop {
        carrier.turn(init, signals)?;
        if let Some(exit) = carrier.ended
            && carrier.drained()
        {
            return Ok(exit);
        }
    }
}

/// What is carried between the user and the container.
struct Carrier {
    copies: Vec<Copy>,
    input: Option<File>,
    master: Option<File>,
    /// Typed and not yet taken by the container's terminal.
    keys: Vec<u8>,
    stdin_open: bool,
    ended: Option<namespaces::Exit>,
}

/// What poll has to say of whom.
#[derive(Clone, Copy)]
enum Source {
    Exit,
    Signals,
    Stdin,
    Master,
    Input,
    Copy(usize),
}

impl Carrier {
    fn drained(&self) -> bool {
        self.copies.is_empty() && self.master.is_none()
    }

    /// One turn: wait for something to happen and carry it.
    fn turn(&mut self, init: &mut Init, signals: &Signals) -> Result<()> {
        let stdin = std::io::stdin();
        let mut sources = Vec::with_capacity(6);
        let mut fds = Vec::with_capacity(6);
        if self.ended.is_none() {
            sources.push(Source::Exit);
            fds.push(PollFd::new(init.pidfd.as_fd(), PollFlags::POLLIN));
        }
        sources.push(Source::Signals);
        fds.push(PollFd::new(signals.fd.as_fd(), PollFlags::POLLIN));
        // Keys are read as fast as the container takes them: a large paste waits in the user's terminal.
        if self.stdin_open && self.keys.is_empty() {
            sources.push(Source::Stdin);
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        if let Some(master) = &self.master {
            let mut events = PollFlags::POLLIN;
            if !self.keys.is_empty() {
                events |= PollFlags::POLLOUT;
            }
            sources.push(Source::Master);
            fds.push(PollFd::new(master.as_fd(), events));
        }
        if let Some(input) = self.input.as_ref().filter(|_| !self.keys.is_empty()) {
            sources.push(Source::Input);
            fds.push(PollFd::new(input.as_fd(), PollFlags::POLLOUT));
        }
        for (index, copy) in self.copies.iter().enumerate() {
            sources.push(Source::Copy(index));
            fds.push(PollFd::new(copy.from.as_fd(), PollFlags::POLLIN));
        }
        // After the end, what is still in the pipes is there at once; a process that was left with them (a shared pid
        // namespace) must not keep us.
        let timeout = if self.ended.is_some() { PollTimeout::ZERO } else { PollTimeout::NONE };
        let ready = match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => return Ok(()),
            other => other.context("wait for the container")?,
        };
        let happened: Vec<(Source, PollFlags)> = sources
            .into_iter()
            .zip(fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())))
            .filter(|(_, events)| !events.is_empty())
            .collect();
        drop(fds);
        if ready == 0 && self.ended.is_some() {
            self.copies.clear();
            self.master = None;
            return Ok(());
        }
        // Pipes that close shift the others: from the last to the first.
        for (source, events) in happened.into_iter().rev() {
            match source {
                Source::Exit => self.ended = init.try_wait()?,
                Source::Signals => self.forward_signals(init, signals),
                Source::Stdin => self.read_keys(),
                Source::Master => self.serve_master(events),
                Source::Input => self.feed(),
                Source::Copy(index) => {
                    if !copy_some(&mut self.copies[index]) {
                        self.copies.remove(index);
                    }
                }
            }
        }
        Ok(())
    }

    fn forward_signals(&mut self, init: &Init, signals: &Signals) {
        while let Ok(Some(info)) = signals.fd.read_signal() {
            let number = info.ssi_signo as i32;
            if number == Signal::SIGWINCH as i32
                && let Some(master) = &self.master
            {
                if let Some(size) = size() {
                    tty::set_size(master.as_fd(), size).ok();
                }
                continue;
            }
            // ESRCH: it has just ended, which the next turn sees.
            syscalls::pidfd::send_raw(init.pidfd.as_fd(), number).ok();
        }
    }

    fn read_keys(&mut self) {
        let mut buffer = [0; 4096];
        match nix::unistd::read(std::io::stdin().as_fd(), &mut buffer) {
            Ok(0) => {
                // The end of input: a terminal says it with ctrl-d, a pipe by being closed.
                if self.master.is_some() {
                    self.keys.push(4);
                }
                self.input = None;
                self.stdin_open = false;
            }
            Ok(length) => self.keys.extend_from_slice(&buffer[..length]),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.stdin_open = false,
        }
    }

    /// Feeds the container's standard input.
    fn feed(&mut self) {
        let Some(input) = &mut self.input else { return };
        match input.write(&self.keys) {
            Ok(length) => drop(self.keys.drain(..length)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // The container has closed it.
            Err(_) => {
                self.keys.clear();
                self.input = None;
                self.stdin_open = false;
            }
        }
    }

    fn serve_master(&mut self, events: PollFlags) {
        let Some(master) = &mut self.master else { return };
        if events.contains(PollFlags::POLLOUT) {
            match master.write(&self.keys) {
                Ok(length) => drop(self.keys.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.keys.clear(),
            }
        }
        if events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            let mut buffer = [0; 16384];
            match master.read(&mut buffer) {
                Ok(length) if length > 0 => write_all(&mut std::io::stdout(), &buffer[..length]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                // EIO: nobody has the other side open any more.
                _ => {
                    if self.ended.is_some() {
                        self.master = None;
                    } else {
                        // Between two programs of the container the terminal may be closed for a moment; its end is
                        // the end of process 1, which poll tells next.
                        std::thread::sleep(std::time::Duration::from_millis(1));
                    }
                }
            }
        }
    }
}

/// Copies what is there; false at the end.
fn copy_some(copy: &mut Copy) -> bool {
    let mut buffer = [0; 16384];
    match copy.from.read(&mut buffer) {
        Ok(0) => false,
        Ok(length) => {
            match copy.to {
                Target::Stdout => write_all(&mut std::io::stdout(), &buffer[..length]),
                Target::Stderr => write_all(&mut std::io::stderr(), &buffer[..length]),
            }
            true
        }
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

/// Writes everything; a reader that has gone is no error of ours.
fn write_all(to: &mut impl Write, bytes: &[u8]) {
    to.write_all(bytes).and_then(|()| to.flush()).ok();
}

/// Sends an open file to the process at the other end of a socket (`SCM_RIGHTS`, unix(7)).
///
/// # Errors
/// As sendmsg(2).
pub fn send_fd(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let fds = [std::os::fd::AsRawFd::as_raw_fd(&fd)];
    let rights = [ControlMessage::ScmRights(&fds)];
    let byte = [std::io::IoSlice::new(&[0])];
    sendmsg::<()>(std::os::fd::AsRawFd::as_raw_fd(&socket), &byte, &rights, MsgFlags::empty(), None)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::parse_signal;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("HUP", 1),
            ("RTMIN+3", 37),
            ("SIGRTMAX-2", 62),
        ] {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
        for wrong in ["", "0", "65", "SIGNOPE", "-9", "RTMIN+99"] {
            parse_signal(wrong).unwrap_err();
        }
    }
}
