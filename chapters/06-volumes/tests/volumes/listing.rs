//! A tree of files as text, with everything that a copy must keep.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// One line per file below `root` and one for `root` itself, sorted by path.
///
/// Each has: path, kind, mode, owner, modification time, number of names, size or device, contents
/// or target, extended attributes. Number and size of directories are left out: they depend on the
/// file system.
pub(crate) fn of(root: &Path) -> String {
    let mut lines = Vec::new();
    below(root, root, &mut lines);
    lines.sort();
    lines.concat()
}

fn below(root: &Path, path: &Path, lines: &mut Vec<String>) {
    let meta = std::fs::symlink_metadata(path).unwrap();
    let kind = meta.file_type();
    let mut line = format!("/{}", path.strip_prefix(root).unwrap().display());
    write!(
        line,
        " {:o} {}:{} {}.{:09}",
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec()
    )
    .unwrap();
    if kind.is_file() {
        let bytes = std::fs::read(path).unwrap();
        let sum = bytes.iter().fold(0u32, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte));
        write!(line, " links={} size={} sum={sum:x}", meta.nlink(), meta.size()).unwrap();
    } else if kind.is_symlink() {
        write!(line, " links={} -> {:?}", meta.nlink(), std::fs::read_link(path).unwrap()).unwrap();
    } else if kind.is_char_device() || kind.is_block_device() {
        write!(line, " device={:x}", meta.rdev()).unwrap();
    }
    let mut attributes: Vec<_> = xattr::list(path).unwrap().collect();
    attributes.sort();
    for name in attributes {
        let value = xattr::get(path, &name).unwrap().unwrap();
        write!(line, " {}={value:x?}", String::from_utf8_lossy(name.as_bytes())).unwrap();
    }
    line.push('\n');
    lines.push(line);
    if kind.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            below(root, &entry.unwrap().path(), lines);
        }
    }
}
