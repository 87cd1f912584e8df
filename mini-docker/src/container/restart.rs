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
pub fn wants_after_boot(record: &Record) -> bool {
    use crate::record::Status;
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
}
