//! Archives as other tools write them, and as nobody should.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use images::Digest;
use serde_json::{Value, json};
use testkit::Outcome;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What an entry of a tar archive is.
#[derive(Clone)]
pub(crate) enum Is {
    File(Vec<u8>),
    Link(&'static str),
    Hard(&'static str),
    Fifo,
}

/// A tar archive with exactly these entries; names are written as they stand, also wrong ones.
pub(crate) fn tar(entries: &[(&str, Is)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, is) in entries {
        let mut header = tar::Header::new_gnu();
        let (kind, content, target): (_, &[u8], _) = match is {
            Is::File(bytes) => (tar::EntryType::Regular, bytes, ""),
            Is::Link(target) => (tar::EntryType::Symlink, &[], *target),
            Is::Hard(target) => (tar::EntryType::Link, &[], *target),
            Is::Fifo => (tar::EntryType::Fifo, &[], ""),
        };
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A layer with one file.
pub(crate) fn layer(name: &str, content: &str) -> Vec<u8> {
    tar(&[(name, Is::File(content.into()))])
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes).to_string();
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

pub(crate) fn config(layers: &[&[u8]]) -> Value {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    json!({"architecture": "amd64", "os": "linux", "created": "2020-01-02T03:04:05Z",
           "config": {"Cmd": ["/bin/sh"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids}})
}

/// An OCI image layout in memory.
#[derive(Clone, Default)]
pub(crate) struct Layout {
    /// Files by name, in the order of the archive.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) index: Vec<Value>,
}

impl Layout {
    pub(crate) fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let path = format!("blobs/sha256/{}", Digest::of(bytes).hex());
        if !self.files.iter().any(|(known, _)| *known == path) {
            self.files.push((path, bytes.to_vec()));
        }
        descriptor(media_type, bytes)
    }

    /// Adds an image of plain layers; returns the descriptor of its manifest.
    pub(crate) fn image(&mut self, config: &Value, layers: &[Vec<u8>]) -> Value {
        let layers: Vec<_> = layers.iter().map(|layer| self.blob(LAYER, layer)).collect();
        let config = self.blob(CONFIG, config.to_string().as_bytes());
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    /// One image with one plain layer and a name.
    pub(crate) fn simple(name: &str, content: &str) -> Self {
        let mut layout = Self::default();
        let layer = layer("file", content);
        let mut manifest = layout.image(&config(&[&layer]), &[layer]);
        manifest["annotations"] = json!({"io.containerd.image.name": name});
        layout.index.push(manifest);
        layout
    }

    fn all(&self) -> Vec<(String, Vec<u8>)> {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.index});
        let mut files = self.files.clone();
        files.push(("index.json".into(), index.to_string().into()));
        files.push(("oci-layout".into(), br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec()));
        files
    }

    /// As an archive: blobs first, the index at the end.
    pub(crate) fn tar(&self) -> Vec<u8> {
        let files = self.all();
        let files: Vec<_> =
            files.iter().map(|(name, bytes)| (name.as_str(), Is::File(bytes.clone()))).collect();
        tar(&files)
    }

    pub(crate) fn write(&self, dir: &Path) -> Outcome {
        for (name, bytes) in self.all() {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap())?;
            std::fs::write(path, bytes)?;
        }
        Ok(())
    }
}

/// Runs a command; its output if it succeeded.
pub(crate) fn run(dir: &Path, command: &str) -> Result<String, Box<dyn std::error::Error>> {
    let output =
        Command::new("sh").args(["-euc", command]).current_dir(dir).env("TMPDIR", dir).output()?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// Skips unless the program is installed.
pub(crate) fn needs(program: &str) -> Outcome {
    match Command::new(program).arg("--version").output() {
        Ok(_) => Ok(()),
        Err(_) => testkit::skip(format!("needs {program} (Debian: {program})")),
    }
}
