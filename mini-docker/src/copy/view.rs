//! The files of a container as cp sees them: its root with its volumes and binds in their places, as a tree of mounts
//! that goes with this process.
//!
//! Of a container that runs, the whole tree of its mount namespace is copied (the mounts, not the files), so that what
//! the container mounts or unmounts meanwhile changes nothing for us, and a read-only volume is read-only for us too.
//! For one that does not run, the overlay is made as for a start, in a mount namespace of this process alone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::fstat;
use oci_spec::runtime::Spec;
use syscalls::mount::{Attr, Propagation, SetAttr, attach, set_attr};
use syscalls::{During, inroot};

use super::item::identity;
use crate::containers::Containers;
use crate::engine::{Engine, open_dir};
use crate::export::Access;
use crate::record::Record;

/// A container's files.
#[derive(Debug)]
pub(super) struct View {
    root: OwnedFd,
    access: Access,
    /// What the runtime has mounted and Docker does not show, by device and inode.
    pub(super) hidden: Vec<(u64, u64)>,
}

impl View {
    /// Opens the files. From here on this process is in a mount namespace of its own if the container does not run.
    pub(super) fn open(engine: &Engine, record: &Record) -> Result<Self> {
        let access = Access::to(engine, record)?;
        let spec = Containers::new(engine).load_spec(&record.id)?;
        let running = matches!(access, Access::Running(_));
        let root = match running {
            true => access.whole(engine, record)?,
            false => assembled(engine, record, &spec)?,
        };
        // No device can be opened in it: the container may put one in the place of a file at any time.
        change(root.as_fd(), true, Attr::NODEV)?;
        if spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or_default() {
            change(root.as_fd(), false, Attr::RDONLY)?;
        }
        let hidden = if running { hidden(root.as_fd(), record, &spec) } else { Vec::new() };
        Ok(Self { root, access, hidden })
    }

    /// Lets others start and remove the container again.
    pub(super) fn release(self) -> Result<()> {
        drop(self.root);
        self.access.release()
    }
}

impl AsFd for View {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

fn change(mount: BorrowedFd<'_>, recursive: bool, set: Attr) -> Result<()> {
    let change = SetAttr { set, ..SetAttr::default() };
    set_attr(mount, recursive, &change).context("restrict a copy of the container's mounts")
}

fn private(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    let change = SetAttr { propagation: Some(Propagation::Private), ..SetAttr::default() };
    set_attr(mount, true, &change)
}

/// Mounts of every container, `/proc` and `/dev`: not what the user asked for.
fn hidden(root: BorrowedFd<'_>, record: &Record, spec: &Spec) -> Vec<(u64, u64)> {
    let own = |target: &&Path| !record.mounts.iter().any(|mount| mount.target == **target);
    let targets = spec.mounts().iter().flatten().map(|mount| mount.destination().as_path());
    targets
        .filter(own)
        .filter_map(|target| inroot::open_path(root, target).and_then(fstat).ok())
        .map(|stat| identity(&stat))
        .collect()
}

/// The files of a container that does not run. The lock that [`Access`] holds keeps it so.
fn assembled(engine: &Engine, record: &Record, spec: &Spec) -> Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNS).during("make mount namespace", "")?;
    let place = rootfs::staging()?;
    // A copy of a shared mount tells its peers on the host what happens to it.
    private(place.as_fd()).during("make mounts private", "/")?;
    let root = root_mount(engine, record, spec)?;
    private(root.as_fd()).during("make mounts private", "the container's root")?;
    // On top of `/`, which is where nobody looks: paths of this process begin below.
    attach(root.as_fd(), place.as_fd()).during("attach mount", "the container's root")?;
    crate::container::fill_volumes(root.as_fd(), record)?;
    for mount in spec.mounts().iter().flatten() {
        let target = mount.destination();
        let asked = record.mounts.iter().find(|asked| asked.target == *target);
        if asked.is_none_or(|asked| asked.kind == "tmpfs") {
            continue;
        }
        let mount = crate::spec::one_mount(mount)?;
        let rootfs::Source::Detached(detached) = &mount.source else { continue };
        // `shared` is between the container's processes and the host.
        private(detached.as_fd()).during("make mounts private", target.display())?;
        let place = match mount.is_file {
            true => inroot::create_file(root.as_fd(), target),
            false => inroot::create_dir_all(root.as_fd(), target),
        };
        let place = place.during("create mount target", target.display())?;
        attach(detached.as_fd(), place.as_fd()).during("attach mount", target.display())?;
    }
    Ok(root)
}

fn root_mount(engine: &Engine, record: &Record, spec: &Spec) -> Result<OwnedFd> {
    if record.image_id.is_none() {
        let folder = spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
        return Ok(rootfs::bind(open_dir(&folder)?.as_fd(), true)?);
    }
    let lowers = crate::image::lowers(engine, record)?;
    let dir = Containers::new(engine).dir(&record.id);
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    for folder in [&upper, &work] {
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("create folder `{}`", folder.display()));
            }
            _ => {}
        }
    }
    Ok(layers::overlay(&lowers, Some(&upper), Some(&work))?)
}
