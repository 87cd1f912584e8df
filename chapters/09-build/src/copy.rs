//! Puts what was selected into an image's tree.
//!
//! The tree is one open directory, the merged root of the step's overlay; all that happens stays
//! below it. Where things land is BuildKit's rule:
//!
//! | source    | target                      | result                                            |
//! |-----------|-----------------------------|---------------------------------------------------|
//! | file      | a directory, or ends in `/` | a file of the source's name in it                 |
//! | file      | a file                      | is replaced: a new file, not the old one written  |
//! | file      | nothing                     | the file gets this name                           |
//! | directory | a directory                 | what is in it lands there; names that are there   |
//! |           |                             | are replaced, directories get the source's mode   |
//! | directory | nothing                     | the same, in a new directory                      |
//! | directory | a file                      | an error                                          |
//! | several   | must be a directory or end in `/` | each for itself                             |
//!
//! A link that is the target, or on the way to it, is followed inside the root. A link that stands
//! where a copied file goes is replaced, and one where a copied *directory* goes is an error: to
//! follow it would put files where nobody wrote them. A file never takes the place of a directory.
//!
//! Directories that are missing are made 0755, whatever the source's mode or `--chmod` say; they
//! belong to root or to `--chown`'s user. A target that is there keeps its owner and mode.
//!
//! Copied are contents (holes stay holes), modes with set-id bits, owners, times to the nanosecond,
//! links as links, hard links as hard links, devices and pipes, and `user.*` and
//! `security.capability` attributes.

mod data;
mod target;
mod writer;

use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;

use nix::sys::stat::SFlag;
use syscalls::During;

use crate::attributes::Attributes;
use crate::file_error::FileError;
use crate::names::{Shown, from_root, joined, shown};
use crate::place::{follow, kind, open_dir};
use crate::select::Selection;

use target::{Landing, land};
use writer::Writer;

/// Where a `COPY` or `ADD` goes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The root of the image's tree, as the step sees it.
    pub root: BorrowedFd<'a>,
    /// From that root; a relative path has been put behind the working directory. A `/` or `.` at
    /// the end asks for a directory.
    pub path: &'a [u8],
    /// `COPY` or `ADD`, for messages.
    pub instruction: &'static str,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Regular files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// A source that changed after it was selected: the copy may not be what the digest says, and
    /// should not be kept for the next build.
    pub changed: Option<String>,
}

/// A file that the builder makes itself: a heredoc, a download.
pub struct Made<'a> {
    /// Its name in a directory.
    pub name: &'a [u8],
    /// Its content.
    pub content: &'a mut dyn Read,
    /// Its mode, which `--chmod` may change: 0644, 0600 for a download.
    pub mode: u32,
    /// When it was modified: seconds since 1970 and nanoseconds.
    pub mtime: (i64, i64),
}

/// Copies a selection from the root in which it was found.
///
/// # Errors [`FileError::ManyToOne`], [`FileError::Kind`], [`FileError::Changed`]; the kernel's,
/// with the file's name. The tree then holds part of the copy.
pub fn copy(
    from: BorrowedFd<'_>,
    selection: &Selection,
    target: &Target<'_>,
    attributes: &Attributes,
) -> Result<Copied, FileError> {
    let mut writer = Writer::new(from, target.root, attributes);
    let mut landing = land(target, &mut writer)?;
    let several = selection.tops.len() > 1 && selection.tops.iter().any(|top| !top.is_directory);
    if several && !matches!(landing, Landing::Directory(_)) {
        return Err(many_to_one(target));
    }
    for top in &selection.tops {
        if top.is_directory
            && let Landing::Missing(parent, name) = &landing
        {
            let path = joined(parent, name);
            writer.make_directory(&path)?;
            landing = Landing::Directory(path);
        }
        match (&landing, top.is_directory) {
            (Landing::Directory(path), _) => {
                for entry in &top.entries {
                    writer.entry(entry, &joined(path, &entry.path), selection.parents)?;
                }
            }
            (Landing::Other(parent, name), true) => {
                return Err(FileError::Kind {
                    what: "copy to non-directory",
                    path: shown(&joined(parent, name)),
                    hint: "the source is a directory, and its contents need one to go to",
                });
            }
            (Landing::Other(parent, name) | Landing::Missing(parent, name), _) => {
                for entry in &top.entries {
                    writer.entry(entry, &joined(parent, name), selection.parents)?;
                }
            }
        }
    }
    writer.finish()
}

/// Writes a file that the builder makes itself, by the same rules as a copied one.
///
/// # Errors
/// As [`copy`]; those of the reader.
pub fn write(
    made: Made<'_>,
    target: &Target<'_>,
    attributes: &Attributes,
) -> Result<Copied, FileError> {
    let mut writer = Writer::new(target.root, target.root, attributes);
    let path = match land(target, &mut writer)? {
        Landing::Directory(path) => joined(&path, made.name),
        Landing::Other(parent, name) | Landing::Missing(parent, name) => joined(&parent, &name),
    };
    writer.made(made, &path)?;
    writer.finish()
}

/// Makes a directory and those above it, as for a target that ends in `/`: for `WORKDIR`, or to
/// unpack an archive. It is opened for reading.
///
/// # Errors
/// As [`copy`].
pub fn make_directory(target: &Target<'_>, attributes: &Attributes) -> Result<File, FileError> {
    let mut writer = Writer::new(target.root, target.root, attributes);
    let with_slash = [target.path, b"/"].concat();
    let landing = land(&Target { path: &with_slash, ..*target }, &mut writer)?;
    writer.finish()?;
    let (Landing::Directory(path) | Landing::Other(path, _) | Landing::Missing(path, _)) = landing;
    Ok(File::from(open_dir(target.root, &path).during("open directory", Shown(&path))?))
}

/// Several sources, heredocs and downloads included, need a target that is a directory or is
/// written as one. Docker's manual asks for a `/` at the end; BuildKit also takes a directory that
/// is there, and so does this.
///
/// # Errors
/// [`FileError::ManyToOne`].
pub fn check_many(sources: usize, target: &Target<'_>) -> Result<(), FileError> {
    if sources < 2 || target::asks_for_directory(target.path) {
        return Ok(());
    }
    match follow(target.root, &from_root(target.path)) {
        Ok(place) if kind(&place.stat) == SFlag::S_IFDIR => Ok(()),
        _ => Err(many_to_one(target)),
    }
}

fn many_to_one(target: &Target<'_>) -> FileError {
    FileError::ManyToOne { instruction: target.instruction, target: shown(target.path) }
}
