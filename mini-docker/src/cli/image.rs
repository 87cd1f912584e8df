//! `images`, `history`, `tag`, `rmi`, also as `image ...`, and `image inspect`.

mod filter;
mod history;
mod list;

use anyhow::Result;
use clap::{Args, Subcommand};
use images::Reference;

use super::{table, transfer};
use crate::engine::Engine;
use crate::events;
use crate::failure::{self, Failure, code};
use crate::image;
use crate::inspect::{self, Kind};

pub(super) use history::History;
pub(super) use list::List;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Build an image from a Dockerfile
    Build(Box<super::build::Build>),
    /// Download an image from a registry
    Pull(transfer::Pull),
    /// Upload an image to a registry
    Push(transfer::Push),
    /// Load images from an archive or an OCI layout
    Load(super::archive::Load),
    /// Make an image from a tar of a root file system
    Import(super::archive::Import),
    /// List images
    #[command(alias = "list")]
    Ls(List),
    /// Show how an image was made
    History(History),
    /// Show images as JSON
    Inspect(Inspect),
    /// Give an image another name
    Tag(Tag),
    /// Remove images
    #[command(alias = "remove")]
    Rm(Remove),
    /// Save images as an archive
    Save(super::archive::Save),
    /// Remove images that nobody needs
    Prune(super::prune::Images),
}

impl Verb {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        match self {
            Self::Build(verb) => verb.run(engine),
            Self::Pull(verb) => verb.run(engine),
            Self::Push(verb) => verb.run(engine),
            Self::Load(verb) => verb.run(engine),
            Self::Import(verb) => verb.run(engine),
            Self::Ls(verb) => verb.run(engine),
            Self::History(verb) => verb.run(engine),
            Self::Inspect(verb) => verb.run(engine),
            Self::Tag(verb) => verb.run(engine),
            Self::Rm(verb) => verb.run(engine),
            Self::Save(verb) => verb.run(engine),
            Self::Prune(verb) => verb.run(engine),
        }
    }
}

fn reference(text: &str) -> Result<Reference> {
    Ok(Reference::parse(text)?)
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Print a template, or `json` on one line
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Names or ids
    #[arg(required = true)]
    images: Vec<String>,
}

impl Inspect {
    fn run(self, engine: &Engine) -> Result<u8> {
        super::inspect::show(self.format.as_deref(), &self.images, |name| {
            inspect::object(engine, Some(Kind::Image), name, false)
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct Tag {
    /// Image, by name or id
    source: String,
    /// The further name
    target: String,
}

impl Tag {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let image = image::resolve(engine, &self.source)?;
        let target = reference(&self.target)?;
        engine.images()?.tag(&image, &target)?;
        events::image(engine, "tag", &image.id, &target.familiar());
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Remove all names of an id, and images that exited containers were made from
    #[arg(short, long)]
    force: bool,
    /// Accepted for Docker's sake: there are no parents that could be left
    #[arg(long, hide = true)]
    no_prune: bool,
    /// Names or ids
    #[arg(required = true)]
    images: Vec<String>,
}

impl Remove {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let mut worst = 0;
        for name in &self.images {
            match image::remove(engine, name, self.force) {
                Ok(removed) => {
                    for name in &removed.untagged {
                        table::print(&format!("Untagged: {name}\n"));
                    }
                    for id in &removed.deleted {
                        table::print(&format!("Deleted: {id}\n"));
                    }
                }
                Err(error) => {
                    let gone = error.downcast_ref::<Failure>().is_some();
                    let reported = failure::report(&error, code::OTHER);
                    // With force, what is not there is as good as removed.
                    if !(self.force && gone && image::resolve(engine, name).is_err()) {
                        worst = reported;
                    }
                }
            }
        }
        Ok(worst)
    }
}
