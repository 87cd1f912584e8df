//! What a build costs: of a Dockerfile with nothing changed, of many files, of many commands.
//!
//! `mini-docker build` and buildah do it in the same rounds, with stores of their own and the same base image. Beside
//! them stand things that are not builds and say what a build could cost: `cp` of the same files, and as many
//! `mini-docker run` as there are `RUN`. Read in this order:
//!
//! 1. [`Work`] (`work.rs`): what is built: Dockerfiles and what they copy;
//! 2. [`Step`] (`step.rs`): who does it: the commands;
//! 3. [`Site`] (`site.rs`, `disk.rs`): where: the namespaces of [`pull`](crate::pull), a file system for each store,
//!    stores that stay or are made anew;
//! 4. [`Report`] (`report.rs`), `table.rs`, `chart.rs`: ratios, words, a picture.
//!
//! The program is `build-table`. A measurement is a [`Job`](crate::pull::Job), as that of a pull is.

pub mod chart;
mod disk;
pub mod report;
pub mod site;
pub mod step;
pub mod table;
pub mod work;

pub use report::Report;
pub use site::Site;
pub use step::{Step, Tool};
pub use work::Work;
