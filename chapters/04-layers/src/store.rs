//! Keeps each layer once, under the digest of its content: complete, or not there at all.
//!
//! ```text
//! DIR/<64 hex digits>/diff        the tree, as overlay wants it
//! DIR/<64 hex digits>/layer.json  its size
//! DIR/<64 hex digits>/unsynced    until the disk has it: the name of the boot that made it
//! DIR/tmp/<hex>.<pid>.<n>/        being unpacked; its lock is held by whoever does so
//! ```
//!
//! A layer is unpacked beside its place and renamed when its digest was right, so nobody ever sees
//! half of one. The kernel drops the lock of a process that dies: a temporary folder that nobody
//! has locked is refuse.
//!
//! Nobody waits for the disk when a layer is added: a power cut can take what a killed process
//! cannot. So a layer of an earlier boot that was never synced is not there, and is unpacked again.

use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, open, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{fsync, syncfs};
use serde::{Deserialize, Serialize};
use syscalls::{During, KernelError};

use crate::ahead;
use crate::archive::Reader;
use crate::attributes::open_dir;
use crate::digest::DiffId;
use crate::error::UnpackError;
use crate::limits::{Bounded, Limits};
use crate::remove::remove_all;
use crate::settled::{State, mark, marked_for, state, unmark};
use crate::temporary::{RECORD, TMP, Temporary, is_at};
use crate::unpack::apply_all;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// These are not the bytes of the layer. Nothing was kept.
    #[error("layer {expected}: the content is another one, {actual}")]
    Digest {
        /// What the image says.
        expected: DiffId,
        /// What came.
        actual: DiffId,
    },
    /// The archive was not unpacked. Nothing was kept.
    #[error("layer {id}")]
    Unpack {
        /// The layer.
        id: DiffId,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// There is no such layer.
    #[error("no layer {0} in the store")]
    Missing(DiffId),
    /// A step failed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// What a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// Bytes in its files, holes not counted.
    pub size: u64,
    /// Number of its regular files.
    pub files: u64,
}

/// What [`Store::reclaim`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Temporary folders that nobody was working on any more.
    pub folders: usize,
}

/// A folder of layers. Opening it costs two system calls.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    fd: OwnedFd,
}

impl Store {
    /// Opens the store in `dir`, which is made if it is missing.
    ///
    /// The folder is closed to other users (mode 0700): a layer is full of old set-user-id
    /// programs.
    ///
    /// # Errors
    /// [`Error::Kernel`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = match open(dir, flags, Mode::empty()) {
            Err(Errno::ENOENT) => {
                let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
                made.during("make layer store", dir.display())?;
                open(dir, flags, Mode::empty())
            }
            other => other,
        };
        let fd = fd.during("open layer store", dir.display())?;
        let dir = std::path::absolute(dir).during("find layer store", dir.display())?;
        Ok(Self { dir, fd })
    }

    /// Whether the layer is there, whole: it is synced, or the machine has been up ever since.
    pub fn has(&self, id: &DiffId) -> bool {
        matches!(state(&self.fd, id), State::Synced | State::Unsynced)
    }

    /// The folder with the layer's tree, for [`overlay`](crate::overlay()); absolute. It need not
    /// exist.
    pub fn path(&self, id: &DiffId) -> PathBuf {
        self.dir.join(id.hex()).join("diff")
    }

    /// Unpacks a layer from its uncompressed tar stream, with the default [`Limits`].
    ///
    /// If it is there already, nothing is read. Two processes may add the same layer at the same
    /// time: both succeed, and one copy stays. Leftovers of killed processes are removed on the
    /// way. A second thread reads and hashes meanwhile; it has ended when this returns.
    ///
    /// The layer can be used at once, but is on the disk only after [`settle`](Self::settle).
    ///
    /// # Errors
    /// [`Error::Digest`] if the bytes are not those of the layer, [`Error::Unpack`],
    /// [`Error::Kernel`]; then nothing is left. A damaged archive is reported as [`Error::Digest`]
    /// if its digest is wrong too.
    pub fn add(&self, expected: &DiffId, tar: impl Read + Send) -> Result<Added, Error> {
        self.add_within(expected, tar, &Limits::default())
    }

    /// As [`add`](Self::add), up to some limits. An archive that goes beyond them is not read to
    /// its end, so nothing is known about its digest.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn add_within(
        &self,
        expected: &DiffId,
        tar: impl Read + Send,
        limits: &Limits,
    ) -> Result<Added, Error> {
        match state(&self.fd, expected) {
            State::Synced | State::Unsynced => return self.added(expected),
            State::Doubtful => self.remove_doubtful(expected)?,
            State::Missing => {}
        }
        self.reclaim()?;
        let temporary = Temporary::make(&self.fd, expected)?;
        let tree = temporary.make_tree()?;
        let added = verified(expected, tar, limits, &tree)?;
        temporary.write_record(added)?;
        // The mark is there before the layer is: file systems keep the order of names.
        let marked = mark(&*temporary.lock).during("mark layer", expected)?;
        if !marked {
            syncfs(&tree).during("sync", temporary.path())?;
        }
        temporary.rename_to(&self.fd, expected)?;
        if !marked {
            fsync(&self.fd).during("sync layer store", self.dir.display())?;
        }
        Ok(added)
    }

    /// Takes over a tree that is a layer already: the upper folder of an overlay that is not mounted any more, which
    /// lies on the filesystem of the store. `id` and `added` are what its [`diff`](crate::diff()) was. The folder
    /// is moved, unless the layer is there already: then it stays where it is.
    ///
    /// # Errors
    /// [`Error::Kernel`]; `EXDEV` for another filesystem.
    pub fn adopt(&self, id: &DiffId, tree: &Path, added: Added) -> Result<(), Error> {
        match state(&self.fd, id) {
            State::Synced | State::Unsynced => return Ok(()),
            State::Doubtful => self.remove_doubtful(id)?,
            State::Missing => {}
        }
        let temporary = Temporary::make(&self.fd, id)?;
        renameat(AT_FDCWD, tree, &*temporary.lock, "diff").during("move layer", tree.display())?;
        temporary.write_record(added)?;
        if !mark(&*temporary.lock).during("mark layer", id)? {
            syncfs(&self.fd).during("sync layer store", self.dir.display())?;
        }
        Ok(temporary.rename_to(&self.fd, id)?)
    }

    /// Brings to the disk what was added since the machine has started, if something of it is at
    /// least so old: to be called when nobody waits. The kernel writes what is half a minute old,
    /// so then there is little left to wait for. Returns the number of layers. Without it they are
    /// unpacked again after a reboot.
    ///
    /// # Errors
    /// [`Error::Kernel`]; then the disk does not have them yet.
    pub fn settle(&self, age: Duration) -> Result<usize, Error> {
        let mut settled = 0;
        if !self.ids()?.iter().any(|id| marked_for(&self.fd, id).is_some_and(|own| own >= age)) {
            return Ok(0);
        }
        // In parts, so that the open folders do not get too many.
        for ids in self.ids()?.chunks(256) {
            // Open before the sync: a layer that is added again meanwhile is another folder.
            let unsynced = ids.iter().filter(|id| state(&self.fd, id) == State::Unsynced);
            let folders: Vec<File> =
                unsynced.filter_map(|id| open_dir(&self.fd, id.hex().as_bytes()).ok()).collect();
            if !folders.is_empty() {
                syncfs(&self.fd).during("sync layer store", self.dir.display())?;
            }
            for folder in &folders {
                unmark(folder).during("mark layer as synced in", self.dir.display())?;
            }
            settled += folders.len();
        }
        Ok(settled)
    }

    /// Removes a layer of an earlier boot, unless another process has done so and added it anew.
    fn remove_doubtful(&self, id: &DiffId) -> Result<(), Error> {
        let folder = open_dir(&self.fd, b".").during("open layer store", self.dir.display())?;
        let _one_at_a_time = Flock::lock(folder, FlockArg::LockExclusive)
            .map_err(|(_, errno)| KernelError::new("lock", self.dir.display(), errno))?;
        if state(&self.fd, id) != State::Doubtful {
            return Ok(());
        }
        match self.remove(id) {
            Err(Error::Missing(_)) => Ok(()),
            other => other,
        }
    }

    /// The layers that have a folder, sorted; also those of an earlier boot that
    /// [`has`](Self::has) does not count, since they take space.
    ///
    /// # Errors
    /// [`Error::Kernel`].
    pub fn ids(&self) -> Result<Vec<DiffId>, Error> {
        let mut ids = Vec::new();
        for name in names(&self.dir)? {
            let id = name.to_str().and_then(|hex| format!("sha256:{hex}").parse().ok());
            ids.extend(id);
        }
        ids.sort();
        Ok(ids)
    }

    /// Bytes in the files of a layer, as noted when it was added.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Kernel`].
    pub fn size(&self, id: &DiffId) -> Result<u64, Error> {
        self.added(id).map(|added| added.size)
    }

    fn added(&self, id: &DiffId) -> Result<Added, Error> {
        if !self.has(id) {
            return Err(Error::Missing(id.clone()));
        }
        let path = self.dir.join(id.hex()).join(RECORD);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Missing(id.clone()));
            }
            other => other.during("read layer record", path.display())?,
        };
        let record = serde_json::from_slice(&text).map_err(std::io::Error::from);
        Ok(record.during("read layer record", path.display())?)
    }

    /// Removes a layer. It is gone at once; whether an overlay still uses it is for the caller to
    /// know.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Kernel`].
    pub fn remove(&self, id: &DiffId) -> Result<(), Error> {
        let temporary = Temporary::make(&self.fd, id)?;
        match renameat(&self.fd, id.hex(), &*temporary.lock, "removed") {
            Ok(()) => Ok(()),
            Err(Errno::ENOENT) => Err(Error::Missing(id.clone())),
            Err(errno) => Ok(Err(errno).during("remove layer", id)?),
        }
    }

    /// Removes temporary folders whose process is dead. Live ones keep theirs.
    ///
    /// # Errors
    /// [`Error::Kernel`].
    pub fn reclaim(&self) -> Result<Reclaimed, Error> {
        let mut reclaimed = Reclaimed::default();
        let tmp = match open_dir(&self.fd, TMP.as_bytes()) {
            Err(Errno::ENOENT) => return Ok(reclaimed),
            other => other.during("open folder", TMP)?,
        };
        for name in names(&self.dir.join(TMP))? {
            let Ok(folder) = open_dir(&tmp, name.as_bytes()) else { continue };
            let Ok(lock) = Flock::lock(folder, FlockArg::LockExclusiveNonblock) else { continue };
            // It may have been renamed into its place between `open` and `lock`: then the name is
            // gone.
            if is_at(&lock, &tmp, &name) {
                remove_all(tmp.as_fd(), name.as_bytes())
                    .during("remove leftover", Path::new(&name).display())?;
                reclaimed.folders += 1;
            }
        }
        Ok(reclaimed)
    }
}

/// Unpacks, and judges by the digest first: whatever else is wrong with other bytes does not
/// matter. Where unpacking cannot go on, the rest is not waited for.
fn verified(
    expected: &DiffId,
    tar: impl Read + Send,
    limits: &Limits,
    tree: &File,
) -> Result<Added, Error> {
    use UnpackError::{Kernel, Limit, Read};
    let failed = |source| Error::Unpack { id: expected.clone(), source };
    let (unpacked, digest) = ahead::read(Bounded::new(tar, limits.archive), |bytes| {
        let unpacked = apply_all(Reader::buffered(&mut *bytes), tree.as_fd(), limits);
        if matches!(unpacked, Err(Kernel(_) | Read { .. } | Limit { .. })) {
            bytes.stop();
        }
        unpacked
    })
    .during("start a thread to read layer", expected)?;
    if let Err(source @ (Kernel(_) | Read { .. } | Limit { .. })) = unpacked {
        return Err(failed(source));
    }
    let actual =
        digest.map_err(|source| failed(Read { entry: "the end of the archive".into(), source }))?;
    if actual != *expected {
        return Err(Error::Digest { expected: expected.clone(), actual });
    }
    let stats = unpacked.map_err(failed)?;
    Ok(Added { size: stats.bytes, files: stats.files })
}

fn names(dir: &Path) -> Result<Vec<std::ffi::OsString>, KernelError> {
    let entries = std::fs::read_dir(dir).during("read folder", dir.display())?;
    entries.map(|entry| Ok(entry.during("read folder", dir.display())?.file_name())).collect()
}
