//! Pulling: from a name to an image that is ready to run, every byte touched once.
//!
//! ```text
//!   registry ──► hash ──► incoming/<hex> ──► store        (one thread for each layer)
//!                  └────► inflate ──► hash ──► unpack      (two more; a third where few layers come)
//! ```
//!
//! All layers go this way at the same time. A layer counts when both digests are right: that of the blob, which the
//! manifest names, and that of the tar in it, which the config names. The image counts when all its layers do: one
//! commit then points the name to it.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::digest::Digest;
use crate::document::{self, Descriptor, Manifest};
use crate::error::Error;
use crate::fetch::Fetch;
use crate::load::Loaded;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::{self, Client, Document, Registry};
use crate::spool::{Spool, read_document};
use crate::store::{Arrival, Store};
use crate::work::side_by_side;
use crate::{Image, Layer};

/// Where layers are unpacked while they come: chapter 04's store.
pub trait Unpack: Sync {
    /// Whether the layer with this diff ID is there.
    fn has(&self, diff_id: &str) -> bool;

    /// Unpacks a layer from its uncompressed tar. The stream ends without an error only if the blob was right; the
    /// digest of the tar is for the implementer to check.
    ///
    /// # Errors
    /// Whatever went wrong; the pull ends with it, and nothing of the layer may stay.
    fn unpack(
        &self,
        diff_id: &str,
        tar: &mut (dyn Read + Send),
    ) -> Result<(), Box<dyn StdError + Send + Sync>>;
}

/// What happens to a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerState {
    /// It will be fetched.
    Planned,
    /// Blob and unpacked layer are there.
    Exists,
    /// Another process is fetching it.
    Waiting,
    /// Bytes of the blob that are here by now; they are unpacked as they come.
    Received(u64),
    /// The blob is there; it is only unpacked.
    Unpacking,
    /// Its digest is right.
    Verified,
    /// It is unpacked too; of a push: it has arrived.
    Complete,
    /// Of a push: a plain tar is made smaller.
    Compressing,
    /// Of a push: bytes that have arrived by now, and how many there are: a layer that was compressed for the push is
    /// smaller than the image said at first.
    Sent(u64, u64),
    /// Of a push: the registry had it in another repository.
    Mounted(String),
}

/// Is told how far a pull or a push is. Called from several threads.
pub trait Observer: Sync {
    /// The manifest is known, and which layers there will be.
    fn begin(&self, image: &Image);
    /// A layer, by its place in the manifest, has got further.
    fn layer(&self, at: usize, state: LayerState);
}

/// What to pull, and how.
pub struct Pull<'p> {
    /// Connections and credentials.
    pub client: &'p Client,
    /// The name; a digest in it is the only thing that is asked for.
    pub reference: &'p Reference,
    /// The platform that was asked for. None: this machine's, and a manifest for another one is taken too.
    pub platform: Option<&'p Platform>,
    /// Layers that are fetched at the same time.
    pub workers: usize,
    /// Takes the layers.
    pub unpack: &'p dyn Unpack,
    /// Is told.
    pub observer: &'p dyn Observer,
}

/// What a pull has brought.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// Name and ID.
    pub loaded: Loaded,
    /// What the registry calls it: digest of the manifest, or of the image index.
    pub digest: Digest,
    /// Everything was there already.
    pub up_to_date: bool,
}

/// Why nothing was pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// Registry, documents, digests, or the image store.
    #[error(transparent)]
    Image(#[from] Error),
    /// The layer was not unpacked.
    #[error("unpack layer {digest}")]
    Unpack {
        /// Digest of the blob.
        digest: String,
        /// What [`Unpack::unpack`] said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl From<registry::Error> for PullError {
    fn from(error: registry::Error) -> Self {
        Self::Image(error.into())
    }
}

/// Places to fetch from: the one that has answered first, then those after it.
type Sources = Vec<Registry>;

impl Store {
    /// Pulls an image. Blobs and layers that are here are not fetched again; what another process is fetching is
    /// waited for. After an error, or a kill, verified blobs and the beginnings of others stay for the next pull;
    /// [`gc`](Self::gc) takes them away.
    ///
    /// # Errors
    /// [`PullError`]; the image that had the name before still has it.
    pub fn pull(&self, pull: &Pull<'_>) -> Result<Pulled, PullError> {
        let name = pull.reference.without_moot_tag();
        let spool = self.spool()?;
        let (sources, top) = first_answer(pull.client, &name)?;
        let (manifest, image) = self.documents(pull, &name, &spool, &sources, &top)?;
        let diff_ids: Vec<&str> = image.layers.iter().map(|layer| &*layer.diff_id).collect();
        spool.announce(&diff_ids)?;
        pull.observer.begin(&image);
        let nothing_new = self.layers(pull, &name, &spool, &sources, &image)?;
        let index = self.index()?;
        let known = index.find(&name.to_string()).or_else(|| self.shorter(&index, &name, &top));
        let same = known.is_some_and(|entry| {
            entry.descriptor.digest == manifest.descriptor.digest
                && entry.origin == Some(top.digest)
                // Not only there, but right: a pull is what people try when an image is damaged.
                && self.manifest_json(&image).is_ok()
                && self.config_json(&image).is_ok()
        });
        if same && nothing_new {
            let warning = image.platform_warning();
            let loaded =
                Loaded { reference: Some(name), id: image.id.clone(), replaced: None, warning };
            return Ok(Pulled { loaded, digest: top.digest, up_to_date: true });
        }
        let arrival = Arrival { manifest, image, names: vec![name], origin: Some(top.digest) };
        let loaded = self.commit(&spool, vec![arrival])?.into_iter().next();
        let loaded = loaded.ok_or_else(|| Error::NotFound(pull.reference.familiar()))?;
        Ok(Pulled { loaded, digest: top.digest, up_to_date: false })
    }

    /// A tag of the same repository that stands for the digest that was asked for.
    fn shorter(
        &self,
        index: &crate::index::Index,
        name: &Reference,
        top: &Document,
    ) -> Option<crate::index::Entry> {
        name.digest()?;
        index.entries().find(|entry| {
            entry.origin == Some(top.digest)
                && entry.reference().is_some_and(|other| other.name() == name.name())
        })
    }

    /// From the first document to manifest and config; all of them are in the spool then.
    fn documents(
        &self,
        pull: &Pull<'_>,
        name: &Reference,
        spool: &Spool,
        sources: &[Registry],
        top: &Document,
    ) -> Result<(Manifest, Image), Error> {
        let host = Platform::host();
        let descriptor = Descriptor {
            media_type: top.media_type.clone(),
            digest: top.digest,
            size: top.bytes.len() as u64,
            platform: None,
        };
        let mut fetch = |what: &str, descriptor: &Descriptor| -> Result<Vec<u8>, Error> {
            if descriptor.digest == top.digest {
                spool.store(what, &mut &top.bytes[..])?;
                return Ok(top.bytes.clone());
            }
            // What is in the store under this digest need not be asked for, if it still is what it was.
            if let Ok(file) = self.open_blob(what, &descriptor.digest) {
                let bytes = read_document(what, file)?;
                if Digest::of(&bytes) == descriptor.digest {
                    spool.store(what, &mut &bytes[..])?;
                    return Ok(bytes);
                }
            }
            let (_, bytes) = of_any(sources, |source| {
                if what.starts_with("config") {
                    source.document(name.repository(), &descriptor.digest, descriptor.size)
                } else {
                    let answer = source.manifest(name.repository(), &descriptor.digest.to_string());
                    Ok(answer?.bytes)
                }
            })?;
            spool.store(what, &mut &bytes[..])?;
            Ok(bytes)
        };
        let manifest = document::manifest(&descriptor, pull.platform.unwrap_or(&host), &mut fetch)?;
        let what = || name.familiar();
        manifest.layers.iter().try_for_each(|layer| document::check_fetchable(&what(), layer))?;
        let image = document::image(&manifest, &mut fetch)?;
        if let Some(wanted) = pull.platform {
            let own = Platform::of(&image.config);
            if !wanted.runs(&own) {
                let (what, wanted) = (what(), wanted.clone());
                return Err(Error::NoPlatform { what, wanted, offered: vec![own] });
            }
        }
        Ok((manifest, image))
    }

    /// Brings all layers here. Returns whether they all were here already.
    fn layers(
        &self,
        pull: &Pull<'_>,
        name: &Reference,
        spool: &Spool,
        sources: &[Registry],
        image: &Image,
    ) -> Result<bool, PullError> {
        let jobs = distinct(&image.layers);
        let known: BTreeSet<(String, String)> = self
            .list()?
            .into_iter()
            .flat_map(|image| image.layers)
            .map(|layer| (layer.digest, layer.diff_id))
            .collect();
        for (at, layer) in &jobs {
            let blob = layer.digest.parse().map(|digest| self.blob_path(&digest).exists());
            if !(blob == Ok(true) && pull.unpack.has(&layer.diff_id)) {
                pull.observer.layer(*at, LayerState::Planned);
            }
        }
        let (stop, changed) = (AtomicBool::new(false), AtomicBool::new(false));
        let fetched = side_by_side(pull.workers, &jobs, &stop, |(at, layer)| {
            let fetch = Fetch {
                store: self,
                spool,
                sources,
                repository: name.repository(),
                layer,
                known: known.contains(&(layer.digest.clone(), layer.diff_id.clone())),
                roomy: jobs.len() <= 2,
                unpack: pull.unpack,
                observe: &|state| pull.observer.layer(*at, state),
                stop: &stop,
            };
            changed.fetch_or(fetch.run()?, Ordering::Relaxed);
            Ok(())
        });
        match fetched {
            Ok(()) => Ok(!changed.into_inner()),
            Err(error) => {
                // A broken connection may be better next time. After anything else, a full disk for one, what was
                // fetched so far is only in the way.
                if !matches!(error, PullError::Image(Error::Registry(_))) {
                    self.gc().ok();
                }
                Err(error)
            }
        }
    }
}

/// Asks one source after the other; the answer that counts is that of the last, the registry itself. Returns the
/// place of the source that answered too.
fn of_any<T>(
    sources: &[Registry],
    ask: impl Fn(&Registry) -> Result<T, registry::Error>,
) -> Result<(usize, T), Error> {
    let mut last = None;
    for (place, source) in sources.iter().enumerate() {
        match ask(source) {
            Ok(answer) => return Ok((place, answer)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| Error::NotFound("a registry".to_owned()), Error::from))
}

/// The manifest or index that the name stands for, and where it came from.
fn first_answer(client: &Client, name: &Reference) -> Result<(Sources, Document), Error> {
    let sources = client.sources(name);
    let digest = name.digest().map(|digest| digest.to_string());
    let wanted = digest.as_deref().or(name.tag()).unwrap_or("latest");
    let (place, document) = of_any(&sources, |source| source.manifest(name.repository(), wanted))?;
    Ok((sources[place..].to_vec(), document))
}

/// Each layer once, with its first place; the same blob with two diff IDs stays twice, and one of them will fail.
fn distinct(layers: &[Layer]) -> Vec<(usize, &Layer)> {
    let mut seen = BTreeSet::new();
    let all = layers.iter().enumerate();
    all.filter(|(_, layer)| seen.insert((&layer.digest, &layer.diff_id))).collect()
}
