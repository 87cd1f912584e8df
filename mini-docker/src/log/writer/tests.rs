use std::io::Read;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tempfile::TempDir;

use super::super::entry::Entry;
use super::*;

fn options(max_size: Option<u64>, max_file: u32) -> LogOptions {
    LogOptions { enabled: true, max_size, max_file }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x-json.log");
    (folder, path)
}

/// The texts in a log's bytes; what is no entry is marked.
fn texts(bytes: &[u8]) -> Vec<(Stream, String)> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| match Entry::parse(line) {
            Some(entry) if line.ends_with(b"\n") => (entry.stream, entry.text.into_owned()),
            _ => (Stream::Stdout, format!("TORN {}", line.len())),
        })
        .collect()
}

fn stdout(texts: &[&str]) -> Vec<(Stream, String)> {
    texts.iter().map(|text| (Stream::Stdout, (*text).to_owned())).collect()
}

#[test]
fn the_streams_do_not_mix_within_a_line() {
    let (_folder, path) = folder();
    let mut writer = Writer::open(&path, &options(None, 1)).unwrap();
    writer.write(Stream::Stdout, b"one\ntw");
    writer.write(Stream::Stderr, b"error\nmo");
    writer.write(Stream::Stdout, b"o\nthr");
    assert_eq!(texts(&fs::read(&path).unwrap()).len(), 3);
    writer.end();
    let expected = [
        (Stream::Stdout, "one\n"),
        (Stream::Stderr, "error\n"),
        (Stream::Stdout, "two\n"),
        (Stream::Stdout, "thr"),
        (Stream::Stderr, "mo"),
    ];
    let expected = expected.map(|(stream, text)| (stream, text.to_owned()));
    assert_eq!(texts(&fs::read(&path).unwrap()), expected);
}

#[test]
fn the_pieces_of_a_line_have_one_time() {
    let (_folder, path) = folder();
    let mut writer = Writer::open(&path, &options(None, 1)).unwrap();
    let piece = vec![b'x'; 20 << 10];
    writer.write(Stream::Stdout, &piece);
    std::thread::sleep(std::time::Duration::from_millis(1));
    writer.write(Stream::Stdout, &piece);
    writer.write(Stream::Stdout, b"\nnext\n");
    let bytes = fs::read(&path).unwrap();
    let times: Vec<Timestamp> = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| Entry::parse(line).unwrap().time().unwrap())
        .collect();
    assert_eq!(times.len(), 4);
    assert!(times[0] == times[1] && times[1] == times[2] && times[2] < times[3], "{times:?}");
}

#[test]
fn it_goes_on_with_what_is_there_also_after_a_crash() {
    let (_folder, path) = folder();
    Writer::open(&path, &options(None, 1)).unwrap().write(Stream::Stdout, b"one\n");
    let mut torn = fs::read(&path).unwrap();
    torn.extend_from_slice(b"{\"log\":\"tw");
    fs::write(&path, torn).unwrap();
    let mut writer = Writer::open(&path, &options(None, 1)).unwrap();
    writer.write(Stream::Stdout, b"three\nfour\n");
    let expected = stdout(&["one\n", "TORN 11", "three\n", "four\n"]);
    assert_eq!(texts(&fs::read(&path).unwrap()), expected);
}

#[test]
fn files_move_up_and_the_oldest_goes() {
    for (max_file, kept) in [(1, 1), (2, 2), (3, 3), (20, 10)] {
        let (folder, path) = folder();
        let mut writer = Writer::open(&path, &options(Some(100), max_file)).unwrap();
        let mut begun = 0;
        // An entry has more than 50 bytes and less than 100: two for each file.
        for number in 0..20 {
            writer.write(Stream::Stdout, format!("{number}\n").as_bytes());
            begun += writer.take_rotated().len();
        }
        assert_eq!(begun, 9, "{max_file}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), kept, "{max_file}");
        let mut all = Vec::new();
        for number in (0..max_file).rev() {
            let Ok(bytes) = fs::read(older(&path, number)) else { continue };
            assert_eq!(texts(&bytes).len(), 2);
            all.extend(texts(&bytes).into_iter().map(|(_, text)| text));
        }
        let expected: Vec<String> =
            (20 - 2 * kept..20).map(|number| format!("{number}\n")).collect();
        assert_eq!(all, expected, "{max_file}");
    }
}

#[test]
fn new_files_are_given_for_reading_from_their_beginning() {
    let (_folder, path) = folder();
    let mut writer = Writer::open(&path, &options(Some(60), 1)).unwrap();
    writer.write(Stream::Stdout, b"0\n1\n2\n");
    let files = writer.take_rotated();
    let mut found = Vec::new();
    for mut file in files {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        found.extend(texts(&bytes));
        file.write_all(b"x").unwrap_err();
    }
    assert_eq!(found, stdout(&["1\n", "2\n"]));
    // A burst makes no more files than somebody can hold.
    writer.write(Stream::Stdout, "x\n".repeat(1000).as_bytes());
    assert_eq!(writer.take_rotated().len(), MOST_ROTATED);
    writer.write(Stream::Stdout, b"y\n");
    assert_eq!(writer.take_rotated().len(), 1);
}

#[test]
fn who_opens_the_files_is_not_waited_for() {
    let (_folder, path) = folder();
    let mut writer = Writer::open(&path, &options(Some(60), 3)).unwrap();
    let reader = File::open(&path).unwrap();
    reader.lock_shared().unwrap();
    writer.write(Stream::Stdout, b"0\n1\n2\n");
    assert_eq!(writer.take_rotated().len(), 0);
    assert_eq!(texts(&fs::read(&path).unwrap()).len(), 3);
    drop(reader);
    writer.write(Stream::Stdout, &b"x".repeat(1 << 20));
    assert!(!writer.take_rotated().is_empty());
    // The lock went with it.
    File::open(older(&path, 1)).unwrap().try_lock().unwrap();
}

#[test]
fn a_failed_rotation_is_none() {
    let (_folder, path) = folder();
    let mut writer = Writer::open(&path, &options(Some(60), 2)).unwrap();
    // Nothing can be put in its place.
    fs::create_dir_all(next(&path).join("full")).unwrap();
    writer.write(Stream::Stdout, b"0\n1\n2\n");
    assert_eq!(texts(&fs::read(&path).unwrap()), stdout(&["0\n", "1\n", "2\n"]));
    fs::remove_dir_all(next(&path)).unwrap();
    writer.write(Stream::Stdout, b"3\n");
    assert_eq!(texts(&fs::read(&path).unwrap()), stdout(&["3\n"]));
}

#[test]
fn what_a_full_disk_has_swallowed_is_told() {
    let (_folder, path) = folder();
    let mut writer = Writer::open(&path, &options(None, 1)).unwrap();
    writer.write(Stream::Stdout, b"one\n");
    let full = File::options().append(true).open("/dev/full").unwrap();
    let disk = std::mem::replace(&mut writer.file, full);
    writer.write(Stream::Stdout, b"two\nthree\nfo");
    writer.write(Stream::Stdout, b"ur\n");
    writer.file = disk;
    writer.write(Stream::Stderr, b"five\n");
    writer.end();
    let found = texts(&fs::read(&path).unwrap());
    assert_eq!(found.len(), 3);
    let (stream, words) = &found[1];
    assert_eq!(*stream, Stream::Stderr);
    let bytes: usize = ["two", "three", "four"].map(|text| 71 + text.len()).iter().sum();
    assert_eq!(
        *words,
        format!(
            "mini-docker: 3 lines ({bytes} bytes of log) could not be written here: No space left on device\n"
        )
    );
    assert_eq!(found[2].1, "five\n");
    // Also at the end, when nothing follows.
    let full = File::options().append(true).open("/dev/full").unwrap();
    let disk = std::mem::replace(&mut writer.file, full);
    writer.write(Stream::Stdout, b"six\n");
    writer.file = disk;
    writer.end();
    assert_eq!(texts(&fs::read(&path).unwrap()).len(), 4);
}

#[test]
fn a_line_that_was_torn_by_a_full_disk_is_ended() {
    let (_folder, path) = folder();
    let mut writer = Writer::open(&path, &options(None, 1)).unwrap();
    // A pipe takes a part and then no more, as a disk does.
    let (mut from, to) = std::io::pipe().unwrap();
    fcntl(&to, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    fcntl(&to, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    fcntl(&from, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    writer.file = File::from(std::os::fd::OwnedFd::from(to));
    let lines: String = (100..200).map(|number| format!("{number}\n")).collect();
    writer.write(Stream::Stdout, lines.as_bytes());
    assert!(writer.torn);
    let mut bytes = vec![0; 8192];
    let length = from.read(&mut bytes).unwrap();
    bytes.truncate(length);
    writer.write(Stream::Stdout, b"end\n");
    drop(writer);
    from.read_to_end(&mut bytes).unwrap();
    let found: Vec<String> = texts(&bytes).into_iter().map(|(_, text)| text).collect();
    let whole = found.iter().position(|text| text.starts_with("TORN")).unwrap();
    assert_eq!(whole, 4096 / 74);
    assert!(
        found[whole + 1].starts_with(&format!("mini-docker: {} lines", 100 - whole)),
        "{found:?}"
    );
    assert_eq!(found[whole + 2..], ["end\n"]);
}
