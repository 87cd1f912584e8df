//! The files of an archive or a folder, by their names. Nothing is ever unpacked by a name that stands in an archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use syscalls::{During, KernelError, inroot};

use crate::digest::Digest;
use crate::document::{self, Descriptor};
use crate::error::Error;
use crate::load::Source;
use crate::reference::Reference;
use crate::spool::{Spool, Stored, read_document};
use crate::store::Arrival;
use crate::stream::{Compression, decompress};

/// An image archive has a handful of files for each layer; with more it is something else, a root file system.
const MAX_ENTRIES: usize = 10_000;
/// Links to links in an archive.
const MAX_LINKS: usize = 8;

/// The files of an archive or folder by their names.
pub(crate) struct Files<'s> {
    pub(crate) spool: &'s Spool,
    origin: Origin,
}

enum Origin {
    Dir(OwnedFd),
    Tar(BTreeMap<String, Member>),
}

enum Member {
    File(Stored),
    Link(String),
}

impl<'s> Files<'s> {
    pub(crate) fn read(spool: &'s Spool, source: Source) -> Result<Self, Error> {
        let origin = match source {
            Source::Dir(path) => {
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                let opened = open(&path, flags, Mode::empty());
                Origin::Dir(opened.during("open folder", path.display())?)
            }
            Source::Tar(reader) => Origin::Tar(read_tar(spool, reader)?),
        };
        Ok(Self { spool, origin })
    }

    /// A file's content in the spool; None if there is no such file.
    pub(crate) fn stored(&mut self, path: &str) -> Result<Option<Stored>, Error> {
        match &self.origin {
            Origin::Tar(members) => follow(members, path),
            Origin::Dir(_) => match self.open(path)? {
                Some(mut file) => Ok(Some(self.spool.store(path, &mut file)?)),
                None => Ok(None),
            },
        }
    }

    /// A small file's content.
    pub(crate) fn document(&mut self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.open(path)? {
            Some(file) => read_document(path, file).map(Some),
            None => Ok(None),
        }
    }

    fn open(&self, path: &str) -> Result<Option<File>, Error> {
        let root = match &self.origin {
            Origin::Tar(members) => {
                let stored = follow(members, path)?;
                return stored.map(|stored| self.spool.open(&stored.digest)).transpose();
            }
            Origin::Dir(root) => root,
        };
        inside("", path).map_err(|reason| Error::UnsafeEntry { name: path.to_owned(), reason })?;
        // Links are followed inside the folder only; NONBLOCK, so that a FIFO cannot hold us.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        match inroot::open(root.as_fd(), Path::new(path), flags, Mode::empty()) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(KernelError::new("open file", path, errno).into()),
            Ok(fd) => {
                let file = File::from(fd);
                if file.metadata().during("stat", path)?.is_file() {
                    Ok(Some(file))
                } else {
                    Err(Error::UnsafeEntry { name: path.to_owned(), reason: "not a plain file" })
                }
            }
        }
    }

    /// Spools a blob of an image layout and checks that it is what its name says.
    fn blob(&mut self, what: &str, digest: &Digest) -> Result<Stored, Error> {
        // Of a folder, a layer that several images share is copied once; in the spool, names are verified digests.
        if let Ok(known) = self.spool.path(digest).metadata() {
            return Ok(Stored { digest: *digest, size: known.len() });
        }
        let path = format!("blobs/sha256/{}", digest.hex());
        let Some(stored) = self.stored(&path)? else {
            return Err(Error::Missing { what: what.to_owned(), name: digest.to_string() });
        };
        if stored.digest != *digest {
            let (what, expected) = (format!("{what} {digest}"), *digest);
            return Err(Error::WrongDigest { what, expected, actual: stored.digest });
        }
        Ok(stored)
    }

    pub(crate) fn blob_document(
        &mut self,
        what: &str,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, Error> {
        let kind = what.split(' ').next().unwrap_or(what);
        self.blob(kind, &descriptor.digest)?;
        read_document(what, self.spool.open(&descriptor.digest)?)
    }

    /// Checks a manifest of an image layout down to its layers.
    pub(crate) fn arrival(
        &mut self,
        manifest: document::Manifest,
        names: Vec<Reference>,
    ) -> Result<Arrival, Error> {
        for (at, layer) in manifest.layers.iter().enumerate() {
            let what = format!("layer {}", at + 1);
            let stored = self.blob(&what, &layer.digest)?;
            if stored.size != layer.size {
                let what = format!("{what} {}", layer.digest);
                return Err(Error::WrongSize { what, expected: layer.size, actual: stored.size });
            }
        }
        let mut fetch = |what: &str, descriptor: &Descriptor| self.blob_document(what, descriptor);
        let image = document::image(&manifest, &mut fetch)?;
        check_layers(self.spool, &image)?;
        Ok(Arrival { manifest, image, names, origin: None })
    }
}

/// Looks at the first bytes of each layer: it must be readable later, and a plain one is its own diff ID.
pub(crate) fn check_layers(spool: &Spool, image: &crate::Image) -> Result<(), Error> {
    for layer in &image.layers {
        let what = format!("layer {}", layer.digest);
        let digest: Digest = layer.digest.parse().map_err(|error| Error::digest(&what, &error))?;
        let expected: Digest =
            layer.diff_id.parse().map_err(|error| Error::digest(&what, &error))?;
        if compression(spool, &what, &digest)? == Compression::Plain && digest != expected {
            let what = format!("diff ID of {what}");
            return Err(Error::WrongDigest { what, expected, actual: digest });
        }
    }
    Ok(())
}

/// How a spooled layer is compressed.
pub(crate) fn compression(
    spool: &Spool,
    what: &str,
    digest: &Digest,
) -> Result<Compression, Error> {
    let mut head = Vec::with_capacity(6);
    let file = spool.open(digest)?;
    file.take(6).read_to_end(&mut head).map_err(|error| Error::read(what, &error))?;
    Compression::detect(what, &head)
}

/// Spools every file of a tar stream, in whatever order they come.
fn read_tar(spool: &Spool, reader: Box<dyn Read>) -> Result<BTreeMap<String, Member>, Error> {
    const WHAT: &str = "archive";
    let mut archive = tar::Archive::new(decompress(WHAT, reader)?);
    let mut members = BTreeMap::new();
    let read = |error: std::io::Error| Error::read(WHAT, &error);
    for entry in archive.entries().map_err(read)? {
        let mut entry = entry.map_err(read)?;
        let raw = entry.path_bytes().into_owned();
        let name = String::from_utf8_lossy(&raw).into_owned();
        let unsafe_entry = |reason| Error::UnsafeEntry { name: name.clone(), reason };
        use tar::EntryType as Type;
        let kind = entry.header().entry_type();
        if matches!(kind, Type::XGlobalHeader) {
            continue;
        }
        if std::str::from_utf8(&raw).is_err() {
            return Err(unsafe_entry("its name is not UTF-8"));
        }
        let path = inside("", &name).map_err(unsafe_entry)?;
        let member = match kind {
            Type::Directory => continue,
            Type::Regular | Type::Continuous | Type::GNUSparse => {
                Member::File(spool.store(&name, &mut entry)?)
            }
            Type::Symlink | Type::Link => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let target = String::from_utf8_lossy(&target);
                // A hard link names its target from the top of the archive.
                let base = if kind == Type::Symlink { parent(&path) } else { "" };
                Member::Link(
                    inside(base, &target)
                        .map_err(|_| unsafe_entry("it is a link that leads out of the archive"))?,
                )
            }
            _ => return Err(unsafe_entry("it is neither file, folder nor link")),
        };
        members.insert(path, member);
        if members.len() > MAX_ENTRIES {
            let reason = format!(
                "it has more than {MAX_ENTRIES} files \
                 (hint: a plain root file system is imported, not loaded)"
            );
            return Err(Error::NotAnImage(reason));
        }
    }
    if members.is_empty() {
        return Err(Error::NotAnImage("it is empty".to_owned()));
    }
    // The end of a compressed stream carries its checksum: read up to it.
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink()).map_err(read)?;
    Ok(members)
}

fn follow(members: &BTreeMap<String, Member>, path: &str) -> Result<Option<Stored>, Error> {
    let unsafe_entry = |reason| Error::UnsafeEntry { name: path.to_owned(), reason };
    let mut at = inside("", path).map_err(unsafe_entry)?;
    for _ in 0..MAX_LINKS {
        match members.get(&at) {
            None => return Ok(None),
            Some(Member::File(stored)) => return Ok(Some(*stored)),
            Some(Member::Link(target)) => at.clone_from(target),
        }
    }
    Err(unsafe_entry("too many links follow each other"))
}

/// A path joined to a folder of the archive, in plain parts. Purely by its text: nothing is ever unpacked by it.
fn inside(base: &str, path: &str) -> Result<String, &'static str> {
    if path.contains(char::is_control) {
        return Err("its name has control characters");
    }
    if path.starts_with('/') {
        return Err("its name is absolute");
    }
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or("its name leads out of the archive")?),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
