//! Lines from a stream of bytes that comes in any pieces.

/// A longer line is written as several entries, as Docker does: so much of it, its end (`\n`) not counted, in each.
pub(super) const MOST: usize = 16 << 10;

/// What one stream has written since its last whole line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Takes bytes and gives what is complete: lines with their `\n`, and pieces of [`MOST`] bytes of a line that is
    /// longer. A piece ends a few bytes earlier rather than in the middle of a UTF-8 character.
    pub(super) fn push(&mut self, bytes: &[u8], mut give: impl FnMut(&[u8])) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends = part.ends_with(b"\n");
            let end = usize::from(ends);
            if ends && self.pending.is_empty() && part.len() - end <= MOST {
                give(part);
                continue;
            }
            let mut rest = part;
            loop {
                let room = MOST - self.pending.len();
                if rest.len() - end <= room {
                    self.pending.extend_from_slice(rest);
                    if ends {
                        give(&self.pending);
                        self.pending.clear();
                    }
                    break;
                }
                let (piece, after) = rest.split_at(room);
                rest = after;
                self.pending.extend_from_slice(piece);
                let whole = MOST - unfinished_character(&self.pending);
                give(&self.pending[..whole]);
                self.pending.drain(..whole);
            }
        }
    }

    /// Gives what will have no end.
    pub(super) fn end(&mut self, give: impl FnOnce(&[u8])) {
        if !self.pending.is_empty() {
            give(&self.pending);
            self.pending.clear();
        }
    }
}

/// How many bytes at the end are the beginning of a UTF-8 character whose rest may still come: 0 to 3.
fn unfinished_character(bytes: &[u8]) -> usize {
    let is_unfinished = |length: &usize| {
        let tail = &bytes[bytes.len() - length..];
        std::str::from_utf8(tail)
            .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    (1..=3.min(bytes.len())).find(is_unfinished).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn all(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.push(chunk, |line| found.push(line.to_vec()));
        }
        lines.end(|line| found.push(line.to_vec()));
        found
    }

    #[test]
    fn lines_end_where_the_container_ended_them() {
        let lines = |chunks: &[&str]| -> Vec<String> {
            let chunks: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
            all(&chunks).into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
        };
        assert_eq!(lines(&["a\nb", "c\n", "\n", "d"]), ["a\n", "bc\n", "\n", "d"]);
        assert_eq!(lines(&["", "\r\n"]), ["\r\n"]);
        assert!(lines(&[""]).is_empty());
        // As long as it may be, and one byte more.
        let (fits, more) = ("x".repeat(MOST), "x".repeat(MOST + 1));
        assert_eq!(lines(&[&fits, "\n"]), [format!("{fits}\n")]);
        assert_eq!(lines(&[&more, "\n"]), [fits.clone(), "x\n".to_owned()]);
        assert_eq!(lines(&[&fits, &fits, "y"]), [fits.clone(), fits, "y".to_owned()]);
        // Three bytes that do not fit.
        let euro = format!("{}€\n", "x".repeat(MOST - 1));
        assert_eq!(lines(&[&euro]), ["x".repeat(MOST - 1), "€\n".to_owned()]);
        let byte_by_byte: Vec<&[u8]> = euro.as_bytes().chunks(1).collect();
        assert_eq!(all(&byte_by_byte), all(&[euro.as_bytes()]));
    }

    /// Lines of all lengths around those that matter, of all kinds of bytes.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            4 => vec(any::<u8>(), 0..40),
            1 => (MOST - 4..MOST + 4).prop_map(|length| vec![b'x'; length]),
            1 => (MOST - 4..MOST + 4).prop_map(|length| "€".repeat(length).into_bytes()),
            1 => vec(any::<u8>(), 2 * MOST..3 * MOST),
        ];
        vec(line, 0..6).prop_map(|lines| lines.join(&b'\n'))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_does_not_matter_how_bytes_arrive(
            text in text(),
            cuts in vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let found = all(&chunks);
            prop_assert_eq!(&found, &all(&[&text]));
            prop_assert_eq!(found.concat(), text);
            for (index, line) in found.iter().enumerate() {
                let body = line.strip_suffix(b"\n").unwrap_or(line);
                prop_assert!(!body.contains(&b'\n') && body.len() <= MOST);
                let is_piece = !line.ends_with(b"\n") && index + 1 < found.len();
                prop_assert!(!is_piece || line.len() > MOST - 4, "cut too early");
            }
        }
    }
}
