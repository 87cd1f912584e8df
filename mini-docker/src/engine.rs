//! Where everything is kept: one folder that survives a reboot, one that does not.

use std::fs::{self, DirBuilder, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::failure::Failure;

/// The two state roots and the stores in them.
///
/// ```text
/// <root>/images/              an OCI image layout            (chapter 08)
/// <root>/layers/              unpacked layers by diff ID     (chapter 04)
/// <root>/volumes/             named volumes                  (chapter 06)
/// <root>/networks/            networks                       (chapter 05)
/// <root>/containers/<id>/     record.json config.json upper/ work/
/// <root>/names/<name>         holds the id
/// <run-root>/containers/<id>/ locked by its supervisor: hosts hostname resolv.conf
/// <run-root>/networks/        leases
/// ```
#[derive(Debug, Clone)]
pub struct Engine {
    /// State that survives a reboot, `/var/lib/mini-docker` by default.
    pub root: PathBuf,
    /// State that does not, `/run/mini-docker` by default.
    pub run_root: PathBuf,
}

/// Default of `--root`.
pub const DEFAULT_ROOT: &str = "/var/lib/mini-docker";
/// Default of `--run-root`.
pub const DEFAULT_RUN_ROOT: &str = "/run/mini-docker";

impl Engine {
    /// Opens the state roots, creating them (mode 0700) at the first use.
    ///
    /// # Errors
    /// If the user is not root, or the folders cannot be made.
    pub fn open(root: &Path, run_root: &Path) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Failure::new(
                "mini-docker needs root: it makes namespaces, mounts and cgroups",
            )
            .hint("run it with sudo")
            .into());
        }
        let engine = Self { root: absolute(root)?, run_root: absolute(run_root)? };
        for folder in [&engine.root, &engine.run_root] {
            make_private(folder)?;
        }
        for folder in ["containers", "names"] {
            make_private(&engine.root.join(folder))?;
        }
        make_private(&engine.run_root.join("containers"))?;
        Ok(engine)
    }

    /// The image store (chapter 08).
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn images(&self) -> Result<images::Store> {
        Ok(images::Store::open(&self.root.join("images"))?)
    }

    /// The layer store (chapter 04).
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn layers(&self) -> Result<layers::Store> {
        Ok(layers::Store::open(&self.root.join("layers"))?)
    }

    /// The volume store (chapter 06).
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn volumes(&self) -> Result<volumes::Store> {
        Ok(volumes::Store::open(&self.root.join("volumes"))?)
    }

    /// The networks and their leases (chapter 05).
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn networks(&self) -> Result<network::Store> {
        Ok(network::Store::open(&self.root.join("networks"), &self.run_root.join("networks"))?)
    }

    /// The parent of all cgroups of this engine. Two state roots on one machine never share one, so that cleaning up
    /// in one does not end containers of the other.
    pub fn cgroup_parent(&self) -> String {
        if self.root == Path::new(DEFAULT_ROOT) {
            return "mini-docker".to_owned();
        }
        let name = self.root.as_os_str().as_encoded_bytes();
        // FNV-1a: short, stable, and collisions only cost a shared parent folder.
        let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("mini-docker-{hash:016x}")
    }
}

/// Makes a folder that only root may enter: layers hold set-user-id programs of strangers.
fn make_private(folder: &Path) -> Result<()> {
    match fs::metadata(folder) {
        Ok(_) => Ok(()),
        Err(_) => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("create `{}`", folder.display())),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("resolve `{}`", path.display()))
}

/// Opens a folder as a place (`O_PATH`).
///
/// # Errors
/// As open(2).
pub fn open_dir(path: &Path) -> Result<OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = File::options()
        .read(true)
        .custom_flags(nix::libc::O_PATH | nix::libc::O_DIRECTORY)
        .open(path)
        .with_context(|| format!("open folder `{}`", path.display()))?;
    Ok(file.into())
}
