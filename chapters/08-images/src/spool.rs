//! Where blobs wait until their image is complete, and the few file operations that must survive a power cut.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use syscalls::{During, KernelError};

use crate::MAX_DOCUMENT;
use crate::digest::{Digest, Hashing};
use crate::error::Error;

/// Bytes copied at once.
const CHUNK: usize = 128 << 10;

/// The list of a spool's unpacked layers, one diff ID in each line.
const ANNOUNCED: &str = "layers";

/// A blob that lies complete on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// A folder below `tmp/` of the store. It is removed when dropped; after a crash, by whoever finds it unlocked.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    /// The open directory itself holds the lock, so there is no lock file to lose.
    _lock: File,
}

impl Spool {
    /// Makes a new folder. The caller holds the store's lock, or the new folder could be reclaimed before it is locked.
    pub(crate) fn create(tmp: &Path) -> Result<Self, Error> {
        let dir = tmp.join(random_name()?);
        fs::create_dir(&dir).during("create folder", dir.display())?;
        let locked = File::open(&dir).and_then(|folder| folder.lock().map(|()| folder));
        if locked.is_err() {
            fs::remove_dir(&dir).ok();
        }
        let lock = locked.during("lock folder", dir.display())?;
        Ok(Self { dir, _lock: lock })
    }

    /// Removes what processes that are gone left below `tmp`. The caller holds the store's lock.
    pub(crate) fn reclaim(tmp: &Path) -> Result<(), Error> {
        for entry in fs::read_dir(tmp).during("read folder", tmp.display())? {
            let path = entry.during("read folder", tmp.display())?.path();
            // Owner alive: it holds the lock. Owner gone meanwhile: it has removed the folder itself.
            let abandoned = File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok());
            if abandoned {
                let removed = match path.is_dir() {
                    true => fs::remove_dir_all(&path),
                    false => fs::remove_file(&path),
                };
                match removed {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    other => other.during("remove leftover", path.display())?,
                }
            }
        }
        Ok(())
    }

    /// Begins a blob.
    pub(crate) fn writer(&self) -> Result<BlobWriter<'_>, Error> {
        let path = self.dir.join(random_name()?);
        let file = File::create_new(&path).during("create file", path.display())?;
        Ok(BlobWriter { spool: self, path, file: Hashing::new(file) })
    }

    /// Writes everything that `reader` gives as one blob. `what` names it in errors.
    pub(crate) fn store(&self, what: &str, reader: &mut dyn Read) -> Result<Stored, Error> {
        let mut writer = self.writer()?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = match reader.read(&mut buffer) {
                Ok(0) => return writer.finish(),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::read(what, &error)),
            };
            writer.append(&buffer[..length])?;
        }
    }

    /// Notes which unpacked layers will be needed, so that nobody takes them for refuse meanwhile.
    pub(crate) fn announce(&self, diff_ids: &[&str]) -> Result<(), Error> {
        let path = self.dir.join(ANNOUNCED);
        Ok(fs::write(&path, diff_ids.join("\n")).during("write file", path.display())?)
    }

    /// What all spools below `tmp` have announced.
    pub(crate) fn announced(tmp: &Path) -> Vec<String> {
        let spools = fs::read_dir(tmp).into_iter().flatten().flatten();
        let lists =
            spools.filter_map(|spool| fs::read_to_string(spool.path().join(ANNOUNCED)).ok());
        lists.flat_map(|list| list.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// Takes a further link to a blob that lies complete somewhere else in the store. False if it is not there.
    pub(crate) fn adopt(&self, blob: &Path, digest: &Digest) -> Result<bool, Error> {
        match fs::hard_link(blob, self.path(digest)) {
            Ok(()) => Ok(true),
            // Two layers of one image may be the same blob.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Ok(Err(error).during("link file", blob.display())?),
        }
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    pub(crate) fn open(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.path(digest);
        Ok(File::open(&path).during("open file", path.display())?)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // What cannot be removed now is found by the next reclaim.
        fs::remove_dir_all(&self.dir).ok();
    }
}

/// A blob being written; its digest is known at the end.
pub(crate) struct BlobWriter<'s> {
    spool: &'s Spool,
    path: PathBuf,
    file: Hashing<File>,
}

impl BlobWriter<'_> {
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.file.write_all(bytes).during("write file", self.path.display())?)
    }

    /// Bytes so far.
    pub(crate) fn size(&self) -> u64 {
        self.file.so_far().1
    }

    /// Gives the file its digest as name.
    pub(crate) fn finish(self) -> Result<Stored, Error> {
        let (digest, size) = self.file.so_far();
        let path = self.spool.path(&digest);
        fs::rename(&self.path, &path).during("rename file", path.display())?;
        Ok(Stored { digest, size })
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// 32 random hex digits.
fn random_name() -> Result<String, KernelError> {
    let random = getrandom::u64().and_then(|high| Ok((high, getrandom::u64()?)));
    let (high, low) = random.map_err(io::Error::other).during("get random bytes", "getrandom")?;
    Ok(format!("{high:016x}{low:016x}"))
}

/// Brings a file or folder to the disk.
pub(crate) fn sync(path: &Path) -> Result<(), KernelError> {
    File::open(path).and_then(|file| file.sync_all()).during("sync", path.display())
}

/// Replaces `dir/name` in one step: readers see the old content or the new, also after a power cut.
pub(crate) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), KernelError> {
    let temporary = dir.join("tmp").join(format!("{}.{name}", random_name()?));
    let written = File::create_new(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .during("write file", temporary.display())
        .and_then(|()| {
            fs::rename(&temporary, dir.join(name)).during("rename file", dir.join(name).display())
        });
    if written.is_err() {
        fs::remove_file(&temporary).ok();
    }
    written.and_then(|()| sync(dir))
}

/// Reads a document whole, up to [`MAX_DOCUMENT`].
pub(crate) fn read_document(what: &str, file: File) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::read(what, &error))?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(Error::TooLarge { what: what.to_owned(), size: bytes.len() as u64 });
    }
    Ok(bytes)
}
