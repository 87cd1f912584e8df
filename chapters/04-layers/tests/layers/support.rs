//! Archives by hand, and trees as text.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use layers::{DiffId, Stats, UnpackError};
use tar::{EntryType, Header};

/// Opens a directory.
pub(crate) fn directory(path: &Path) -> File {
    File::open(path).unwrap()
}

/// Makes `path` and unpacks an archive there.
pub(crate) fn unpack_to(tar: &[u8], path: &Path) -> Result<Stats, UnpackError> {
    std::fs::create_dir_all(path).unwrap();
    layers::unpack(tar, std::os::fd::AsFd::as_fd(&directory(path)))
}

/// The layer tar of a directory.
pub(crate) fn diff_of(path: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    layers::diff(std::os::fd::AsFd::as_fd(&directory(path)), &mut tar).unwrap();
    tar
}

/// Runs a command that must succeed, and returns what it printed.
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    output.stdout
}

/// Runs a line of shell in a directory.
pub(crate) fn sh(dir: &Path, line: &str) -> String {
    let output = run(Command::new("bash").args(["-euc", line]).current_dir(dir));
    String::from_utf8_lossy(&output).into_owned()
}

/// Builds an archive byte by byte: anything can be said, true or not.
#[derive(Default, Clone)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One header with data after it; `change` makes it special.
    pub(crate) fn entry(
        mut self,
        kind: u8,
        name: impl AsRef<[u8]>,
        data: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        let name = name.as_ref();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &str) -> Self {
        self.entry(b'0', name, data.as_bytes(), |_| {})
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.entry(b'5', name, b"", |_| {})
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        if target.len() > 100 {
            return self.pax(&[("linkpath", target.as_bytes())]).symlink(name, "cut");
        }
        self.entry(b'2', name, b"", |header| header.set_link_name_literal(target).unwrap())
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name, b"", |header| header.set_link_name_literal(target).unwrap())
    }

    /// An extended header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (1..9).map(|n| rest + n).find(|n| rest + n.to_string().len() == *n);
            data.extend_from_slice(format!("{} {key}=", length.unwrap()).as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry(b'x', "PaxHeaders/x", &data, |_| {})
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The archive with its end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// Describes a tree, one line for each name: what it is, mode, owner, time, content, links,
/// attributes. Overlay's own attributes are not in it; `with_overlay` adds them.
pub(crate) fn listing(root: &Path) -> Vec<String> {
    list(root, false)
}

/// As [`listing`], with overlay's own attributes.
pub(crate) fn listing_with_overlay(root: &Path) -> Vec<String> {
    list(root, true)
}

fn list(root: &Path, with_overlay: bool) -> Vec<String> {
    let mut lines = Vec::new();
    walk(root, Path::new(""), with_overlay, &mut HashMap::new(), &mut lines);
    lines
}

fn walk(
    root: &Path,
    relative: &Path,
    with_overlay: bool,
    first_names: &mut HashMap<(u64, u64), String>,
    lines: &mut Vec<String>,
) {
    let path = if relative == Path::new("") { root.to_owned() } else { root.join(relative) };
    let name = relative.as_os_str().as_bytes().escape_ascii().to_string();
    let meta = std::fs::symlink_metadata(&path).unwrap();
    let mut line = format!(
        "/{name} {:o} {}:{} {}.{:09}",
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec()
    );
    let mut add = |text: String| line.push_str(&text);
    if meta.is_file() {
        let content = std::fs::read(&path).unwrap();
        add(format!(" size={} {}", meta.len(), &DiffId::of(&content).hex()[..12]));
    } else if meta.is_symlink() {
        add(format!(" -> {:?}", std::fs::read_link(&path).unwrap()));
    } else if !meta.is_dir() {
        add(format!(" dev={:x}", meta.rdev()));
    }
    if !meta.is_dir() && meta.nlink() > 1 {
        // The number of links counts names that a whiteout hides, too: only what is seen twice is
        // one.
        match first_names.entry((meta.dev(), meta.ino())) {
            Entry::Occupied(first) => add(format!(" =/{}", first.get())),
            Entry::Vacant(place) => drop(place.insert(name.clone())),
        }
    }
    let mut keys: Vec<_> = xattr::list(&path).unwrap().collect();
    keys.sort();
    for key in keys {
        let value = xattr::get(&path, &key).unwrap().unwrap();
        let key = key.to_str().unwrap();
        if with_overlay || !key.contains(".overlay.") {
            add(format!(" {key}={}", value.escape_ascii().to_string().replace(' ', "\\x20")));
        }
    }
    lines.push(line);
    if meta.is_dir() {
        let mut names: Vec<_> =
            std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            walk(root, &relative.join(name), with_overlay, first_names, lines);
        }
    }
}

/// Compares two listings and shows only what differs.
#[track_caller]
pub(crate) fn assert_same(left: &[String], right: &[String], what: &str) {
    let only = |these: &[String], those: &[String]| {
        these.iter().filter(|line| !those.contains(line)).cloned().collect::<Vec<_>>().join("\n  ")
    };
    assert!(
        left == right,
        "{what}:\nonly left:\n  {}\nonly right:\n  {}",
        only(left, right),
        only(right, left)
    );
}
