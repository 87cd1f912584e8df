//! Loading an image that was made elsewhere: `docker save`, `skopeo copy`, `umoci`, `buildah push`.
//!
//! Whatever the form, it goes one way: every file of the archive is spooled and hashed as it comes (the index may stand
//! at the end of a stream), then the documents are read, everything is checked, and one commit makes it visible.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use syscalls::During;

use crate::document::{self, Descriptor};
use crate::error::Error;
use crate::files::Files;
use crate::index::{Entry, Index};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Arrival, Store, check_layout, check_taggable};
use crate::{docker, legacy};

/// Where an image is loaded from.
pub enum Source {
    /// A folder: an OCI image layout, or an unpacked docker-archive.
    Dir(PathBuf),
    /// A tar stream, plain or compressed with gzip or zstd, of either.
    Tar(Box<dyn Read>),
}

impl Source {
    /// A file or folder by its path.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            return Ok(Self::Dir(path.to_owned()));
        }
        Ok(Self::Tar(Box::new(File::open(path).during("open file", path.display())?)))
    }
}

/// One name of a loaded image; an image without a name is there once with none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The name it has now.
    pub reference: Option<Reference>,
    /// Image ID, `sha256:...`.
    pub id: String,
    /// The ID of the image that had this name before and now has none.
    pub replaced: Option<String>,
    /// A sentence to print, as of [`Image::platform_warning`](crate::Image::platform_warning).
    pub warning: Option<String>,
}

impl Store {
    /// Loads all images of an archive or folder. `name` replaces the names that are in it.
    ///
    /// Nothing is visible, and nothing stays on the disk, unless all of it is right. That the layers unpack to their
    /// diff IDs is checked where they are unpacked; only for uncompressed layers it is known here already.
    ///
    /// # Errors
    /// One for each way in which an archive can be wrong, see [`Error`].
    pub fn load(&self, source: Source, name: Option<&Reference>) -> Result<Vec<Loaded>, Error> {
        name.map_or(Ok(()), check_taggable)?;
        let spool = self.spool()?;
        let mut files = Files::read(&spool, source)?;
        let mut arrivals = if files.document("oci-layout")?.is_some() {
            oci_layout(&mut files)?
        } else if files.document("manifest.json")?.is_some() {
            docker::archive(&mut files)?
        } else if files.document("repositories")?.is_some() {
            legacy::archive(&mut files)?
        } else {
            let reason = "it has no oci-layout, manifest.json or repositories \
                          (hint: a plain root file system is imported, not loaded)";
            return Err(Error::NotAnImage(reason.to_owned()));
        };
        if let Some(name) = name {
            match arrivals.as_mut_slice() {
                [only] => only.names = vec![name.clone()],
                many => {
                    let name = name.familiar();
                    return Err(Error::NameForMany { name, count: many.len() });
                }
            }
        }
        self.commit(&spool, arrivals)
    }
}

/// Images of an OCI image layout (image-layout.md): `oci-layout`, `index.json`, `blobs/`.
fn oci_layout(files: &mut Files<'_>) -> Result<Vec<Arrival>, Error> {
    check_layout(&files.document("oci-layout")?.unwrap_or_default())?;
    let missing =
        || Error::Missing { what: "index of the image layout".into(), name: "index.json".into() };
    let index = files.document("index.json")?.ok_or_else(missing)?;
    let index = Index::parse("index.json", &index)?;
    let host = Platform::host();
    let mut arrivals: Vec<Arrival> = Vec::new();
    for entry in select(&index, &host)? {
        let mut fetch = |what: &str, descriptor: &Descriptor| files.blob_document(what, descriptor);
        let manifest = document::manifest(&entry.descriptor, &host, &mut fetch)?;
        let known = arrivals
            .iter_mut()
            .find(|other| other.manifest.descriptor.digest == manifest.descriptor.digest);
        let name = name_of(&entry)?;
        match known {
            Some(known) => known.names.extend(name),
            None => arrivals.push(files.arrival(manifest, name.into_iter().collect())?),
        }
    }
    // `docker save` writes both forms into one archive; older ones name the images only in their own.
    if arrivals.iter().any(|arrival| arrival.names.is_empty()) {
        for (config, names) in docker::names(files)? {
            let nameless = arrivals.iter_mut().filter(|arrival| arrival.names.is_empty());
            for arrival in nameless.filter(|arrival| arrival.manifest.config.digest == config) {
                arrival.names.clone_from(&names);
            }
        }
    }
    Ok(arrivals)
}

/// The entries to load: of those with the same name, the one for this machine.
fn select(index: &Index, host: &Platform) -> Result<Vec<Entry>, Error> {
    let (mut chosen, mut offered) = (Vec::<(u32, Entry)>::new(), Vec::new());
    for entry in index.entries() {
        let rank = match &entry.descriptor.platform {
            Some(own) => host.rank(own),
            None => Some(u32::MAX),
        };
        let Some(rank) = rank else {
            offered.extend(entry.descriptor.platform.filter(|own| own.os != "unknown"));
            continue;
        };
        let same = |other: &(u32, Entry)| {
            entry.reference().is_some() && other.1.reference() == entry.reference()
        };
        match chosen.iter_mut().find(|other| same(other)) {
            Some(other) if rank < other.0 => *other = (rank, entry),
            Some(_) => {}
            None => chosen.push((rank, entry)),
        }
    }
    match (chosen.is_empty(), offered.is_empty()) {
        (false, _) => Ok(chosen.into_iter().map(|(_, entry)| entry).collect()),
        (true, true) => Err(Error::NotAnImage("its index.json lists no image".to_owned())),
        (true, false) => {
            Err(Error::NoPlatform { what: "index.json".to_owned(), wanted: host.clone(), offered })
        }
    }
}

/// The name in an image layout. A bare `latest` or `v1` is a tag of nobody knows what: no name.
fn name_of(entry: &Entry) -> Result<Option<Reference>, Error> {
    match entry.bare_name() {
        Some(bare) if !bare.contains(['/', ':']) => Ok(None),
        Some(bare) => Ok(Reference::parse(bare).ok()),
        None => entry.full_name().map(Reference::parse).transpose().map_err(Error::from),
    }
}
