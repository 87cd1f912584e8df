//! Where the copied files land.

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use syscalls::During;

use super::Target;
use super::writer::Writer;
use crate::file_error::FileError;
use crate::names::{Shown, joined, shown, split};
use crate::place::{follow_making, kind};

/// What is at the target, by its real path from the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Landing {
    /// A directory.
    Directory(Vec<u8>),
    /// Something else: its directory and its name.
    Other(Vec<u8>, Vec<u8>),
    /// Nothing yet, in a directory that is there.
    Missing(Vec<u8>, Vec<u8>),
}

/// Whether a target has to be a directory by the way it is written.
pub(super) fn asks_for_directory(path: &[u8]) -> bool {
    matches!(split(path).1, b"" | b"." | b"..")
}

/// Finds the target, and makes the directories that lead to it.
pub(super) fn land(target: &Target<'_>, writer: &mut Writer<'_>) -> Result<Landing, FileError> {
    let directory = asks_for_directory(target.path);
    let mut missing = None;
    let mut failure = None;
    // `..` is taken away before anything is looked up, as Docker does.
    let path = crate::names::from_root(target.path);
    let place = follow_making(target.root, &path, &mut |parent, name, is_last| {
        if is_last && !directory {
            missing = Some(Landing::Missing(parent.to_vec(), name.to_vec()));
            return Err(Errno::ENOENT);
        }
        writer.make_directory(&joined(parent, name)).map_err(|error| {
            failure = Some(error);
            Errno::ECANCELED
        })
    });
    match (place, missing, failure) {
        (_, _, Some(failure)) => Err(failure),
        (Err(Errno::ENOENT), Some(missing), _) => Ok(missing),
        (Err(Errno::ENOTDIR), ..) => Err(no_directory(&path)),
        (Ok(place), ..) if kind(&place.stat) == SFlag::S_IFDIR => {
            Ok(Landing::Directory(place.path))
        }
        (Ok(_), ..) if directory => Err(no_directory(&path)),
        (Ok(place), ..) => {
            let (parent, name) = split(&place.path);
            Ok(Landing::Other(parent.to_vec(), name.to_vec()))
        }
        (Err(errno), ..) => Err(errno).during("find target", Shown(&path))?,
    }
}

fn no_directory(path: &[u8]) -> FileError {
    FileError::Kind {
        what: "copy to non-directory",
        path: shown(path),
        hint: "something in this path is a file; remove it in a step before, or choose another target",
    }
}
