//! A process that was started beside a container's first one (`exec`): no log, and no visitor but the command that has
//! started it.

use std::os::fd::OwnedFd;

use namespaces::Init;
use nix::sys::signal::Signal;

use super::{First, Guests, Output, Server};
use crate::engine::Engine;
use crate::failure;
use crate::terminal::{Carried, MOST_AT_ONCE, Signals, Terminal};
use crate::wire::{Event, Visited};

impl Server {
    /// For the process whose streams are these.
    pub(crate) fn beside(
        engine: &Engine,
        id: &str,
        first: First,
        visited: Visited,
        carried: Carried,
    ) -> Self {
        let outputs = carried.outputs.into_iter();
        let mut server = Self {
            engine: engine.clone(),
            id: id.to_owned(),
            first,
            door: None,
            guests: Guests::default(),
            log: None,
            health: None,
            size: first.size,
            outputs: outputs.map(|(stream, from)| Output { stream, from, left: None }).collect(),
            stdin: carried.input,
            terminal: None,
            input: Vec::new(),
            input_ended: false,
            buffer: vec![0; MOST_AT_ONCE],
            started: true,
            stop_signal: Signal::SIGTERM as i32,
            patience: None,
            leaving: None,
            restart_wish: false,
        };
        server.welcome(visited, first);
        server
    }

    /// Says that it runs, carries its output until it has ended and its last byte was read, and says how it ended.
    pub(crate) fn see_through(
        mut self,
        mut init: Init,
        signals: Signals,
        master: Option<OwnedFd>,
        ended: impl FnOnce(i32),
    ) {
        self.guests.tell_first(&Event::Started);
        let last = match self.last_of(&mut init, &signals, master) {
            Ok(code) => {
                ended(code);
                Event::Exited(code)
            }
            Err(error) => Event::Failed(failure::explain(&error)),
        };
        self.tell(&last);
        // A signal ends what is left to do.
        drop(signals);
        self.say_the_rest();
    }

    fn last_of(
        &mut self,
        init: &mut Init,
        signals: &Signals,
        master: Option<OwnedFd>,
    ) -> anyhow::Result<i32> {
        self.terminal = master.map(Terminal::new).transpose()?;
        loop {
            if let Some(exit) = self.turn(init, signals)? {
                self.drain();
                return Ok(exit.shell_code());
            }
        }
    }
}
