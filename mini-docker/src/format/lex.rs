//! From a template's text to tokens.

mod literal;

use super::Mistake;

/// A token and the byte where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
    /// Space stands before it: `.A .B` are two operands, `.A.B` is one.
    pub(super) spaced: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Text outside of actions, trimmed where a marker says so.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// `.Name`, without the dot.
    Field(String),
    /// `.` alone.
    Dot,
    /// `$name`, with the dollar sign.
    Variable(String),
    /// A function or keyword.
    Word(String),
    Str(String),
    Int(i64),
    Float(f64),
    /// `| ( ) , :=` and `=`.
    Sign(&'static str),
    End,
}

/// Cuts a template into tokens; the last one is [`Kind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Mistake> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn push(&mut self, kind: Kind, at: usize, spaced: bool) {
        self.tokens.push(Token { kind, at, spaced });
    }

    fn run(&mut self) -> Result<(), Mistake> {
        // Set by ` -}}`: space at the beginning of the next text goes.
        let mut trim = false;
        loop {
            let start = self.at;
            let open = self.rest().find("{{");
            let end = open.map_or(self.text.len(), |open| start + open);
            let mut piece = &self.text[start..end];
            if trim {
                piece = piece.trim_start_matches(SPACE);
            }
            let trims_left = open.is_some() && is_left_marker(&self.text[end + 2..]);
            if trims_left {
                piece = piece.trim_end_matches(SPACE);
            }
            let piece = piece.to_owned();
            if !piece.is_empty() {
                self.push(Kind::Text(piece), start, false);
            }
            self.at = end;
            if open.is_none() {
                self.push(Kind::End, end, false);
                return Ok(());
            }
            self.at += 2;
            if trims_left {
                // The minus; the space after it belongs to the action.
                self.at += 1;
            }
            trim = match self.comment(end)? {
                Some(trim) => trim,
                None => {
                    self.push(Kind::Open, end, false);
                    self.action(end)?
                }
            };
        }
    }

    /// Skips `/* ... */}}`. None if the action is no comment, else whether the right side is trimmed.
    fn comment(&mut self, open: usize) -> Result<Option<bool>, Mistake> {
        let trimmed = self.rest().trim_start_matches(SPACE);
        // As Go: space before `/*` is only allowed as part of the trim marker.
        let marked = self.text[..self.at].ends_with("{{-");
        let begins = if marked { trimmed } else { self.rest() };
        if !begins.starts_with("/*") {
            return Ok(None);
        }
        let start = self.text.len() - begins.len();
        let Some(length) = self.text[start..].find("*/") else {
            return Err(Mistake::new(open, "unclosed comment"));
        };
        self.at = start + length + 2;
        let rest = self.rest();
        if rest.starts_with("}}") {
            self.at += 2;
            return Ok(Some(false));
        }
        if is_right_marker(rest) {
            self.at = self.text.len() - rest.trim_start_matches(SPACE).len() + 3;
            return Ok(Some(true));
        }
        Err(Mistake::new(self.at, "comment ends before closing delimiter"))
    }

    /// Reads up to `}}`; whether the right side is trimmed.
    fn action(&mut self, open: usize) -> Result<bool, Mistake> {
        let mut parens = 0_usize;
        loop {
            let rest = self.rest();
            let trims = is_right_marker(rest);
            let blank = rest.len() - rest.trim_start_matches(SPACE).len();
            let spaced = blank > 0;
            self.at += blank;
            let at = self.at;
            let rest = self.rest();
            if trims || rest.starts_with("}}") {
                if parens > 0 {
                    return Err(Mistake::new(at, "unclosed left paren"));
                }
                self.push(Kind::Close, at, spaced);
                self.at += if trims { 3 } else { 2 };
                return Ok(trims);
            }
            let Some(first) = rest.chars().next() else {
                return Err(Mistake::new(open, "unclosed action"));
            };
            let kind = match first {
                '(' => {
                    parens += 1;
                    self.sign("(")
                }
                ')' => {
                    parens = parens
                        .checked_sub(1)
                        .ok_or_else(|| Mistake::new(at, "unexpected right paren"))?;
                    self.sign(")")
                }
                '|' => self.sign("|"),
                ',' => self.sign(","),
                '=' => self.sign("="),
                ':' if rest.starts_with(":=") => self.sign(":="),
                ':' => return Err(Mistake::new(at, "expected :=")),
                '"' => self.quoted(at)?,
                '`' => self.raw(at)?,
                '\'' => self.character(at)?,
                '$' => {
                    let name = format!("${}", word(&rest[1..]));
                    self.at += name.len();
                    Kind::Variable(name)
                }
                '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                    let name = word(&rest[1..]).to_owned();
                    self.at += 1 + name.len();
                    if name.is_empty() { Kind::Dot } else { Kind::Field(name) }
                }
                '.' | '+' | '-' | '0'..='9' => self.number(at)?,
                c if is_word(c) => {
                    let name = word(rest).to_owned();
                    self.at += name.len();
                    Kind::Word(name)
                }
                c => {
                    let code = u32::from(c);
                    let shown = if c.is_control() { '?' } else { c };
                    let message =
                        format!("unrecognized character in action: U+{code:04X} '{shown}'");
                    return Err(Mistake::new(at, message));
                }
            };
            self.check_end(&kind, at)?;
            self.push(kind, at, spaced);
        }
    }

    /// After a name or number must stand what can end it: `{{.A"b"}}` is a mistake.
    fn check_end(&self, kind: &Kind, at: usize) -> Result<(), Mistake> {
        if !matches!(kind, Kind::Field(_) | Kind::Dot | Kind::Variable(_) | Kind::Word(_)) {
            return Ok(());
        }
        match self.rest().chars().next() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | '=' | '(' | ')') => {
                Ok(())
            }
            Some('}') if self.rest().starts_with("}}") => Ok(()),
            Some(c) => {
                let shown = if c.is_control() { '?' } else { c };
                let message = format!("bad character U+{:04X} '{shown}'", u32::from(c));
                Err(Mistake::new(at.max(self.at), message))
            }
        }
    }

    fn sign(&mut self, sign: &'static str) -> Kind {
        self.at += sign.len();
        Kind::Sign(sign)
    }
}

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

fn is_left_marker(after: &str) -> bool {
    after.starts_with('-') && after[1..].starts_with(SPACE)
}

fn is_right_marker(rest: &str) -> bool {
    let trimmed = rest.trim_start_matches(SPACE);
    trimmed.len() < rest.len() && trimmed.starts_with("-}}")
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn word(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}
