//! Medians and what they are worth.

use crate::rounds::Series;
use crate::{Rung, Sample, Step};

/// What is known of a step. All times in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Which one.
    pub step: Step,
    /// Median wall time.
    pub wall: f64,
    /// Wall time that 5 % of the starts stay below.
    pub p5: f64,
    /// Wall time that 95 % of the starts stay below.
    pub p95: f64,
    /// Median CPU time.
    pub cpu: f64,
    /// Median time until exec, where it was seen.
    pub until_exec: Option<f64>,
    /// What this rung adds to the one below it; only on the ladder.
    pub added: Option<Added>,
}

/// A difference of medians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Added {
    /// In milliseconds; can be below zero where the truth is near it.
    pub wall: f64,
    /// Half the width of the 95 % interval of `wall`, by the bootstrap over rounds.
    pub margin: f64,
    /// Part of the top of the ladder, 0 to 1.
    pub share: f64,
}

impl Added {
    /// Whether it can be told from nothing.
    pub fn is_clear(&self) -> bool {
        self.wall.abs() > self.margin
    }
}

/// Sums up. Rungs must be in the ladder's order, as [`Step::all`] gives them.
pub fn summarize(all: &[Series]) -> Vec<Summary> {
    let walls: Vec<Vec<f64>> = all.iter().map(|series| column(series, |s| s.wall)).collect();
    let highest = all.iter().zip(&walls).rfind(|(series, _)| is_rung(series));
    let top = highest.map_or(f64::NAN, |(_, walls)| median(walls.clone()));
    let mut below: Option<&Vec<f64>> = None;
    let mut summaries = Vec::new();
    for (series, wall) in all.iter().zip(&walls) {
        let execs = series.samples.iter().filter_map(|sample| sample.until_exec);
        let execs: Vec<f64> = execs.map(milliseconds).collect();
        let added = is_rung(series).then(|| {
            let (added, margin) = difference(wall, below);
            below = Some(wall);
            Added { wall: added, margin, share: added / top }
        });
        summaries.push(Summary {
            step: series.step,
            wall: median(wall.clone()),
            p5: percentile(wall.clone(), 0.05),
            p95: percentile(wall.clone(), 0.95),
            cpu: median(column(series, |sample| sample.cpu)),
            until_exec: (!execs.is_empty()).then(|| median(execs)),
            added,
        });
    }
    summaries
}

/// The summary of the highest rung.
pub fn top(summaries: &[Summary]) -> Option<&Summary> {
    summaries.iter().find(|summary| summary.step == Step::Ladder(Rung::Security))
}

fn is_rung(series: &Series) -> bool {
    matches!(series.step, Step::Ladder(_))
}

fn column(series: &Series, value: impl Fn(&Sample) -> std::time::Duration) -> Vec<f64> {
    series.samples.iter().map(|sample| milliseconds(value(sample))).collect()
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Difference of the medians of `wall` and `below`, and its margin. Rounds are drawn, not single starts: a slow moment
/// of the machine that both have seen cancels out.
fn difference(wall: &[f64], below: Option<&Vec<f64>>) -> (f64, f64) {
    bootstrap(wall.len(), |rounds| {
        let pick = |values: &[f64]| median_of(values, rounds);
        pick(wall) - below.map_or(0.0, |below| pick(below))
    })
}

/// A figure of `count` rounds, and half the width of its 95 % interval. `of` computes it from some rounds' indices; one
/// may occur several times.
pub fn bootstrap(count: usize, of: impl Fn(&[usize]) -> f64) -> (f64, f64) {
    const DRAWS: usize = 1000;
    let every: Vec<usize> = (0..count).collect();
    let mut random = Random::default();
    let draws: Vec<f64> = (0..DRAWS)
        .map(|_| of(&every.iter().map(|_| random.below(every.len())).collect::<Vec<_>>()))
        .collect();
    let width = percentile(draws.clone(), 0.975) - percentile(draws, 0.025);
    (of(&every), width / 2.0)
}

/// The median of some rounds' values.
pub fn median_of(values: &[f64], rounds: &[usize]) -> f64 {
    median(rounds.iter().map(|&round| values[round]).collect())
}

/// The middle value, or the mean of the two middle ones.
pub fn median(values: Vec<f64>) -> f64 {
    percentile(values, 0.5)
}

/// The value below which a part of all values lies, with linear interpolation. Not a number without values.
pub fn percentile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = part * values.len().saturating_sub(1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => low + (high - low) * at.fract(),
        _ => f64::NAN,
    }
}

/// xorshift64*: the same numbers in each run, so that a result can be repeated.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl Random {
    /// Other numbers for each seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        // Never 0, from which there is no way on.
        Self(Self::default().0 ^ (seed << 1))
    }

    /// A number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`, which must not be 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }

    /// Fisher and Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn series(rung: Rung, walls: &[u64]) -> Series {
        let sample = |wall: &u64| Sample {
            wall: Duration::from_millis(*wall),
            cpu: Duration::from_millis(1),
            until_exec: None,
        };
        Series { step: Step::Ladder(rung), samples: walls.iter().map(sample).collect() }
    }

    #[test]
    fn percentiles_lie_between_values() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![1.0, 2.0]), 1.5);
        assert_eq!(percentile(vec![0.0, 10.0], 0.05), 0.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn rungs_add_up() {
        let all = [
            series(Rung::Process, &[1, 1, 2]),
            series(Rung::Namespaces, &[3, 3, 4]),
            series(Rung::Security, &[4, 4, 5]),
        ];
        let summaries = summarize(&all);
        let added: Vec<Added> = summaries.iter().filter_map(|summary| summary.added).collect();
        assert_eq!(added.iter().map(|added| added.wall).collect::<Vec<_>>(), [1.0, 2.0, 1.0]);
        assert_eq!(added.iter().map(|added| added.share).sum::<f64>(), 1.0);
        // Rounds are drawn together, so what is constant within rounds has no margin.
        assert_eq!(added[1].margin, 0.0);
        assert!(added[1].is_clear());
        assert_eq!(top(&summaries).map(|top| top.wall), Some(4.0));
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<usize> = (0..20).collect();
        Random::default().shuffle(&mut items);
        assert_ne!(items, (0..20).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..20).collect::<Vec<_>>());
    }
}
