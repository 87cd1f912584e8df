//! Folders for what is being made: nobody else sees it, and nothing of it stays.
//!
//! ```text
//! <root>/build/tmp/<id>/    locked by whoever works in it
//! <run-root>/build/<id>/    likewise, in memory: for secrets
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::engine::Engine;
use crate::files::{make_dir, remove_tree};
use crate::names;

/// A folder on the file system of the layers, removed when dropped; after a crash, by the next build.
#[derive(Debug)]
pub(super) struct Aside {
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Aside {
    /// Makes a new one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn new(engine: &Engine) -> Result<Self> {
        Self::below(&folder(engine)?)
    }

    /// Makes a new one for what may be on no disk. (The run root is a tmpfs wherever there is an init system.)
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn in_memory(engine: &Engine) -> Result<Self> {
        let tmp = engine.run_root.join("build");
        make_dir(&tmp)?;
        Self::below(&tmp)
    }

    fn below(tmp: &Path) -> Result<Self> {
        loop {
            let dir = tmp.join(&names::new_id()?[..16]);
            make_dir(&dir)?;
            // Until it is locked it looks abandoned, and somebody may take it away.
            let Ok(folder) = File::open(&dir) else { continue };
            let lock = Flock::lock(folder, FlockArg::LockExclusive)
                .map_err(|(_, errno)| errno)
                .with_context(|| format!("lock `{}`", dir.display()))?;
            if dir.exists() {
                return Ok(Self { dir, _lock: lock });
            }
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    /// A folder in it, new, mode 0755: trees begin so.
    ///
    /// # Errors
    /// As mkdir(2).
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        use std::os::unix::fs::DirBuilderExt;
        let path = self.dir.join(name);
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .with_context(|| format!("create folder `{}`", path.display()))?;
        Ok(path)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        remove_tree(&self.dir).ok();
    }
}

fn folder(engine: &Engine) -> Result<PathBuf> {
    let build = super::folder(engine)?;
    let tmp = build.join("tmp");
    make_dir(&tmp)?;
    Ok(tmp)
}

/// Takes away what builds have left that were killed.
///
/// # Errors
/// If it cannot be removed.
pub(super) fn reclaim(engine: &Engine) -> Result<()> {
    for tmp in [folder(engine)?, engine.run_root.join("build")] {
        let Ok(entries) = std::fs::read_dir(&tmp) else { continue };
        for entry in entries {
            let path = entry.with_context(|| format!("read `{}`", tmp.display()))?.path();
            let Ok(folder) = File::open(&path) else { continue };
            if Flock::lock(folder, FlockArg::LockExclusiveNonblock).is_ok() {
                remove_tree(&path)?;
            }
        }
    }
    Ok(())
}
