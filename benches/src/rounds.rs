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
    tick: impl FnMut(usize),
) -> Result<Vec<Series>> {
    let run = |at: usize| {
        let step = steps[at];
        step.run(stage).with_context(|| format!("measure `{}`", step.label()))
    };
    let all = interleave(steps.len(), rounds, run, tick)?;
    let series = |(&step, samples)| Series { step, samples };
    Ok(steps.iter().zip(all).map(series).collect())
}

/// Runs each of `count` things once per round; what `run` says of the thing at an index, round by
/// round, is at that index of the result.
///
/// # Errors
/// The first that `run` returns.
pub fn interleave<T>(
    count: usize,
    rounds: Rounds,
    mut run: impl FnMut(usize) -> Result<T>,
    mut tick: impl FnMut(usize),
) -> Result<Vec<Vec<T>>> {
    let mut all: Vec<Vec<T>> = (0..count).map(|_| Vec::new()).collect();
    let mut order: Vec<usize> = (0..count).collect();
    let mut random = Random::default();
    for round in 0..rounds.warm_up + rounds.count {
        random.shuffle(&mut order);
        for &at in &order {
            let sample = run(at)?;
            if round >= rounds.warm_up {
                all[at].push(sample);
            }
            sleep(rounds.pause);
        }
        tick((round + 1).saturating_sub(rounds.warm_up));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_runs_once_per_round_and_warm_ups_do_not_count() {
        let rounds = Rounds { count: 3, warm_up: 2, pause: Duration::ZERO };
        let (mut runs, mut ticks) = (Vec::new(), Vec::new());
        let run = |at: usize| {
            runs.push(at);
            Ok((at, runs.len()))
        };
        let all = interleave(4, rounds, run, |done| ticks.push(done)).unwrap();
        assert_eq!(ticks, [0, 0, 1, 2, 3]);
        for round in runs.chunks(4) {
            let mut round = round.to_vec();
            round.sort_unstable();
            assert_eq!(round, [0, 1, 2, 3]);
        }
        assert!(runs.chunks(4).any(|round| *round != runs[..4]));
        for (at, samples) in all.iter().enumerate() {
            assert_eq!(samples.len(), 3);
            assert!(samples.iter().all(|(of, when)| *of == at && *when > 8));
        }
    }
}
