//! What belongs to a file besides its contents, and how much of it crosses the border.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FileStat, SFlag, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};
use syscalls::During;

use super::item::{Item, descriptor_path};

/// Bits with which a program gets the rights of its owner or group.
const SET_ID: u32 = 0o6000;

/// Owner, mode, time and extended attributes.
#[derive(Debug, Clone)]
pub(super) struct Meta {
    /// The twelve permission bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: TimeSpec,
    pub(super) xattrs: Vec<(OsString, Vec<u8>)>,
}

/// Whom a copy belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owners {
    /// Whom the original belongs to (`-a`).
    Kept,
    /// The caller: copied out.
    ///
    /// Nothing of a stranger's runs with the rights of its new owner: set-user-id bits go, and so do all attributes
    /// but `user.*` (file capabilities, access lists that name users of the container). cp(1) does the same.
    Caller(u32, u32),
    /// The container's root: copied in. Set-user-id bits and attributes stay if it was root's before.
    Root,
}

impl Meta {
    pub(super) fn read(item: &Item, shown: &str) -> Result<Self> {
        let FileStat { st_mode, st_uid, st_gid, st_mtime, st_mtime_nsec, .. } = item.stat;
        let mode = st_mode & 0o7777;
        let mtime = TimeSpec::new(st_mtime, st_mtime_nsec);
        Ok(Self { mode, uid: st_uid, gid: st_gid, mtime, xattrs: attributes(item, shown)? })
    }

    /// As the copy shall have it.
    pub(super) fn passed_on(mut self, owners: Owners, is_dir: bool) -> Self {
        let (uid, gid, trusted) = match owners {
            Owners::Kept => return self,
            Owners::Caller(uid, gid) => (uid, gid, false),
            Owners::Root => (0, 0, (self.uid, self.gid) == (0, 0)),
        };
        (self.uid, self.gid) = (uid, gid);
        if !trusted {
            // For a directory they only say whom new files in it belong to.
            self.mode &= if is_dir { 0o7777 } else { !SET_ID };
            self.xattrs.retain(|(key, _)| key.as_bytes().starts_with(b"user."));
        }
        self
    }

    /// Gives it to a file that is open, or held by an `O_PATH` descriptor, whatever kind it is.
    pub(super) fn give(&self, file: BorrowedFd<'_>, kind: SFlag, shown: &str) -> Result<()> {
        let path = descriptor_path(file);
        let (uid, gid) = (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)));
        fchownat(file, "", uid, gid, AtFlags::AT_EMPTY_PATH).during("set owner", shown)?;
        // After chown(2), which takes set-user-id bits and file capabilities off. A link has no mode of its own.
        if kind != SFlag::S_IFLNK {
            let mode = std::fs::Permissions::from_mode(self.mode);
            std::fs::set_permissions(&path, mode).during("set mode", shown)?;
        }
        for (key, value) in &self.xattrs {
            match xattr::set_deref(&path, key, value) {
                // The file system has no such attributes; user.* exist on files and directories only (xattr(7)).
                Err(error) if is(&error, Errno::ENOTSUP) || is(&error, Errno::EPERM) => {}
                other => other.during("set attribute", shown)?,
            }
        }
        let times = UtimensatFlags::FollowSymlink;
        utimensat(AT_FDCWD, &path, &self.mtime, &self.mtime, times).during("set time", shown)?;
        Ok(())
    }
}

fn attributes(item: &Item, shown: &str) -> Result<Vec<(OsString, Vec<u8>)>> {
    let path = item.path();
    let keys = match xattr::list_deref(&path) {
        Err(error) if is(&error, Errno::ENOTSUP) => return Ok(Vec::new()),
        other => other.during("list attributes", shown)?,
    };
    let mut found = Vec::new();
    for key in keys.filter(|key| belongs_to_the_file(key)) {
        let value = match xattr::get_deref(&path, &key) {
            Err(error) if is(&error, Errno::ENOTSUP) || is(&error, Errno::EPERM) => None,
            other => other.during("read attribute", shown)?,
        };
        found.extend(value.map(|value| (key, value)));
    }
    found.sort();
    Ok(found)
}

/// Not what overlayfs notes for itself, nor the label of another place.
pub(super) fn belongs_to_the_file(key: &OsStr) -> bool {
    let key = key.as_bytes();
    !key.starts_with(b"trusted.overlay.")
        && !key.starts_with(b"user.overlay.")
        && key != b"security.selinux"
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// As [`Meta::give`], to a file that is held.
pub(super) fn give(meta: &Meta, item: &Item, shown: &str) -> Result<()> {
    meta.give(item.as_fd(), item.kind(), shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_of_strangers_stay_behind() {
        let meta = |uid| Meta {
            mode: 0o6755,
            uid,
            gid: uid,
            mtime: TimeSpec::new(0, 0),
            xattrs: ["security.capability", "user.note"]
                .iter()
                .map(|key| (OsString::from(key), Vec::new()))
                .collect(),
        };
        // owners, owner before, owner after, mode of a file, attributes
        for (owners, before, after, mode, count) in [
            (Owners::Kept, 7, 7, 0o6755, 2),
            (Owners::Caller(1, 1), 7, 1, 0o755, 1),
            (Owners::Caller(0, 0), 0, 0, 0o755, 1),
            (Owners::Root, 7, 0, 0o755, 1),
            (Owners::Root, 0, 0, 0o6755, 2),
        ] {
            let passed = meta(before).passed_on(owners, false);
            let found = (passed.uid, passed.gid, passed.mode, passed.xattrs.len());
            assert_eq!(found, (after, after, mode, count), "{owners:?} of {before}");
        }
        assert_eq!(meta(7).passed_on(Owners::Caller(0, 0), true).mode, 0o6755);
    }
}
