//! Unpacks archives that nobody has thought of, and looks whether anything else than the root has
//! changed.
//!
//! The first byte chooses: the rest is a tar stream as it is, or choices for a list of entries
//! whose names, links and sizes are taken from what is known to hurt, perhaps behind links that lead
//! out of the root already. Per input:
//!
//! 1. no panic, and no hang (libFuzzer's own timeout);
//! 2. nothing beside the root has changed: a folder with a file, a link and a directory, and the
//!    names in the folder above;
//! 3. the same archive gives the same answer and the same tree twice, however the bytes arrive;
//! 4. the tree is made a layer and unpacked again: nothing that we write do we refuse.
//!
//! Run it with `fuzz/run`.

#![no_main]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use layers::{Limits, diff, unpack_within};
use libfuzzer_sys::fuzz_target;

#[path = "../archive.rs"]
mod archive;

/// Small, so that an input costs little; the fuzzer finds the edges by itself.
const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 200, archive: 4 << 20 };

/// The folder that holds the roots and what no archive may touch.
static STAGE: LazyLock<PathBuf> = LazyLock::new(|| {
    let parent = std::env::var_os("FUZZ_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let stage = parent.join(format!("unpack.{}", std::process::id()));
    fs::create_dir_all(stage.join("canary/dir")).unwrap();
    fs::write(stage.join("canary/file"), "canary").unwrap();
    std::os::unix::fs::symlink("file", stage.join("canary/link")).unwrap();
    // The times of the stage itself change with each root that is made in it.
    fs::create_dir(stage.join("roots")).unwrap();
    stage
});

static BEFORE: LazyLock<(Tree, Vec<String>)> =
    LazyLock::new(|| (list(&STAGE.join("canary")), names(&STAGE)));

/// Name to all that can be seen of it.
type Tree = BTreeMap<PathBuf, String>;

fuzz_target!(|data: &[u8]| {
    LazyLock::force(&BEFORE);
    let Some((choice, rest)) = data.split_first() else { return };
    let archive = if choice & 1 == 0 {
        rest.to_vec()
    } else {
        match Vec::<archive::Made>::arbitrary(&mut Unstructured::new(rest)) {
            Ok(entries) => archive::build(&entries, &STAGE, choice & 2 != 0),
            Err(_) => return,
        }
    };
    let first = unpacked("first", &archive[..]);
    let second = unpacked("second", Dribble(&archive));
    assert_eq!(first.0, second.0, "not the same answer twice");
    if first.0.is_ok() {
        assert_eq!(first.1, second.1, "not the same tree twice");
        again(&STAGE.join("roots/first"), &first.1);
    }
    assert_eq!(BEFORE.0, list(&STAGE.join("canary")), "the canary has changed");
    assert_eq!(BEFORE.1, names(&STAGE), "something appeared beside the root");
    assert_eq!(names(&STAGE.join("roots")), ["first", "second"]);
    for root in ["first", "second"] {
        remove(&STAGE.join("roots").join(root));
    }
});

/// Gives out a few bytes at a time, as a slow line does.
struct Dribble<'a>(&'a [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = into.len().min(701);
        self.0.read(&mut into[..length])
    }
}

fn unpacked(name: &str, tar: impl Read) -> (Result<String, String>, Tree) {
    let root = STAGE.join("roots").join(name);
    fs::create_dir(&root).unwrap();
    let outcome = unpack_within(tar, File::open(&root).unwrap().as_fd(), &LIMITS);
    let outcome = match outcome {
        Ok(stats) => {
            assert!(stats.bytes <= LIMITS.bytes && stats.entries <= LIMITS.entries, "{stats:?}");
            Ok(format!("{stats:?}"))
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.chars().any(char::is_control), "a terminal would obey: {text:?}");
            Err(text)
        }
    };
    (outcome, list(&root))
}

/// What was unpacked is a layer: written and read again it is the same tree.
fn again(root: &Path, tree: &Tree) {
    // A hole becomes zeros: not too many of them.
    let holes = |name: &PathBuf| {
        fs::symlink_metadata(root.join(name)).is_ok_and(|meta| meta.len() > LIMITS.bytes)
    };
    if tree.keys().any(holes) {
        return;
    }
    let mut layer = Vec::new();
    // Some trees no layer can say (a device 0/0 with a hard link, a name `.wh.`): that is an error.
    if diff(File::open(root).unwrap().as_fd(), &mut layer).is_err() {
        return;
    }
    let copy = STAGE.join("roots/copy");
    fs::create_dir(&copy).unwrap();
    let limits = Limits { bytes: 1 << 40, ..Limits::default() };
    let outcome = unpack_within(&layer[..], File::open(&copy).unwrap().as_fd(), &limits);
    outcome.expect("what we write we must read");
    let copied = list(&copy);
    assert_eq!(tree.keys().collect::<Vec<_>>(), copied.keys().collect::<Vec<_>>());
    remove(&copy);
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// All that can be seen of a tree without following a link.
fn list(dir: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        // `Path::join` with an empty path would add a slash.
        let path = dir.join(&relative);
        // Deeper than a path can say: links have helped. The rest is looked at by nobody.
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        // Nobody but an entry for it sets the root's own time, and that of a whiteout is never seen.
        let whiteout = meta.file_type().is_char_device() && meta.rdev() == 0;
        let timeless = relative.as_os_str().is_empty() || whiteout;
        let mut text = format!(
            "{:o} {}:{} {}.{} {} {:x}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            if timeless { 0 } else { meta.mtime() },
            if timeless { 0 } else { meta.mtime_nsec() },
            if meta.is_dir() { 0 } else { meta.nlink() },
            meta.rdev(),
        );
        if meta.is_file() {
            text += &format!(" {} ", meta.size());
            if meta.size() <= LIMITS.bytes {
                text += &fs::read(&path).unwrap().escape_ascii().to_string();
            }
        } else if meta.is_symlink() {
            text += &format!(" -> {:?}", fs::read_link(&path).unwrap());
        } else if meta.is_dir() && relative.as_os_str().as_bytes().len() < 3000 {
            let entries = fs::read_dir(&path).unwrap();
            pending.extend(entries.map(|entry| relative.join(entry.unwrap().file_name())));
        }
        tree.insert(relative, text);
    }
    tree
}

fn remove(dir: &Path) {
    // Deep trees need more than a path.
    if fs::remove_dir_all(dir).is_err() {
        let status = std::process::Command::new("rm").arg("-rf").arg(dir).status();
        assert!(status.unwrap().success(), "cannot remove {}", dir.display());
    }
}
