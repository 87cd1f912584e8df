//! Interleaved rounds: each round runs every step once, in an order of its own.
//!
//! A machine is not the same from one minute to the next. Measured one after the other, two steps differ by what
//! changed meanwhile; measured in the same rounds, they have had the same weather. The order is shuffled because a step
//! can leave work to the kernel's threads: with a fixed order the same step would always pay for it.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::stats::Random;
use crate::{Sample, Stage, Step};

/// How to measure.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// Rounds that count.
    pub count: usize,
    /// Rounds before them that do not: caches are filled, modules loaded, folders made.
    pub warm_up: usize,
    /// Pause after each start, in which the kernel finishes what it has put off.
    pub pause: Duration,
}

/// All samples of one step; index is the round.
#[derive(Debug, Clone)]
pub struct Series {
    /// What was run.
    pub step: Step,
    /// What was read, round by round.
    pub samples: Vec<Sample>,
}

/// Measures `steps`. `tick` is called after each round with the number of rounds done.
///
/// # Errors
/// The first start that failed.
pub fn measure(
    stage: &Stage,
    steps: &[Step],
    rounds: Rounds,
    mut tick: impl FnMut(usize),
) -> Result<Vec<Series>> {
    let mut all: Vec<Series> =
        steps.iter().map(|&step| Series { step, samples: Vec::new() }).collect();
    let mut order: Vec<usize> = (0..steps.len()).collect();
    let mut random = Random::default();
    for round in 0..rounds.warm_up + rounds.count {
        random.shuffle(&mut order);
        for &at in &order {
            let step = steps[at];
            let sample = step.run(stage).with_context(|| format!("measure `{}`", step.label()))?;
            if round >= rounds.warm_up {
                all[at].samples.push(sample);
            }
            sleep(rounds.pause);
        }
        tick((round + 1).saturating_sub(rounds.warm_up));
    }
    Ok(all)
}
