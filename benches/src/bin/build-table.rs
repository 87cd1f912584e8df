//! Measures builds in interleaved rounds; prints a table, writes it as Markdown and as a picture.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use benches::build::{Report, Site, chart, table};
use benches::host::Host;
use benches::pull::job;
use benches::pull::table::Place;
use benches::rounds::{Rounds, interleave};
use clap::{Parser, Subcommand};

/// What a build costs: mini-docker and buildah, and what is not a build
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// Rounds that count; each runs every step once
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Rounds before them that do not count
    #[arg(long, default_value_t = 1)]
    warm_up: u32,
    /// Pause after each step, in milliseconds
    #[arg(long, default_value_t = 200)]
    pause: u64,
    /// Only steps whose name, WORK/TOOL, contains this; can be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Folder for build.md and build.svg
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR")), value_name = "DIR")]
    out: PathBuf,
    /// Write no files
    #[arg(long)]
    dry: bool,
    /// The binary to measure [default: mini-docker beside this program]
    #[arg(long, env = "MINI_DOCKER", value_name = "FILE")]
    mini_docker: Option<PathBuf>,
}

/// What this program starts itself for.
#[derive(Debug, Subcommand)]
enum Part {
    /// Measure a job
    #[command(name = job::MEASURE, hide = true)]
    Measure,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.part {
        Some(Part::Measure) => job::measuring_process(),
        None => run(options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<()> {
    let host = Host::look()?;
    let site = Site::enter(options.mini_docker)?;
    let place = Place {
        host: format!("{}; {}", host.data_line(), site.file_system()),
        versions: format!("{}; cgroups {}; RCU {}", site.versions(), host.cgroups, host.rcu),
        processors: std::thread::available_parallelism()?.get(),
    };
    let steps = site.prepare(&options.only, |words| eprintln!("{words}"))?;
    ensure!(!steps.is_empty(), "nothing to measure");
    let rounds = Rounds {
        count: options.rounds as usize,
        warm_up: options.warm_up as usize,
        pause: Duration::from_millis(options.pause),
    };
    let run = |at: usize| {
        let step = steps[at];
        site.run(step).with_context(|| format!("measure {}", step.id()))
    };
    let readings = interleave(steps.len(), rounds, run, progress)?;
    let report = Report::new(&steps, &readings);
    drop(site);

    print!("{}", table::text(&report, &place));
    if options.dry {
        return Ok(());
    }
    let files = [
        ("build.md", table::markdown(&report, &place)),
        ("build.svg", chart::svg(&report, &place)),
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
