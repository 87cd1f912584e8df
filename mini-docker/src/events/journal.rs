//! The file of events: `<run-root>/events`, and `events.1` for what was there before.
//!
//! A line is appended by one write(2) with `O_APPEND`: the kernel puts it at the end whoever else writes, and keeps it in
//! one piece. Nobody takes a lock for that. When the file has grown to half a megabyte it becomes `events.1`, in the
//! place of what had that name, and the next line begins a new file; so there is never much more than a megabyte.
//!
//! Whoever has opened the file before it was renamed writes its line into `events.1`, which readers still read.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Event;
use crate::engine::Engine;

/// A journal of so many bytes is put aside.
const MOST: u64 = 512 << 10;

/// Where events are written.
pub(super) fn path(engine: &Engine) -> PathBuf {
    engine.run_root.join("events")
}

/// What was written before.
pub(super) fn older(path: &Path) -> PathBuf {
    path.with_file_name("events.1")
}

/// Writes an event. What cannot be written is not known to anybody, and that is all.
pub(super) fn append(engine: &Engine, event: &Event) {
    let Ok(mut line) = serde_json::to_vec(event) else { return };
    line.push(b'\n');
    append_line(&path(engine), &line, MOST).ok();
}

fn append_line(path: &Path, line: &[u8], most: u64) -> std::io::Result<()> {
    let mut file = File::options().create(true).append(true).mode(0o600).open(path)?;
    // One call: `write_all` would write the rest of a line behind somebody else's.
    let written = file.write(line)?;
    if written < line.len() {
        // The disk is full. The next line shall not be lost with this one.
        file.write_all(b"\n")?;
    }
    let metadata = file.metadata()?;
    if metadata.len() >= most {
        rotate(path, &file, metadata.ino())?;
    }
    Ok(())
}

/// Several may find the file full: the lock decides, and whoever comes later finds another file at the path, or none yet.
fn rotate(path: &Path, file: &File, ino: u64) -> std::io::Result<()> {
    file.lock()?;
    if fs::metadata(path).is_ok_and(|now| now.ino() == ino) {
        fs::rename(path, older(path))?;
    }
    Ok(())
}

/// The journal from its first line to what is yet to come, through any number of rotations.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    /// Those that were the journal and may still get a line or two, and the one that is; the newest last.
    files: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    file: File,
    ino: u64,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Reader {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, files: Vec::new() }
    }

    /// The events that were written since the last call, in the order of their time.
    ///
    /// # Errors
    /// If the journal cannot be read; that there is none yet is no error.
    pub(super) fn read(&mut self) -> std::io::Result<Vec<Event>> {
        let mut events = Vec::new();
        // What is renamed between two looks is found by the next one.
        loop {
            let known = self.files.last().map(|part| part.ino);
            self.find()?;
            for part in &mut self.files {
                part.read(&mut events)?;
            }
            if self.files.last().map(|part| part.ino) == known {
                break;
            }
        }
        events.sort_by_key(|event| event.time_nano);
        Ok(events)
    }

    /// Opens what is new: the older file first.
    fn find(&mut self) -> std::io::Result<()> {
        for path in [older(&self.path), self.path.clone()] {
            let file = match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other?,
            };
            let ino = file.metadata()?.ino();
            if !self.files.iter().any(|part| part.ino == ino) {
                self.files.push(Part { file, ino, rest: Vec::new() });
            }
        }
        // A file that has been out of the way for two rotations gets no line any more.
        let extra = self.files.len().saturating_sub(3);
        self.files.drain(..extra);
        Ok(())
    }
}

impl Part {
    fn read(&mut self, events: &mut Vec<Event>) -> std::io::Result<()> {
        self.file.read_to_end(&mut self.rest)?;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let lines: Vec<u8> = self.rest.drain(..=end).collect();
        // A line that a full disk has cut is passed over.
        let lines = lines.split(|byte| *byte == b'\n');
        events.extend(lines.filter_map(|line| serde_json::from_slice::<Event>(line).ok()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    fn line(number: i64) -> Vec<u8> {
        let mut event = example("volume", "create", &number.to_string(), &[]);
        event.time_nano = number;
        [serde_json::to_vec(&event).unwrap(), b"\n".to_vec()].concat()
    }

    fn numbers(events: &[Event]) -> Vec<i64> {
        events.iter().map(|event| event.time_nano).collect()
    }

    #[test]
    fn a_reader_misses_nothing_while_the_journal_rotates() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let mut reader = Reader::new(path.clone());
        assert!(reader.read().unwrap().is_empty());
        let mut seen = Vec::new();
        for number in 0..200 {
            append_line(&path, &line(number), 1000).unwrap();
            // Less often than it rotates, and more often.
            if number % 7 == 0 || number > 150 {
                seen.extend(numbers(&reader.read().unwrap()));
            }
        }
        assert_eq!(seen, (0..200).collect::<Vec<i64>>());
        assert!(fs::metadata(older(&path)).unwrap().len() < 2000);
    }

    #[test]
    fn many_writers_lose_nothing_and_keep_lines_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..100 {
                        append_line(path, &line(writer * 100 + number), 80 << 10).unwrap();
                    }
                });
            }
        });
        let all = numbers(&Reader::new(path.clone()).read().unwrap());
        assert_eq!(all, (0..800).collect::<Vec<i64>>());
        assert!(older(&path).exists(), "it has not rotated");
    }

    #[test]
    fn a_line_that_was_cut_takes_no_other_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let whole = line(1);
        fs::write(&path, [&whole[..20], b"\n", &whole, &whole[..30]].concat()).unwrap();
        let mut reader = Reader::new(path.clone());
        assert_eq!(numbers(&reader.read().unwrap()), [1]);
        File::options().append(true).open(&path).unwrap().write_all(&whole[30..]).unwrap();
        assert_eq!(numbers(&reader.read().unwrap()), [1], "the end of the last line came later");
    }
}
