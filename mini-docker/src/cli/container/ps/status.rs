//! STATUS: what has become of a container, and how long ago.

use jiff::Timestamp;

use crate::cli::table;
use crate::record::{HealthStatus, Record, Status};
use crate::state::{State, health, health_name};

/// As Docker's: `Up 5 minutes (healthy)`, `Exited (137) 2 minutes ago`.
pub(super) fn status(record: &Record, state: State, now: Timestamp) -> String {
    let since = |time: &Timestamp| table::duration((now.as_second() - time.as_second()).max(0));
    match &record.status {
        Status::Created => "Created".to_owned(),
        Status::Running { started, .. } => {
            let up = since(started);
            match health(record) {
                _ if state == State::Paused => format!("Up {up} (Paused)"),
                Some(HealthStatus::Starting) => format!("Up {up} (health: starting)"),
                Some(known) => format!("Up {up} ({})", health_name(known)),
                None => format!("Up {up}"),
            }
        }
        Status::Restarting { code, finished, .. } => {
            format!("Restarting ({code}) {} ago", since(finished))
        }
        Status::Exited { code, finished, .. } => format!("Exited ({code}) {} ago", since(finished)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A record with these fields beside those that every record has.
    pub(in crate::cli::container::ps) fn record(fields: Value) -> Record {
        let mut all = json!({
            "id": "0123456789abcdef".repeat(4),
            "name": "box",
            "created": "2026-01-01T00:00:00Z",
            "status": { "state": "created" },
        });
        let map = all.as_object_mut().unwrap();
        map.extend(fields.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn a_status_reads_as_dockers() {
        let now = "2026-01-01T12:00:00Z".parse().unwrap();
        let running = |started: &str| json!({ "state": "running", "pid": 7, "started": started });
        let ended = |state: &str, code: i32, finished: &str| json!({ "state": state, "code": code, "oom": false, "finished": finished });
        let health = |status: &str| json!({ "status": status, "failing_streak": 0, "log": [] });
        let check = json!({
            "test": ["CMD", "true"], "interval": 1, "timeout": 1, "retries": 1, "start_period": 0,
            "start_interval": 1,
        });
        let up = running("2026-01-01T11:55:00Z");
        for (fields, state, expected) in [
            (json!({}), State::Created, "Created"),
            (json!({ "status": up }), State::Running, "Up 5 minutes"),
            (json!({ "status": up }), State::Paused, "Up 5 minutes (Paused)"),
            (
                json!({ "status": up, "health": health("healthy") }),
                State::Running,
                "Up 5 minutes (healthy)",
            ),
            (
                json!({ "status": up, "health": health("unhealthy") }),
                State::Running,
                "Up 5 minutes (unhealthy)",
            ),
            (
                json!({ "status": up, "health": health("healthy") }),
                State::Paused,
                "Up 5 minutes (Paused)",
            ),
            (
                json!({ "status": running("2026-01-01T11:59:59Z"), "health_check": check }),
                State::Running,
                "Up 1 second (health: starting)",
            ),
            // The clock was set back.
            (
                json!({ "status": running("2026-01-01T13:00:00Z") }),
                State::Running,
                "Up Less than a second",
            ),
            (
                json!({ "status": ended("restarting", 1, "2026-01-01T11:59:57Z") }),
                State::Restarting,
                "Restarting (1) 3 seconds ago",
            ),
            (
                json!({ "status": ended("exited", 137, "2026-01-01T10:00:00Z"), "health": health("unhealthy") }),
                State::Exited,
                "Exited (137) 2 hours ago",
            ),
        ] {
            assert_eq!(status(&record(fields.clone()), state, now), expected, "{fields}");
        }
    }
}
