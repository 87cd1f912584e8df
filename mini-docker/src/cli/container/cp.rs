//! `cp`, also as `container cp`.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::Result;
use clap::{ArgAction, Args};

use crate::cli::table;
use crate::copy::{self, Argument, Copied, Options};
use crate::create::options::{parse_bool, switch};
use crate::engine::Engine;
use crate::failure::{self, Failure};
use crate::output::Output;

#[derive(Debug, Args)]
#[command(args_override_self = true, mut_args(switch))]
pub(in crate::cli) struct Cp {
    /// Keep owners, devices, set-user-id bits and all attributes
    #[arg(short, long)]
    archive: bool,
    /// Copy what the source leads to if it is a symbolic link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Do not say what was copied [default: true if standard output is no terminal]
    #[arg(short, long, num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(default_missing_value = "true", value_parser = parse_bool, value_name = "BOOL")]
    quiet: Option<bool>,
    /// CONTAINER:PATH, a path of this machine, or - for a tar on standard input
    source: String,
    /// CONTAINER:PATH, a path of this machine, or - for a tar on standard output
    destination: String,
}

impl Cp {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let options = Options { archive: self.archive, follow: self.follow_link };
        let sides = (Argument::parse(&self.source), Argument::parse(&self.destination));
        let (copied, place) = match sides {
            (Argument::Container { container, path }, Argument::Local(to)) => {
                copy::out_of(engine, &container, &path, &to, options)?
            }
            (Argument::Local(from), Argument::Container { container, path }) => {
                copy::into(engine, &container, &from, &path, options)?
            }
            (Argument::Container { container, path }, Argument::Stream) => {
                let mut output = Output::open(None, "copy").map_err(|_| terminal("write"))?;
                let follow = options.follow;
                return match copy::stream_out(engine, &container, &path, follow, &mut output) {
                    Ok(()) => output.finish().map(|()| 0),
                    Err(error) => output.failed(error),
                };
            }
            (Argument::Stream, Argument::Container { container, path }) => {
                let input = std::io::stdin();
                if input.is_terminal() {
                    return Err(terminal("read"));
                }
                copy::stream_in(engine, &container, &path, input.lock())?
            }
            (Argument::Container { .. }, Argument::Container { .. }) => {
                let local = [&self.source, &self.destination];
                let hint = match local.iter().find(|path| Path::new(path).exists()) {
                    Some(path) => format!("the file here is ./{path}"),
                    None => "mini-docker cp A:/path - | mini-docker cp - B:/folder".to_owned(),
                };
                return Err(Failure::new("copying between containers is not supported")
                    .hint(hint)
                    .into());
            }
            _ => {
                return Err(Failure::new("must specify at least one container source")
                    .hint("one side must be CONTAINER:PATH")
                    .into());
            }
        };
        if !self.quiet.unwrap_or_else(|| !std::io::stdout().is_terminal()) {
            let size = table::size(copied.bytes);
            let place = crate::format::sanitized(&place);
            failure::tell(&format!("Successfully copied {size} to {place}"));
        }
        mention_what_is_missing(&copied);
        Ok(0)
    }
}

fn mention_what_is_missing(copied: &Copied) {
    if copied.skipped_devices > 0 {
        let count = copied.skipped_devices;
        failure::tell(&format!(
            "mini-docker: warning: {count} device nodes were left out\nhint: with -a they are made"
        ));
    }
}

fn terminal(verb: &str) -> anyhow::Error {
    let stream = if verb == "read" { "input" } else { "output" };
    Failure::new(format!("refusing to {verb} a tar archive: standard {stream} is a terminal"))
        .hint("connect it to a pipe or a file")
        .into()
}
