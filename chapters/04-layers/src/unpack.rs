//! Applies a layer's archive below a directory.
//!
//! The archive comes from strangers. Each entry's directory is resolved by the kernel with the
//! layer's root as `/` ([`syscalls::inroot`]); in it, only calls are used that do not follow a link
//! at the last name (`mkdirat`, `symlinkat`, `mknodat`, `linkat`, `openat` with `O_EXCL` and
//! `O_NOFOLLOW`). What is in the way is removed, never written through.

use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat, makedev, mkdirat, mknodat};
use nix::unistd::{Whence, linkat, lseek, symlinkat};
use syscalls::During;

use crate::archive::{Entry, Fragment, Kind, Reader};
use crate::attributes::{clear_xattrs, first_mode, open_dir, set_at, set_on, set_opaque};
use crate::error::{UnpackError, shown};
use crate::limits::{Bounded, Budget, Limits};
use crate::names::{Place, place};
use crate::overlay::{in_user_namespace, opaque_key};
use crate::places::{Places, kind};
use crate::remove::remove_all;

/// What was unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries of the archive, whiteouts and links included.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Bytes in them, holes not counted.
    pub bytes: u64,
    /// Names that this layer takes away from the layers below.
    pub whiteouts: u64,
    /// Extended attributes that were left out: overlay's own, or none the filesystem knows.
    pub skipped_xattrs: u64,
    /// Devices that were left out, in a user namespace, where nobody may make one.
    pub skipped_devices: u64,
}

/// Unpacks an uncompressed tar stream below `dir`, as one layer of an overlay: a whiteout becomes a
/// character device 0/0, an opaque directory gets the attribute `trusted.overlay.opaque`
/// (`user.overlay.opaque` in a user namespace).
///
/// Memory does not grow with the archive. Directories that no entry describes are made with mode
/// 0755, owned by root. Of entries with one name, the last one counts. Nothing is synced to the
/// disk.
///
/// [`Limits`] are the default ones.
///
/// # Errors
/// [`UnpackError`]; what was unpacked so far stays, to be removed by the caller.
pub fn unpack(tar: impl Read, dir: BorrowedFd<'_>) -> Result<Stats, UnpackError> {
    unpack_within(tar, dir, &Limits::default())
}

/// As [`unpack()`], up to some limits.
///
/// # Errors
/// As for [`unpack()`].
pub fn unpack_within(
    tar: impl Read,
    dir: BorrowedFd<'_>,
    limits: &Limits,
) -> Result<Stats, UnpackError> {
    apply_all(Reader::new(Bounded::new(tar, limits.archive)), dir, limits)
}

/// Unpacks an archive that is no layer below `dir`, which may hold files already, a merged overlay
/// for instance: nothing in it is a whiteout. A name that would be one is refused, since no layer
/// could hold it.
///
/// # Errors
/// As for [`unpack()`].
pub fn extract(tar: impl Read, dir: BorrowedFd<'_>, limits: &Limits) -> Result<Stats, UnpackError> {
    let archive = Reader::new(Bounded::new(tar, limits.archive));
    apply(archive, dir, limits, false)
}

/// Applies all entries of a layer's archive.
pub(crate) fn apply_all(
    archive: Reader<impl BufRead>,
    dir: BorrowedFd<'_>,
    limits: &Limits,
) -> Result<Stats, UnpackError> {
    apply(archive, dir, limits, true)
}

fn apply(
    mut archive: Reader<impl BufRead>,
    dir: BorrowedFd<'_>,
    limits: &Limits,
    is_layer: bool,
) -> Result<Stats, UnpackError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = openat(dir, ".", flags, Mode::empty()).during("open directory", "/")?;
    let opaque_key = opaque_key();
    let places = Places::new(File::from(root), opaque_key, Budget::new(*limits));
    let mut applier = Applier { places, opaque_key, is_layer, stats: Stats::default() };
    while let Some(entry) = archive.next_entry()? {
        applier.apply(&entry, &mut archive)?;
    }
    applier.places.leave()?;
    Ok(applier.stats)
}

struct Applier {
    places: Places,
    opaque_key: &'static str,
    is_layer: bool,
    stats: Stats,
}

impl Applier {
    fn apply<R: BufRead>(
        &mut self,
        entry: &Entry,
        archive: &mut Reader<R>,
    ) -> Result<(), UnpackError> {
        self.stats.entries += 1;
        self.places.budget.entry(&entry.name)?;
        let xattrs = entry.xattrs.iter().map(|(key, value)| (key.len() + value.len()) as u64);
        let target = if entry.kind == Kind::Symlink { entry.link.len() as u64 } else { 0 };
        self.places.budget.bytes(xattrs.sum::<u64>() + target, &entry.name)?;
        match place(&entry.name)? {
            Place::Ignored | Place::Opaque(_) | Place::Whiteout { .. } if !self.is_layer => {
                refused(entry, "in a layer, names that begin with `.wh.` mean a deleted file")
            }
            Place::Ignored => Ok(()),
            Place::Root => self.root(entry),
            Place::Opaque(directory) => self.opaque(entry, &directory),
            Place::Whiteout { parent, name } => self.whiteout(entry, &parent, &name),
            Place::Name { parent, name } => match entry.kind {
                Kind::Directory => self.directory(entry, &parent, &name),
                Kind::File => self.file(entry, &parent, &name, archive),
                Kind::HardLink => self.hard_link(entry, &parent, &name),
                Kind::Symlink => self.symlink(entry, &parent, &name),
                Kind::Char | Kind::Block | Kind::Fifo => self.node(entry, &parent, &name),
            },
        }
    }

    fn root(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        if entry.kind != Kind::Directory {
            return refused(entry, "the root can only be a directory");
        }
        // Leave it if it is the current directory: it would get its old time back later.
        self.places.leave()?;
        clear_xattrs(&self.places.root(), "/")?;
        self.stats.skipped_xattrs += set_on(&self.places.root(), entry)?;
        Ok(())
    }

    fn opaque(&mut self, entry: &Entry, directory: &[u8]) -> Result<(), UnpackError> {
        let dir = self.places.enter(directory)?;
        set_opaque(&dir, self.opaque_key, &entry.shown())?;
        self.stats.whiteouts += 1;
        Ok(())
    }

    /// A whiteout is about the layers below. If this layer itself has the name, before or after,
    /// that stays; a directory then hides what the lower ones hold in it.
    fn whiteout(&mut self, entry: &Entry, parent: &[u8], name: &[u8]) -> Result<(), UnpackError> {
        self.stats.whiteouts += 1;
        // Some tools write whiteouts for all that was in a folder which has become a file or a link.
        if self.places.is_replaced(parent) {
            return Ok(());
        }
        let dir = self.places.enter(parent)?;
        match mknodat(&dir, name, SFlag::S_IFCHR, Mode::empty(), 0) {
            Err(Errno::EEXIST) => match open_dir(&dir, name) {
                Ok(own) => Ok(set_opaque(&own, self.opaque_key, &entry.shown())?),
                Err(Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
                Err(errno) => Ok(Err(errno).during("open directory", entry.shown())?),
            },
            other => Ok(other.during("make whiteout", entry.shown())?),
        }
    }

    fn directory(&mut self, entry: &Entry, parent: &[u8], name: &[u8]) -> Result<(), UnpackError> {
        let dir = self.places.enter(parent)?;
        let mode = first_mode(entry);
        let (mut existed, mut opaque) = (false, false);
        match mkdirat(&dir, name, mode) {
            Ok(()) => {}
            Err(Errno::EEXIST) if is_directory(&dir, name, entry)? => existed = true,
            Err(Errno::EEXIST) => {
                opaque = self.displace(&dir, name, entry)?;
                mkdirat(&dir, name, mode).during("make directory", entry.shown())?;
            }
            Err(errno) => return Ok(Err(errno).during("make directory", entry.shown())?),
        }
        let made = open_dir(&dir, name).during("open directory", entry.shown())?;
        if existed {
            clear_xattrs(&made, &entry.shown())?;
        }
        if opaque {
            set_opaque(&made, self.opaque_key, &entry.shown())?;
        }
        self.stats.skipped_xattrs += set_on(&made, entry)?;
        Ok(())
    }

    fn file<R: BufRead>(
        &mut self,
        entry: &Entry,
        parent: &[u8],
        name: &[u8],
        archive: &mut Reader<R>,
    ) -> Result<(), UnpackError> {
        let data = |fragments: &Vec<_>| fragments.iter().map(|part: &Fragment| part.length).sum();
        let stored = entry.sparse.as_ref().map_or(entry.size, data);
        self.places.budget.bytes(stored, &entry.name)?;
        let dir = self.places.enter(parent)?;
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = first_mode(entry);
        let file = self.make(&dir, name, entry, "make file", || openat(&dir, name, flags, mode))?;
        let mut file = File::from(file);
        self.stats.bytes += match &entry.sparse {
            None => copy(&mut file, entry.size, entry, archive)?,
            Some(fragments) => {
                let mut bytes = 0;
                let size = offset(entry.size, entry)?;
                nix::unistd::ftruncate(&file, size).during("set size", entry.shown())?;
                for fragment in fragments {
                    lseek(&file, offset(fragment.offset, entry)?, Whence::SeekSet)
                        .during("seek", entry.shown())?;
                    bytes += copy(&mut file, fragment.length, entry, archive)?;
                }
                bytes
            }
        };
        self.stats.files += 1;
        self.stats.skipped_xattrs += set_on(&file, entry)?;
        Ok(())
    }

    fn hard_link(&mut self, entry: &Entry, parent: &[u8], name: &[u8]) -> Result<(), UnpackError> {
        let missing = || UnpackError::HardLink { entry: entry.shown(), target: shown(&entry.link) };
        let Place::Name { parent: target_parent, name: target } =
            place(&entry.link).map_err(|_| UnpackError::Refused {
                entry: entry.shown(),
                reason: format!("a hard link to `{}`", shown(&entry.link)),
            })?
        else {
            return Err(missing());
        };
        let dir = self.places.enter(parent)?;
        let target_dir = match self.places.find(&target_parent) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Err(missing()),
            other => other.during("open directory", entry.shown())?,
        };
        let stat = match fstatat(&target_dir, &*target, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Err(missing()),
            other => other.during("find target of hard link", entry.shown())?,
        };
        if kind(stat.st_mode) == SFlag::S_IFDIR {
            return refused(entry, "a hard link to a directory");
        }
        // A link to itself is there already; making way for it would remove the file.
        let there = fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        if there.is_ok_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)) {
            return Ok(());
        }
        // Without AT_SYMLINK_FOLLOW a link to a symbolic link is a second name of the link.
        self.make(&dir, name, entry, "make hard link", || {
            linkat(&target_dir, &*target, &dir, name, AtFlags::empty())
        })
    }

    fn symlink(&mut self, entry: &Entry, parent: &[u8], name: &[u8]) -> Result<(), UnpackError> {
        let dir = self.places.enter(parent)?;
        self.make(&dir, name, entry, "make symbolic link", || symlinkat(&*entry.link, &dir, name))?;
        self.stats.skipped_xattrs += set_at(dir.as_fd(), name, entry)?;
        Ok(())
    }

    fn node(&mut self, entry: &Entry, parent: &[u8], name: &[u8]) -> Result<(), UnpackError> {
        let dir = self.places.enter(parent)?;
        let kind = match entry.kind {
            Kind::Char => SFlag::S_IFCHR,
            Kind::Block => SFlag::S_IFBLK,
            _ => SFlag::S_IFIFO,
        };
        let (major, minor) = entry.device;
        let mode = Mode::from_bits_truncate(entry.mode);
        let made = self.make(&dir, name, entry, "make device or pipe", || {
            mknodat(&dir, name, kind, mode, makedev(major, minor))
        });
        match made {
            // In a user namespace nobody may make a device. Docker without root goes on, too: what
            // a container needs in /dev is put there when it starts.
            Err(UnpackError::Kernel(error))
                if error.errno == Errno::EPERM && kind != SFlag::S_IFIFO && in_user_namespace() =>
            {
                self.stats.skipped_devices += 1;
                return Ok(());
            }
            other => other?,
        }
        self.stats.skipped_xattrs += set_at(dir.as_fd(), name, entry)?;
        Ok(())
    }

    /// Makes something new under a name, and, if something is there already, once more after that
    /// has made way.
    fn make<T>(
        &mut self,
        dir: &File,
        name: &[u8],
        entry: &Entry,
        step: &'static str,
        create: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        match create() {
            Err(Errno::EEXIST) => {
                self.displace(dir, name, entry)?;
                Ok(create().during(step, entry.shown())?)
            }
            other => Ok(other.during(step, entry.shown())?),
        }
    }

    /// Removes what is in the way, and says whether it was a whiteout.
    fn displace(&mut self, dir: &File, name: &[u8], entry: &Entry) -> Result<bool, UnpackError> {
        let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .during("look at what is in the way", entry.shown())?;
        remove_all(dir.as_fd(), name).during("remove what is in the way", entry.shown())?;
        self.places.revisit();
        Ok(kind(stat.st_mode) == SFlag::S_IFCHR && stat.st_rdev == 0)
    }
}

fn is_directory(dir: &File, name: &[u8], entry: &Entry) -> Result<bool, UnpackError> {
    let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .during("look at what is in the way", entry.shown())?;
    Ok(kind(stat.st_mode) == SFlag::S_IFDIR)
}

/// Writes the next `length` bytes of the archive's data.
fn copy<R: BufRead>(
    file: &mut File,
    length: u64,
    entry: &Entry,
    archive: &mut Reader<R>,
) -> Result<u64, UnpackError> {
    let mut left = length;
    while left > 0 {
        let chunk = archive.chunk(left)?;
        let step = chunk.len();
        file.write_all(chunk).during("write file", entry.shown())?;
        archive.consume(step);
        left -= step as u64;
    }
    Ok(length)
}

fn offset(value: u64, entry: &Entry) -> Result<i64, UnpackError> {
    i64::try_from(value).or_else(|_| refused(entry, "a file of more than 8 EiB"))
}

fn refused<T>(entry: &Entry, reason: &str) -> Result<T, UnpackError> {
    Err(UnpackError::Refused { entry: entry.shown(), reason: reason.to_owned() })
}
