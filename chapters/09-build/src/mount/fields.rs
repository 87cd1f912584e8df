//! `type=cache,"target=/a,b"`: the value of `--mount` is a line of CSV.

use std::ops::Range;

use crate::instruction::Word;

/// Cuts the flag's value at commas, as a line of CSV: a field in double quotes may contain some.
///
/// # Errors
/// A quote that is not closed, or one in the middle.
pub fn split(word: &Word) -> Result<Vec<(String, Option<Word>)>, String> {
    let mut fields = Vec::new();
    let mut rest = Some(0);
    while let Some(start) = rest {
        let text = &word.text[start..];
        let (field, length) = match text.strip_prefix('"') {
            Some(inner) => {
                let (field, length) = quoted(inner)?;
                (field, length + 1)
            }
            None => {
                let length = text.find(',').unwrap_or(text.len());
                if text[..length].contains('"') {
                    return Err("failed to parse csv mounts: a \" inside a field".to_owned());
                }
                (text[..length].to_owned(), length)
            }
        };
        rest = text[length..].starts_with(',').then_some(start + length + 1);
        // Where it is, unless quotes have been taken off on the way.
        let exact = word.text.len() == word.span.len() && !text.starts_with('"');
        let at = |range: Range<usize>| match exact {
            true => word.span.start + start + range.start..word.span.start + start + range.end,
            false => word.span.clone(),
        };
        let value = |text: &str, begin: usize| Word {
            text: text.to_owned(),
            span: at(begin..length.max(begin)),
            json: false,
        };
        fields.push(match field.split_once('=') {
            Some((key, text)) => (key.to_ascii_lowercase(), Some(value(text, key.len() + 1))),
            None => (field.to_ascii_lowercase(), None),
        });
    }
    Ok(fields)
}

/// A field after its opening quote, and its length with the closing one.
fn quoted(text: &str) -> Result<(String, usize), String> {
    let mut field = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        if char != '"' {
            field.push(char);
        } else if chars.next_if(|(_, next)| *next == '"').is_some() {
            field.push('"');
        } else if matches!(chars.peek(), None | Some((_, ','))) {
            return Ok((field, at + 1));
        } else {
            return Err("failed to parse csv mounts: a \" inside a field".to_owned());
        }
    }
    Err("failed to parse csv mounts: a \" is not closed".to_owned())
}
