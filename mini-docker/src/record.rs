//! What is remembered of a container: everything that its OCI spec has no words for.

mod asked;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use asked::Asked;

use crate::failure::Failure;

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
    /// What other flags said, for `inspect`.
    #[serde(default)]
    pub asked: Asked,
    /// `--restart`.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// How often the policy has started it again since the user did.
    #[serde(default)]
    pub restarts: u32,
    /// The user has stopped it: no policy but `always` brings it back, and that only after a boot.
    #[serde(default)]
    pub halted: bool,
    /// `--stop-timeout`, in seconds. None: 10. Negative: for ever.
    #[serde(default)]
    pub stop_timeout: Option<i64>,
    /// `--log-driver` and `--log-opt`.
    #[serde(default)]
    pub log: LogOptions,
    /// The check of `--health-cmd` or of the image's HEALTHCHECK.
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
    /// What the check has found, while the container runs and afterwards.
    #[serde(default)]
    pub health: Option<Health>,
    /// Why the last attempt to start it has failed, until one succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<StartFailure>,
    /// When the run before the one that is going on ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_before: Option<Timestamp>,
    /// What has become of it.
    pub status: Status,
}

/// A start that has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// What the user was told.
    pub message: String,
    /// The exit code that goes with it: 127 for a program that is not there.
    pub code: i32,
}

impl StartFailure {
    /// Exit code of what could not be started for another reason than its program: Docker's.
    const USUAL: u8 = 128;

    /// What is remembered of a failure.
    pub fn new(failure: &Failure) -> Self {
        Self { message: failure.message.clone(), code: failure.code.unwrap_or(Self::USUAL).into() }
    }
}

impl Record {
    /// Remembers that the process has ended, and that nothing of its network is left.
    pub fn end(&mut self, code: i32, oom: bool) {
        let started = self.started();
        self.status = Status::Exited { code, oom, started, finished: Timestamp::now() };
        self.forget_network();
    }

    /// When its process was started, if it ever was.
    pub fn started(&self) -> Option<Timestamp> {
        match &self.status {
            Status::Created => None,
            Status::Running { started, .. } => Some(*started),
            Status::Restarting { started, .. } | Status::Exited { started, .. } => *started,
        }
    }

    /// Remembers that its process runs.
    pub fn begin(&mut self, pid: i32) {
        self.finished_before = self.finished();
        self.failure = None;
        self.status = Status::Running { pid, started: Timestamp::now() };
    }

    /// When its process has last ended, if it ever has; while it runs again, the time before that.
    pub fn finished(&self) -> Option<Timestamp> {
        match &self.status {
            Status::Created | Status::Running { .. } => self.finished_before,
            Status::Restarting { finished, .. } | Status::Exited { finished, .. } => {
                Some(*finished)
            }
        }
    }

    /// Its first process as the host sees it, while it runs.
    pub fn pid(&self) -> Option<i32> {
        match self.status {
            Status::Running { pid, .. } => Some(pid),
            _ => None,
        }
    }

    /// Whether a supervisor has it: its process runs, or will be started again in a moment.
    pub fn is_active(&self) -> bool {
        matches!(self.status, Status::Running { .. } | Status::Restarting { .. })
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
    /// `--link`: ids of other containers, and the names that they have here.
    #[serde(default)]
    pub links: Vec<(String, String)>,
    /// Names and addresses of `links`, looked up at the start.
    #[serde(skip)]
    pub linked: Vec<(String, String)>,
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
    /// Its process has ended, and its monitor is going to start it again.
    Restarting {
        /// As a shell reports it: 128+n for signal n.
        code: i32,
        /// The kernel ended it for want of memory.
        oom: bool,
        /// When the process was started.
        started: Option<Timestamp>,
        /// When it ended.
        finished: Timestamp,
    },
    /// Its process has ended.
    Exited {
        /// As a shell reports it: 128+n for signal n.
        code: i32,
        /// The kernel ended it for want of memory.
        oom: bool,
        /// When the process was started.
        #[serde(default)]
        started: Option<Timestamp>,
        /// When it ended.
        finished: Timestamp,
    },
}

/// When a container is started again without being asked (`--restart`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// When its exit code is not 0.
    OnFailure {
        /// So often at most. None: without limit.
        most: Option<u32>,
    },
    /// Whenever it ends; after a boot even if the user had stopped it.
    Always,
    /// Whenever it ends, and after a boot unless the user had stopped it.
    UnlessStopped,
}

/// Where a container's output is kept (`--log-driver`, `--log-opt`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOptions {
    /// False: `--log-driver none`.
    pub enabled: bool,
    /// A file that has grown so large, in bytes, is rotated. None: never.
    pub max_size: Option<u64>,
    /// So many files are kept, the one that is written included; at least 1.
    pub max_file: u32,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { enabled: true, max_size: Some(10 << 20), max_file: 3 }
    }
}

/// How to find out whether a container works. Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// `CMD` and arguments, or `CMD-SHELL` and one line for the shell, as in an image's config.
    pub test: Vec<String>,
    /// Between the end of one check and the next, 30 s by default.
    pub interval: u64,
    /// A check that takes longer has failed, 30 s by default.
    pub timeout: u64,
    /// So many failures in a row make it unhealthy, 3 by default.
    pub retries: u32,
    /// Failures do not count so long after the start unless a check has succeeded; 0 by default.
    pub start_period: u64,
    /// Between checks during the start period, 5 s by default.
    pub start_interval: u64,
    /// The image's SHELL, for `CMD-SHELL`. Empty: `/bin/sh -c`.
    #[serde(default)]
    pub shell: Vec<String>,
    /// `--on-unhealthy`.
    #[serde(default)]
    pub on_unhealthy: OnUnhealthy,
}

/// What is done with a container that has become unhealthy (`--on-unhealthy`; Docker only tells).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnhealthy {
    /// Nothing: it is told by `ps`, `inspect` and `events`.
    #[default]
    None,
    /// Its process is ended and started again, whatever `--restart` says.
    Restart,
    /// Its process is ended, and the restart policy decides.
    Kill,
    /// It is stopped as `stop` does.
    Stop,
}

/// What checks have found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last five checks, the newest last.
    pub log: Vec<Probe>,
}

/// Whether a container works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Nothing is known yet.
    Starting,
    /// The last check succeeded.
    Healthy,
    /// Too many checks in a row have failed.
    Unhealthy,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Its exit code; -1 if it took too long or could not be run.
    pub code: i32,
    /// What it wrote, 4096 bytes at most.
    pub output: String,
}
