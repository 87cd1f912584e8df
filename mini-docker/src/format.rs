//! `--format`: the part of Go's text/template that Docker's users write, over JSON values.
//!
//! ```text
//!   {{.ID}}  {{.Config.Env}}  {{json .}}  {{index .RepoTags 0}}         fields, functions
//!   {{range $i, $e := .Env}}{{$i}}={{$e}} {{else}}none{{end}}           loops, {{break}}, {{continue}}
//!   {{if eq .Os "linux"}}yes{{else if .Os}}no{{end}}  {{with .Config}}{{.Cmd}}{{end}}
//!   {{.Names | lower | printf "%-20s|"}}  {{- trims space -}}  {{/* a comment */}}
//! ```
//!
//! `lex.rs` cuts a template into tokens, `parse.rs` makes a tree of them (`tree.rs`), `eval.rs` walks it, `access.rs`
//! finds fields, `functions.rs`, `compare.rs` and `printf.rs` are the functions, `value.rs` prints values as Go's `fmt`
//! does. [`Listing`] makes tables of rows, with Docker's headers: what `images`, `history`, `volume ls` print.
//!
//! What is not here: `define`, `template`, `block`, `html`, `js`, `urlquery` and `call`, for which a listing has no use.
//! Grammar: <https://pkg.go.dev/text/template>; functions: <https://docs.docker.com/engine/cli/formatting/>.

mod access;
mod compare;
mod eval;
mod functions;
mod glob;
mod lex;
mod listing;
mod parse;
mod printf;
mod tree;
mod value;

#[cfg(test)]
mod tests;

pub use glob::{BadPattern, matches};
pub use listing::{Listing, Show, sanitized};

use serde_json::Value;

use crate::failure::Failure;

/// A parsed template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    text: String,
    nodes: Vec<tree::Node>,
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mistake {
    message: String,
    /// Byte in the template.
    at: usize,
}

impl Mistake {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { message: message.into(), at }
    }
}

impl Template {
    /// Reads a template. The words `json` and `table`, and `\t` outside of actions, mean something to [`Listing`]
    /// only.
    ///
    /// # Errors
    /// Docker's sentence in one line, `template parsing error: template: :1: unclosed action`, and a caret below the
    /// place as the hint.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        match lex::tokens(text).and_then(|tokens| parse::parse(&tokens)) {
            Ok(nodes) => Ok(Self { text: text.to_owned(), nodes }),
            Err(mistake) => {
                let (line, _) = position(text, mistake.at);
                let message =
                    format!("template parsing error: template: :{line}: {}", mistake.message);
                Err(Failure::new(message).hint(caret(text, mistake.at)))
            }
        }
    }

    /// Fills in a value. Objects print as Go's maps, in the order of their keys; `json` keeps the order that they have.
    ///
    /// # Errors
    /// If the template asks for a field that is not there, or a function gets what it cannot work with: one line with
    /// Docker's position, `template: :1:2: executing "" at <.Nope>: ...`.
    pub fn render(&self, value: &Value) -> Result<String, Failure> {
        self.evaluate(value, false)
    }

    /// As [`render`](Self::render) for a table's header: functions that change how a value looks leave it as it is.
    fn render_header(&self, headers: &Value) -> Result<String, Failure> {
        self.evaluate(headers, true)
    }

    fn evaluate(&self, value: &Value, header: bool) -> Result<String, Failure> {
        eval::evaluate(&self.nodes, value, header).map_err(|error| {
            let (line, column) = position(&self.text, error.at);
            let message = format!(
                "template parsing error: template: :{line}:{column}: executing \"\" at <{}>: {}",
                sanitized(&error.context),
                sanitized(&error.message)
            );
            match error.hint {
                Some(hint) => Failure::new(message).hint(sanitized(&hint)),
                None => Failure::new(message),
            }
        })
    }
}

/// Line, from 1, and byte in the line, from 0: as Go counts.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before.len() - line_start)
}

/// The line of the template, and a caret below the place.
fn caret(text: &str, at: usize) -> String {
    const BEFORE: usize = 40;
    const AFTER: usize = 30;
    let (line, column) = position(text, at);
    let line = text.split('\n').nth(line - 1).unwrap_or_default();
    let (before, after) = line.split_at(column.min(line.len()));
    let skipped = before.chars().count().saturating_sub(BEFORE);
    let dots = if skipped > 0 { "..." } else { "" };
    let shown: String = before.chars().skip(skipped).map(visible).collect();
    let rest: String = after.chars().take(AFTER).map(visible).collect();
    let space = " ".repeat(dots.len() + shown.chars().count());
    format!("{dots}{shown}{rest}\n{space}^")
}

fn visible(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}
