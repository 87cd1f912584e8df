//! One volume: its record, and how a command holds on to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use nix::fcntl::Flock;
use serde::{Deserialize, Serialize};

/// A volume as its record describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The name; 64 hex digits if nobody chose one.
    pub name: String,
    /// The folder on the host that holds the data: `<store>/<name>/_data`. Not in the record.
    #[serde(skip)]
    pub mountpoint: PathBuf,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Labels, by key.
    pub labels: BTreeMap<String, String>,
    /// Options of the `local` driver, by key.
    pub options: BTreeMap<String, String>,
    /// Nobody chose the name; `prune` may take it, and `--rm` does.
    pub anonymous: bool,
}

/// Keeps a volume from being removed for as long as it lives (flock, shared): from the moment a
/// command decides to use a volume until the container's own record says so. A process that is
/// forked meanwhile keeps it too.
#[derive(Debug)]
pub struct Hold {
    pub(crate) _lock: Flock<File>,
}

/// What [`Store::prune`](crate::Store::prune) did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names of the removed volumes.
    pub removed: Vec<String>,
    /// Bytes of disk they had.
    pub reclaimed: u64,
}
