//! Named volumes on disk.
//!
//! ```text
//! <root>/volumes/
//!   .lock                 taken (flock) by whoever makes or removes a volume
//!   .tmp-<hex>            a volume being made; found under the lock, it is a leftover
//!   .trash-<hex>          a volume being removed; its directory is locked while somebody is at it
//!   data/                 locked, shared, by whoever is about to use it: `Hold`
//!     volume.json         the record
//!     _data/              what containers see
//! ```
//!
//! A volume appears and disappears by one rename(2), so it is whole or not there, whenever a
//! command is killed.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use syscalls::{During, step};

pub use crate::error::Error;
use crate::grammar::check_name;
use crate::mount::bind_device;
use crate::tree;
pub use crate::volume::{Hold, Pruned, Volume};

/// The folder of all volumes.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens the store in `dir` (`<root>/volumes`), making the folder if it is missing. A relative
    /// path is taken from the working directory now, once.
    ///
    /// # Errors
    /// What mkdir(2) says.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let dir = std::path::absolute(dir).during("open volume store", dir.display())?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&dir)
            .during("create volume store", dir.display())?;
        Ok(Self { dir })
    }

    /// Makes a volume, or returns the one that has this name. Without a name it gets 64 random hex
    /// digits.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name or driver option that cannot be, [`Error::Conflict`] if it
    /// exists with other options.
    pub fn create(
        &self,
        name: Option<&str>,
        labels: &[(String, String)],
        options: &[(String, String)],
    ) -> Result<Volume, Error> {
        let _lock = self.lock()?;
        self.create_locked(name, labels, options)
    }

    /// [`create`](Self::create) and [`Hold`] in one: nobody can remove the volume in between.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn acquire(
        &self,
        name: Option<&str>,
        labels: &[(String, String)],
        options: &[(String, String)],
    ) -> Result<(Volume, Hold), Error> {
        let _lock = self.lock()?;
        let volume = self.create_locked(name, labels, options)?;
        let dir = File::open(self.dir.join(&volume.name)).during("open volume", &volume.name)?;
        // Removal needs the store's lock, which is ours: nobody else holds this one exclusively.
        let hold = Flock::lock(dir, FlockArg::LockShared)
            .map_err(|(_, errno)| errno)
            .during("lock volume", &volume.name)?;
        Ok((volume, Hold { _lock: hold }))
    }

    /// Reads the record of a volume.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for a name that no volume can have; [`Error::Record`].
    pub fn get(&self, name: &str) -> Result<Volume, Error> {
        let missing = || Error::NotFound { name: name.to_owned() };
        check_name(name).map_err(|_| missing())?;
        let path = self.dir.join(name).join("volume.json");
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            other => other.during("read record", path.display())?,
        };
        let mut volume: Volume = serde_json::from_slice(&text)
            .map_err(|error| Error::Record { path, reason: error.to_string() })?;
        volume.mountpoint = self.dir.join(name).join("_data");
        Ok(volume)
    }

    /// All volumes by name. One that cannot be read is an error; one that is removed meanwhile is
    /// not listed.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn list(&self) -> Result<Vec<Volume>, Error> {
        let mut volumes = Vec::new();
        for name in self.names()?.into_iter().filter(|name| !name.starts_with('.')) {
            match self.get(&name) {
                Err(Error::NotFound { .. }) => {}
                other => volumes.push(other?),
            }
        }
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Bytes that the data of a volume takes on disk; hard links count once.
    ///
    /// # Errors
    /// What open(2) and getdents(2) say.
    pub fn size(&self, volume: &Volume) -> Result<u64, Error> {
        let dir = File::open(&volume.mountpoint).during("open volume", &volume.name)?;
        Ok(tree::usage(dir.as_fd()).during("measure volume", &volume.name)?)
    }

    /// Removes a volume with its data. `in_use` tells which containers have it; `force` only means
    /// that a volume that is not there is fine, as with Docker.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::NotFound`]; `EXDEV` or `EBUSY` if somebody mounted something on
    /// it on the host.
    pub fn remove(
        &self,
        name: &str,
        in_use: &dyn Fn(&str) -> Vec<String>,
        force: bool,
    ) -> Result<(), Error> {
        let lock = self.lock()?;
        match self.get(name) {
            Err(Error::NotFound { .. }) if force => return Ok(()),
            // Even a volume whose record is broken can be removed.
            Err(Error::Record { .. }) => {}
            other => drop(other?),
        }
        let trash = self.trash(name, in_use)?;
        drop(lock);
        trash.empty()
    }

    /// Removes the volumes that no container has: those without a chosen name, or with `all` every
    /// one; `wanted` can spare some (label filters).
    ///
    /// # Errors
    /// Those of the first removal that fails for another reason than that the volume is in use.
    pub fn prune(
        &self,
        all: bool,
        wanted: &dyn Fn(&Volume) -> bool,
        in_use: &dyn Fn(&str) -> Vec<String>,
    ) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        for volume in self.list()? {
            if !(all || volume.anonymous) || !wanted(&volume) {
                continue;
            }
            let bytes = self.size(&volume).unwrap_or(0);
            match self.remove(&volume.name, in_use, false) {
                Ok(()) => {
                    pruned.removed.push(volume.name);
                    pruned.reclaimed += bytes;
                }
                Err(Error::InUse { .. } | Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(pruned)
    }

    /// Removes what killed commands have left. [`create`](Self::create) and
    /// [`remove`](Self::remove) do so anyway.
    ///
    /// # Errors
    /// What unlink(2) says.
    pub fn reclaim(&self) -> Result<(), Error> {
        let _lock = self.lock_only()?;
        self.sweep()
    }

    /// Takes the store's lock and clears leftovers.
    fn lock(&self) -> Result<Flock<File>, Error> {
        let lock = self.lock_only()?;
        // One leftover that cannot be removed (an immutable file) must not stop all other work;
        // `reclaim` reports it.
        self.sweep().ok();
        Ok(lock)
    }

    fn lock_only(&self) -> Result<Flock<File>, Error> {
        let path = self.dir.join(".lock");
        let file = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .during("open lock", path.display())?;
        Ok(exclusive(file).during("lock volume store", path.display())?)
    }

    /// Removes leftovers, under the store's lock: whoever is still at one of them holds its own
    /// lock.
    fn sweep(&self) -> Result<(), Error> {
        let mut first_error = Ok(());
        for name in self.names()? {
            if !name.starts_with(".tmp-") && !name.starts_with(".trash-") {
                continue;
            }
            let path = self.dir.join(&name);
            let dir = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.during("open leftover", path.display())?,
            };
            if let Ok(dir) = Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
                first_error = first_error.and(Trash { path, dir }.empty());
            }
        }
        first_error
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).during("list volumes", self.dir.display())? {
            let entry = entry.during("list volumes", self.dir.display())?;
            names.extend(entry.file_name().into_string());
        }
        Ok(names)
    }

    fn create_locked(
        &self,
        name: Option<&str>,
        labels: &[(String, String)],
        options: &[(String, String)],
    ) -> Result<Volume, Error> {
        let options: BTreeMap<_, _> = options.iter().cloned().collect();
        bind_device(&options)?;
        let anonymous = name.is_none();
        let name = match name {
            Some(name) => check_name(name)?.to_owned(),
            None => random_hex::<32>().during("choose name of volume", "")?,
        };
        match self.get(&name) {
            Err(Error::NotFound { .. }) => {}
            Ok(volume) if !options.is_empty() && volume.options != options => {
                return Err(Error::Conflict { name });
            }
            other => return other,
        }
        let volume = Volume {
            mountpoint: self.dir.join(&name).join("_data"),
            created: jiff::Timestamp::now().to_string(),
            labels: labels.iter().cloned().collect(),
            options,
            anonymous,
            name,
        };
        self.write(&volume).during("create volume", &volume.name)?;
        Ok(volume)
    }

    /// Builds the volume aside and renames it into place.
    fn write(&self, volume: &Volume) -> io::Result<()> {
        let temporary = self.dir.join(format!(".tmp-{}", random_hex::<8>()?));
        let place = self.dir.join(&volume.name);
        DirBuilder::new().mode(0o711).create(&temporary)?;
        let data = temporary.join("_data");
        step!("mkdir", ("{}/_data, 0755", place.display()), fs::create_dir(&data))?;
        // Whatever the umask is: users in a container must be able to enter.
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755))?;
        let mut record = File::create_new(temporary.join("volume.json"))?;
        record.write_all(serde_json::to_string_pretty(volume)?.as_bytes())?;
        record.write_all(b"\n")?;
        record.sync_all()?;
        File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, &place)?;
        File::open(&self.dir)?.sync_all()
    }

    /// Takes a volume out of sight, under the store's lock.
    fn trash(&self, name: &str, in_use: &dyn Fn(&str) -> Vec<String>) -> Result<Trash, Error> {
        let containers = in_use(name);
        if !containers.is_empty() {
            return Err(Error::InUse { name: name.to_owned(), containers });
        }
        let path = self.dir.join(name);
        let dir = File::open(&path).during("open volume", name)?;
        let dir = match Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(Error::InUse { name: name.to_owned(), containers });
            }
            other => other.map_err(|(_, errno)| errno).during("lock volume", name)?,
        };
        // A mount on the host over the data would hide it and show something that is not ours to
        // remove.
        match tree::open_dir(dir.as_fd(), c"_data") {
            Ok(_) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(Err(errno).during("open data of volume", name)?),
        }
        let trash = self.dir.join(format!(".trash-{}", random_hex::<8>().during("name", "")?));
        fs::rename(&path, &trash).during("remove volume", name)?;
        Ok(Trash { path: trash, dir })
    }
}

/// A directory that nobody sees any more, locked by us.
struct Trash {
    path: PathBuf,
    dir: Flock<File>,
}

impl Trash {
    fn empty(self) -> Result<(), Error> {
        tree::clear(self.dir.as_fd()).during("remove data", self.path.display())?;
        Ok(fs::remove_dir(&self.path).during("remove directory", self.path.display())?)
    }
}

/// Takes a lock and waits for it, also through signals that have a handler.
pub(crate) fn exclusive(mut file: File) -> Result<Flock<File>, Errno> {
    loop {
        match Flock::lock(file, FlockArg::LockExclusive) {
            Err((again, Errno::EINTR)) => file = again,
            other => return other.map_err(|(_, errno)| errno),
        }
    }
}

/// `N` random bytes as hex digits.
fn random_hex<const N: usize>() -> io::Result<String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
