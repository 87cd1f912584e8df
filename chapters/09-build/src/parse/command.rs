//! JSON form and shell form: `CMD ["nginx", "-g", "daemon off;"]` is executed as it is, `CMD nginx -g ...` is handed to a
//! shell.
//!
//! What begins with `[` and is no JSON array is shell form, without a word from Docker; the classic is `['nginx']`, with
//! single quotes, for which the shell then looks for a program named `[nginx]`. We warn.

use super::{Parser, Statement, at_least_one};
use crate::error::Fault;
use crate::instruction::{Command, Word};
use crate::lines::Slice;
use crate::words;

/// Either form.
pub(super) fn read(parser: &mut Parser<'_>, rest: Slice<'_>) -> Result<Command, Fault> {
    if let Some(words) = words::json(rest)? {
        return Ok(Command::Exec(texts(words)));
    }
    if let Some(message) = nearly_json(rest.text()) {
        parser.warn("InvalidJSONForm", &rest.span(), message);
    }
    Ok(Command::Shell(rest.text().to_owned()))
}

/// `SHELL` has no shell form.
pub(super) fn shell(statement: &Statement<'_>) -> Result<Vec<String>, Fault> {
    let rest = statement.rest;
    if rest.is_empty() {
        at_least_one("SHELL", statement, 0)?;
    }
    let Some(words) = words::json(rest)? else {
        let message = "SHELL requires the arguments to be in JSON form";
        let hint = r#"SHELL ["/bin/bash", "-c"]"#;
        return Err(Fault::new(rest.span(), message).hint(hint));
    };
    at_least_one("SHELL", statement, words.len())?;
    Ok(texts(words))
}

fn texts(words: Vec<Word>) -> Vec<String> {
    words.into_iter().map(|word| word.text).collect()
}

/// Shell form that was meant to be JSON. `[ -f x ]` and `[ "$a" = "b" ]` are commands of the shell and nothing is wrong
/// with them.
fn nearly_json(text: &str) -> Option<&'static str> {
    let inner = text.strip_prefix('[')?;
    if inner.starts_with('\'') || inner.contains("',") {
        return Some("JSON strings have double quotes; with single quotes this goes to the shell");
    }
    (inner.starts_with('"') || inner.contains("\","))
        .then_some("This is no correct JSON array and goes to the shell")
}

#[cfg(test)]
mod tests {
    use super::nearly_json;

    #[test]
    fn what_was_meant_to_be_json() {
        for (text, meant) in [
            ("['a', 'b']", true),
            ("['a']", true),
            ("[ 'a', \"b\" ]", true),
            (r#"["a", "b",]"#, true),
            (r#"[ "a", "b""#, true),
            ("[ -f x ]", false),
            (r#"[ "$a" = "b" ]"#, false),
            ("[ 'a' = 'b' ]", false),
            ("[[ a ]]", false),
            ("a ['b', 'c']", false),
        ] {
            assert_eq!(nearly_json(text).is_some(), meant, "{text}");
        }
    }
}
