//! What is wrong in a Dockerfile, said as a compiler says it.
//!
//! ```text
//! Dockerfile:2: unknown instruction: RUM
//!    |
//!  2 | RUM apt-get update
//!    | ^^^
//!    = hint: did you mean RUN?
//! ```
//!
//! The parser's own functions know only a place in the text: they return a `Fault`. Whoever has the text makes a
//! [`ParseError`] of it, which carries its lines and can be shown anywhere.

use std::fmt;

use crate::instruction::Span;

/// A mistake in a Dockerfile. Its `Display` is the whole picture, several lines without a newline at the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.picture())]
pub struct ParseError {
    /// One line, in Docker's words where Docker has some.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Bytes of the source text; empty for what concerns no place.
    pub span: Span,
    /// Name of the file and number of the line, from 1: `Dockerfile:2`.
    pub place: String,
    /// The line and what is under it, as shown; nothing for a file without lines.
    pub excerpt: String,
}

impl ParseError {
    fn picture(&self) -> String {
        let mut text = format!("{}: {}", self.place, self.message);
        if !self.excerpt.is_empty() {
            text += "\n";
            text += &self.excerpt;
        }
        if let Some(hint) = &self.hint {
            // Below the bar of the excerpt.
            let margin = self.excerpt.find('|').map_or(1, |bar| bar.max(1));
            text += &format!("\n{:margin$}= hint: {hint}", "");
        }
        text
    }
}

/// Something that Docker accepts and nobody should write: one of the
/// [build checks](https://docs.docker.com/reference/build-checks/) of BuildKit by their names, and one of our own,
/// `InvalidJSONForm`. `Display` is the line that `docker build` prints: `StageNameCasing: Stage name 'Base' should be
/// lowercase (line 1)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Name of the check.
    pub rule: &'static str,
    /// One line.
    pub message: String,
    /// What it is about.
    pub span: Span,
    /// Its line, from 1.
    pub line: usize,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (line {})", self.rule, self.message, self.line)
    }
}

/// A mistake and its place, before anybody has looked up the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) span: Span,
}

impl Fault {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, span }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With "did you mean", if one of the known words is near enough.
    pub(crate) fn suggest<'a>(
        mut self,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        if let Some(near) = nearest(word, known) {
            self.hint = Some(format!("did you mean {near}?"));
        }
        self
    }
}

/// The known word that was probably meant: at most a third of its letters are wrong, or one. Letters that have changed
/// places count once; upper and lower case are the same.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    // Nobody misspells a word of this length; the distance costs the product of both.
    if lower.is_empty() || lower.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1) && *distance < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant() {
        let known = ["ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "RUN", "WORKDIR"];
        for (word, near) in [
            ("RUM", Some("RUN")),
            ("rnu", Some("RUN")),
            ("CPOY", Some("COPY")),
            ("ENTRYPONT", Some("ENTRYPOINT")),
            ("WORKIDR", Some("WORKDIR")),
            ("apt-get", None),
            ("", None),
            ("XYZ", None),
        ] {
            assert_eq!(nearest(word, known), near, "{word}");
        }
    }
}
