//! Trees as text: `d/:700 d/f=content:644@1:2 l->target`. What is not said is 755, 644 and root's.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use build::attributes::Attributes;
use build::copy::{Copied, Target, copy};
use build::file_error::FileError;
use build::ignore::Ignore;
use build::select::{Request, Selection, select};

/// Makes a tree in an empty or new folder.
pub(crate) fn make(root: &Path, tree: &str) {
    fs::create_dir_all(root).unwrap();
    for item in tree.split_whitespace() {
        if let Some((link, target)) = item.split_once("->") {
            fs::create_dir_all(root.join(link).parent().unwrap()).unwrap();
            symlink(target, root.join(link)).unwrap();
            continue;
        }
        let (item, owner) = item.split_once('@').unwrap_or((item, "0:0"));
        let (uid, gid) = owner.split_once(':').unwrap();
        let (item, mode) = match item.rsplit_once(':') {
            Some((item, mode)) => (item, u32::from_str_radix(mode, 8).unwrap()),
            None => (item, if item.ends_with('/') { 0o755 } else { 0o644 }),
        };
        let path = match item.split_once('=') {
            Some((name, content)) => {
                fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
                fs::write(root.join(name), content).unwrap();
                root.join(name)
            }
            None => {
                fs::create_dir_all(root.join(item)).unwrap();
                root.join(item)
            }
        };
        chown(&path, uid.parse().ok(), gid.parse().ok()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Describes a tree, in the same form.
pub(crate) fn show(root: &Path) -> String {
    let mut items = Vec::new();
    walk(root, "", &mut items);
    items.join(" ")
}

fn walk(directory: &Path, prefix: &str, items: &mut Vec<String>) {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let path = directory.join(&name);
        let meta = fs::symlink_metadata(&path).unwrap();
        let shown = format!("{prefix}{}", name.as_bytes().escape_ascii());
        let owner = match (meta.uid(), meta.gid()) {
            (0, 0) => String::new(),
            (uid, gid) => format!("@{uid}:{gid}"),
        };
        let mode = meta.mode() & 0o7777;
        let with = |usual: u32| if mode == usual { String::new() } else { format!(":{mode:o}") };
        if meta.is_dir() {
            items.push(format!("{shown}/{}{owner}", with(0o755)));
            walk(&path, &format!("{shown}/"), items);
        } else if meta.is_symlink() {
            items.push(format!("{shown}->{}{owner}", fs::read_link(&path).unwrap().display()));
        } else if meta.is_file() {
            let content = fs::read(&path).unwrap();
            items.push(format!("{shown}={}{}{owner}", content.escape_ascii(), with(0o644)));
        } else {
            items.push(format!("{shown}?{:x}{}{owner}", meta.rdev(), with(0o644)));
        }
    }
}

pub(crate) fn open(path: &Path) -> File {
    File::open(path).unwrap()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Selects without `.dockerignore` and flags.
pub(crate) fn selected(root: &Path, sources: &[&str]) -> Result<Selection, FileError> {
    select_with(root, "", sources, &[], false)
}

pub(crate) fn select_with(
    root: &Path,
    ignore: &str,
    sources: &[&str],
    exclude: &[&str],
    parents: bool,
) -> Result<Selection, FileError> {
    let (sources, exclude) = (owned(sources), owned(exclude));
    let request = Request { sources: &sources, exclude: &exclude, parents };
    select(open(root).as_fd(), &Ignore::parse(ignore.as_bytes(), ".dockerignore")?, &request)
}

/// Copies a selection.
pub(crate) fn copied(
    from: &Path,
    selection: &Selection,
    to: &Path,
    path: &str,
    attributes: &Attributes,
) -> Result<Copied, FileError> {
    let (from, to) = (open(from), open(to));
    let target = Target { root: to.as_fd(), path: path.as_bytes(), instruction: "COPY" };
    copy(from.as_fd(), selection, &target, attributes)
}

/// The paths in a selection, a `/` behind directories.
pub(crate) fn paths(selection: &Selection) -> String {
    let path = |entry: &build::select::Entry| {
        let slash = if entry.kind == build::select::Kind::Directory { "/" } else { "" };
        format!("{}{slash}", build::names::shown(&entry.path))
    };
    selection.entries().map(path).collect::<Vec<_>>().join(" ")
}
