//! From an index by a manifest to a config: reading the documents of an image, and what is refused.

use std::collections::BTreeMap;

use oci_spec::image::ImageConfiguration;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::error::Error;
use crate::platform::Platform;
use crate::{Image, Layer, MAX_DOCUMENT};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// An index within an index is allowed; this deep nobody goes.
const MAX_NESTING: usize = 4;

/// What points to a blob (descriptor.md of the OCI image specification).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) platform: Option<Platform>,
}

impl Descriptor {
    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        let platform = value.get("platform").and_then(|platform| {
            let text = |key: &str| platform.get(key)?.as_str().map(str::to_owned);
            Some(Platform {
                os: text("os")?,
                architecture: text("architecture")?,
                variant: text("variant").filter(|variant| !variant.is_empty()),
            })
        });
        Some(Self {
            media_type: value.get("mediaType")?.as_str()?.to_owned(),
            digest: value.get("digest")?.as_str()?.parse().ok()?,
            // Larger ones exist in attacks only; sums of these do not overflow.
            size: value.get("size")?.as_u64().filter(|size| *size < 1 << 50)?,
            platform,
        })
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut value = json!({
            "mediaType": self.media_type, "digest": self.digest.to_string(), "size": self.size,
        });
        if let Some(platform) = &self.platform {
            let mut object = Map::new();
            object.insert("architecture".into(), json!(platform.architecture));
            object.insert("os".into(), json!(platform.os));
            if let Some(variant) = &platform.variant {
                object.insert("variant".into(), json!(variant));
            }
            value["platform"] = Value::Object(object);
        }
        value
    }

    fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), INDEX | DOCKER_INDEX)
    }
}

/// Reads one small blob; its digest and size are checked by the caller here.
pub(crate) type Fetch<'f> = dyn FnMut(&str, &Descriptor) -> Result<Vec<u8>, Error> + 'f;

/// A manifest with what it points to; the config is not opened yet.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) descriptor: Descriptor,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    schema_version: u64,
    media_type: Option<String>,
    config: Option<Value>,
    layers: Option<Vec<Value>>,
    manifests: Option<Vec<Value>>,
}

/// Fetches a document and checks size, digest and limits.
pub(crate) fn fetch(
    what: &str,
    descriptor: &Descriptor,
    from: &mut Fetch<'_>,
) -> Result<Vec<u8>, Error> {
    if descriptor.size > MAX_DOCUMENT {
        return Err(Error::TooLarge { what: what.to_owned(), size: descriptor.size });
    }
    let bytes = from(what, descriptor)?;
    let actual = Digest::of(&bytes);
    if actual != descriptor.digest {
        let (what, expected) = (what.to_owned(), descriptor.digest);
        return Err(Error::WrongDigest { what, expected, actual });
    }
    if bytes.len() as u64 != descriptor.size {
        let (what, expected) = (what.to_owned(), descriptor.size);
        return Err(Error::WrongSize { what, expected, actual: bytes.len() as u64 });
    }
    Ok(bytes)
}

/// Reads a manifest; of an image index, the one for `platform`.
pub(crate) fn manifest(
    descriptor: &Descriptor,
    platform: &Platform,
    from: &mut Fetch<'_>,
) -> Result<Manifest, Error> {
    let mut descriptor = descriptor.clone();
    for _ in 0..MAX_NESTING {
        let kind = if descriptor.is_index() { "index" } else { "manifest" };
        let what = format!("{kind} {}", descriptor.digest);
        if !descriptor.is_index()
            && !matches!(descriptor.media_type.as_str(), MANIFEST | DOCKER_MANIFEST)
        {
            let reason = format!("media type {} is no image manifest", descriptor.media_type);
            return Err(Error::invalid(&what, reason));
        }
        let bytes = fetch(&what, &descriptor, from)?;
        let raw: RawManifest =
            serde_json::from_slice(&bytes).map_err(|error| Error::invalid(&what, error))?;
        check_kind(&what, &descriptor, &raw)?;
        if !descriptor.is_index() {
            return parse_manifest(&what, descriptor, raw);
        }
        descriptor = choose(&what, raw.manifests.unwrap_or_default(), platform)?;
    }
    Err(Error::invalid(&format!("index {}", descriptor.digest), "indexes are nested too deep"))
}

/// One document must not be read as a manifest by one tool and as an index by another (CVE-2021-41190).
fn check_kind(what: &str, descriptor: &Descriptor, raw: &RawManifest) -> Result<(), Error> {
    if raw.schema_version != 2 {
        let reason = format!("schema version {} (only 2 is read)", raw.schema_version);
        return Err(Error::invalid(what, reason));
    }
    if let Some(own) = &raw.media_type
        && *own != descriptor.media_type
    {
        let reason = format!("calls itself {own}, but was announced as {}", descriptor.media_type);
        return Err(Error::invalid(what, reason));
    }
    let as_manifest = raw.config.is_some() || raw.layers.is_some();
    if as_manifest && raw.manifests.is_some() {
        return Err(Error::invalid(what, "it is a manifest and an index at once"));
    }
    Ok(())
}

fn parse_manifest(what: &str, descriptor: Descriptor, raw: RawManifest) -> Result<Manifest, Error> {
    let part = |what: &str, value: &Value| {
        Descriptor::from_value(value)
            .ok_or_else(|| Error::invalid(what, "expected mediaType, size and a sha256 digest"))
    };
    let config = part(
        &format!("config of {what}"),
        raw.config.as_ref().ok_or_else(|| Error::invalid(what, "it has no config"))?,
    )?;
    if !matches!(config.media_type.as_str(), CONFIG | DOCKER_CONFIG) {
        let reason = format!("not a container image: its config is {}", config.media_type);
        return Err(Error::invalid(what, reason));
    }
    let layers = raw
        .layers
        .unwrap_or_default()
        .iter()
        .enumerate()
        .map(|(at, value)| {
            let what = format!("layer {} of {what}", at + 1);
            let layer = part(&what, value)?;
            check_layer_type(&what, &layer.media_type)?;
            Ok(layer)
        })
        .collect::<Result<_, Error>>()?;
    Ok(Manifest { descriptor, config, layers })
}

fn check_layer_type(what: &str, media_type: &str) -> Result<(), Error> {
    let format = [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ]
    .iter()
    .find_map(|prefix| media_type.strip_prefix(prefix));
    match format {
        Some("" | "+gzip" | ".gzip" | "+zstd" | ".zstd") => Ok(()),
        Some("+encrypted" | "+gzip+encrypted" | "+zstd+encrypted") => {
            Err(Error::invalid(what, "it is encrypted"))
        }
        _ => Err(Error::invalid(what, format!("media type {media_type} is no layer"))),
    }
}

/// A layer that registries must not hand out: base layers of Windows, to be fetched from their maker.
pub(crate) fn check_fetchable(image: &str, layer: &Descriptor) -> Result<(), Error> {
    let foreign = [".foreign.", ".nondistributable."];
    if foreign.iter().any(|word| layer.media_type.contains(word)) {
        let what = format!("layer {} of {image}", layer.digest);
        let reason = "it is a foreign layer, which registries do not hold \
                      (hint: images with such layers are made for Windows)";
        return Err(Error::invalid(&what, reason));
    }
    Ok(())
}

/// Of the entries of an image index, the one that suits `platform` best.
pub(crate) fn choose(
    what: &str,
    entries: Vec<Value>,
    platform: &Platform,
) -> Result<Descriptor, Error> {
    let mut offered = Vec::new();
    let mut best: Option<(u32, Descriptor)> = None;
    for descriptor in entries.iter().filter_map(Descriptor::from_value) {
        // Without a platform it is for all of them, but a named one is surer.
        let rank = match &descriptor.platform {
            Some(own) => platform.rank(own),
            None => Some(u32::MAX),
        };
        match rank {
            Some(rank) if best.as_ref().is_none_or(|(least, _)| rank < *least) => {
                best = Some((rank, descriptor));
            }
            Some(_) => {}
            // Attestations are listed as unknown/unknown: nothing that a machine could run.
            None => offered.extend(descriptor.platform.filter(|own| own.os != "unknown")),
        }
    }
    best.map(|(_, descriptor)| descriptor).ok_or_else(|| Error::NoPlatform {
        what: what.to_owned(),
        wanted: platform.clone(),
        offered,
    })
}

/// Reads a config and puts the image together; names are the caller's.
pub(crate) fn image(manifest: &Manifest, from: &mut Fetch<'_>) -> Result<Image, Error> {
    let what = format!("config {}", manifest.config.digest);
    let bytes = fetch(&what, &manifest.config, from)?;
    let (config, extensions) = parse_config(&what, &bytes)?;
    let diff_ids = config.rootfs().diff_ids();
    if diff_ids.len() != manifest.layers.len() {
        let reason =
            format!("it names {} layers, the manifest {}", diff_ids.len(), manifest.layers.len());
        return Err(Error::invalid(&what, reason));
    }
    let layers = manifest
        .layers
        .iter()
        .zip(diff_ids)
        .map(|(layer, diff_id)| Layer {
            digest: layer.digest.to_string(),
            size: layer.size,
            media_type: layer.media_type.clone(),
            diff_id: diff_id.clone(),
        })
        .collect();
    // A layer that is used twice is stored once.
    let blobs: BTreeMap<Digest, u64> =
        manifest.layers.iter().map(|layer| (layer.digest, layer.size)).collect();
    Ok(Image {
        id: manifest.config.digest.to_string(),
        manifest_digest: manifest.descriptor.digest.to_string(),
        references: Vec::new(),
        repo_digests: Vec::new(),
        created: config.created().as_deref().and_then(|text| text.parse().ok()),
        size: manifest.descriptor.size + manifest.config.size + blobs.values().sum::<u64>(),
        config,
        extensions,
        layers,
    })
}

/// The keys of a config's `config` object in the OCI specification (config.md).
const OCI_KEYS: [&str; 9] = [
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
];

/// The config, and what the specification does not know of its `config` object.
fn parse_config(
    what: &str,
    bytes: &[u8],
) -> Result<(ImageConfiguration, Map<String, Value>), Error> {
    let invalid = |error: serde_json::Error| Error::invalid(what, error);
    let mut value: Value = serde_json::from_slice(bytes).map_err(invalid)?;
    // Docker writes an image without layers as null or leaves the list out.
    if let Some(Value::Object(rootfs)) = value.get_mut("rootfs") {
        match rootfs.get_mut("diff_ids") {
            Some(Value::Null) => drop(rootfs.insert("diff_ids".into(), json!([]))),
            Some(_) => {}
            None => drop(rootfs.insert("diff_ids".into(), json!([]))),
        }
    }
    let extensions = match value.get_mut("config") {
        Some(Value::Object(process)) => {
            let unknown = |(key, _): &(&String, &Value)| !OCI_KEYS.contains(&key.as_str());
            let unknown = process.iter().filter(unknown);
            unknown.map(|(key, value)| (key.clone(), value.clone())).collect()
        }
        _ => Map::new(),
    };
    let mut config: ImageConfiguration = serde_json::from_value(value).map_err(invalid)?;
    for diff_id in config.rootfs().diff_ids() {
        diff_id.parse::<Digest>().map_err(|error| Error::digest(what, &error))?;
    }
    if config.os().to_string() != "linux" {
        return Err(Error::invalid(what, format!("it is for {}, not for linux", config.os())));
    }
    // These come out of a hash map; whoever prints or compares them wants one order.
    if let Some(mut process) = config.config().clone() {
        let sorted = |list: &Option<Vec<String>>| {
            list.clone().map(|mut list| {
                list.sort();
                list
            })
        };
        let (ports, volumes) = (sorted(process.exposed_ports()), sorted(process.volumes()));
        process.set_exposed_ports(ports);
        process.set_volumes(volumes);
        config.set_config(Some(process));
    }
    Ok((config, extensions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_suitable_entry_is_chosen_wherever_it_stands() {
        let entry = |content: &str, platform: Option<(&str, Option<&str>)>| {
            let platform = platform.map(|(architecture, variant)| Platform {
                os: "linux".to_owned(),
                architecture: architecture.to_owned(),
                variant: variant.map(str::to_owned),
            });
            let digest = Digest::of(content.as_bytes());
            Descriptor { media_type: MANIFEST.to_owned(), digest, size: 1, platform }.to_value()
        };
        let host = Platform { os: "linux".into(), architecture: "amd64".into(), variant: None };
        let mut entries = vec![
            entry("any", None),
            entry("v3", Some(("amd64", Some("v3")))),
            entry("plain", Some(("amd64", None))),
            entry("v2", Some(("amd64", Some("v2")))),
            entry("other", Some(("arm64", Some("v8")))),
        ];
        for best in ["plain", "v2", "v3", "any"] {
            let chosen = choose("index", entries.clone(), &host).unwrap();
            assert_eq!(chosen.digest, Digest::of(best.as_bytes()), "{best}");
            entries.retain(|entry| entry["digest"] != chosen.digest.to_string());
        }
        let error = choose("index", entries, &host).unwrap_err().to_string();
        assert_eq!(error, "index: no image for linux/amd64; it offers linux/arm64/v8");
    }

    #[test]
    fn what_the_specification_does_not_know_is_kept() {
        let text = br#"{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers"},
            "config": {"Cmd": ["a"], "OnBuild": ["RUN b"], "Shell": ["c"], "ArgsEscaped": true}}"#;
        let (config, extensions) = parse_config("config", text).unwrap();
        assert_eq!(config.config().as_ref().unwrap().cmd(), &Some(vec!["a".to_owned()]));
        let expected = json!({"OnBuild": ["RUN b"], "Shell": ["c"], "ArgsEscaped": true});
        assert_eq!(Value::Object(extensions), expected);
        let bare = br#"{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers"}}"#;
        assert!(parse_config("config", bare).unwrap().1.is_empty());
    }
}
