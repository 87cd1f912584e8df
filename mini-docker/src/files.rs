//! Files of our own state: made, written and removed so that a crash leaves the old or the new.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Removes a file; one that is not there is removed already.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a folder and all in it; one that is not there is removed already.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let mut removed = fs::remove_dir_all(path);
    for _ in 0..10 {
        // Somebody has put a file into it between the look at what is in it and its removal.
        if !removed
            .as_ref()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::DirectoryNotEmpty)
        {
            break;
        }
        removed = fs::remove_dir_all(path);
    }
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

/// Makes a folder that only root may enter; one that is there is fine. True if it is new.
pub(crate) fn make_dir(path: &Path) -> Result<bool> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(|| format!("create folder `{}`", path.display())),
    }
}

/// Writes JSON so that a reader sees the old file or the new one, never a part.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T, durable: bool) -> Result<()> {
    let text = serde_json::to_vec(value).with_context(|| format!("encode `{}`", path.display()))?;
    let aside = path.with_extension(format!("tmp{}", std::process::id()));
    let written = (|| {
        let mut file = File::create(&aside)?;
        file.write_all(&text)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&aside, path)?;
        match path.parent() {
            Some(folder) if durable => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    })();
    written.with_context(|| {
        fs::remove_file(&aside).ok();
        format!("write `{}`", path.display())
    })
}

/// Reads what [`write_json`] wrote.
pub(crate) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| format!("read `{}`", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("`{}` is damaged", path.display()))
}
