//! `inspect`, and what the `inspect` of each group shares.

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::table;
use crate::engine::Engine;
use crate::failure::{self, code};
use crate::inspect::{self, Format, Kind};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Type {
    Container,
    Image,
    Volume,
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Print a template, or `json` on one line
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Also tell how large a container's files are
    #[arg(short, long)]
    size: bool,
    /// What kind of object it is
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Type>,
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
}

impl Inspect {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let kind = self.kind.map(|kind| match kind {
            Type::Container => Kind::Container,
            Type::Image => Kind::Image,
            Type::Volume => Kind::Volume,
        });
        show(self.format.as_deref(), &self.names, |name| {
            inspect::object(engine, kind, name, self.size)
        })
    }
}

/// `container inspect`.
#[derive(Debug, Args)]
pub(super) struct Container {
    /// Print a template, or `json` on one line
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Also tell how large its files are
    #[arg(short, long)]
    size: bool,
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Container {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        show(self.format.as_deref(), &self.containers, |name| {
            inspect::object(engine, Some(Kind::Container), name, self.size)
        })
    }
}

/// Prints what is found of each name, and then what is wrong with the others.
pub(super) fn show<T>(
    format: Option<&str>,
    names: &[String],
    find: impl Fn(&str) -> Result<T>,
) -> Result<u8>
where
    T: Into<serde_json::Value>,
{
    let format = Format::parse(format)?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        match find(name) {
            Ok(object) => found.push(object.into()),
            Err(error) => missing.push(error),
        }
    }
    let (text, failures) = format.render(&found)?;
    table::print(&for_reader(&text));
    missing.extend(failures.into_iter().map(Into::into));
    let reports = missing.iter().map(|error| failure::report(error, code::OTHER));
    Ok(reports.max().unwrap_or_default())
}

/// Texts of an image are a stranger's: on a terminal nothing of them may move the cursor. A program gets them as they
/// are.
fn for_reader(text: &str) -> String {
    use std::io::IsTerminal;
    if !std::io::stdout().is_terminal() {
        return text.to_owned();
    }
    let lines = text.split_inclusive('\n').map(|line| {
        let cells: Vec<String> =
            line.trim_end_matches('\n').split('\t').map(crate::format::sanitized).collect();
        let end = if line.ends_with('\n') { "\n" } else { "" };
        cells.join("\t") + end
    });
    lines.collect()
}
