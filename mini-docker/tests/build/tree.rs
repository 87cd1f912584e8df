//! An image as lines of text that can be compared: one for each file with everything that a layer says about it, one for
//! each setting.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Files of contexts and bases are older: their times come from the source, all others are of the build.
pub const LATEST_SOURCE: i64 = 1_500_000_000;

/// By path: what is there.
pub type Tree = BTreeMap<String, String>;

/// Layers, topmost first, as a container sees them; `place` is an empty folder.
pub fn merged(lowers: &[PathBuf], place: &Path) -> crate::support::Result<Tree> {
    std::fs::create_dir_all(place)?;
    let empty = place.with_extension("empty");
    std::fs::create_dir_all(&empty)?;
    let mut lowers = lowers.to_vec();
    while lowers.len() < 2 {
        lowers.push(empty.clone());
    }
    let mount = layers::overlay(&lowers, None, None)?;
    syscalls::mount::attach(mount.as_fd(), File::open(place)?.as_fd())?;
    let mut tree = Tree::new();
    walk(place, Path::new("/"), &mut HashMap::new(), &mut tree);
    // No layer says anything about the root if no step has changed it: it is the store's own.
    tree.remove("/");
    nix::mount::umount2(place, nix::mount::MntFlags::MNT_DETACH)?;
    Ok(tree)
}

/// A line: type and mode, owner, time, content, extended attributes, the first name of the same file.
fn walk(root: &Path, path: &Path, first_names: &mut HashMap<u64, PathBuf>, tree: &mut Tree) {
    let place = root.join(path.strip_prefix("/").unwrap());
    let meta =
        std::fs::symlink_metadata(&place).unwrap_or_else(|error| panic!("{place:?}: {error}"));
    let kind = meta.file_type();
    let mut line = format!("{:06o} {}:{}", meta.mode(), meta.uid(), meta.gid());
    // The mode of a link means nothing, and its time is set by few.
    if meta.mtime() < LATEST_SOURCE {
        write!(line, " @{}", meta.mtime()).unwrap();
    }
    if kind.is_file() {
        write!(line, " {}", content(&std::fs::read(&place).unwrap())).unwrap();
    } else if kind.is_symlink() {
        write!(line, " -> {}", std::fs::read_link(&place).unwrap().display()).unwrap();
    } else if kind.is_char_device() || kind.is_block_device() {
        write!(line, " device {}", meta.rdev()).unwrap();
    }
    for key in xattr::list(&place).unwrap() {
        let value = xattr::get(&place, &key).unwrap().unwrap_or_default();
        write!(line, " {}={}", key.display(), content(&value)).unwrap();
    }
    if !kind.is_dir() && meta.nlink() > 1 {
        let first = first_names.entry(meta.ino()).or_insert_with(|| path.to_owned());
        if first != path {
            write!(line, " = {}", first.display()).unwrap();
        }
    }
    tree.insert(path.display().to_string(), line);
    if kind.is_dir() {
        let mut names: Vec<_> =
            std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names.iter().for_each(|name| walk(root, &path.join(name), first_names, tree));
    }
}

/// Short texts as they are, anything else by its digest.
fn content(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= 100 => format!("{text:?}"),
        _ => format!("{} bytes {}", bytes.len(), &layers::DiffId::of(bytes).hex()[..16]),
    }
}

/// What differs from `base`: `/path line`, and `/path gone`.
pub fn changes(tree: &Tree, base: &Tree) -> BTreeSet<String> {
    let new = tree.iter().filter(|(path, line)| base.get(*path) != Some(*line));
    let mut lines: BTreeSet<String> = new.map(|(path, line)| format!("{path} {line}")).collect();
    let gone = base.keys().filter(|path| !tree.contains_key(*path));
    lines.extend(gone.map(|path| format!("{path} gone")));
    lines
}

/// The settings of an image config, a line for each that says something: null, empty and false say nothing.
pub fn settings(config: &Value) -> BTreeSet<String> {
    let says = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) => !all.is_empty(),
        _ => true,
    };
    let mut lines = BTreeSet::new();
    if let Some(author) = config.get("author").filter(|value| says(value)) {
        lines.insert(format!("author {author}"));
    }
    let object = config.get("config").and_then(Value::as_object);
    for (key, value) in object.into_iter().flatten().filter(|(_, value)| says(value)) {
        // buildah gives the build's own.
        if key == "Hostname" {
            continue;
        }
        let mut value = value.clone();
        value.sort_all_objects();
        lines.insert(format!("{key} {value}"));
    }
    lines
}
