//! An image in Docker's shape.

use anyhow::{Context, Result};
use images::Image;
use serde_json::{Map, Value, json};

use super::{NO_TIME, config, without_empty};
use crate::engine::Engine;
use crate::image::unpacked_size;

/// Describes an image. What it runs with is from the raw bytes of its config, so that what the OCI specification has
/// no field for (`Healthcheck`, `OnBuild`) is there.
///
/// # Errors
/// If its config cannot be read.
pub fn image(engine: &Engine, image: &Image) -> Result<Value> {
    let raw = engine.images()?.config_json(image)?;
    let raw: Value = serde_json::from_slice(&raw).context("read the image's config")?;
    let layers = engine.layers()?;
    let text = |key: &str| raw[key].as_str().unwrap_or_default().to_owned();
    let diff_ids: Vec<&str> = image.layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let mut object = json!({
        "Id": image.id,
        "RepoTags": names(image).iter().filter_map(|(name, tag)| Some(format!("{name}:{}", tag.as_ref()?))).collect::<Vec<_>>(),
        "RepoDigests": image.repo_digests,
        "Parent": "",
        "Comment": comment(&raw),
        "Created": raw["created"].as_str().unwrap_or(NO_TIME),
        "DockerVersion": text("docker_version"),
        "Author": text("author"),
        "Config": config(&raw["config"]),
        "Architecture": text("architecture"),
        "Variant": text("variant"),
        "Os": text("os"),
        "OsVersion": text("os.version"),
        "Size": unpacked_size(&layers, image),
        "GraphDriver": { "Data": folders(&layers, &diff_ids), "Name": "overlay2" },
        "RootFS": { "Type": "layers", "Layers": diff_ids },
        "Metadata": { "LastTagTime": NO_TIME },
    });
    if let Some(map) = object.as_object_mut() {
        without_empty(map, &["Variant", "OsVersion"]);
    }
    Ok(object)
}

/// Names of an image, as short as Docker prints them, with tag; without a tag it is known by its digest only.
pub fn names(image: &Image) -> Vec<(String, Option<String>)> {
    let name = |name: &images::Reference| (name.familiar_name(), name.tag().map(str::to_owned));
    image.references.iter().map(name).collect()
}

/// The image's comment, or that of its last step, as Docker does.
fn comment(raw: &Value) -> String {
    let own = raw["comment"].as_str().filter(|comment| !comment.is_empty());
    let last = raw["history"].as_array().and_then(|history| history.last());
    let last = last.and_then(|step| step["comment"].as_str());
    own.or(last).unwrap_or_default().to_owned()
}

/// The folders of the layers: the topmost as `UpperDir`, those below it, topmost first, as `LowerDir`.
pub(super) fn folders(layers: &layers::Store, diff_ids: &[&str]) -> Map<String, Value> {
    let mut paths: Vec<String> = diff_ids
        .iter()
        .rev()
        .filter_map(|id| Some(layers.path(&id.parse().ok()?).to_string_lossy().into_owned()))
        .collect();
    let mut data = Map::new();
    if paths.is_empty() {
        return data;
    }
    let upper = paths.remove(0);
    if !paths.is_empty() {
        data.insert("LowerDir".to_owned(), paths.join(":").into());
    }
    data.insert("UpperDir".to_owned(), upper.into());
    data
}
