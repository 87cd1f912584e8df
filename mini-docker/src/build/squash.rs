//! `--squash`: the layers of a build as one, with what of them is visible at the end.
//!
//! A layer says what to do to the ones below it. So before each is unpacked over the others, what it hides or replaces is
//! taken away; and in the end, what hides something that the base does not have.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, fstatat};
use syscalls::inroot;

use super::aside::Aside;
use super::chain::Chain;
use super::layer;
use crate::engine::Engine;
use crate::files::remove_tree;

/// Attributes that make a folder hide what is below it.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// Unpacks the build's own layers of `chain` into `upper`, an empty folder.
///
/// # Errors
/// If a layer has gone, or the disk is full.
pub(super) fn merge(engine: &Engine, chain: &Chain, upper: &Path, aside: &Aside) -> Result<()> {
    let store = engine.layers()?;
    let folder = File::open(upper)?;
    for layer in &chain.own {
        make_way(&store.path(&layer.diff_id.parse()?), upper)?;
        let tar = File::open(layer::blob(engine, &layer.diff_id)?)?;
        layers::unpack(tar, folder.as_fd())?;
    }
    let base = Chain { own: Vec::new(), ..chain.clone() };
    let base = base.tree(engine, aside)?;
    sweep(upper, Some(base.as_fd()))
}

/// Takes away what a layer replaces. Its whiteouts hide only what is below it, not what it has itself.
fn make_way(layer: &Path, merged: &Path) -> Result<()> {
    for entry in fs::read_dir(layer).with_context(|| format!("read `{}`", layer.display()))? {
        let entry = entry?;
        let place = merged.join(entry.file_name());
        let Ok(old) = place.symlink_metadata() else { continue };
        let is_folder = entry.file_type()?.is_dir();
        if is_folder && old.is_dir() && !is_opaque(&entry.path()) {
            make_way(&entry.path(), &place)?;
        } else if old.is_dir() {
            remove_tree(&place)?;
        } else {
            fs::remove_file(&place).with_context(|| format!("remove `{}`", place.display()))?;
        }
    }
    Ok(())
}

/// Removes whiteouts of what `base` does not have.
fn sweep(merged: &Path, base: Option<BorrowedFd<'_>>) -> Result<()> {
    for entry in fs::read_dir(merged).with_context(|| format!("read `{}`", merged.display()))? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let metadata = entry.metadata()?;
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        let below = base.is_some_and(|base| fstatat(base, name.as_os_str(), flags).is_ok());
        if metadata.file_type().is_char_device() && metadata.rdev() == 0 && !below {
            fs::remove_file(&path).with_context(|| format!("remove `{}`", path.display()))?;
        } else if metadata.is_dir() {
            let folder = base.and_then(|base| open(base, Path::new(&name)));
            if folder.is_none() {
                OPAQUE.iter().for_each(|key| drop(xattr::remove(&path, key)));
            }
            sweep(&path, folder.as_ref().map(AsFd::as_fd))?;
        }
    }
    Ok(())
}

fn open(parent: BorrowedFd<'_>, name: &Path) -> Option<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    inroot::open(parent, name, flags, Mode::empty()).ok()
}

fn is_opaque(folder: &Path) -> bool {
    OPAQUE.iter().any(|key| xattr::get(folder, key).ok().flatten().is_some())
}
