//! Images become an archive that any other tool can read.
//!
//! One tar holds two descriptions of the same blobs, as `docker save` writes it since Docker 25:
//!
//! ```text
//!   oci-layout, index.json         OCI image layout: names -> manifests (skopeo oci-archive:, podman, containerd)
//!   manifest.json, repositories    docker-archive: config, names, layers (docker load of any age, skopeo)
//!   blobs/sha256/<64 hex>          manifests, configs, layers: as they are in the store, each once
//! ```
//!
//! Nothing in it depends on the moment or the machine: the same images under the same names are the same bytes.

use std::collections::BTreeMap;
use std::io::{BufWriter, Read, Write};

use serde_json::{Map, Value, json};
use syscalls::During;
use tar::{EntryType, Header};

use crate::Image;
use crate::digest::{Digest, Hashing};
use crate::document::{Descriptor, Manifest};
use crate::error::Error;
use crate::index::{FULL_NAME, Index, REF_NAME};
use crate::reference::Reference;
use crate::store::Store;

/// Bytes copied at once.
const CHUNK: usize = 128 << 10;
/// The unit of a tar archive, in bytes.
const BLOCK: usize = 512;

/// An image to save, and the names it shall have in the archive.
#[derive(Debug, Clone)]
pub struct Selected {
    /// The image.
    pub image: Image,
    /// Without names it is in the archive under its ID only.
    pub names: Vec<Reference>,
}

impl Store {
    /// Finds the images to save by what people type, as `docker save` does: `name:tag` is that name; `name` alone is
    /// every tag of the repository; an ID or a digest is the image without a name. Each image is there once, with all
    /// names that were given for it.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn select(&self, names: &[String]) -> Result<Vec<Selected>, Error> {
        let index = self.index()?;
        let mut selected: Vec<Selected> = Vec::new();
        for name in names {
            for (image, name) in self.meant(&index, name)? {
                let same = |one: &&mut Selected| one.image.manifest_digest == image.manifest_digest;
                match selected.iter_mut().find(same) {
                    Some(known) if name.as_ref().is_some_and(|n| known.names.contains(n)) => {}
                    Some(known) => known.names.extend(name),
                    None => selected.push(Selected { image, names: name.into_iter().collect() }),
                }
            }
        }
        Ok(selected)
    }

    /// The images that one word means, each with its name.
    fn meant(&self, index: &Index, word: &str) -> Result<Vec<(Image, Option<Reference>)>, Error> {
        if let Ok(wanted) = Reference::parse(word)
            && names_a_repository(word, &wanted)
        {
            let mut tagged = Vec::new();
            for entry in index.entries() {
                let Some(name) = entry.reference().filter(|own| own.name() == wanted.name()) else {
                    continue;
                };
                tagged.push((self.image(index, &entry)?, Some(name)));
            }
            if !tagged.is_empty() {
                return Ok(tagged);
            }
        }
        let found = self.find(index, word)?;
        // find() never returns an empty list.
        let entry = found.entries.first().ok_or_else(|| Error::NotFound(word.to_owned()))?;
        let name = entry.reference().filter(|_| found.by_tag);
        Ok(vec![(self.image(index, entry)?, name)])
    }

    /// Writes images as one tar archive, plain, that is an OCI image layout and a docker-archive at once.
    ///
    /// Blobs are verified while they are written: after an error the archive is incomplete and must not be kept.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::WrongDigest`] and [`Error::WrongSize`] for what is damaged in the store;
    /// [`Error::Kernel`] with the step `write archive` if `out` fails.
    pub fn save(&self, images: &[Selected], out: impl Write) -> Result<(), Error> {
        let manifests = images
            .iter()
            .map(|one| self.saved_manifest(&one.image))
            .collect::<Result<Vec<_>, _>>()?;
        let mut archive = Archive { out: BufWriter::with_capacity(CHUNK, out) };
        archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        archive.file("index.json", index_json(images, &manifests).to_string().as_bytes())?;
        archive.file("manifest.json", manifest_json(images, &manifests).to_string().as_bytes())?;
        let repositories = repositories(images, &manifests);
        if !repositories.is_empty() {
            let text = Value::Object(repositories).to_string();
            archive.file("repositories", text.as_bytes())?;
        }
        archive.folder("blobs/")?;
        archive.folder("blobs/sha256/")?;
        for (digest, (what, size)) in blobs(&manifests) {
            self.save_blob(&mut archive, &what, &digest, size)?;
        }
        archive.finish()
    }

    /// The manifest of an image; an image index that leads to it stays behind, with the other machines' images.
    fn saved_manifest(&self, image: &Image) -> Result<Manifest, Error> {
        let bytes = self.manifest_json(image)?;
        let own: Value = serde_json::from_slice(&bytes).map_err(|error| {
            Error::invalid(&format!("manifest {}", image.manifest_digest), error)
        })?;
        let media_type = own.get("mediaType").and_then(Value::as_str);
        self.manifest(&Descriptor {
            // Only OCI's own may leave it out.
            media_type: media_type.unwrap_or(crate::document::MANIFEST).to_owned(),
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
            platform: None,
        })
    }

    fn save_blob<W: Write>(
        &self,
        archive: &mut Archive<W>,
        what: &str,
        digest: &Digest,
        size: u64,
    ) -> Result<(), Error> {
        let what = format!("{what} {digest}");
        let path = self.blobs().join(digest.hex());
        let file = match std::fs::File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Missing { what, name: digest.to_string() });
            }
            other => other.during("open file", path.display())?,
        };
        let actual = file.metadata().during("stat", path.display())?.len();
        if actual != size {
            return Err(Error::WrongSize { what, expected: size, actual });
        }
        archive.header(&format!("blobs/sha256/{}", digest.hex()), EntryType::Regular, size)?;
        let mut reader = Hashing::new(file.take(size));
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = match reader.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other.map_err(|error| Error::read(&what, &error))?,
            };
            if length == 0 {
                break;
            }
            archive.write(&buffer[..length])?;
        }
        let (actual, read) = reader.so_far();
        if read != size {
            return Err(Error::WrongSize { what, expected: size, actual: read });
        }
        if actual != *digest {
            return Err(Error::WrongDigest { what, expected: *digest, actual });
        }
        archive.pad(size)
    }
}

/// Whether a word names a repository without a tag, so that all its tags are meant.
fn names_a_repository(word: &str, parsed: &Reference) -> bool {
    // The tag `latest` that nobody wrote.
    let written = |tag: &str| word.ends_with(&format!(":{tag}"));
    parsed.digest().is_none() && !parsed.tag().is_some_and(written)
}

/// What the archive must hold, each blob once, and the size that its descriptor gives.
fn blobs(manifests: &[Manifest]) -> BTreeMap<Digest, (String, u64)> {
    let mut blobs = BTreeMap::new();
    for manifest in manifests {
        let mut add = |what: &str, descriptor: &Descriptor| {
            blobs.insert(descriptor.digest, (what.to_owned(), descriptor.size));
        };
        add("manifest", &manifest.descriptor);
        add("config", &manifest.config);
        manifest.layers.iter().for_each(|layer| add("layer", layer));
    }
    blobs
}

fn index_json(images: &[Selected], manifests: &[Manifest]) -> Value {
    let mut entries = Vec::new();
    for (one, manifest) in images.iter().zip(manifests) {
        let plain = manifest.descriptor.to_value();
        for name in &one.names {
            let mut entry = plain.clone();
            // As Docker: the tag alone, which is also what stands behind `oci-archive:FILE:`.
            let tag = name.tag().unwrap_or_default();
            entry["annotations"] = json!({ FULL_NAME: name.to_string(), REF_NAME: tag });
            entries.push(entry);
        }
        if one.names.is_empty() {
            entries.push(plain);
        }
    }
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    })
}

fn manifest_json(images: &[Selected], manifests: &[Manifest]) -> Value {
    let path = |descriptor: &Descriptor| format!("blobs/sha256/{}", descriptor.digest.hex());
    let items = images.iter().zip(manifests).map(|(one, manifest)| {
        let tags: Vec<_> = one.names.iter().map(Reference::familiar).collect();
        json!({
            "Config": path(&manifest.config),
            // Docker's own value for an image without names.
            "RepoTags": if tags.is_empty() { Value::Null } else { json!(tags) },
            "Layers": manifest.layers.iter().map(path).collect::<Vec<_>>(),
        })
    });
    Value::Array(items.collect())
}

/// The names for Docker before 1.10: repository, tag, topmost layer.
fn repositories(images: &[Selected], manifests: &[Manifest]) -> Map<String, Value> {
    let mut repositories = Map::new();
    for (one, manifest) in images.iter().zip(manifests) {
        let Some(top) = manifest.layers.last() else { continue };
        for name in &one.names {
            let Some(tag) = name.tag() else { continue };
            let tags = repositories.entry(name.familiar_name()).or_insert_with(|| json!({}));
            tags[tag] = top.digest.hex().into();
        }
    }
    repositories
}

/// A tar archive of plain files: root's, of 1970.
struct Archive<W: Write> {
    out: BufWriter<W>,
}

impl<W: Write> Archive<W> {
    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.header(name, EntryType::Regular, bytes.len() as u64)?;
        self.write(bytes)?;
        self.pad(bytes.len() as u64)
    }

    fn folder(&mut self, name: &str) -> Result<(), Error> {
        self.header(name, EntryType::Directory, 0)
    }

    fn header(&mut self, name: &str, kind: EntryType, size: u64) -> Result<(), Error> {
        let mut header = Header::new_gnu();
        header.set_path(name).during("write archive", name)?;
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.write(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> Result<(), Error> {
        let over = (size % BLOCK as u64) as usize;
        self.write(&[0; BLOCK][..(BLOCK - over) % BLOCK])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.out.write_all(bytes).during("write archive", "")?)
    }

    /// Two blocks of zeros are the end of a tar archive.
    fn finish(mut self) -> Result<(), Error> {
        self.write(&[0; 2 * BLOCK])?;
        Ok(self.out.flush().during("write archive", "")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_is_a_repository() {
        for (word, repository) in [
            ("busybox", true),
            ("localhost:5000/a", true),
            ("busybox:latest", false),
            ("busybox:1", false),
            ("localhost:5000/a:latest", false),
            ("docker.io/library/latest", true),
            (&format!("a@{}", Digest::of(b"")), false),
        ] {
            let parsed = Reference::parse(word).unwrap();
            assert_eq!(names_a_repository(word, &parsed), repository, "{word}");
        }
    }
}
