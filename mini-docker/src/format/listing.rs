//! Lists of things, as tables or in the user's own format.

use serde_json::{Map, Value};

use super::Template;
use crate::failure::Failure;

/// Fewest characters of a column with the space after it, as in Docker's tables.
const MIN_WIDTH: usize = 10;
/// Space after the widest cell of a column.
const SPACE: usize = 3;

/// What a listing can show.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    /// Every field of a row with its word in a table's header: `("ID", "IMAGE ID")`.
    pub headers: &'a [(&'a str, &'a str)],
    /// Fields of the usual table, in order.
    pub table: &'a [&'a str],
    /// Field that `-q` shows.
    pub quiet: &'a str,
    /// Fields with digests or ids, which are shown as twelve digits without `--no-trunc`.
    pub ids: &'a [&'a str],
}

/// What the user asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Show<'a> {
    /// `--format`: `table`, `json`, `table TEMPLATE` or a template; it wins over `quiet`.
    pub format: Option<&'a str>,
    /// `-q`
    pub quiet: bool,
    /// `--no-trunc`
    pub no_trunc: bool,
}

impl Listing<'_> {
    /// Rows as text, one line or more each. A row is an object with the fields of [`headers`](Self::headers), texts
    /// mostly; ids are whole. Texts from elsewhere must be [`sanitized`] before.
    ///
    /// # Errors
    /// If the format is none, or names a field that is not there.
    pub fn render(&self, show: Show<'_>, rows: &[Map<String, Value>]) -> Result<String, Failure> {
        let usual = || {
            let fields: Vec<String> =
                self.table.iter().map(|field| format!("{{{{.{field}}}}}")).collect();
            fields.join("\t")
        };
        let given = show.format.map(|format| format.trim_matches(' ')).filter(|f| !f.is_empty());
        let (is_table, text) = match given {
            None if show.quiet => (false, format!("{{{{.{}}}}}", self.quiet)),
            None => (true, usual()),
            Some("json") => (false, "{{json .}}".to_owned()),
            Some("table") if show.quiet => (false, format!("{{{{.{}}}}}", self.quiet)),
            Some("table") => (true, usual()),
            Some(format) => match format.strip_prefix("table") {
                Some(rest) if rest.starts_with([' ', '\t', '\\', '{']) => {
                    (true, unescape(rest.trim_matches(' ')))
                }
                _ => (false, unescape(format)),
            },
        };
        let template = Template::parse(&text)?;
        let mut lines = String::new();
        for row in rows {
            lines.push_str(&template.render(&Value::Object(self.row(row, show.no_trunc)))?);
            lines.push('\n');
        }
        if !is_table {
            return Ok(lines);
        }
        let headers: Map<String, Value> =
            self.headers.iter().map(|(field, word)| ((*field).into(), (*word).into())).collect();
        let header = template.render_header(&Value::Object(headers))?;
        Ok(align(&format!("{header}\n{lines}")))
    }

    /// In the order of the names, as Docker's `json` has them.
    fn row(&self, row: &Map<String, Value>, no_trunc: bool) -> Map<String, Value> {
        let mut sorted: Vec<_> = row.iter().collect();
        sorted.sort_by_key(|(key, _)| *key);
        let cell = |key: &String, value: &Value| match value.as_str() {
            Some(id) if !no_trunc && self.ids.contains(&key.as_str()) => short(id).into(),
            _ => value.clone(),
        };
        sorted.into_iter().map(|(key, value)| (key.clone(), cell(key, value))).collect()
    }
}

/// Twelve digits of an id; other texts (`<missing>`) as they are.
fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    match digits.get(..12) {
        Some(short) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => short,
        _ => id,
    }
}

/// `\t` and `\n` outside of actions: shells pass them on as two characters. In actions a text has them anyway.
fn unescape(format: &str) -> String {
    let mut text = String::new();
    let mut rest = format;
    loop {
        let (outside, action) = rest.split_at(rest.find("{{").unwrap_or(rest.len()));
        text.push_str(&outside.replace("\\t", "\t").replace("\\n", "\n"));
        let end = action.find("}}").map_or(action.len(), |end| end + 2);
        text.push_str(&action[..end]);
        rest = &action[end..];
        if rest.is_empty() {
            return text;
        }
    }
}

/// Lines of cells with tabs between them, as columns. Spaces at the ends of lines are cut.
fn align(text: &str) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        // What no tab ends takes no part in a column.
        for (column, cell) in cells.iter().take(cells.len() - 1).enumerate() {
            let width = (cell.chars().count() + SPACE).max(MIN_WIDTH);
            match widths.get_mut(column) {
                Some(known) => *known = width.max(*known),
                None => widths.push(width),
            }
        }
    }
    let mut out = String::new();
    for line in text.lines() {
        let start = out.len();
        let mut cells = line.split('\t').zip(widths.iter().map(Some).chain([None])).peekable();
        while let Some((cell, width)) = cells.next() {
            out.push_str(cell);
            if let (Some(width), true) = (width, cells.peek().is_some()) {
                out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
        }
        out.truncate(start + out[start..].trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

/// A text that somebody else wrote, for a table or a message: what would move a terminal's cursor, or turn the
/// direction of writing, is written as an escape.
pub fn sanitized(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    clean
}
