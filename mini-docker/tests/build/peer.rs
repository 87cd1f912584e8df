//! The two builders of the comparison: each builds in its own store and says what its images are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use serde_json::Value;
use testkit::Sandbox;

use crate::support::{Docker, Ran, Result, finish};
use crate::tree::{self, Tree};

/// An image: settings and files.
pub struct Built {
    pub settings: BTreeSet<String>,
    pub tree: Tree,
}

/// An image of ours, by its name.
pub fn built(docker: &Docker, sandbox: &Sandbox, name: &str) -> Result<Built> {
    let images = images::Store::open(&docker.root.join("images"))?;
    let image = images.resolve(name)?;
    let config: Value = serde_json::from_slice(&std::fs::read(blob(docker, &image.id))?)?;
    let store = layers::Store::open(&docker.root.join("layers"))?;
    let mut lowers = Vec::new();
    for layer in image.layers.iter().rev() {
        lowers.push(store.path(&layer.diff_id.parse()?));
    }
    let tree = tree::merged(&lowers, &sandbox.path("merged"))?;
    Ok(Built { settings: tree::settings(&config), tree })
}

/// Where a blob of the image store lies.
pub fn blob(docker: &Docker, digest: &str) -> PathBuf {
    docker.root.join("images/blobs/sha256").join(digest.trim_start_matches("sha256:"))
}

/// Debian's buildah with a store in the sandbox.
pub struct Buildah<'s> {
    sandbox: &'s Sandbox,
}

impl<'s> Buildah<'s> {
    /// Skips if there is none.
    pub fn new(sandbox: &'s Sandbox) -> Result<Self> {
        if Command::new("buildah").arg("--version").output().is_err() {
            return testkit::skip("needs buildah (Debian: buildah)");
        }
        // Not every machine may raise limits, and buildah asks for it by default.
        let limits =
            "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n";
        std::fs::write(sandbox.path("containers.conf"), limits)?;
        let policy = sandbox.path("home/.config/containers/policy.json");
        std::fs::create_dir_all(policy.parent().unwrap())?;
        std::fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)?;
        Ok(Self { sandbox })
    }

    fn command(&self, args: &[&str]) -> Command {
        let sandbox = self.sandbox;
        let mut command = Command::new("buildah");
        command.env("CONTAINERS_CONF", sandbox.path("containers.conf"));
        command.env("HOME", sandbox.path("home")).env("TMPDIR", &sandbox.dir);
        command.arg("--root").arg(sandbox.path("peer/store"));
        command.arg("--runroot").arg(sandbox.path("peer/run"));
        command.args(["--storage-driver", "overlay"]).args(args);
        command
    }

    /// Runs it to its end.
    pub fn ran(&self, args: &[&str]) -> Result<Ran> {
        finish(&mut self.command(args))
    }

    /// Gives it an image of ours under the same name.
    pub fn take(&self, docker: &Docker, name: &str) -> Result<()> {
        let archive = self.sandbox.path("given.tar");
        let archive = archive.to_str().unwrap();
        let saved = docker.ran(["save", "-o", archive, name])?;
        assert_eq!(saved.code, 0, "{saved:?}");
        let pulled = self.ran(&["pull", "-q", &format!("docker-archive:{archive}")])?;
        assert_eq!(pulled.code, 0, "{pulled:?}");
        let tagged = self.ran(&["tag", pulled.stdout.trim(), &format!("localhost/{name}")])?;
        assert_eq!(tagged.code, 0, "{tagged:?}");
        Ok(())
    }

    /// Builds, in Docker's format: the other one has no place for HEALTHCHECK, SHELL and ONBUILD.
    pub fn build(&self, name: &str, flags: &[&str], file: &Path, context: &Path) -> Result<Ran> {
        let fixed = [
            "build",
            "--isolation",
            "chroot",
            "--format",
            "docker",
            "--pull-never",
            "-q",
            "--identity-label=false",
        ];
        let (file, context) = (file.to_str().unwrap(), context.to_str().unwrap());
        let last = ["-t", name, "-f", file, context];
        self.ran(&[&fixed[..], flags, &last].concat())
    }

    /// The image of this id, out of its store: the format of containers/storage, which podman shares.
    pub fn built(&self, id: &str) -> Result<Built> {
        let store = self.sandbox.path("peer/store");
        let read = |path: PathBuf| -> Result<Value> {
            Ok(serde_json::from_slice(
                &std::fs::read(&path).map_err(|error| format!("{path:?}: {error}"))?,
            )?)
        };
        let id = id.trim().trim_start_matches("sha256:");
        // A key that is no plain name lies under `=` and its base64.
        let key = base64::engine::general_purpose::STANDARD.encode(format!("sha256:{id}"));
        let config = read(store.join("overlay-images").join(id).join(format!("={key}")))?;
        let images = read(store.join("overlay-images/images.json"))?;
        let layers = read(store.join("overlay-layers/layers.json"))?;
        let by_id = |all: &Value, id: &str| -> Option<Value> {
            all.as_array()?.iter().find(|one| one["id"] == id).cloned()
        };
        let image = by_id(&images, id).ok_or("no such image")?;
        let mut lowers = Vec::new();
        let mut next = image["layer"].as_str().map(str::to_owned);
        while let Some(layer) = next {
            lowers.push(store.join("overlay").join(&layer).join("diff"));
            let record = by_id(&layers, &layer).ok_or("no such layer")?;
            next = record["parent"].as_str().map(str::to_owned);
        }
        let mut tree = tree::merged(&lowers, &self.sandbox.path("merged"))?;
        // It mounts a file there while a step runs, and so changes the folder's time.
        if let Some(line) = tree.get_mut("/run")
            && line == "040755 0:0"
        {
            line.push_str(" @1000000000");
        }
        Ok(Built { settings: tree::settings(&config), tree })
    }
}

impl Drop for Buildah<'_> {
    fn drop(&mut self) {
        // It mounts its store on itself and leaves it so.
        let store = self.sandbox.path("peer/store/overlay");
        Command::new("umount").arg("-ql").arg(store).status().ok();
    }
}
