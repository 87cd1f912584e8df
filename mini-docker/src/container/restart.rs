//! When a container that has ended is started again.

use std::time::Duration;

use crate::record::{Record, RestartPolicy};

/// The first pause before it is started again.
const FIRST: Duration = Duration::from_millis(100);
/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(60);
/// Whoever has run so long was well: its next pause is the first one again.
const WELL: Duration = Duration::from_secs(10);

/// Whether the policy wants it started again, now that it has ended with this code.
pub fn wants(record: &Record, code: i32) -> bool {
    !record.halted
        && match record.restart {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure { most } => {
                code != 0 && most.is_none_or(|most| record.restarts < most)
            }
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        }
}

/// Whether it comes back when the machine has booted (`system restart-all`): what had run before, or was to be started
/// again, according to its policy.
///
/// For `on-failure` Docker's documentation says that it does not come back with the daemon. What dockerd does is to ask
/// the policy again for all that do not run (`daemon.restore`, `ShouldRestart`): whatever has not ended with 0 comes
/// back, and a power cut is not an end with 0. So it is here, but for one thing: dockerd also starts what the user has
/// stopped, if that has not ended with 0 (reported as moby#35166); here stopped is stopped.
pub fn wants_after_boot(record: &Record) -> bool {
    use crate::record::Status;
    // An `on-failure:5` that has failed five times does not.
    if let RestartPolicy::OnFailure { most: Some(most) } = record.restart
        && record.restarts >= most
    {
        return false;
    }
    match (&record.status, record.restart) {
        (Status::Created, _) | (_, RestartPolicy::No) => false,
        (_, RestartPolicy::Always) => true,
        (_, RestartPolicy::UnlessStopped) => !record.halted,
        (Status::Exited { code, .. }, RestartPolicy::OnFailure { .. }) => {
            *code != 0 && !record.halted
        }
        (_, RestartPolicy::OnFailure { .. }) => !record.halted,
    }
}

/// Pauses that double.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// How long to wait before the next start of what has just run for so long.
    pub fn pause(&mut self, ran: Duration) -> Duration {
        if ran >= WELL {
            self.next = FIRST;
        }
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew_after_ten_good_seconds() {
        let mut backoff = Backoff::default();
        let mut pauses = |ran: u64| backoff.pause(Duration::from_millis(ran)).as_millis();
        assert_eq!([0; 11].map(&mut pauses)[..5], [100, 200, 400, 800, 1600]);
        assert_eq!(pauses(9_999), 60_000);
        assert_eq!(pauses(10_000), 100);
        assert_eq!(pauses(0), 200);
    }

    fn record(policy: RestartPolicy, status: serde_json::Value) -> Record {
        let mut record: Record = serde_json::from_value(serde_json::json!({
            "id": "a", "name": "a", "created": "2026-01-31T12:00:00Z", "status": status,
        }))
        .unwrap();
        record.restart = policy;
        record
    }

    #[test]
    fn what_comes_back_after_a_boot() {
        use RestartPolicy::{Always, No, OnFailure, UnlessStopped};
        let time = "2026-01-31T12:00:00Z";
        let created = serde_json::json!({ "state": "created" });
        let running = serde_json::json!({ "state": "running", "pid": 7, "started": time });
        let exited = |code: i32| serde_json::json!({ "state": "exited", "code": code, "oom": false, "finished": time });
        let fails = OnFailure { most: None };
        for (policy, status, halted, comes) in [
            (No, exited(1), false, false),
            (Always, created, false, false),
            (Always, exited(0), false, true),
            (Always, exited(0), true, true),
            (UnlessStopped, exited(0), false, true),
            (UnlessStopped, exited(1), true, false),
            (fails, exited(0), false, false),
            (fails, exited(1), false, true),
            (fails, exited(137), true, false),
            (fails, running, false, true),
        ] {
            let mut record = record(policy, status.clone());
            record.halted = halted;
            assert_eq!(wants_after_boot(&record), comes, "{policy:?} {status} {halted}");
        }
        for (most, restarts, comes) in [(None, 7, true), (Some(3), 2, true), (Some(3), 3, false)] {
            let mut record = record(OnFailure { most }, exited(1));
            record.restarts = restarts;
            assert_eq!(wants_after_boot(&record), comes, "{most:?} {restarts}");
        }
    }
}
