//! Who does what: the commands that are measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::ground::Ground;
use super::image::Image;
use super::job::Job;
use super::layout::TAG;
use super::registry::Registry;

/// The argument with which this program is the limit [`Limit::Inflate`].
pub const INFLATE: &str = "inflate";

/// Tars that [`Limit::TarAtOnce`] unpacks at the same time.
const AT_ONCE: usize = 4;

/// Something done to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Index of the image in [`Ground::images`].
    pub image: usize,
    /// What.
    pub way: Way,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the registry to a store that was empty.
    Pull(Tool),
    /// From an OCI image layout to a store that was empty.
    Unpack(Tool),
    /// A part of it that nobody can do without.
    Limit(Limit),
}

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// The binary of this project.
    MiniDocker,
    /// podman with its overlay driver.
    Podman,
    /// `skopeo copy` to a layout, then `umoci unpack`, which also notes the digest of every file.
    Umoci,
    /// `skopeo copy` to a layout, then `umoci raw unpack`, which does not.
    UmociRaw,
}

/// Parts of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Inflating and hashing, [`inflate`](super::inflate).
    Inflate,
    /// GNU tar unpacks the tars that were inflated before, one after the other.
    Tar,
    /// The same, several at the same time.
    TarAtOnce,
    /// `curl | tar -xz`, one layer after the other: no limit, but what a person would try.
    Curl,
}

impl Way {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 12] = [
        Self::Limit(Limit::Inflate),
        Self::Limit(Limit::Tar),
        Self::Limit(Limit::TarAtOnce),
        Self::Pull(Tool::MiniDocker),
        Self::Pull(Tool::Podman),
        Self::Pull(Tool::Umoci),
        Self::Pull(Tool::UmociRaw),
        Self::Limit(Limit::Curl),
        Self::Unpack(Tool::MiniDocker),
        Self::Unpack(Tool::Podman),
        Self::Unpack(Tool::Umoci),
        Self::Unpack(Tool::UmociRaw),
    ];

    /// A short name without spaces, for filters.
    pub fn id(self) -> &'static str {
        match self {
            Self::Limit(Limit::Inflate) => "limit/inflate",
            Self::Limit(Limit::Tar) => "limit/tar",
            Self::Limit(Limit::TarAtOnce) => "limit/tar-at-once",
            Self::Limit(Limit::Curl) => "limit/curl",
            Self::Pull(Tool::MiniDocker) => "pull/mini-docker",
            Self::Pull(Tool::Podman) => "pull/podman",
            Self::Pull(Tool::Umoci) => "pull/umoci",
            Self::Pull(Tool::UmociRaw) => "pull/umoci-raw",
            Self::Unpack(Tool::MiniDocker) => "unpack/mini-docker",
            Self::Unpack(Tool::Podman) => "unpack/podman",
            Self::Unpack(Tool::Umoci) => "unpack/umoci",
            Self::Unpack(Tool::UmociRaw) => "unpack/umoci-raw",
        }
    }

    /// The name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Limit(Limit::Inflate) => "limit: inflate and hash",
            Self::Limit(Limit::Tar) => "limit: tar -x",
            Self::Limit(Limit::TarAtOnce) => "limit: tar -x, four at once",
            Self::Limit(Limit::Curl) => "curl | tar -xz",
            Self::Pull(Tool::MiniDocker) => "mini-docker pull",
            Self::Pull(Tool::Podman) => "podman pull",
            Self::Pull(Tool::Umoci) => "skopeo copy, umoci unpack",
            Self::Pull(Tool::UmociRaw) => "skopeo copy, umoci raw unpack",
            Self::Unpack(Tool::MiniDocker) => "mini-docker load",
            Self::Unpack(Tool::Podman) => "podman pull oci:",
            Self::Unpack(Tool::Umoci) => "umoci unpack",
            Self::Unpack(Tool::UmociRaw) => "umoci raw unpack",
        }
    }

    /// Programs that it needs beside this one; `mini-docker` is the one that was named or found.
    pub fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Limit(Limit::Inflate) => &[],
            Self::Limit(Limit::Tar | Limit::TarAtOnce) => &["tar"],
            Self::Limit(Limit::Curl) => &["curl", "tar", "gzip", "docker-registry", "skopeo"],
            Self::Pull(Tool::MiniDocker) => &["mini-docker", "docker-registry", "skopeo"],
            Self::Pull(Tool::Podman) => &["podman", "docker-registry", "skopeo"],
            Self::Pull(_) => &["umoci", "docker-registry", "skopeo"],
            Self::Unpack(Tool::MiniDocker) => &["mini-docker"],
            Self::Unpack(Tool::Podman) => &["podman"],
            Self::Unpack(_) => &["umoci"],
        }
    }

    /// Whether the image's files are there afterwards.
    pub(crate) fn writes_files(self) -> bool {
        self != Self::Limit(Limit::Inflate)
    }
}

impl Step {
    /// Its commands, writing to a new folder, which is prepared for them.
    ///
    /// # Errors
    /// If the folder cannot be prepared.
    pub(crate) fn job(self, ground: &Ground, folder: &Path) -> Result<Job> {
        let image = &ground.images[self.image];
        let at = |name: &str| folder.join(name).display().to_string();
        let layout = format!("{}:{TAG}", image.layout.display());
        let reference = Registry::reference(image);
        let commands = match self.way {
            Way::Pull(Tool::MiniDocker) => {
                vec![mini_docker(ground, folder, &["pull", "--quiet", &reference])]
            }
            Way::Unpack(Tool::MiniDocker) => {
                let (input, name) = (image.layout.display().to_string(), image.name);
                let load = ["load", "--quiet", "--input", &input, "--name", name];
                vec![mini_docker(ground, folder, &load)]
            }
            Way::Pull(Tool::Podman) => {
                vec![podman(folder, &["--tls-verify=false", &reference])]
            }
            // podman makes a name of the path, and names have no upper-case letters: from the folder
            // where it runs, since the temporary one may have some.
            Way::Unpack(Tool::Podman) => {
                let path = image.layout.strip_prefix(ground.dir.path()).unwrap_or(&image.layout);
                vec![podman(folder, &[&format!("oci:{}:{TAG}", path.display())])]
            }
            Way::Pull(tool) => {
                let copy = format!("{}:{TAG}", at("layout"));
                let from = format!("docker://{reference}");
                let to = format!("oci:{copy}");
                let skopeo = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", &from, &to];
                vec![words(&skopeo), umoci(tool, &copy, folder)]
            }
            Way::Unpack(tool) => vec![umoci(tool, &layout, folder)],
            Way::Limit(Limit::Inflate) => vec![inflate(image)],
            Way::Limit(Limit::Tar | Limit::TarAtOnce) => {
                let tars = image.tars.iter().map(|tar| tar.display().to_string());
                let folders = one_each(folder, image)?;
                tars.zip(folders).map(|(tar, to)| words(&["tar", "-C", &to, "-xf", &tar])).collect()
            }
            Way::Limit(Limit::Curl) => {
                let blobs = Registry::blobs(image).into_iter().zip(one_each(folder, image)?);
                let script = "curl -sSf \"$1\" | tar -C \"$2\" -xz";
                blobs.map(|(url, to)| words(&["sh", "-c", script, "sh", &url, &to])).collect()
            }
        };
        let at_once = if self.way == Way::Limit(Limit::TarAtOnce) { AT_ONCE } else { 1 };
        Ok(Job { commands, environment: BTreeMap::new(), at_once, folder: folder.to_owned() })
    }
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn mini_docker(ground: &Ground, folder: &Path, arguments: &[&str]) -> Vec<String> {
    let binary = ground.binary.as_deref().unwrap_or(Path::new("mini-docker"));
    let (binary, root) = (binary.display().to_string(), folder.join("root").display().to_string());
    let run = folder.join("run").display().to_string();
    [words(&[&binary, "--root", &root, "--run-root", &run]), words(arguments)].concat()
}

/// Nothing outside the folder, no systemd.
fn podman(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let root = folder.join("store").display().to_string();
    let run = folder.join("run").display().to_string();
    let globals =
        ["--storage-driver=overlay", "--cgroup-manager=cgroupfs", "--events-backend=file"];
    let start = words(&["podman", "--root", &root, "--runroot", &run]);
    [start, words(&globals), words(&["pull", "--quiet"]), words(arguments)].concat()
}

fn umoci(tool: Tool, image: &str, folder: &Path) -> Vec<String> {
    let to = folder.join("unpacked").display().to_string();
    match tool {
        Tool::UmociRaw => words(&["umoci", "raw", "unpack", "--image", image, &to]),
        _ => words(&["umoci", "unpack", "--image", image, &to]),
    }
}

fn inflate(image: &Image) -> Vec<String> {
    let blobs = image.layers.iter().map(|layer| layer.path.display().to_string());
    [words(&["/proc/self/exe", INFLATE]), blobs.collect()].concat()
}

/// A folder for each layer, as layer stores have them.
fn one_each(folder: &Path, image: &Image) -> Result<Vec<String>> {
    let folders = (0..image.layers.len()).map(|at| folder.join(at.to_string()));
    folders
        .map(|folder| {
            fs::create_dir(&folder)?;
            Ok(folder.display().to_string())
        })
        .collect()
}
