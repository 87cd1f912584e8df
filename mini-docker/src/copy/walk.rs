//! Copies a tree from one open directory to another, name by name.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat};
use syscalls::{During, inroot};

use super::item::{Item, identity, names};
use super::meta::{Meta, Owners};
use super::sink;
use crate::failure::Failure;

/// Deepest nesting that is copied; each level holds a few descriptors.
pub(super) const DEPTH: usize = 200;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes of regular files.
    pub bytes: u64,
    /// Devices that were left out.
    pub skipped_devices: u64,
}

/// Is told how many bytes have been copied since it was told last.
pub type Tell<'a> = &'a dyn Fn(u64);

/// What is the same for all of a copy.
#[derive(Clone, Copy)]
pub(super) struct Manner<'a> {
    pub(super) owners: Owners,
    /// Whether devices are made: not on this machine, unless asked for.
    pub(super) devices: bool,
    /// Directories that are passed over, by device and inode: the container's /dev.
    pub(super) hidden: &'a [(u64, u64)],
    pub(super) tell: Tell<'a>,
}

/// A copy under way.
pub(super) struct Walk<'a> {
    manner: Manner<'a>,
    /// Where all of it lands.
    top: BorrowedFd<'a>,
    /// The directory that the copy has made, which must not become part of itself.
    made: Option<(u64, u64)>,
    /// Files with several names: the first copy's path below `top`, and which file that was.
    links: HashMap<(u64, u64), (PathBuf, (u64, u64))>,
    /// Below `top`.
    path: PathBuf,
    pub(super) copied: Copied,
}

impl<'a> Walk<'a> {
    pub(super) fn new(manner: Manner<'a>, top: BorrowedFd<'a>) -> Self {
        let (links, path) = (HashMap::new(), PathBuf::new());
        Self { manner, top, made: None, links, path, copied: Copied::default() }
    }

    /// Copies one file of any kind to `name` in a directory.
    pub(super) fn entry(
        &mut self,
        item: &Item,
        parent: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<()> {
        self.path.push(name);
        let done = self.one(item, parent, name);
        self.path.pop();
        done
    }

    /// Copies what is in a directory.
    pub(super) fn contents(&mut self, item: &Item, into: BorrowedFd<'_>) -> Result<()> {
        let shown = self.path.display().to_string();
        if self.path.components().count() > DEPTH {
            Err(Errno::ENAMETOOLONG).during("copy directory", &shown)?;
        }
        if self.manner.hidden.contains(&item.identity())
            || item.is_kernels().during("ask for the file system of", &shown)?
        {
            return Ok(());
        }
        let dir = item.directory().during("open directory", &shown)?;
        for name in names(dir.as_fd()).during("read directory", &shown)? {
            match Item::open(dir.as_fd(), &name) {
                // Removed meanwhile.
                Err(Errno::ENOENT) => {}
                other => {
                    let child = other.during("open", self.path.join(&name).display())?;
                    self.entry(&child, into, &name)?;
                }
            }
        }
        Ok(())
    }

    fn one(&mut self, item: &Item, parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let shown = self.path.display().to_string();
        let kind = item.kind();
        let meta = Meta::read(item, &shown)?.passed_on(self.manner.owners, item.is_dir());
        match kind {
            SFlag::S_IFDIR => {
                if self.made == Some(item.identity()) {
                    return Err(Failure::new(format!(
                        "cannot copy a directory into itself: `{shown}`"
                    ))
                    .hint("a volume shows the same folder in the container and here")
                    .into());
                }
                let dir = sink::directory(parent, name, &shown)?;
                let stat = fstat(&dir).during("look at directory", &shown)?;
                self.made.get_or_insert(identity(&stat));
                self.contents(item, dir.as_fd())?;
                return meta.give(dir.as_fd(), kind, &shown);
            }
            // Nobody listens to its copy.
            SFlag::S_IFSOCK => return Ok(()),
            SFlag::S_IFCHR | SFlag::S_IFBLK if !self.manner.devices => {
                self.copied.skipped_devices += 1;
                return Ok(());
            }
            _ => {}
        }
        if self.link_to_first(item, parent, name, &shown)? {
            return Ok(());
        }
        match kind {
            SFlag::S_IFREG => {
                let from = item.contents().during("open file", &shown)?;
                let size = item.stat.st_size;
                let tell = self.manner.tell;
                let fill = |to: &_| sink::contents(&from, to, size, &shown, tell);
                self.copied.bytes += sink::file(parent, name, &meta, &shown, fill)?;
            }
            SFlag::S_IFLNK => {
                let target = item.target().during("read link", &shown)?;
                sink::link(parent, name, &target, &meta, &shown)?;
            }
            _ => sink::node(parent, name, kind, item.stat.st_rdev, &meta, &shown)?,
        }
        if item.stat.st_nlink > 1
            && let Ok(copy) = Item::open(parent, name)
        {
            self.links.insert(item.identity(), (self.path.clone(), copy.identity()));
        }
        Ok(())
    }

    /// Gives the first copy of a file with several names one more. False if there is none, or another file has its
    /// place by now.
    fn link_to_first(
        &self,
        item: &Item,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        shown: &str,
    ) -> Result<bool> {
        if item.stat.st_nlink < 2 {
            return Ok(false);
        }
        let Some((first, made)) = self.links.get(&item.identity()) else { return Ok(false) };
        let Ok(first) = held(self.top, first) else { return Ok(false) };
        if first.identity() != *made {
            return Ok(false);
        }
        match sink::hard_link(parent, name, &first, shown) {
            // Two mounts, two copies.
            Err(error) if is_cross_device(&error) => Ok(false),
            other => other.map(|()| true),
        }
    }
}

fn held(top: BorrowedFd<'_>, path: &Path) -> Result<Item, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
    inroot::open(top, path, flags, Mode::empty()).and_then(Item::of)
}

fn is_cross_device(error: &anyhow::Error) -> bool {
    error.downcast_ref::<syscalls::KernelError>().is_some_and(|error| error.errno == Errno::EXDEV)
}
