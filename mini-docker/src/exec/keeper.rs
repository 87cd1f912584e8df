//! The keeper: parent of a process in a container for as long as that runs.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use namespaces::Init;

use super::{Ends, Job, Request, Target, cannot_start, spawn};
use crate::container::monitor::server::Server;
use crate::container::{First, apart};
use crate::engine::Engine;
use crate::record::Record;
use crate::terminal::{Carried, Signals, Streams};
use crate::wire::{self, Event, Visited, Visitor};
use crate::{events, names};

/// Starts a process in a running container under a keeper. It says [`Event::Started`] or [`Event::Failed`] first of all,
/// and at last [`Event::Exited`].
///
/// # Errors
/// If the container does not run, or cannot have such a process.
pub fn launch(
    engine: &Engine,
    record: &Record,
    request: &Request,
    streams: Streams,
    first: First,
) -> Result<Visitor> {
    let target = Target::find(engine, record)?;
    let job = Job::new(engine, record, &target, request)?;
    let (visitor, visited) = wire::pair()?;
    apart::fork("keeper", || {
        let (ends, carried) = streams.into_parts();
        let ends = Ends { streams: ends, ..Ends::default() };
        let keeper = Keeper { target, job, ends, carried, visited };
        keeper.live(engine, record, request, first);
    })?;
    Ok(visitor)
}

struct Keeper {
    target: Target,
    job: Job,
    ends: Ends,
    carried: Carried,
    visited: Visited,
}

impl Keeper {
    fn live(mut self, engine: &Engine, record: &Record, request: &Request, first: First) {
        let command = request.args.join(" ");
        let started = self.start(request.terminal.then_some(first));
        let Self { target, visited, carried, .. } = self;
        let (init, signals, master) = match started {
            Ok(started) => started,
            Err(error) => {
                let failure = cannot_start(&target, &record.name, &error);
                visited.say(&Event::Failed(failure), None).ok();
                return;
            }
        };
        drop(target);
        let id = names::new_id().unwrap_or_default();
        let tell = |action: &str, more: &[(&str, &str)]| {
            events::container(engine, record, action, &[&[("execID", &*id)], more].concat());
        };
        tell(&format!("exec_create: {command}"), &[]);
        tell(&format!("exec_start: {command}"), &[]);
        let ended = |code: i32| tell("exec_die", &[("exitCode", &code.to_string())]);
        Server::beside(engine, &record.id, first, visited, carried)
            .see_through(init, signals, master, ended);
    }

    /// Starts the process; it runs when this returns.
    fn start(&mut self, terminal: Option<First>) -> Result<(Init, Signals, Option<OwnedFd>)> {
        self.settle()?;
        let signals = Signals::collect()?;
        let mut ends = std::mem::take(&mut self.ends);
        let mut ours = None;
        if let Some(First { size, .. }) = terminal {
            let (one, other) = UnixStream::pair().context("make a socket pair")?;
            (ours, ends.terminal) = (Some(one), Some((other, size)));
        }
        let mut init = spawn(&self.target, &self.job, ends)?;
        let master = match ours {
            Some(socket) => {
                syscalls::fd::receive(socket.as_fd()).context("receive the terminal")?
            }
            None => None,
        };
        init.wait_exec()?;
        Ok((init, signals, master))
    }

    /// Leaves the user's world with what is its own.
    fn settle(&self) -> Result<()> {
        let streams = self.ends.streams.iter().flatten().map(AsFd::as_fd);
        let outputs = self.carried.outputs.iter().map(|(_, file)| file.as_fd());
        let input = self.carried.input.iter().map(AsFd::as_fd);
        let own = [self.target.pidfd.as_fd(), self.visited.as_fd()].into_iter();
        let all: Vec<_> = streams.chain(outputs).chain(input).chain(own).collect();
        apart::leave_the_user(&all, c"mini-docker:exe")
    }
}
