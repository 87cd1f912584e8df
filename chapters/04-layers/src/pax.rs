//! The extended header of pax(1): what does not fit into a tar header of 1988, as a list of
//! `key=value` records.
//!
//! A record is `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record in decimal, itself
//! included. Only the length says where a record ends: a value may contain newlines, and the
//! attribute `security.capability` does.

use nix::sys::time::TimeSpec;

/// Records in the order of the file.
pub(crate) type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads the records. None if they are malformed.
pub(crate) fn parse(mut bytes: &[u8]) -> Option<Records> {
    let mut records = Vec::new();
    // Some writers pad the header with NUL bytes.
    while bytes.first().is_some_and(|byte| *byte != 0) {
        let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let length: usize = decimal(&bytes[..space])?.try_into().ok()?;
        let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        bytes = &bytes[length..];
    }
    Some(records)
}

/// Appends one record.
pub(crate) fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    // The length counts its own digits: adding them can add one more.
    let mut length = rest + digits(rest);
    length = rest + digits(length);
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// A decimal number without a sign.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A time in seconds, with a fraction of any length and perhaps a minus sign:
/// `1350244992.023960108`, `-1.5`.
pub(crate) fn time(text: &[u8]) -> Option<TimeSpec> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut halves = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(halves.next()?)?).ok()?;
    let fraction = halves.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| i64::from(fraction.get(at).map_or(0, |byte| byte - b'0'));
    let nanoseconds = (0..9).fold(0, |sum, at| sum * 10 + digit(at));
    Some(match (negative, nanoseconds) {
        (false, _) => TimeSpec::new(seconds, nanoseconds),
        (true, 0) => TimeSpec::new(-seconds, 0),
        // Nanoseconds always count forward: -1.5 s is 2 s before the epoch and half a second on.
        (true, _) => TimeSpec::new(-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

/// The time as [`time`] reads it.
pub(crate) fn time_text(time: TimeSpec) -> String {
    let (seconds, nanoseconds) = (time.tv_sec(), time.tv_nsec());
    if nanoseconds == 0 {
        return seconds.to_string();
    }
    let (sign, seconds, nanoseconds) = if seconds < 0 {
        ("-", -(seconds + 1), 1_000_000_000 - nanoseconds)
    } else {
        ("", seconds, nanoseconds)
    };
    format!("{sign}{seconds}.{nanoseconds:09}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn records_may_hold_any_byte() {
        let mut bytes = Vec::new();
        push(&mut bytes, b"path", b"a/b");
        push(&mut bytes, b"SCHILY.xattr.security.capability", b"\x01\n\0=\n\xff");
        // 9 becomes 10 with its own second digit, 99 becomes 101.
        for length in 0..120 {
            push(&mut bytes, b"k", &vec![b'\n'; length]);
        }
        let records = parse(&bytes).unwrap();
        assert_eq!(records[0], (b"path".to_vec(), b"a/b".to_vec()));
        assert_eq!(records[1].1, b"\x01\n\0=\n\xff");
        assert_eq!(records.len(), 122);
        assert!(records[2..].iter().enumerate().all(|(index, (_, value))| value.len() == index));
    }

    #[test]
    fn malformed_records_are_seen() {
        for text in
            ["x", "5 a=b", "7 a=b\n", "6 ab\n", "99999999999999999999 a=b\n", "-6 a=b\n", "0 a=b\n"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse(b"6 a=b\n\0\0").unwrap().len(), 1);
    }

    #[test]
    fn times_go_there_and_back() {
        for text in ["0", "1350244992.02396", "-1.5", "-2", "1.000000001", "-0.000000001"] {
            assert_eq!(time_text(time(text.as_bytes()).unwrap()), text);
        }
        assert_eq!(time(b"1.1234567899").unwrap(), TimeSpec::new(1, 123_456_789));
        for text in ["", ".", "1e9", "1.x", "+1", "--1"] {
            assert_eq!(time(text.as_bytes()), None, "{text:?}");
        }
    }
}
