//! `cp`, also as `container cp`.

use std::cell::Cell;
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{ArgAction, Args};

use crate::cli::table;
use crate::copy::{self, Argument, Copied, Options, Tell};
use crate::create::options::parse_bool;
use crate::engine::Engine;
use crate::failure::{self, Failure};
use crate::output::Output;

#[derive(Debug, Args)]
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
        let is_quiet = self.quiet.unwrap_or_else(|| !std::io::stdout().is_terminal());
        let sides = (Argument::parse(&self.source), Argument::parse(&self.destination));
        let meter = Meter::new(match &sides.0 {
            Argument::Container { .. } => "Copying from container - ",
            _ => "Copying to container - ",
        });
        let tell = |bytes| meter.add(bytes);
        // Only who is told at the end is told meanwhile, and nothing but a terminal can take a line back.
        let tell: Tell<'_> =
            if !is_quiet && std::io::stderr().is_terminal() { &tell } else { &|_| {} };
        let done = match sides {
            (Argument::Container { container, path }, Argument::Local(to)) => {
                copy::out_of(engine, &container, &path, &to, options, tell)
            }
            (Argument::Local(from), Argument::Container { container, path }) => {
                copy::into(engine, &container, &from, &path, options, tell)
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
                copy::stream_in(engine, &container, &path, input.lock(), tell)
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
        meter.clear();
        let (copied, place) = done?;
        if !is_quiet {
            let size = table::size(copied.bytes);
            let place = crate::format::sanitized(&place);
            failure::tell(&format!("Successfully copied {size} to {place}"));
        }
        mention_what_is_missing(&copied);
        Ok(0)
    }
}

/// A line on a terminal that says how much was copied so far, as Docker's.
struct Meter {
    words: &'static str,
    bytes: Cell<u64>,
    /// When it has changed, at first when the copy began: one that is done at once needs no line.
    changed: Cell<Instant>,
    is_shown: Cell<bool>,
}

impl Meter {
    /// So often it changes: as often as one can read it.
    const PAUSE: Duration = Duration::from_millis(75);

    fn new(words: &'static str) -> Self {
        let changed = Cell::new(Instant::now());
        Self { words, bytes: Cell::new(0), changed, is_shown: Cell::new(false) }
    }

    fn add(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
        if self.changed.get().elapsed() >= Self::PAUSE {
            self.changed.set(Instant::now());
            self.is_shown.set(true);
            failure::ask(&format!("\r{}{}\x1b[K", self.words, table::size(self.bytes.get())));
        }
    }

    fn clear(&self) {
        if self.is_shown.get() {
            failure::ask("\r\x1b[K");
        }
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
