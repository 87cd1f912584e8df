//! Blobs on their way from a registry: one file each, which survives a kill and is shared by all who want the blob.
//!
//! ```text
//!   ROOT/incoming/<64 hex>   the first bytes of the blob; flock(2): held by the one process that appends to it
//! ```
//!
//! Two pulls of one image meet here: the second waits for the lock and then finds the blob in the store. After a kill
//! the lock is free and the bytes are there: the next pull hashes them again and asks only for the rest.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use syscalls::During;

use crate::digest::Digest;
use crate::error::Error;
use crate::spool::Spool;
use crate::store::Store;

/// How often a lock that somebody else holds is tried again.
const POLL: Duration = Duration::from_millis(50);

/// The file of one blob, locked.
#[derive(Debug)]
pub(crate) struct Incoming {
    path: PathBuf,
    pub(crate) file: File,
}

impl Incoming {
    /// Opens and locks the file of a blob; it is empty if nobody has begun. While somebody else works on it, `wait` is
    /// called now and then; what it says ends the waiting.
    pub(crate) fn lock(
        store: &Store,
        digest: &Digest,
        wait: &dyn Fn() -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let folder = store.incoming();
        fs::create_dir_all(&folder).during("create folder", folder.display())?;
        let path = folder.join(digest.hex());
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)
                .during("open file", path.display())?;
            loop {
                match file.try_lock() {
                    Ok(()) => break,
                    Err(TryLockError::WouldBlock) => {
                        wait()?;
                        sleep(POLL);
                    }
                    Err(TryLockError::Error(error)) => {
                        Err(error).during("lock file", path.display())?;
                    }
                }
            }
            // Whoever had it may have moved it into the store meanwhile.
            let own = file.metadata().during("stat", path.display())?;
            if fs::metadata(&path).is_ok_and(|now| (now.dev(), now.ino()) == (own.dev(), own.ino()))
            {
                return Ok(Self { path, file });
            }
        }
    }

    /// Moves the blob into the store, where every other pull finds it, and links it into the spool, where no sweep can
    /// take it before the image has a name.
    pub(crate) fn complete(
        self,
        store: &Store,
        spool: &Spool,
        digest: &Digest,
    ) -> Result<(), Error> {
        spool.adopt(&self.path, digest)?;
        let place = store.blob_path(digest);
        Ok(fs::rename(&self.path, &place).during("rename file", place.display())?)
    }

    /// Removes the file: what is in it is wrong, or nobody needs it.
    pub(crate) fn discard(self) -> Result<(), Error> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Ok(Err(error).during("remove file", self.path.display())?)
            }
            _ => Ok(()),
        }
    }
}

impl Store {
    fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    /// Removes the beginnings of blobs that nobody is fetching. Returns their number and bytes.
    pub(crate) fn remove_incoming(&self) -> Result<(u64, u64), Error> {
        let folder = self.incoming();
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
            other => other.during("read folder", folder.display())?,
        };
        let (mut files, mut bytes) = (0, 0);
        for entry in entries {
            let path = entry.during("read folder", folder.display())?.path();
            let Ok(file) = File::open(&path) else { continue };
            if file.try_lock().is_err() {
                continue;
            }
            files += 1;
            bytes += file.metadata().during("stat", path.display())?.len();
            Incoming { path, file }.discard()?;
        }
        Ok((files, bytes))
    }
}
