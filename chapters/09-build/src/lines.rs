//! Physical lines become logical lines, and heredocs are taken out between them.
//!
//! ```text
//! RUN apt-get update && \        one logical line: "RUN apt-get update &&     apt-get install -y x"
//!     # for the tests
//!     apt-get install -y x
//! COPY <<EOF /etc/motd           one logical line, and a heredoc that belongs to it
//! hello
//! EOF
//! ```
//!
//! The rules are those of BuildKit (`frontend/dockerfile/parser/parser.go`):
//!
//! - A line goes on if its last character is the escape character, blanks and tabs after it aside. Two of them in a row
//!   do not continue.
//! - Comments and empty lines between continued lines are left out. An empty one is deprecated.
//! - White space before an instruction and before `#` means nothing; before a continued line it is kept.
//! - The lines of a heredoc are nobody's: neither comments nor continuations.
//!
//! A [`Line`] remembers where each of its parts stood, so that whatever is found in it has a place in the file.

use std::ops::Range;

use crate::instruction::{Span, Word};

/// A logical line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Without escape characters at line ends, newlines, and comments.
    pub(crate) text: String,
    /// Where each physical line's part begins: in `text`, in the file. At least one.
    pieces: Vec<(usize, usize)>,
    /// Empty lines inside.
    pub(crate) empty: Vec<Span>,
}

impl Line {
    /// The place in the file of some bytes of `text`.
    fn span(&self, range: Range<usize>) -> Span {
        let piece = |at: usize| {
            let after = self.pieces.partition_point(|(start, _)| *start <= at);
            self.pieces[after.saturating_sub(1)]
        };
        let (start, source) = piece(range.start);
        let begin = source + (range.start - start);
        if range.is_empty() {
            return begin..begin;
        }
        // The last character's piece, not the one that begins behind it.
        let (start, source) = piece(range.end - 1);
        begin..source + (range.end - start)
    }

    /// All of it, white space around it aside.
    pub(crate) fn all(&self) -> Slice<'_> {
        Slice { line: self, start: 0, end: self.text.len() }.trim()
    }
}

/// A part of a logical line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice<'a> {
    line: &'a Line,
    start: usize,
    end: usize,
}

impl<'a> Slice<'a> {
    pub(crate) fn text(self) -> &'a str {
        &self.line.text[self.start..self.end]
    }

    /// Where it is in the file.
    pub(crate) fn span(self) -> Span {
        self.line.span(self.start..self.end)
    }

    /// Bytes of its text.
    pub(crate) fn sub(self, range: Range<usize>) -> Self {
        Self { start: self.start + range.start, end: self.start + range.end, ..self }
    }

    pub(crate) fn from(self, start: usize) -> Self {
        self.sub(start..self.text().len())
    }

    /// From the beginning of one to the end of another, of the same line.
    pub(crate) fn between(first: Self, last: Self) -> Self {
        Self { end: last.end, ..first }
    }

    pub(crate) fn trim(self) -> Self {
        let text = self.text();
        let start = text.len() - text.trim_start().len();
        self.sub(start..start.max(text.trim_end().len()))
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// As it is, quotes and all.
    pub(crate) fn word(self) -> Word {
        Word { text: self.text().to_owned(), span: self.span(), json: false }
    }

    /// Splits at the first white space: what is before, and what comes after it.
    pub(crate) fn split_first(self) -> (Self, Self) {
        let text = self.text();
        let end = text.find(is_blank).unwrap_or(text.len());
        (self.sub(0..end), self.from(end).trim())
    }

    /// Splits at each white space, whatever the quotes say.
    pub(crate) fn split_blank(self) -> Vec<Self> {
        let mut words = Vec::new();
        let mut rest = self.trim();
        while !rest.is_empty() {
            let (word, more) = rest.split_first();
            words.push(word);
            rest = more;
        }
        words
    }
}

/// What separates words in BuildKit: no Unicode here.
pub(crate) fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\r' | '\x0b' | '\x0c' | '\n')
}

/// Reads a file line by line.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    at: usize,
    escape: char,
}

impl<'a> Lines<'a> {
    /// From a byte of the text on.
    pub(crate) fn new(text: &'a str, at: usize, escape: char) -> Self {
        Self { text, at, escape }
    }

    /// The next physical line with its newline, and where it begins.
    fn physical(&mut self) -> Option<(usize, &'a str)> {
        let start = self.at;
        let line = self.text[start..].split_inclusive('\n').next()?;
        self.at += line.len();
        Some((start, line))
    }

    /// How much of a physical line counts, if it is continued.
    fn continued(&self, line: &str) -> Option<usize> {
        let body = line.trim_end_matches([' ', '\t']).strip_suffix(self.escape)?;
        (!body.ends_with(self.escape)).then_some(body.len())
    }

    /// The next logical line that says something. Whoever finds heredoc markers in it asks for their
    /// [content](Self::heredoc) before the next line.
    pub(crate) fn next_line(&mut self) -> Option<Line> {
        loop {
            let (start, line) = self.physical()?;
            let line = line.trim_end_matches(['\r', '\n']);
            let indent = line.len() - line.trim_start().len();
            if line[indent..].is_empty() || line[indent..].starts_with('#') {
                continue;
            }
            let mut found = Line { text: String::new(), pieces: Vec::new(), empty: Vec::new() };
            let mut more = self.push(&mut found, start + indent, &line[indent..]);
            while more {
                let Some((start, line)) = self.physical() else { break };
                let line = line.trim_end_matches(['\r', '\n']);
                match line.trim_start() {
                    "" => found.empty.push(start..start + line.len()),
                    comment if comment.starts_with('#') => {}
                    _ => more = self.push(&mut found, start, line),
                }
            }
            // An escape character alone, and nothing after it.
            if !found.text.trim().is_empty() {
                return Some(found);
            }
        }
    }

    /// Adds a physical line; whether it goes on.
    fn push(&self, to: &mut Line, start: usize, line: &str) -> bool {
        let continued = self.continued(line);
        let part = &line[..continued.unwrap_or(line.len())];
        // Pieces without a byte would stand at the same place as the next one.
        if !part.is_empty() || to.pieces.is_empty() {
            if to.text.is_empty() {
                to.pieces.clear();
            }
            to.pieces.push((to.text.len(), start));
            to.text += part;
        }
        continued.is_some()
    }

    /// Reads the lines up to the one that is `name` alone, which is read too. Nothing is read if there is none.
    pub(crate) fn heredoc(&mut self, name: &str, tabs: bool) -> Option<(Span, &'a str)> {
        let start = self.at;
        while let Some((end, line)) = self.physical() {
            let line = line.trim_end_matches(['\r', '\n']);
            let line = if tabs { line.trim_start_matches('\t') } else { line };
            if line == name {
                return Some((start..end, &self.text[start..end]));
            }
        }
        self.at = start;
        None
    }

    /// What was read so far ends here, newline aside.
    pub(crate) fn end(&self) -> usize {
        self.text[..self.at].trim_end_matches(['\r', '\n']).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, escape: char) -> Vec<String> {
        let mut lines = Lines::new(text, 0, escape);
        std::iter::from_fn(|| lines.next_line()).map(|line| line.text).collect()
    }

    #[test]
    fn continued_lines() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("\n\n  \n# x\n\t # y\n", &[]),
            ("RUN a", &["RUN a"]),
            ("  RUN a  \r\nRUN b\r\n", &["RUN a  ", "RUN b"]),
            ("RUN a \\\n  b", &["RUN a   b"]),
            ("RUN a\\ \t\n  b", &["RUN a  b"]),
            ("RUN a\\\r\nb\r\n", &["RUN ab"]),
            ("RUN a \\\n# c \\\n\n  # c\n b\nRUN c", &["RUN a  b", "RUN c"]),
            // Two escape characters are none.
            ("RUN a\\\\\nRUN b", &["RUN a\\\\", "RUN b"]),
            // The other escape character means nothing.
            ("RUN a `\nRUN b", &["RUN a `", "RUN b"]),
            ("RUN a # no comment \\\n b", &["RUN a # no comment  b"]),
            // The file ends before the line does.
            ("RUN a \\\n", &["RUN a "]),
            ("RUN a \\\n# b", &["RUN a "]),
            ("\\\nRUN a", &["RUN a"]),
            ("\\\n\\\n  \\\n", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(lines(text, '\\'), *expected, "{text:?}");
        }
        assert_eq!(lines("RUN dir C:\\\nRUN a `\n b", '`'), ["RUN dir C:\\", "RUN a  b"]);
    }

    #[test]
    fn everything_keeps_its_place() {
        let text = "#\n  RUN ab \\\n\n  # x\n cd\\\nef gh\n";
        let mut lines = Lines::new(text, 0, '\\');
        let line = lines.next_line().expect("a line");
        assert_eq!(line.text, "RUN ab  cdef gh");
        assert_eq!(line.empty.len(), 1);
        assert_eq!(line.empty[0], 13..13);
        for (word, place) in [("RUN", "RUN"), ("ab", "ab"), ("cdef", "cd\\\nef"), ("gh", "gh")] {
            let at = line.text.find(word).expect("there");
            let span = line.all().sub(at..at + word.len()).span();
            assert_eq!(&text[span], place);
        }
        assert_eq!(&text[line.all().span()], "RUN ab \\\n\n  # x\n cd\\\nef gh");
        assert_eq!(lines.end(), text.len() - 1);
    }

    #[test]
    fn heredocs() {
        let text = "X\na\\\n# b\n\tEOF\nEOF\r\nY\n";
        let mut lines = Lines::new(text, 2, '\\');
        assert_eq!(lines.heredoc("END", true), None);
        assert_eq!(lines.heredoc("EOF", false).map(|found| found.1), Some("a\\\n# b\n\tEOF\n"));
        assert_eq!(lines.next_line().map(|line| line.text).as_deref(), Some("Y"));
        let mut lines = Lines::new(text, 2, '\\');
        assert_eq!(lines.heredoc("EOF", true).map(|found| found.1), Some("a\\\n# b\n"));
    }
}
