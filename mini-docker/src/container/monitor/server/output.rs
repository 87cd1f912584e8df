//! What the container writes: into the log first, then to visitors.

use nix::errno::Errno;

use super::Server;
use crate::terminal::{Took, take};
use crate::wire::Stream;

impl Server {
    /// Reads an output. False at its end.
    pub(super) fn read_output(&mut self, index: usize) -> bool {
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

    pub(super) fn read_terminal(&mut self) -> bool {
        let Some(terminal) = &mut self.terminal else { return false };
        match terminal.take(&mut self.buffer) {
            Took::Bytes(length) => self.take_buffer(Stream::Stdout, length),
            Took::Nothing => {}
            Took::End => self.terminal = None,
        }
        true
    }

    pub(super) fn take_buffer(&mut self, stream: Stream, length: usize) {
        let buffer = std::mem::take(&mut self.buffer);
        self.take_output(stream, &buffer[..length]);
        self.buffer = buffer;
    }

    /// What the container has written goes into the log and to the visitors.
    pub(super) fn take_output(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            log.write(stream, bytes);
            self.guests.tell_followers(log);
        }
        self.guests.tell_output(stream, bytes);
    }

    pub(super) fn end_lines(&mut self) {
        if let Some(log) = &mut self.log {
            log.end();
            self.guests.tell_followers(log);
        }
    }

    /// The process has ended: what it has left in its pipes is all that still comes.
    pub(super) fn drain(&mut self) {
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
