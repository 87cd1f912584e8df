//! What is remembered of a container: everything that its OCI spec has no words for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Everything about a container that its OCI spec does not say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// 64 hex digits.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// The image as the user named it; none for `--rootfs`.
    #[serde(default)]
    pub image: Option<String>,
    /// Digest of the image's config, `sha256:...`.
    #[serde(default)]
    pub image_id: Option<String>,
    /// Unpacked layers by diff ID, lowest first. Empty for `--rootfs`.
    #[serde(default)]
    pub layers: Vec<String>,
    /// Command and arguments, as `ps` shows them.
    #[serde(default)]
    pub command: Vec<String>,
    /// When it was created.
    pub created: Timestamp,
    /// `--rm`: the container goes when its process ends.
    #[serde(default)]
    pub auto_remove: bool,
    /// `-t`.
    #[serde(default)]
    pub terminal: bool,
    /// `-i`.
    #[serde(default)]
    pub interactive: bool,
    /// `--init`.
    #[serde(default)]
    pub init: bool,
    /// The user as given, to be looked up in the image's own files: empty means root.
    #[serde(default)]
    pub user: String,
    /// `--group-add`.
    #[serde(default)]
    pub group_add: Vec<String>,
    /// The signal that `stop` sends, `SIGTERM` by default.
    #[serde(default)]
    pub stop_signal: String,
    /// Whose processes it sees: `private`, `host` or `container:<id>`.
    #[serde(default)]
    pub pid_mode: String,
    /// How the container is connected.
    #[serde(default)]
    pub network: NetworkRequest,
    /// `-v`, `--mount`, `--tmpfs` and the image's VOLUMEs.
    #[serde(default)]
    pub mounts: Vec<MountRecord>,
    /// `-l`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What the flags change in the image's `config` object (`Env`, `Cmd`, ...): `commit` makes it part of an image.
    /// `null` takes a field away.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// What has become of it.
    pub status: Status,
}

impl Record {
    /// Remembers that the process has ended, and that nothing of its network is left.
    pub fn end(&mut self, code: i32, oom: bool) {
        self.status = Status::Exited { code, oom, finished: Timestamp::now() };
        self.forget_network();
    }

    /// Forgets addresses and ports of a run that is over.
    pub fn forget_network(&mut self) {
        self.network.address = None;
        self.network.ports.clear();
    }
}

/// What the user asked of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRequest {
    /// `bridge`, `none`, `host` or `container:<id>`.
    pub mode: String,
    /// `-p` as given, and the ports of `-P`.
    pub publish: Vec<String>,
    /// `--ip`.
    pub ip: Option<std::net::Ipv4Addr>,
    /// `--mac-address`.
    pub mac: Option<String>,
    /// `--dns`.
    pub dns: Vec<std::net::IpAddr>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--add-host`, name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// What the container got while it runs.
    #[serde(default)]
    pub address: Option<std::net::Ipv4Addr>,
    /// Ports as they were published while it runs: `0.0.0.0:8080->80/tcp`.
    #[serde(default)]
    pub ports: Vec<String>,
}

/// A mount that the user or the image asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRecord {
    /// `bind`, `volume` or `tmpfs`.
    pub kind: String,
    /// Name of the volume.
    pub volume: Option<String>,
    /// Folder on the host.
    pub source: Option<PathBuf>,
    /// Place in the container.
    pub target: PathBuf,
    /// No writes.
    pub read_only: bool,
    /// An anonymous volume: it goes with `--rm` and `rm -v`.
    pub anonymous: bool,
    /// Filled from the image at its first use.
    pub copy: bool,
    /// `volume-nocopy`: not filled from the image, whoever mounts it.
    #[serde(default)]
    pub nocopy: bool,
    /// `volume-subpath`: the folder in the volume that is mounted instead of the whole.
    #[serde(default)]
    pub subpath: Option<PathBuf>,
    /// `bind-propagation`, as the flag spells it: `rslave`.
    #[serde(default)]
    pub propagation: Option<String>,
    /// `bind-recursive`, if it is not the default: `disabled` or `writable`.
    #[serde(default)]
    pub recursive: Option<String>,
}

/// What has become of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Status {
    /// Never started.
    Created,
    /// Its supervisor holds it.
    Running {
        /// Process 1 of the container, as the host sees it.
        pid: i32,
        /// Since when.
        started: Timestamp,
    },
    /// Its process has ended.
    Exited {
        /// As a shell reports it: 128+n for signal n.
        code: i32,
        /// The kernel ended it for want of memory.
        oom: bool,
        /// When.
        finished: Timestamp,
    },
}
