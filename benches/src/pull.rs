//! What it costs to get an image: from a registry, or from a folder, to files that a container can use.
//!
//! `mini-docker` and its peers do it in the same rounds, each with an empty store, and beside them two things that
//! every one of them has to do: inflate and hash the layers, and write the files. The slower of these two is the
//! *limit*: with each on a processor of its own, nobody can be done before it is. Read in this order:
//!
//! 1. [`Image`] (`image.rs`, `files.rs`, `layout.rs`): what is pulled, made from a Debian and from generated files;
//! 2. [`Step`] (`step.rs`): who does what to which image: the commands;
//! 3. [`Ground`] (`ground.rs`, `registry.rs`): private namespaces, folders, a registry on loopback;
//! 4. [`Job`] (`job.rs`): commands run by a process of its own, so that what the kernel knows of its children is
//!    theirs alone: CPU time and peak memory;
//! 5. [`inflate`](inflate::run) (`inflate.rs`): the one limit that is no program of others;
//! 6. [`Report`] (`report.rs`), `table.rs`, `chart.rs`: ratios, words, a picture;
//! 7. [`memory`]: a layer of 2 GiB, and how much memory pulling it takes.
//!
//! The program is `pull-table`; `cargo bench -p benches --bench unpack` (Criterion) has the layer store alone.

pub mod chart;
pub(crate) mod files;
pub mod ground;
pub mod image;
pub mod inflate;
pub mod job;
mod layout;
pub mod memory;
mod pool;
mod registry;
pub mod report;
pub mod step;
pub mod table;

pub use ground::Ground;
pub use image::Image;
pub use job::{Job, Reading};
pub use report::Report;
pub use step::Step;
