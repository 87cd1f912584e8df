//! The user's side of a container: signals, terminal, pipes. One loop over `poll(2)` does all of it.
//!
//! With `-t` the container has a terminal of its own, and the loop carries between it and the user's. Without, the
//! container writes to the user's pipes directly, and what is no pipe is carried ([`Streams`]).

mod signals;
mod streams;

use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use namespaces::{Exit, Init};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::termios::{self, SetArg, Termios};
use syscalls::tty::{self, Size};

use crate::container::start::Attendant;

pub use signals::{Signals, parse_signal};
pub(crate) use streams::{Carried, pipe, set_nonblocking, take, write_all};
use streams::{Copy, Target};
pub use streams::{PIPEFS, Streams, is_null};

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
fn serve(
    init: &mut Init,
    signals: &Signals,
    streams: Streams,
    master: Option<OwnedFd>,
    interactive: bool,
) -> Result<Exit> {
    // Without a terminal, and with a pipe of the user's, the container has our standard input itself.
    let reads = interactive && (master.is_some() || streams.input.is_some());
    let carries = reads || master.is_some() || !streams.copies.is_empty();
    let mut carrier = Carrier {
        copies: streams.copies,
        input: streams.input,
        terminal: master.map(Terminal::new).transpose()?,
        keys: Vec::new(),
        stdin_open: reads,
        ended: None,
        buffer: vec![0; if carries { MOST_AT_ONCE } else { 0 }],
    };
    // Those that came during the start.
    carrier.forward_signals(init, signals);
    loop {
        carrier.turn(init, signals)?;
        if let Some(exit) = carrier.ended
            && carrier.drained()
        {
            return Ok(exit);
        }
    }
}

/// The user's side of a container that runs in the foreground without a monitor.
#[derive(Debug, Default)]
pub struct Foreground {
    /// `-i`.
    pub interactive: bool,
    streams: Streams,
}

impl Foreground {
    /// For a container with this standard input.
    pub fn new(interactive: bool) -> Self {
        Self { interactive, streams: Streams::default() }
    }
}

impl Attendant for Foreground {
    fn size(&self) -> Size {
        size().unwrap_or(Size { rows: 24, cols: 80 })
    }

    fn streams(&mut self) -> Result<[Option<OwnedFd>; 3]> {
        self.streams = Streams::plain(self.interactive)?;
        Ok(std::mem::take(&mut self.streams.child))
    }

    fn serve(
        &mut self,
        init: &mut Init,
        signals: &Signals,
        master: Option<OwnedFd>,
    ) -> Result<Exit> {
        let raw = (master.is_some() && self.interactive).then(Raw::enter).transpose()?;
        let exit =
            serve(init, signals, std::mem::take(&mut self.streams), master, self.interactive);
        drop(raw);
        exit
    }
}

/// As much as a pipe holds, unless somebody has changed that (pipe(7)).
pub(crate) const MOST_AT_ONCE: usize = 64 << 10;

/// More than the kernel keeps of what was written to a terminal and not yet read (`tty_buffer.c`: 640 KiB).
const MOST_IN_TERMINAL: usize = 1 << 20;

/// The container's terminal, seen from its master side.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) master: File,
    /// The container's side, held open: while nobody had it open (a program that closes its streams), poll would
    /// report a hang-up without a pause.
    peer: Result<OwnedFd, Errno>,
    /// Bytes that may still come. None: no end is known.
    left: Option<usize>,
    /// The container lives on if nobody looks at its terminal any more.
    seen: bool,
}

/// What came of a look at a container's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Took {
    /// So many bytes.
    Bytes(usize),
    /// Nothing at the moment.
    Nothing,
    /// Nothing any more.
    End,
}

impl Terminal {
    pub(crate) fn new(master: OwnedFd) -> Result<Self> {
        set_nonblocking(master.as_fd())?;
        let peer = tty::open_peer(master.as_fd());
        Ok(Self { master: master.into(), peer, left: None, seen: true })
    }

    /// Process 1 has ended: only what is in the terminal still comes.
    pub(crate) fn end(&mut self) {
        self.left = Some(MOST_IN_TERMINAL);
    }

    /// Reads what is there.
    pub(crate) fn take(&mut self, buffer: &mut [u8]) -> Took {
        match take(&self.master, buffer, &mut self.left) {
            Ok(length) if length > 0 => Took::Bytes(length),
            Err(Errno::EAGAIN | Errno::EINTR) => Took::Nothing,
            // EIO: nobody has the other side open. After the end nobody will.
            _ if self.left.is_some() => Took::End,
            // Before it, somebody has hung up (vhangup(2)), which threw us out too.
            _ => {
                self.peer = tty::open_peer(self.master.as_fd());
                if self.peer.is_err() {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                Took::Nothing
            }
        }
    }

    /// Copies what is there; false at the end.
    fn copy_some(&mut self, buffer: &mut [u8]) -> bool {
        match self.take(buffer) {
            Took::Bytes(length) => {
                self.seen = self.seen && Target::Stdout.write_all(&buffer[..length]).is_ok();
                true
            }
            Took::Nothing => true,
            Took::End => false,
        }
    }
}

/// What is carried between the user and the container.
struct Carrier {
    copies: Vec<Copy>,
    input: Option<File>,
    terminal: Option<Terminal>,
    /// Read from the user and not yet taken by the container.
    keys: Vec<u8>,
    stdin_open: bool,
    ended: Option<Exit>,
    buffer: Vec<u8>,
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
        self.copies.is_empty() && self.terminal.is_none()
    }

    /// One turn: wait for something to happen and carry it.
    fn turn(&mut self, init: &mut Init, signals: &Signals) -> Result<()> {
        let stdin = std::io::stdin();
        let lives = self.ended.is_none();
        let mut sources = Vec::with_capacity(6);
        let mut fds = Vec::with_capacity(6);
        let mut watch = |source, fd, events| {
            sources.push(source);
            fds.push(PollFd::new(fd, events));
        };
        // Nobody takes keys and signals after the end.
        if lives {
            watch(Source::Exit, init.pidfd.as_fd(), PollFlags::POLLIN);
            watch(Source::Signals, signals.as_fd(), PollFlags::POLLIN);
        }
        // Keys are read as fast as the container takes them: a large paste waits in the user's terminal.
        if lives && self.stdin_open && self.keys.is_empty() {
            watch(Source::Stdin, stdin.as_fd(), PollFlags::POLLIN);
        }
        let has_keys = lives && !self.keys.is_empty();
        if let Some(terminal) = &self.terminal {
            let keys = if has_keys { PollFlags::POLLOUT } else { PollFlags::empty() };
            watch(Source::Master, terminal.master.as_fd(), PollFlags::POLLIN | keys);
        }
        if let Some(input) = self.input.as_ref().filter(|_| has_keys) {
            watch(Source::Input, input.as_fd(), PollFlags::POLLOUT);
        }
        for (index, copy) in self.copies.iter().enumerate() {
            watch(Source::Copy(index), copy.from.as_fd(), PollFlags::POLLIN);
        }
        // After the end, what is still in the pipes is there at once; a process that was left with them (a shared pid
        // namespace) must not keep us.
        let timeout = if lives { PollTimeout::NONE } else { PollTimeout::ZERO };
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
        if ready == 0 && !lives {
            self.copies.clear();
            self.terminal = None;
            return Ok(());
        }
        // Pipes that close shift the others: from the last to the first.
        for (source, events) in happened.into_iter().rev() {
            match source {
                Source::Exit => self.see_exit(init)?,
                Source::Signals => self.forward_signals(init, signals),
                Source::Stdin => self.read_keys(),
                Source::Master => self.serve_terminal(events),
                Source::Input => self.feed(),
                Source::Copy(index) => {
                    if !self.copies[index].some(&mut self.buffer) {
                        self.copies.remove(index);
                    }
                }
            }
        }
        Ok(())
    }

    /// From now on only what the container has left in its pipes is carried.
    fn see_exit(&mut self, init: &mut Init) -> Result<()> {
        self.ended = init.try_wait()?;
        if self.ended.is_some() {
            self.copies.iter_mut().for_each(Copy::end);
            if let Some(terminal) = &mut self.terminal {
                terminal.end();
            }
        }
        Ok(())
    }

    fn forward_signals(&mut self, init: &Init, signals: &Signals) {
        while let Some(number) = signals.next() {
            if number == Signal::SIGWINCH as i32
                && let Some(terminal) = &self.terminal
            {
                if let Some(size) = size() {
                    tty::set_size(terminal.master.as_fd(), size).ok();
                }
                continue;
            }
            // ESRCH: it has just ended, which the next turn sees.
            syscalls::pidfd::send_raw(init.pidfd.as_fd(), number).ok();
        }
    }

    fn read_keys(&mut self) {
        match nix::unistd::read(std::io::stdin().as_fd(), &mut self.buffer) {
            Ok(0) => {
                // The end of input: a terminal says it with ctrl-d, a pipe by being closed.
                if self.terminal.is_some() {
                    self.keys.push(4);
                }
                self.close_input();
            }
            Ok(length) => self.keys.extend_from_slice(&self.buffer[..length]),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.close_input(),
        }
    }

    fn close_input(&mut self) {
        self.input = None;
        self.stdin_open = false;
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
                self.close_input();
            }
        }
    }

    fn serve_terminal(&mut self, events: PollFlags) {
        let Some(terminal) = &mut self.terminal else { return };
        if events.contains(PollFlags::POLLOUT) {
            match terminal.master.write(&self.keys) {
                Ok(length) => drop(self.keys.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.keys.clear(),
            }
        }
        if events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR)
            && !terminal.copy_some(&mut self.buffer)
        {
            self.terminal = None;
        }
    }
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
