//! What a container is doing: what its record says, if somebody still answers for it, and what only the kernel knows.

use std::cell::OnceCell;

use anyhow::Result;
use cgroups::{Cgroup, Hierarchies};

use crate::containers::Containers;
use crate::engine::Engine;
use crate::record::{HealthStatus, Record, Status};

/// Docker's word for what a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Never started.
    Created,
    /// Its process runs.
    Running,
    /// Its processes stand still.
    Paused,
    /// Its process has ended and will be started again.
    Restarting,
    /// Its process has ended.
    Exited,
}

impl State {
    /// `created`, `running`, `paused`, `restarting`, `exited`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
        }
    }
}

/// Looks at containers.
#[derive(Debug)]
pub struct Looker<'engine> {
    engine: &'engine Engine,
    hierarchies: OnceCell<Option<Hierarchies>>,
}

impl<'engine> Looker<'engine> {
    /// Of this engine's containers.
    pub fn new(engine: &'engine Engine) -> Self {
        Self { engine, hierarchies: OnceCell::new() }
    }

    /// All containers, newest first, as [`look`](Self::look) sees them.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Record>> {
        let records = Containers::new(self.engine).list()?;
        Ok(records.into_iter().filter_map(|record| self.look(record)).collect())
    }

    /// The record as it is true now: the supervisor may have died since the record was written, and what it supervised
    /// has died with it, even if nobody has taken that down yet. None if the container is gone.
    pub fn look(&self, record: Record) -> Option<Record> {
        let containers = Containers::new(self.engine);
        if !record.is_active() || containers.is_held(&record.id) {
            return Some(record);
        }
        // Its supervisor has written down the end and let go, or was killed.
        let mut now = containers.load(&record.id).ok()?;
        if now.is_active() && !containers.is_held(&now.id) {
            if now.auto_remove {
                return None;
            }
            let code = match now.status {
                Status::Restarting { code, .. } => code,
                _ => 137,
            };
            now.end(code, false);
        }
        Some(now)
    }

    /// What it is doing.
    pub fn state(&self, record: &Record) -> State {
        match record.status {
            Status::Created => State::Created,
            Status::Running { .. } if self.is_paused(record) => State::Paused,
            Status::Running { .. } => State::Running,
            Status::Restarting { .. } => State::Restarting,
            Status::Exited { .. } => State::Exited,
        }
    }

    fn is_paused(&self, record: &Record) -> bool {
        self.cgroup(record).is_some_and(|cgroup| cgroup.is_frozen().unwrap_or_default())
    }

    /// The cgroup of its processes, while there is one.
    pub fn cgroup(&self, record: &Record) -> Option<Cgroup> {
        let hierarchies = self.hierarchies.get_or_init(|| Hierarchies::detect().ok()).as_ref()?;
        let path = format!("{}/{}", self.engine.cgroup_parent(), record.id);
        Cgroup::open(hierarchies, &path).ok()
    }
}

/// Whether a container works: None if nobody checks.
pub fn health(record: &Record) -> Option<HealthStatus> {
    match (&record.health, &record.health_check) {
        (Some(health), _) => Some(health.status),
        // The first check is still to come.
        (None, Some(_)) if record.pid().is_some() => Some(HealthStatus::Starting),
        _ => None,
    }
}

/// `starting`, `healthy`, `unhealthy`.
pub fn health_name(status: HealthStatus) -> &'static str {
    match status {
        HealthStatus::Starting => "starting",
        HealthStatus::Healthy => "healthy",
        HealthStatus::Unhealthy => "unhealthy",
    }
}
