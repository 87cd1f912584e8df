//! What of a log is shown, and where: the lines of `logs` on standard output and standard error.

use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::entry::Entry;
use super::files::{Lines, Next, hold_still, keep_last};
use super::follow::follow;
use crate::containers::Containers;
use crate::engine::Engine;
use crate::failure::{self, Failure};
use crate::record::{Record, Status};
use crate::terminal::write_all;
use crate::wire::{self, Stream};

/// So many bytes are shown at once.
const BATCH: usize = 32 << 10;

/// What is to be shown.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// How many lines at the end; the times below choose among these, as Docker does it.
    pub tail: Tail,
    /// Only what was written then or later.
    pub since: Option<Timestamp>,
    /// Only what was written then or earlier. A follower ends then.
    pub until: Option<Timestamp>,
    /// With times.
    pub timestamps: bool,
    /// With what Docker's log options add.
    pub details: bool,
    /// Until the container ends.
    pub follow: bool,
}

/// How many lines from the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tail {
    /// All.
    #[default]
    All,
    /// So many. A line of more than 16 KiB counts as several, as Docker's.
    Last(u64),
}

/// Shows the log of a container. Returns the exit code: not 0 if nobody looks any more.
///
/// # Errors
/// If there is no log, or it cannot be read or shown.
pub fn show(engine: &Engine, record: &Record, selection: &Selection) -> Result<u8> {
    if !record.log.enabled {
        return Err(Failure::new(format!(
            "container {} has no log: its log driver is `none`",
            record.name
        ))
        .hint(format!("see what it writes with `mini-docker attach {}`", record.name))
        .into());
    }
    let containers = Containers::new(engine);
    let path = super::path(&containers.dir(&record.id), &record.id);
    let ends_later = selection.until.is_none_or(|until| until > Timestamp::now());
    let visitor = match selection.follow && ends_later {
        true => wire::visit(&containers.run_dir(&record.id))?,
        false => None,
    };
    let mut to_user = |stream: Stream, bytes: &[u8]| match stream {
        Stream::Stdout => write_all(std::io::stdout().as_fd(), bytes),
        Stream::Stderr => write_all(std::io::stderr().as_fd(), bytes),
    };
    let mut printer = Printer::new(selection, record.terminal, &mut to_user);
    let shown = match visitor {
        Some(visitor) => follow(&visitor, &path, record.log.max_file, &mut printer),
        None => show_files(&path, record.log.max_file, &mut printer),
    };
    let shown = shown.and_then(|()| printer.flush());
    printer.warn();
    match shown {
        Ok(()) => Ok(0),
        Err(Stop::Enough) => Ok(0),
        Err(Stop::NoLog) => no_log(record),
        // `logs | head`.
        Err(Stop::Nobody(Errno::EPIPE | Errno::EIO)) => Ok(128 + Signal::SIGPIPE as u8),
        Err(Stop::Nobody(errno)) => {
            Err(Failure::new(format!("write the log: {}", errno.desc())).into())
        }
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn no_log(record: &Record) -> Result<u8> {
    let hint = match record.status {
        // Nothing was written yet.
        Status::Created => return Ok(0),
        Status::Running { .. } | Status::Restarting { .. } => {
            "what it writes goes straight to the `run` that has started it; with -d there is a log"
        }
        Status::Exited { .. } => "what it wrote went straight to the `run` that had started it",
    };
    Err(Failure::new(format!("container {} has no log", record.name)).hint(hint).into())
}

/// Why no more is shown.
#[derive(Debug)]
pub(super) enum Stop {
    /// What comes now is not wanted.
    Enough,
    NoLog,
    /// It cannot be written.
    Nobody(Errno),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Shows what there is.
pub(super) fn show_files(
    path: &Path,
    max_file: u32,
    printer: &mut Printer<'_>,
) -> Result<(), Stop> {
    let still = hold_still(path)?;
    let mut files = still.open_all(path, max_file)?;
    drop(still);
    printer.choose(&mut files)?;
    let newest = files.len().saturating_sub(1);
    for (index, file) in files.iter_mut().enumerate() {
        match index < newest {
            true => printer.finish(file)?,
            // Its last line may be on its way.
            false => printer.copy(file)?,
        }
    }
    Ok(())
}

/// Where lines go.
pub(super) type Show<'s> = dyn FnMut(Stream, &[u8]) -> Result<(), Errno> + 's;

/// Shows lines.
pub(super) struct Printer<'s> {
    pub(super) selection: &'s Selection,
    show: &'s mut Show<'s>,
    /// The container has a terminal: all that it writes is standard output.
    terminal: bool,
    out: Vec<u8>,
    /// Where `out` goes.
    to: Stream,
    /// The time of the last piece of a line that goes on, of standard output and standard error.
    goes_on: [Option<String>; 2],
    /// Lines that are none.
    foreign: u64,
}

impl<'s> Printer<'s> {
    pub(super) fn new(selection: &'s Selection, terminal: bool, show: &'s mut Show<'s>) -> Self {
        Self {
            selection,
            show,
            terminal,
            out: Vec::new(),
            to: Stream::Stdout,
            goes_on: [None, None],
            foreign: 0,
        }
    }

    /// Leaves out what is before the lines that are wanted.
    pub(super) fn choose(&self, files: &mut Vec<Lines>) -> Result<(), Stop> {
        if files.is_empty() {
            return Err(Stop::NoLog);
        }
        if let Tail::Last(most) = self.selection.tail {
            keep_last(files, most).context("read the log")?;
        }
        Ok(())
    }

    /// Shows what is left in a file to which nothing is added any more.
    pub(super) fn finish(&mut self, file: &mut Lines) -> Result<(), Stop> {
        self.copy(file)?;
        self.foreign += u64::from(file.is_torn());
        Ok(())
    }

    /// Shows the whole lines that are left in a file.
    pub(super) fn copy(&mut self, file: &mut Lines) -> Result<(), Stop> {
        loop {
            match file.next().context("read the log")? {
                Next::Line(line) => self.line(line)?,
                Next::TooLong => self.foreign += 1,
                Next::End => return Ok(()),
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Stop> {
        let Some(entry) = Entry::parse(line) else {
            self.foreign += u64::from(!line.is_empty());
            return Ok(());
        };
        if let Selection { since, until, .. } = self.selection
            && (since.is_some() || until.is_some())
            && let Some(time) = entry.time()
        {
            if until.is_some_and(|until| time > until) {
                return Err(Stop::Enough);
            }
            if since.is_some_and(|since| time < since) {
                return Ok(());
            }
        }
        let to = if self.terminal { Stream::Stdout } else { entry.stream };
        if to != self.to {
            self.flush()?;
            self.to = to;
        }
        let goes_on = &mut self.goes_on[usize::from(entry.stream == Stream::Stderr)];
        // The pieces of a long line have the same time. What has the same time and is the next line is not one: the
        // one before it has an end.
        let time = entry.time_shown();
        if goes_on.as_deref() != Some(&time) {
            if self.selection.timestamps {
                self.out.extend_from_slice(time.as_bytes());
                self.out.push(b' ');
            }
            if self.selection.details {
                self.out.extend_from_slice(entry.details().as_bytes());
                self.out.push(b' ');
            }
        }
        match entry.text.ends_with('\n') {
            true => *goes_on = None,
            false => *goes_on = Some(time.into_owned()),
        }
        self.out.extend_from_slice(entry.text.as_bytes());
        if self.out.len() >= BATCH {
            self.flush()?;
        }
        Ok(())
    }

    /// Shows what was collected.
    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        let shown = if self.out.is_empty() { Ok(()) } else { (self.show)(self.to, &self.out) };
        self.out.clear();
        shown.map_err(Stop::Nobody)
    }

    fn warn(&self) {
        if self.foreign > 0 {
            let (lines, were) = if self.foreign == 1 { ("line", "was") } else { ("lines", "were") };
            failure::tell(&format!(
                "mini-docker: warning: {} {lines} of the log could not be read and {were} left out",
                self.foreign
            ));
        }
    }
}
