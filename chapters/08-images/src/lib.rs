//! Chapter 08: the image, where it is kept, and how it travels.
//!
//! An image is three kinds of blobs, each named by the SHA-256 of its bytes: *layers* (tar archives, usually
//! compressed), a *config* (JSON: what to run, and the digests of the unpacked layers), and a *manifest* (JSON: which
//! config and which layers). A name is only a line in `index.json` that points to a manifest. The [`Store`] keeps all
//! this as an OCI image layout, which other tools read in place: `skopeo inspect oci:ROOT:busybox:latest`.
//!
//! Read in this order:
//!
//! 1. [`mod@reference`]: what people write, `busybox`, and what it means, `docker.io/library/busybox:latest`;
//! 2. [`digest`]: the name of a blob, and readers and writers that compute it on the way;
//! 3. `stream.rs`: gzip, zstd or plain, told apart by their first bytes; a layer's stream checks itself;
//! 4. `document.rs`: from an index by a manifest to a config, and what is refused on the way; [`platform`];
//! 5. `index.rs`: `index.json`, where unknown data survives;
//! 6. `spool.rs`, [`store`], `find.rs`, `remove.rs`: the content store; nothing is visible before it is complete;
//! 7. [`load`], `files.rs`, `docker.rs`, `legacy.rs`: archives made elsewhere, in any of their forms;
//! 8. [`import`] and [`changes`]: a plain root file system becomes an image;
//! 9. [`save`] and [`commit`]: the way out, and a new image on top of another;
//! 10. [`registry`]: the protocol, from a challenge to a chunked upload;
//! 11. `pull.rs`, `fetch.rs`, `chunks.rs`, `incoming.rs`: from a name to unpacked layers in one pass; `push.rs`: the way back.
//!
//! What is deliberately not here: unpacking. A pull hands the layers, as they come, to whoever implements [`Unpack`].

pub mod changes;
mod chunks;
pub mod commit;
pub mod digest;
mod docker;
mod document;
mod error;
mod fetch;
mod files;
mod find;
pub mod import;
mod incoming;
mod index;
mod legacy;
pub mod load;
pub mod platform;
mod pull;
mod push;

pub mod reference;
pub mod registry;
mod remove;
pub mod save;
mod spool;
pub mod store;
mod stream;
mod work;

pub use digest::Digest;
pub use error::Error;
pub use load::{Loaded, Source};
pub use platform::Platform;
pub use pull::{LayerState, Observer, Pull, PullError, Pulled, Unpack};
pub use push::{Push, PushedImage};

pub use reference::Reference;
pub use remove::{Removed, Swept};
pub use store::Store;
pub use stream::{decompress, is_compressed};

use oci_spec::image::ImageConfiguration;
use serde_json::{Map, Value};

/// Limit for manifests, indexes and configs, in bytes: 4 MiB, the same that registries promise to accept.
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// An image of the store, read from its manifest and config; no layer was opened for it.
#[derive(Debug, Clone)]
pub struct Image {
    /// `sha256:` and the digest of the config: what Docker calls the image ID.
    pub id: String,
    /// Digest of the manifest, `sha256:...`: what registries and `name@sha256:...` speak of.
    pub manifest_digest: String,
    /// Names that point to it, in the order of `index.json`. Empty for an image that lost its name ("dangling").
    pub references: Vec<Reference>,
    /// What registries call it, `busybox@sha256:...`: digests of its manifest, or of the image index that it was chosen
    /// from. Empty for an image that was neither pulled nor pushed.
    pub repo_digests: Vec<String>,
    /// The config.
    pub config: ImageConfiguration,
    /// What else its `config` object holds, which the OCI specification has no words for: Docker's `Healthcheck`,
    /// `Shell`, `OnBuild`. The bytes as they came: [`Store::config_json`].
    pub extensions: Map<String, Value>,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// When it was made, if the config tells.
    pub created: Option<jiff::Timestamp>,
    /// Bytes in the store: manifest, config and layers as they are kept there (compressed layers count compressed).
    pub size: u64,
}

impl Image {
    /// The platform that it was made for.
    pub fn platform(&self) -> Platform {
        Platform::of(&self.config)
    }

    /// A sentence to print before running it, if the image was made for another machine: the program may still run
    /// where an emulator is registered (binfmt_misc).
    pub fn platform_warning(&self) -> Option<String> {
        let (host, image) = (Platform::host(), Platform::of(&self.config));
        (!host.runs(&image)).then(|| {
            format!("the image is for {image}, this machine is {host}: its programs may not start")
        })
    }
}

/// One layer as the manifest and the config describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the blob, compressed as it is.
    pub digest: String,
    /// Size of the blob in bytes.
    pub size: u64,
    /// Media type from the manifest, `application/vnd.oci.image.layer.v1.tar+gzip`.
    pub media_type: String,
    /// Digest of the uncompressed tar: how chapter 04 names the unpacked layer.
    pub diff_id: String,
}
