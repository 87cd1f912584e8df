//! What a container has changed in its image's files: `diff`.
//!
//! Overlay has kept the list: what is in the container's own folder was added or changed, a character device 0/0 there
//! (a *whiteout*) was deleted, and a directory with the attribute `overlay.opaque` shows nothing of the image's one. What
//! the image has at that place is looked up in its layers, joined.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::errno::Errno;
use nix::sys::stat::SFlag;
use syscalls::During;

use crate::containers::Containers;
use crate::copy::item::{Item, names};
use crate::engine::{Engine, open_dir};
use crate::export::{guarded, upper};
use crate::failure::Failure;
use crate::record::Record;

/// Deepest nesting that is looked into; each level holds a few descriptors.
const DEPTH: usize = 200;

/// What has become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is not in the image.
    Added,
    /// It is in the image with other contents or attributes; or a directory in which something is different.
    Changed,
    /// It is in the image only.
    Deleted,
}

impl Kind {
    /// As `diff` prints it.
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Changed => 'C',
            Self::Deleted => 'D',
        }
    }
}

/// One line of `diff`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What has become of it.
    pub kind: Kind,
    /// Where, from the container's root: `/etc/hosts`.
    pub path: String,
}

/// What a container has changed, in the order of the paths. It may run meanwhile.
///
/// Places on which the runtime mounts something for every container (`/proc`, `/etc/hosts`) are left out, and so are the
/// directories that were made or changed only for them, as in Docker. Those of volumes are not.
///
/// # Errors
/// If there is no such container, it has no image to compare with (`--rootfs`), or a file cannot be looked at.
pub fn changes(engine: &Engine, container: &str) -> Result<Vec<Change>> {
    let record = Containers::new(engine).find(container)?;
    if record.image_id.is_none() {
        return Err(Failure::new(format!(
            "container {} has no image to compare with",
            record.name
        ))
        .hint("it was made with --rootfs and writes to that folder itself")
        .into());
    }
    let own = guarded(upper(engine, &record)?)?;
    let image = image(engine, &record)?;
    let skipped = crate::commit::mount_points(engine, &record)?.into_iter().collect();
    let mut search = Search { skipped, found: Vec::new() };
    let root = Item::of(own).during("look at", "/")?;
    search.directory(&root, Some(image.as_fd()), Path::new(""))?;
    let mut found = search.found;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The image's files, as one tree.
fn image(engine: &Engine, record: &Record) -> Result<OwnedFd> {
    let lowers = crate::image::lowers(engine, record)?;
    match &lowers[..] {
        // Overlay wants two.
        [only] => guarded(open_dir(only)?),
        all => Ok(layers::overlay(all, None, None)?),
    }
}

struct Search {
    /// Relative to the root.
    skipped: BTreeSet<PathBuf>,
    found: Vec<Change>,
}

impl Search {
    /// Compares a directory with the image's, if that has one there.
    fn directory(&mut self, own: &Item, image: Option<BorrowedFd<'_>>, path: &Path) -> Result<()> {
        if path.components().count() > DEPTH {
            Err(Errno::ENAMETOOLONG).during("read directory", path.display())?;
        }
        let dir = own.directory().during("open directory", path.display())?;
        let here = names(dir.as_fd()).during("read directory", path.display())?;
        for name in &here {
            let path = path.join(name);
            if self.skipped.contains(&path) {
                continue;
            }
            match Item::open(dir.as_fd(), name) {
                // Removed meanwhile.
                Err(Errno::ENOENT) => {}
                other => {
                    let own = other.during("open", path.display())?;
                    self.entry(&own, look(image, name)?.as_ref(), &path)?;
                }
            }
        }
        if let Some(image) = image.filter(|_| is_opaque(own)) {
            let hidden = names(image).during("read directory", path.display())?;
            for name in hidden.iter().filter(|name| !here.contains(name)) {
                self.add(Kind::Deleted, &path.join(name));
            }
        }
        Ok(())
    }

    fn entry(&mut self, own: &Item, image: Option<&Item>, path: &Path) -> Result<()> {
        if is_whiteout(own) {
            if image.is_some() {
                self.add(Kind::Deleted, path);
            }
            return Ok(());
        }
        if !own.is_dir() {
            self.add(if image.is_some() { Kind::Changed } else { Kind::Added }, path);
            return Ok(());
        }
        let place = self.found.len();
        let below = image.filter(|image| image.is_dir());
        self.directory(own, below.map(AsFd::as_fd), path)?;
        let holds_mount_point = self.skipped.iter().any(|skipped| skipped.starts_with(path));
        let different = self.found.len() > place
            || match below {
                Some(image) => differ(own, image, holds_mount_point),
                None => !holds_mount_point,
            };
        if different {
            self.add(if image.is_some() { Kind::Changed } else { Kind::Added }, path);
        }
        Ok(())
    }

    fn add(&mut self, kind: Kind, path: &Path) {
        self.found.push(Change { kind, path: format!("/{}", path.display()) });
    }
}

/// What the image has under a name.
fn look(image: Option<BorrowedFd<'_>>, name: &OsStr) -> Result<Option<Item>> {
    match image.map(|image| Item::open(image, name)) {
        None | Some(Err(Errno::ENOENT | Errno::ENOTDIR)) => Ok(None),
        Some(other) => {
            let item = other.during("open in image", name.display())?;
            // A whiteout in an only layer: nothing.
            Ok(Some(item).filter(|item| !is_whiteout(item)))
        }
    }
}

fn is_whiteout(item: &Item) -> bool {
    item.kind() == SFlag::S_IFCHR && item.stat.st_rdev == 0
}

/// Whether a directory itself is another. To make a mount point in it changes its time.
fn differ(own: &Item, image: &Item, timeless: bool) -> bool {
    let who = |item: &Item| (item.stat.st_mode, item.stat.st_uid, item.stat.st_gid);
    let when = |item: &Item| (item.stat.st_mtime, item.stat.st_mtime_nsec);
    who(own) != who(image) || (!timeless && when(own) != when(image))
}

fn is_opaque(dir: &Item) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|key| {
        xattr::get_deref(dir.path(), key).is_ok_and(|value| value.as_deref() == Some(b"y"))
    })
}
