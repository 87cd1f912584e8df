//! OCI layouts (image specification, image-layout.md) made by hand: the same content gives the same digests.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Result, missing, run};
use crate::Sandbox;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// How layers are packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    #[default]
    Gzip,
    /// Zstandard.
    Zstd,
}

/// What an image runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: &'static str,
    /// `amd64`, `arm64`, `arm`...
    pub architecture: &'static str,
    /// `v7`; empty for none.
    pub variant: &'static str,
}

impl Platform {
    /// That of this machine.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { os: "linux", architecture, variant: "" }
    }

    fn json(&self) -> Value {
        let mut platform = json!({"architecture": self.architecture, "os": self.os});
        if !self.variant.is_empty() {
            platform["variant"] = self.variant.into();
        }
        platform
    }
}

/// What an image is made of.
#[derive(Debug, Clone)]
pub struct Image<'a> {
    /// Folders, each of which becomes a layer; the lowest first.
    pub layers: &'a [PathBuf],
    /// How the layers are packed.
    pub compression: Compression,
    /// What it runs on.
    pub platform: Platform,
    /// The `config` object of its configuration: `{"Cmd": ["/bin/sh"]}`.
    pub config: Value,
}

/// An OCI layout on disk.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Its folder: `oci:PATH:TAG` for skopeo.
    pub path: PathBuf,
}

impl Layout {
    /// An empty one.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        std::fs::create_dir_all(path.join("blobs/sha256"))?;
        std::fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let layout = Self { path };
        layout.write_index(&[])?;
        Ok(layout)
    }

    /// One with an image that runs: static busybox with its applets, `/bin/sh` by default, tag `latest`, for this
    /// machine.
    ///
    /// # Errors
    /// Skips without static busybox.
    pub fn busybox(sandbox: &Sandbox, name: &str) -> Result<Self> {
        let layout = Self::new(sandbox.path(name))?;
        let root = sandbox.busybox_rootfs(&format!("{name}-root"))?;
        layout.add("latest", &Image { layers: &[root], ..Image::default() })?;
        Ok(layout)
    }

    /// One with an image (tag `latest`) of `layers` layers, in each of which is a file `layer-N` of `bytes` random bytes
    /// (the same for the same N and name). It does not run. Random bytes do not shrink: gzip of many takes its time,
    /// [`Compression::None`] does not.
    ///
    /// # Errors
    /// Of writing.
    pub fn random(
        sandbox: &Sandbox,
        name: &str,
        layers: usize,
        bytes: u64,
        compression: Compression,
    ) -> Result<Self> {
        let layout = Self::new(sandbox.path(name))?;
        let mut folders = Vec::new();
        for number in 0..layers {
            let dir = sandbox.path(format!("{name}-layer-{number}"));
            std::fs::create_dir_all(&dir)?;
            let seed = name.bytes().fold(number as u64 + 1, |sum, byte| {
                sum.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte))
            });
            write_random(&dir.join(format!("layer-{number}")), bytes, seed)?;
            folders.push(dir);
        }
        layout.add("latest", &Image { layers: &folders, compression, ..Image::default() })?;
        for dir in folders {
            std::fs::remove_dir_all(dir)?;
        }
        Ok(layout)
    }

    /// Adds an image under a tag and says the digest of its manifest.
    ///
    /// # Errors
    /// Skips without `zstd` for zstd; of writing.
    pub fn add(&self, tag: &str, image: &Image<'_>) -> Result<String> {
        let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
        for dir in image.layers {
            let (layer, diff_id) = self.layer(dir, image.compression)?;
            layers.push(layer);
            diff_ids.push(diff_id);
        }
        let mut config = image.platform.json();
        config["config"] = image.config.clone();
        config["created"] = "2024-01-01T00:00:00Z".into();
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        let step = json!({"created": "2024-01-01T00:00:00Z", "created_by": "testkit"});
        config["history"] = vec![step; image.layers.len()].into();
        let config = self.blob(CONFIG, config.to_string().as_bytes())?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        let manifest = self.blob(MANIFEST, manifest.to_string().as_bytes())?;
        self.tag(tag, manifest)
    }

    /// Adds an index (a multi-platform image) of images that are there under tags of their own, and says its digest.
    ///
    /// # Errors
    /// If a tag is not there; of writing.
    pub fn add_index(&self, tag: &str, images: &[(&str, Platform)]) -> Result<String> {
        let mut manifests = Vec::new();
        for (name, platform) in images {
            let mut manifest = self.find(name)?;
            manifest["platform"] = platform.json();
            if let Some(descriptor) = manifest.as_object_mut() {
                descriptor.remove("annotations");
            }
            manifests.push(manifest);
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        let index = self.blob(INDEX, index.to_string().as_bytes())?;
        self.tag(tag, index)
    }

    /// The digest of what a tag names.
    ///
    /// # Errors
    /// If it is not there.
    pub fn digest(&self, tag: &str) -> Result<String> {
        Ok(self.find(tag)?["digest"].as_str().unwrap_or_default().to_owned())
    }

    /// The manifest or index that a tag names.
    ///
    /// # Errors
    /// If it is not there.
    pub fn manifest(&self, tag: &str) -> Result<Value> {
        self.json(&self.digest(tag)?)
    }

    /// A blob that is JSON.
    ///
    /// # Errors
    /// If it is not there, or not JSON.
    pub fn json(&self, digest: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(self.blob_path(digest))?)?)
    }

    /// Where a blob lies.
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.path.join("blobs").join(digest.replace(':', "/"))
    }

    /// Stores bytes and describes them: media type, digest, size.
    ///
    /// # Errors
    /// Of writing.
    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Result<Value> {
        let path = self.path.join("blobs/new");
        std::fs::write(&path, bytes)?;
        self.adopt(media_type, &path)
    }

    /// Moves a file to its digest.
    fn adopt(&self, media_type: &str, path: &Path) -> Result<Value> {
        let (digest, size) = (digest(path)?, std::fs::metadata(path)?.len());
        std::fs::rename(path, self.blob_path(&digest))?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": size}))
    }

    /// A layer of a folder: its descriptor and its diff ID.
    fn layer(&self, dir: &Path, compression: Compression) -> Result<(Value, String)> {
        let tar = self.path.join("blobs/layer.tar");
        let mut command = Command::new("tar");
        command.args(["--create", "--format=gnu", "--sort=name", "--mtime=@1704067200"]);
        command.args(["--owner=0", "--group=0", "--numeric-owner", "--mode=u+rw,a+rX,go-w"]);
        command.arg("--file").arg(&tar).arg("--directory").arg(dir).arg(".");
        run(&mut command, "tar")?;
        let diff_id = digest(&tar)?;
        let (suffix, packer) = match compression {
            Compression::None => ("", None),
            // -n: neither the name nor the time of the file.
            Compression::Gzip => ("+gzip", Some(("gzip", vec!["-n", "-1", "-c"]))),
            Compression::Zstd => ("+zstd", Some(("zstd", vec!["-q", "-1", "-c"]))),
        };
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
        let Some((program, args)) = packer else {
            return Ok((self.adopt(&media_type, &tar)?, diff_id));
        };
        let packed = self.path.join("blobs/layer.packed");
        let status = Command::new(program)
            .args(args)
            .stdin(File::open(&tar)?)
            .stdout(File::create(&packed)?)
            .status()
            .or_else(|error| missing(program, program, error))?;
        if !status.success() {
            return Err(format!("{program}: {status}").into());
        }
        std::fs::remove_file(tar)?;
        Ok((self.adopt(&media_type, &packed)?, diff_id))
    }

    fn index(&self) -> Result<Vec<Value>> {
        let index: Value = serde_json::from_slice(&std::fs::read(self.path.join("index.json"))?)?;
        Ok(index["manifests"].as_array().cloned().unwrap_or_default())
    }

    fn write_index(&self, manifests: &[Value]) -> io::Result<()> {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        std::fs::write(self.path.join("index.json"), index.to_string())
    }

    fn find(&self, tag: &str) -> Result<Value> {
        let mut manifests = self.index()?.into_iter();
        let found = manifests.find(|manifest| named(manifest) == tag);
        found.ok_or_else(|| format!("{}: no tag {tag}", self.path.display()).into())
    }

    fn tag(&self, tag: &str, mut descriptor: Value) -> Result<String> {
        let digest = descriptor["digest"].as_str().unwrap_or_default().to_owned();
        descriptor["annotations"] = json!({ REF_NAME: tag });
        let mut manifests = self.index()?;
        manifests.retain(|manifest| named(manifest) != tag);
        manifests.push(descriptor);
        self.write_index(&manifests)?;
        Ok(digest)
    }
}

const REF_NAME: &str = "org.opencontainers.image.ref.name";

fn named(manifest: &Value) -> &str {
    manifest["annotations"][REF_NAME].as_str().unwrap_or_default()
}

impl Default for Image<'_> {
    fn default() -> Self {
        Self {
            layers: &[],
            compression: Compression::default(),
            platform: Platform::host(),
            config: json!({"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]}),
        }
    }
}

/// `sha256:HEX` of a file.
fn digest(path: &Path) -> Result<String> {
    let output = run(Command::new("sha256sum").stdin(Stdio::null()).arg(path), "coreutils")?;
    let text = String::from_utf8(output)?;
    // A backslash before the sum says that the name is escaped.
    let hex = text.split(' ').next().unwrap_or_default().trim_start_matches('\\');
    Ok(format!("sha256:{hex}"))
}

/// Writes bytes that no compression makes smaller (xorshift64, Marsaglia 2003).
fn write_random(path: &Path, bytes: u64, seed: u64) -> io::Result<()> {
    let mut file = io::BufWriter::new(File::create(path)?);
    let mut state = seed | 1;
    let mut left = bytes;
    while left > 0 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let count = left.min(8);
        file.write_all(&state.to_le_bytes()[..count as usize])?;
        left -= count;
    }
    file.flush()
}
