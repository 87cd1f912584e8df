//! A new image on top of another one: `docker commit`, and each step of a build.
//!
//! Layers are written to the store's spool first ([`Store::new_layer`]); only [`Store::derive`] makes them part of an
//! image. What the base's config holds stays as it is, also what nobody here knows: a derived image differs in its
//! layers, its history and the `config` object that the caller gives.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use syscalls::During;

use crate::Image;
use crate::digest::Digest;
use crate::docker;
use crate::error::Error;
use crate::load::Loaded;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::spool::{BlobWriter, Spool, Stored};
use crate::store::{Store, check_taggable};

/// Fields of Docker's configs that tell how the base was made: they would be wrong of an image on top of it.
const OF_THE_BASE: [&str; 3] = ["container", "container_config", "docker_version"];

/// A layer that no image has yet. Dropped, it is gone.
#[derive(Debug)]
pub struct NewLayer {
    spool: Spool,
    stored: Stored,
}

impl NewLayer {
    /// Digest of the tar, `sha256:...`. It is kept uncompressed, so this is the blob's digest and the diff ID.
    pub fn diff_id(&self) -> String {
        self.stored.digest.to_string()
    }

    /// Bytes of the tar.
    pub fn size(&self) -> u64 {
        self.stored.size
    }

    /// Gives the blob a further name, outside of the store but on its file system: there it stays when the store does
    /// not need it any more, for [`Store::known_layer`]. A file that is there already is taken for the same blob.
    ///
    /// # Errors
    /// As link(2).
    pub fn keep_at(&self, path: &Path) -> Result<(), Error> {
        match fs::hard_link(self.spool.path(&self.stored.digest), path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => Ok(other.during("link file", path.display())?),
        }
    }
}

/// Unpacked layers that are needed for a while, though no image of the store may have them any more. Until it is
/// dropped, [`Store::diff_ids`] names them.
#[derive(Debug)]
pub struct Hold {
    _spool: Spool,
}

/// One line of an image's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// When.
    pub created: Timestamp,
    /// The command or instruction that made it. Empty: not written.
    pub created_by: String,
    /// Who. Empty: not written.
    pub author: String,
    /// Why. Empty: not written.
    pub comment: String,
    /// It changed the config only, so that no layer belongs to it.
    pub empty_layer: bool,
}

impl History {
    fn to_value(&self) -> Value {
        let mut line = Map::new();
        line.insert("created".into(), self.created.to_string().into());
        let texts = [
            ("created_by", &self.created_by),
            ("author", &self.author),
            ("comment", &self.comment),
        ];
        for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            line.insert(key.into(), text.as_str().into());
        }
        if self.empty_layer {
            line.insert("empty_layer".into(), true.into());
        }
        Value::Object(line)
    }
}

/// What an image shall be.
#[derive(Debug)]
pub struct Derived<'a> {
    /// The image below; None for one that begins with nothing (`FROM scratch`).
    pub base: Option<&'a Image>,
    /// Layers to add, lowest first.
    pub layers: Vec<NewLayer>,
    /// Lines to add to the history, oldest first; those without `empty_layer` belong to `layers`, in order. The last
    /// one's time and author are those of the image.
    pub history: Vec<History>,
    /// The `config` object of the image's config, whole: environment, command and so on. See
    /// [`Store::process_json`] for the base's.
    pub process: Map<String, Value>,
    /// Its name.
    pub reference: Option<&'a Reference>,
}

impl Store {
    /// Takes in a layer that `write` writes as an uncompressed tar, and gives back what `write` returned.
    ///
    /// # Errors
    /// Those of `write`, and of the disk; nothing stays then.
    pub fn new_layer<T, E: From<Error>>(
        &self,
        write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
    ) -> Result<(NewLayer, T), E> {
        let spool = self.spool()?;
        let mut out = Out(spool.writer()?);
        let value = write(&mut out)?;
        let stored = out.0.finish()?;
        Ok((NewLayer { spool, stored }, value))
    }

    /// A layer again whose blob was [kept](NewLayer::keep_at) at `path`.
    ///
    /// # Errors
    /// If it is not there, or of another length: a blob is written once, so nobody reads it again to hash it.
    pub fn known_layer(&self, path: &Path, diff_id: &str, size: u64) -> Result<NewLayer, Error> {
        let what = format!("layer {diff_id}");
        let digest: Digest = diff_id.parse().map_err(|error| Error::digest("layer", &error))?;
        let actual = fs::metadata(path).during("stat", path.display())?.len();
        if actual != size {
            return Err(Error::WrongSize { what, expected: size, actual });
        }
        let spool = self.spool()?;
        if !spool.adopt(path, &digest)? {
            return Err(Error::Missing { what: "layer".to_owned(), name: digest.to_string() });
        }
        Ok(NewLayer { spool, stored: Stored { digest, size } })
    }

    /// Says that the unpacked layers of an image are needed, whatever becomes of the image.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn hold(&self, image: &Image) -> Result<Hold, Error> {
        let spool = self.spool()?;
        let ids: Vec<&str> = image.layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        spool.announce(&ids)?;
        Ok(Hold { _spool: spool })
    }

    /// The `config` object of an image's config as it came, with what the OCI specification does not have (`Healthcheck`,
    /// `OnBuild`).
    ///
    /// # Errors
    /// If the blob is missing or not what its digest says.
    pub fn process_json(&self, image: &Image) -> Result<Map<String, Value>, Error> {
        match self.config_object(image)?.remove("config") {
            Some(Value::Object(process)) => Ok(process),
            _ => Ok(Map::new()),
        }
    }

    /// Makes an image of a base, new layers and a new config, in one step: it is there whole or not at all.
    ///
    /// Equal input gives an equal image, also on another machine of the same kind.
    ///
    /// # Errors
    /// [`Error::Missing`] if a layer of the base has gone, [`Error::Invalid`] if history and layers do not match or
    /// the name cannot be given.
    pub fn derive(&self, derived: Derived<'_>) -> Result<Loaded, Error> {
        let Derived { base, layers: added, history, process, reference } = derived;
        reference.map_or(Ok(()), check_taggable)?;
        if history.iter().filter(|line| !line.empty_layer).count() != added.len() {
            return Err(Error::invalid("new image", "its history does not match its layers"));
        }
        let mut config = match base {
            Some(base) => self.config_object(base)?,
            None => empty_config(),
        };
        extend(&mut config, base, &added, &history, process);
        let spool = self.spool()?;
        let mut layers = Vec::new();
        for layer in base.iter().flat_map(|base| &base.layers) {
            layers.push(self.borrow(&spool, &layer.digest, layer.size)?);
        }
        for layer in &added {
            let (from, to) =
                (layer.spool.path(&layer.stored.digest), spool.path(&layer.stored.digest));
            fs::rename(&from, &to).during("rename file", to.display())?;
            layers.push(layer.stored);
        }
        let config = spool.store("config", &mut Value::Object(config).to_string().as_bytes())?;
        let names = reference.cloned().into_iter().collect();
        let arrival = docker::arrival(&spool, config, &layers, names)?;
        let loaded = self.commit(&spool, vec![arrival])?;
        loaded.into_iter().next().ok_or_else(|| Error::NotFound("new image".to_owned()))
    }

    fn config_object(&self, image: &Image) -> Result<Map<String, Value>, Error> {
        let what = || format!("config {}", image.id);
        match serde_json::from_slice(&self.config_json(image)?) {
            Ok(Value::Object(config)) => Ok(config),
            Ok(_) => Err(Error::invalid(&what(), "not a JSON object")),
            Err(error) => Err(Error::invalid(&what(), error)),
        }
    }

    /// Gives a blob of the store a second name in the spool: it stays, even if its image is removed meanwhile.
    fn borrow(&self, spool: &Spool, digest: &str, size: u64) -> Result<Stored, Error> {
        let digest: Digest = digest.parse().map_err(|error| Error::digest("layer", &error))?;
        let (from, to) = (self.blobs().join(digest.hex()), spool.path(&digest));
        match fs::hard_link(&from, &to) {
            // A layer may be there twice.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing { what: "layer".to_owned(), name: digest.to_string() });
            }
            other => other.during("link file", to.display())?,
        }
        Ok(Stored { digest, size })
    }
}

fn empty_config() -> Map<String, Value> {
    let host = Platform::host();
    let mut config = Map::new();
    config.insert("created".into(), Value::Null);
    config.insert("architecture".into(), host.architecture.into());
    if let Some(variant) = host.variant {
        config.insert("variant".into(), variant.into());
    }
    config.insert("os".into(), host.os.into());
    config.insert("config".into(), json!({}));
    config
}

fn extend(
    config: &mut Map<String, Value>,
    base: Option<&Image>,
    added: &[NewLayer],
    history: &[History],
    process: Map<String, Value>,
) {
    OF_THE_BASE.iter().for_each(|key| drop(config.shift_remove(*key)));
    config.insert("config".into(), Value::Object(process));
    if let Some(last) = history.last() {
        config.insert("created".into(), last.created.to_string().into());
        match last.author.as_str() {
            "" => drop(config.shift_remove("author")),
            author => drop(config.insert("author".into(), author.into())),
        }
    }
    let below = base.map_or(&[][..], |base| &base.layers);
    let diff_ids = below.iter().map(|layer| layer.diff_id.clone());
    let diff_ids: Vec<_> = diff_ids.chain(added.iter().map(NewLayer::diff_id)).collect();
    config.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": diff_ids }));
    let mut lines = match config.get("history") {
        Some(Value::Array(lines)) => lines.clone(),
        _ => Vec::new(),
    };
    if lines.is_empty() {
        // A base without a history: readers count its lines against the layers.
        lines.resize(below.len(), json!({}));
    }
    lines.extend(history.iter().map(History::to_value));
    config.insert("history".into(), Value::Array(lines));
}

/// Lets a blob be written with [`io::Write`].
struct Out<'s>(BlobWriter<'s>);

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
