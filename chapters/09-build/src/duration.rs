//! Go's durations: `1m30s`, `100ms`, `1.5h`, `-2us`, `0`. Go: package `time`, `ParseDuration`.

use std::time::Duration;

/// Most nanoseconds that Go's 64 bits hold.
const MOST: f64 = i64::MAX as f64;

/// Reads a duration; one less than zero is nothing.
///
/// # Errors
/// In Go's words.
pub(crate) fn parse(text: &str) -> Result<Option<Duration>, String> {
    let invalid = || format!("time: invalid duration \"{text}\"");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(Some(Duration::ZERO));
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut whole: u64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.');
        let (number, more) = rest.split_at(end.unwrap_or(rest.len()));
        let end = more.find(|char: char| char.is_ascii_digit() || char == '.');
        let (unit, more) = more.split_at(end.unwrap_or(more.len()));
        rest = more;
        let (digits, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (digits.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        let nanoseconds: u64 = match unit {
            "" => return Err(format!("time: missing unit in duration \"{text}\"")),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(format!("time: unknown unit \"{unit}\" in duration \"{text}\"")),
        };
        let digits: u64 = match digits {
            "" => 0,
            _ => digits.parse().map_err(|_| invalid())?,
        };
        let part: f64 = if fraction.is_empty() {
            0.0
        } else {
            format!("0.{fraction}").parse::<f64>().map_err(|_| invalid())? * nanoseconds as f64
        };
        whole = digits
            .checked_mul(nanoseconds)
            .and_then(|time| time.checked_add(part as u64))
            .and_then(|time| time.checked_add(whole))
            .filter(|time| (*time as f64) < MOST)
            .ok_or_else(invalid)?;
    }
    Ok((!negative || whole == 0).then(|| Duration::from_nanos(whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_reads_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("+0", 0),
            ("-0s", 0),
            ("1ns", 1),
            ("2us", 2_000),
            ("2µs", 2_000),
            ("100ms", 100_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1h1m1s1ms", 3_661_001_000_000),
        ] {
            assert_eq!(parse(text), Ok(Some(Duration::from_nanos(nanoseconds))), "{text}");
        }
        assert_eq!(parse("-1s"), Ok(None));
        for (text, error) in [
            ("", "invalid"),
            ("-", "invalid"),
            ("s", "invalid"),
            (".s", "invalid"),
            ("1.2.3s", "invalid"),
            ("10", "missing unit"),
            ("1s5", "missing unit"),
            ("1d", "unknown unit \"d\""),
            ("1 s", "unknown unit \" s\""),
            ("9999999999h", "invalid"),
            ("99999999999999999999s", "invalid"),
        ] {
            let message = parse(text).expect_err(text);
            assert!(message.contains(error), "{text}: {message}");
        }
    }
}
