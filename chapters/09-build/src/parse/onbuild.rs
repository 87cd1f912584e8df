//! `ONBUILD INSTRUCTION`: kept as text in the image, read again by the build of whoever uses it as base.

use super::Parser;
use crate::error::{Fault, ParseError};
use crate::instruction::{Command, Instruction, Kind};
use crate::lines::{Lines, Slice};
use crate::source::Source;

impl Instruction {
    /// The text of a trigger as an image keeps it (`OnBuild` in its config): the line, and heredocs below it.
    #[must_use]
    pub fn trigger(&self) -> String {
        let mut text = self.text.clone();
        let heredocs = match &self.kind {
            Kind::Add(transfer) | Kind::Copy(transfer) => &transfer.heredocs[..],
            Kind::Run(run) => match (&run.script, &run.command) {
                (Some(script), _) => std::slice::from_ref(script),
                // The command has them, after its own line.
                (None, Command::Shell(command)) => {
                    text += command.find('\n').map_or("", |newline| &command[newline..]);
                    &[]
                }
                _ => &[],
            },
            _ => &[],
        };
        for heredoc in heredocs {
            text.push('\n');
            text += &heredoc.content;
            text += &heredoc.name;
        }
        text
    }
}

/// Reads the text of one instruction, as an image keeps it for `ONBUILD`; see [`Instruction::trigger`]. BuildKit reads
/// it with the backslash as escape character, whatever the Dockerfile had in which it was written.
///
/// # Errors
/// If it is none, or more than one, or one that cannot be a trigger.
pub fn parse_trigger(source: &Source) -> Result<Instruction, ParseError> {
    let mut parser = Parser { source, escape: '\\', warnings: Vec::new() };
    parser.trigger().map_err(|fault| source.explain(fault))
}

impl Parser<'_> {
    /// `ONBUILD`: any other instruction, but for three.
    pub(super) fn onbuild(
        &mut self,
        rest: Slice<'_>,
        keyword: Slice<'_>,
        lines: &mut Lines<'_>,
    ) -> Result<Kind, Fault> {
        if rest.is_empty() {
            let message = "ONBUILD requires at least one argument";
            return Err(Fault::new(keyword.span(), message).hint("ONBUILD RUN make"));
        }
        forbidden(rest)?;
        Ok(Kind::Onbuild(Box::new(self.instruction(rest, lines)?)))
    }

    fn trigger(&mut self) -> Result<Instruction, Fault> {
        let mut lines = Lines::new(self.source.text(), 0, self.escape);
        let Some(line) = lines.next_line() else {
            return Err(Fault::new(0..0, "ONBUILD requires at least one argument"));
        };
        forbidden(line.all())?;
        let instruction = self.instruction(line.all(), &mut lines)?;
        match lines.next_line() {
            None => Ok(instruction),
            Some(more) => Err(Fault::new(more.all().span(), "a trigger is one instruction")),
        }
    }
}

/// What cannot be a trigger.
fn forbidden(instruction: Slice<'_>) -> Result<(), Fault> {
    let keyword = instruction.split_first().0;
    let message = match &keyword.text().to_ascii_uppercase()[..] {
        "ONBUILD" => "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned(),
        upper @ ("FROM" | "MAINTAINER") => format!("{upper} isn't allowed as an ONBUILD trigger"),
        _ => return Ok(()),
    };
    Err(Fault::new(keyword.span(), message))
}
