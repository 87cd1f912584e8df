//! Medians; ratios to `mini-docker`; and what a step of a chain costs.

use super::step::{Step, Tool};
use super::work::{STEPS, Work};
use crate::pull::Reading;
use crate::stats::{bootstrap, median, median_of, percentile};

/// All figures, work by work.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// In the order of [`Work::ALL`]; those that were measured.
    pub sections: Vec<Section>,
    /// What one `RUN` costs, whose step it is: of those of which both chains were measured.
    pub prices: Vec<Price>,
    /// What `mini-docker build` of one `RUN` takes beyond `mini-docker run`, in milliseconds.
    pub above_run: Option<Figure>,
    /// Rounds that counted.
    pub rounds: usize,
}

/// The figures of one work.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// What was built.
    pub work: Work,
    /// In the order of [`Step::all`].
    pub rows: Vec<Row>,
}

/// What is known of a step. Medians; times in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which one.
    pub step: Step,
    /// Wall time.
    pub wall: f64,
    /// Wall time that 5 % of the runs stay below.
    pub p5: f64,
    /// Wall time that 95 % of the runs stay below.
    pub p95: f64,
    /// Wall time for each `RUN` that is done.
    pub each: Option<f64>,
    /// Wall time in that of `mini-docker build`; not of that itself.
    pub ratio: Option<Figure>,
    /// CPU time in user mode.
    pub user: f64,
    /// CPU time in the kernel.
    pub system: f64,
    /// Resident memory of the largest process, in MB.
    pub peak: f64,
    /// Wall time until everything is on the disk.
    pub synced: f64,
}

/// One more `RUN` in a Dockerfile.
#[derive(Debug, Clone, PartialEq)]
pub struct Price {
    /// The step with the chain.
    pub step: Step,
    /// What twenty take beyond what one takes, divided by nineteen, in milliseconds.
    pub each: Figure,
}

/// Something computed from medians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// It.
    pub value: f64,
    /// Half the width of its 95 % interval, by the bootstrap over rounds.
    pub margin: f64,
}

/// Wall times in milliseconds, step by step; index is the round.
struct Walls(Vec<(Step, Vec<f64>)>);

impl Report {
    /// Sums up the readings of `steps`, round by round.
    pub fn new(steps: &[Step], readings: &[Vec<Reading>]) -> Self {
        let rounds = readings.first().map_or(0, Vec::len);
        let column = |all: &Vec<Reading>| all.iter().map(|reading| reading.wall * 1e3).collect();
        let walls = Walls(steps.iter().copied().zip(readings.iter().map(column)).collect());
        let section = |work: Work| {
            let all = steps.iter().zip(readings).filter(|(step, _)| step.work == work);
            let rows: Vec<Row> = all.map(|(step, readings)| row(*step, readings, &walls)).collect();
            (!rows.is_empty()).then_some(Section { work, rows })
        };
        let of = |work, tool| Step { work, tool };
        let price = |step: &Step| {
            let one = Step { work: Work::One, ..*step };
            let further = (STEPS - 1) as f64;
            let each = walls.figure(*step, one, |chain, one| (chain - one) / further)?;
            Some(Price { step: *step, each })
        };
        Self {
            sections: Work::ALL.into_iter().filter_map(section).collect(),
            prices: steps.iter().filter(|s| s.work == Work::Chain).filter_map(price).collect(),
            above_run: walls.figure(
                of(Work::One, Tool::MiniDocker),
                of(Work::One, Tool::Run),
                |build, run| build - run,
            ),
            rounds,
        }
    }

    /// The row of a step.
    pub fn row(&self, step: Step) -> Option<&Row> {
        self.sections.iter().flat_map(|section| &section.rows).find(|row| row.step == step)
    }
}

impl Walls {
    fn of(&self, step: Step) -> Option<&[f64]> {
        self.0.iter().find(|(other, _)| *other == step).map(|(_, walls)| &walls[..])
    }

    /// A figure of two steps' medians.
    fn figure(&self, one: Step, other: Step, of: impl Fn(f64, f64) -> f64) -> Option<Figure> {
        let (one, other) = (self.of(one)?, self.of(other)?);
        let of = |rounds: &[usize]| of(median_of(one, rounds), median_of(other, rounds));
        let (value, margin) = bootstrap(one.len(), of);
        Some(Figure { value, margin })
    }
}

fn row(step: Step, readings: &[Reading], all: &Walls) -> Row {
    let column = |value: fn(&Reading) -> f64| readings.iter().map(value).collect::<Vec<_>>();
    let milliseconds = |value| median(column(value)) * 1e3;
    let walls = column(|reading| reading.wall * 1e3);
    let wall = median(walls.clone());
    let own = Step { tool: Tool::MiniDocker, ..step };
    let ratio = || all.figure(step, own, |this, own| this / own);
    Row {
        step,
        wall,
        p5: percentile(walls.clone(), 0.05),
        p95: percentile(walls, 0.95),
        each: (step.work.runs() > 1).then(|| wall / step.work.runs() as f64),
        ratio: (step != own).then(ratio).flatten(),
        user: milliseconds(|reading| reading.user),
        system: milliseconds(|reading| reading.system),
        peak: median(column(|reading| reading.peak as f64 * 1024.0 / 1e6)),
        synced: milliseconds(|reading| reading.synced),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report of which only some rows are there.
    pub(crate) fn report() -> Report {
        let walls = [
            (Work::Nothing, Tool::MiniDocker, [0.020, 0.022, 0.021]),
            (Work::Nothing, Tool::Chroot, [0.210, 0.210, 0.210]),
            (Work::Chain, Tool::MiniDocker, [0.420, 0.410, 0.400]),
            (Work::Chain, Tool::Run, [0.400, 0.400, 0.400]),
            (Work::One, Tool::MiniDocker, [0.030, 0.030, 0.030]),
            (Work::One, Tool::Run, [0.020, 0.020, 0.020]),
        ];
        let reading = |wall: f64| Reading {
            wall,
            user: 0.5,
            system: 0.25,
            peak: 1000,
            synced: wall + 1.0,
            registry: 0.0,
        };
        let steps: Vec<Step> = walls.map(|(work, tool, _)| Step { work, tool }).to_vec();
        let readings = walls.map(|(.., walls)| walls.map(reading).to_vec());
        Report::new(&steps, &readings)
    }

    #[test]
    fn ratios_are_to_the_build_of_the_same_work() {
        let report = report();
        let row = |work, tool| report.row(Step { work, tool }).unwrap();
        assert_eq!(row(Work::Nothing, Tool::MiniDocker).wall, 21.0);
        assert_eq!(row(Work::Nothing, Tool::MiniDocker).ratio, None);
        assert_eq!(row(Work::Nothing, Tool::Chroot).ratio.unwrap().value, 10.0);
        assert_eq!(row(Work::Nothing, Tool::Chroot).each, None);
        assert_eq!(row(Work::Chain, Tool::MiniDocker).each, Some(20.5));
        assert_eq!(row(Work::Chain, Tool::Run).synced, 1400.0);
        let works: Vec<Work> = report.sections.iter().map(|section| section.work).collect();
        assert_eq!(works, [Work::Nothing, Work::Chain, Work::One]);
    }

    #[test]
    fn a_step_of_a_chain_costs_what_one_more_adds() {
        let report = report();
        let [build, run] = &report.prices[..] else { panic!("two prices") };
        assert_eq!(build.step.tool, Tool::MiniDocker);
        assert!((build.each.value - 20.0).abs() < 1e-9, "{build:?}");
        assert!((run.each.value - 20.0).abs() < 1e-9 && run.each.margin == 0.0, "{run:?}");
        assert!(build.each.margin > 0.0);
        assert!((report.above_run.unwrap().value - 10.0).abs() < 1e-9);
    }
}
