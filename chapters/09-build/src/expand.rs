//! Variables: what a word says once they have values. BuildKit's shell lexer (`frontend/dockerfile/shell/lex.go`), which
//! looks like a shell and is less:
//!
//! | written | is |
//! |---|---|
//! | `$name`, `${name}` | the value; nothing if there is none |
//! | `${name:-word}`, `${name-word}` | the word if it has no value (with a colon: or an empty one) |
//! | `${name:+word}`, `${name+word}` | the word if it has a value, else nothing |
//! | `${name:?word}`, `${name?word}` | an error, with the word, if it has no value |
//! | `${name#pattern}`, `##`, `%`, `%%` | the value without its shortest or longest beginning, or end, that matches |
//! | `${name/pattern/word}`, `//` | the value with the first, or each, match replaced |
//! | `'text'` | the text, no variables, no escapes |
//! | `"text"` | variables; the escape character before `"`, `$` and itself |
//! | `\x` | x |
//!
//! A word after `:-` and so on is expanded itself, to any depth that people write.
//!
//! Which instructions expand is said by [`words`]: `ADD`, `COPY`, `ENV`, `EXPOSE`, `FROM`, `LABEL`, `STOPSIGNAL`, `USER`,
//! `VOLUME`, `WORKDIR`, defaults of `ARG`, and the values of flags. Not `RUN`, `CMD`, `ENTRYPOINT`, `SHELL` and
//! `HEALTHCHECK`: there the shell does, or nobody. What follows `ONBUILD` is expanded when it is triggered.
//!
//! The caller's lookup sees each name that is used, also those without a value: these decide about the cache.

mod pattern;

use crate::instruction::{Heredoc, Kind, Span, Transfer, Word};
use pattern::Pattern;

/// Deeper than this no `${a:-${b:-...}}` is followed: each level takes some of the stack.
const DEPTH: usize = 100;

/// The value of a variable, if it has one.
pub type Lookup<'a> = dyn FnMut(&str) -> Option<String> + 'a;

/// Puts values in the place of variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expander {
    /// Of the Dockerfile: [`Dockerfile::escape`](crate::instruction::Dockerfile::escape).
    pub escape: char,
}

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpandError {
    /// One line, in BuildKit's words.
    pub message: String,
    /// What to write, where that is known.
    pub hint: Option<&'static str>,
    /// The word, in the source text.
    pub span: Span,
}

impl ExpandError {
    fn new(message: String, span: &Span) -> Self {
        let hint = message.contains("-quote").then_some(
            "a quote that is text needs an escape character; paths with blanks need the JSON form",
        );
        Self { message, hint, span: span.clone() }
    }
}

impl Expander {
    /// One string, white space and all.
    ///
    /// # Errors
    /// For a quote or brace that is not closed, a `${}` that is none, and `${name:?}` without a value.
    pub fn expand(&self, word: &Word, lookup: &mut Lookup<'_>) -> Result<String, ExpandError> {
        Ok(self.run(word, lookup)?.text)
    }

    /// Several words: white space outside quotes separates them, also where it comes from a value. For `EXPOSE`.
    ///
    /// # Errors
    /// As [`expand`](Self::expand).
    pub fn expand_words(
        &self,
        word: &Word,
        lookup: &mut Lookup<'_>,
    ) -> Result<Vec<String>, ExpandError> {
        Ok(self.run(word, lookup)?.finish())
    }

    fn run(&self, word: &Word, lookup: &mut Lookup<'_>) -> Result<Output, ExpandError> {
        let mut lexer = Lexer::new(&word.text, self.escape, !word.json, lookup);
        lexer.until(None, false).map_err(|message| ExpandError::new(message, &word.span))
    }
}

/// The content of a heredoc of `COPY` or `ADD`, with values in the place of variables unless its name was quoted. Quotes
/// are text; a backslash escapes the next character and disappears, whatever the Dockerfile's escape character is.
///
/// # Errors
/// As [`Expander::expand`].
pub fn expand_heredoc(heredoc: &Heredoc, lookup: &mut Lookup<'_>) -> Result<String, ExpandError> {
    if !heredoc.expand {
        return Ok(heredoc.content.clone());
    }
    let mut lexer = Lexer::new(&heredoc.content, '\\', false, lookup);
    let output = lexer.until(None, false);
    let output = output.map_err(|message| ExpandError::new(message, &heredoc.span))?;
    Ok(output.text)
}

/// The words of an instruction in which variables are expanded, in the order of the text; those of `EXPOSE` by
/// [`Expander::expand_words`], the rest by [`Expander::expand`]. Heredocs come on top.
#[must_use]
pub fn words(kind: &Kind) -> Vec<&Word> {
    match kind {
        Kind::Add(transfer) | Kind::Copy(transfer) => transfer_words(transfer),
        Kind::Arg(arguments) => arguments
            .iter()
            .flat_map(|argument| std::iter::once(&argument.name).chain(&argument.default))
            .collect(),
        Kind::Env(pairs) | Kind::Label(pairs) => {
            pairs.iter().flat_map(|(name, value)| [name, value]).collect()
        }
        Kind::Expose(words) | Kind::Volume(words) => words.iter().collect(),
        Kind::Stopsignal(word) | Kind::User(word) | Kind::Workdir(word) => vec![word],
        Kind::Run(run) => {
            let fields = run.mounts.iter().flat_map(|mount| &mount.fields);
            let values = fields.filter_map(|(_, value)| value.as_ref());
            values.chain(&run.network).chain(&run.security).collect()
        }
        _ => Vec::new(),
    }
}

fn transfer_words(transfer: &Transfer) -> Vec<&Word> {
    let flags = [&transfer.from, &transfer.chown, &transfer.chmod, &transfer.checksum];
    let mut words: Vec<_> = flags.into_iter().flatten().collect();
    words.extend(&transfer.exclude);
    words.extend(&transfer.sources);
    words.push(&transfer.target);
    words
}

/// One string, and the same as words.
#[derive(Debug, Default)]
struct Output {
    text: String,
    words: Vec<String>,
    word: String,
}

impl Output {
    /// A character that separates words if it is white space.
    fn push(&mut self, char: char) {
        self.text.push(char);
        if !char.is_whitespace() {
            self.word.push(char);
        } else if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    /// What was quoted or escaped.
    fn push_quoted(&mut self, text: &str) {
        self.text += text;
        self.word += text;
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

struct Lexer<'a, 'b> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    escape: char,
    quotes: bool,
    depth: usize,
    lookup: &'a mut Lookup<'b>,
}

impl<'a, 'b> Lexer<'a, 'b> {
    fn new(text: &'a str, escape: char, quotes: bool, lookup: &'a mut Lookup<'b>) -> Self {
        Self { rest: text.chars().peekable(), escape, quotes, depth: 0, lookup }
    }

    /// All up to a character, which is read too, or to the end. In patterns escape characters stay (`raw`).
    fn until(&mut self, stop: Option<char>, raw: bool) -> Result<Output, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("syntax error: substitutions are nested too deeply".to_owned());
        }
        let mut output = Output::default();
        while let Some(char) = self.rest.next() {
            match char {
                _ if Some(char) == stop => {
                    self.depth -= 1;
                    return Ok(output);
                }
                '$' => self.dollar()?.chars().for_each(|char| output.push(char)),
                '\'' if self.quotes => output.push_quoted(&self.single()?),
                '"' if self.quotes => output.push_quoted(&self.double(raw)?),
                _ if char == self.escape => {
                    let mut text = String::new();
                    text.extend(raw.then_some(char));
                    text.extend(self.rest.next());
                    output.push_quoted(&text);
                }
                _ => output.push(char),
            }
        }
        self.depth -= 1;
        match stop {
            None => Ok(output),
            Some('/') => Err("syntax error: missing '/' in ${}".to_owned()),
            Some(_) => Err("syntax error: missing '}'".to_owned()),
        }
    }

    /// After `'`.
    fn single(&mut self) -> Result<String, String> {
        let mut text = String::new();
        for char in self.rest.by_ref() {
            if char == '\'' {
                return Ok(text);
            }
            text.push(char);
        }
        Err("unexpected end of statement while looking for matching single-quote".to_owned())
    }

    /// After `"`.
    fn double(&mut self, raw: bool) -> Result<String, String> {
        let mut text = String::new();
        while let Some(char) = self.rest.next() {
            match char {
                '"' => return Ok(text),
                '$' => text += &self.dollar()?,
                _ if char == self.escape => {
                    let escape = self.escape;
                    let special = |next: &char| ['"', '$', escape].contains(next);
                    match self.rest.next_if(special) {
                        Some(next) => {
                            text.extend(raw.then_some(char));
                            text.push(next);
                        }
                        None => text.push(char),
                    }
                }
                _ => text.push(char),
            }
        }
        Err("unexpected end of statement while looking for matching double-quote".to_owned())
    }

    /// After `$`.
    fn dollar(&mut self) -> Result<String, String> {
        if self.rest.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(match &name[..] {
                "" => "$".to_owned(),
                _ => (self.lookup)(&name).unwrap_or_default(),
            });
        }
        match self.rest.peek() {
            None => return Err("syntax error: missing '}'".to_owned()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        let Some(mut operator) = self.rest.next() else {
            return Err("syntax error: missing '}'".to_owned());
        };
        let mut shown = String::from(operator);
        let colon = operator == ':';
        if colon {
            let Some(next) = self.rest.next() else {
                return Err("syntax error: missing '}'".to_owned());
            };
            operator = next;
            shown.push(next);
        }
        match operator {
            '}' if !colon => Ok((self.lookup)(&name).unwrap_or_default()),
            '-' | '+' | '?' => self.choose(&name, operator, colon),
            '#' | '%' => self.cut(&name, operator),
            '/' if !colon => self.replace(&name),
            _ => Err(format!("unsupported modifier ({shown}) in substitution")),
        }
    }

    /// `${name:-word}` and its kin; with a colon, an empty value is none.
    fn choose(&mut self, name: &str, operator: char, colon: bool) -> Result<String, String> {
        let word = self.until(Some('}'), false)?.text;
        let value = (self.lookup)(name);
        let unset = value.is_none();
        let value = value.filter(|value| !colon || !value.is_empty());
        match (operator, value) {
            ('-', None) => Ok(word),
            ('+', None) => Ok(String::new()),
            ('+', Some(_)) => Ok(word),
            ('?', None) if !word.is_empty() => Err(format!("{name}: {word}")),
            ('?', None) if unset => Err(format!("{name}: is not allowed to be unset")),
            ('?', None) => Err(format!("{name}: is not allowed to be empty")),
            (_, value) => Ok(value.unwrap_or_default()),
        }
    }

    /// `${name#pattern}`, `${name%pattern}`; the sign twice means the longest match.
    fn cut(&mut self, name: &str, operator: char) -> Result<String, String> {
        let word = self.until(Some('}'), true)?.text;
        let value = (self.lookup)(name).unwrap_or_default();
        let (longest, word) = match word.strip_prefix(operator) {
            Some(word) => (true, word),
            None => (false, &word[..]),
        };
        let pattern = Pattern::read(word, self.escape)?;
        Ok(match operator {
            '#' => pattern.without_prefix(&value, longest),
            _ => pattern.without_suffix(&value, longest),
        })
    }

    /// `${name/pattern/word}`; `//` replaces each match.
    fn replace(&mut self, name: &str) -> Result<String, String> {
        let all = self.rest.next_if_eq(&'/').is_some();
        let pattern = self.until(Some('/'), true)?.text;
        let word = self.until(Some('}'), true)?.text;
        let value = (self.lookup)(name).unwrap_or_default();
        Ok(Pattern::read(&pattern, self.escape)?.replace(&value, &word, all))
    }

    /// A name, a number, or one of the shell's signs; nothing if there is none.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.rest.peek() {
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.rest.next()),
            Some(first) if first.is_numeric() => {
                while let Some(digit) = self.rest.next_if(|char| char.is_numeric()) {
                    name.push(digit);
                }
            }
            _ => {
                while let Some(char) =
                    self.rest.next_if(|char| char.is_alphanumeric() || *char == '_')
                {
                    name.push(char);
                }
            }
        }
        name
    }
}

#[cfg(test)]
mod tests;
