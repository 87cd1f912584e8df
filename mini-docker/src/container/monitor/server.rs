//! What a monitor does while its container runs: one loop over `poll(2)` for the process, its output, its input, the
//! log, and whoever visits.

mod beside;
mod guests;
mod input;
mod output;
mod turn;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Result;
use namespaces::{Exit, Init};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use syscalls::tty::{self, Size};

use crate::container::start::Attendant;
use crate::containers::Held;
use crate::engine::Engine;
use crate::health::Checker;
use crate::log;
use crate::record::Record;
use crate::terminal::{MOST_AT_ONCE, Signals, Terminal, parse_signal, pipe, set_nonblocking};
use crate::wire::{self, Door, Event, Request, Stream, Visited};
use guests::Guests;
use turn::{Source, happened};

/// So many bytes of input wait for the container; then visitors wait.
const MOST_INPUT: usize = 64 << 10;

/// So many visitors are received; others wait before the door. Each is a descriptor, of which a process usually may have
/// 1024, and those that a start needs must be left.
const MOST_GUESTS: usize = 768;

/// Longer than any machine is up.
const FOR_EVER: Duration = Duration::from_secs(3_000_000_000);

/// What the command that makes a monitor wants of it.
#[derive(Debug, Clone, Copy)]
pub struct First {
    /// It is going to show the output.
    pub attached: bool,
    /// It is going to send the input.
    pub stdin: bool,
    /// The container has a standard input even if nobody is attached (`-i`).
    pub interactive: bool,
    /// Its standard input ends with that of its first visitor.
    pub stdin_once: bool,
    /// Size of the terminal.
    pub size: Size,
}

impl First {
    /// It waits for the start, and then leaves the container alone.
    pub fn background(record: &Record) -> Self {
        Self {
            attached: false,
            stdin: false,
            interactive: record.interactive,
            stdin_once: false,
            size: crate::attach::first_size(),
        }
    }
}

/// A container's outputs, inputs and visitors.
pub(crate) struct Server {
    engine: Engine,
    id: String,
    first: First,
    door: Option<Door>,
    guests: Guests,
    log: Option<log::Writer>,
    health: Option<Checker>,
    size: Size,
    outputs: Vec<Output>,
    stdin: Option<File>,
    terminal: Option<Terminal>,
    /// Sent by visitors and not yet taken by the container.
    input: Vec<u8>,
    input_ended: bool,
    buffer: Vec<u8>,
    started: bool,
    stop_signal: i32,
    /// How long it may take to end when it is asked to. None: for ever.
    patience: Option<Duration>,
    /// The monitor itself was told to end: when the container is killed.
    leaving: Option<Instant>,
    restart_wish: bool,
}

/// One of the container's outputs.
struct Output {
    stream: Stream,
    from: File,
    /// Bytes that may still come. None: no end is known.
    left: Option<usize>,
}

impl Server {
    pub(super) fn new(engine: &Engine, held: &Held, record: &Record, first: First) -> Result<Self> {
        let log = match record.log.enabled {
            true => Some(log::Writer::open(&log::path(&held.dir, &record.id), &record.log)?),
            false => None,
        };
        Ok(Self {
            engine: engine.clone(),
            id: record.id.clone(),
            first,
            door: Some(wire::receive_visitors(&held.run_dir)?),
            guests: Guests::default(),
            log,
            health: Checker::new(engine, held, record),
            size: first.size,
            outputs: Vec::new(),
            stdin: None,
            terminal: None,
            input: Vec::new(),
            input_ended: false,
            buffer: vec![0; MOST_AT_ONCE],
            started: false,
            stop_signal: parse_signal(&record.stop_signal).unwrap_or(Signal::SIGTERM as i32),
            patience: patience(record),
            leaving: None,
            restart_wish: false,
        })
    }

    /// The command that has made the monitor is the first visitor.
    pub(super) fn welcome(&mut self, visited: Visited, first: First) {
        self.guests.first(visited, first.attached, first.stdin);
    }

    /// Before each start.
    pub(super) fn begin(&mut self, record: &Record) {
        self.stop_signal = parse_signal(&record.stop_signal).unwrap_or(Signal::SIGTERM as i32);
        self.patience = patience(record);
        self.outputs.clear();
        (self.stdin, self.terminal) = (None, None);
        self.input.clear();
        self.input_ended = false;
        self.restart_wish = false;
    }

    pub(super) fn has_started(&self) -> bool {
        self.started
    }

    /// Whether the monitor is to end with its container, whatever the restart policy says.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// It was told to end before its container's process was there to be told.
    pub(super) fn leave(&mut self) {
        self.leaving = Some(Instant::now());
    }

    /// Takes the signals that have come while there is no process to tell: was the monitor told to end?
    pub(super) fn hear_of_the_end(&mut self, signals: &Signals) {
        while let Some(number) = signals.next() {
            if ends(number) && self.leaving.is_none() {
                self.leave();
            }
        }
    }

    /// Whether a failed health check wants the container started again, whatever the restart policy says.
    pub(super) fn take_restart_wish(&mut self) -> bool {
        std::mem::take(&mut self.restart_wish)
    }

    /// Receives no visitors any more; those that are here have said what they want.
    pub(super) fn close(&mut self) {
        self.see_door();
        self.door = None;
        for index in 0..self.guests.len() {
            self.hear(index, None);
        }
    }

    /// Writes a line of the monitor's own into the log.
    pub(super) fn log_own(&mut self, text: &str) {
        self.take_output(Stream::Stderr, text.as_bytes());
        self.end_lines();
    }

    /// Tells all whom it concerns.
    pub(super) fn tell(&mut self, event: &Event) {
        self.guests.tell(event);
    }

    /// One of several ends.
    pub(super) fn tell_one_end(&mut self, code: i32) {
        self.guests.tell_one_end(code);
    }

    /// Stays until visitors have read what is for them, or have gone.
    pub(super) fn say_the_rest(mut self) {
        drop(self.log.take());
        self.guests.say_the_rest();
    }

    /// Waits before the next start. False if there shall be none.
    pub(super) fn pause(
        &mut self,
        pause: Duration,
        signals: &Signals,
        is_wanted: &dyn Fn() -> bool,
    ) -> bool {
        let until = Instant::now() + pause;
        loop {
            self.hear_of_the_end(signals);
            if self.is_leaving() || !is_wanted() {
                return false;
            }
            let now = Instant::now();
            if now >= until {
                return true;
            }
            let mut sources = vec![Source::Signals];
            let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            if let Some(door) = self.door() {
                sources.push(Source::Door);
                fds.push(PollFd::new(door.as_fd(), PollFlags::POLLIN));
            }
            self.guests.watch(true, |index, fd, flags| {
                sources.push(Source::Guest(index));
                fds.push(PollFd::new(fd, flags));
            });
            let timeout = PollTimeout::try_from(until - now).unwrap_or(PollTimeout::MAX);
            if poll(&mut fds, timeout).is_err() {
                continue;
            }
            let happened = happened(&sources, &fds);
            drop(fds);
            self.handle(&happened, None).ok();
        }
    }

    /// Where more visitors come in, if there is room for them.
    fn door(&self) -> Option<&Door> {
        self.door.as_ref().filter(|_| self.guests.len() < MOST_GUESTS)
    }

    fn see_door(&mut self) {
        while self.guests.len() < MOST_GUESTS
            && let Some(visited) = self.door.as_ref().and_then(Door::open)
        {
            self.guests.add(visited);
        }
    }

    /// What the visitors have said.
    fn hear(&mut self, index: usize, init: Option<&Init>) {
        for request in self.guests.hear(index) {
            match request {
                Request::Input(bytes) => {
                    self.input.extend_from_slice(&bytes);
                    self.feed();
                }
                Request::EndOfInput => self.end_input(),
                Request::Resize(size) => {
                    self.size = size;
                    if let Some(terminal) = &self.terminal {
                        tty::set_size(terminal.master.as_fd(), size).ok();
                    }
                }
                Request::Signal(number) => {
                    if let Some(init) = init {
                        syscalls::pidfd::send_raw(init.pidfd.as_fd(), number).ok();
                    }
                }
                // The guests know.
                Request::Attach { .. } | Request::Follow | Request::Wait | Request::Look => {}
            }
        }
    }
}

/// Whether a monitor that gets this signal is to end.
fn ends(number: i32) -> bool {
    const END: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
    END.iter().any(|signal| *signal as i32 == number)
}

/// `--stop-timeout`.
fn patience(record: &Record) -> Option<Duration> {
    let seconds = u64::try_from(record.stop_timeout.unwrap_or(10)).ok()?;
    Some(Duration::from_secs(seconds).min(FOR_EVER))
}

impl Attendant for Server {
    fn size(&self) -> Size {
        self.size
    }

    fn streams(&mut self) -> Result<[Option<OwnedFd>; 3]> {
        let mut theirs = [None, None, None];
        if self.first.interactive {
            let (from, to) = pipe()?;
            set_nonblocking(to.as_fd())?;
            theirs[0] = Some(from);
            self.stdin = Some(to.into());
        }
        for (number, stream) in [(1, Stream::Stdout), (2, Stream::Stderr)] {
            let (from, to) = pipe()?;
            set_nonblocking(from.as_fd())?;
            theirs[number] = Some(to);
            self.outputs.push(Output { stream, from: from.into(), left: None });
        }
        Ok(theirs)
    }

    fn serve(
        &mut self,
        init: &mut Init,
        signals: &Signals,
        master: Option<OwnedFd>,
    ) -> Result<Exit> {
        self.terminal = master.map(Terminal::new).transpose()?;
        if !self.started {
            self.started = true;
            self.guests.tell_first(&Event::Started);
            // From here on it waits, and waiting needs little of the program.
            syscalls::memory::let_go_of_code().ok();
        }
        self.health.iter_mut().for_each(Checker::begin);
        loop {
            if let Some(exit) = self.turn(init, signals)? {
                self.health.iter_mut().for_each(Checker::end);
                self.drain();
                return Ok(exit);
            }
        }
    }
}
