//! Tars become an image: an OCI image layout that `skopeo`, `umoci` and `mini-docker load` read.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// The tag in each layout.
pub(crate) const TAG: &str = "latest";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A layer's blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The compressed file; its name is its SHA-256.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of the tar in it.
    pub diff_id: String,
    /// Bytes of the tar in it.
    pub unpacked: u64,
}

/// Makes the folders of a layout.
pub(crate) fn create(layout: &Path) -> Result<()> {
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(())
}

/// Compresses a tar into a layout, as it is read: with gzip at level 6, which is what builders use.
pub(crate) fn add_layer(layout: &Path, tar: impl Read) -> Result<Blob> {
    let folder = layout.join("blobs/sha256");
    let file = NamedTempFile::new_in(&folder)?;
    let mut tar = Hashing::new(tar);
    let mut gzip = GzEncoder::new(Hashing::new(file), Compression::new(6));
    io::copy(&mut tar, &mut gzip)?;
    let blob = gzip.finish()?;
    let path = folder.join(blob.hex());
    let size = blob.bytes;
    blob.inner.persist(&path).context("keep layer")?;
    Ok(Blob { path, size, diff_id: format!("sha256:{}", tar.hex()), unpacked: tar.bytes })
}

/// Writes config, manifest and index over layers that were added, the lowest first.
pub(crate) fn finish(layout: &Path, layers: &[Blob]) -> Result<()> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let diff_ids: Vec<&str> = layers.iter().map(|layer| &*layer.diff_id).collect();
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Cmd": ["/bin/sh"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = add_document(layout, CONFIG, &config)?;
    let descriptor = |blob: &Blob| {
        let name = blob.path.file_name().unwrap_or_default().to_string_lossy();
        json!({ "mediaType": LAYER, "digest": format!("sha256:{name}"), "size": blob.size })
    };
    let layers: Vec<Value> = layers.iter().map(descriptor).collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
    });
    let mut manifest = add_document(layout, MANIFEST, &manifest)?;
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": TAG });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(layout.join("index.json"), index.to_string())?;
    Ok(())
}

fn add_document(layout: &Path, media_type: &str, document: &Value) -> Result<Value> {
    let bytes = document.to_string().into_bytes();
    let hex = hex(&Sha256::digest(&bytes));
    let mut file = File::create(layout.join("blobs/sha256").join(&hex))?;
    file.write_all(&bytes)?;
    Ok(json!({
        "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len(),
    }))
}

/// Passes bytes on, counts them and computes their digest.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    fn hex(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    fn count(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.count(&buffer[..length]);
        Ok(length)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(buffer)?;
        self.count(&buffer[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
