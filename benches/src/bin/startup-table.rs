//! Measures every step in interleaved rounds; prints a table, writes it as Markdown and as a picture.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use benches::host::Host;
use benches::rounds::{Rounds, measure};
use benches::{Stage, Step, chart, stats, table};
use clap::Parser;

/// What a container start costs, mechanism by mechanism
#[derive(Debug, Parser)]
struct Options {
    /// Rounds that count; each runs every step once
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Rounds before them that do not count
    #[arg(long, default_value_t = 5)]
    warm_up: u32,
    /// Pause after each start, in milliseconds
    #[arg(long, default_value_t = 10)]
    pause: u64,
    /// Folder for startup.md and startup.svg
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR")), value_name = "DIR")]
    out: PathBuf,
    /// Write no files
    #[arg(long)]
    dry: bool,
    /// The binary to measure [default: mini-docker beside this program]
    #[arg(long, env = "MINI_DOCKER", value_name = "FILE")]
    mini_docker: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<()> {
    let host = Host::look()?;
    let stage = Stage::enter(options.mini_docker)?;
    let steps = Step::all(&stage);
    if steps.iter().all(|step| *step != Step::Beside(benches::Program::Everything)) {
        eprintln!("note: no mini-docker beside this program, so the ladder only");
        eprintln!("hint: cargo build --release -p mini-docker");
    }
    let rounds = Rounds {
        count: options.rounds as usize,
        warm_up: options.warm_up as usize,
        pause: Duration::from_millis(options.pause),
    };
    let all = measure(&stage, &steps, rounds, progress)?;
    drop(stage);

    let summaries = stats::summarize(&all);
    print!("{}", table::text(&summaries, rounds.count, &host));
    if options.dry {
        return Ok(());
    }
    let files = [
        ("startup.md", table::markdown(&summaries, rounds.count, &host)),
        ("startup.svg", chart::svg(&summaries, rounds.count, &host)),
    ];
    for (name, text) in files {
        let path = options.out.join(name);
        fs::write(&path, text).with_context(|| format!("write `{}`", path.display()))?;
    }
    Ok(())
}

/// A line that is overwritten, for people only.
fn progress(done: usize) {
    let mut error = std::io::stderr();
    if error.is_terminal() {
        write!(error, "\rround {done}\x1b[K\r").ok();
    }
}
