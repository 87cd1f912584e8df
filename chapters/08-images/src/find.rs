//! From what people type to an entry of the index.

use std::collections::BTreeMap;

use crate::Image;
use crate::error::Error;
use crate::index::{Entry, Index};
use crate::reference::Reference;
use crate::store::Store;

/// What a name led to.
pub(crate) struct Found {
    pub(crate) entries: Vec<Entry>,
    /// By one name, and not by a digest or an ID that several names may share.
    pub(crate) by_tag: bool,
}

impl Store {
    /// Finds an image by what people type: a name (`busybox`, `busybox:1.36`, `busybox@sha256:...`), an image ID or
    /// the beginning of one (`sha256:6c3c`, `6c3c`), or a manifest digest. A name wins over an ID.
    ///
    /// Reads `index.json`, one manifest and one config; every manifest only if it has to search by ID.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`], [`Error::Reference`] if it can be neither a name nor an ID; and what
    /// is wrong with a damaged image.
    pub fn resolve(&self, name: &str) -> Result<Image, Error> {
        let index = self.index()?;
        let found = self.find(&index, name)?;
        // find() never returns an empty list.
        let entry = found.entries.first().ok_or_else(|| Error::NotFound(name.to_owned()))?;
        self.image(&index, entry)
    }

    /// The entries that `name` means; never empty.
    pub(crate) fn find(&self, index: &Index, name: &str) -> Result<Found, Error> {
        let parsed = Reference::parse(name);
        if let Ok(reference) = &parsed {
            let entries: Vec<Entry> = match reference.digest() {
                // As in Docker the digest decides; a tag beside it is for people.
                Some(digest) => {
                    let of_name =
                        |entry: &Entry| Some(entry.reference()?.name() == reference.name());
                    // The digest of the manifest, or of the image index that it was chosen from.
                    let is = |entry: &Entry| {
                        entry.descriptor.digest == digest || entry.origin == Some(digest)
                    };
                    index
                        .entries()
                        .filter(is)
                        .filter(|entry| of_name(entry) == Some(true))
                        .collect()
                }
                None => index.find(&reference.to_string()).into_iter().collect(),
            };
            if !entries.is_empty() {
                return Ok(Found { entries, by_tag: reference.digest().is_none() });
            }
        }
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(hex) {
            parsed?;
            return Err(Error::NotFound(name.to_owned()));
        }
        self.find_by_id(index, name, &format!("sha256:{prefix}"))
    }

    fn find_by_id(&self, index: &Index, name: &str, prefix: &str) -> Result<Found, Error> {
        let mut by_id: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        let mut by_manifest = Vec::new();
        for entry in index.entries() {
            let id = self.id_of(&entry.descriptor);
            if entry.descriptor.digest.to_string() == prefix {
                by_manifest.push(entry);
            } else if id.starts_with(prefix) {
                by_id.entry(id).or_default().push(entry);
            }
        }
        if !by_manifest.is_empty() {
            return Ok(Found { entries: by_manifest, by_tag: false });
        }
        if by_id.len() > 1 {
            let candidates = by_id.into_keys().collect();
            return Err(Error::Ambiguous { prefix: name.to_owned(), candidates });
        }
        match by_id.into_values().next() {
            Some(entries) => Ok(Found { entries, by_tag: false }),
            None => Err(Error::NotFound(name.to_owned())),
        }
    }
}
