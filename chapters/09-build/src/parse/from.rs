//! `FROM [--platform=PLATFORM] IMAGE [AS NAME]`.

use super::{Parser, Statement};
use crate::error::Fault;
use crate::instruction::Word;
use crate::lines::Slice;

type From = (Word, Option<String>, Option<Word>);

/// Base, name, platform.
pub(super) fn read(parser: &mut Parser<'_>, statement: &Statement<'_>) -> Result<From, Fault> {
    statement.flags.only("FROM", &["platform"])?;
    let platform = statement.flags.word("platform")?;
    let words = statement.rest.split_blank();
    let (base, name) = match words[..] {
        [base] => (base, None),
        [base, keyword, name] if keyword.text().eq_ignore_ascii_case("AS") => {
            casing(parser, statement.keyword, keyword);
            (base, Some(stage_name(parser, name)?))
        }
        _ => {
            let place = match words[..] {
                [] => statement.keyword,
                [first, ..] => Slice::between(first, words[words.len() - 1]),
            };
            let message = "FROM requires either one or three arguments";
            let fault = Fault::new(place.span(), message);
            return Err(fault.hint("FROM image, or FROM image AS name"));
        }
    };
    Ok((base.word(), name, platform))
}

fn casing(parser: &mut Parser<'_>, from: Slice<'_>, keyword: Slice<'_>) {
    let (from, written) = (from.text(), keyword.text());
    let lower = |text: &str| text.chars().all(|char| char.is_ascii_lowercase());
    let upper = |text: &str| text.chars().all(|char| char.is_ascii_uppercase());
    if (lower(from) && upper(written)) || (upper(from) && lower(written)) {
        let message = format!("'{written}' and '{from}' keywords' casing do not match");
        parser.warn("FromAsCasing", &keyword.span(), message);
    }
}

/// `[a-z][a-z0-9-_.]*` in any case, kept in small letters.
fn stage_name(parser: &mut Parser<'_>, name: Slice<'_>) -> Result<String, Fault> {
    let written = name.text();
    let valid = written.starts_with(|first: char| first.is_ascii_alphabetic())
        && written.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char));
    if !valid {
        let message = format!(
            "invalid name for build stage: \"{written}\", name can't start with a number or \
             contain symbols"
        );
        let hint = "letters, digits, and - _ . after the first letter";
        return Err(Fault::new(name.span(), message).hint(hint));
    }
    let lower = written.to_ascii_lowercase();
    if lower != written {
        let message = format!("Stage name '{written}' should be lowercase");
        parser.warn("StageNameCasing", &name.span(), message);
    }
    if ["scratch", "context"].contains(&&lower[..]) {
        let message =
            format!("Stage name should not use the same name as reserved stage \"{lower}\"");
        parser.warn("ReservedStageName", &name.span(), message);
    }
    Ok(lower)
}
