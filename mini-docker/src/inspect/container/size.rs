//! How large a container's files are.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::containers::Containers;
use crate::engine::Engine;
use crate::record::Record;

/// Bytes that a container has written, and bytes of all its files, those of its image included. What is removed while
/// one looks is not counted.
pub fn sizes(engine: &Engine, record: &Record) -> (u64, u64) {
    let upper = Containers::new(engine).dir(&record.id).join("upper");
    let own = written(&upper, &mut BTreeSet::new());
    let layers = engine.layers().ok();
    let below: u64 =
        record.layers.iter().filter_map(|id| layers.as_ref()?.size(&id.parse().ok()?).ok()).sum();
    (own, own + below)
}

/// The lengths of all files below a folder, each file once, folders not at all: as Docker counts.
fn written(folder: &Path, seen: &mut BTreeSet<u64>) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => written(&entry.path(), seen),
            Ok(metadata) if metadata.nlink() > 1 && !seen.insert(metadata.ino()) => 0,
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_two_names_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("folder")).unwrap();
        fs::write(path("one"), "12345").unwrap();
        fs::hard_link(path("one"), path("folder/same")).unwrap();
        fs::write(path("folder/two"), "123").unwrap();
        assert_eq!(written(dir.path(), &mut BTreeSet::new()), 8);
        assert_eq!(written(&path("none"), &mut BTreeSet::new()), 0);
    }
}
