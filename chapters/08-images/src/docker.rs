//! The docker-archive: what `docker save` wrote from 1.10 (2016) to 24, and still writes beside an image layout.
//!
//! `manifest.json` lists images: the file of the config, the names, the files of the layers, lowest first. It names
//! no digests of layers; the config's diff IDs do. From it we write an OCI manifest; config and layers stay as they
//! are, so the image ID is the same everywhere.

use serde::Deserialize;
use serde_json::json;

use crate::digest::Digest;
use crate::document::{self, CONFIG, Descriptor, MANIFEST};
use crate::error::Error;
use crate::files::{Files, check_layers, compression};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::spool::{Spool, Stored, read_document};
use crate::store::Arrival;

const WHAT: &str = "manifest.json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

fn items(bytes: &[u8]) -> Result<Vec<Item>, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::invalid(WHAT, error))
}

fn references(item: &Item) -> Result<Vec<Reference>, Error> {
    let tags = item.repo_tags.iter().flatten();
    tags.map(|name| Reference::parse(name).map_err(Error::from)).collect()
}

/// Images of a docker-archive.
pub(crate) fn archive(files: &mut Files<'_>) -> Result<Vec<Arrival>, Error> {
    let items = items(&files.document(WHAT)?.unwrap_or_default())?;
    if items.is_empty() {
        return Err(Error::NotAnImage("its manifest.json lists no image".to_owned()));
    }
    let mut arrivals: Vec<Arrival> = Vec::new();
    for item in &items {
        let config = member(files, "config", &item.config)?;
        check_name(&item.config, &config.digest)?;
        let layers = item
            .layers
            .iter()
            .flatten()
            .enumerate()
            .map(|(at, path)| member(files, &format!("layer {}", at + 1), path))
            .collect::<Result<Vec<_>, _>>()?;
        let arrival = arrival(files.spool, config, &layers, references(item)?)?;
        let digest = arrival.manifest.descriptor.digest;
        match arrivals.iter_mut().find(|other| other.manifest.descriptor.digest == digest) {
            Some(known) => known.names.extend(arrival.names),
            None => arrivals.push(arrival),
        }
    }
    Ok(arrivals)
}

/// The names in `manifest.json` by config, for archives that are an image layout too.
pub(crate) fn names(files: &mut Files<'_>) -> Result<Vec<(Digest, Vec<Reference>)>, Error> {
    let Some(bytes) = files.document(WHAT)? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for item in items(&bytes)? {
        if let Some(config) = files.stored(&item.config)? {
            names.push((config.digest, references(&item)?));
        }
    }
    Ok(names)
}

fn member(files: &mut Files<'_>, what: &str, path: &str) -> Result<Stored, Error> {
    let missing = || Error::Missing { what: what.to_owned(), name: path.to_owned() };
    files.stored(path)?.ok_or_else(missing)
}

/// A config is named after its digest; if it is named so and is not, somebody changed it.
fn check_name(path: &str, actual: &Digest) -> Result<(), Error> {
    let file = path.rsplit('/').next().unwrap_or(path);
    match Digest::from_hex(file.strip_suffix(".json").unwrap_or(file)) {
        Some(expected) if expected != *actual => {
            Err(Error::WrongDigest { what: path.to_owned(), expected, actual: *actual })
        }
        _ => Ok(()),
    }
}

/// Writes the OCI manifest for a config and its layers, and reads it back as if it had come from elsewhere.
pub(crate) fn arrival(
    spool: &Spool,
    config: Stored,
    layers: &[Stored],
    names: Vec<Reference>,
) -> Result<Arrival, Error> {
    let descriptor = |media_type: &str, stored: &Stored| Descriptor {
        media_type: media_type.to_owned(),
        digest: stored.digest,
        size: stored.size,
        platform: None,
    };
    let mut layer_values = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let what = format!("layer {}", at + 1);
        let media_type = compression(spool, &what, &layer.digest)?.layer_media_type();
        layer_values.push(descriptor(media_type, layer).to_value());
    }
    // The order of the fields is that of Go's tools: equal images get equal manifests.
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, &config).to_value(),
        "layers": layer_values,
    });
    let bytes = manifest.to_string();
    let stored = spool.store("manifest", &mut bytes.as_bytes())?;
    let mut fetch =
        |what: &str, descriptor: &Descriptor| read_document(what, spool.open(&descriptor.digest)?);
    let manifest =
        document::manifest(&descriptor(MANIFEST, &stored), &Platform::host(), &mut fetch)?;
    let image = document::image(&manifest, &mut fetch)?;
    check_layers(spool, &image)?;
    Ok(Arrival { manifest, image, names, origin: None })
}
