//! The layer store under Criterion: a Debian's layer, unpacked from a tar and from a compressed one.
//!
//! `cargo bench -p benches --bench unpack`. In test mode a small generated layer takes the Debian's place.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use benches::pull::job::empty;
use criterion::{Criterion, SamplingMode, Throughput};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use layers::{DiffId, Store};

const DEBIAN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/testdata/debian-bookworm.tar");

struct Layer {
    id: DiffId,
    tar: Vec<u8>,
    gzip: Vec<u8>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(2))
        .measurement_time(Duration::from_secs(20))
        .sample_size(15)
        .configure_from_args();
    // As Criterion decides it: without `--bench` everything runs once.
    let layer = match std::env::args().any(|argument| argument == "--bench") {
        true => debian()?,
        false => layer(small()?)?,
    };
    let folder = tempfile::Builder::new().prefix("mini-docker-bench-").tempdir()?;
    // Criterion's closures cannot fail; unwinding removes the folder.
    let fail = |error: anyhow::Error| -> Duration { panic!("{error:#}") };
    let wall = |tar: &dyn Fn() -> Box<dyn Read + Send>| {
        add(folder.path(), &layer.id, tar()).unwrap_or_else(fail)
    };
    let mut group = criterion.benchmark_group("unpack");
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Bytes(layer.tar.len() as u64));
    group.bench_function("tar", |bencher| {
        let tar = || -> Box<dyn Read + Send> { Box::new(&layer.tar[..]) };
        bencher.iter_custom(|times| (0..times).map(|_| wall(&tar)).sum());
    });
    group.bench_function("tar.gz", |bencher| {
        let tar = || -> Box<dyn Read + Send> { Box::new(MultiGzDecoder::new(&layer.gzip[..])) };
        bencher.iter_custom(|times| (0..times).map(|_| wall(&tar)).sum());
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// Adds a layer to an empty store, on a file system without anything left to write.
fn add(folder: &Path, id: &DiffId, tar: impl Read + Send) -> Result<Duration> {
    let folder = tempfile::tempdir_in(folder)?.keep();
    let store = Store::open(&folder)?;
    nix::unistd::sync();
    let begin = Instant::now();
    store.add(id, tar)?;
    let wall = begin.elapsed();
    empty(&folder)?;
    Ok(wall)
}

fn debian() -> Result<Layer> {
    let hint = "hint: tests/data/debian makes it";
    layer(std::fs::read(Path::new(DEBIAN)).with_context(|| format!("read `{DEBIAN}`\n{hint}"))?)
}

fn layer(tar: Vec<u8>) -> Result<Layer> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
    gzip.write_all(&tar)?;
    Ok(Layer { id: DiffId::of(&tar), gzip: gzip.finish()?, tar })
}

/// A few small files.
fn small() -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for at in 0..20 {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(1000);
        tar.append_data(&mut header, format!("d/{at}"), &[at; 1000][..])?;
    }
    Ok(tar.into_inner()?)
}
