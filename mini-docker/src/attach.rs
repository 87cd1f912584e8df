//! A container and the user who sits before it: what it writes, what the user types, and signals. The monitor is at the
//! other end of the line.

mod keys;

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};
use syscalls::tty::Size;

use crate::containers::Containers;
use crate::engine::Engine;
use crate::failure::{self, Failure};
use crate::record::Record;
use crate::terminal::{self, MOST_AT_ONCE, Raw, Signals, write_all};
use crate::wire::{self, Event, Request, Stream, Visitor};
pub use keys::Keys;

/// A program has so long to see that its terminal has changed.
const TIME_TO_LOOK: Duration = Duration::from_millis(50);

/// How a user is attached.
#[derive(Debug)]
pub struct Manner {
    /// The container reads what the user types.
    pub stdin: bool,
    /// The container has a terminal.
    pub terminal: bool,
    /// Signals that come here are the container's. Not while keys come from a terminal: there ctrl-c is one of them.
    pub sig_proxy: bool,
    /// What the user types to leave the container alone.
    pub detach_keys: Keys,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parting {
    /// The container's process has ended with this code.
    Exited(i32),
    /// It could not be started.
    Failed(Failure),
    /// The user has left.
    Detached,
    /// This signal has ended the visit; the container runs on.
    Signalled(i32),
}

/// Shows what the container writes and sends it what the user types, until one of them goes.
///
/// # Errors
/// If the monitor dies, or the terminal cannot be used.
pub fn attend(visitor: &Visitor, manner: Manner) -> Result<Parting> {
    let signals = Signals::collect_for_terminal()?;
    let keys_from_terminal = manner.terminal && manner.stdin && std::io::stdin().is_terminal();
    let mut visit = Visit {
        visitor,
        reads: manner.stdin,
        raw: None,
        unsaid: None,
        buffer: vec![0; MOST_AT_ONCE],
        signals,
        keys_from_terminal,
        manner,
    };
    if keys_from_terminal {
        visit.raw = Some(Raw::enter()?);
    }
    let parting = visit.go();
    drop(visit.raw.take());
    parting
}

struct Visit<'v> {
    visitor: &'v Visitor,
    manner: Manner,
    signals: Signals,
    /// The user's terminal sends keys, not lines.
    keys_from_terminal: bool,
    raw: Option<Raw>,
    /// Standard input is open.
    reads: bool,
    /// The monitor was too busy to hear it.
    unsaid: Option<Request>,
    buffer: Vec<u8>,
}

impl Visit<'_> {
    fn go(&mut self) -> Result<Parting> {
        loop {
            if let Some(parting) = self.turn()? {
                return Ok(parting);
            }
        }
    }

    fn turn(&mut self) -> Result<Option<Parting>> {
        let stdin = std::io::stdin();
        let mut line = PollFlags::POLLIN;
        line.set(PollFlags::POLLOUT, self.unsaid.is_some());
        let mut fds = vec![
            PollFd::new(self.visitor.as_fd(), line),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        // A large paste waits in the user's terminal until the container takes it.
        if self.reads && self.unsaid.is_none() {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => return Ok(None),
            other => other.context("wait for the container")?,
        };
        let happened =
            |index: usize| fds.get(index).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        let (line, signals, keys) = (happened(0), happened(1), happened(2));
        drop(fds);
        if line.contains(PollFlags::POLLOUT)
            && let Some(request) = self.unsaid.take()
        {
            self.say(request);
        }
        if !signals.is_empty()
            && let Some(parting) = self.see_signals()?
        {
            return Ok(Some(parting));
        }
        if !keys.is_empty() && self.read_keys() {
            return Ok(Some(Parting::Detached));
        }
        if line.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            return self.hear();
        }
        Ok(None)
    }

    fn say(&mut self, request: Request) {
        if let Err(Errno::EAGAIN) = self.visitor.try_say(&request) {
            self.unsaid = Some(request);
        }
    }

    fn hear(&mut self) -> Result<Option<Parting>> {
        let heard = self.visitor.hear().context("hear the monitor")?;
        match heard.map(|(event, _)| event) {
            Some(Event::Output(Stream::Stdout, bytes)) => {
                match write_all(std::io::stdout().as_fd(), &bytes) {
                    Ok(()) => {}
                    // Nobody reads any more, as in `run ... | head`. The container and its log go on.
                    Err(Errno::EPIPE | Errno::EIO) => {
                        return Ok(Some(Parting::Signalled(Signal::SIGPIPE as i32)));
                    }
                    Err(errno) => {
                        return Err(Failure::new(format!(
                            "cannot write standard output: {}",
                            errno.desc()
                        ))
                        .hint("the container goes on; `mini-docker logs` has what it writes")
                        .into());
                    }
                }
            }
            Some(Event::Output(Stream::Stderr, bytes)) => {
                write_all(std::io::stderr().as_fd(), &bytes).ok();
            }
            Some(Event::Say(text)) => {
                // The words are lines for a terminal that is not raw.
                self.raw = None;
                failure::tell(&text);
            }
            Some(Event::Exited(code)) => return Ok(Some(Parting::Exited(code))),
            Some(Event::Failed(failure)) => return Ok(Some(Parting::Failed(failure))),
            Some(Event::Started | Event::Grown | Event::Rotated) => {}
            None => return Err(dead()),
        }
        Ok(None)
    }

    /// Sends what the user has typed. True if that was to leave.
    fn read_keys(&mut self) -> bool {
        match nix::unistd::read(std::io::stdin().as_fd(), &mut self.buffer) {
            Ok(0) => {
                self.reads = false;
                self.say(Request::EndOfInput);
            }
            Ok(length) if self.manner.terminal => {
                let (bytes, leaves) = self.manner.detach_keys.pass(&self.buffer[..length]);
                if !bytes.is_empty() {
                    self.say(Request::Input(bytes));
                }
                return leaves;
            }
            Ok(length) => self.say(Request::Input(self.buffer[..length].to_vec())),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => {
                self.reads = false;
                self.say(Request::EndOfInput);
            }
        }
        false
    }

    fn see_signals(&mut self) -> Result<Option<Parting>> {
        while let Some(number) = self.signals.next() {
            match Signal::try_from(number) {
                Ok(Signal::SIGWINCH) => {
                    if let Some(size) = terminal::size().filter(|_| self.manner.terminal) {
                        self.visitor.try_say(&Request::Resize(size)).ok();
                    }
                }
                Ok(Signal::SIGCONT) => {}
                Ok(Signal::SIGTSTP) => self.stand_still()?,
                _ if self.manner.sig_proxy && !self.keys_from_terminal => {
                    self.visitor.say(&Request::Signal(number)).ok();
                }
                Ok(Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT) => {
                    return Ok(Some(Parting::Signalled(number)));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Stops as the shell wants it, with the terminal as it was; goes on when the shell says so.
    fn stand_still(&mut self) -> Result<()> {
        let was_raw = self.raw.take().is_some();
        raise(Signal::SIGSTOP).context("stop")?;
        if was_raw {
            self.raw = Some(Raw::enter()?);
        }
        if let Some(size) = terminal::size().filter(|_| self.manner.terminal) {
            self.visitor.try_say(&Request::Resize(size)).ok();
        }
        Ok(())
    }
}

/// Waits until the container runs.
///
/// # Errors
/// What kept it from starting.
pub fn until_started(visitor: &Visitor) -> Result<()> {
    loop {
        match visitor.hear().context("hear the monitor")?.map(|(event, _)| event) {
            Some(Event::Started) => return Ok(()),
            Some(Event::Failed(failure)) => return Err(failure.into()),
            Some(_) => {}
            None => return Err(dead()),
        }
    }
}

/// Attends a container that is being started until one of both goes. Returns the exit code for the user's shell.
///
/// # Errors
/// What kept it from starting, or what came between.
pub fn see_through(visitor: &Visitor, manner: Manner) -> Result<u8> {
    match attend(visitor, manner)? {
        Parting::Exited(code) => Ok(code as u8),
        Parting::Failed(failure) => Err(failure.into()),
        Parting::Signalled(number) => Ok(128 + number as u8),
        Parting::Detached => {
            // Docker's words. They end the line on which the container has left the cursor.
            failure::tell("read escape sequence");
            Ok(0)
        }
    }
}

/// Attends a container that runs already.
///
/// # Errors
/// If it has no monitor, or what came between.
pub fn join(engine: &Engine, record: &Record, manner: Manner) -> Result<u8> {
    let run_dir = Containers::new(engine).run_dir(&record.id);
    let Some(visitor) = wire::visit(&run_dir)? else {
        let failure = match record.pid() {
            Some(_) => Failure::new(format!("cannot attach to container {}", record.name))
                .hint("it belongs to the `run --rm` that started it; with -d or -t a container has a monitor"),
            None => Failure::new(format!("container {} is not running", record.name))
                .hint(format!("start it: mini-docker start -a {}", record.name)),
        };
        return Err(failure.into());
    };
    visitor.say(&Request::Attach { stdin: manner.stdin }).context("speak to the monitor")?;
    if manner.terminal {
        redraw(&visitor);
    }
    see_through(&visitor, manner)
}

/// The keys that end a visit: as given, or the usual ones.
///
/// # Errors
/// If there are no such keys.
pub fn detach_keys(given: Option<&str>) -> Result<Keys> {
    Ok(given.map(Keys::parse).transpose()?.unwrap_or_default())
}

/// The size that a container's terminal has at first: that of the user's, if there is one.
pub fn first_size() -> Size {
    terminal::size().unwrap_or(Size { rows: 24, cols: 80 })
}

fn dead() -> anyhow::Error {
    Failure::new("the container's monitor has ended")
        .hint("it was killed, and the container with it: see `mini-docker ps -a`")
        .into()
}

/// Makes a full-screen program draw its picture anew: its terminal changes its size, and back.
fn redraw(visitor: &Visitor) {
    if let Some(Size { rows, cols }) = terminal::size() {
        visitor.say(&Request::Resize(Size { rows: rows.saturating_add(1), cols })).ok();
        // A program that looks only when both have happened sees the size that it knows, and draws nothing.
        std::thread::sleep(TIME_TO_LOOK);
        visitor.say(&Request::Resize(Size { rows, cols })).ok();
    }
}
