//! A container of `--rm` that is restarted is not removed in between.
//!
//! The mark is a lock and not a word in the record: the `restart` command has it for as long as it lives, so that one that
//! is killed on its way leaves a container that is removed as any other of its kind.

use std::fs::{File, TryLockError};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Containers;

/// While this lives, nobody removes the container because it has ended.
#[derive(Debug)]
pub(crate) struct Spared {
    _lock: File,
}

impl Containers<'_> {
    fn spare_file(&self, id: &str) -> PathBuf {
        self.dir(id).join("restart")
    }

    /// Spares a container until the returned value is dropped. Several may do so at once.
    ///
    /// # Errors
    /// If the container is gone.
    pub(crate) fn spare(&self, id: &str) -> Result<Spared> {
        let path = self.spare_file(id);
        let file = File::options().create(true).append(true).open(&path);
        let file = file
            .with_context(|| format!("open `{}`", path.display()))
            .map_err(|error| self.unless_removed(id, error))?;
        file.lock_shared().with_context(|| format!("lock `{}`", path.display()))?;
        Ok(Spared { _lock: file })
    }

    /// Whether somebody spares it now.
    pub(crate) fn is_spared(&self, id: &str) -> bool {
        File::open(self.spare_file(id))
            .is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }
}
