//! Pushing: what the registry lacks is sent, the manifest last.
//!
//! A layer that is kept as a plain tar (of `import` and `commit`) is compressed first, once: the image in the store gets
//! the new manifest, so that here and there the digests are the same. The image ID stays.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::digest::{Digest, Hashing};
use crate::document::{self, Descriptor};
use crate::error::Error;
use crate::incoming::Incoming;
use crate::pull::{LayerState, Observer};
use crate::reference::Reference;
use crate::registry::{Client, Pushed, Registry};
use crate::spool::{Spool, Stored, read_document};
use crate::store::{Store, check_taggable};
use crate::work::side_by_side;
use crate::{Image, Layer};

/// Repositories that a blob is looked for in, to be mounted from there.
const MOUNT_TRIES: usize = 3;

/// Where to push, and how.
pub struct Push<'p> {
    /// Connections and credentials.
    pub client: &'p Client,
    /// The name there.
    pub reference: &'p Reference,
    /// Layers that are sent at the same time.
    pub workers: usize,
    /// Is told.
    pub observer: &'p dyn Observer,
}

/// What is in the registry now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushedImage {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Store {
    /// Pushes an image under a name.
    ///
    /// # Errors
    /// If the name has a digest, a blob here is damaged, or the registry refuses. Blobs that have arrived stay there.
    pub fn push(&self, image: &Image, push: &Push<'_>) -> Result<PushedImage, Error> {
        check_taggable(push.reference)?;
        push.observer.begin(image);
        let stop = AtomicBool::new(false);
        let image = &self.compressed(image, push, &stop)?;
        let own: Digest =
            image.manifest_digest.parse().map_err(|error| Error::digest("manifest", &error))?;
        let registry = push.client.registry(push.reference.registry());
        let others = self.list()?;
        let mut layers: Vec<(usize, &Layer)> = image.layers.iter().enumerate().collect();
        layers.sort_by_key(|(at, layer)| (&layer.digest, *at));
        layers.dedup_by_key(|(_, layer)| &layer.digest);
        layers.sort_by_key(|(at, _)| *at);
        side_by_side(push.workers, &layers, &stop, |(at, layer)| {
            let observe = |state| push.observer.layer(*at, state);
            let from = repositories_with(&others, &layer.digest, push.reference);
            match self.push_blob(&registry, push, &layer.digest, layer.size, &from, &observe)? {
                Pushed::Exists => observe(LayerState::Exists),
                Pushed::Mounted(from) => observe(LayerState::Mounted(from)),
                Pushed::Uploaded => observe(LayerState::Complete),
            }
            Ok::<(), Error>(())
        })?;
        let config = self.config_json(image)?;
        let size = config.len() as u64;
        self.push_blob(&registry, push, &image.id, size, &[], &|_| {})?;
        let manifest = self.manifest_json(image)?;
        let media_type = media_type(&manifest);
        let repository = push.reference.repository();
        let tag = push.reference.tag().unwrap_or("latest");
        let digest = registry.push_manifest(repository, tag, &media_type, &manifest)?;
        let _lock = self.lock()?;
        let mut index = self.index()?;
        index.set_origin(push.reference, &own, &digest);
        self.write_index(&index)?;
        Ok(PushedImage { digest, size: manifest.len() as u64 })
    }

    fn push_blob(
        &self,
        registry: &Registry,
        push: &Push<'_>,
        digest: &str,
        size: u64,
        mount_from: &[String],
        observe: &(dyn Fn(LayerState) + Sync),
    ) -> Result<Pushed, Error> {
        let digest: Digest = digest.parse().map_err(|error| Error::digest("blob", &error))?;
        let open = |from: u64| -> io::Result<Box<dyn Read + Send>> {
            let mut file = self.open_blob("blob", &digest)?;
            file.seek(SeekFrom::Start(from))?;
            Ok(Box::new(file))
        };
        let sent = |bytes| observe(LayerState::Sent(bytes, size));
        let repository = push.reference.repository();
        registry.push_blob(repository, &digest, size, mount_from, &open, &sent).map_err(|error| {
            // A registry says only that the digest is wrong; whether it is wrong here is worth knowing.
            self.check_blob(&digest).err().unwrap_or(error.into())
        })
    }

    pub(crate) fn check_blob(&self, digest: &Digest) -> Result<(), Error> {
        let what = format!("blob {digest}");
        let mut hash = Hashing::new(self.open_blob("blob", digest)?);
        io::copy(&mut hash, &mut io::sink()).map_err(|error| Error::read(&what, &error))?;
        match hash.so_far() {
            (actual, _) if actual == *digest => Ok(()),
            (actual, _) => Err(Error::WrongDigest { what, expected: *digest, actual }),
        }
    }

    /// The image with all its layers compressed. If some were not, it takes the place of the old one.
    fn compressed(
        &self,
        image: &Image,
        push: &Push<'_>,
        stop: &AtomicBool,
    ) -> Result<Image, Error> {
        if !image.layers.iter().any(is_plain) {
            return Ok(image.clone());
        }
        // Of two pushes at the same time one does this; the other finds the image as it is then.
        let old: Digest =
            image.manifest_digest.parse().map_err(|error| Error::digest("manifest", &error))?;
        let turn = Incoming::lock(self, &old, &|| Ok(()))?;
        let now = self.resolve(&image.id)?;
        let compressed = match now.layers.iter().any(is_plain) {
            true => self.compress_layers(&now, push, stop),
            false => Ok(now),
        };
        turn.discard()?;
        compressed
    }

    fn compress_layers(
        &self,
        image: &Image,
        push: &Push<'_>,
        stop: &AtomicBool,
    ) -> Result<Image, Error> {
        let old: Digest =
            image.manifest_digest.parse().map_err(|error| Error::digest("manifest", &error))?;
        let spool = self.spool()?;
        let plain: Vec<(usize, &Layer)> =
            image.layers.iter().enumerate().filter(|(_, layer)| is_plain(layer)).collect();
        let smaller: Mutex<BTreeMap<&str, Stored>> = Mutex::new(BTreeMap::new());
        side_by_side(push.workers, &plain, stop, |(at, layer)| {
            push.observer.layer(*at, LayerState::Compressing);
            let stored = self.compress(&spool, layer)?;
            smaller.lock().unwrap_or_else(PoisonError::into_inner).insert(&layer.digest, stored);
            Ok::<(), Error>(())
        })?;
        let smaller = smaller.into_inner().unwrap_or_else(PoisonError::into_inner);
        let before = self.manifest_json(image)?;
        let manifest = with_layers(&before, &smaller)?;
        let media_type = media_type(&before);
        let stored = spool.store("manifest", &mut manifest.as_bytes())?;
        let (digest, size) = (stored.digest, stored.size);
        let descriptor = Descriptor { media_type, digest, size, platform: None };
        let mut fetch = |what: &str, descriptor: &Descriptor| {
            spool.adopt(&self.blob_path(&descriptor.digest), &descriptor.digest)?;
            read_document(what, spool.open(&descriptor.digest)?)
        };
        let platform = crate::Platform::of(&image.config);
        let manifest = document::manifest(&descriptor, &platform, &mut fetch)?;
        let mut new = document::image(&manifest, &mut fetch)?;
        let mut blobs = BTreeSet::from([manifest.descriptor.digest, manifest.config.digest]);
        for layer in &manifest.layers {
            spool.adopt(&self.blob_path(&layer.digest), &layer.digest)?;
            blobs.insert(layer.digest);
        }
        blobs.iter().try_for_each(|blob| crate::spool::sync(&spool.path(blob)))?;
        new.references.clone_from(&image.references);
        let _lock = self.lock()?;
        self.place(&spool, &blobs)?;
        // Names may have come and gone meanwhile: whatever the old manifest is called now, the new one is.
        let mut index = self.index()?;
        index.replace(&old, &manifest.descriptor);
        self.write_index(&index)?;
        self.sweep(&index)?;
        Ok(new)
    }

    fn compress(&self, spool: &Spool, layer: &Layer) -> Result<Stored, Error> {
        let what = format!("layer {}", layer.digest);
        let mut tar = self.open_layer(layer)?;
        let mut writer = spool.writer()?;
        // No name and no time in the header: the same layer always gives the same bytes.
        let mut gzip = GzEncoder::new(&mut writer, Compression::default());
        io::copy(&mut tar, &mut gzip).map_err(|error| Error::read(&what, &error))?;
        gzip.finish().map_err(|error| Error::read(&what, &error))?;
        writer.finish()
    }
}

/// The manifest with other blobs for some layers; all else in it stays.
fn with_layers(manifest: &[u8], smaller: &BTreeMap<&str, Stored>) -> Result<String, Error> {
    let mut manifest: Value =
        serde_json::from_slice(manifest).map_err(|error| Error::invalid("manifest", error))?;
    for layer in manifest["layers"].as_array_mut().into_iter().flatten() {
        let Some(stored) = layer["digest"].as_str().and_then(|digest| smaller.get(digest)) else {
            continue;
        };
        let media_type = layer["mediaType"].as_str().unwrap_or_default();
        let compressed = match media_type.starts_with("application/vnd.docker.") {
            true => format!("{media_type}.gzip"),
            false => format!("{media_type}+gzip"),
        };
        layer["mediaType"] = json!(compressed);
        layer["digest"] = json!(stored.digest.to_string());
        layer["size"] = json!(stored.size);
    }
    Ok(manifest.to_string())
}

/// Whether a layer is kept as a tar that nobody has compressed.
fn is_plain(layer: &Layer) -> bool {
    layer.media_type.ends_with(".tar")
}

fn media_type(manifest: &[u8]) -> String {
    let value: Value = serde_json::from_slice(manifest).unwrap_or_default();
    value["mediaType"].as_str().unwrap_or(document::MANIFEST).to_owned()
}

/// Repositories of the same registry whose images have the blob: it can be mounted from there, without being sent.
fn repositories_with(images: &[Image], digest: &str, target: &Reference) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let having = images.iter().filter(|image| {
        !image.repo_digests.is_empty() && image.layers.iter().any(|layer| layer.digest == digest)
    });
    for name in having.flat_map(|image| &image.references) {
        let other = name.repository();
        if name.registry() == target.registry()
            && other != target.repository()
            && !found.iter().any(|known| known == other)
        {
            found.push(other.to_owned());
        }
    }
    found.truncate(MOUNT_TRIES);
    found
}
