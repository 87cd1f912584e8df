//! `COPY` and `ADD`: `[flags] source... target`, as words or as a JSON array, with heredocs among the sources.

use super::Statement;
use crate::error::Fault;
use crate::instruction::{Heredoc, Transfer};
use crate::lines::Slice;
use crate::words;

const BOTH: [&str; 4] = ["chown", "chmod", "link", "exclude"];

/// Either of them, by its name in capital letters.
pub(super) fn read(instruction: &str, statement: &Statement<'_>) -> Result<Transfer, Fault> {
    let flags = &statement.flags;
    let own: &[&str] = match instruction {
        "ADD" => &["checksum", "keep-git-dir", "unpack"],
        _ => &["from", "parents"],
    };
    flags.only(instruction, &[&BOTH[..], own].concat())?;

    let mut sources = Vec::new();
    let mut heredocs: Vec<Heredoc> = Vec::new();
    let target = match words::json(statement.rest)? {
        Some(words) => {
            sources = words;
            sources.pop()
        }
        None => {
            let mut words = statement.rest.split_blank();
            let target = words.pop();
            if let Some(target) = target.filter(|target| words::marker(*target).is_some()) {
                let message = format!("{instruction} cannot accept a heredoc as a destination");
                let hint = format!("{instruction} {} /path", target.text());
                return Err(Fault::new(target.span(), message).hint(hint));
            }
            for word in words {
                match announced(word, statement) {
                    Some(heredoc) => heredocs.push(heredoc.clone()),
                    None => sources.push(word.word()),
                }
            }
            target.map(Slice::word)
        }
    };
    let target = target.filter(|_| !sources.is_empty() || !heredocs.is_empty());
    let Some(target) = target else {
        let message = format!(
            "{instruction} requires at least two arguments, but only one was provided. \
             Destination could not be determined"
        );
        let place = if statement.rest.is_empty() { statement.keyword } else { statement.rest };
        return Err(Fault::new(place.span(), message).hint(format!("{instruction} source target")));
    };
    Ok(Transfer {
        sources,
        heredocs,
        target,
        from: flags.word("from")?,
        chown: flags.word("chown")?,
        chmod: flags.word("chmod")?,
        link: flags.switch("link")?.unwrap_or(false),
        parents: flags.switch("parents")?.unwrap_or(false),
        exclude: flags.words("exclude")?,
        checksum: flags.word("checksum")?,
        keep_git_dir: flags.switch("keep-git-dir")?.unwrap_or(false),
        unpack: flags.switch("unpack")?,
    })
}

/// The heredoc that a source stands for. Of two with one name the last content counts for both, as in BuildKit.
fn announced<'a>(word: Slice<'_>, statement: &'a Statement<'_>) -> Option<&'a Heredoc> {
    let name = words::marker(word)?.name;
    statement.heredocs.iter().map(|(_, heredoc)| heredoc).rfind(|heredoc| heredoc.name == name)
}
