//! Owner, mode and times that copied files get: the source's, or what the instruction says.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use syscalls::{During, KernelError};
use xattr::FileExt;

use crate::chmod::Chmod;
use crate::names::Shown;
use crate::select::{Entry, Kind};

/// What an instruction says about the files that it makes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Whose they are.
    pub owner: Owner,
    /// `--chmod`.
    pub chmod: Option<Chmod>,
    /// Their times of modification.
    pub times: Times,
}

/// Whose the files are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Owner {
    /// The source's, as it comes from another stage. Directories that have to be made are root's.
    Keep,
    /// This user's and group's: `--chown`.
    Set {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// Root's, as everything from the context.
    #[default]
    Root,
}

/// When files were modified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Times {
    /// When the source was.
    #[default]
    Keep,
    /// So, but not later than this: `SOURCE_DATE_EPOCH`, in seconds since 1970.
    ClampTo(i64),
}

impl Attributes {
    /// The mode that an entry gets. Links have none.
    pub fn mode(&self, mode: u32, is_directory: bool) -> u32 {
        self.chmod.as_ref().map_or(mode, |chmod| chmod.apply(mode, is_directory))
    }

    pub(crate) fn mode_of(&self, entry: &Entry) -> u32 {
        match entry.kind {
            Kind::Symlink(_) => 0o777,
            _ => self.mode(entry.mode, entry.kind == Kind::Directory),
        }
    }
}

impl Owner {
    /// The user and group that a file gets whose source has these.
    pub fn of(self, uid: u32, gid: u32) -> (u32, u32) {
        match self {
            Self::Keep => (uid, gid),
            Self::Set { uid, gid } => (uid, gid),
            Self::Root => (0, 0),
        }
    }

    /// The user and group of what has no source.
    pub(crate) fn for_made(self) -> (u32, u32) {
        self.of(0, 0)
    }
}

impl Times {
    pub(crate) fn of(self, (seconds, nanoseconds): (i64, i64)) -> TimeSpec {
        match self {
            Self::ClampTo(latest) if (seconds, nanoseconds) > (latest, 0) => {
                TimeSpec::new(latest, 0)
            }
            _ => TimeSpec::new(seconds, nanoseconds),
        }
    }
}

/// Extended attributes that belong to a file's content and go into an image: what the program may
/// do, and what users have noted. Not: labels of this machine (`security.selinux`), and what
/// overlay keeps for itself.
fn is_copied(name: &[u8]) -> bool {
    name == b"security.capability"
        || name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
}

/// The extended attributes of an open file or directory that are copied, by name.
pub(crate) fn xattrs(file: &File, path: &[u8]) -> Result<Vec<(OsString, Vec<u8>)>, KernelError> {
    let names = match file.list_xattr() {
        Err(error) if is(&error, Errno::ENOTSUP) => return Ok(Vec::new()),
        other => other.during("list attributes", Shown(path))?,
    };
    let mut names: Vec<OsString> = names.filter(|name| is_copied(name.as_bytes())).collect();
    names.sort_unstable();
    let mut found = Vec::new();
    for name in names {
        if let Some(value) = file.get_xattr(&name).during("read attribute", Shown(path))? {
            found.push((name, value));
        }
    }
    Ok(found)
}

/// Gives a file the extended attributes of its source.
pub(crate) fn set_xattrs(
    file: &File,
    attributes: &[(OsString, Vec<u8>)],
    path: &[u8],
) -> Result<(), KernelError> {
    for (name, value) in attributes {
        match file.set_xattr(name, value) {
            // The file system has none of this kind; Docker goes on without them too.
            Err(error) if is(&error, Errno::ENOTSUP) => {}
            other => other.during("set attribute", Shown(path))?,
        }
    }
    Ok(())
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}
