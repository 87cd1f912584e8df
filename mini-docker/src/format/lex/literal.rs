//! Texts, characters and numbers of a template, as Go writes them.

use super::{Kind, Lexer, is_word};
use crate::format::Mistake;

impl Lexer<'_> {
    pub(super) fn raw(&mut self, at: usize) -> Result<Kind, Mistake> {
        let body = &self.text[at + 1..];
        let Some(end) = body.find('`') else {
            return Err(Mistake::new(at, "unterminated raw quoted string"));
        };
        let text = body[..end].to_owned();
        self.at = at + end + 2;
        Ok(Kind::Str(text))
    }

    pub(super) fn quoted(&mut self, at: usize) -> Result<Kind, Mistake> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.rest().chars().next() {
                None | Some('\n') => return Err(Mistake::new(at, "unterminated quoted string")),
                Some('"') => {
                    self.at += 1;
                    // `\xff` may make what is no text.
                    return Ok(Kind::Str(String::from_utf8_lossy(&bytes).into_owned()));
                }
                Some('\\') => match self.escape('"')? {
                    Escaped::Byte(byte) => bytes.push(byte),
                    Escaped::Char(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
                },
                Some(c) => {
                    self.at += c.len_utf8();
                    bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                }
            }
        }
    }

    /// `'a'`: the number of a character.
    pub(super) fn character(&mut self, at: usize) -> Result<Kind, Mistake> {
        self.at += 1;
        let unterminated = || Mistake::new(at, "unterminated character constant");
        let value = match self.rest().chars().next().ok_or_else(unterminated)? {
            '\n' | '\'' => return Err(unterminated()),
            '\\' => match self.escape('\'')? {
                Escaped::Byte(byte) => i64::from(byte),
                Escaped::Char(c) => i64::from(u32::from(c)),
            },
            c => {
                self.at += c.len_utf8();
                i64::from(u32::from(c))
            }
        };
        if !self.rest().starts_with('\'') {
            return Err(unterminated());
        }
        self.at += 1;
        Ok(Kind::Int(value))
    }

    /// A backslash and what follows (The Go Programming Language Specification, "Rune literals").
    fn escape(&mut self, quote: char) -> Result<Escaped, Mistake> {
        let at = self.at;
        let invalid = || Mistake::new(at, "invalid escape after \\");
        let c = self.rest()[1..].chars().next().ok_or_else(invalid)?;
        self.at += 1 + c.len_utf8();
        let simple = match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' => '\\',
            c if c == quote => c,
            'x' | 'u' | 'U' | '0'..='7' => {
                let (digits, radix) = match c {
                    'x' => (2, 16),
                    'u' => (4, 16),
                    'U' => (8, 16),
                    _ => (3, 8),
                };
                if radix == 8 {
                    self.at -= 1;
                }
                let number = self.rest().get(..digits).ok_or_else(invalid)?;
                if !number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(invalid());
                }
                let number = u32::from_str_radix(number, radix).map_err(|_| invalid())?;
                self.at += digits;
                return match c {
                    'u' | 'U' => char::from_u32(number).map(Escaped::Char).ok_or_else(invalid),
                    _ => u8::try_from(number).map(Escaped::Byte).map_err(|_| invalid()),
                };
            }
            _ => return Err(invalid()),
        };
        Ok(Escaped::Char(simple))
    }

    pub(super) fn number(&mut self, at: usize) -> Result<Kind, Mistake> {
        let rest = self.rest();
        let mut end = 0;
        let mut last = ' ';
        for c in rest.chars() {
            let sign = matches!(c, '+' | '-') && (end == 0 || matches!(last, 'e' | 'E'));
            if !(sign || c == '.' || is_word(c)) {
                break;
            }
            end += c.len_utf8();
            last = c;
        }
        let text = rest[..end].to_owned();
        self.at += end;
        let bad = || Mistake::new(at, format!("bad number syntax: {text:?}"));
        let plain = text.replace('_', "");
        let (negative, digits) = match plain.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
        };
        let lower = digits.to_ascii_lowercase();
        let radix = [("0x", 16), ("0o", 8), ("0b", 2)]
            .into_iter()
            .find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, radix)));
        let whole = match radix {
            Some((digits, radix)) if !digits.starts_with(['+', '-']) => {
                Some(i64::from_str_radix(digits, radix).map_err(|_| bad())?)
            }
            Some(_) => return Err(bad()),
            None if digits.len() > 1 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let radix = if digits.starts_with('0') { 8 } else { 10 };
                i64::from_str_radix(digits, radix).ok()
            }
            None => digits.parse().ok(),
        };
        if let Some(whole) = whole {
            return Ok(Kind::Int(if negative { -whole } else { whole }));
        }
        let number: f64 = plain.parse().map_err(|_| bad())?;
        let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        if is_number && number.is_finite() { Ok(Kind::Float(number)) } else { Err(bad()) }
    }
}

enum Escaped {
    Byte(u8),
    Char(char),
}
