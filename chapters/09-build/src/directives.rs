//! Parser directives: comments that mean something, at the top of the file.
//!
//! ```text
//! # syntax=docker/dockerfile:1
//! # escape=`
//! # check=skip=JSONArgsRecommended
//! ```
//!
//! They end with the first line that is anything else: an instruction, an empty line, another comment. From there on
//! even `# escape=` is a comment. Each may stand there once; case and white space do not matter. Dockerfile reference,
//! section "Parser directives".

use crate::error::Fault;

/// What the directives say, and where the rest of the file begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Directives {
    /// The image of a frontend.
    pub(crate) syntax: Option<String>,
    /// A backslash or a backtick.
    pub(crate) escape: char,
    /// First byte after them.
    pub(crate) end: usize,
}

/// Reads the directives of a file.
pub(crate) fn read(text: &str) -> Result<Directives, Fault> {
    let mut found = Directives { syntax: None, escape: '\\', end: 0 };
    // Some editors write a byte order mark, and nobody sees it.
    if text.starts_with('\u{feff}') {
        found.end = '\u{feff}'.len_utf8();
    }
    let mut seen = Vec::new();
    for line in text[found.end..].split_inclusive('\n') {
        let start = found.end;
        let Some((name, value)) = directive(line) else { break };
        let at = |part: &str| {
            let begin = start + (part.as_ptr() as usize - line.as_ptr() as usize);
            begin..begin + part.len()
        };
        let lower = name.to_ascii_lowercase();
        if !["syntax", "escape", "check"].contains(&&lower[..]) {
            break;
        }
        if seen.contains(&lower) {
            let message = format!("only one {lower} parser directive can be used");
            return Err(Fault::new(at(name), message));
        }
        match &lower[..] {
            "syntax" => found.syntax = value.split_whitespace().next().map(str::to_owned),
            "escape" => {
                found.escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    _ => {
                        let message =
                            format!("invalid escape token '{value}' does not match ` or \\");
                        return Err(Fault::new(at(value), message));
                    }
                };
            }
            // Which checks `docker build --check` leaves out: warnings are nobody's failure here.
            _ => {}
        }
        seen.push(lower);
        found.end += line.len();
    }
    Ok(found)
}

/// `# name = value`, both without white space around them.
fn directive(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let letters = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|char| char.is_ascii_alphanumeric());
    (letters && !value.is_empty()).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_at_the_top() {
        for (text, syntax, escape, end) in [
            ("", None, '\\', 0),
            ("FROM a", None, '\\', 0),
            ("# escape=`\nFROM a", None, '`', 11),
            ("#escape=\\\n", None, '\\', 10),
            ("  #  EsCaPe \t=\t` \r\nFROM a", None, '`', 19),
            ("\u{feff}# escape=`\n", None, '`', 14),
            ("# syntax=docker/dockerfile:1 x\n# escape=`\n", Some("docker/dockerfile:1"), '`', 42),
            ("# check=skip=all;error=true\n# escape=`", None, '`', 38),
            // From here on they are comments.
            ("\n# escape=`\n", None, '\\', 0),
            ("# a comment\n# escape=`\n", None, '\\', 0),
            ("# unknown=x\n# escape=`\n", None, '\\', 0),
            ("# escape=\n# escape=`\n", None, '\\', 0),
            ("FROM a\n# escape=`\n", None, '\\', 0),
            ("#!/bin/x\n# escape=`\n", None, '\\', 0),
            ("# 1x=2\n# escape=`\n", None, '\\', 0),
        ] {
            let expected = Directives { syntax: syntax.map(str::to_owned), escape, end };
            assert_eq!(read(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn twice_or_wrong() {
        let text = "# escape=`\n# ESCAPE=`\n";
        let fault = read(text).expect_err("twice");
        assert_eq!(fault.message, "only one escape parser directive can be used");
        assert_eq!(&text[fault.span], "ESCAPE");
        let text = "# syntax=x\n# escape= ab \n";
        let fault = read(text).expect_err("wrong");
        assert_eq!(fault.message, "invalid escape token 'ab' does not match ` or \\");
        assert_eq!(&text[fault.span], "ab");
    }
}
