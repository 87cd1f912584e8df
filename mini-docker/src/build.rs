//! `build`: a Dockerfile becomes an image. The language, the rules of copying and the cache are chapter 09's; here they
//! meet containers (`RUN`), layers and images.
//!
//! 1. [`context`] opens what the Dockerfile can copy from; the parser reads it, the graph says which stages are needed.
//! 2. `plan.rs` resolves the images that stages begin with: what cannot be found is found before anything is built.
//! 3. `coordinate.rs` starts a worker for each stage, `stage.rs` is its life: settings, `run.rs`, `copy.rs`, the cache.
//! 4. `layer.rs` makes a layer of what a step has written.
//! 5. Here, at the end, the image gets its config, its history and its names.
//!
//! ```text
//! <root>/build/steps/ last/    the cache: what came of which step (chapter 09, cache.rs)
//! <root>/build/blobs/<hex>     tars of its layers
//! <root>/build/mounts/<id>/    folders of RUN --mount=type=cache
//! <root>/build/hashes          of files that were copied (chapter 09, remember.rs)
//! <root>/build/tmp/<id>/       being made
//! ```

mod aside;
mod attend;
mod chain;
pub mod context;
mod coordinate;
mod copy;
mod display;
mod finish;
mod layer;
mod mounts;
mod plan;
pub mod prune;
mod run;
mod squash;
mod stage;
mod talk;
mod variables;
mod workdir;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use build::cache::Cache;
use images::Reference;

use crate::engine::Engine;
use crate::files::make_dir;
pub use display::Manner;
pub(crate) use plan::other_platform;

/// What `build` is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Folder, `-`, archive or URL.
    pub context: String,
    /// `-f`: a path, or `-`. None: `Dockerfile` in the context.
    pub file: Option<String>,
    /// Names of the image.
    pub tags: Vec<Reference>,
    /// `--build-arg`.
    pub arguments: BTreeMap<String, String>,
    /// `--label`.
    pub labels: Vec<(String, String)>,
    /// `--target`.
    pub target: Option<String>,
    /// Nothing is taken from the cache.
    pub no_cache: bool,
    /// Base images are pulled, also those that are here.
    pub pull: bool,
    /// All layers of the build become one.
    pub squash: bool,
    /// `--network` of each `RUN` that says nothing else.
    pub network: Option<String>,
    /// `--add-host`.
    pub add_hosts: Vec<String>,
    /// `--secret`: by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--allow security.insecure`.
    pub allow_insecure: bool,
    /// How progress is told.
    pub manner: Manner,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
}

/// Builds; returns the image's id, `sha256:...`.
///
/// # Errors
/// A mistake in the Dockerfile, a step that fails, an image or file that is not there.
pub fn build(engine: &Engine, request: &Request) -> Result<String> {
    aside::reclaim(engine)?;
    crate::image::settle(engine);
    // As long as it is open, nobody prunes what a step was found in.
    let _used = prune::in_use(engine)?;
    let context = context::open(engine, request)?;
    let plan = plan::plan(engine, request, &context)?;
    let mut display = display::Display::new(request.manner, plan.shown_stages());
    let outcome = coordinate::build(engine, &plan, &mut display);
    display.end();
    finish::finish(engine, &plan, &outcome?)
}

/// `<root>/build`.
fn folder(engine: &Engine) -> Result<PathBuf> {
    let folder = engine.root.join("build");
    make_dir(&folder)?;
    Ok(folder)
}

/// The cache of steps.
///
/// # Errors
/// If its folders cannot be made.
pub fn cache(engine: &Engine) -> Result<Cache> {
    Ok(Cache::open(&folder(engine)?)?)
}
