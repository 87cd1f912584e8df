//! How long to wait before the next try.

use std::time::Duration;

use ureq::http::HeaderMap;
use ureq::http::header::RETRY_AFTER;

/// No wait between two tries is longer.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// A registry that asks for more patience is an error: somebody is waiting in front of a terminal.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// The wait after failure number `failures` (from 1): doubles each time, with jitter, so that many clients of a registry
/// that was restarted do not come back in step.
pub(super) fn backoff(base: Duration, failures: u32) -> Duration {
    let whole = base.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(MAX_BACKOFF);
    // Between half and all of it. Without randomness the wait is whole, which is not wrong either.
    let random = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
    whole.mul_f64(0.5 + random / 2.0)
}

/// `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds() {
        let base = Duration::from_millis(200);
        for (failures, whole) in [(1, 0.2), (2, 0.4), (3, 0.8), (6, 6.4), (7, 10.0), (4_000, 10.0)]
        {
            for _ in 0..20 {
                let wait = backoff(base, failures).as_secs_f64();
                assert!((whole / 2.0..=whole).contains(&wait), "{failures}: {wait}");
            }
        }
    }

    #[test]
    fn seconds_or_a_date() {
        let now: jiff::Timestamp = "2015-10-21T07:27:50Z".parse().unwrap();
        for (text, seconds) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(10)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
