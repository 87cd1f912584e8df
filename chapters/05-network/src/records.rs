//! The records of a network: JSON files below its run directory, and the lock over all of them.
//!
//! ```text
//! RUN/lock                        held while anything changes
//! RUN/bridge/network.json         name, id, subnet
//! RUN/bridge/endpoints/ID         a container: address, ports; written before anything of it exists
//! RUN/bridge/leases/172.17.0.2    -> ID
//! RUN/bridge/ports/tcp-0.0.0.0-80 -> ID
//! RUN/bridge/last                 the address given out last
//! ```

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use syscalls::KernelError;
use syscalls::error::During;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::ipam;
use crate::store::Network;

/// One at a time, over all processes; the kernel takes the lock back from a process that dies.
pub(crate) fn lock(run: &Path) -> Result<Flock<File>, KernelError> {
    let path = run.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let mut file = file.during("open lock", path.display())?;
    loop {
        let attempt = Flock::lock(file, FlockArg::LockExclusive);
        file = match attempt {
            Ok(lock) => return Ok(lock),
            Err((file, Errno::EINTR)) => file,
            Err((_, errno)) => return Err(errno).during("lock", path.display()),
        };
    }
}

/// Where the records of one network are.
pub(crate) struct Place {
    dir: PathBuf,
}

impl Place {
    /// The network `name` below the run directory of a state root.
    pub(crate) fn new(run: &Path, name: &str) -> Self {
        Self { dir: run.join(name) }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn endpoint_dir(&self) -> PathBuf {
        self.dir.join("endpoints")
    }

    pub(crate) fn endpoint_path(&self, container: &str) -> PathBuf {
        self.endpoint_dir().join(container)
    }

    pub(crate) fn network(&self) -> Result<Option<Network>, Error> {
        read(&self.dir.join("network.json"))
    }

    pub(crate) fn write_network(&self, network: &Network) -> Result<(), Error> {
        fs::create_dir_all(&self.dir).during("create directory", self.dir.display())?;
        write(&self.dir.join("network.json"), network)
    }

    pub(crate) fn endpoint(&self, container: &str) -> Result<Option<Endpoint>, Error> {
        read(&self.endpoint_path(container))
    }

    pub(crate) fn write_endpoint(&self, endpoint: &Endpoint) -> Result<(), Error> {
        write(&self.endpoint_path(&endpoint.container), endpoint)
    }

    /// The containers' records; a temporary file beside them is a write that was interrupted.
    pub(crate) fn endpoint_paths(&self) -> Result<Vec<PathBuf>, KernelError> {
        let mut paths = ipam::entries(&self.endpoint_dir())?;
        paths.retain(|path| path.extension().is_none());
        Ok(paths)
    }

    pub(crate) fn endpoints(&self) -> Result<Vec<Endpoint>, Error> {
        let paths = self.endpoint_paths()?;
        let mut endpoints: Vec<Endpoint> =
            paths.iter().filter_map(|path| read(path).transpose()).collect::<Result<_, _>>()?;
        endpoints.sort_by_key(|endpoint| endpoint.ip);
        Ok(endpoints)
    }
}

/// Reads a record; none if there is no such file.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.during("read", path.display())?,
    };
    let record = serde_json::from_slice(&text)
        .map_err(|error| Error::Record { path: path.to_owned(), reason: error.to_string() })?;
    Ok(Some(record))
}

/// Writes a record in one step. Without fsync(2): it speaks of kernel objects that do not survive a power cut either.
fn write<T: Serialize>(path: &Path, record: &T) -> Result<(), Error> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary).during("create", temporary.display())?;
    let text = serde_json::to_vec(record)
        .map_err(|error| Error::Record { path: path.to_owned(), reason: error.to_string() })?;
    file.write_all(&text).during("write", temporary.display())?;
    Ok(fs::rename(&temporary, path).during("rename", temporary.display())?)
}

/// 40 bits of FNV-1a: the same for the same paths on every run and every machine.
pub(crate) fn fingerprint(paths: &[&Path]) -> u64 {
    let bytes = paths.iter().flat_map(|path| path.as_os_str().as_bytes().iter().chain(&[0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    hash >> 24
}
