//! Where everything is kept: one folder that survives a reboot, one that does not.

use std::fs::{self, DirBuilder, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::failure::Failure;
use crate::settings::Settings;

/// The two state roots and the stores in them.
///
/// ```text
/// <root>/id                   sixteen hex digits: the name of its cgroups
/// <root>/boot                 boot id and run root of the last use
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
    /// Sixteen hex digits that no other engine has: two may have the same paths, in different mount namespaces.
    pub id: String,
    /// The settings file that was named on the command line; None: the default one, if it is there.
    pub config_file: Option<PathBuf>,
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
        require_root()?;
        let (root, run_root) = (absolute(root)?, absolute(run_root)?);
        for folder in [&root, &run_root] {
            make_private(folder)?;
        }
        let id = identity(&root)?;
        let engine = Self { root, run_root, id, config_file: None };
        for folder in ["containers", "names"] {
            make_private(&engine.root.join(folder))?;
        }
        make_private(&engine.run_root.join("containers"))?;
        Ok(engine)
    }

    /// How registries are reached: read when it is needed, which a start does not.
    ///
    /// # Errors
    /// If the settings file is wrong.
    pub fn settings(&self) -> Result<Settings> {
        Settings::read(self.config_file.as_deref())
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

    /// The parent of all cgroups of this engine. No two engines on one machine share one, so that cleaning up in one
    /// does not end containers of the other.
    pub fn cgroup_parent(&self) -> String {
        format!("mini-docker-{}", self.id)
    }
}

/// Says plainly that nothing works without root.
///
/// # Errors
/// If the user is not root.
pub fn require_root() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new("mini-docker needs root: it makes namespaces, mounts and cgroups")
        .hint("run it with sudo")
        .into())
}

/// The engine's id, made at the first use.
fn identity(root: &Path) -> Result<String> {
    let path = root.join("id");
    for _ in 0..2 {
        match fs::read_to_string(&path) {
            Ok(id) if id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                return Ok(id);
            }
            Ok(_) => anyhow::bail!("`{}` is damaged: it must hold 16 hex digits", path.display()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("read `{}`", path.display())),
        }
        // It appears with its content, and only once: of two commands the second takes the first one's.
        let id = crate::names::new_id()?;
        let aside = root.join(format!("id.{}", &id[..16]));
        let made = fs::write(&aside, &id[..16]).and_then(|()| fs::hard_link(&aside, &path));
        fs::remove_file(&aside).ok();
        match made {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("write `{}`", path.display()));
            }
            _ => {}
        }
    }
    anyhow::bail!("`{}` keeps disappearing", path.display())
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
