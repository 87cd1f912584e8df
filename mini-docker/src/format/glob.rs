//! Patterns of `--filter reference=`: Go's `path.Match`.

/// A pattern with an open `[` or a `\` at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPattern;

/// Whether a pattern matches a whole name: `*` any characters but `/`, `?` one of them, `[a-z]` and `[^a-z]` one of a
/// set, `\` takes the next character as it is (<https://pkg.go.dev/path#Match>).
///
/// # Errors
/// If the pattern is none.
pub fn matches(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    let pieces = pieces(pattern)?;
    let name: Vec<char> = name.chars().collect();
    // The last star, and where what follows it was tried: on a mismatch the star takes one more.
    let (mut piece, mut at, mut star) = (0, 0, None);
    loop {
        let fits = match (pieces.get(piece), name.get(at)) {
            (None, None) => return Ok(true),
            (Some(Piece::Star), _) => {
                star = Some((piece + 1, at));
                piece += 1;
                continue;
            }
            (Some(Piece::One(set)), Some(c)) => set.has(*c),
            _ => false,
        };
        if fits {
            (piece, at) = (piece + 1, at + 1);
            continue;
        }
        match star {
            Some((after, from)) if name.get(from).is_some_and(|c| *c != '/') => {
                star = Some((after, from + 1));
                (piece, at) = (after, from + 1);
            }
            _ => return Ok(false),
        }
    }
}

enum Piece {
    Star,
    One(Set),
}

struct Set {
    negated: bool,
    ranges: Vec<(char, char)>,
    /// `?`: all but `/`.
    any: bool,
}

impl Set {
    fn has(&self, c: char) -> bool {
        if self.any {
            return c != '/';
        }
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }
}

fn pieces(pattern: &str) -> Result<Vec<Piece>, BadPattern> {
    let mut chars = pattern.chars().peekable();
    let mut pieces = Vec::new();
    let one = |ranges, negated| Piece::One(Set { negated, ranges, any: false });
    while let Some(c) = chars.next() {
        pieces.push(match c {
            '*' => Piece::Star,
            '?' => Piece::One(Set { negated: false, ranges: Vec::new(), any: true }),
            '\\' => {
                let c = chars.next().ok_or(BadPattern)?;
                one(vec![(c, c)], false)
            }
            '[' => {
                let negated = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
                    let low = member(&mut chars)?;
                    let high = match chars.next_if_eq(&'-') {
                        Some(_) => member(&mut chars)?,
                        None => low,
                    };
                    ranges.push((low, high));
                }
                one(ranges, negated)
            }
            c => one(vec![(c, c)], false),
        });
    }
    Ok(pieces)
}

fn member(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, BadPattern> {
    match chars.next() {
        None | Some('-' | ']') => Err(BadPattern),
        Some('\\') => chars.next().ok_or(BadPattern),
        Some(c) => Ok(c),
    }
}
