//! Writer and readers together.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::follow::follow;
use super::show::{Printer, Stop, show_files};
use super::*;
use crate::record::LogOptions;
use crate::wire::{self, Event, Request, Stream, Visited};

const LINES: u64 = 100_000;

fn options(max_size: u64, max_file: u32) -> LogOptions {
    LogOptions { enabled: true, max_size: Some(max_size), max_file }
}

fn shown(path: &Path, max_file: u32, selection: &Selection) -> (String, String) {
    let mut texts = (Vec::new(), Vec::new());
    let mut show = |stream: Stream, bytes: &[u8]| {
        let to = if stream == Stream::Stdout { &mut texts.0 } else { &mut texts.1 };
        to.extend_from_slice(bytes);
        Ok(())
    };
    let mut printer = Printer::new(selection, false, &mut show);
    match show_files(path, max_file, &mut printer) {
        Ok(()) | Err(Stop::Enough) => printer.flush().unwrap(),
        Err(stop) => panic!("{stop:?}"),
    }
    (String::from_utf8(texts.0).unwrap(), String::from_utf8(texts.1).unwrap())
}

fn tail(most: u64) -> Selection {
    Selection { tail: Tail::Last(most), ..Selection::default() }
}

#[test]
fn the_end_is_found_across_files() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    // Files of about 300 lines: more than a block is read from behind in one of them.
    let mut writer = Writer::open(&path, &options(100_000, 4)).unwrap();
    let lines: Vec<String> = (0..3000).map(|number| format!("{number:0>300}\n")).collect();
    for line in &lines {
        writer.write(Stream::Stdout, line.as_bytes());
        writer.take_rotated();
    }
    let all = shown(&path, 4, &Selection::default()).0;
    let kept = all.lines().count();
    assert!((800..1200).contains(&kept), "{kept}");
    assert_eq!(all, lines[3000 - kept..].concat());
    for most in [0, 1, 2, 150, 299, 500, kept, kept + 1] {
        let expected = lines[3000 - most.min(kept)..].concat();
        assert_eq!(shown(&path, 4, &tail(most as u64)).0, expected, "{most}");
    }
    // A crash has left a gap in the numbers, and a line that is none.
    let oldest =
        std::fs::read(older(&path, 3)).unwrap().iter().filter(|byte| **byte == b'\n').count();
    std::fs::rename(older(&path, 2), older(&path, 3)).unwrap();
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    file.write_all(b"{\"log\":\"torn").unwrap();
    assert_eq!(shown(&path, 4, &tail(2)).0, lines[2998..].concat());
    let expected = lines[3000 - kept + oldest..].concat();
    assert_eq!(shown(&path, 4, &Selection::default()).0, expected);
}

#[test]
fn what_is_shown_is_chosen_by_time_and_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    let entry = |second: u32, stream: &str, text: &str| {
        format!(
            "{{\"log\":\"{text}\",\"stream\":\"{stream}\",\"time\":\"2026-01-01T00:00:{second:0>2}.5Z\"}}\n"
        )
    };
    let text = [
        entry(1, "stdout", "one\\n"),
        entry(2, "stderr", "two\\n"),
        "no entry\n".to_owned(),
        format!("{}\n", "x".repeat(3 << 20)),
        // Two pieces of a line, and one that never ended.
        entry(3, "stdout", "th"),
        entry(3, "stdout", "ree\\n"),
        entry(4, "stdout", "fo"),
        entry(5, "stdout", "five\\n"),
    ];
    std::fs::write(&path, text.concat()).unwrap();
    let selection = Selection::default();
    let expected = ("one\nthree\nfofive\n".to_owned(), "two\n".to_owned());
    assert_eq!(shown(&path, 1, &selection), expected);
    let time = |text: &str| Some(format!("2026-01-01T00:00:{text}Z").parse().unwrap());
    let selection = Selection { since: time("02.5"), until: time("03.5"), ..Selection::default() };
    assert_eq!(shown(&path, 1, &selection), ("three\n".to_owned(), "two\n".to_owned()));
    let selection = Selection { timestamps: true, ..Selection::default() };
    let expected = "2026-01-01T00:00:01.500000000Z one\n2026-01-01T00:00:03.500000000Z three\n\
                    2026-01-01T00:00:04.500000000Z fo2026-01-01T00:00:05.500000000Z five\n";
    assert_eq!(shown(&path, 1, &selection).0, expected);
    // As Docker's: an empty set of attributes is still followed by a blank.
    let selection = Selection { details: true, since: time("05"), ..Selection::default() };
    assert_eq!(shown(&path, 1, &selection).0, " five\n");
}

fn chunk() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => "[a-z€\\n\u{0}]{0,30}",
        1 => "[a-z€]".prop_map(|letter| letter.repeat(20_000)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_shown(
        chunks in vec((any::<bool>(), chunk()), 0..20),
        max_size in 500_u64..5000,
    ) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("log");
        let mut writer = Writer::open(&path, &options(max_size, 1000)).unwrap();
        let mut written = (String::new(), String::new());
        for (is_error, text) in &chunks {
            let stream = if *is_error { Stream::Stderr } else { Stream::Stdout };
            writer.write(stream, text.as_bytes());
            writer.take_rotated();
            if *is_error { &mut written.1 } else { &mut written.0 }.push_str(text);
        }
        writer.end();
        prop_assert_eq!(shown(&path, 1000, &Selection::default()), written);
    }
}

/// What a monitor does for one follower.
struct Guest {
    line: Visited,
    follows: bool,
    waits: bool,
    behind: bool,
}

impl Guest {
    fn say(&self, event: &Event, file: Option<&std::fs::File>) {
        use std::os::fd::AsFd;
        while self.line.say(event, file.map(AsFd::as_fd)) == Err(Errno::EAGAIN) {
            std::thread::yield_now();
        }
    }

    fn hear(&mut self) {
        while let Ok(Some(Request::Follow)) = self.line.hear() {
            if !self.follows || self.behind {
                (self.follows, self.behind) = (true, false);
                self.say(&Event::Grown, None);
            } else {
                self.waits = true;
            }
        }
    }

    fn see_growth(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.say(&Event::Grown, None);
        } else {
            self.behind = true;
        }
    }
}

/// Followers come at any time while the log is rotated as fast as it can be. Each sees a row of numbers without a gap,
/// and none twice, to the end.
#[test]
fn followers_miss_nothing_and_see_nothing_twice() {
    for (max_size, max_file) in [(20_000, 1), (20_000, 2), (50_000, 3)] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("log");
        let (ended, followers) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut writer = Writer::open(&path, &options(max_size, max_file)).unwrap();
        let (send, arrivals) = std::sync::mpsc::channel::<Visited>();
        std::thread::scope(|scope| {
            for delay in [0, 7, 23] {
                let (send, path, ended, followers) = (send.clone(), &path, &ended, &followers);
                scope.spawn(move || {
                    while !ended.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(delay));
                        let (visitor, visited) = wire::pair().unwrap();
                        if send.send(visited).is_err() {
                            return;
                        }
                        check_numbers(&visitor, path, max_file, delay > 10);
                        followers.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            drop(send);
            let mut guests: Vec<Guest> = Vec::new();
            let mut number = 0;
            while number < LINES || followers.load(Ordering::SeqCst) < 20 {
                let chunk: String =
                    (number..number + 500).map(|number| format!("{number}\n")).collect();
                number += 500;
                writer.write(Stream::Stdout, chunk.as_bytes());
                let files = writer.take_rotated();
                for guest in guests.iter_mut().filter(|guest| guest.follows) {
                    files.iter().for_each(|file| guest.say(&Event::Rotated, Some(file)));
                    guest.see_growth();
                }
                guests.extend(arrivals.try_iter().map(|line| Guest {
                    line,
                    follows: false,
                    waits: false,
                    behind: false,
                }));
                guests.iter_mut().for_each(Guest::hear);
                // Some are told of the end on the way: the container is started again.
                if number % 5_000 == 0 {
                    guests.drain(..).for_each(|guest| guest.say(&Event::Exited(0), None));
                }
            }
            ended.store(true, Ordering::SeqCst);
            drop(guests);
            drop(arrivals);
        });
    }
}

fn check_numbers(visitor: &wire::Visitor, path: &Path, max_file: u32, from_the_end: bool) {
    let mut bytes = Vec::new();
    let mut show = |_: Stream, more: &[u8]| {
        bytes.extend_from_slice(more);
        Ok(())
    };
    let selection = if from_the_end { tail(10) } else { Selection::default() };
    let mut printer = Printer::new(&selection, false, &mut show);
    follow(visitor, path, max_file, &mut printer).unwrap();
    printer.flush().unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let numbers: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    for pair in numbers.windows(2) {
        assert_eq!(pair[0] + 1, pair[1], "max_file {max_file}");
    }
}

#[test]
fn nobody_is_told_twice_what_copies_of_a_file_hold() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    let mut writer = Writer::open(&path, &options(100, 2)).unwrap();
    writer.write(Stream::Stdout, b"0\n1\n2\n");
    let mut files = writer.take_rotated();
    let mut file = files.remove(0);
    // A copy of the descriptor has its place in the file in common with it.
    let mut copy = files::Lines::new(file.try_clone().unwrap());
    file.read_to_end(&mut Vec::new()).unwrap();
    assert!(matches!(copy.next().unwrap(), files::Next::Line(_)));
    assert_eq!(copy.next().unwrap(), files::Next::End);
}
