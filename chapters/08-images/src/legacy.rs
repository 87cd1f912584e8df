//! The archive of Docker before 1.10: `repositories`, and for each layer a folder with `json` and `layer.tar`.
//!
//! There was no config and no digest then: an image was the chain of its layers, each naming its parent, and the
//! topmost said what to run. The config is put together from that, as Docker did when it migrated its own store.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::digest::{Digest, Hashing};
use crate::docker;
use crate::error::Error;
use crate::files::Files;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::spool::Stored;
use crate::store::Arrival;
use crate::stream::Decoder;

/// Longest chain; Docker itself stopped at 127 layers.
const MAX_CHAIN: usize = 1000;

/// name -> tag -> ID of the topmost layer
type Repositories = BTreeMap<String, BTreeMap<String, String>>;

/// Images of an archive that has only `repositories`.
pub(crate) fn archive(files: &mut Files<'_>) -> Result<Vec<Arrival>, Error> {
    const WHAT: &str = "repositories";
    let bytes = files.document(WHAT)?.unwrap_or_default();
    let repositories: Repositories =
        serde_json::from_slice(&bytes).map_err(|error| Error::invalid(WHAT, error))?;
    let mut by_top: BTreeMap<String, Vec<Reference>> = BTreeMap::new();
    for (name, tags) in repositories {
        for (tag, top) in tags {
            by_top.entry(top).or_default().push(Reference::parse(&format!("{name}:{tag}"))?);
        }
    }
    if by_top.is_empty() {
        return Err(Error::NotAnImage("its repositories file lists no image".to_owned()));
    }
    by_top.into_iter().map(|(top, names)| image(files, &top, names)).collect()
}

fn image(files: &mut Files<'_>, top: &str, names: Vec<Reference>) -> Result<Arrival, Error> {
    let chain = chain(files, top)?;
    let (mut layers, mut diff_ids, mut history) = (Vec::new(), Vec::new(), Vec::new());
    for (id, document) in chain.iter().rev() {
        let path = format!("{id}/layer.tar");
        let missing = || Error::Missing { what: "layer".to_owned(), name: path.clone() };
        let layer = files.stored(&path)?.ok_or_else(missing)?;
        diff_ids.push(Value::from(diff_id(files, &path, &layer)?.to_string()));
        layers.push(layer);
        history.push(step(document));
    }
    let host = Platform::host();
    let (_, top) = chain.first().ok_or_else(|| Error::invalid(top, "it has no layer"))?;
    let text = |key: &str, default: &str| {
        top.get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .unwrap_or(default)
            .to_owned()
    };
    let mut config = Map::new();
    for key in ["created", "author"] {
        config.extend(top.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    config.insert("architecture".into(), text("architecture", &host.architecture).into());
    config.insert("os".into(), text("os", "linux").into());
    config.extend(top.get("config").map(|value| ("config".to_owned(), value.clone())));
    config.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": diff_ids }));
    config.insert("history".into(), history.into());
    let config = Value::Object(config).to_string();
    let config = files.spool.store("config", &mut config.as_bytes())?;
    docker::arrival(files.spool, config, &layers, names)
}

/// The layers from the topmost to the lowest, with their documents.
fn chain(files: &mut Files<'_>, top: &str) -> Result<Vec<(String, Value)>, Error> {
    let mut chain = Vec::new();
    let mut next = Some(top.to_owned());
    while let Some(id) = next {
        let path = format!("{id}/json");
        if chain.len() == MAX_CHAIN {
            return Err(Error::invalid(&path, "the chain of parents has no end"));
        }
        let missing = || Error::Missing { what: "document of a layer".into(), name: path.clone() };
        let bytes = files.document(&path)?.ok_or_else(missing)?;
        let document: Value =
            serde_json::from_slice(&bytes).map_err(|error| Error::invalid(&path, error))?;
        let parent = document.get("parent").and_then(Value::as_str);
        next = parent.filter(|parent| !parent.is_empty()).map(str::to_owned);
        chain.push((id, document));
    }
    Ok(chain)
}

fn diff_id(files: &Files<'_>, path: &str, layer: &Stored) -> Result<Digest, Error> {
    let mut tar = Hashing::new(Decoder::new(path, files.spool.open(&layer.digest)?)?);
    std::io::copy(&mut tar, &mut std::io::sink()).map_err(|error| Error::read(path, &error))?;
    Ok(tar.so_far().0)
}

/// A layer's line in the history.
fn step(document: &Value) -> Value {
    let mut step = Map::new();
    for key in ["created", "author", "comment"] {
        let value = document.get(key).filter(|value| value.as_str().is_some_and(|v| !v.is_empty()));
        step.extend(value.map(|value| (key.to_owned(), value.clone())));
    }
    let command = document.pointer("/container_config/Cmd").and_then(Value::as_array);
    if let Some(command) = command {
        let words: Vec<&str> = command.iter().filter_map(Value::as_str).collect();
        step.insert("created_by".into(), words.join(" ").into());
    }
    Value::Object(step)
}
