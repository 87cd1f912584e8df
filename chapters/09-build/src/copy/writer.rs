//! Makes files, one after the other, below one root.
//!
//! Each is made by one plain name in an open directory, with `O_EXCL` or a call that follows
//! nothing. Owner comes before mode and attributes, since chown(2) takes set-id bits and
//! capabilities away; times come last, and those of directories when nothing is put into them any
//! more.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstat, fstatat, futimens,
    mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};
use syscalls::{During, step};

use super::{Copied, Made, data};
use crate::attributes::{Attributes, Times, set_xattrs, xattrs};
use crate::compat::Transfer;
use crate::file_error::FileError;
use crate::names::{Shown, shown, split};
use crate::place::{kind, open_dir};
use crate::select::{Entry, Kind, Stamp};

pub(super) struct Writer<'a> {
    from: BorrowedFd<'a>,
    root: BorrowedFd<'a>,
    attributes: &'a Attributes,
    /// The directory of the last file: mostly that of the next one, too.
    current: Option<(Vec<u8>, File)>,
    /// Files with several names: device and inode of the source, real path of its first copy.
    first_names: HashMap<(u64, u64), Vec<u8>>,
    /// Directories whose attributes are set in the end, by real path.
    later: Vec<(Vec<u8>, Later)>,
    transfer: Transfer,
    copied: Copied,
}

/// What a directory gets in the end.
enum Later {
    /// All that the source has.
    As(Entry),
    /// Only its time, because it was made on the way.
    Time,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        from: BorrowedFd<'a>,
        root: BorrowedFd<'a>,
        attributes: &'a Attributes,
    ) -> Self {
        Self {
            from,
            root,
            attributes,
            current: None,
            first_names: HashMap::new(),
            later: Vec::new(),
            transfer: Transfer::default(),
            copied: Copied::default(),
        }
    }

    /// Makes a directory that no source has.
    pub(super) fn make_directory(&mut self, path: &[u8]) -> Result<(), FileError> {
        let mode = Mode::from_bits_truncate(0o755);
        let (parent, name) = split(path);
        let parent = self.directory(parent)?;
        step!("mkdirat", ("{:?}, 0755", shown(path)), mkdirat(parent, name, mode))
            .during("make directory", Shown(path))?;
        let made = File::from(open_dir(self.root, path).during("open directory", Shown(path))?);
        self.set_owner(&made, self.attributes.owner.for_made(), path)?;
        fchmod(&made, mode).during("set mode", Shown(path))?;
        self.later.push((path.to_vec(), Later::Time));
        Ok(())
    }

    /// Copies one entry to a real path. `gently`: directories that are there stay as they are.
    pub(super) fn entry(
        &mut self,
        entry: &Entry,
        path: &[u8],
        gently: bool,
    ) -> Result<(), FileError> {
        match &entry.kind {
            Kind::Directory => return self.copy_directory(entry, path, gently),
            Kind::File => return self.copy_file(entry, path),
            Kind::Symlink(target) => {
                let target = OsStr::from_bytes(target);
                self.fresh(path, |parent, name| symlinkat(target, parent, name))?;
            }
            Kind::Device(flag, number) => {
                self.fresh(path, |parent, name| {
                    mknodat(parent, name, *flag, Mode::empty(), *number)
                })?;
            }
            Kind::Fifo => {
                let flag = SFlag::S_IFIFO;
                self.fresh(path, |parent, name| mknodat(parent, name, flag, Mode::empty(), 0))?;
            }
        }
        self.set_at(entry, path)
    }

    fn copy_directory(
        &mut self,
        entry: &Entry,
        path: &[u8],
        gently: bool,
    ) -> Result<(), FileError> {
        let (parent, name) = split(path);
        let parent = self.directory(parent)?;
        let gently = gently || entry.implied;
        match mkdirat(parent, name, Mode::S_IRWXU) {
            Ok(()) => {}
            Err(Errno::EEXIST) => {
                let stat = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
                    .during("read attributes", Shown(path))?;
                if kind(&stat) != SFlag::S_IFDIR {
                    return Err(FileError::Kind {
                        what: "copy to non-directory",
                        path: shown(path),
                        hint: "the source has a directory of this name; if it is a link there, copy to where it points",
                    });
                }
                if gently {
                    return Ok(());
                }
            }
            Err(errno) => return Err(errno).during("make directory", Shown(path))?,
        }
        self.later.push((path.to_vec(), Later::As(entry.clone())));
        Ok(())
    }

    fn copy_file(&mut self, entry: &Entry, path: &[u8]) -> Result<(), FileError> {
        let inode = (entry.stamp.dev, entry.stamp.ino);
        let first = self.first_names.get(&inode).filter(|first| *first != path).cloned();
        if let Some(first) = first {
            match self.link(&first, path) {
                // The file system allows no more names: another file, then.
                Err(FileError::Kernel(error)) if error.errno == Errno::EMLINK => {}
                other => return other,
            }
        }
        let (source, stat) = entry.open_with(self.from, OFlag::O_RDONLY)?;
        let mode = self.attributes.mode_of(entry);
        let copy = self.create(path, mode)?;
        if entry.linked {
            self.first_names.insert(inode, path.to_vec());
        }
        let bytes = data::copy(&mut self.transfer, &source, &stat, &copy)
            .during("copy", Shown(&entry.source))?;
        let owner = self.attributes.owner.of(entry.uid, entry.gid);
        let attributes = xattrs(&source, &entry.source)?;
        self.set(&copy, owner, mode, path)?;
        set_xattrs(&copy, &attributes, path)?;
        self.set_time(&copy, entry.mtime, path)?;
        let after = fstat(&source).during("read attributes", Shown(&entry.source))?;
        if Stamp::of(&after) != entry.stamp && self.copied.changed.is_none() {
            self.copied.changed = Some(entry.shown());
        }
        self.copied.files += 1;
        self.copied.bytes += bytes;
        Ok(())
    }

    /// Writes a file that has no source.
    pub(super) fn made(&mut self, made: Made<'_>, path: &[u8]) -> Result<(), FileError> {
        let mode = self.attributes.mode(made.mode, false);
        let file = self.create(path, mode)?;
        let bytes = self.transfer.stream(made.content, &file).during("write", Shown(path))?;
        self.set(&file, self.attributes.owner.for_made(), mode, path)?;
        self.set_time(&file, made.mtime, path)?;
        self.copied.files += 1;
        self.copied.bytes += bytes;
        Ok(())
    }

    /// Gives directories what they get in the end: those made last first, so that nothing changes
    /// any more above.
    pub(super) fn finish(mut self) -> Result<Copied, FileError> {
        self.current = None;
        let mut done = HashSet::new();
        for (path, later) in std::mem::take(&mut self.later).into_iter().rev() {
            // Several sources may have it: the last one counts.
            if !done.insert(path.clone()) {
                continue;
            }
            let directory = open_dir(self.root, &path).during("open directory", Shown(&path))?;
            let directory = File::from(directory);
            match later {
                Later::As(entry) => {
                    let (source, _) = entry.open_with(self.from, OFlag::O_RDONLY)?;
                    let owner = self.attributes.owner.of(entry.uid, entry.gid);
                    self.set(&directory, owner, self.attributes.mode_of(&entry), &path)?;
                    set_xattrs(&directory, &xattrs(&source, &entry.source)?, &path)?;
                    self.set_time(&directory, entry.mtime, &path)?;
                }
                Later::Time if self.attributes.times == Times::Keep => {}
                Later::Time => {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                    self.set_time(&directory, (now.as_secs() as i64, 0), &path)?;
                }
            }
        }
        Ok(self.copied)
    }

    /// Makes an empty file.
    fn create(&mut self, path: &[u8], mode: u32) -> Result<File, FileError> {
        // Nobody gets a set-user-id program for the moment until its owner is set.
        let mode = Mode::from_bits_truncate(mode & 0o777);
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(File::from(self.fresh(path, |parent, name| openat(parent, name, flags, mode))?))
    }

    fn link(&mut self, first: &[u8], path: &[u8]) -> Result<(), FileError> {
        let (parent, old) = split(first);
        let first_dir = open_dir(self.root, parent).during("open directory", Shown(parent))?;
        self.fresh(path, |parent, name| linkat(&first_dir, old, parent, name, AtFlags::empty()))
    }

    /// Makes something that is not there yet; what is there under this name is removed before.
    fn fresh<T>(
        &mut self,
        path: &[u8],
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, FileError> {
        let (parent, name) = split(path);
        let parent = self.directory(parent)?;
        match make(parent, name) {
            Err(Errno::EEXIST) => {}
            other => return Ok(other.during("create", Shown(path))?),
        }
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => {
                return Err(FileError::Kind {
                    what: "replace directory with file",
                    path: shown(path),
                    hint: "remove the directory in a step before, or choose another target",
                });
            }
            other => other.during("remove", Shown(path))?,
        }
        // It may have been the first name of a file: its other names must not become links of what
        // comes now.
        self.first_names.retain(|_, first| first != path);
        let parent = self.directory(split(path).0)?;
        Ok(make(parent, name).during("create", Shown(path))?)
    }

    /// An open directory, by its real path.
    fn directory(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, FileError> {
        if self.current.as_ref().is_none_or(|(current, _)| current != path) {
            let opened = open_dir(self.root, path).during("open directory", Shown(path))?;
            self.current = Some((path.to_vec(), File::from(opened)));
        }
        match &self.current {
            Some((_, directory)) => Ok(directory.as_fd()),
            None => Err(Errno::EBADF).during("open directory", Shown(path))?,
        }
    }

    fn set(&self, file: &File, owner: (u32, u32), mode: u32, path: &[u8]) -> Result<(), FileError> {
        self.set_owner(file, owner, path)?;
        let stat = fstat(file).during("read attributes", Shown(path))?;
        if stat.st_mode & 0o7777 != mode {
            fchmod(file, Mode::from_bits_truncate(mode)).during("set mode", Shown(path))?;
        }
        Ok(())
    }

    fn set_owner(&self, file: &File, (uid, gid): (u32, u32), path: &[u8]) -> Result<(), FileError> {
        let stat = fstat(file).during("read attributes", Shown(path))?;
        if (stat.st_uid, stat.st_gid) == (uid, gid) {
            return Ok(());
        }
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        Ok(fchown(file, uid, gid).during("set owner", Shown(path))?)
    }

    fn set_time(&self, file: &File, mtime: (i64, i64), path: &[u8]) -> Result<(), FileError> {
        let time = self.attributes.times.of(mtime);
        Ok(futimens(file, &time, &time).during("set time", Shown(path))?)
    }

    /// All attributes of what cannot be opened: a link, a device, a pipe, which was made a moment
    /// ago.
    fn set_at(&mut self, entry: &Entry, path: &[u8]) -> Result<(), FileError> {
        let (uid, gid) = self.attributes.owner.of(entry.uid, entry.gid);
        let mode = Mode::from_bits_truncate(self.attributes.mode_of(entry));
        let time: TimeSpec = self.attributes.times.of(entry.mtime);
        let (parent, name) = split(path);
        let parent = self.directory(parent)?;
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        fchownat(parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
            .during("set owner", Shown(path))?;
        // A link has no mode of its own, and fchmodat would follow it.
        if !matches!(entry.kind, Kind::Symlink(_)) {
            fchmodat(parent, name, mode, FchmodatFlags::FollowSymlink)
                .during("set mode", Shown(path))?;
        }
        let no_follow = UtimensatFlags::NoFollowSymlink;
        Ok(utimensat(parent, name, &time, &time, no_follow).during("set time", Shown(path))?)
    }
}
