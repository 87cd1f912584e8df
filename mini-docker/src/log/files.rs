//! The files of a log, in order, and the lines in them.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::older;

/// So much is read at once.
const BLOCK: usize = 64 << 10;

/// A line that is longer is none of ours.
const MOST_LINE: usize = 1 << 20;

/// A rotation leaves the log without a file for an instant; a crash then leaves it so.
const MOST_ABSENCE: Duration = Duration::from_millis(200);

/// The log is not rotated while this lives.
#[derive(Debug)]
pub(super) struct Still {
    /// None: there is no log, or a crash has left it without its newest file.
    _lock: Option<File>,
}

/// Keeps the log as it is, to open all its files. Only for that moment: meanwhile it grows beyond its size.
pub(super) fn hold_still(path: &Path) -> Result<Still> {
    let context = || format!("open log `{}`", path.display());
    let until = Instant::now() + MOST_ABSENCE;
    loop {
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Whether one is missing or never was: the oldest is there either way.
                let was = older(path, 1).symlink_metadata().is_ok();
                if !was || Instant::now() >= until {
                    return Ok(Still { _lock: None });
                }
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            other => other.with_context(context)?,
        };
        file.lock_shared().with_context(context)?;
        // It may have been rotated before it was locked.
        let ours = file.metadata().with_context(context)?;
        if std::fs::metadata(path).is_ok_and(|now| now.ino() == ours.ino()) {
            return Ok(Still { _lock: Some(file) });
        }
    }
}

impl Still {
    /// All files, the oldest first.
    pub(super) fn open_all(&self, path: &Path, max_file: u32) -> Result<Vec<Lines>> {
        let mut files = Vec::new();
        // A crash may have left a gap in the numbers.
        for number in (0..max_file.max(1)).rev() {
            let name = older(path, number);
            match File::open(&name) {
                Ok(file) => files.push(Lines::new(file)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("open log `{}`", name.display()));
                }
            }
        }
        Ok(files)
    }
}

/// The whole lines of a file that may grow.
#[derive(Debug)]
pub(super) struct Lines {
    file: File,
    /// Where to read on.
    at: u64,
    buffer: Vec<u8>,
    /// What of the buffer was given already.
    given: usize,
    /// So much after that has no end of a line in it.
    searched: usize,
    /// In a line that is too long.
    skips: bool,
}

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A line without its `\n`.
    Line(&'a [u8]),
    /// A line that is too long to be one of ours.
    TooLong,
    /// No whole line more at the moment.
    End,
}

impl Lines {
    pub(super) fn new(file: File) -> Self {
        Self { file, at: 0, buffer: Vec::new(), given: 0, searched: 0, skips: false }
    }

    /// The next line. The file's own place is not used: others may have it from the same hand.
    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        loop {
            let from = self.given + self.searched;
            if let Some(length) = self.buffer[from..].iter().position(|byte| *byte == b'\n') {
                let line = self.given..from + length;
                (self.given, self.searched) = (line.end + 1, 0);
                if std::mem::take(&mut self.skips) {
                    return Ok(Next::TooLong);
                }
                return Ok(Next::Line(&self.buffer[line]));
            }
            self.buffer.drain(..self.given);
            (self.given, self.searched) = (0, self.buffer.len());
            if self.searched > MOST_LINE {
                self.skips = true;
                self.buffer.clear();
                self.searched = 0;
            }
            let end = self.buffer.len();
            self.buffer.resize(end + BLOCK, 0);
            let read = read_at(&self.file, &mut self.buffer[end..], self.at);
            let length = *read.as_ref().unwrap_or(&0);
            self.buffer.truncate(end + length);
            self.at += length as u64;
            if read? == 0 {
                return Ok(Next::End);
            }
        }
    }

    /// Whether there is the beginning of a line that has no end yet.
    pub(super) fn is_torn(&self) -> bool {
        self.buffer.len() > self.given || self.skips
    }

    /// Goes to where the last `most` whole lines begin; returns how many there are. Reads only those.
    pub(super) fn seek_last(&mut self, most: u64) -> io::Result<u64> {
        let mut block = vec![0; BLOCK];
        let mut end = self.file.metadata()?.len();
        let mut starts = None;
        let mut found = 0;
        while end > 0 {
            let from = end.saturating_sub(BLOCK as u64);
            let part = &mut block[..(end - from) as usize];
            self.file.read_exact_at(part, from)?;
            for (index, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                let after = from + index as u64 + 1;
                // The first one seen from behind ends a line, the others begin one as well.
                if starts.is_some() {
                    found += 1;
                }
                starts = Some(after);
                if found == most {
                    self.go_to(after);
                    return Ok(found);
                }
            }
            end = from;
        }
        self.go_to(0);
        Ok(found + u64::from(starts.is_some()))
    }

    fn go_to(&mut self, at: u64) {
        self.at = at;
        self.buffer.clear();
        (self.given, self.searched, self.skips) = (0, 0, false);
    }
}

fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Goes to where the last `most` lines of all files begin; what is before them is left out.
pub(super) fn keep_last(files: &mut Vec<Lines>, most: u64) -> io::Result<()> {
    let mut left = most;
    let mut first = files.len();
    while first > 0 && (left > 0 || first == files.len()) {
        first -= 1;
        left -= files[first].seek_last(left)?;
    }
    files.drain(..first);
    Ok(())
}
