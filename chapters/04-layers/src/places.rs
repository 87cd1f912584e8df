//! The directory an entry goes into: found once, kept open for its neighbours, and left with the
//! time it had.
//!
//! Entries of one directory mostly stand together, so the last directory stays open: most files
//! cost no walk at all. Making a file changes its directory's time; instead of a list of all
//! directories and their times, which grows with the archive, each directory gets its time back
//! when the next one is entered.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, readlinkat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, fstatat, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, unlinkat};
use syscalls::{During, inroot};

use crate::attributes::{open_dir, set_opaque};
use crate::error::{UnpackError, shown};
use crate::limits::Budget;
use crate::names::PATH_MAX;

/// The kernel's own limit for links in one path.
const MAX_LINKS: u32 = 40;

pub(crate) struct Places {
    root: Rc<File>,
    current: Option<Current>,
    /// Name of overlay's attribute for opaque directories.
    opaque_key: &'static str,
    /// What may still be made.
    pub(crate) budget: Budget,
}

struct Current {
    path: Vec<u8>,
    /// Something was removed below it: the path may lead elsewhere now.
    stale: bool,
    dir: Rc<File>,
    mtime: TimeSpec,
}

impl Places {
    pub(crate) fn new(root: File, opaque_key: &'static str, budget: Budget) -> Self {
        Self { root: Rc::new(root), current: None, opaque_key, budget }
    }

    pub(crate) fn root(&self) -> Rc<File> {
        Rc::clone(&self.root)
    }

    /// Opens a directory to change something in it; what is missing of it is made.
    pub(crate) fn enter(&mut self, path: &[u8]) -> Result<Rc<File>, UnpackError> {
        if let Some(current) = self.kept(path) {
            return Ok(Rc::clone(&current.dir));
        }
        self.leave()?;
        let dir = match self.find(path) {
            // ENOTDIR: possibly a whiteout, which makes way.
            Err(Errno::ENOENT | Errno::ENOTDIR) => self.make(path, MAX_LINKS)?,
            other => other.during("open directory", shown(path))?,
        };
        let dir = Rc::new(dir);
        let mtime = mtime(&dir).during("read time", shown(path))?;
        self.current =
            Some(Current { path: path.to_vec(), stale: false, dir: Rc::clone(&dir), mtime });
        Ok(dir)
    }

    fn kept(&self, path: &[u8]) -> Option<&Current> {
        self.current.as_ref().filter(|current| !current.stale && current.path == path)
    }

    /// Opens a directory to read it.
    pub(crate) fn find(&self, path: &[u8]) -> Result<File, Errno> {
        if let Some(current) = self.kept(path) {
            return current.dir.try_clone().map_err(|_| Errno::last());
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let path = if path.is_empty() { b"." } else { path };
        inroot::open(self.root.as_fd(), as_path(path), flags, Mode::empty()).map(File::from)
    }

    /// Whether this layer has something else than a directory on the way to `path`: a file, a link, or a whiteout. What
    /// the layers below hold there is hidden already.
    pub(crate) fn is_replaced(&self, path: &[u8]) -> bool {
        if path.is_empty() || self.kept(path).is_some() {
            return false;
        }
        let Ok(mut here) = self.root.try_clone() else { return false };
        for name in path.split(|byte| *byte == b'/') {
            match open_dir(&here, name) {
                Ok(next) => here = next,
                Err(errno) => return matches!(errno, Errno::ENOTDIR | Errno::ELOOP),
            }
        }
        false
    }

    /// To be called when something was removed in the current directory: its path might have led
    /// through it, over a link. The next entry looks it up again.
    pub(crate) fn revisit(&mut self) {
        if let Some(current) = &mut self.current {
            current.stale = true;
        }
    }

    /// Gives the current directory its time back and forgets it.
    pub(crate) fn leave(&mut self) -> Result<(), UnpackError> {
        if let Some(current) = self.current.take() {
            futimens(&current.dir, &TimeSpec::UTIME_OMIT, &current.mtime)
                .during("set time", shown(&current.path))?;
        }
        Ok(())
    }

    /// Makes what is missing of a directory, part by part. A link on the way is followed, inside
    /// the root, and what it points to is made.
    fn make(&self, path: &[u8], links: u32) -> Result<File, UnpackError> {
        let mut here = self.find(b"").during("open directory", "/")?;
        let mut done: Vec<u8> = Vec::new();
        for name in path.split(|byte| *byte == b'/') {
            let parent = done.len();
            if !done.is_empty() {
                done.push(b'/');
            }
            done.extend_from_slice(name);
            here = match open_dir(&here, name) {
                Err(Errno::ENOENT) => self.make_one(&here, name, &done, parent, links)?,
                // A link, or a whiteout, which makes way.
                Err(Errno::ENOTDIR | Errno::ELOOP) => match self.find(&done) {
                    Err(Errno::ENOENT | Errno::ENOTDIR) => {
                        self.make_one(&here, name, &done, parent, links)?
                    }
                    other => other.during("open directory", shown(&done))?,
                },
                other => other.during("open directory", shown(&done))?,
            };
        }
        Ok(here)
    }

    /// Makes the directory `name` in `here`, or, if that is a link, what it points to.
    fn make_one(
        &self,
        here: &File,
        name: &[u8],
        done: &[u8],
        parent: usize,
        links: u32,
    ) -> Result<File, UnpackError> {
        self.budget.entry(done)?;
        if let Some(made) = self.make_plain(here, name).during("make directory", shown(done))? {
            return Ok(made);
        }
        let target = readlinkat(here, name).during("read link", shown(done))?;
        let target = joined(&done[..parent], target.as_bytes());
        if links == 0 || target.len() > PATH_MAX {
            return Err(Errno::ELOOP).during("follow link", shown(done))?;
        }
        self.make(&target, links - 1)
    }

    /// Makes a directory that the archive has not told of: mode 0755, root's, of 1970, so that the
    /// same layer always gives the same tree. None if a link has this name.
    fn make_plain(&self, parent: &File, name: &[u8]) -> Result<Option<File>, Errno> {
        let time = mtime(parent)?;
        let mut opaque = false;
        loop {
            match mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) => break,
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
            let stat = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            match kind(stat.st_mode) {
                SFlag::S_IFLNK => return Ok(None),
                SFlag::S_IFCHR if stat.st_rdev == 0 => {
                    unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)?;
                    opaque = true;
                }
                _ => return Err(Errno::ENOTDIR),
            }
        }
        let dir = open_dir(parent, name)?;
        fchmod(&dir, Mode::from_bits_truncate(0o755))?;
        if opaque {
            set_opaque(&dir, self.opaque_key, "").map_err(|error| error.errno)?;
        }
        futimens(&dir, &TimeSpec::new(0, 0), &TimeSpec::new(0, 0))?;
        futimens(parent, &TimeSpec::UTIME_OMIT, &time)?;
        Ok(Some(dir))
    }
}

/// The kind of file in a mode.
pub(crate) fn kind(mode: nix::libc::mode_t) -> SFlag {
    SFlag::from_bits_truncate(mode) & SFlag::S_IFMT
}

fn mtime(dir: &File) -> Result<TimeSpec, Errno> {
    fstat(dir).map(|stat| TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec))
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// The target of a link in `parent`, as a path from the root without `.` and `..`.
fn joined(parent: &[u8], target: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let start = if target.starts_with(b"/") { &b""[..] } else { parent };
    for part in start.split(|byte| *byte == b'/').chain(target.split(|byte| *byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn targets_of_links_stay_inside() {
        for (parent, target, expected) in [
            ("a/b", "c", "a/b/c"),
            ("a/b", "../c", "a/c"),
            ("a", "/x/./y", "x/y"),
            ("a", "../../../etc", "etc"),
            ("", "..", ""),
        ] {
            assert_eq!(joined(parent.as_bytes(), target.as_bytes()), expected.as_bytes());
        }
    }
}
