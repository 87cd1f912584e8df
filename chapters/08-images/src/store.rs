//! The content store: an OCI image layout on the disk, shared by all commands without a daemon.
//!
//! ```text
//!   ROOT/oci-layout              {"imageLayoutVersion": "1.0.0"}
//!   ROOT/index.json              names -> manifests; replaced by rename, under the lock
//!   ROOT/blobs/sha256/<64 hex>   manifests, configs, layers; written once, never changed
//!   ROOT/lock                    flock(2): held while blobs are moved in or swept and the index is replaced
//!   ROOT/tmp/<random>/           blobs on their way; each folder is locked by its process
//! ```
//!
//! Readers take no lock: the index is replaced whole, and a blob is there before any index names it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use syscalls::{During, step};

use crate::digest::Digest;
use crate::document::{self, Descriptor, Fetch, Manifest};
use crate::error::Error;
use crate::index::{Entry, Index};
use crate::load::Loaded;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::spool::{self, Spool, read_document};
use crate::stream::VerifiedLayer;
use crate::{Image, Layer};

/// The images of one state root.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) root: PathBuf,
}

/// Names that one archive may give: more is no archive of images but an attempt to make the index slow.
const MAX_NAMES: usize = 1000;

/// Images, and what is none any more: name or digest, and why.
type Scanned = (Vec<Image>, Vec<(String, Error)>);

/// An image that is complete in a spool, and the names it shall have.
pub(crate) struct Arrival {
    pub(crate) manifest: Manifest,
    pub(crate) image: Image,
    pub(crate) names: Vec<Reference>,
    /// The digest that the registry has for the names.
    pub(crate) origin: Option<Digest>,
}

impl Store {
    /// Opens the store in `dir`, creating an empty one if there is none.
    ///
    /// # Errors
    /// If the folder cannot be made, or holds an image layout of another version than 1.0.0.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let store = Self { root: dir.to_owned() };
        match File::open(dir.join("oci-layout")) {
            Ok(file) => check_layout(&read_document("oci-layout", file)?)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => store.create()?,
            Err(error) => {
                Err(error).during("open file", dir.join("oci-layout").display())?;
            }
        }
        Ok(store)
    }

    fn create(&self) -> Result<(), Error> {
        fs::create_dir_all(self.blobs()).during("create folder", self.blobs().display())?;
        let _lock = self.lock()?;
        if !self.root.join("index.json").exists() {
            spool::replace(&self.root, "index.json", &Index::empty().to_bytes())?;
        }
        // Last: who finds it finds the rest.
        spool::replace(&self.root, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(())
    }

    /// All images, in the order of `index.json`. What is damaged or is no image for Linux is left out; see
    /// [`damaged`](Self::damaged).
    ///
    /// # Errors
    /// If `index.json` cannot be read.
    pub fn list(&self) -> Result<Vec<Image>, Error> {
        Ok(self.scan()?.0)
    }

    /// What [`list`](Self::list) leaves out: name or digest, and why.
    ///
    /// # Errors
    /// If `index.json` cannot be read.
    pub fn damaged(&self) -> Result<Vec<(String, Error)>, Error> {
        Ok(self.scan()?.1)
    }

    /// The diff IDs of all layers of all images, and of those that are being pulled: unpacked layers that are not among
    /// them belong to no image.
    ///
    /// # Errors
    /// If `index.json` cannot be read.
    pub fn diff_ids(&self) -> Result<BTreeSet<String>, Error> {
        // In this order: a pull that ends between the two is in both lists, not in none.
        let coming = Spool::announced(&self.root.join("tmp"));
        let images = self.list()?;
        let known = images.into_iter().flat_map(|image| image.layers).map(|layer| layer.diff_id);
        Ok(known.chain(coming).collect())
    }

    fn scan(&self) -> Result<Scanned, Error> {
        let index = self.index()?;
        let (mut images, mut damaged) = (Vec::<Image>::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for entry in index.entries() {
            if !seen.insert(entry.descriptor.digest) {
                continue;
            }
            match self.image(&index, &entry) {
                Ok(image) => match images.iter_mut().find(|other| other.id == image.id) {
                    // The same config by two manifests (layers compressed otherwise): one image for people.
                    Some(other) => {
                        other.references.extend(image.references);
                        other.repo_digests.extend(image.repo_digests);
                    }
                    None => images.push(image),
                },
                Err(error) => {
                    let name = entry.reference().map(|reference| reference.familiar());
                    damaged.push((name.unwrap_or(entry.descriptor.digest.to_string()), error));
                }
            }
        }
        Ok((images, damaged))
    }

    /// Gives an image a further name. Returns the ID of the image that had this name and now has none, if any.
    ///
    /// # Errors
    /// If the reference has a digest (that is not for us to choose), if the image is gone meanwhile.
    pub fn tag(&self, image: &Image, reference: &Reference) -> Result<Option<String>, Error> {
        check_taggable(reference)?;
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let manifest = image.manifest_digest.as_str();
        let entry = index
            .entries()
            .find(|entry| entry.descriptor.digest.to_string() == manifest)
            // Another tool put an image index before the manifest.
            .or_else(|| index.entries().find(|entry| self.id_of(&entry.descriptor) == image.id))
            .ok_or_else(|| Error::NotFound(image.id.clone()))?;
        let old = index.set(reference, &entry.descriptor);
        self.write_index(&index)?;
        Ok(old.map(|old| self.id_of(&old)))
    }

    /// Opens a layer as an uncompressed tar stream. The blob is verified while it is read: a wrong digest or a
    /// truncated blob is an error at the end of the stream, so nothing counts before the end was reached.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Compression`]. The reader's own errors carry an [`Error`] inside.
    pub fn open_layer(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, Error> {
        let digest: Digest =
            layer.digest.parse().map_err(|error| Error::digest("layer", &error))?;
        let what = format!("layer {digest}");
        let file = self.open_blob("layer", &digest)?;
        Ok(Box::new(VerifiedLayer::new(what, file, digest, layer.size)?))
    }

    /// The raw bytes of an image's config, with everything that [`Image::config`] has no field for.
    ///
    /// # Errors
    /// If the blob is missing or not what its digest says.
    pub fn config_json(&self, image: &Image) -> Result<Vec<u8>, Error> {
        self.small_blob("config", &image.id)
    }

    /// The raw bytes of an image's manifest, as they came.
    ///
    /// # Errors
    /// If the blob is missing or not what its digest says.
    pub fn manifest_json(&self, image: &Image) -> Result<Vec<u8>, Error> {
        self.small_blob("manifest", &image.manifest_digest)
    }

    fn small_blob(&self, what: &str, digest: &str) -> Result<Vec<u8>, Error> {
        let expected: Digest = digest.parse().map_err(|error| Error::digest(what, &error))?;
        let bytes = read_document(what, self.open_blob(what, &expected)?)?;
        let actual = Digest::of(&bytes);
        if actual == expected {
            Ok(bytes)
        } else {
            Err(Error::WrongDigest { what: format!("{what} {expected}"), expected, actual })
        }
    }

    /// Moves the blobs of images from the spool into the store and points their names to them.
    pub(crate) fn commit(
        &self,
        spool: &Spool,
        arrivals: Vec<Arrival>,
    ) -> Result<Vec<Loaded>, Error> {
        let names: usize = arrivals.iter().map(|arrival| arrival.names.len()).sum();
        if names > MAX_NAMES {
            let reason = format!("it has {names} names for images; at most {MAX_NAMES} are taken");
            return Err(Error::NotAnImage(reason));
        }
        let mut blobs = BTreeSet::new();
        for Arrival { manifest, .. } in &arrivals {
            let layers = manifest.layers.iter().map(|layer| layer.digest);
            blobs.extend(layers.chain([manifest.config.digest, manifest.descriptor.digest]));
        }
        // The long waits for the disk come before the lock.
        for blob in &blobs {
            spool::sync(&spool.path(blob))?;
        }
        let _lock = self.lock()?;
        self.place(spool, &blobs)?;
        let mut index = self.index()?;
        let mut loaded = Vec::new();
        for Arrival { manifest, image, names, origin } in arrivals {
            let warning = image.platform_warning();
            if names.is_empty() {
                index.add_unnamed(&manifest.descriptor);
                let id = image.id.clone();
                loaded.push(Loaded { reference: None, id, replaced: None, warning });
                continue;
            }
            for name in names {
                let old = index.set(&name, &manifest.descriptor);
                if let Some(origin) = &origin {
                    index.set_origin(&name, &manifest.descriptor.digest, origin);
                }
                let replaced = old.map(|old| self.id_of(&old)).filter(|old| *old != image.id);
                let (id, warning) = (image.id.clone(), warning.clone());
                loaded.push(Loaded { reference: Some(name), id, replaced, warning });
            }
        }
        self.write_index(&index)?;
        Ok(loaded)
    }

    /// Moves blobs from a spool to their places. The caller holds the lock, and they are synced.
    pub(crate) fn place(&self, spool: &Spool, blobs: &BTreeSet<Digest>) -> Result<(), Error> {
        for blob in blobs {
            // Also over a blob that is there: it has the same content, or it was damaged and is now repaired.
            let (from, to) = (spool.path(blob), self.blob_path(blob));
            fs::rename(&from, &to).during("rename file", to.display())?;
        }
        Ok(spool::sync(&self.blobs())?)
    }

    /// A new spool; what crashed commands left is removed on the way.
    pub(crate) fn spool(&self) -> Result<Spool, Error> {
        let _lock = self.lock()?;
        let tmp = self.root.join("tmp");
        Spool::reclaim(&tmp)?;
        Spool::create(&tmp)
    }

    /// Waits for the store's lock; it is released when the file is closed, also by a kill.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        let tmp = self.root.join("tmp");
        fs::create_dir_all(&tmp).during("create folder", tmp.display())?;
        let path = self.root.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .during("open file", path.display())?;
        file.lock().during("lock file", path.display())?;
        Ok(file)
    }

    pub(crate) fn index(&self) -> Result<Index, Error> {
        let path = self.root.join("index.json");
        let file = step!("openat", ("index.json"), File::open(&path))
            .during("open file", path.display())?;
        // Ours, and as long as its names are many: the limit of documents is for those of strangers.
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes).during("read file", path.display())?;
        Index::parse("index.json", &bytes)
    }

    pub(crate) fn write_index(&self, index: &Index) -> Result<(), Error> {
        Ok(spool::replace(&self.root, "index.json", &index.to_bytes())?)
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(crate) fn open_blob(&self, what: &str, digest: &Digest) -> Result<File, Error> {
        let path = self.blob_path(digest);
        match step!("openat", ("blobs/sha256/{}", digest.hex()), File::open(&path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::Missing { what: what.to_owned(), name: digest.to_string() })
            }
            other => Ok(other.during("open file", path.display())?),
        }
    }

    pub(crate) fn fetch(&self) -> impl FnMut(&str, &Descriptor) -> Result<Vec<u8>, Error> + '_ {
        |what, descriptor| {
            let kind = what.split(' ').next().unwrap_or(what);
            read_document(what, self.open_blob(kind, &descriptor.digest)?)
        }
    }

    pub(crate) fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, Error> {
        let mut fetch = self.fetch();
        let fetch: &mut Fetch<'_> = &mut fetch;
        document::manifest(descriptor, &Platform::host(), fetch)
    }

    pub(crate) fn image(&self, index: &Index, entry: &Entry) -> Result<Image, Error> {
        let manifest = self.manifest(&entry.descriptor)?;
        let mut image = document::image(&manifest, &mut self.fetch())?;
        image.references = index.references(&entry.descriptor.digest);
        image.repo_digests = index.repo_digests(&entry.descriptor.digest);
        Ok(image)
    }

    /// The image ID behind a manifest; the manifest's digest if it cannot be read, so that it can still be removed.
    pub(crate) fn id_of(&self, descriptor: &Descriptor) -> String {
        match self.manifest(descriptor) {
            Ok(manifest) => manifest.config.digest.to_string(),
            Err(_) => descriptor.digest.to_string(),
        }
    }
}

/// Reads the marker of an image layout (image-layout.md, "oci-layout file").
pub(crate) fn check_layout(bytes: &[u8]) -> Result<(), Error> {
    let invalid = |reason: String| Error::Invalid { what: "oci-layout".into(), reason };
    let layout: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
    match layout.get("imageLayoutVersion").and_then(serde_json::Value::as_str) {
        Some("1.0.0") => Ok(()),
        other => Err(invalid(format!(
            "image layout version {} (only 1.0.0 is known)",
            other.unwrap_or("missing")
        ))),
    }
}

/// A name that we may point to an image: the digest of a reference is given by the image, never by us.
pub(crate) fn check_taggable(reference: &Reference) -> Result<(), Error> {
    match reference.digest() {
        None => Ok(()),
        Some(_) => Err(Error::Invalid {
            what: format!("name {}", reference.familiar()),
            reason: "an image cannot be named with a digest (hint: use name:tag)".to_owned(),
        }),
    }
}
