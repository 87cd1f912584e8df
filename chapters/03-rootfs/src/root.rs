//! The new root while it is being furnished: places inside it, each resolved once, and mounts attached to them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::{FileStat, SFlag, fstat};
use syscalls::mount::{Propagation, SetAttr, attach, set_attr};
use syscalls::{During, KernelError, inroot, step};

/// The attached, not yet entered root of a container.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
    /// Device and inode number, to recognise a path that leads back to the root itself.
    identity: (u64, u64),
}

/// A place inside the root. From here on its path does not matter any more.
pub(crate) struct Place {
    pub(crate) fd: OwnedFd,
    pub(crate) stat: FileStat,
    /// It was not there before.
    pub(crate) created: bool,
}

impl Place {
    pub(crate) fn is_dir(&self) -> bool {
        file_type(&self.stat) == SFlag::S_IFDIR
    }
}

/// The type bits of a file's mode.
pub(crate) fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

impl Root {
    /// Attaches a detached mount on `staging`, with events passing neither out of it nor, unless asked for, into it.
    pub(crate) fn attach(
        fd: OwnedFd,
        staging: BorrowedFd<'_>,
        propagation: Option<Propagation>,
    ) -> Result<Self, KernelError> {
        // A bind of a shared folder would show our mounts on the host. "Shared" is added to a slave, at the end.
        let inwards = match propagation {
            Some(Propagation::Slave | Propagation::Shared) => Propagation::Slave,
            _ => Propagation::Private,
        };
        let change = SetAttr { propagation: Some(inwards), ..SetAttr::default() };
        step!(
            "mount_setattr",
            ("root, AT_RECURSIVE, {{propagation={inwards:?}}}"),
            set_attr(fd.as_fd(), true, &change)
        )
        .during("set propagation", "new root")?;
        step!("move_mount", "root, staging", attach(fd.as_fd(), staging)).map_err(|errno| {
            let error = KernelError::new("attach mount", "new root", errno);
            match errno {
                Errno::EINVAL => {
                    error.with_detail("the staging directory was opened in another mount namespace")
                }
                _ => error,
            }
        })?;
        let stat = fstat(&fd).during("examine", "new root")?;
        Ok(Self { fd, identity: (stat.st_dev, stat.st_ino) })
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Resolves a path of the container to a place. None if there is nothing.
    pub(crate) fn find(&self, path: &Path) -> Result<Option<Place>, KernelError> {
        let opened = step!(
            "openat2",
            ("root, {path:?}, O_PATH, RESOLVE_IN_ROOT"),
            inroot::open_path(self.as_fd(), path)
        );
        match opened {
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            opened => self.place(opened.during("open", path.display())?, path, false).map(Some),
        }
    }

    /// Resolves a path to a place, creating an empty file or directory if there is nothing.
    pub(crate) fn find_or_create(&self, path: &Path, file: bool) -> Result<Place, KernelError> {
        if let Some(place) = self.find(path)? {
            return Ok(place);
        }
        let created = if file {
            let create = || create_file(self.as_fd(), path);
            step!("openat2", ("root, {path:?}, O_CREAT, RESOLVE_IN_ROOT"), create())
        } else {
            step!("mkdirat", ("root, {path:?}"), inroot::create_dir_all(self.as_fd(), path))
        };
        self.place(created.during("create mount target", path.display())?, path, true)
    }

    fn place(&self, fd: OwnedFd, path: &Path, created: bool) -> Result<Place, KernelError> {
        let stat = fstat(&fd).during("examine", path.display())?;
        // A mount on top of the root would lie between the old root and the new one when they change places.
        if (stat.st_dev, stat.st_ino) == self.identity {
            return Err(KernelError::new("find mount target", path.display(), Errno::EINVAL)
                .with_detail("it leads to the root of the container itself"));
        }
        Ok(Place { fd, stat, created })
    }

    /// Attaches a detached mount on a place.
    pub(crate) fn mount(
        mount: BorrowedFd<'_>,
        place: BorrowedFd<'_>,
        path: &Path,
    ) -> Result<(), KernelError> {
        step!("move_mount", ("mount, {path:?}"), attach(mount, place)).map_err(|errno| {
            let error = KernelError::new("attach mount", path.display(), errno);
            let is_dir = |fd| fstat(fd).map(|stat| file_type(&stat) == SFlag::S_IFDIR);
            match (errno, is_dir(mount), is_dir(place)) {
                (Errno::EINVAL, Ok(true), Ok(false)) => {
                    error.with_detail("the source is a directory and the target is a file")
                }
                (Errno::EINVAL, Ok(false), Ok(true)) => {
                    error.with_detail("the source is a file and the target is a directory")
                }
                _ => error,
            }
        })
    }
}

/// As [`inroot::create_file`], and if a dangling link has the name, creates what it points to: /etc/resolv.conf is a
/// link into an empty /run in many images.
fn create_file(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let mut path = path.to_owned();
    // As many links as the kernel follows in one path (path_resolution(7)).
    for _ in 0..40 {
        match inroot::create_file(root, &path) {
            Err(Errno::ELOOP) => {}
            other => return other,
        }
        let (folder, name) = inroot::split(&path).ok_or(Errno::EINVAL)?;
        let link = readlinkat(inroot::open_path(root, folder)?, name)?;
        path = folder.join(link);
    }
    Err(Errno::ELOOP)
}
