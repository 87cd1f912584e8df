//! The text of a Dockerfile, and how a place in it is shown.
//!
//! All positions in this chapter are bytes of this text, as it was read: a byte order mark and carriage returns are
//! still in it.

use crate::error::{Fault, ParseError, Warning};
use crate::instruction::Span;

/// Longest part of a line that an error shows, in columns.
const WIDTH: usize = 100;
/// A tab is shown as so many columns.
const TAB: usize = 4;

/// A Dockerfile's text and the name that errors give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
}

impl Source {
    /// A text and its name for errors, `Dockerfile` or a path.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// If they are not UTF-8, with the first line that is not.
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>) -> Result<Self, ParseError> {
        let name = name.into();
        let error = match String::from_utf8(bytes) {
            Ok(text) => return Ok(Self { name, text }),
            Err(error) => error,
        };
        let at = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let hint = match &bytes[..] {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is UTF-16; save it as UTF-8",
            _ => "save it as UTF-8",
        };
        // What cannot be read is shown as U+FFFD, in the lines before it nothing changes.
        let source = Self { name, text: String::from_utf8_lossy(&bytes).into_owned() };
        let end = at + source.text[at..].chars().next().map_or(0, char::len_utf8);
        let byte = bytes[at];
        let fault = Fault::new(at..end, format!("byte 0x{byte:02x} is not UTF-8")).hint(hint);
        Err(source.explain(fault))
    }

    /// The name that errors give it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The number of the line in which a byte is, from 1.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// An error about a place in this text, for those who find a mistake after parsing.
    #[must_use]
    pub fn error(
        &self,
        span: &Span,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> ParseError {
        self.explain(Fault { message: message.into(), hint, span: span.clone() })
    }

    /// A warning about a place in this text, whose line is not known yet.
    pub(crate) fn warning(&self, rule: &'static str, span: &Span, message: &str) -> Warning {
        Warning { rule, message: harmless(message), span: span.clone(), line: 0 }
    }

    /// Looks up the lines of warnings, which are in the order of the text.
    pub(crate) fn number(&self, warnings: &mut [Warning]) {
        let (mut line, mut at) = (1, 0);
        for warning in warnings {
            let between = &self.text.as_bytes()[at..warning.span.start];
            line += between.iter().filter(|byte| **byte == b'\n').count();
            at = warning.span.start;
            warning.line = line;
        }
    }

    pub(crate) fn explain(&self, fault: Fault) -> ParseError {
        let line = self.line(fault.span.start);
        let excerpt = self.excerpt(line, &fault.span);
        let name = harmless(&self.name);
        ParseError {
            message: harmless(&fault.message),
            hint: fault.hint.as_deref().map(harmless),
            span: fault.span,
            place: if excerpt.is_empty() { name } else { format!("{name}:{line}") },
            excerpt,
        }
    }

    /// The line where the span begins, with carets under as much of the span as it has.
    fn excerpt(&self, number: usize, span: &Span) -> String {
        let text = &self.text;
        let Some(before) = text.get(..span.start) else { return String::new() };
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[span.start..].find('\n').map_or(text.len(), |length| span.start + length);
        let line = text[start..end].trim_end();
        if line.is_empty() {
            return String::new();
        }
        let marked = span.start - start..span.end.min(end).saturating_sub(start);
        let (shown, column, width) = window(line, &marked);
        let margin = number.to_string().len() + 2;
        let carets = "^".repeat(width);
        format!("{:margin$}|\n {number} | {shown}\n{:margin$}| {:column$}{carets}", "", "", "",)
    }
}

/// What a line looks like, where in it the marked bytes begin, and how many columns they have: all of a short line, of
/// a long one the part around the mark.
fn window(line: &str, marked: &Span) -> (String, usize, usize) {
    let mut cells: Vec<(usize, char)> = Vec::new();
    // Columns before the mark and inside it.
    let (mut first, mut width) = (0, 0);
    let mut columns = 0;
    for (at, char) in line.char_indices() {
        let (char, cell) = shape(char);
        if at < marked.start {
            first += cell;
        } else if at < marked.end {
            width += cell;
        }
        columns += cell;
        cells.push((cell, char));
    }
    let width = width.max(1);
    let skip = if columns <= WIDTH { 0 } else { first.saturating_sub(WIDTH / 4) };
    let (mut text, mut at, mut cut) = (String::new(), 0, 0);
    for (cell, char) in cells {
        if at < skip {
            cut += cell;
        } else if at + cell <= skip + WIDTH {
            match char {
                '\t' => text.extend([' '; TAB]),
                _ => text.push(char),
            }
        } else {
            text += "...";
            break;
        }
        at += cell;
    }
    let mut column = first - cut;
    if cut > 0 {
        text.insert_str(0, "...");
        column += 3;
    }
    (text, column, width.min(WIDTH.saturating_sub(column).max(1)))
}

/// A character as a terminal may have it, and its columns. The tab stays, since the caller knows how wide it is.
fn shape(char: char) -> (char, usize) {
    match char {
        '\t' => ('\t', TAB),
        '\0'..='\x1f' => (char::from_u32(0x2400 + char as u32).unwrap_or('\u{fffd}'), 1),
        '\x7f' => ('\u{2421}', 1),
        // C1 controls, and what turns the direction of writing: a line could say other than it is.
        '\u{80}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => ('\u{fffd}', 1),
        '\u{2060}'..='\u{206f}' | '\u{feff}' => ('\u{fffd}', 1),
        // Combining marks and variation selectors.
        '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' => (char, 0),
        // East Asian wide, roughly as in Unicode's annex 11, and pictures.
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => (char, 2),
        _ => (char, 1),
    }
}

/// One line without control characters: messages quote what the file says.
fn harmless(text: &str) -> String {
    text.chars().map(|char| if char == '\t' { ' ' } else { shape(char).0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(text: &str, span: Span) -> String {
        Source::new("Dockerfile", text).error(&span, "wrong", None).to_string()
    }

    #[test]
    fn carets_stand_under_what_they_mean() {
        for (text, span, line, carets) in [
            ("ab cd", 3..5, " 1 | ab cd", "   |    ^^"),
            ("\tab cd\n", 4..6, " 1 |     ab cd", "   |        ^^"),
            ("x\r\nab\r\n", 3..5, " 2 | ab", "   | ^^"),
            // A span of two lines is marked to the end of the first.
            ("ab \\\ncd", 0..7, " 1 | ab \\", "   | ^^^^"),
            // Nothing is marked: a caret nevertheless.
            ("FROM", 4..4, " 1 | FROM", "   |     ^"),
            // Two columns each.
            ("日本 x", 7..8, " 1 | 日本 x", "   |      ^"),
            ("a\x1b[31mb", 6..7, " 1 | a␛[31mb", "   |       ^"),
            ("a\u{202e}b", 4..5, " 1 | a\u{fffd}b", "   |   ^"),
        ] {
            let shown = picture(text, span);
            let lines: Vec<_> = shown.lines().collect();
            assert_eq!(lines[2..], [line, carets], "{text:?}\n{shown}");
        }
    }

    #[test]
    fn of_a_long_line_the_part_around_the_caret() {
        let text = format!("{}HERE{}", "a".repeat(5000), "b".repeat(5000));
        let shown = picture(&text, 5000..5004);
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[2].chars().count() < 120, "{shown}");
        let column = lines[3].find('^').expect("a caret");
        assert_eq!(&lines[2][column..column + 4], "HERE", "{shown}");
        assert!(lines[2].starts_with(" 1 | ...a") && lines[2].ends_with("b..."), "{shown}");
        assert!(picture(&text, 0..10_004).lines().all(|line| line.chars().count() < 120));
    }

    #[test]
    fn bytes_that_are_no_text() {
        let error = Source::from_bytes("Dockerfile", b"FROM a\nRUN \xe9t\xe9\n".to_vec());
        insta::assert_snapshot!(error.expect_err("latin-1").to_string(), @r"
        Dockerfile:2: byte 0xe9 is not UTF-8
           |
         2 | RUN �t�
           |     ^
           = hint: save it as UTF-8
        ");
        let error = Source::from_bytes("Dockerfile", b"\xff\xfeF\0R\0".to_vec());
        assert!(error.expect_err("UTF-16").to_string().contains("UTF-16"));
        let whole = Source::from_bytes("x", "FROM ü\n".into()).expect("UTF-8");
        assert_eq!((whole.name(), whole.text()), ("x", "FROM ü\n"));
    }
}
