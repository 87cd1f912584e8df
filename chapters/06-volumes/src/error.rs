//! What can go wrong with a volume, as far as a caller can act on it.

use std::path::PathBuf;

use syscalls::KernelError;

use crate::spec::ParseError;

/// What went wrong with a volume; each prints as one line and, where something can be done, a
/// `hint:` line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A name, an option or a source that cannot be.
    #[error(transparent)]
    Invalid(#[from] ParseError),
    /// There is no volume of this name.
    #[error("get {name}: no such volume\nhint: `mini-docker volume ls` lists what is there")]
    NotFound {
        /// The name asked for.
        name: String,
    },
    /// Containers have the volume mounted, or are just being made with it.
    #[error("remove {name}: volume is in use - [{}]\nhint: remove the container first", .containers.join(", "))]
    InUse {
        /// The volume.
        name: String,
        /// Ids of the containers; empty if one is only being made.
        containers: Vec<String>,
    },
    /// A volume of this name exists with other driver options.
    #[error(
        "create {name}: a volume with this name and other options exists\nhint: remove it first, or choose another name"
    )]
    Conflict {
        /// The volume.
        name: String,
    },
    /// `volume.json` does not read as a record.
    #[error("read record `{path}`: {reason}")]
    Record {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
}
