//! Those who visit a monitor: they watch and type, follow the log, or wait for the end.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::log;
use crate::wire::{Event, Request, Stream, Visited};

/// A visitor with so many bytes unread stops the container's output.
const FULL: usize = 256 << 10;

#[derive(Debug)]
struct Guest {
    line: Visited,
    /// The command that made the monitor.
    first: bool,
    /// Sees the output.
    attached: bool,
    /// Sends input.
    stdin: bool,
    follows: Option<Following>,
    waits: bool,
    gone: bool,
    /// It was handed a file, and has not said since then that it has read everything. Files that are on their way to a
    /// visitor that stands still would be on the disk for as long as it does.
    handed: bool,
    /// The last file in `unsaid` is not the one after the file before it.
    skips: bool,
    unsaid: VecDeque<(Event, Option<File>)>,
    /// Bytes of output in `unsaid`.
    bytes: usize,
}

/// How far a reader of the log is.
#[derive(Debug, PartialEq, Eq)]
enum Following {
    /// It reads what was there when it last heard of it.
    Reads,
    /// It reads, and there is more.
    Behind,
    /// It has read everything and wants to hear of more.
    Waits,
}

impl Guest {
    fn new(line: Visited) -> Self {
        Self {
            line,
            first: false,
            attached: false,
            stdin: false,
            follows: None,
            waits: false,
            gone: false,
            handed: false,
            skips: false,
            unsaid: VecDeque::new(),
            bytes: 0,
        }
    }

    fn tell(&mut self, event: Event, file: Option<File>) {
        if self.gone {
            return;
        }
        if let Event::Output(_, bytes) = &event {
            self.bytes += bytes.len();
        }
        self.unsaid.push_back((event, file));
        self.say_more();
    }

    /// Whether there is something for it that it may be told now.
    fn has_news(&self) -> bool {
        self.unsaid.front().is_some_and(|(_, file)| file.is_none() || !self.handed)
    }

    fn say_more(&mut self) {
        while self.has_news()
            && let Some((event, file)) = self.unsaid.front()
        {
            match self.line.say(event, file.as_ref().map(AsFd::as_fd)) {
                Err(Errno::EAGAIN) => return,
                Err(_) => {
                    self.gone = true;
                    self.unsaid.clear();
                    return;
                }
                Ok(()) => {}
            }
            if let Event::Output(_, bytes) = event {
                self.bytes -= bytes.len();
            }
            self.handed |= file.is_some();
            self.unsaid.pop_front();
        }
    }

    /// It has read to the end of the log, or is about to begin.
    fn follow(&mut self) {
        self.handed = false;
        match self.follows {
            None | Some(Following::Behind) => {
                self.follows = Some(Following::Reads);
                self.tell(Event::Grown, None);
            }
            Some(_) => {
                self.follows = Some(Following::Waits);
                self.say_more();
            }
        }
    }

    /// The log goes on in this file. Whoever is so many files behind goes on in the newest, and is told that it misses
    /// what is between.
    fn announce(&mut self, file: File, most: usize) {
        if self.unsaid.len() < most {
            self.skips = false;
            self.tell(Event::Rotated, Some(file));
        } else if !self.skips {
            self.skips = true;
            self.tell(Event::Say(MISSED.to_owned()), None);
            self.tell(Event::Rotated, Some(file));
        } else if let Some(last) = self.unsaid.iter_mut().rfind(|(_, file)| file.is_some()) {
            last.1 = Some(file);
        }
    }

    fn see_growth(&mut self) {
        if self.follows == Some(Following::Waits) {
            self.follows = Some(Following::Reads);
            self.tell(Event::Grown, None);
        } else if self.follows.is_some() {
            self.follows = Some(Following::Behind);
        }
    }
}

/// A follower must know that it does not see everything.
const MISSED: &str = "mini-docker: warning: lines are missing here: the log was rotated faster than it was read\n\
                      hint: a larger --log-opt max-size rotates less often";

/// All visitors.
#[derive(Debug, Default)]
pub(super) struct Guests {
    guests: Vec<Guest>,
}

impl Guests {
    pub(super) fn first(&mut self, line: Visited, attached: bool, stdin: bool) {
        self.guests.push(Guest { first: true, attached, stdin, ..Guest::new(line) });
    }

    pub(super) fn add(&mut self, line: Visited) {
        self.guests.push(Guest::new(line));
    }

    pub(super) fn len(&self) -> usize {
        self.guests.len()
    }

    /// What to poll for.
    pub(super) fn watch<'a>(
        &'a self,
        hears: bool,
        mut watch: impl FnMut(usize, BorrowedFd<'a>, PollFlags),
    ) {
        for (index, guest) in self.guests.iter().enumerate() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, hears || !guest.stdin);
            flags.set(PollFlags::POLLOUT, guest.has_news());
            watch(index, guest.line.as_fd(), flags);
        }
    }

    /// Whether somebody is too far behind.
    pub(super) fn are_full(&self) -> bool {
        self.guests.iter().any(|guest| guest.bytes >= FULL)
    }

    /// What a visitor has said to the container.
    pub(super) fn hear(&mut self, index: usize) -> Vec<Request> {
        let guest = &mut self.guests[index];
        let mut heard = Vec::new();
        // A few at a time: whoever types fast must not keep the others waiting.
        for _ in 0..4 {
            match guest.line.hear() {
                Ok(Some(Request::Attach { stdin })) => {
                    (guest.attached, guest.stdin) = (true, stdin);
                }
                Ok(Some(Request::Follow)) => guest.follow(),
                Ok(Some(Request::Wait)) => guest.waits = true,
                Ok(Some(request)) => heard.push(request),
                Err(Errno::EAGAIN) => break,
                Ok(None) | Err(_) => {
                    guest.gone = true;
                    break;
                }
            }
        }
        heard
    }

    pub(super) fn say_more(&mut self, index: usize) {
        self.guests[index].say_more();
    }

    /// Forgets those that have gone. Whether one of them sent the input.
    pub(super) fn take_gone(&mut self) -> bool {
        let stdin = self.guests.iter().any(|guest| guest.gone && guest.stdin);
        self.guests.retain(|guest| !guest.gone);
        stdin
    }

    pub(super) fn tell_first(&mut self, event: &Event) {
        for guest in self.guests.iter_mut().filter(|guest| guest.first) {
            guest.tell(event.clone(), None);
        }
    }

    pub(super) fn tell_output(&mut self, stream: Stream, bytes: &[u8]) {
        for guest in self.guests.iter_mut().filter(|guest| guest.attached) {
            guest.tell(Event::Output(stream, bytes.to_vec()), None);
        }
    }

    /// Tells those who see the output. The end is told to all: who has just come may not have said yet what for.
    pub(super) fn tell(&mut self, event: &Event) {
        let ends = matches!(event, Event::Exited(_));
        for guest in &mut self.guests {
            if guest.attached || guest.first || ends {
                guest.tell(event.clone(), None);
            }
        }
    }

    /// Its process has ended, and is going to be started again: those who waited for that, or have seen it, want no
    /// other end; those who follow the log do.
    pub(super) fn tell_one_end(&mut self, code: i32) {
        for guest in self.guests.iter_mut().filter(|guest| guest.attached || guest.waits) {
            guest.tell(Event::Exited(code), None);
            (guest.attached, guest.waits, guest.stdin, guest.first) = (false, false, false, false);
        }
    }

    pub(super) fn tell_followers(&mut self, log: &mut log::Writer) {
        let (rotated, most) = (log.take_rotated(), log.most_behind());
        for guest in self.guests.iter_mut().filter(|guest| guest.follows.is_some()) {
            for file in &rotated {
                if let Ok(file) = file.try_clone() {
                    guest.announce(file, most);
                }
            }
            guest.see_growth();
        }
    }

    /// Stays until everybody has read what is for them, or has gone.
    pub(super) fn say_the_rest(&mut self) {
        loop {
            self.guests.retain(|guest| !guest.gone && !guest.unsaid.is_empty());
            if self.guests.is_empty() {
                return;
            }
            let mut fds: Vec<PollFd<'_>> = self
                .guests
                .iter()
                .map(|guest| {
                    let mut flags = PollFlags::POLLIN;
                    flags.set(PollFlags::POLLOUT, guest.has_news());
                    PollFd::new(guest.line.as_fd(), flags)
                })
                .collect();
            let polled = poll(&mut fds, PollTimeout::NONE);
            drop(fds);
            if !matches!(polled, Ok(_) | Err(Errno::EINTR)) {
                return;
            }
            for index in 0..self.guests.len() {
                // A follower says when it is ready for the next file. Nobody takes what others say.
                self.hear(index);
                self.guests[index].say_more();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::pair;

    fn file() -> File {
        File::open("/proc/self/comm").unwrap()
    }

    /// All that can be heard now: `g`rown, `r`otated, `s`aid.
    fn heard(visitor: &crate::wire::Visitor) -> String {
        let mut heard = String::new();
        loop {
            let mut fds = [PollFd::new(visitor.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::ZERO) != Ok(1) {
                return heard;
            }
            heard.push(match visitor.hear().unwrap() {
                Some((Event::Grown, None)) => 'g',
                Some((Event::Rotated, Some(_))) => 'r',
                Some((Event::Say(_), None)) => 's',
                Some((Event::Exited(0), None)) => 'x',
                None => return heard,
                other => panic!("{other:?}"),
            });
        }
    }

    #[test]
    fn a_follower_that_stands_still_is_handed_one_file() {
        let (visitor, visited) = pair().unwrap();
        let mut guests = Guests::default();
        guests.add(visited);
        visitor.say(&Request::Follow).unwrap();
        guests.hear(0);
        assert_eq!(heard(&visitor), "g");
        for _ in 0..100 {
            guests.guests[0].announce(file(), 4);
        }
        // One on its way, four that wait, and the newest in the place of all others.
        assert_eq!(guests.guests[0].unsaid.iter().filter(|(_, file)| file.is_some()).count(), 5);
        assert_eq!(heard(&visitor), "r");
        assert!(!guests.guests[0].has_news());
        guests.tell(&Event::Exited(0));
        for expected in ["r", "r", "r", "rs"] {
            visitor.say(&Request::Follow).unwrap();
            guests.hear(0);
            assert_eq!(heard(&visitor), expected);
        }
        // The last look at what is there is taken after the container's end, too.
        std::thread::scope(|scope| {
            scope.spawn(|| guests.say_the_rest());
            visitor.say(&Request::Follow).unwrap();
            let mut last = String::new();
            while last.len() < 2 {
                last.push_str(&heard(&visitor));
            }
            assert_eq!(last, "rx");
        });
    }
}
