//! `--name=value` between the keyword and the arguments. BuildKit: `parser/split_command.go`, `instructions/bflag.go`.
//!
//! Every instruction may have them as far as the text goes; most know none. `--` alone ends them. Quotes and escapes are
//! taken off the value here, and once more when it is expanded: so does BuildKit.

use crate::error::Fault;
use crate::instruction::{Span, Word};
use crate::lines::Slice;

/// The flags of one instruction.
pub(super) struct Flags(Vec<Flag>);

struct Flag {
    /// Without `--`.
    name: String,
    value: Option<Word>,
    span: Span,
}

impl Flags {
    /// Takes the flags off; the rest are arguments.
    pub(super) fn read(arguments: Slice<'_>, escape: char) -> (Self, Slice<'_>) {
        let mut flags = Vec::new();
        let mut rest = arguments.trim();
        while rest.text().starts_with("--") {
            let (length, text) = word(rest.text(), escape);
            let (flag, more) = (rest.sub(0..length), rest.from(length).trim());
            rest = more;
            if text == "--" {
                break;
            }
            flags.push(Flag::new(flag, &text));
        }
        (Self(flags), rest)
    }

    /// Refuses all flags but these.
    pub(super) fn only(&self, instruction: &str, known: &[&str]) -> Result<(), Fault> {
        let Some(flag) = self.0.iter().find(|flag| !known.contains(&&flag.name[..])) else {
            return Ok(());
        };
        let name = &flag.name;
        let fault = Fault::new(flag.span.clone(), format!("unknown flag: --{name}"));
        if let Some(near) = crate::error::nearest(name, known.iter().copied()) {
            return Err(fault.hint(format!("did you mean --{near}?")));
        }
        Err(fault.hint(if known.is_empty() {
            format!("{instruction} has no flags; if it is an argument, write -- before it")
        } else {
            let known: Vec<_> = known.iter().map(|name| format!("--{name}")).collect();
            format!("{instruction} knows {}", known.join(", "))
        }))
    }

    /// `--name=value`, at most once.
    pub(super) fn word(&self, name: &str) -> Result<Option<Word>, Fault> {
        self.one(name)?.map(Flag::required).transpose()
    }

    /// `--name=value`, several times.
    pub(super) fn words(&self, name: &str) -> Result<Vec<Word>, Fault> {
        self.0.iter().filter(|flag| flag.name == name).map(Flag::required).collect()
    }

    /// `--name`, `--name=true`, `--name=false`.
    pub(super) fn switch(&self, name: &str) -> Result<Option<bool>, Fault> {
        let Some(flag) = self.one(name)? else { return Ok(None) };
        let Some(value) = &flag.value else { return Ok(Some(true)) };
        match &value.text.to_ascii_lowercase()[..] {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            "" => Err(flag.missing().hint(format!("write --{name} or --{name}=false"))),
            _ => {
                let text = &value.text;
                let message = format!("expecting boolean value for flag --{name}, not: {text}");
                Err(Fault::new(value.span.clone(), message).hint("true or false"))
            }
        }
    }

    fn one(&self, name: &str) -> Result<Option<&Flag>, Fault> {
        let mut found = self.0.iter().filter(|flag| flag.name == name);
        let first = found.next();
        match found.next() {
            None => Ok(first),
            Some(again) => {
                let message = format!("duplicate flag specified: --{name}");
                Err(Fault::new(again.span.clone(), message))
            }
        }
    }
}

impl Flag {
    fn new(written: Slice<'_>, text: &str) -> Self {
        let text = text.strip_prefix("--").unwrap_or(text);
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let value = value.map(|value| {
            let begin = written.text().find('=').map_or(0, |equals| equals + 1);
            Word { text: value.to_owned(), span: written.from(begin).span(), json: false }
        });
        Self { name: name.to_owned(), value, span: written.span() }
    }

    fn required(&self) -> Result<Word, Fault> {
        self.value.clone().ok_or_else(|| self.missing())
    }

    fn missing(&self) -> Fault {
        let name = &self.name;
        let fault = Fault::new(self.span.clone(), format!("missing a value on flag: --{name}"));
        fault.hint(format!("write --{name}=VALUE, without a blank"))
    }
}

/// The first word: how long it is as written, and its text without quotes and escapes.
fn word(text: &str, escape: char) -> (usize, String) {
    let mut plain = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match quote {
            None if char.is_whitespace() => return (at, plain),
            None if char == '\'' || char == '"' => quote = Some(char),
            Some(open) if char == open => quote = None,
            _ if char == escape => plain.extend(chars.next().map(|(_, char)| char)),
            _ => plain.push(char),
        }
    }
    (text.len(), plain)
}
