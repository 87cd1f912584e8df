//! Where it all happens: private namespaces, so that the host's mounts and links are not touched, and one temporary
//! folder with state roots of its own.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use layers::DiffId;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use tempfile::TempDir;

use crate::Program;
use crate::image::{Image, NAME};

/// Parent of the cgroups of a run.
const CGROUPS: &str = "mini-docker-bench";

/// Everything that is made once and used by every start. Dropping it removes it.
#[derive(Debug)]
pub struct Stage {
    /// The image unpacked to a plain folder.
    pub(crate) folder: PathBuf,
    /// `true` in that folder, as the host sees it.
    pub(crate) program: PathBuf,
    /// `--root` of the binary; the ladder uses its layers, too.
    pub(crate) root: PathBuf,
    /// `--run-root` of the binary.
    pub(crate) run_root: PathBuf,
    /// Diff IDs, the lowest first.
    pub(crate) layers: Vec<DiffId>,
    /// Folder of the bind mount.
    pub(crate) shared: PathBuf,
    /// The cgroup of a start: one at a time, so one name.
    pub(crate) cgroup: String,
    /// The binary that is measured, if there is one.
    pub(crate) binary: Option<PathBuf>,
    /// Keeps a bridge alive for [`Rung::Veth`](crate::Rung::Veth).
    _neighbour: OwnedFd,
    dir: TempDir,
}

/// Name of the named volume.
pub(crate) const VOLUME: &str = "data";

impl Stage {
    /// Moves this process into private mount and network namespaces, and makes what the starts need.
    ///
    /// Call it first: it needs a process with one thread, and everything after it happens in there. Without `binary`,
    /// `mini-docker` is looked for beside this program; if it is not there, its steps are left out.
    ///
    /// # Errors
    /// Not root, more than one thread, no static busybox; or what the kernel says.
    pub fn enter(binary: Option<PathBuf>) -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "starts need root\nhint: run it with sudo");
        let prefix = format!("mini-docker-bench-{}-", std::process::id());
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        let at = |name: &str| dir.path().join(name);

        private_namespaces()?;

        let image = Image::build()?;
        let folder = at("folder");
        fs::create_dir(&folder)?;
        let store = layers::Store::open(&at("root").join("layers"))?;
        for (id, tar) in image.diff_ids().iter().zip(&image.layers) {
            layers::unpack(&tar[..], File::open(&folder)?.as_fd())?;
            store.add(id, &tar[..])?;
        }
        let shared = at("shared");
        fs::create_dir(&shared)?;
        fs::create_dir(at("container"))?;

        let stage = Self {
            program: folder.join("bin/true"),
            folder,
            root: at("root"),
            run_root: at("run"),
            layers: image.diff_ids(),
            shared,
            cgroup: format!("{CGROUPS}/{}", std::process::id()),
            binary: binary.or_else(beside_this_program),
            _neighbour: neighbour(dir.path())?,
            dir,
        };
        reclaim_cgroups()?;
        if stage.binary.is_some() {
            let archive = stage.dir.path().join("image.tar");
            image.save(&archive)?;
            let archive = archive.display().to_string();
            stage.mini_docker(&["load", "--quiet", "--input", &archive])?;
        }
        Ok(stage)
    }

    /// Whether what `program` needs is here.
    pub fn has(&self, program: Program) -> bool {
        self.binary.is_some() || !program.needs_binary()
    }

    /// A folder for the writable layer of the container that is being started.
    pub(crate) fn container(&self) -> PathBuf {
        self.dir.path().join("container")
    }

    /// Networks in which no container is.
    pub(crate) fn quiet_networks(&self) -> Result<network::Store> {
        networks(self.dir.path(), "quiet")
    }

    /// Networks in which another container is, so that the bridge is there.
    pub(crate) fn busy_networks(&self) -> Result<network::Store> {
        networks(self.dir.path(), "busy")
    }

    /// The named volumes of the ladder.
    pub(crate) fn volumes(&self) -> Result<volumes::Store> {
        Ok(volumes::Store::open(&self.dir.path().join("volumes"))?)
    }

    /// Runs a command of the binary with the state roots of this stage.
    ///
    /// # Errors
    /// If it does not succeed; its own words are on standard error.
    pub(crate) fn mini_docker(&self, arguments: &[&str]) -> Result<()> {
        let Some(binary) = &self.binary else { bail!("there is no mini-docker") };
        let status = Command::new(binary)
            .arg("--root")
            .arg(&self.root)
            .arg("--run-root")
            .arg(&self.run_root)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("run `{}`", binary.display()))?;
        ensure!(status.success(), "`mini-docker {}`: {status}", arguments.join(" "));
        Ok(())
    }

    /// The name of the image.
    pub(crate) fn image(&self) -> &'static str {
        NAME
    }
}

/// Moves this process into a mount namespace of its own, and a network namespace with nothing but loopback.
pub(crate) fn private_namespaces() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .context("create private namespaces")?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    network::loopback_up(own_network()?.as_fd())?;
    Ok(())
}

fn networks(dir: &Path, name: &str) -> Result<network::Store> {
    let place = dir.join(name);
    Ok(network::Store::open(&place.join("state"), &place.join("run"))?)
}

/// A network namespace with a cable into the bridge of the busy networks, and no process in it. It ends with this
/// process, and with it the cable; the bridge ends with the network namespace of the stage.
fn neighbour(dir: &Path) -> Result<OwnedFd> {
    let home = own_network()?;
    unshare(CloneFlags::CLONE_NEWNET)?;
    let netns = own_network()?;
    setns(home, CloneFlags::CLONE_NEWNET)?;
    let store = networks(dir, "busy")?;
    let request = network::Request { container: "f".repeat(64), ..network::Request::default() };
    store.connect(&store.default_bridge()?, &request, netns.as_fd())?;
    Ok(netns)
}

fn own_network() -> Result<OwnedFd> {
    Ok(File::open("/proc/self/ns/net")?.into())
}

/// Removes cgroups of runs that were killed. Their names are the pids of those runs.
fn reclaim_cgroups() -> Result<()> {
    let hierarchies = cgroups::Hierarchies::detect()?;
    let runs = |name: &str| Path::new("/proc").join(name).exists();
    cgroups::reclaim(&hierarchies, CGROUPS, &runs)?;
    Ok(())
}

/// `target/<triple>/<profile>/mini-docker`, for a program in that folder or in `deps` below it.
pub(crate) fn beside_this_program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let folders = program.ancestors().skip(1).take(2);
    folders.map(|folder| folder.join("mini-docker")).find(|path| path.is_file())
}
