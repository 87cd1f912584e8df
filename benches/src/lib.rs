//! What a container start costs, mechanism by mechanism; in [`pull`], what it costs to get an image; and, in [`build`],
//! what it costs to build one.
//!
//! A *start* here is the whole life of a container that does nothing: from the first system call made for it, through
//! the exec of a static `true` and its end, until everything that was made for it is gone again. It is measured at each
//! rung of a ladder. A rung does what the one before it does and one thing more, so the difference between two of them
//! is the price of that thing. Read in this order:
//!
//! 1. [`Rung`] (`ladder.rs`): the rungs;
//! 2. [`start`](start::start) (`start.rs`): one start up to a rung, composed of the chapters as `mini-docker` does it;
//! 3. [`Program`] (`program.rs`): what is not on the ladder: the whole command, and a process as std makes it;
//! 4. [`Stage`] (`stage.rs`, `image.rs`): the private namespaces and folders in which all of that happens;
//! 5. [`Sample`] (`clock.rs`): what is read off: wall time, CPU time, time until exec;
//! 6. [`rounds`](rounds::measure) (`rounds.rs`): every step once per round, in random order;
//! 7. `stats.rs`, `table.rs`, `grid.rs`, `chart.rs`, `svg.rs`, `host.rs`: figures, words, a picture, and where they were taken.
//!
//! Two programs use this: `cargo bench -p benches --bench startup` (Criterion: one step after the other, good for
//! comparing a step with itself before and after a change) and `startup-table` (interleaved rounds, good for comparing
//! steps with each other).

pub mod build;
pub mod chart;
pub mod clock;
mod grid;
pub mod host;
mod image;
pub mod ladder;
pub mod program;
pub mod pull;
pub mod rounds;
pub mod stage;
pub mod start;
pub mod stats;
mod svg;
pub mod table;

use anyhow::Result;

pub use clock::Sample;
pub use ladder::Rung;
pub use program::Program;
pub use stage::Stage;

/// Anything that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A start up to this rung.
    Ladder(Rung),
    /// A program beside the ladder.
    Beside(Program),
}

impl Step {
    /// All steps, the ladder from the bottom up first. Programs that `stage` does not have are left out.
    pub fn all(stage: &Stage) -> Vec<Self> {
        let ladder = Rung::ALL.into_iter().map(Self::Ladder);
        let programs = Program::ALL.into_iter().filter(|program| stage.has(*program));
        ladder.chain(programs.map(Self::Beside)).collect()
    }

    /// A short name without spaces, for Criterion's folders and filters.
    pub fn id(self) -> &'static str {
        match self {
            Self::Ladder(rung) => rung.id(),
            Self::Beside(program) => program.id(),
        }
    }

    /// The name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ladder(rung) => rung.label(),
            Self::Beside(program) => program.label(),
        }
    }

    /// Does it once.
    ///
    /// # Errors
    /// The first thing that failed; nothing of the attempt is left.
    pub fn run(self, stage: &Stage) -> Result<Sample> {
        match self {
            Self::Ladder(rung) => start::start(stage, rung),
            Self::Beside(program) => program.run(stage),
        }
    }
}
