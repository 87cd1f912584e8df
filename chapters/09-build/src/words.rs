//! How the arguments of an instruction are cut into words. Docker has four ways, by instruction:
//!
//! | way | who | `a "b c" d\ e` |
//! |---|---|---|
//! | at white space ([`Slice::split_blank`]) | `FROM`, `EXPOSE`, `COPY`, `ADD`, `VOLUME` | `a`, `"b`, `c"`, `d\`, `e` |
//! | with quotes ([`quoted`]) | `ENV`, `LABEL`, `ARG` | `a`, `"b c"`, `d\ e` |
//! | JSON ([`json`]) | all with a JSON form | |
//! | not at all | `RUN`, `CMD`, `ENTRYPOINT`, `USER`, `WORKDIR` | the whole line |
//!
//! Quotes and escapes stay in the words: [`expand`](crate::expand) takes them off, when variables have values.
//! BuildKit: `frontend/dockerfile/parser/line_parsers.go` and `parser.go`.

use crate::error::Fault;
use crate::instruction::Word;
use crate::lines::Slice;

/// Words at white space outside quotes. A quote that is never closed reaches to the end.
pub(crate) fn quoted(slice: Slice<'_>, escape: char) -> Vec<Slice<'_>> {
    split(slice, escape).0
}

/// The words, and whether all quotes were closed.
fn split(slice: Slice<'_>, escape: char) -> (Vec<Slice<'_>>, bool) {
    let mut words = Vec::new();
    let mut start: Option<usize> = None;
    let mut quote = None;
    let text = slice.text();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        if start.is_none() {
            if char.is_whitespace() {
                continue;
            }
            start = Some(at);
        }
        match quote {
            None if char.is_whitespace() => {
                words.extend(start.take().map(|start| slice.sub(start..at)));
            }
            None if char == '\'' || char == '"' => quote = Some(char),
            Some(open) if char == open => quote = None,
            _ => {}
        }
        // Nothing escapes anything between single quotes; at the very end it is no part of the word.
        let escapes = char == escape && quote != Some('\'');
        if escapes && chars.next().is_none() {
            let word = start.take().filter(|start| *start < at);
            words.extend(word.map(|start| slice.sub(start..at)));
        }
    }
    words.extend(start.map(|start| slice.from(start)));
    (words, quote.is_none())
}

/// A JSON array of strings, if it is one; nothing if it is no JSON array, which makes it shell form.
///
/// # Errors
/// If it is an array of anything else: Docker refuses that.
pub(crate) fn json(slice: Slice<'_>) -> Result<Option<Vec<Word>>, Fault> {
    let slice = slice.trim();
    if !slice.text().starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(slice.text()) else {
        return Ok(None);
    };
    let mut places = strings(slice).into_iter();
    let mut words = Vec::new();
    for value in values {
        let (serde_json::Value::String(text), Some(place)) = (value, places.next()) else {
            let message = "when using JSON array syntax, arrays must be comprised of strings only";
            return Err(
                Fault::new(slice.span(), message).hint("put each argument in double quotes")
            );
        };
        words.push(Word { text, span: place.span(), json: true });
    }
    Ok(Some(words))
}

/// The strings of some correct JSON, quotes included.
fn strings(slice: Slice<'_>) -> Vec<Slice<'_>> {
    let mut found = Vec::new();
    let mut start = None;
    let mut chars = slice.text().char_indices();
    while let Some((at, char)) = chars.next() {
        match (char, start) {
            ('"', None) => start = Some(at),
            ('"', Some(begin)) => {
                found.push(slice.sub(begin..at + 1));
                start = None;
            }
            ('\\', _) => {
                chars.next();
            }
            _ => {}
        }
    }
    found
}

/// `<<EOF` in a line: there is a heredoc below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker {
    /// What ends it, without quotes.
    pub(crate) name: String,
    /// No part of the name is quoted.
    pub(crate) expand: bool,
    /// `<<-`: leading tabs are no part of it.
    pub(crate) tabs: bool,
    /// `<< EOF`: it is one only if something ends it, since `$((1 << 2))` looks the same.
    pub(crate) doubtful: bool,
    /// The whole word: a descriptor, `<<`, and the name.
    pub(crate) word: Word,
}

/// The heredocs that a command for the shell announces: words that begin with `<<`, perhaps with the number of a
/// descriptor before it. If a quote is not closed, nothing is one, as in BuildKit.
pub(crate) fn markers(slice: Slice<'_>) -> Vec<Marker> {
    if !slice.text().contains("<<") {
        return Vec::new();
    }
    // Here the escape character is always the shell's.
    let (words, closed) = split(slice, '\\');
    if !closed {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        // White space may follow `<<` since BuildKit 0.22, but not `<<-`.
        let alone = word.text().trim_start_matches(|char: char| char.is_ascii_digit()) == "<<";
        if !alone {
            found.extend(marker(word));
        } else if let Some(next) = words.peek()
            && let Some(name) = name(next.text())
        {
            let whole = Slice::between(word, *next);
            let (name, expand) = name;
            found.push(Marker { name, expand, tabs: false, doubtful: true, word: whole.word() });
            words.next();
        }
    }
    found
}

/// The heredoc that a word announces.
pub(crate) fn marker(word: Slice<'_>) -> Option<Marker> {
    let text = word.text().trim_start_matches(|char: char| char.is_ascii_digit());
    let text = text.strip_prefix("<<")?;
    let (tabs, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (name, expand) = name(text)?;
    Some(Marker { name, expand, tabs, doubtful: false, word: word.word() })
}

/// The name of a heredoc without quotes and escapes, and whether it had no quotes.
fn name(text: &str) -> Option<(String, bool)> {
    // `<<<` hands over a string.
    if text.contains('<') {
        return None;
    }
    let mut name = String::new();
    let (mut quote, mut plain) = (None, true);
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match quote {
            Some(open) if char == open => quote = None,
            None if char == '\'' || char == '"' => (quote, plain) = (Some(char), false),
            None if char == '\\' => name.extend(chars.next()),
            _ => name.push(char),
        }
    }
    (quote.is_none() && !name.is_empty()).then_some((name, plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::{Line, Lines};

    fn line(text: &str) -> Line {
        Lines::new(text, 0, '\\').next_line().expect("a line")
    }

    #[test]
    fn words_with_quotes() {
        let cases: &[(&str, &[&str])] = &[
            ("a b  c", &["a", "b", "c"]),
            ("a=\"b c\" d='e  f'", &["a=\"b c\"", "d='e  f'"]),
            ("a=b\\ c d", &["a=b\\ c", "d"]),
            ("a=\"b\\\" c\" d", &["a=\"b\\\" c\"", "d"]),
            // No escapes in single quotes.
            ("a='b\\' c", &["a='b\\'", "c"]),
            ("a=\\\"b c\\\"", &["a=\\\"b", "c\\\""]),
            ("a=\"b c", &["a=\"b c"]),
            ("\"\" ''", &["\"\"", "''"]),
            ("a=b\u{a0}c", &["a=b", "c"]),
        ];
        for (text, expected) in cases {
            let line = line(text);
            let words: Vec<_> = quoted(line.all(), '\\').iter().map(|word| word.text()).collect();
            assert_eq!(words, *expected, "{text}");
        }
        let line = line("a=C:\\x b=c` d");
        let words: Vec<_> = quoted(line.all(), '`').iter().map(|word| word.text()).collect();
        assert_eq!(words, ["a=C:\\x", "b=c` d"]);
    }

    #[test]
    fn json_or_not() {
        let cases: &[(&str, Option<&[&str]>)] = &[
            ("[]", Some(&[])),
            ("[ ]  ", Some(&[])),
            (r#"["a", "b\"]\u00e9\\" ]"#, Some(&["a", "b\"]é\\"])),
            ("['a', 'b']", None),
            (r#"["a", "b",]"#, None),
            (r#"["a"] && b"#, None),
            (r#"["a" "b"]"#, None),
            ("[ -f x ]", None),
            ("a", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let text = format!("X{text}");
            let line = line(&text);
            let words = json(line.all().from(1)).expect("no error");
            let words: Option<Vec<_>> =
                words.as_ref().map(|words| words.iter().map(|word| &word.text[..]).collect());
            assert_eq!(words.as_deref(), *expected, "{text}");
        }
        for text in ["[1]", r#"["a", ["b"]]"#, "[null]", r#"["a", {"b": "c"}]"#] {
            assert!(json(line(text).all()).is_err(), "{text}");
        }
    }

    #[test]
    fn heredoc_markers() {
        let cases: &[(&str, &[&str])] = &[
            ("cat <<EOF", &["EOF $"]),
            ("cat <<-EOF >x", &["EOF $ -"]),
            ("cat <<\"EOF\" <<'b c'", &["EOF", "b c"]),
            ("cat <<E'O'F 3<<-\"EOF\" <<\\EOF", &["EOF", "EOF -", "EOF $"]),
            ("<<$EOF", &["$EOF $"]),
            ("cat << EOF", &["EOF $ ?"]),
            ("cat 3<< 'EOF' x", &["EOF ?"]),
            ("echo $((1<<2)) $((1 << 2))", &["2)) $ ?"]),
            // None of these.
            ("cat <<<EOF", &[]),
            ("cat <<< EOF", &[]),
            ("cat <<- EOF", &[]),
            ("cat x<<EOF", &[]),
            ("cat \"<<EOF\" '<<EOF' \\<<EOF", &[]),
            ("cat <<", &[]),
            ("cat <<\"\"", &[]),
            ("cat <<EOF<x", &[]),
            ("it's <<EOF", &[]),
        ];
        for (text, expected) in cases {
            let line = line(text);
            let shown = |marker: &Marker| {
                let mut shown = marker.name.clone();
                for (yes, mark) in
                    [(marker.expand, " $"), (marker.tabs, " -"), (marker.doubtful, " ?")]
                {
                    shown += if yes { mark } else { "" };
                }
                shown
            };
            let found: Vec<_> = markers(line.all()).iter().map(shown).collect();
            assert_eq!(found, *expected, "{text}");
        }
    }
}
