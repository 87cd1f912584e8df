//! Which names a pattern means: Docker's rules, for `.dockerignore`, `--exclude`, `--parents` and
//! the sources of `COPY`.
//!
//! | pattern  | means                                                                  |
//! |----------|------------------------------------------------------------------------|
//! | `*`      | any characters, also none, but no `/`                                  |
//! | `?`      | one character, but no `/`                                              |
//! | `[a-z]`  | one character of these; `[^a-z]` one that is none of these, and no `/` |
//! | `\x`     | the character `x`, whatever it is                                      |
//! | `**/`    | any number of directories, also none                                   |
//! | `**`     | at the end: everything below                                           |
//!
//! The rules are those of Go's `path/filepath.Match`, and `**` from
//! `github.com/moby/patternmatcher`, which translates a pattern to a regular expression. Two of its
//! oddities are much used and kept: `**.log` (not `**/*.log`) means every name that ends in `.log`,
//! and `a**` means every path that begins with `a`. Two are not: there, `[^a]` also means `/`, and
//! a range that is the wrong way round (`[z-a]`) is found out only when a file is looked at.
//!
//! A pattern becomes a list of tokens, a machine with as many states as tokens. All states in which
//! it can be are moved on together, character by character; so `a*a*a*a*b` costs no more than it
//! looks. What is left of the states also tells whether anything below a directory can match: that
//! is how a walk knows what to leave out.

use std::fmt;

use crate::names::{clean, shown};

/// A pattern for whole paths, without `/` at the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Vec<u8>,
    tokens: Vec<Token>,
    /// The only path there is, if nothing in the pattern is special.
    literal: Option<Vec<u8>>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad pattern `{pattern}`: {reason}")]
pub struct BadPattern {
    /// As written, printable.
    pub pattern: String,
    /// What is wrong.
    pub reason: &'static str,
}

/// A step of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// This character.
    Exactly(u32),
    /// `?`.
    One,
    /// `[...]`: ranges, first and last included.
    Class { negated: bool, ranges: Vec<(u32, u32)> },
    /// `*`.
    Star,
    /// `**` with nothing after it: anything at all.
    Anything,
    /// `**/`, first half: leave out the second half, or not.
    Maybe,
    /// `**/`, second half: anything that ends with `/`.
    Directories,
}

const SLASH: u32 = b'/' as u32;

impl Pattern {
    /// Reads a pattern for paths. The path is cleaned (`./a/../b` is `b`), a `/` at the beginning
    /// is dropped.
    ///
    /// # Errors [`BadPattern`]: a class without end or beginning, a backslash at the end, a range
    /// the wrong way round.
    pub fn parse(text: &[u8]) -> Result<Self, BadPattern> {
        let mut text = clean(text);
        if text.len() > 1 && text[0] == b'/' {
            text.remove(0);
        }
        Self::of(text, true)
    }

    /// Reads a pattern for one name: `**` is `*` twice, as in the sources of `COPY`.
    ///
    /// # Errors
    /// As [`Pattern::parse`].
    pub fn name(text: &[u8]) -> Result<Self, BadPattern> {
        Self::of(text.to_vec(), false)
    }

    fn of(text: Vec<u8>, deep: bool) -> Result<Self, BadPattern> {
        let tokens =
            Reader { rest: &characters(&text).collect::<Vec<_>>(), deep, tokens: Vec::new() }
                .read()
                .map_err(|reason| BadPattern { pattern: shown(&text), reason })?;
        let literal = (!text.iter().any(|byte| b"*?[]\\".contains(byte))).then(|| text.clone());
        Ok(Self { text, tokens, literal })
    }

    /// Whether a path, cleaned and without `/` at the beginning, is meant.
    pub fn matches(&self, path: &[u8]) -> bool {
        match &self.literal {
            Some(literal) => literal == path,
            None => self.run(characters(path)).contains(&self.tokens.len()),
        }
    }

    /// Whether any path below the directory `path` could be meant.
    pub fn may_match_below(&self, path: &[u8]) -> bool {
        match &self.literal {
            Some(literal) => crate::names::is_below(literal, path),
            None if path.is_empty() => true,
            None => {
                // At the end nothing more is expected: that is the directory with a slash, not
                // something in it.
                let states = self.run(characters(path).chain([SLASH]));
                states.iter().any(|state| *state < self.tokens.len())
            }
        }
    }

    /// The only path that is meant; none if the pattern has anything special in it.
    pub fn literal(&self) -> Option<&[u8]> {
        self.literal.as_deref()
    }

    /// The states after a text: each is the number of the token that comes next, or of no token at
    /// the end.
    fn run(&self, text: impl Iterator<Item = u32>) -> Vec<usize> {
        let mut states = Vec::with_capacity(8);
        let mut next = Vec::with_capacity(8);
        self.enter(0, &mut states);
        for character in text {
            for &at in &states {
                let Some(token) = self.tokens.get(at) else { continue };
                let slash = character == SLASH;
                let (stay, go) = match token {
                    Token::Exactly(wanted) => (false, *wanted == character),
                    Token::One => (false, !slash),
                    Token::Class { negated, ranges } => {
                        let within =
                            |(first, last): &(u32, u32)| (*first..=*last).contains(&character);
                        (false, !slash && ranges.iter().any(within) != *negated)
                    }
                    Token::Star => (!slash, false),
                    Token::Anything => (true, false),
                    Token::Maybe => (false, false),
                    Token::Directories => (true, slash),
                };
                if stay {
                    self.enter(at, &mut next);
                }
                if go {
                    self.enter(at + 1, &mut next);
                }
            }
            std::mem::swap(&mut states, &mut next);
            next.clear();
            if states.is_empty() {
                break;
            }
        }
        states
    }

    /// Adds a state, and those that need no further character: a star may stand for nothing.
    fn enter(&self, state: usize, states: &mut Vec<usize>) {
        if states.contains(&state) {
            return;
        }
        states.push(state);
        match self.tokens.get(state) {
            Some(Token::Star | Token::Anything) => self.enter(state + 1, states),
            Some(Token::Maybe) => {
                self.enter(state + 1, states);
                self.enter(state + 2, states);
            }
            _ => {}
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.text))
    }
}

/// The characters of a name. A byte that is no UTF-8 is a character of its own, unlike any other.
fn characters(text: &[u8]) -> impl Iterator<Item = u32> + '_ {
    text.utf8_chunks().flat_map(|chunk| {
        let invalid = chunk.invalid().iter().map(|byte| 0x11_0000 + u32::from(*byte));
        chunk.valid().chars().map(u32::from).chain(invalid)
    })
}

struct Reader<'a> {
    rest: &'a [u32],
    /// Whether `**` means more than `*`.
    deep: bool,
    tokens: Vec<Token>,
}

impl Reader<'_> {
    fn read(mut self) -> Result<Vec<Token>, &'static str> {
        let whole = self.rest;
        while let Some(character) = self.take() {
            let token = match char::from_u32(character) {
                Some('*') if self.deep && self.rest.first() == Some(&u32::from('*')) => {
                    let first = whole.len() == self.rest.len() + 1;
                    self.take();
                    self.two_stars(first);
                    continue;
                }
                Some('*') => Token::Star,
                Some('?') => Token::One,
                Some('[') => self.class()?,
                Some('\\') => Token::Exactly(self.take().ok_or("nothing follows the backslash")?),
                _ => Token::Exactly(character),
            };
            self.tokens.push(token);
        }
        Ok(self.tokens)
    }

    fn take(&mut self) -> Option<u32> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// After `**`, at the very beginning of the pattern or not.
    fn two_stars(&mut self, first: bool) {
        let special = |character: &u32| "*?[]\\".chars().any(|each| u32::from(each) == *character);
        if self.rest.first() == Some(&SLASH) {
            self.take();
        } else if first && !self.rest.iter().any(special) {
            return self.tokens.push(Token::Anything);
        }
        match self.rest {
            [] => self.tokens.push(Token::Anything),
            _ => self.tokens.extend([Token::Maybe, Token::Directories]),
        }
    }

    /// After `[`.
    fn class(&mut self) -> Result<Token, &'static str> {
        let end = u32::from(']');
        let negated = self.rest.first() == Some(&u32::from('^'));
        if negated {
            self.take();
        }
        if self.rest.first() == Some(&end) {
            return Err("nothing between `[` and `]`");
        }
        let mut ranges = Vec::new();
        while self.rest.first() != Some(&end) {
            let first = self.member()?;
            let mut last = first;
            if self.rest.first() == Some(&u32::from('-')) {
                self.take();
                last = self.member()?;
            }
            if last < first {
                return Err("a range the wrong way round");
            }
            ranges.push((first, last));
        }
        self.take();
        Ok(Token::Class { negated, ranges })
    }

    /// One end of a range.
    fn member(&mut self) -> Result<u32, &'static str> {
        const OPEN: &str = "`[` without `]`";
        match self.take().ok_or(OPEN)? {
            backslash if backslash == u32::from('\\') => self.take().ok_or(OPEN),
            dash if dash == u32::from('-') => Err("a `-` without its range; write `\\-`"),
            end if end == u32::from(']') => Err("a range without its end"),
            character => Ok(character),
        }
    }
}

#[cfg(test)]
mod tests;
