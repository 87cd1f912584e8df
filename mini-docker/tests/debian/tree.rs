//! A tree of files, with everything that a layer can say about each.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use layers::DiffId;

/// What is at each path; the root is `/`.
pub type Tree = BTreeMap<PathBuf, Node>;

/// One file, folder, link or device.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    /// Type and permissions, `st_mode` of inode(7).
    mode: u32,
    uid: u32,
    gid: u32,
    /// Seconds and nanoseconds.
    mtime: (i64, i64),
    content: Content,
    xattrs: BTreeMap<String, Vec<u8>>,
    /// The first name of the same file, if it has several.
    same_as: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
enum Content {
    File { size: u64, sha256: String },
    Link(PathBuf),
    Device(u64),
    Nothing,
}

impl Node {
    /// Whether it is a folder.
    pub fn is_dir(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, uid, gid, mtime, content, xattrs, same_as } = self;
        write!(f, "{mode:06o} {uid}:{gid} {}.{:09} {content:?} {xattrs:?}", mtime.0, mtime.1)?;
        same_as.as_ref().map_or(Ok(()), |name| write!(f, " = {name:?}"))
    }
}

/// Lists everything below `root`, without following a link.
pub fn listing(root: &Path) -> Tree {
    let mut tree = Tree::new();
    walk(root, Path::new("/"), &mut HashMap::new(), &mut tree);
    tree
}

fn walk(root: &Path, path: &Path, first_names: &mut HashMap<u64, PathBuf>, tree: &mut Tree) {
    let place = root.join(path.strip_prefix("/").unwrap());
    let meta =
        std::fs::symlink_metadata(&place).unwrap_or_else(|error| panic!("{place:?}: {error}"));
    let kind = meta.file_type();
    let content = if kind.is_file() {
        let bytes = std::fs::read(&place).unwrap();
        Content::File { size: meta.len(), sha256: DiffId::of(&bytes).hex().to_owned() }
    } else if kind.is_symlink() {
        Content::Link(std::fs::read_link(&place).unwrap())
    } else if kind.is_char_device() || kind.is_block_device() {
        Content::Device(meta.rdev())
    } else {
        Content::Nothing
    };
    // The link count also counts names that a layer above hides; only what is seen twice is one file.
    let mut same_as = None;
    if !kind.is_dir() && meta.nlink() > 1 {
        let first = first_names.entry(meta.ino()).or_insert_with(|| path.to_owned());
        same_as = (first != path).then(|| first.clone());
    }
    let keys = xattr::list(&place).unwrap();
    let xattrs = keys.map(|key| {
        let value = xattr::get(&place, &key).unwrap().unwrap_or_default();
        (key.into_string().unwrap(), value)
    });
    let node = Node {
        mode: meta.mode(),
        uid: meta.uid(),
        gid: meta.gid(),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        content,
        xattrs: xattrs.collect(),
        same_as,
    };
    tree.insert(path.to_owned(), node);
    if kind.is_dir() {
        let mut names: Vec<_> =
            std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            walk(root, &path.join(name), first_names, tree);
        }
    }
}
