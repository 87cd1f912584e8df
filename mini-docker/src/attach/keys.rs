//! The keys that end a visit.

use crate::failure::Failure;

/// A sequence of keys to leave a container by, `ctrl-p,ctrl-q` unless the user wants another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    sequence: Vec<u8>,
    /// So many of them were typed, and not passed on.
    matched: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Self { sequence: vec![0x10, 0x11], matched: 0 }
    }
}

impl Keys {
    /// Reads `--detach-keys`: keys with commas between them, each a character or `ctrl-` and one of a-z @ [ \ ] ^ _.
    /// Empty: there are none.
    ///
    /// # Errors
    /// A failure with a hint for anything else.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let key = |key: &str| match (key.strip_prefix("ctrl-").map(str::as_bytes), key.as_bytes()) {
            (Some(&[letter @ (b'a'..=b'z' | b'@' | b'['..=b'_')]), _) => Some(letter & 0x1f),
            (None, &[letter]) => Some(letter),
            _ => None,
        };
        let keys = text.split(',').filter(|_| !text.is_empty());
        let sequence = keys.map(key).collect::<Option<Vec<u8>>>().ok_or_else(|| {
            Failure::new(format!("invalid detach keys `{text}`")).hint(
                "keys with commas between them: a letter, or ctrl- and one of a-z @ [ \\ ] ^ _",
            )
        })?;
        Ok(Self { sequence, matched: 0 })
    }

    /// What of the typed bytes is for the container, and whether the sequence was complete. Keys that might begin it
    /// are kept until the next ones tell.
    pub fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len());
        for &byte in typed {
            while self.matched > 0 && self.sequence[self.matched] != byte {
                // Not the sequence: its first key was meant for the container, the others may begin it anew.
                let kept = &self.sequence[..self.matched];
                let again = (1..=kept.len()).find(|&from| self.sequence.starts_with(&kept[from..]));
                let from = again.unwrap_or(kept.len());
                passed.extend_from_slice(&kept[..from]);
                self.matched -= from;
            }
            if self.sequence.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.sequence.len() {
                    self.matched = 0;
                    return (passed, true);
                }
            } else {
                passed.push(byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_docker_reads_them() {
        assert_eq!(Keys::parse("ctrl-p,ctrl-q").unwrap(), Keys::default());
        assert_eq!(Keys::parse("a,ctrl-\\,ctrl-@").unwrap().sequence, [b'a', 0x1c, 0]);
        assert!(Keys::parse("").unwrap().sequence.is_empty());
        for wrong in ["ctrl-", "ctrl-1", "ab", "a,,b", "strg-p"] {
            Keys::parse(wrong).unwrap_err();
        }
    }

    #[test]
    fn only_the_whole_sequence_is_kept_from_the_container() {
        let typed = |keys: &str, typed: &[&str]| {
            let mut keys = Keys::parse(keys).unwrap();
            let mut all = String::new();
            for part in typed {
                let (passed, left) = keys.pass(part.as_bytes());
                all.push_str(&String::from_utf8(passed).unwrap());
                if left {
                    all.push('!');
                }
            }
            all
        };
        assert_eq!(typed("x,y", &["axyb"]), "a!");
        assert_eq!(typed("x,y", &["ax", "yb"]), "a!");
        assert_eq!(typed("x,y", &["ax", "b", "xxy"]), "axbx!");
        assert_eq!(typed("x,x,y", &["xxxxy"]), "xx!");
        assert_eq!(typed("x,y,x,z", &["xyxyxz"]), "xy!");
        assert_eq!(typed("", &["xyz"]), "xyz");
    }
}
