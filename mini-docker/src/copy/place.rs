//! From a path to what it leads to, in a tree that nothing leads out of: the container's, or this machine's.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag};
use syscalls::{During, inroot};

use super::argument::{End, Wanted};
use super::item::Item;
use super::sink::refuse_kernels;
use crate::failure::Failure;

/// As many links as the kernel follows in one path (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A tree of files, and what it is called in messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'a> {
    pub(super) root: BorrowedFd<'a>,
    /// Name of the container; none for this machine.
    pub(super) container: Option<&'a str>,
}

/// Where a copy goes.
#[derive(Debug)]
pub(super) enum Target {
    /// A directory that exists, open for reading.
    Directory(OwnedFd),
    /// A regular file, or nothing so far.
    Entry {
        /// The directory that it is in, open for reading.
        parent: OwnedFd,
        /// Its name there.
        name: OsString,
        /// Whether the file is there.
        exists: bool,
    },
}

impl Tree<'_> {
    /// A path as the user would type it.
    pub(super) fn shown(&self, wanted: &Wanted) -> String {
        let path = wanted.path.display();
        self.container.map_or_else(|| path.to_string(), |name| format!("{name}:{path}"))
    }

    /// Finds what is to be copied. A link at the end is the source itself, unless `follow`, or the path ends with `/`.
    pub(super) fn source(&self, wanted: &Wanted, follow: bool) -> Result<Item> {
        let shown = self.shown(wanted);
        let item = match wanted.path.parent() {
            Some(parent) if !follow && wanted.end == End::Name => {
                let name = wanted.name().unwrap_or_default();
                let directory = OFlag::O_PATH | OFlag::O_DIRECTORY;
                inroot::open(self.root, parent, directory, Mode::empty())
                    .and_then(|parent| Item::open(parent.as_fd(), &name))
            }
            _ => inroot::open_path(self.root, &wanted.path).and_then(Item::of),
        };
        let item = match item {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Err(self.missing(wanted)),
            other => other.during("open", &shown)?,
        };
        if item.is_dir() || item.kind() == SFlag::S_IFREG {
            refuse_kernels(item.as_fd(), &shown)?;
        }
        if wanted.end != End::Name && !item.is_dir() {
            return Err(Failure::new(format!("not a directory: {shown}"))
                .hint("leave out the slash at its end")
                .into());
        }
        Ok(item)
    }

    fn missing(&self, wanted: &Wanted) -> anyhow::Error {
        let path = wanted.path.display();
        match self.container {
            Some(name) => {
                Failure::new(format!("could not find the file {path} in container {name}"))
                    .hint(format!("mini-docker diff {name} shows what it has written"))
                    .into()
            }
            None => Failure::new(format!("no such file or directory: {path}"))
                .hint("the path is one of this machine; one of a container is CONTAINER:PATH")
                .into(),
        }
    }

    /// Finds where a copy goes. Links are followed to their end, which need not exist.
    pub(super) fn target(&self, wanted: &Wanted) -> Result<Target> {
        let shown = self.shown(wanted);
        let mut path = wanted.path.clone();
        for _ in 0..MAX_LINKS {
            let directory = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            let whole = |path: &PathBuf| inroot::open(self.root, path, directory, Mode::empty());
            let (Some((parent, name)), false) = (inroot::split(&path), ends_with_dots(&path))
            else {
                let dir = whole(&path).during("open directory", &shown)?;
                refuse_kernels(dir.as_fd(), &shown)?;
                return Ok(Target::Directory(dir));
            };
            let parent_dir = match whole(&parent.to_owned()) {
                Err(Errno::ENOENT) => return Err(no_directory(&self.parent_of(wanted))),
                Err(Errno::ENOTDIR) => {
                    return Err(Failure::new(format!(
                        "not a directory: {}",
                        self.parent_of(wanted)
                    ))
                    .hint("what a copy goes into must be a directory")
                    .into());
                }
                other => other.during("open directory", &shown)?,
            };
            refuse_kernels(parent_dir.as_fd(), &shown)?;
            let name = name.to_owned();
            let item = match Item::open(parent_dir.as_fd(), &name) {
                Err(Errno::ENOENT) => {
                    return Ok(Target::Entry { parent: parent_dir, name, exists: false });
                }
                other => other.during("open", &shown)?,
            };
            match item.kind() {
                SFlag::S_IFLNK => {
                    path = parent.join(item.target().during("read link", &shown)?);
                    continue;
                }
                SFlag::S_IFDIR => {
                    let dir = item.directory().during("open directory", &shown)?;
                    refuse_kernels(dir.as_fd(), &shown)?;
                    return Ok(Target::Directory(dir));
                }
                SFlag::S_IFREG if wanted.end != End::Name => {
                    return Err(Failure::new(format!("not a directory: {shown}"))
                        .hint("leave out the slash at its end to replace the file")
                        .into());
                }
                SFlag::S_IFREG => {
                    return Ok(Target::Entry { parent: parent_dir, name, exists: true });
                }
                _ => {
                    return Err(Failure::new(format!(
                        "destination {shown} must be a directory or a regular file"
                    ))
                    .hint("`-` as destination writes a tar to standard output")
                    .into());
                }
            }
        }
        Ok(Err(Errno::ELOOP).during("open", shown)?)
    }

    fn parent_of(&self, wanted: &Wanted) -> String {
        let parent = wanted.path.parent().unwrap_or(&wanted.path).to_owned();
        self.shown(&Wanted { path: parent, end: End::Name })
    }
}

/// What Docker says where a directory that must exist does not.
pub(super) fn no_directory(shown: &str) -> anyhow::Error {
    Failure::new(format!("no such directory: {shown}"))
        .hint("cp makes the last part of a path at most: make the folder before")
        .into()
}

/// `a/..` and `a/.` are directories, whatever they are called. `Path` has forgotten a `.` at the end.
fn ends_with_dots(path: &std::path::Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/.") || path.ends_with("..")
}
