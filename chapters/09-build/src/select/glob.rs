//! From a source to the files and directories it names.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use syscalls::During;

use super::hint;
use crate::file_error::FileError;
use crate::ignore::Ignore;
use crate::names::{Shown, from_root, joined, shown, split};
use crate::pattern::Pattern;
use crate::place::{Place, follow, kind};
use crate::select::walk;

/// What a source names.
pub(super) struct Named {
    /// Its name, as asked for.
    pub(super) name: Vec<u8>,
    /// Where it is, links followed.
    pub(super) place: Place,
}

/// Whether a source is a pattern. A backslash takes the meaning from what follows.
pub(super) fn has_wildcards(source: &[u8]) -> bool {
    let mut bytes = source.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    false
}

/// Finds what a source names. Up to the first name with a wildcard the path is followed as it is;
/// from there on names are compared, and a link is no directory.
pub(super) fn expand(
    root: BorrowedFd<'_>,
    ignore: &Ignore,
    source: &[u8],
) -> Result<Vec<Named>, FileError> {
    let path = from_root(source);
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let Some(first) = parts.iter().position(|part| has_wildcards(part)) else {
        return match find(root, ignore, &path)? {
            Some(place) => Ok(vec![Named { name: split(&path).1.to_vec(), place }]),
            None => Err(hint::not_found(root, ignore, &path, &shown(source))),
        };
    };
    let patterns =
        parts[first..].iter().map(|part| Pattern::name(part)).collect::<Result<Vec<_>, _>>()?;
    let Some(start) = find(root, ignore, &parts[..first].join(&b'/'))? else {
        return Ok(Vec::new());
    };
    if kind(&start.stat) != SFlag::S_IFDIR {
        return Ok(Vec::new());
    }
    let mut found = vec![start.path];
    for (at, pattern) in patterns.iter().enumerate() {
        let last = at + 1 == patterns.len();
        found = matching(root, ignore, &found, pattern, last)?;
    }
    let mut named = Vec::new();
    for path in found {
        match find(root, ignore, &path)? {
            Some(place) => named.push(Named { name: split(&path).1.to_vec(), place }),
            // A link that leads nowhere, or to what is excluded.
            None => return Err(hint::not_found(root, ignore, &path, &shown(source))),
        }
    }
    Ok(named)
}

/// The names in some directories that a pattern matches; directories only, unless it is the last
/// pattern.
fn matching(
    root: BorrowedFd<'_>,
    ignore: &Ignore,
    directories: &[Vec<u8>],
    pattern: &Pattern,
    last: bool,
) -> Result<Vec<Vec<u8>>, FileError> {
    let mut found = Vec::new();
    for directory in directories {
        for (name, stat) in walk::list(root, directory)? {
            let is_directory = kind(&stat) == SFlag::S_IFDIR;
            if !(last || is_directory) || !pattern.matches(&name) {
                continue;
            }
            let path = joined(directory, &name);
            let shown = !ignore.judge_path(&path).excluded;
            // Whether something in an excluded directory is brought back is seen when one gets
            // there.
            if shown
                || is_directory && !last && ignore.may_hold(&path)
                || is_directory && last && walk::holds_anything(root, ignore, &path)?
            {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Follows a path. None if it is not there for a `COPY`.
fn find(root: BorrowedFd<'_>, ignore: &Ignore, path: &[u8]) -> Result<Option<Place>, FileError> {
    let place = match follow(root, path) {
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
        other => other.during("find", Shown(path))?,
    };
    if place.links.iter().any(|link| ignore.judge_path(link).excluded) {
        return Ok(None);
    }
    let is_directory = kind(&place.stat) == SFlag::S_IFDIR;
    let hidden = ignore.judge_path(&place.path).excluded
        && !(is_directory && walk::holds_anything(root, ignore, &place.path)?);
    Ok((!hidden).then_some(place))
}
