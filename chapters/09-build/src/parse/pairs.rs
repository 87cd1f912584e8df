//! `ENV`, `LABEL` and `ARG`: names and values.

use super::{Parser, Statement, at_least_one};
use crate::error::Fault;
use crate::instruction::{Argument, Word};
use crate::lines::Slice;
use crate::words;

/// `name=value` several times, or the old `name value`, where the value is the rest of the line. The first word decides
/// which it is.
pub(super) fn read(
    parser: &mut Parser<'_>,
    instruction: &'static str,
    statement: &Statement<'_>,
) -> Result<Vec<(Word, Word)>, Fault> {
    statement.flags.only(instruction, &[])?;
    let words = words::quoted(statement.rest, parser.escape);
    at_least_one(instruction, statement, words.len())?;
    if !words[0].text().contains('=') {
        let (name, value) = statement.rest.split_first();
        if value.is_empty() {
            let message = format!("{instruction} must have two arguments");
            return Err(Fault::new(name.span(), message).hint(format!("{instruction} name=value")));
        }
        let message = format!(
            "\"{instruction} key=value\" should be used instead of legacy \"{instruction} key \
             value\" format"
        );
        parser.warn("LegacyKeyValueFormat", &statement.rest.span(), message);
        return Ok(vec![(name.word(), value.word())]);
    }
    words.into_iter().map(|word| pair(instruction, word)).collect()
}

fn pair(instruction: &str, word: Slice<'_>) -> Result<(Word, Word), Fault> {
    let text = word.text();
    let Some(equals) = text.find('=') else {
        let message =
            format!("Syntax error - can't find = in \"{text}\". Must be of the form: name=value");
        return Err(Fault::new(word.span(), message).hint("a value with blanks needs quotes"));
    };
    named(instruction, word, equals)?;
    Ok((word.sub(0..equals).word(), word.from(equals + 1).word()))
}

fn named(instruction: &str, word: Slice<'_>, length: usize) -> Result<(), Fault> {
    if length == 0 {
        return Err(Fault::new(word.span(), format!("{instruction} names can not be blank")));
    }
    Ok(())
}

/// `name` or `name=value`, several.
pub(super) fn arguments(statement: &Statement<'_>, escape: char) -> Result<Vec<Argument>, Fault> {
    statement.flags.only("ARG", &[])?;
    let words = words::quoted(statement.rest, escape);
    at_least_one("ARG", statement, words.len())?;
    words
        .into_iter()
        .map(|word| {
            let Some(equals) = word.text().find('=') else {
                return Ok(Argument { name: word.word(), default: None });
            };
            named("ARG", word, equals)?;
            let default = Some(word.from(equals + 1).word());
            Ok(Argument { name: word.sub(0..equals).word(), default })
        })
        .collect()
}
