//! The tree of a container, as one mount without a place: what `export` writes, and what `commit` takes of a folder.
//!
//! | container | its tree |
//! |---|---|
//! | running | the overlay that its mount namespace has as `/`, without what is mounted in it |
//! | created, exited | a new, read-only overlay of its own folder and its layers |
//! | `--rootfs` | the folder, without what is mounted in it |
//!
//! In none of them are volumes, `/proc` or `/etc/hosts`: at their places are the folders and empty files that they are
//! mounted on, as in Docker. `cp`, which shows volumes, takes the tree of a running container as a whole.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use nix::unistd::{chroot, fchdir};
use syscalls::mount::{Attr, SetAttr, clone_tree, set_attr};

use crate::container;
use crate::containers::{Containers, Held};
use crate::copy::archive::Archive;
use crate::copy::item::Item;
use crate::engine::{Engine, open_dir};
use crate::events;
use crate::failure::Failure;
use crate::files::remove_tree;
use crate::record::Record;

/// How long somebody else may have a container.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes the tree of a container as a plain tar, in the order of its names. It may run meanwhile.
///
/// # Errors
/// If there is no such container, a file cannot be read, or the archive not be written.
pub fn export(engine: &Engine, container: &str, out: impl Write) -> Result<()> {
    let record = Containers::new(engine).find(container)?;
    let access = Access::to(engine, &record)?;
    let written = access.tree(engine, &record).and_then(|tree| write(tree, out));
    let written = access.release().and(written);
    if written.is_ok() {
        events::container(engine, &record, "export", &[]);
    }
    written
}

fn write(tree: OwnedFd, out: impl Write) -> Result<()> {
    let mut archive = Archive::new(out, &[]);
    archive.tree(&Item::of(tree)?, None)?;
    archive.finish()
}

/// The right to read the files of a container: nobody starts or removes it meanwhile, or it runs.
#[derive(Debug)]
pub(crate) enum Access {
    /// It runs. The descriptor names its first process, and no later one of the same pid.
    Running(OwnedFd),
    /// It does not, and is held by us. None for one that goes with its process (`--rm`) and was not started yet: to
    /// hold it and be killed would remove it.
    Idle(Option<Held>),
}

impl Access {
    /// Waits for a moment if somebody else has it, who is copying too, starting or ending it.
    pub(crate) fn to(engine: &Engine, record: &Record) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Self::now(engine, &record.id)? {
                Some(access) => return Ok(access),
                None if Instant::now() > deadline => return Err(busy(record)),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// None if it is being started, ended or copied.
    fn now(engine: &Engine, id: &str) -> Result<Option<Self>> {
        let containers = Containers::new(engine);
        let record = containers.load(id)?;
        if containers.is_held(id) {
            return Ok(container::process(engine, &record)?.map(Self::Running));
        }
        if record.auto_remove {
            return Ok(Some(Self::Idle(None)));
        }
        match containers.hold(id)? {
            Some(held) if containers.has_record(id) => Ok(Some(Self::Idle(Some(held)))),
            Some(held) => {
                // Removed since we have read its record.
                remove_tree(&held.run_dir)?;
                Err(busy(&record))
            }
            None => Ok(None),
        }
    }

    /// Lets others start and remove it again.
    pub(crate) fn release(self) -> Result<()> {
        match self {
            Self::Idle(Some(held)) => remove_tree(&held.run_dir),
            _ => Ok(()),
        }
    }

    /// The tree as a mount.
    pub(crate) fn tree(&self, engine: &Engine, record: &Record) -> Result<OwnedFd> {
        let containers = Containers::new(engine);
        if record.image_id.is_none() {
            let spec = containers.load_spec(&record.id)?;
            let folder = spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
            return guarded(open_dir(&folder)?);
        }
        match self {
            Self::Running(process) => without_devices(running_root(process, record, false)?),
            Self::Idle(_) => stacked(engine, record),
        }
    }

    /// The tree of a running container with all that is mounted in it, as its processes see it. Of another one it is
    /// [the same](Self::tree).
    pub(crate) fn whole(&self, engine: &Engine, record: &Record) -> Result<OwnedFd> {
        match self {
            Self::Running(process) => running_root(process, record, true),
            Self::Idle(_) => self.tree(engine, record),
        }
    }
}

/// The root of a running container.
fn running_root(process: &OwnedFd, record: &Record, recursive: bool) -> Result<OwnedFd> {
    match root_of(process, recursive) {
        // It has ended.
        Err(error) if error.downcast_ref::<Errno>() == Some(&Errno::ESRCH) => Err(busy(record)),
        other => other,
    }
}

fn busy(record: &Record) -> anyhow::Error {
    Failure::new(format!("container {} is being started, ended or removed", record.name))
        .hint("try again when that is over")
        .into()
}

/// The folder of what the container has written; made if it was never started.
pub(crate) fn upper(engine: &Engine, record: &Record) -> Result<OwnedFd> {
    let folder = Containers::new(engine).dir(&record.id).join("upper");
    match std::fs::create_dir(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("create folder `{}`", folder.display()))
        }
        _ => open_dir(&folder),
    }
}

/// A folder as a mount of its own, without what is mounted in it.
pub(crate) fn guarded(folder: OwnedFd) -> Result<OwnedFd> {
    without_devices(rootfs::bind(folder.as_fd(), false)?)
}

/// No device can be opened in it: a container that runs may put one in the place of a file that we are about to read.
fn without_devices(mount: OwnedFd) -> Result<OwnedFd> {
    let change = SetAttr { set: Attr::NODEV, ..SetAttr::default() };
    set_attr(mount.as_fd(), false, &change).context("forbid devices in a copy of a mount")?;
    Ok(mount)
}

/// The layers of a container that does not run, its own on top.
fn stacked(engine: &Engine, record: &Record) -> Result<OwnedFd> {
    let own = upper(engine, record)?;
    if record.layers.is_empty() {
        return guarded(own);
    }
    let mut lowers = vec![Containers::new(engine).dir(&record.id).join("upper")];
    lowers.extend(crate::image::lowers(engine, record)?);
    Ok(layers::overlay(&lowers, None, None)?)
}

/// The root mount of another process's mount namespace, copied with or without what is mounted in it.
///
/// Only a mount of one's own namespace can be copied, so this process goes there and comes back: it opens nothing
/// there but `/`. The namespace's root, not the process's: that may be any folder (chroot).
fn root_of(process: &OwnedFd, recursive: bool) -> Result<OwnedFd> {
    let place = |path: &str| {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        open(path, flags, Mode::empty()).with_context(|| format!("open `{path}`"))
    };
    let ours = std::fs::File::open("/proc/self/ns/mnt").context("open our mount namespace")?;
    let (root, folder) = (place("/")?, place(".")?);
    setns(process, CloneFlags::CLONE_NEWNS).context("enter the container's mount namespace")?;
    let tree = clone_tree(AT_FDCWD, "/", recursive);
    // To enter a namespace is also to go to its root.
    setns(ours, CloneFlags::CLONE_NEWNS)
        .and_then(|()| fchdir(&root))
        .and_then(|()| chroot("."))
        .and_then(|()| fchdir(&folder))
        .context("come back from the container's mount namespace")?;
    tree.context("copy the container's root mount")
}
