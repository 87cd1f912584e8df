//! The monitor's side: lines become entries, entries are written many at a time, full files are rotated.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use nix::errno::Errno;

use super::entry::{self, encode};
use super::lines::Lines;
use super::older;
use crate::record::LogOptions;
use crate::wire::Stream;

/// So many bytes are written at once; one entry may come on top.
const BATCH: usize = 32 << 10;

/// So many files are begun between two calls of [`Writer::take_rotated`] at most: each is an open file here and in each
/// follower's queue. A burst that would fill more makes the last of them larger than it should be.
const MOST_ROTATED: usize = 32;

/// A follower may keep the disk from being given back: so many bytes of files that are not the log's any more.
const MOST_BEHIND: u64 = 64 << 20;

/// Nor may it make us hold more files open than this, however small they are.
const MOST_FILES: u64 = 64;

/// Whoever keeps the writer from rotating is asked again after so many bytes.
const PATIENCE: u64 = 64 << 10;

/// Writes a log. What cannot be written (a full disk) does not stop the container.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    options: LogOptions,
    file: File,
    /// Of the file, without what is in `out`.
    size: u64,
    /// The file is rotated before an entry that would begin here or later.
    full_at: u64,
    /// The file does not end with a line's end.
    torn: bool,
    stdout: Side,
    stderr: Side,
    out: Vec<u8>,
    lost: Option<Lost>,
    rotated: Vec<File>,
}

/// One of the container's streams.
#[derive(Debug, Default)]
struct Side {
    lines: Lines,
    /// The line that is being written in pieces began then: all have the same time.
    since: Option<String>,
}

/// Entries that could not be written.
#[derive(Debug, Default)]
struct Lost {
    lines: u64,
    /// Of the log, not of what the container wrote.
    bytes: u64,
    why: &'static str,
}

impl Lost {
    fn words(&self) -> String {
        let Self { lines, bytes, why } = self;
        let lines = if *lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") };
        format!("mini-docker: {lines} ({bytes} bytes of log) could not be written here: {why}\n")
    }
}

impl Writer {
    /// Opens a log to go on with it, or begins it with mode 0640.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path, options: &LogOptions) -> Result<Self> {
        let context = || format!("open log `{}`", path.display());
        // A rotation that was interrupted.
        fs::remove_file(next(path)).ok();
        let file = open_options().open(path).with_context(context)?;
        let size = file.metadata().with_context(context)?.len();
        let mut last = *b"\n";
        if size > 0 {
            file.read_exact_at(&mut last, size - 1).with_context(context)?;
        }
        Ok(Self {
            path: path.to_owned(),
            options: options.clone(),
            file,
            size,
            full_at: options.max_size.unwrap_or(u64::MAX),
            torn: last != *b"\n",
            stdout: Side::default(),
            stderr: Side::default(),
            out: Vec::new(),
            lost: None,
            rotated: Vec::new(),
        })
    }

    /// Takes what the container has written: whole lines go into the log, the rest waits for its end.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let now = entry::time(Timestamp::now());
        let mut side = std::mem::take(self.side(stream));
        side.lines.push(bytes, |text| {
            let time = side.since.as_ref().unwrap_or(&now);
            self.add(text, stream, time);
            if text.ends_with(b"\n") {
                side.since = None;
            } else if side.since.is_none() {
                side.since = Some(now.clone());
            }
        });
        *self.side(stream) = side;
        self.flush();
    }

    /// Writes the beginnings of lines that will have no end.
    pub fn end(&mut self) {
        let now = entry::time(Timestamp::now());
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut side = std::mem::take(self.side(stream));
            let time = side.since.take().unwrap_or_else(|| now.clone());
            side.lines.end(|text| self.add(text, stream, &time));
            *self.side(stream) = side;
        }
        self.flush();
    }

    /// The files, open for reading, that were begun since the last call: those before them are full. They are to be
    /// read with pread(2): copies of a descriptor share their place in the file.
    pub fn take_rotated(&mut self) -> Vec<File> {
        std::mem::take(&mut self.rotated)
    }

    /// A follower that is so many files behind has to miss some: a log must not fill the disk because somebody has
    /// stopped reading it (ctrl-z). Those that the log has itself cost nothing.
    pub fn most_behind(&self) -> usize {
        let size = self.options.max_size.unwrap_or(u64::MAX).max(1);
        let own = u64::from(self.options.max_file).clamp(2, MOST_FILES);
        (MOST_BEHIND / size).clamp(own, MOST_FILES) as usize
    }

    fn side(&mut self, stream: Stream) -> &mut Side {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn add(&mut self, text: &[u8], stream: Stream, time: &str) {
        if self.size + self.out.len() as u64 >= self.full_at {
            self.flush();
            if self.size >= self.full_at {
                self.rotate();
            }
        }
        encode(text, stream, time, &mut self.out);
        if self.out.len() >= BATCH {
            self.flush();
        }
    }

    /// Writes what was added. What cannot be written is lost, and counted.
    fn flush(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        let written = match self.mend(!out.is_empty()) {
            Ok(()) => self.put(&out),
            Err((_, error)) => Err((0, error)),
        };
        if let Err((written, error)) = written {
            self.lose(&out[written..], &error);
        }
        out.clear();
        self.out = out;
    }

    /// Ends a torn line if something is to follow it, and tells what is missing here.
    fn mend(&mut self, something_follows: bool) -> Result<(), (usize, io::Error)> {
        if self.lost.is_none() && !(self.torn && something_follows) {
            return Ok(());
        }
        let mut first = if self.torn { b"\n".to_vec() } else { Vec::new() };
        if let Some(lost) = &self.lost {
            let now = entry::time(Timestamp::now());
            encode(lost.words().as_bytes(), Stream::Stderr, &now, &mut first);
        }
        self.put(&first)?;
        self.lost = None;
        Ok(())
    }

    fn lose(&mut self, entries: &[u8], error: &io::Error) {
        if entries.is_empty() {
            return;
        }
        let lost = self.lost.get_or_insert_default();
        lost.bytes += entries.len() as u64;
        lost.lines += entries.iter().filter(|byte| **byte == b'\n').count() as u64;
        lost.why = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw).desc();
    }

    /// Writes bytes. On failure says how many of them are written all the same.
    fn put(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
                Ok(length) => {
                    written += length;
                    self.size += length as u64;
                    self.torn = bytes[written - 1] != b'\n';
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }

    /// Goes on in a new file, unless somebody is opening the files, or it is not possible now: then later.
    fn rotate(&mut self) {
        if self.rotated.len() >= MOST_ROTATED {
            return;
        }
        if self.file.try_lock().is_err() {
            self.full_at = self.size + PATIENCE;
            return;
        }
        let begun = self.begin_next();
        // Not only closed: a child that is between clone and exec may have it open, too.
        self.file.unlock().ok();
        match begun {
            Ok((file, reader)) => {
                self.file = file;
                self.rotated.push(reader);
                (self.size, self.torn) = (0, false);
                self.full_at = self.options.max_size.unwrap_or(u64::MAX);
            }
            Err(_) => self.full_at = self.size + self.options.max_size.unwrap_or(u64::MAX),
        }
    }

    /// Begins a file in the place of the full one. It is made first: if that is not possible, nothing has changed.
    fn begin_next(&self) -> io::Result<(File, File)> {
        let next = next(&self.path);
        // A rotation that failed half way.
        fs::remove_file(&next).ok();
        let file = open_options().open(&next)?;
        let reader = File::open(&next)?;
        let most = self.options.max_file.max(1) - 1;
        let exists = |number: &u32| older(&self.path, *number).symlink_metadata().is_ok();
        // They move up to the first free number; without one, the oldest is replaced.
        let free = (1..most).find(|number| !exists(number)).unwrap_or(most);
        for number in (0..free).rev() {
            match fs::rename(older(&self.path, number), older(&self.path, number + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&next, &self.path)?;
        Ok((file, reader))
    }
}

/// The name of a file that is about to become the log.
fn next(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn open_options() -> fs::OpenOptions {
    let mut options = File::options();
    options.read(true).append(true).create(true).mode(0o640);
    options
}

#[cfg(test)]
mod tests;
