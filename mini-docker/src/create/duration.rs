//! Durations as Go writes them, and so Docker: `1m30s`, `500ms`, `1.5h`.

use std::time::Duration;

/// Units with their length in nanoseconds.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Reads a duration: decimal numbers, each with a unit (`ns`, `us`, `ms`, `s`, `m`, `h`), one after the other; or `0`.
/// The grammar is that of Go's `time.ParseDuration` without a sign, and so is the largest value, 2^63 ns.
///
/// # Errors
/// What is wrong with it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a duration is a number with a unit, or several".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.starts_with('-') {
        return Err("it cannot be negative".to_owned());
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (_, length) = UNITS.iter().find(|(unit, _)| *unit == &rest[..end]).ok_or_else(wrong)?;
        nanoseconds += number * length;
        rest = &rest[end..];
    }
    if text.trim_start_matches('+').is_empty() {
        return Err(wrong());
    }
    if nanoseconds >= 2_f64.powi(63) {
        return Err("it is longer than 292 years".to_owned());
    }
    Ok(Duration::from_nanos(nanoseconds.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("0s", 0),
            ("30s", 30_000_000_000),
            ("1m30s", 90_000_000_000),
            ("500ms", 500_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+2us", 2_000),
            ("3µs4ns", 3_004),
            ("1s1s", 2_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
        for wrong in
            ["", "+", "5", "s", "1x", "1 s", "-1s", "1..5s", ".s", "1e3s", "3000000h", "1m30"]
        {
            parse_duration(wrong).unwrap_err();
        }
    }
}
