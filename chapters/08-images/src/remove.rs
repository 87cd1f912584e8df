//! Removing: first names, then images, then blobs that nothing points to.

use std::collections::BTreeSet;
use std::fs::{self, File};

use serde_json::Value;
use syscalls::During;

use crate::digest::Digest;
use crate::error::Error;
use crate::index::Index;
use crate::spool::{Spool, read_document};
use crate::store::Store;

/// What [`Store::remove`] took away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names, as short as Docker prints them: `Untagged: busybox:latest`.
    pub untagged: Vec<String>,
    /// The image's ID, then the diff IDs of layers that no image has any more, topmost first: `Deleted: sha256:...`.
    pub deleted: Vec<String>,
}

impl Removed {
    /// The diff IDs among [`deleted`](Self::deleted): unpacked layers that may go too, unless a container uses them.
    pub fn layers(&self) -> &[String] {
        self.deleted.get(1..).unwrap_or_default()
    }
}

/// What a sweep found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Number of blobs removed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Removes a name, and with its last name the image (`docker rmi`).
    ///
    /// `in_use` tells which containers were made from the image with this ID; it is called with the store locked, so it
    /// must not load, name or remove images itself. `force` removes all names of an image
    /// given by its ID, and an image that containers use; whether a running container forbids it is the caller's rule.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve); [`Error::SeveralNames`], [`Error::InUse`] without `force`.
    pub fn remove(
        &self,
        name: &str,
        force: bool,
        in_use: &dyn Fn(&str) -> Vec<String>,
    ) -> Result<Removed, Error> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let found = self.find(&index, name)?;
        let id = found
            .entries
            .first()
            .map(|entry| self.id_of(&entry.descriptor))
            .ok_or_else(|| Error::NotFound(name.to_owned()))?;
        let names: Vec<_> = found.entries.iter().filter_map(|entry| entry.reference()).collect();
        if names.len() > 1 && !force && !found.by_tag {
            let names = names.iter().map(|name| name.familiar()).collect();
            return Err(Error::SeveralNames { id: short(&id), names });
        }
        let all: Vec<_> =
            index.entries().filter(|entry| self.id_of(&entry.descriptor) == id).collect();
        let total = all.iter().filter(|entry| entry.reference().is_some()).count();
        let mut removed = Removed {
            untagged: names.iter().map(|name| name.familiar()).collect(),
            deleted: Vec::new(),
        };
        if names.len() < total {
            names.iter().for_each(|name| index.remove_name(&name.to_string()));
            let unnamed = found.entries.iter().filter(|entry| entry.reference().is_none());
            unnamed.for_each(|entry| index.remove(&entry.descriptor.digest));
            self.write_index(&index)?;
            // The manifest that lost its name may differ from the one that the other names have.
            self.sweep(&index)?;
            return Ok(removed);
        }
        let containers = in_use(&id);
        if !containers.is_empty() && !force {
            return Err(Error::InUse { image: name.to_owned(), containers });
        }
        // A damaged image has no layers that we know of.
        let layers = self.resolve(&id).map(|image| image.layers).unwrap_or_default();
        all.iter().for_each(|entry| index.remove(&entry.descriptor.digest));
        self.write_index(&index)?;
        let others = self.diff_ids()?;
        removed.deleted.push(id);
        for layer in layers.into_iter().rev() {
            if !others.contains(&layer.diff_id) && !removed.deleted.contains(&layer.diff_id) {
                removed.deleted.push(layer.diff_id);
            }
        }
        self.sweep(&index)?;
        Ok(removed)
    }

    /// Removes blobs that no entry of `index.json` leads to, and what crashed commands left behind.
    ///
    /// # Errors
    /// If a manifest cannot be read for another reason than that it is missing or no JSON: then nothing is removed.
    pub fn gc(&self) -> Result<Swept, Error> {
        let _lock = self.lock()?;
        Spool::reclaim(&self.root.join("tmp"))?;
        let (files, bytes) = self.remove_incoming()?;
        let swept = self.sweep(&self.index()?)?;
        Ok(Swept { blobs: swept.blobs + files, bytes: swept.bytes + bytes })
    }

    /// Mark and sweep; the caller holds the lock, so no load is between its blobs and its index.
    pub(crate) fn sweep(&self, index: &Index) -> Result<Swept, Error> {
        let (mut marked, mut followed) = (BTreeSet::new(), BTreeSet::new());
        for entry in index.entries() {
            self.mark(&entry.descriptor.digest, &mut marked, &mut followed)?;
        }
        let mut swept = Swept::default();
        let blobs = self.blobs();
        for file in fs::read_dir(&blobs).during("read folder", blobs.display())? {
            let file = file.during("read folder", blobs.display())?;
            let digest = file.file_name().to_str().and_then(Digest::from_hex);
            if digest.is_some_and(|digest| marked.contains(&digest)) {
                continue;
            }
            let path = file.path();
            swept.bytes += file.metadata().during("stat", path.display())?.len();
            swept.blobs += 1;
            fs::remove_file(&path).during("remove file", path.display())?;
        }
        Ok(swept)
    }

    /// Marks a document and whatever it names by digest; follows documents that it lists as manifests.
    fn mark(
        &self,
        document: &Digest,
        marked: &mut BTreeSet<Digest>,
        followed: &mut BTreeSet<Digest>,
    ) -> Result<(), Error> {
        marked.insert(*document);
        if !followed.insert(*document) {
            return Ok(());
        }
        let path = self.blobs().join(document.hex());
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.during("open file", path.display())?,
        };
        // Too large or no JSON: it is not one of our documents, and leads nowhere.
        let bytes = match read_document("manifest", file) {
            Err(Error::TooLarge { .. }) => return Ok(()),
            other => other?,
        };
        let Ok(value) = serde_json::from_slice::<Value>(&bytes) else { return Ok(()) };
        digests(&value, marked);
        let listed = value.get("manifests").and_then(Value::as_array).into_iter().flatten();
        let digest = |entry: &Value| entry.get("digest")?.as_str()?.parse::<Digest>().ok();
        for next in listed.filter_map(digest) {
            self.mark(&next, marked, followed)?;
        }
        Ok(())
    }
}

/// Every digest that stands anywhere in a document, also in fields that only others know.
fn digests(value: &Value, found: &mut BTreeSet<Digest>) {
    match value {
        Value::Object(object) => {
            let own = object.get("digest").and_then(Value::as_str);
            found.extend(own.and_then(|text| text.parse::<Digest>().ok()));
            object.values().for_each(|value| digests(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| digests(value, found)),
        _ => {}
    }
}

/// Twelve digits of an ID, as people see it.
fn short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(12).collect()
}
