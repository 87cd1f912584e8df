//! From a directory to everything in it that is copied.
//!
//! Nothing recurses, and one directory is open at a time: a context can nest deeper than any stack
//! or descriptor table goes. Links are never followed, so there are no loops.

use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use syscalls::During;

use super::glob::Named;
use super::{Entry, Kind, Selection, Top};
use crate::file_error::FileError;
use crate::ignore::{Ignore, Verdict};
use crate::names::{Shown, is_below, joined, shown};
use crate::pattern::Pattern;
use crate::place::{kind, open_dir};

/// A walk through one source.
pub(super) struct Walk<'a> {
    pub(super) root: BorrowedFd<'a>,
    /// Counts for paths from the root.
    pub(super) ignore: &'a Ignore,
    /// Counts for paths from the source.
    pub(super) exclude: &'a Ignore,
    /// If there is one, only what it matches is taken, and what is below that; counts for paths
    /// from the source.
    pub(super) include: Option<&'a Pattern>,
}

/// What has been seen and not yet entered.
struct Seen {
    entry: Entry,
    ignored: Verdict,
    excluded: Verdict,
    included: bool,
}

impl Seen {
    /// Whether it is copied for its own sake.
    fn wanted(&self) -> bool {
        !self.ignored.excluded && !self.excluded.excluded && self.included
    }
}

impl Walk<'_> {
    /// Adds a source to the selection.
    pub(super) fn top(&self, named: &Named, selection: &mut Selection) -> Result<(), FileError> {
        let (place, name) = (&named.place, named.name.clone());
        let source = place.path.clone();
        let is_directory = kind(&place.stat) == SFlag::S_IFDIR;
        let entries = if is_directory {
            self.below(&source, selection)?
        } else {
            let excluded = self.exclude.judge_path(&name).excluded;
            match kind_of(&place.stat, None) {
                _ if excluded || self.include.is_some() => return Ok(()),
                None => {
                    selection.skipped_sockets += 1;
                    return Ok(());
                }
                Some(kind) => vec![Entry::of(&place.stat, name.clone(), source.clone(), kind)],
            }
        };
        selection.tops.push(Top { name, source, is_directory, entries });
        Ok(())
    }

    /// Everything below a directory.
    fn below(&self, directory: &[u8], selection: &mut Selection) -> Result<Vec<Entry>, FileError> {
        let mut kept = Vec::new();
        let ignored = self.ignore.judge_path(directory);
        let included = self.include.is_none();
        let mut todo =
            self.children(directory, b"", (&ignored, &Verdict::default(), included), selection)?;
        todo.reverse();
        while let Some(mut seen) = todo.pop() {
            let wanted = seen.wanted();
            if seen.entry.kind == Kind::Directory {
                if !self.worth_entering(&seen) {
                    continue;
                }
                let state = (&seen.ignored, &seen.excluded, seen.included);
                let (source, path) = (&seen.entry.source, &seen.entry.path);
                let children = self.children(source, path, state, selection)?;
                todo.extend(children.into_iter().rev());
                seen.entry.implied = seen.excluded.excluded || !seen.included;
            } else if !wanted {
                continue;
            }
            kept.push((seen.entry, wanted));
        }
        Ok(with_their_parents(kept))
    }

    /// Whether anything in a directory can be copied.
    fn worth_entering(&self, seen: &Seen) -> bool {
        let below = |ignore: &Ignore, verdict: &Verdict, path: &[u8]| {
            !verdict.excluded || ignore.may_hold(path)
        };
        below(self.ignore, &seen.ignored, &seen.entry.source)
            && below(self.exclude, &seen.excluded, &seen.entry.path)
            && (seen.included
                || self.include.is_some_and(|include| include.may_match_below(&seen.entry.path)))
    }

    /// What is in a directory, in the order of names.
    fn children(
        &self,
        source: &[u8],
        path: &[u8],
        (ignored, excluded, included): (&Verdict, &Verdict, bool),
        selection: &mut Selection,
    ) -> Result<Vec<Seen>, FileError> {
        let dir = open_dir(self.root, source).during("open directory", Shown(source))?;
        let mut children = Vec::new();
        for (name, stat) in names(&dir, source)? {
            let (source, path) = (joined(source, &name), joined(path, &name));
            let ignored = self.ignore.judge(ignored, &source);
            let excluded = self.exclude.judge(excluded, &path);
            let included = included || self.include.is_some_and(|include| include.matches(&path));
            let target = match kind(&stat) {
                SFlag::S_IFLNK => match readlinkat(&dir, &name[..]) {
                    Err(Errno::ENOENT | Errno::EINVAL) => {
                        return Err(FileError::Changed { path: shown(&source) });
                    }
                    other => Some(other.during("read link", Shown(&source))?.into_vec()),
                },
                _ => None,
            };
            let Some(kind) = kind_of(&stat, target) else {
                selection.skipped_sockets += 1;
                continue;
            };
            let entry = Entry::of(&stat, path, source, kind);
            children.push(Seen { entry, ignored, excluded, included });
        }
        Ok(children)
    }
}

/// None for a socket.
fn kind_of(stat: &FileStat, target: Option<Vec<u8>>) -> Option<Kind> {
    Some(match (kind(stat), target) {
        (SFlag::S_IFDIR, _) => Kind::Directory,
        (SFlag::S_IFREG, _) => Kind::File,
        (SFlag::S_IFLNK, Some(target)) => Kind::Symlink(target),
        (flag @ (SFlag::S_IFCHR | SFlag::S_IFBLK), _) => Kind::Device(flag, stat.st_rdev),
        (SFlag::S_IFIFO, _) => Kind::Fifo,
        _ => return None,
    })
}

/// Keeps what is wanted, and of the rest the directories that hold something that is wanted. In the
/// list everything in a directory follows it at once, so the next name that stays tells.
fn with_their_parents(seen: Vec<(Entry, bool)>) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::with_capacity(seen.len());
    for (entry, wanted) in seen.into_iter().rev() {
        if wanted || kept.last().is_some_and(|next| is_below(&next.path, &entry.path)) {
            kept.push(entry);
        }
    }
    kept.reverse();
    kept
}

/// Whether anything in an excluded directory is brought back.
pub(super) fn holds_anything(
    root: BorrowedFd<'_>,
    ignore: &Ignore,
    directory: &[u8],
) -> Result<bool, FileError> {
    let mut todo = vec![(directory.to_vec(), ignore.judge_path(directory))];
    while let Some((directory, verdict)) = todo.pop() {
        if !ignore.may_hold(&directory) {
            continue;
        }
        for (name, stat) in list(root, &directory)? {
            let path = joined(&directory, &name);
            let verdict = ignore.judge(&verdict, &path);
            if !verdict.excluded {
                return Ok(true);
            }
            if kind(&stat) == SFlag::S_IFDIR {
                todo.push((path, verdict));
            }
        }
    }
    Ok(false)
}

/// The names in a real directory and what they are, in order.
pub(super) fn list(
    root: BorrowedFd<'_>,
    directory: &[u8],
) -> Result<Vec<(Vec<u8>, FileStat)>, FileError> {
    let dir = open_dir(root, directory).during("open directory", Shown(directory))?;
    names(&dir, directory)
}

fn names(dir: &std::os::fd::OwnedFd, path: &[u8]) -> Result<Vec<(Vec<u8>, FileStat)>, FileError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    // A descriptor of its own, since the list closes the one it reads.
    let again = openat(dir, c".", flags, Mode::empty()).during("open directory", Shown(path))?;
    let mut stream = Dir::from_fd(again).during("read directory", Shown(path))?;
    let mut found = Vec::new();
    for entry in stream.iter() {
        let entry = entry.during("read directory", Shown(path))?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            // Removed since.
            Err(Errno::ENOENT) => {}
            stat => found.push((name.to_vec(), stat.during("read attributes", Shown(name))?)),
        }
    }
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}
