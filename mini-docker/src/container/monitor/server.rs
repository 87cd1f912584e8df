//! What a monitor does while its container runs: one loop over `poll(2)` for the process, its output, its input, the
//! log, and whoever visits.

mod beside;
mod guests;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use namespaces::{Exit, Init};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use syscalls::tty::{self, Size};

use crate::container::act;
use crate::container::start::Attendant;
use crate::containers::Held;
use crate::engine::Engine;
use crate::health::Checker;
use crate::log;
use crate::record::Record;
use crate::terminal::{
    MOST_AT_ONCE, Signals, Terminal, Took, parse_signal, pipe, set_nonblocking, take,
};
use crate::wire::{self, Door, Event, Request, Stream, Visited};
use guests::Guests;

/// So many bytes of input wait for the container; then visitors wait.
const MOST_INPUT: usize = 64 << 10;

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

/// What poll has to say of whom.
#[derive(Clone, Copy)]
enum Source {
    Exit,
    Signals,
    Door,
    Guest(usize),
    Output(usize),
    Terminal,
    Stdin,
    Health,
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
    pub(super) fn pause(&mut self, pause: Duration, is_wanted: &dyn Fn() -> bool) -> bool {
        let until = Instant::now() + pause;
        loop {
            if !is_wanted() {
                return false;
            }
            let now = Instant::now();
            if now >= until {
                return true;
            }
            let (mut sources, mut fds) = (Vec::new(), Vec::new());
            if let Some(door) = &self.door {
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

    fn see_door(&mut self) {
        while let Some(visited) = self.door.as_ref().and_then(Door::open) {
            self.guests.add(visited);
        }
    }

    /// What the visitors have said.
    fn hear(&mut self, index: usize, init: Option<&Init>) {
        for request in self.guests.hear(index) {
            match request {
                Request::Input(bytes) => self.input.extend_from_slice(&bytes),
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

    /// The end of input: a terminal says it with ctrl-d, a pipe by being closed.
    fn end_input(&mut self) {
        if self.terminal.is_some() {
            self.input.push(4);
        } else if self.first.stdin_once {
            self.input_ended = true;
            self.feed();
        }
    }

    /// Gives the container what it is to read, as much as it takes.
    fn feed(&mut self) {
        let to = self.terminal.as_ref().map(|terminal| &terminal.master).or(self.stdin.as_ref());
        if let Some(mut to) = to
            && !self.input.is_empty()
        {
            match to.write(&self.input) {
                Ok(length) => drop(self.input.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The container has closed it.
                Err(_) => {
                    self.input.clear();
                    self.stdin = None;
                }
            }
        }
        if self.input_ended && self.input.is_empty() {
            self.stdin = None;
        }
    }

    /// Reads an output. False at its end.
    fn read_output(&mut self, index: usize) -> bool {
        let output = &mut self.outputs[index];
        let stream = output.stream;
        match take(&output.from, &mut self.buffer, &mut output.left) {
            Ok(0) => false,
            Ok(length) => {
                self.take_buffer(stream, length);
                true
            }
            Err(errno) => matches!(errno, Errno::EAGAIN | Errno::EINTR),
        }
    }

    fn read_terminal(&mut self) -> bool {
        let Some(terminal) = &mut self.terminal else { return false };
        match terminal.take(&mut self.buffer) {
            Took::Bytes(length) => self.take_buffer(Stream::Stdout, length),
            Took::Nothing => {}
            Took::End => self.terminal = None,
        }
        true
    }

    fn take_buffer(&mut self, stream: Stream, length: usize) {
        let buffer = std::mem::take(&mut self.buffer);
        self.take_output(stream, &buffer[..length]);
        self.buffer = buffer;
    }

    /// What the container has written goes into the log and to the visitors.
    fn take_output(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            log.write(stream, bytes);
            self.guests.tell_followers(log);
        }
        self.guests.tell_output(stream, bytes);
    }

    fn end_lines(&mut self) {
        if let Some(log) = &mut self.log {
            log.end();
            self.guests.tell_followers(log);
        }
    }

    fn handle(&mut self, happened: &[(Source, PollFlags)], init: Option<&Init>) -> Result<()> {
        // What closes shifts the others: from the last to the first.
        for (source, events) in happened.iter().rev() {
            match *source {
                Source::Exit | Source::Signals | Source::Health => {}
                Source::Door => self.see_door(),
                Source::Guest(index) => {
                    if events.contains(PollFlags::POLLOUT) {
                        self.guests.say_more(index);
                    }
                    if events
                        .intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR)
                    {
                        self.hear(index, init);
                    }
                }
                Source::Output(index) => {
                    if !self.read_output(index) {
                        self.outputs.remove(index);
                    }
                }
                Source::Terminal => {
                    if events.contains(PollFlags::POLLOUT) {
                        self.feed();
                    }
                    if events
                        .intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR)
                    {
                        self.read_terminal();
                    }
                }
                Source::Stdin => self.feed(),
            }
        }
        if self.guests.take_gone() {
            self.end_input_of_gone();
        }
        Ok(())
    }

    /// Who has sent the input has gone without a word: without a terminal nobody comes after.
    fn end_input_of_gone(&mut self) {
        if self.terminal.is_none() {
            self.end_input();
        }
    }

    /// The monitor was told to end, by a shutdown of the machine perhaps: so is its container, politely first.
    fn see_signals(&mut self, init: &Init, signals: &Signals) {
        const END: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
        while let Some(number) = signals.next() {
            if END.iter().any(|signal| *signal as i32 == number) && self.leaving.is_none() {
                self.leaving = Some(Instant::now() + self.patience.unwrap_or(FOR_EVER));
                syscalls::pidfd::send_raw(init.pidfd.as_fd(), self.stop_signal).ok();
                // What stands still hears nothing.
                act::thaw(&self.engine, &self.id).ok();
            }
        }
    }

    /// One turn: wait for something to happen and carry it.
    fn turn(&mut self, init: &mut Init, signals: &Signals) -> Result<Option<Exit>> {
        let (mut sources, mut fds) = (Vec::with_capacity(8), Vec::with_capacity(8));
        let mut watch = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::new(fd, flags));
        };
        watch(Source::Exit, init.pidfd.as_fd(), PollFlags::POLLIN);
        watch(Source::Signals, signals.as_fd(), PollFlags::POLLIN);
        if let Some(door) = &self.door {
            watch(Source::Door, door.as_fd(), PollFlags::POLLIN);
        }
        let hears = self.input.len() < MOST_INPUT;
        self.guests.watch(hears, |index, fd, flags| watch(Source::Guest(index), fd, flags));
        // A visitor that does not read stops the container's writing, as a full pipe would.
        let reads = !self.guests.are_full();
        let wants_input = !self.input.is_empty();
        if reads {
            for (index, output) in self.outputs.iter().enumerate() {
                watch(Source::Output(index), output.from.as_fd(), PollFlags::POLLIN);
            }
        }
        if let Some(terminal) = &self.terminal {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, reads);
            flags.set(PollFlags::POLLOUT, wants_input);
            if !flags.is_empty() {
                watch(Source::Terminal, terminal.master.as_fd(), flags);
            }
        }
        if let Some(stdin) = self.stdin.as_ref().filter(|_| wants_input) {
            watch(Source::Stdin, stdin.as_fd(), PollFlags::POLLOUT);
        }
        for fd in self.health.iter().flat_map(Checker::fds) {
            watch(Source::Health, fd, PollFlags::POLLIN);
        }
        let check = self.health.as_ref().and_then(Checker::deadline);
        let timeout = match self.leaving.into_iter().chain(check).min() {
            Some(until) => PollTimeout::try_from(until.saturating_duration_since(Instant::now()))
                .unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => return Ok(None),
            other => other.context("wait for the container")?,
        };
        let happened = happened(&sources, &fds);
        drop(fds);
        if self.leaving.is_some_and(|until| Instant::now() >= until) {
            syscalls::pidfd::send_raw(init.pidfd.as_fd(), Signal::SIGKILL as i32).ok();
            act::thaw(&self.engine, &self.id).ok();
            self.leaving = Some(Instant::now() + Duration::from_secs(10));
        }
        self.see_signals(init, signals);
        self.handle(&happened, Some(init))?;
        if let Some(health) = &mut self.health {
            self.restart_wish |= health.turn(init, self.stop_signal);
        }
        if happened.iter().any(|(source, _)| matches!(source, Source::Exit)) {
            return Ok(init.try_wait()?);
        }
        Ok(None)
    }

    /// The process has ended: what it has left in its pipes is all that still comes.
    fn drain(&mut self) {
        for output in &mut self.outputs {
            let capacity = nix::fcntl::fcntl(&output.from, nix::fcntl::FcntlArg::F_GETPIPE_SZ);
            output.left =
                Some(capacity.ok().and_then(|size| usize::try_from(size).ok()).unwrap_or(0));
        }
        for index in (0..self.outputs.len()).rev() {
            loop {
                let before = self.outputs[index].left;
                // Nothing was read: it is empty, though another process may still have it open.
                if !self.read_output(index) || self.outputs[index].left == before {
                    break;
                }
            }
        }
        self.outputs.clear();
        if let Some(terminal) = &mut self.terminal {
            terminal.end();
        }
        while let Some(terminal) = &mut self.terminal {
            match terminal.take(&mut self.buffer) {
                Took::Bytes(length) => self.take_buffer(Stream::Stdout, length),
                Took::Nothing | Took::End => self.terminal = None,
            }
        }
        self.end_lines();
    }
}

/// `--stop-timeout`.
fn patience(record: &Record) -> Option<Duration> {
    let seconds = u64::try_from(record.stop_timeout.unwrap_or(10)).ok()?;
    Some(Duration::from_secs(seconds).min(FOR_EVER))
}

fn happened(sources: &[Source], fds: &[PollFd<'_>]) -> Vec<(Source, PollFlags)> {
    sources
        .iter()
        .copied()
        .zip(fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())))
        .filter(|(_, events)| !events.is_empty())
        .collect()
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
