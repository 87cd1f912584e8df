//! Keeps each layer once, under the digest of its content: complete and synced, or not there at
//! all.
//!
//! ```text
//! DIR/<64 hex digits>/diff        the tree, as overlay wants it
//! DIR/<64 hex digits>/layer.json  its size
//! DIR/tmp/<hex>.<pid>.<n>/        being unpacked; its lock is held by whoever does so
//! ```
//!
//! A layer is unpacked beside its place and renamed when its digest was right, so nobody ever sees
//! half of one. The kernel drops the lock of a process that dies: a temporary folder that nobody
//! has locked is refuse.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{fsync, syncfs};
use serde::{Deserialize, Serialize};
use syscalls::{During, KernelError};

use crate::attributes::open_dir;
use crate::digest::{DiffId, Hashing};
use crate::error::UnpackError;
use crate::remove::remove_all;
use crate::unpack::unpack;

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

const TMP: &str = "tmp";
const RECORD: &str = "layer.json";

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

    /// Whether the layer is there.
    pub fn has(&self, id: &DiffId) -> bool {
        fstatat(&self.fd, id.hex(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// The folder with the layer's tree, for [`overlay`](crate::overlay()); absolute. It need not
    /// exist.
    pub fn path(&self, id: &DiffId) -> PathBuf {
        self.dir.join(id.hex()).join("diff")
    }

    /// Unpacks a layer from its uncompressed tar stream.
    ///
    /// If it is there already, nothing is read. Two processes may add the same layer at the same
    /// time: both succeed, and one copy stays. Leftovers of killed processes are removed on the
    /// way.
    ///
    /// # Errors [`Error::Digest`] if the bytes are not those of the layer, [`Error::Unpack`],
    /// [`Error::Kernel`]; then nothing is left. A damaged archive is reported as [`Error::Digest`]
    /// if its digest is wrong too.
    pub fn add(&self, expected: &DiffId, tar: impl Read) -> Result<Added, Error> {
        if self.has(expected) {
            return self.added(expected);
        }
        self.reclaim()?;
        let temporary = Temporary::make(self, expected)?;
        let tree = temporary.make_tree()?;
        let added = verified(expected, tar, &tree)?;
        temporary.write_record(added)?;
        // Once for all files: a sync each would take longer than all the rest.
        syncfs(&tree).during("sync", temporary.path())?;
        temporary.rename_to(expected)?;
        Ok(added)
    }

    /// The layers that are there, sorted.
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
        let temporary = Temporary::make(self, id)?;
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
/// matter.
fn verified(expected: &DiffId, tar: impl Read, tree: &File) -> Result<Added, Error> {
    let mut hashing = Hashing::new(tar);
    let unpacked = unpack(&mut hashing, tree.as_fd());
    if let Err(source @ (UnpackError::Kernel(_) | UnpackError::Read { .. })) = unpacked {
        return Err(Error::Unpack { id: expected.clone(), source });
    }
    let actual = hashing.finish().during("read layer", expected)?;
    if actual != *expected {
        return Err(Error::Digest { expected: expected.clone(), actual });
    }
    let stats = unpacked.map_err(|source| Error::Unpack { id: expected.clone(), source })?;
    Ok(Added { size: stats.bytes, files: stats.files })
}

/// A folder in `tmp` that is ours as long as we hold its lock; removed when dropped.
struct Temporary<'store> {
    store: &'store Store,
    tmp: File,
    name: String,
    lock: Flock<File>,
}

impl<'store> Temporary<'store> {
    fn make(store: &'store Store, id: &DiffId) -> Result<Self, KernelError> {
        match mkdirat(&store.fd, TMP, Mode::from_bits_truncate(0o700)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).during("make folder", TMP),
        }
        let tmp = open_dir(&store.fd, TMP.as_bytes()).during("open folder", TMP)?;
        let mut serial = 0_u32;
        loop {
            let name = format!("{}.{}.{serial}", id.hex(), std::process::id());
            serial += 1;
            match mkdirat(&tmp, &*name, Mode::from_bits_truncate(0o700)) {
                Ok(()) => {}
                Err(Errno::EEXIST) => continue,
                Err(errno) => return Err(errno).during("make folder", name),
            }
            // Between mkdir and lock it looks abandoned, and somebody may reclaim it: then try
            // another one.
            let folder = match open_dir(&tmp, name.as_bytes()) {
                Err(Errno::ENOENT) => continue,
                other => other.during("open folder", &name)?,
            };
            let lock = Flock::lock(folder, FlockArg::LockExclusive)
                .map_err(|(_, errno)| KernelError::new("lock folder", &name, errno))?;
            if is_at(&lock, &tmp, OsStr::new(&name)) {
                return Ok(Self { store, tmp, name, lock });
            }
        }
    }

    fn path(&self) -> String {
        format!("{TMP}/{}", self.name)
    }

    fn make_tree(&self) -> Result<File, KernelError> {
        let mode = Mode::from_bits_truncate(0o755);
        mkdirat(&*self.lock, "diff", mode).during("make folder", "diff")?;
        let tree = open_dir(&*self.lock, b"diff").during("open folder", "diff")?;
        fchmod(&tree, mode).during("set mode", "diff")?;
        Ok(tree)
    }

    fn write_record(&self, added: Added) -> Result<(), KernelError> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o600);
        let file = openat(&*self.lock, RECORD, flags, mode).during("make layer record", RECORD)?;
        serde_json::to_writer(File::from(file), &added)
            .map_err(std::io::Error::from)
            .during("write layer record", RECORD)
    }

    /// Makes it the layer. If somebody else was first, theirs stays, and ours goes with `self`.
    fn rename_to(self, id: &DiffId) -> Result<(), KernelError> {
        match renameat(&self.tmp, &*self.name, &self.store.fd, id.hex()) {
            Ok(()) | Err(Errno::EEXIST | Errno::ENOTEMPTY) => {}
            Err(errno) => return Err(errno).during("keep layer", id),
        }
        fsync(&self.store.fd).during("sync layer store", self.store.dir.display())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // After the rename there is nothing under this name. What cannot be removed now, `reclaim`
        // tries again.
        remove_all(self.tmp.as_fd(), self.name.as_bytes()).ok();
    }
}

/// Whether an open folder is what `name` in `parent` is now.
fn is_at(folder: &File, parent: &File, name: &OsStr) -> bool {
    let named = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    match (fstat(folder), named) {
        (Ok(open), Ok(named)) => (open.st_dev, open.st_ino) == (named.st_dev, named.st_ino),
        _ => false,
    }
}

fn names(dir: &Path) -> Result<Vec<std::ffi::OsString>, KernelError> {
    let entries = std::fs::read_dir(dir).during("read folder", dir.display())?;
    entries.map(|entry| Ok(entry.during("read folder", dir.display())?.file_name())).collect()
}
