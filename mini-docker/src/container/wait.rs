//! Somebody waits for the end of a container and wants its exit code.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};

use super::{EXIT_CODE, gone};
use crate::containers::Containers;
use crate::engine::Engine;
use crate::record::{Record, Status};
use crate::wire::{self, Event, Request, Visitor};

/// The code of a process that was killed (128 + 9): when its supervisor is killed, so is the container.
const KILLED: i32 = 137;

/// The end of a container, seen or yet to come.
#[derive(Debug)]
pub enum Waiting<'e> {
    /// It does not run.
    Ended(i32),
    /// It runs.
    Runs(Run<'e>),
}

/// A container that runs, and from whom we hear how it ends.
#[derive(Debug)]
pub struct Run<'e> {
    engine: &'e Engine,
    id: String,
    /// `<run-root>/containers/<id>`: locked by its supervisor.
    folder: File,
    /// Its supervisor writes the exit code into it, and then removes it.
    exit_code: File,
    /// Its monitor, if it has one.
    visitor: Option<Visitor>,
}

impl<'e> Waiting<'e> {
    /// Begins to wait: an end from now on is not missed.
    ///
    /// # Errors
    /// If it is gone.
    pub fn begin(engine: &'e Engine, record: &Record) -> Result<Self> {
        if let Some(code) = code(record) {
            return Ok(Self::Ended(code));
        }
        let containers = Containers::new(engine);
        let run_dir = containers.run_dir(&record.id);
        let run = File::open(&run_dir).and_then(|folder| {
            let path = format!("/proc/self/fd/{}/{EXIT_CODE}", folder.as_raw_fd());
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            Ok((folder, file))
        });
        // The supervisor looks for the file after it has recorded the end: what is not recorded yet will be written.
        let now = containers.load(&record.id).map_err(|_| gone(&record.id))?;
        if let Some(code) = code(&now) {
            return Ok(Self::Ended(code));
        }
        let (folder, exit_code) =
            run.with_context(|| format!("wait in folder `{}`", run_dir.display()))?;
        let visitor = wire::visit(&run_dir)?.filter(|visitor| visitor.say(&Request::Wait).is_ok());
        Ok(Self::Runs(Run { engine, id: record.id.clone(), folder, exit_code, visitor }))
    }

    /// Waits for the end. As a shell reports it: 128+n for signal n. 0 for a container that was never started.
    ///
    /// # Errors
    /// If it cannot be found out.
    pub fn code(self) -> Result<i32> {
        match self {
            Self::Ended(code) => Ok(code),
            Self::Runs(run) => run.code(),
        }
    }
}

impl Run<'_> {
    fn code(mut self) -> Result<i32> {
        while let Some(visitor) = &self.visitor {
            match visitor.hear() {
                Ok(Some((Event::Exited(code), _))) => return Ok(code),
                Ok(Some(_)) => {}
                // It ended before it heard us, or was killed.
                Ok(None) | Err(_) => self.visitor = None,
            }
        }
        self.folder.lock_shared().context("wait for the container's supervisor")?;
        drop(self.folder);
        let mut text = String::new();
        self.exit_code.read_to_string(&mut text).context("read the exit code")?;
        if let Ok(code) = text.parse() {
            return Ok(code);
        }
        let containers = Containers::new(self.engine);
        if containers.load(&self.id).is_ok_and(|record| record.is_active()) {
            crate::reclaim::reclaim(self.engine)?;
        }
        Ok(containers.load(&self.id).ok().as_ref().and_then(code).unwrap_or(KILLED))
    }
}

/// How it ended, if it does not run.
fn code(record: &Record) -> Option<i32> {
    match record.status {
        Status::Created => Some(record.failure.as_ref().map_or(0, |failure| failure.code)),
        Status::Exited { code, .. } => Some(code),
        Status::Running { .. } | Status::Restarting { .. } => None,
    }
}
