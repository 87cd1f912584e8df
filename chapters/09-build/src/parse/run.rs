//! `RUN [flags] command`, with heredocs.

use super::{Parser, Statement, at_least_one, command};
use crate::error::Fault;
use crate::instruction::{Command, Mount, Run, Span, Word};
use crate::mount;

/// All of it.
pub(super) fn read(parser: &mut Parser<'_>, statement: &Statement<'_>) -> Result<Run, Fault> {
    let flags = &statement.flags;
    flags.only("RUN", &["mount", "network", "security"])?;
    let network = flags.word("network")?;
    one_of("network mode", network.as_ref(), &["default", "none", "host"])?;
    let security = flags.word("security")?;
    one_of("security mode", security.as_ref(), &["sandbox", "insecure"])?;
    let mounts = flags.words("mount")?.into_iter().map(read_mount).collect::<Result<_, _>>()?;

    let mut command = command::read(parser, statement.rest)?;
    let empty = match &command {
        Command::Exec(words) => words.is_empty(),
        Command::Shell(text) => text.is_empty(),
    };
    at_least_one("RUN", statement, usize::from(!empty))?;
    let mut script = None;
    match &statement.heredocs[..] {
        [] => {}
        // Nothing but the heredoc: it is the script.
        [(marker, heredoc)] if marker.word.text == statement.rest.text() => {
            command = Command::Shell(heredoc.content.clone());
            script = Some(heredoc.clone());
        }
        // The shell reads them as it would in a file.
        several => {
            let mut text = statement.rest.text().to_owned();
            for (_, heredoc) in several {
                text.push('\n');
                text += &heredoc.content;
                text += &heredoc.name;
            }
            command = Command::Shell(text);
        }
    }
    Ok(Run { command, script, mounts, network, security })
}

fn one_of(what: &str, word: Option<&Word>, known: &[&str]) -> Result<(), Fault> {
    let Some(word) = word else { return Ok(()) };
    if known.contains(&&word.text[..]) || word.text.contains('$') {
        return Ok(());
    }
    let fault = Fault::new(word.span.clone(), format!("unsupported {what} \"{}\"", word.text));
    let fault = fault.hint(format!("one of {}", known.join(", ")));
    Err(fault.suggest(&word.text, known.iter().copied()))
}

/// The fields, and all checks that are possible before variables have values.
fn read_mount(word: Word) -> Result<Mount, Fault> {
    let fields = mount::split(&word).map_err(|message| Fault::new(word.span.clone(), message))?;
    let plain: Vec<_> = fields
        .iter()
        .map(|(key, value)| (key.clone(), value.as_ref().map(|value| value.text.clone())))
        .collect();
    if let Err(error) = mount::check(&plain) {
        let span = error.field.and_then(|index| place(&fields[index], &word));
        let span = span.unwrap_or_else(|| word.span.clone());
        return Err(Fault { message: error.message, hint: error.hint, span });
    }
    Ok(Mount { word, fields })
}

/// Where a field is, with its key.
fn place((key, value): &(String, Option<Word>), word: &Word) -> Option<Span> {
    let value = &value.as_ref()?.span;
    // Without its own place it has that of all.
    (*value != word.span).then(|| value.start - key.len() - 1..value.end)
}
