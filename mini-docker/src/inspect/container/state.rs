//! `State`: what has become of it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::NO_TIME;
use crate::record::{Health, Record, Status};
use crate::state::{State, health, health_name};

/// As Docker's: what is paused or about to be started again counts as running.
pub(super) fn state(record: &Record, state: State) -> Value {
    let (code, oom) = match &record.status {
        Status::Created | Status::Running { .. } => (0, false),
        Status::Restarting { code, oom, .. } | Status::Exited { code, oom, .. } => (*code, *oom),
    };
    let failure = record.failure.as_ref();
    let time =
        |time: Option<Timestamp>| time.map_or_else(|| NO_TIME.to_owned(), |time| time.to_string());
    let mut object = json!({
        "Status": state.name(),
        "Running": record.is_active(),
        "Paused": state == State::Paused,
        "Restarting": state == State::Restarting,
        "OOMKilled": oom,
        "Dead": false,
        "Pid": record.pid().unwrap_or_default(),
        "ExitCode": failure.map_or(code, |failure| failure.code),
        "Error": failure.map_or("", |failure| failure.message.as_str()),
        "StartedAt": time(record.started()),
        "FinishedAt": time(record.finished()),
    });
    if let Some(status) = health(record) {
        let known = record.health.as_ref();
        object["Health"] = json!({
            "Status": health_name(status),
            "FailingStreak": known.map_or(0, |health| health.failing_streak),
            "Log": known.map_or_else(Vec::new, probes),
        });
    }
    object
}

fn probes(health: &Health) -> Vec<Value> {
    let probe = |probe: &crate::record::Probe| {
        json!({
            "Start": probe.start.to_string(),
            "End": probe.end.to_string(),
            "ExitCode": probe.code,
            "Output": probe.output,
        })
    };
    health.log.iter().map(probe).collect()
}
