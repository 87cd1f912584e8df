//! What `ADD` does and `COPY` does not: archives are unpacked, URLs downloaded, repositories fetched.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use build::attributes::Attributes;
use build::copy::{Made, Target};
use build::digest::{Content, digest};
use build::hash::{Digest, Hasher};
use build::ignore::Ignore;
use build::select::{self, Kind, Selection};

use crate::build::aside::Aside;
use crate::build::context::Repository;
use crate::build::stage::Worker;
use crate::engine::open_dir;
use crate::failure::Failure;

/// Whether a source of `ADD` is not a path.
pub(super) fn is_remote(source: &str) -> bool {
    is_url(source) || Repository::parse(source).is_some()
}

/// Whether it is downloaded.
pub(in crate::build) fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// What was downloaded, in a file or folder of its own.
pub(super) enum Fetched {
    File { name: String, file: File, digest: Digest, modified: i64, url: String },
    Repository { selection: Selection, root: OwnedFd, _folder: Aside },
}

/// Downloads.
///
/// # Errors
/// If it cannot be had, or is not what `checksum` says.
pub(super) fn fetch(
    worker: &Worker<'_>,
    source: &str,
    checksum: Option<&str>,
    keep_git: bool,
) -> Result<Fetched> {
    let aside = Aside::new(worker.engine)?;
    if let Some(repository) = Repository::parse(source) {
        if checksum.is_some() {
            return Err(Failure::new("--checksum of a repository is not supported")
                .hint("name the commit: https://example.org/app.git#<40 hex digits>")
                .into());
        }
        let folder = repository.fetch(&aside)?;
        let root = open_dir(&folder)?;
        let exclude = if keep_git { vec![] } else { vec![".git".to_owned()] };
        let sources = ["/".to_owned()];
        let request = select::Request { sources: &sources, exclude: &exclude, parents: false };
        let selection = select::select(root.as_fd(), &Ignore::default(), &request)?;
        return Ok(Fetched::Repository { selection, root, _folder: aside });
    }
    let mut remote = worker.engine.settings()?.client().download(source)?;
    let path = aside.path().join("download");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    let mut hash = Hasher::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        let length = remote.body.read(&mut buffer).with_context(|| format!("download {source}"))?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
        file.write_all(&buffer[..length]).with_context(|| format!("download {source}"))?;
    }
    let digest = hash.finish();
    if let Some(expected) = checksum
        && expected != digest.to_string()
    {
        return Err(Failure::new(format!("{source}: it is {digest}, --checksum says {expected}"))
            .hint("somebody has changed the file, or the checksum is of another one")
            .into());
    }
    let of_url = || {
        let path = source.split(['?', '#']).next().unwrap_or_default();
        let (_, path) = path.split_once("://").unwrap_or_default();
        let name = path.split_once('/').and_then(|(_, path)| path.rsplit('/').next());
        name.filter(|name| !name.is_empty()).map(str::to_owned)
    };
    let name = remote.name.take().or_else(of_url).ok_or_else(|| {
        Failure::new(format!("cannot determine filename from url: {source}"))
            .hint("give the target a name of its own, without a slash at its end")
    })?;
    let modified = remote.modified.map_or(0, |time| time.as_second());
    Ok(Fetched::File { name, file, digest, modified, url: source.to_owned() })
}

impl Fetched {
    /// What it holds.
    pub(super) fn content(&self, attributes: &Attributes) -> Result<Content> {
        match self {
            Self::File { name, digest, url, .. } => {
                let text = format!("{name} {digest} {:?} {:?}", attributes.owner, attributes.chmod);
                let digest = Digest::of(text.as_bytes());
                Ok(Content { digest, entries: [(url.clone(), digest.short(16))].into() })
            }
            Self::Repository { selection, root, .. } => {
                Ok(digest(root.as_fd(), selection, attributes, None)?)
            }
        }
    }

    /// Writes it to the target.
    pub(super) fn place(
        &self,
        worker: &Worker<'_>,
        target: &Target<'_>,
        attributes: &Attributes,
        unpacks: bool,
    ) -> Result<()> {
        match self {
            Self::File { name, file, modified, .. } => {
                let mut file = file.try_clone()?;
                file.seek(SeekFrom::Start(0))?;
                if unpacks && is_archive(&mut file)? {
                    return unpack(worker, file, target, attributes);
                }
                let (mode, mtime) = (0o600, (*modified, 0));
                let made = Made { name: name.as_bytes(), content: &mut file, mode, mtime };
                build::copy::write(made, target, attributes)?;
            }
            Self::Repository { selection, root, .. } => {
                build::copy::copy(root.as_fd(), selection, target, attributes)?;
            }
        }
        Ok(())
    }
}

/// Takes the archives out of a selection: regular files that were named, not those in a directory.
///
/// # Errors
/// If a file cannot be read.
pub(super) fn archives(
    root: BorrowedFd<'_>,
    selection: &Selection,
) -> Result<(Vec<File>, Selection)> {
    let (mut archives, mut plain) = (Vec::new(), selection.clone());
    let mut tops = Vec::new();
    for top in plain.tops {
        let entry = top.entries.first().filter(|_| !top.is_directory);
        if let Some(entry) = entry.filter(|entry| entry.kind == Kind::File) {
            let mut file = entry.open(root)?;
            if is_archive(&mut file)? {
                archives.push(file);
                continue;
            }
        }
        tops.push(top);
    }
    plain.tops = tops;
    Ok((archives, plain))
}

/// A tar, compressed or not: told by its bytes, as in Docker, not by its name. The file is read from its beginning
/// afterwards.
fn is_archive(file: &mut File) -> Result<bool> {
    let mut head = Vec::new();
    let compressed = file.try_clone()?;
    file.seek(SeekFrom::Start(0))?;
    // A compressed file that holds no tar is a file like any other.
    if let Ok(tar) = images::decompress("archive", compressed) {
        tar.take(512).read_to_end(&mut head).ok();
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(head.len() == 512 && has_checksum(&head))
}

/// The sum of a header's bytes, its own field as blanks, is in the field (tar(5)).
fn has_checksum(header: &[u8]) -> bool {
    let digits = String::from_utf8_lossy(&header[148..156]);
    let digits = digits.trim_matches(['\0', ' ']);
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
        .sum();
    u64::from_str_radix(digits, 8) == Ok(sum)
}

/// Unpacks an archive into the target, which becomes a directory.
///
/// # Errors
/// If it is broken, or cannot be written.
pub(super) fn unpack(
    worker: &Worker<'_>,
    file: File,
    target: &Target<'_>,
    attributes: &Attributes,
) -> Result<()> {
    let directory = build::copy::make_directory(target, attributes)?;
    let tar = images::decompress("archive", file)?;
    layers::extract(tar, directory.as_fd(), &crate::image::room(worker.engine)?)
        .context("unpack an archive")?;
    Ok(())
}
