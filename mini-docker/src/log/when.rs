//! Points in time as users give them: `--since` and `--until`.

use anyhow::Result;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::failure::Failure;

/// Reads what Docker reads: a duration before `now` (`10m`, `1h30m`, `1.5h`), a date or time (`2026-01-02`,
/// `2026-01-02T15:04:05.5`, with `Z`, `+01:00` or, without, in the local time zone), or Unix seconds (`1767366245.5`).
/// `what` names it in the error: `since`.
///
/// # Errors
/// A failure with a hint for anything else.
pub fn parse(what: &str, text: &str, now: Timestamp) -> Result<Timestamp> {
    parse_in(text, now, &TimeZone::system()).ok_or_else(|| {
        Failure::new(format!(
            "invalid value for \"{what}\": failed to parse value as time or duration: \"{text}\""
        ))
        .hint("as in 10m, 1h30m, 2026-01-02T15:04:05 (local time), 2026-01-02T15:04:05Z, or Unix seconds")
        .into()
    })
}

fn parse_in(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    if let Some(unix) = unix(text) {
        return Some(unix);
    }
    if let Some(duration) = duration(text) {
        return now.checked_sub(duration).ok();
    }
    date(text, zone)
}

/// Seconds since 1970, with up to nine digits of a fraction.
fn unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanoseconds).ok()
}

/// A duration as Go writes it: numbers, each with its unit.
fn duration(text: &str) -> Option<SignedDuration> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("μs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|letter: char| letter.is_ascii_digit() || letter == '.');
        let (unit, next) = after.split_at(unit_end.unwrap_or(after.len()));
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = next;
    }
    SignedDuration::try_from_secs_f64(sign * seconds).ok()
}

/// A date, perhaps with a time, perhaps with a zone.
fn date(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    // `2006-01-02` is ten letters; a zone's sign comes later.
    let (day, rest) = text.split_at_checked(10)?;
    let zone_start = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, offset) = rest.split_at(zone_start);
    let civil = match time.strip_prefix('T') {
        None if time.is_empty() => format!("{day}T00:00:00"),
        // Minutes and seconds may be left out.
        Some(time) if time.len() == 2 => format!("{day}T{time}:00:00"),
        Some(time) if time.len() == 5 => format!("{day}T{time}:00"),
        Some(_) => format!("{day}{time}"),
        None => return None,
    };
    let civil: DateTime = civil.parse().ok()?;
    let zone = match offset {
        "" => zone.clone(),
        "Z" | "z" => TimeZone::UTC,
        offset => {
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
            let seconds = if offset.starts_with('-') { -seconds } else { seconds };
            Offset::from_seconds(seconds).ok()?.to_time_zone()
        }
    };
    Some(civil.to_zoned(zone).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_given_as_to_docker() {
        let now: Timestamp = "2026-01-02T12:00:00.5Z".parse().unwrap();
        let zone = TimeZone::get("Europe/Berlin")
            .unwrap_or_else(|_| Offset::from_seconds(3600).unwrap().to_time_zone());
        for (text, time) in [
            ("10m", "2026-01-02T11:50:00.5Z"),
            ("1h30m", "2026-01-02T10:30:00.5Z"),
            ("1.5h", "2026-01-02T10:30:00.5Z"),
            ("500ms", "2026-01-02T12:00:00Z"),
            ("-1m", "2026-01-02T12:01:00.5Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("0s", "2026-01-02T12:00:00.5Z"),
            ("1136073600", "2006-01-01T00:00:00Z"),
            ("1136073600.000000001", "2006-01-01T00:00:00.000000001Z"),
            ("1136073600.5", "2006-01-01T00:00:00.5Z"),
            ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456789Z"),
            ("2026-01-02T03:04:05+01:00", "2026-01-02T02:04:05Z"),
            ("2026-01-02T03:04:05.5-01:30", "2026-01-02T04:34:05.5Z"),
            ("2026-01-02T03:04Z", "2026-01-02T03:04:00Z"),
            ("2026-01-02Z", "2026-01-02T00:00:00Z"),
            ("2026-01-02+01:00", "2026-01-01T23:00:00Z"),
            ("2026-01-02T03:04:05", "2026-01-02T02:04:05Z"),
            ("2026-01-02T03:04", "2026-01-02T02:04:00Z"),
            ("2026-01-02T03", "2026-01-02T02:00:00Z"),
            ("2026-01-02", "2026-01-01T23:00:00Z"),
        ] {
            let time: Timestamp = time.parse().unwrap();
            assert_eq!(parse_in(text, now, &zone), Some(time), "{text}");
        }
        for wrong in [
            "",
            "x",
            "-",
            "1d",
            "10m5",
            "m",
            "1.2.3",
            "1.0000000001",
            "2026-13-01",
            "2026-01-02 03:04",
            "2026-01-02T",
            "2026-01-02T03:04:05+1",
            "yesterday",
            "2026-01-02T03:04:05Zz",
            "1e3s",
            "99999999h9999999999999999h",
        ] {
            assert_eq!(parse_in(wrong, now, &zone), None, "{wrong}");
        }
    }
}
