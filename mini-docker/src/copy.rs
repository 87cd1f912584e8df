//! `cp`: files between a container and this machine, with Docker's rules.
//!
//! | source | destination | result |
//! |---|---|---|
//! | file | directory | a file of its name in there |
//! | file | file, or nothing | that file |
//! | file | nothing, ends with `/` | error |
//! | directory | directory | a directory of its name in there |
//! | directory, ends with `/.` | directory | what is in it, in there |
//! | directory | nothing | that directory |
//! | directory | file | error |
//!
//! A link is copied as a link, unless `-L`; a destination is followed to its end. Nothing above the last part of the
//! destination is made.
//!
//! The container's processes are strangers and run meanwhile. `view` opens the container's files as a tree of mounts
//! without devices; `place` resolves each path of it once, by the kernel, with that tree as `/` (CVE-2014-9357,
//! CVE-2018-15664: a path that is checked and then used again leads elsewhere by then); from there `walk` and `sink`
//! go on descriptors, name by name (`item`), and follow no link. No program and no library of the container is used
//! (CVE-2019-14271). The container is not frozen, so a file that is written meanwhile is copied as it is just then.

pub(crate) mod archive;
mod argument;
pub(crate) mod item;
mod meta;
mod place;
mod sink;
mod unpack;
mod view;
mod walk;

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{getegid, geteuid};
use syscalls::{During, KernelError};

pub use argument::Argument;
pub use walk::{Copied, Tell};

use archive::Archive;
use argument::{End, Wanted};
use item::Item;
use meta::Owners;
use place::{Target, Tree, no_directory};
use view::View;
use walk::{Manner, Walk};

use crate::containers::Containers;
use crate::engine::Engine;
use crate::events;
use crate::failure::Failure;

/// How to copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// `-a`: owners stay, and with them set-user-id bits, all attributes, and devices.
    pub archive: bool,
    /// `-L`: a source that is a link means what it leads to.
    pub follow: bool,
}

/// Copies from a container to this machine. Returns what was copied, and where it went.
///
/// # Errors
/// If a path does not exist or does not fit, or a file cannot be read or written.
pub fn out_of(
    engine: &Engine,
    container: &str,
    source: &str,
    destination: &str,
    options: Options,
    tell: Tell<'_>,
) -> Result<(Copied, String)> {
    let (from, to) = (inside(source)?, local(destination)?);
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let owners = if options.archive { Owners::Kept } else { Owners::Caller(uid, gid) };
    with_trees(engine, container, OUT, |Trees { inside, here, hidden }| {
        let manner = Manner { owners, devices: options.archive, hidden, tell };
        let copied = transfer((inside, &from), (here, &to), options.follow, manner)?;
        Ok((copied, here.shown(&to)))
    })
}

/// Copies from this machine into a container. Returns what was copied, and where it went.
///
/// # Errors
/// As [`out_of`]; if the place in the container is read-only.
pub fn into(
    engine: &Engine,
    container: &str,
    source: &str,
    destination: &str,
    options: Options,
    tell: Tell<'_>,
) -> Result<(Copied, String)> {
    let (from, to) = (local(source)?, inside(destination)?);
    let owners = if options.archive { Owners::Kept } else { Owners::Root };
    with_trees(engine, container, IN, |Trees { inside, here, .. }| {
        let manner = Manner { owners, devices: true, hidden: &[], tell };
        let copied = transfer((here, &from), (inside, &to), options.follow, manner)?;
        Ok((copied, format!("{container}:{destination}")))
    })
}

/// Writes files of a container as a tar.
///
/// # Errors
/// As [`out_of`].
pub fn stream_out(
    engine: &Engine,
    container: &str,
    source: &str,
    follow: bool,
    out: impl Write,
) -> Result<()> {
    let from = inside(source)?;
    with_trees(engine, container, OUT, |Trees { inside, hidden, .. }| {
        let item = inside.source(&from, follow)?;
        let mut archive = Archive::new(out, hidden);
        // As Docker: `etc/.` is an archive of `./` and `./hosts`.
        let name = if from.end == End::Dot { Some(".".into()) } else { from.name() };
        archive.tree(&item, name.as_deref())?;
        archive.finish()
    })
}

/// Unpacks a tar into a directory of a container.
///
/// # Errors
/// If it is no directory, the archive is damaged or made to do harm, or a file cannot be written.
pub fn stream_in(
    engine: &Engine,
    container: &str,
    destination: &str,
    input: impl Read,
    tell: Tell<'_>,
) -> Result<(Copied, String)> {
    let to = inside(destination)?;
    with_trees(engine, container, IN, |Trees { inside, .. }| {
        let Target::Directory(dir) = inside.target(&to)? else {
            return Err(Failure::new(format!(
                "destination {container}:{destination} must be a directory"
            ))
            .hint("an archive is unpacked in it: make it first")
            .into());
        };
        writable(inside, dir.as_fd())?;
        let copied = unpack::unpack(input, inside.root, &to.path, tell);
        Ok((
            copied.map_err(|error| about_the_disk(error, inside))?,
            format!("{container}:{destination}"),
        ))
    })
}

fn inside(path: &str) -> Result<Wanted> {
    not_empty(path)?;
    Ok(Wanted::inside(path))
}

fn local(path: &str) -> Result<Wanted> {
    not_empty(path)?;
    Ok(Wanted::local(path)?)
}

fn not_empty(path: &str) -> Result<()> {
    if !path.is_empty() {
        return Ok(());
    }
    Err(Failure::new("a path is empty").hint("the root of a container is CONTAINER:/").into())
}

fn host_root() -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open("/", flags, Mode::empty()).during("open directory", "/")?)
}

/// Docker's words for a copy, for `events`.
const OUT: &str = "archive-path";
const IN: &str = "extract-to-dir";

/// What there is to copy between.
struct Trees<'a> {
    /// The container's files.
    inside: Tree<'a>,
    /// This machine's.
    here: Tree<'a>,
    /// Directories of the container that are passed over.
    hidden: &'a [(u64, u64)],
}

/// Opens a container's files for a moment, and tells of it when they were copied.
fn with_trees<T>(
    engine: &Engine,
    container: &str,
    action: &str,
    work: impl FnOnce(Trees<'_>) -> Result<T>,
) -> Result<T> {
    let record = Containers::new(engine).find(container)?;
    // Before this process may get another view of the machine's files.
    let host = host_root()?;
    let view = View::open(engine, &record)?;
    let done = work(Trees {
        inside: Tree { root: view.as_fd(), container: Some(container) },
        here: Tree { root: host.as_fd(), container: None },
        hidden: &view.hidden,
    });
    let released = view.release();
    let done = done?;
    events::container(engine, &record, action, &[]);
    released.map(|()| done)
}

/// Copies from one tree to the other.
fn transfer(
    (from, source): (Tree<'_>, &Wanted),
    (to, destination): (Tree<'_>, &Wanted),
    follow: bool,
    manner: Manner<'_>,
) -> Result<Copied> {
    let item = from.source(source, follow)?;
    let target = to.target(destination)?;
    let copied = match (target, item.is_dir()) {
        (Target::Directory(dir), is_dir) => {
            writable(to, dir.as_fd())?;
            let mut walk = Walk::new(manner, dir.as_fd());
            match source.name().filter(|_| !(is_dir && source.means_contents())) {
                Some(name) => walk.entry(&item, dir.as_fd(), &name),
                None => contents(&mut walk, &item, dir.as_fd()),
            }
            .map(|()| walk.copied)
        }
        (Target::Entry { exists: true, .. }, true) => {
            return Err(Failure::new(format!(
                "cannot copy directory {} to file {}",
                from.shown(source),
                to.shown(destination)
            ))
            .hint("name a directory, or something that does not exist yet")
            .into());
        }
        (Target::Entry { exists: false, .. }, false) if destination.end != End::Name => {
            return Err(no_directory(&to.shown(destination)));
        }
        (Target::Entry { parent, name, .. }, _) => {
            writable(to, parent.as_fd())?;
            let mut walk = Walk::new(manner, parent.as_fd());
            walk.entry(&item, parent.as_fd(), &name).map(|()| walk.copied)
        }
    };
    copied.map_err(|error| about_the_disk(error, to))
}

/// `a/.` into a directory. One that is copied into itself would never end.
fn contents(walk: &mut Walk<'_>, item: &Item, into: BorrowedFd<'_>) -> Result<()> {
    let there = fstat(into).during("look at directory", "")?;
    if item::identity(&there) == item.identity() {
        return Err(Failure::new("source and destination are the same directory").into());
    }
    walk.contents(item, into)
}

/// Says before the first file that none can be written.
fn writable(tree: Tree<'_>, dir: BorrowedFd<'_>) -> Result<()> {
    let mount = fstatvfs(dir).during("look at mount", "")?;
    if !mount.flags().contains(FsFlags::ST_RDONLY) {
        return Ok(());
    }
    let (root, here) =
        (fstat(tree.root).during("look at", "/")?, fstat(dir).during("look at", "")?);
    Err(read_only(tree, root.st_dev == here.st_dev))
}

fn read_only(tree: Tree<'_>, is_root: bool) -> anyhow::Error {
    match tree.container {
        None => Failure::new("the destination is on a read-only file system"),
        Some(_) if is_root => Failure::new("container rootfs is marked read-only")
            .hint("a container made with --read-only takes files in its volumes only"),
        Some(_) => Failure::new("mounted volume is marked read-only")
            .hint("it was mounted with `ro`: copy to another place, or to the volume's own folder"),
    }
    .into()
}

/// Better words for a disk that takes no more.
fn about_the_disk(error: anyhow::Error, to: Tree<'_>) -> anyhow::Error {
    match error.downcast_ref::<KernelError>() {
        Some(kernel) if kernel.errno == Errno::EROFS => Failure::new(kernel.to_string())
            .hint("that part of the destination is read-only")
            .into(),
        Some(kernel) if matches!(kernel.errno, Errno::ENOSPC | Errno::EDQUOT) => {
            let whose = to.container.map_or("the destination", |_| "the container or its volume");
            Failure::new(kernel.to_string())
                .hint(format!("free space on the disk of {whose}"))
                .into()
        }
        _ => error,
    }
}
