//! One entry of a log: one line of JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::wire::Stream;

/// The length of a time as it is written: `2026-01-01T00:00:00.123456789Z`.
const TIME: usize = 30;

/// A time as entries have it: UTC, nanoseconds in nine digits.
pub(super) fn time(of: Timestamp) -> String {
    format!("{of:.9}")
}

/// Adds an entry. What is not UTF-8 becomes U+FFFD, byte by byte, as Docker's.
pub(super) fn encode(text: &[u8], stream: Stream, time: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"log":""#);
    for chunk in text.utf8_chunks() {
        escape(chunk.valid().as_bytes(), out);
        for _ in chunk.invalid() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    let stream = match stream {
        Stream::Stdout => &br#"","stream":"stdout","time":""#[..],
        Stream::Stderr => br#"","stream":"stderr","time":""#,
    };
    out.extend_from_slice(stream);
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// Adds a JSON string's inside (RFC 8259, section 7).
fn escape(text: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut from = 0;
    for (index, &byte) in text.iter().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text[from..index]);
        from = index + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(br"\n"),
            b'\r' => out.extend_from_slice(br"\r"),
            b'\t' => out.extend_from_slice(br"\t"),
            _ => {
                out.extend_from_slice(br"\u00");
                out.extend_from_slice(&[
                    DIGITS[usize::from(byte >> 4)],
                    DIGITS[usize::from(byte & 15)],
                ]);
            }
        }
    }
    out.extend_from_slice(&text[from..]);
}

/// An entry as it is read.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Entry<'a> {
    /// What was written, with its `\n` if it had one.
    #[serde(borrow, rename = "log")]
    pub(super) text: Cow<'a, str>,
    /// By whom.
    pub(super) stream: Stream,
    #[serde(borrow, rename = "time")]
    written: Cow<'a, str>,
    /// What Docker adds for `--log-opt labels` and `env`.
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

impl<'a> Entry<'a> {
    /// Reads a line. None if it is none of ours nor of Docker's.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let entry: Self = serde_json::from_slice(line).ok()?;
        // Our own are right as they are; of others it must be a time, to be compared and shown.
        let is_own = entry.written.len() == TIME && entry.written.ends_with('Z');
        (is_own || entry.time().is_some()).then_some(entry)
    }

    /// When.
    pub(super) fn time(&self) -> Option<Timestamp> {
        self.written.parse().ok()
    }

    /// When, as `logs -t` shows it.
    pub(super) fn time_shown(&self) -> Cow<'_, str> {
        match self.time() {
            Some(time_read) if self.written.len() != TIME => time(time_read).into(),
            _ => Cow::Borrowed(&self.written),
        }
    }

    /// What `logs --details` shows: `key=value,key=value`, encoded as in a URL's query.
    pub(super) fn details(&self) -> String {
        let pairs: Vec<String> = self
            .attrs
            .iter()
            .map(|(key, value)| format!("{}={}", query_escaped(key), query_escaped(value)))
            .collect();
        pairs.join(",")
    }
}

fn query_escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b' ' => "+".to_owned(),
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const NOON: &str = "2026-01-01T12:00:00.000000001Z";

    fn encoded(text: &[u8]) -> String {
        let mut out = Vec::new();
        encode(text, Stream::Stderr, NOON, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_entry_is_one_line_as_dockers() {
        assert_eq!(
            encoded(b"say \"\\\"\tnow\x1b[0m\x00\r\n"),
            "{\"log\":\"say \\\"\\\\\\\"\\tnow\\u001b[0m\\u0000\\r\\n\",\"stream\":\"stderr\",\
             \"time\":\"2026-01-01T12:00:00.000000001Z\"}\n"
        );
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        assert_eq!(time(noon), "2026-01-01T12:00:00.000000000Z");
        assert_eq!(time(noon).len(), TIME);
    }

    #[test]
    fn what_is_no_text_becomes_a_sign_for_each_byte() {
        for (bytes, text) in [
            (&b"\xff\xfe"[..], "\u{fffd}\u{fffd}"),
            // A character that was cut, and one that is encoded in too many bytes.
            (b"\xe2\x82x", "\u{fffd}\u{fffd}x"),
            (b"\xc0\x80", "\u{fffd}\u{fffd}"),
            ("grün €\u{2028}".as_bytes(), "grün €\u{2028}"),
        ] {
            let line = encoded(bytes);
            assert_eq!(Entry::parse(line.as_bytes()).unwrap().text, text, "{bytes:?}");
        }
    }

    #[test]
    fn entries_of_docker_are_read_and_others_are_not() {
        // Without the zeros at the end of the fraction, with attributes, in another order.
        let line = r#"{"stream":"stdout","log":"a","attrs":{"tag":"x y","k":"1"},"time":"2026-01-01T00:00:00.5Z"}"#;
        let entry = Entry::parse(line.as_bytes()).unwrap();
        assert_eq!(entry.details(), "k=1,tag=x+y");
        assert_eq!(entry.time_shown(), "2026-01-01T00:00:00.500000000Z");
        for wrong in [
            "",
            "{}",
            "text",
            r#"{"log":"a","stream":"stdout"}"#,
            r#"{"log":"a","stream":"stdin","time":"2026-01-01T00:00:00Z"}"#,
            r#"{"log":"a","stream":"stdout","time":"yesterday"}"#,
            r#"{"log":"a","stream":"stdout","time":"2026-01-01T00:00:"#,
        ] {
            assert_eq!(Entry::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in "\\PC*|.*", bytes in vec(any::<u8>(), 0..60)) {
            let line = encoded(text.as_bytes());
            prop_assert_eq!(line.matches('\n').count(), 1);
            let entry = Entry::parse(line.as_bytes()).unwrap();
            prop_assert_eq!(&*entry.text, &text);
            prop_assert_eq!(entry.time_shown(), NOON);
            let line = encoded(&bytes);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let shown = Entry::parse(line.as_bytes()).unwrap().text.into_owned();
            match std::str::from_utf8(&bytes) {
                Ok(text) => prop_assert_eq!(text, shown),
                Err(_) => prop_assert!(shown.contains(char::REPLACEMENT_CHARACTER)),
            }
        }
    }
}
