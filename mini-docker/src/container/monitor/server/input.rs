//! What a visitor types, on its way to the container.

use std::io::{ErrorKind, Write};

use super::Server;

impl Server {
    /// The end of input: a terminal says it with ctrl-d, a pipe by being closed.
    pub(super) fn end_input(&mut self) {
        if self.terminal.is_some() {
            self.input.push(4);
        } else if self.first.stdin_once {
            self.input_ended = true;
            self.feed();
        }
    }

    /// Gives the container what it is to read, as much as it takes.
    pub(super) fn feed(&mut self) {
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
        if self.terminal.is_none() && self.stdin.is_none() {
            // Nobody reads it. Whoever goes on to send must be heard all the same: a signal may come behind.
            self.input.clear();
        }
        if self.input_ended && self.input.is_empty() {
            self.stdin = None;
        }
    }

    /// Who has sent the input has gone without a word: without a terminal nobody comes after.
    pub(super) fn end_input_of_gone(&mut self) {
        if self.terminal.is_none() {
            self.end_input();
        }
    }
}
