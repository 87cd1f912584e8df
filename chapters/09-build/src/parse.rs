//! A Dockerfile's text becomes a [`Dockerfile`].
//!
//! 1. `directives` say which character escapes.
//! 2. `lines` puts continued lines together.
//! 3. Here the keyword chooses who reads the rest; flags (`--from=`) are taken off before. Each family of instructions
//!    has a file in `parse/`.
//! 4. If the line announces heredocs, the lines below it are theirs.
//! 5. `FROM` begins a stage, everything else is added to the last one.
//!
//! The first mistake ends it, as in Docker. What Docker accepts but warns about is collected ([`Warning`]); checks that
//! need more than one line are in `lint`.

mod command;
mod flags;
mod from;
mod health;
mod onbuild;
mod pairs;
mod run;
mod transfer;

use crate::directives;
use crate::error::{Fault, ParseError, Warning};
use crate::instruction::{Dockerfile, Heredoc, Instruction, Kind, Span, Stage, Word};
use crate::lines::{Line, Lines, Slice};
use crate::lint;
use crate::source::Source;
use crate::words::{self, Marker};
use flags::Flags;
pub use onbuild::parse_trigger;

/// All instructions, for "did you mean".
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What a text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// As data.
    pub dockerfile: Dockerfile,
    /// What Docker accepts and warns about, by line.
    pub warnings: Vec<Warning>,
}

/// Reads a Dockerfile.
///
/// # Errors
/// The first mistake, with its line.
pub fn parse(source: &Source) -> Result<Parsed, ParseError> {
    let mut parser = Parser { source, escape: '\\', warnings: Vec::new() };
    let dockerfile = parser.file().map_err(|fault| source.explain(fault))?;
    let mut warnings = parser.warnings;
    warnings.extend(lint::check(source, &dockerfile));
    warnings.sort_by_key(|warning| warning.span.start);
    source.number(&mut warnings);
    Ok(Parsed { dockerfile, warnings })
}

/// What all parts of the parser share.
struct Parser<'a> {
    source: &'a Source,
    escape: char,
    warnings: Vec<Warning>,
}

/// A line, taken apart as far as all instructions have in common.
struct Statement<'a> {
    /// As written.
    keyword: Slice<'a>,
    /// `--name=value`.
    flags: Flags,
    /// What follows the flags, white space around it aside.
    rest: Slice<'a>,
    /// In the order of the line.
    heredocs: Vec<(Marker, Heredoc)>,
}

impl Parser<'_> {
    fn warn(&mut self, rule: &'static str, span: &Span, message: impl Into<String>) {
        self.warnings.push(self.source.warning(rule, span, &message.into()));
    }

    fn file(&mut self) -> Result<Dockerfile, Fault> {
        let text = self.source.text();
        if let Some(at) = text.find('\0') {
            let fault = Fault::new(at..at + 1, "a NUL byte is no text");
            return Err(fault.hint("the file is binary, or UTF-16 without its mark"));
        }
        let head = directives::read(text)?;
        self.escape = head.escape;
        let mut file = Dockerfile {
            syntax: head.syntax,
            escape: head.escape,
            arguments: Vec::new(),
            stages: Vec::new(),
        };
        let mut lines = Lines::new(text, head.end, head.escape);
        let mut empty = true;
        while let Some(line) = lines.next_line() {
            self.statement(&line, &mut lines, &mut file)?;
            empty = false;
        }
        if file.stages.is_empty() {
            let end = text.len();
            let message = match empty {
                true if text.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']).is_empty() => {
                    "the Dockerfile cannot be empty"
                }
                true => "file with no instructions",
                false => "dockerfile contains no stages to build",
            };
            return Err(Fault::new(end..end, message).hint("the first instruction must be FROM"));
        }
        Ok(file)
    }

    fn statement(
        &mut self,
        line: &Line,
        lines: &mut Lines<'_>,
        file: &mut Dockerfile,
    ) -> Result<(), Fault> {
        for empty in &line.empty {
            self.warn("NoEmptyContinuation", empty, "Empty continuation line");
        }
        let whole = line.all();
        let (keyword, _) = whole.split_first();
        if keyword.text().eq_ignore_ascii_case("FROM") {
            let stage = self.from(whole)?;
            file.stages.push(stage);
            return Ok(());
        }
        let instruction = self.instruction(whole, lines)?;
        match (file.stages.last_mut(), instruction.kind) {
            (Some(stage), kind) => {
                stage.instructions.push(Instruction { kind, ..instruction });
            }
            (None, Kind::Arg(arguments)) => file.arguments.extend(arguments),
            (None, _) => {
                let fault = Fault::new(keyword.span(), "no build stage in current context");
                let hint = "the first instruction must be FROM; only ARG may stand before it";
                return Err(fault.hint(hint));
            }
        }
        Ok(())
    }

    /// The words of `FROM`.
    fn from(&mut self, whole: Slice<'_>) -> Result<Stage, Fault> {
        let (keyword, rest) = whole.split_first();
        let (flags, rest) = Flags::read(rest, self.escape);
        let statement = Statement { keyword, flags, rest, heredocs: Vec::new() };
        let (base, name, platform) = from::read(self, &statement)?;
        Ok(Stage {
            name,
            base,
            platform,
            text: whole.text().to_owned(),
            span: whole.span(),
            instructions: Vec::new(),
        })
    }

    /// Everything but `FROM`.
    fn instruction(
        &mut self,
        whole: Slice<'_>,
        lines: &mut Lines<'_>,
    ) -> Result<Instruction, Fault> {
        let (keyword, rest) = whole.split_first();
        let upper = keyword.text().to_ascii_uppercase();
        let (flags, rest) = Flags::read(rest, self.escape);
        let heredocs = match &upper[..] {
            "RUN" => read_heredocs(&words::markers(rest), rest, lines)?,
            "COPY" | "ADD" => {
                let found: Vec<_> =
                    rest.split_blank().into_iter().filter_map(words::marker).collect();
                read_heredocs(&found, rest, lines)?
            }
            _ => Vec::new(),
        };
        let statement = Statement { keyword, flags, rest, heredocs };
        let kind = if upper == "ONBUILD" {
            statement.flags.only("ONBUILD", &[])?;
            self.onbuild(rest, keyword, lines)?
        } else {
            self.kind(&upper, &statement)?
        };
        let span = whole.span();
        let has_heredocs = !statement.heredocs.is_empty()
            || matches!(&kind, Kind::Onbuild(inner) if inner.span.end > span.end);
        let end = if has_heredocs { lines.end() } else { span.end };
        Ok(Instruction { text: whole.text().to_owned(), span: span.start..end, kind })
    }

    fn kind(&mut self, upper: &str, statement: &Statement<'_>) -> Result<Kind, Fault> {
        let rest = statement.rest;
        let flags = &statement.flags;
        Ok(match upper {
            "ADD" | "COPY" => {
                let transfer = transfer::read(upper, statement)?;
                if upper == "ADD" { Kind::Add(transfer) } else { Kind::Copy(transfer) }
            }
            "ARG" => Kind::Arg(pairs::arguments(statement, self.escape)?),
            "ENV" => Kind::Env(pairs::read(self, "ENV", statement)?),
            "LABEL" => Kind::Label(pairs::read(self, "LABEL", statement)?),
            "CMD" | "ENTRYPOINT" => {
                flags.only(upper, &[])?;
                let command = command::read(self, rest)?;
                if upper == "CMD" { Kind::Cmd(command) } else { Kind::Entrypoint(command) }
            }
            "RUN" => Kind::Run(run::read(self, statement)?),
            "SHELL" => {
                flags.only(upper, &[])?;
                Kind::Shell(command::shell(statement)?)
            }
            "HEALTHCHECK" => Kind::Healthcheck(health::read(self, statement)?),
            "EXPOSE" => {
                flags.only(upper, &[])?;
                let words = rest.split_blank();
                at_least_one(upper, statement, words.len())?;
                Kind::Expose(words.into_iter().map(Slice::word).collect())
            }
            "VOLUME" => Kind::Volume(volumes(statement)?),
            "MAINTAINER" => {
                let message = "Maintainer instruction is deprecated in favor of using label";
                self.warn("MaintainerDeprecated", &statement.keyword.span(), message);
                Kind::Maintainer(single(upper, statement)?)
            }
            "STOPSIGNAL" => Kind::Stopsignal(single(upper, statement)?),
            "USER" => Kind::User(single(upper, statement)?),
            "WORKDIR" => Kind::Workdir(single(upper, statement)?),
            _ => {
                let written = statement.keyword.text();
                let message = format!("unknown instruction: {written}");
                let fault = Fault::new(statement.keyword.span(), message);
                let escape = self.escape;
                let fault = fault
                    .hint(format!("to continue the line above, write {escape} at the end of it"));
                return Err(fault.suggest(written, KEYWORDS));
            }
        })
    }
}

/// Reads what the markers announce; in a JSON array `<<` is text.
fn read_heredocs(
    markers: &[Marker],
    rest: Slice<'_>,
    lines: &mut Lines<'_>,
) -> Result<Vec<(Marker, Heredoc)>, Fault> {
    if markers.is_empty() || words::json(rest)?.is_some() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for marker in markers {
        let Some((span, content)) = lines.heredoc(&marker.name, marker.tabs) else {
            if marker.doubtful {
                continue;
            }
            let name = &marker.name;
            let fault = Fault::new(marker.word.span.clone(), "unterminated heredoc");
            let letters = |char: char| char.is_alphanumeric() || "_-.".contains(char);
            return Err(fault.hint(match name.find(|char| !letters(char)) {
                Some(end) if end > 0 && marker.expand => format!(
                    "no line is \"{name}\", all up to the white space; write <<{} and then a blank",
                    &name[..end]
                ),
                _ => format!("no line below is \"{name}\" and nothing else"),
            }));
        };
        let name = marker.name.clone();
        let content = if marker.tabs { without_tabs(content) } else { content.to_owned() };
        found.push((marker.clone(), Heredoc { name, expand: marker.expand, content, span }));
    }
    Ok(found)
}

fn without_tabs(content: &str) -> String {
    content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}

fn at_least_one(name: &str, statement: &Statement<'_>, count: usize) -> Result<(), Fault> {
    if count == 0 {
        let message = format!("{name} requires at least one argument");
        return Err(Fault::new(statement.keyword.span(), message));
    }
    Ok(())
}

/// The whole rest is one word, blanks included.
fn single(name: &str, statement: &Statement<'_>) -> Result<Word, Fault> {
    statement.flags.only(name, &[])?;
    if statement.rest.is_empty() {
        let message = format!("{name} requires exactly one argument");
        return Err(Fault::new(statement.keyword.span(), message));
    }
    Ok(statement.rest.word())
}

/// `VOLUME /a /b` or `VOLUME ["/a", "/b"]`.
fn volumes(statement: &Statement<'_>) -> Result<Vec<Word>, Fault> {
    statement.flags.only("VOLUME", &[])?;
    let mut words = match words::json(statement.rest)? {
        Some(words) => words,
        None => statement.rest.split_blank().into_iter().map(Slice::word).collect(),
    };
    at_least_one("VOLUME", statement, words.len())?;
    for word in &mut words {
        word.text = word.text.trim().to_owned();
        if word.text.is_empty() {
            let message = "VOLUME specified can not be an empty string";
            return Err(Fault::new(word.span.clone(), message));
        }
    }
    Ok(words)
}
