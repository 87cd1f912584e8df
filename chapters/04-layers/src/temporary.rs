//! The folder in which a layer is unpacked, beside the place it is for.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat, mkdirat};
use syscalls::{During, KernelError};

use crate::attributes::open_dir;
use crate::digest::DiffId;
use crate::remove::remove_all;
use crate::store::Added;

/// Where such folders are.
pub(crate) const TMP: &str = "tmp";
/// The file with what a layer holds.
pub(crate) const RECORD: &str = "layer.json";

/// A folder in `tmp` that is ours as long as we hold its lock; removed when dropped.
pub(crate) struct Temporary {
    tmp: File,
    name: String,
    pub(crate) lock: Flock<File>,
}

impl Temporary {
    pub(crate) fn make(store: impl AsFd, id: &DiffId) -> Result<Self, KernelError> {
        match mkdirat(&store, TMP, Mode::from_bits_truncate(0o700)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).during("make folder", TMP),
        }
        let tmp = open_dir(&store, TMP.as_bytes()).during("open folder", TMP)?;
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
                return Ok(Self { tmp, name, lock });
            }
        }
    }

    pub(crate) fn path(&self) -> String {
        format!("{TMP}/{}", self.name)
    }

    pub(crate) fn make_tree(&self) -> Result<File, KernelError> {
        let mode = Mode::from_bits_truncate(0o755);
        mkdirat(&*self.lock, "diff", mode).during("make folder", "diff")?;
        let tree = open_dir(&*self.lock, b"diff").during("open folder", "diff")?;
        fchmod(&tree, mode).during("set mode", "diff")?;
        Ok(tree)
    }

    pub(crate) fn write_record(&self, added: Added) -> Result<(), KernelError> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o600);
        let file = openat(&*self.lock, RECORD, flags, mode).during("make layer record", RECORD)?;
        serde_json::to_writer(File::from(file), &added)
            .map_err(std::io::Error::from)
            .during("write layer record", RECORD)
    }

    /// Makes it the layer. If somebody else was first, theirs stays, and ours goes with `self`.
    pub(crate) fn rename_to(self, store: impl AsFd, id: &DiffId) -> Result<(), KernelError> {
        match renameat(&self.tmp, &*self.name, store, id.hex()) {
            Ok(()) | Err(Errno::EEXIST | Errno::ENOTEMPTY) => Ok(()),
            Err(errno) => Err(errno).during("keep layer", id),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing under this name. What cannot be removed now, `reclaim`
        // tries again.
        remove_all(self.tmp.as_fd(), self.name.as_bytes()).ok();
    }
}

/// Whether an open folder is what `name` in `parent` is now.
pub(crate) fn is_at(folder: &File, parent: &File, name: &OsStr) -> bool {
    let named = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    match (fstat(folder), named) {
        (Ok(open), Ok(named)) => (open.st_dev, open.st_ino) == (named.st_dev, named.st_ino),
        _ => false,
    }
}
