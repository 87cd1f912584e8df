//! What a stage's worker and the command say to each other: lines of JSON over a socket pair.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::chain::Chain;
use crate::failure::Failure;

/// From a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// A step begins that people want to see.
    Begin {
        /// Number of the step in its stage, from 1.
        step: usize,
        /// The instruction.
        text: String,
    },
    /// It is not made again.
    Cached { step: usize },
    /// Why it is made again.
    Why { step: usize, reason: String },
    /// What it writes.
    Output { step: usize, text: String },
    /// It is done.
    Done { step: usize },
    /// Something that is not as it should be, and not in the way.
    Warning(String),
    /// Tells [`Told::Stage`] when that stage is done.
    Need(usize),
    /// The stage is done.
    Finished(Box<Outcome>),
    /// It is not.
    Failed { message: String, hint: Option<String>, at: Option<Place> },
}

/// Where in the Dockerfile: bytes of its text, and the step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) span: std::ops::Range<usize>,
    pub(super) step: Option<usize>,
}

/// To a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// What came of a stage.
    Stage(Box<Outcome>),
}

/// What came of a stage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Its files.
    pub(super) chain: Chain,
    /// The object `config` of the image's config.
    pub(super) settings: Map<String, Value>,
    /// A line for each instruction since the image that it begins with.
    pub(super) history: Vec<Line>,
    /// `MAINTAINER`.
    pub(super) author: String,
    /// When its newest layer was made.
    pub(super) time: jiff::Timestamp,
}

/// A line of the history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) created_by: String,
    /// When.
    pub(super) created: jiff::Timestamp,
    /// No layer belongs to it.
    pub(super) empty: bool,
}

/// One end.
#[derive(Debug)]
pub(super) struct Talk<S> {
    stream: UnixStream,
    pending: Vec<u8>,
    messages: VecDeque<S>,
}

impl<S: DeserializeOwned> Talk<S> {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, pending: Vec::new(), messages: VecDeque::new() }
    }

    /// Says something. A closed other end is an error.
    pub(super) fn say(&mut self, message: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(message).context("encode message")?;
        line.push(b'\n');
        self.stream.write_all(&line).context("speak to the build")
    }

    /// The next message; waits for it. None: the other end has closed.
    pub(super) fn hear(&mut self) -> Result<Option<S>> {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Ok(Some(message));
            }
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    /// Reads once what is there; false at the end.
    pub(super) fn read(&mut self) -> Result<bool> {
        let mut buffer = vec![0; 64 << 10];
        let length = loop {
            match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other.context("listen to the build")?,
            }
        };
        self.pending.extend_from_slice(&buffer[..length]);
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            self.messages.push_back(serde_json::from_slice(&line).context("decode message")?);
        }
        Ok(length > 0)
    }

    /// Whether something was read and not yet heard.
    pub(super) fn has_more(&self) -> bool {
        !self.messages.is_empty()
    }

    /// What was read and not yet heard.
    pub(super) fn next(&mut self) -> Option<S> {
        self.messages.pop_front()
    }
}

impl<S> AsFd for Talk<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Said {
    /// A failure, with the step that it belongs to.
    pub(super) fn failed(error: &anyhow::Error, at: Option<Place>) -> Self {
        let Failure { message, hint, .. } = crate::failure::explain(error);
        Self::Failed { message, hint, at }
    }
}
