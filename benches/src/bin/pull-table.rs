//! Measures pulling and unpacking in interleaved rounds; prints a table, writes it as Markdown and as a picture.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use benches::host::Host;
use benches::pull::table::Place;
use benches::pull::{Ground, Report, chart, inflate, job, memory, step, table};
use benches::rounds::{Rounds, interleave};
use clap::{Parser, Subcommand};

/// What a pull costs: mini-docker, its peers, and the limit
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
    /// Only steps whose name, IMAGE/KIND/TOOL, contains this; can be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Folder for pull.md and pull.svg
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR")), value_name = "DIR")]
    out: PathBuf,
    /// Write no files
    #[arg(long)]
    dry: bool,
    /// Instead: peak memory with a layer of 2 GiB; fails if it is more than 64 MiB
    #[arg(long, conflicts_with_all = ["rounds", "only"])]
    memory: bool,
    /// The binary to measure [default: mini-docker beside this program]
    #[arg(long, env = "MINI_DOCKER", value_name = "FILE")]
    mini_docker: Option<PathBuf>,
    /// Tar of a Debian's root file system
    #[arg(long, value_name = "FILE")]
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/testdata/debian-bookworm.tar"))]
    debian: PathBuf,
}

/// What this program starts itself for.
#[derive(Debug, Subcommand)]
enum Part {
    /// Measure a job
    #[command(name = job::MEASURE, hide = true)]
    Measure,
    /// Inflate and hash
    #[command(name = step::INFLATE, hide = true)]
    Inflate { blobs: Vec<PathBuf> },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.part {
        Some(Part::Measure) => job::measuring_process(),
        Some(Part::Inflate { blobs }) => inflate::run(blobs).map(drop),
        None => run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let host = Host::look()?;
    let mut ground = Ground::enter(options.mini_docker.clone())?;
    let place = Place {
        host: format!("{}; {}", host.data_line(), ground.file_system()),
        versions: ground.versions(),
        processors: std::thread::available_parallelism()?.get(),
    };
    if options.memory {
        println!("{}{}", memory::check(&mut ground, say)?, place.host);
        return Ok(());
    }
    ensure!(
        options.debian.is_file(),
        "no file `{}`\nhint: tests/data/debian makes it, or name another with --debian",
        options.debian.display()
    );
    let steps = ground.prepare(&options.only, &options.debian, say)?;
    ensure!(!steps.is_empty(), "nothing to measure");
    let rounds = Rounds {
        count: options.rounds as usize,
        warm_up: options.warm_up as usize,
        pause: Duration::from_millis(options.pause),
    };
    ground.check_inodes(&steps, rounds.warm_up + rounds.count)?;
    let run = |at: usize| {
        let step = steps[at];
        let image = &ground.images[step.image].name;
        ground.run(step).with_context(|| format!("measure {image}/{}", step.way.id()))
    };
    let readings = interleave(steps.len(), rounds, run, progress)?;
    let report = Report::new(&ground.images, &steps, &readings, place.processors);
    drop(ground);

    print!("{}", table::text(&report, &place));
    if options.dry {
        return Ok(());
    }
    let files =
        [("pull.md", table::markdown(&report, &place)), ("pull.svg", chart::svg(&report, &place))];
    for (name, text) in files {
        let path = options.out.join(name);
        fs::write(&path, text).with_context(|| format!("write `{}`", path.display()))?;
    }
    Ok(())
}

fn say(words: &str) {
    eprintln!("{words}");
}

/// A line that is overwritten, for people only.
fn progress(done: usize) {
    let mut error = std::io::stderr();
    if error.is_terminal() {
        write!(error, "\rround {done}\x1b[K\r").ok();
    }
}
