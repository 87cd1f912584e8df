//! The ladder under Criterion: each step for some seconds, one step after the other.
//!
//! Filters are Criterion's: `cargo bench -p benches --bench startup -- 04-layers`.

use std::process::ExitCode;
use std::time::Duration;

use benches::{Stage, Step};
use criterion::{Criterion, SamplingMode};

fn main() -> ExitCode {
    // Before Criterion: the namespaces are those of the process, and clone3 asks for a process with one thread. Without
    // its feature `rayon` Criterion starts none; if that changes, the first start says so.
    let stage = match Stage::enter(std::env::var_os("MINI_DOCKER").map(Into::into)) {
        Ok(stage) => stage,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(50)
        .configure_from_args();
    let mut group = criterion.benchmark_group("startup");
    // Starts take milliseconds: the same number in each sample, rather than more and more.
    group.sampling_mode(SamplingMode::Flat);
    for step in Step::all(&stage) {
        group.bench_function(step.id(), |bencher| {
            bencher.iter_custom(|starts| (0..starts).map(|_| wall(step, &stage)).sum());
        });
    }
    group.finish();
    criterion.final_summary();
    ExitCode::SUCCESS
}

fn wall(step: Step, stage: &Stage) -> Duration {
    match step.run(stage) {
        Ok(sample) => sample.wall,
        // Criterion's closures cannot fail; unwinding removes the stage.
        Err(error) => panic!("{}: {error:#}", step.label()),
    }
}
