//! The patterns of `${name#pattern}` and `${name/pattern/word}`: `*` is any text, `?` any character, no brackets. An
//! escape character takes their meaning from both, and from itself; before `}` and `/` it only kept the substitution
//! from ending.

/// A pattern, read.
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Char(char),
    One,
    Any,
}

impl Pattern {
    pub(super) fn read(text: &str, escape: char) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            parts.push(match char {
                '*' => Part::Any,
                '?' => Part::One,
                _ if char == escape => match chars.next() {
                    Some(next) if "}/*?".contains(next) || next == escape => Part::Char(next),
                    next => {
                        let next = next.map_or_else(String::new, String::from);
                        return Err(format!(
                            "invalid pattern ({text}) in substitution: invalid escape \
                             '{escape}{next}'"
                        ));
                    }
                },
                _ => Part::Char(char),
            });
        }
        Ok(Self(parts))
    }

    pub(super) fn without_prefix(&self, value: &str, longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        match end(&self.0, &chars, longest) {
            Some(end) => chars[end..].iter().collect(),
            None => value.to_owned(),
        }
    }

    /// The end of a text is the beginning of its mirror image.
    pub(super) fn without_suffix(&self, value: &str, longest: bool) -> String {
        let chars: Vec<char> = value.chars().rev().collect();
        let parts: Vec<Part> = self.0.iter().rev().copied().collect();
        match end(&parts, &chars, longest) {
            Some(end) => chars[end..].iter().rev().collect(),
            None => value.to_owned(),
        }
    }

    /// The first match replaced, or each; a match is as long as it can be. An empty pattern matches nothing.
    pub(super) fn replace(&self, value: &str, word: &str, all: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let mut result = String::new();
        let mut at = 0;
        while at < chars.len() {
            match end(&self.0, &chars[at..], true) {
                Some(length) if length > 0 => {
                    result += word;
                    at += length;
                    if !all {
                        break;
                    }
                }
                _ => {
                    result.push(chars[at]);
                    at += 1;
                }
            }
        }
        result.extend(&chars[at..]);
        result
    }
}

/// Where the shortest or longest match ends that begins at the beginning. All ends that are possible so far are moved
/// along part by part, so that no pattern takes more than its length times that of the text.
fn end(parts: &[Part], chars: &[char], longest: bool) -> Option<usize> {
    let mut ends = vec![false; chars.len() + 1];
    ends[0] = true;
    for part in parts {
        match part {
            Part::Any => {
                if let Some(first) = ends.iter().position(|reached| *reached) {
                    ends[first..].fill(true);
                }
            }
            Part::One | Part::Char(_) => {
                for at in (0..chars.len()).rev() {
                    let fits = match part {
                        Part::Char(char) => chars[at] == *char,
                        _ => true,
                    };
                    ends[at + 1] = ends[at] && fits;
                }
                ends[0] = false;
            }
        }
    }
    match longest {
        true => ends.iter().rposition(|reached| *reached),
        false => ends.iter().position(|reached| *reached),
    }
}
