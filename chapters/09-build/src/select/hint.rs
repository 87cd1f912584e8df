//! What a user may have meant by a source that is not there.

use std::os::fd::BorrowedFd;

use crate::file_error::FileError;
use crate::ignore::Ignore;
use crate::names::{from_root, joined, shown, split};
use crate::place::follow;
use crate::select::walk;

/// The error for a path from the root that is not there for a `COPY`; `source` is as the user wrote
/// it.
pub(super) fn not_found(
    root: BorrowedFd<'_>,
    ignore: &Ignore,
    path: &[u8],
    source: &str,
) -> FileError {
    let hint = excluded(root, ignore, path)
        .or_else(|| outside(source))
        .or_else(|| dangling(root, path))
        .or_else(|| similar(root, ignore, path))
        .unwrap_or_default();
    FileError::NotFound { path: shown(path), hint }
}

/// It is there, but `.dockerignore` hides it, or what its link leads to.
fn excluded(root: BorrowedFd<'_>, ignore: &Ignore, path: &[u8]) -> Option<String> {
    let place = follow(root, path).ok()?;
    let mut names = place.links.iter().chain([&place.path]);
    let (name, rule) = names.find_map(|name| Some((name, ignore.excluded_by(name)?)))?;
    let (name, file, line, pattern) = (shown(name), ignore.file(), rule.line, &rule.pattern);
    Some(format!(
        "`{name}` is excluded by line {line} of {file}: `{pattern}`; a line `!{name}` after it brings it back"
    ))
}

fn outside(source: &str) -> Option<String> {
    let cleaned = crate::names::clean(source.as_bytes());
    (cleaned.starts_with(b"../") || cleaned == b"..").then(|| {
        "a build sees only what is in its context; build with a folder further up and `-f`"
            .to_owned()
    })
}

fn dangling(root: BorrowedFd<'_>, path: &[u8]) -> Option<String> {
    let (parent, name) = split(path);
    let parent = follow(root, parent).ok()?.path;
    let (_, stat) = walk::list(root, &parent).ok()?.into_iter().find(|(each, _)| each == name)?;
    (crate::place::kind(&stat) == nix::sys::stat::SFlag::S_IFLNK).then(|| {
        "it is a link that leads nowhere: links are followed inside the context only".to_owned()
    })
}

/// The nearest name in the nearest directory that is there.
fn similar(root: BorrowedFd<'_>, ignore: &Ignore, path: &[u8]) -> Option<String> {
    let path = from_root(path);
    let mut directory = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        let next = joined(&directory, part);
        if follow(root, &next).is_ok() {
            directory = next;
            continue;
        }
        let real = follow(root, &directory).ok()?.path;
        let names = walk::list(root, &real).ok()?;
        let wanted = shown(part);
        let best = names
            .iter()
            .filter(|(name, _)| !ignore.judge_path(&joined(&real, name)).excluded)
            .map(|(name, _)| {
                (strsim::osa_distance(&wanted.to_lowercase(), &shown(name).to_lowercase()), name)
            })
            .min_by_key(|(distance, _)| *distance)?;
        let near = best.0 <= 1.max(wanted.chars().count() / 3);
        return near.then(|| format!("did you mean `{}`?", shown(&joined(&directory, best.1))));
    }
    None
}
