//! `pull` and `push`, also as `image pull` and `image push`.

use anyhow::Result;
use clap::Args;
use images::{Platform, Reference};

use super::table;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::progress::{Place, Progress};
use crate::transfer;

#[derive(Debug, Args)]
pub(super) struct Pull {
    /// All tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Print only the image's name
    #[arg(short, long)]
    quiet: bool,
    /// Platform of the image, os/architecture[/variant] [default: this machine's]
    #[arg(long, value_name = "PLATFORM", env = "DOCKER_DEFAULT_PLATFORM", hide_env = true)]
    platform: Option<Platform>,
    /// Accepted for Docker's sake: there is no content trust to disable
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// Image: NAME[:TAG|@DIGEST]
    name: String,
}

impl Pull {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let reference = Reference::parse(&self.name)?;
        if self.all_tags {
            if names_one(&self.name) {
                return Err(Failure::new("a tag or digest cannot be used with --all-tags").into());
            }
            for reference in transfer::tags_of(engine, &reference)? {
                self.one(engine, &reference)?;
            }
            return Ok(0);
        }
        if !names_one(&self.name) && !self.quiet {
            table::print("Using default tag: latest\n");
        }
        self.one(engine, &reference)?;
        Ok(0)
    }

    fn one(&self, engine: &Engine, reference: &Reference) -> Result<()> {
        let progress = Progress::of_pull(reference, Place::Output, self.quiet);
        let pulled = transfer::pull(engine, reference, self.platform.as_ref(), &progress)?;
        progress.pulled(&pulled);
        transfer::warn_of_platform(&pulled);
        let name = pulled.loaded.reference.unwrap_or_else(|| reference.clone());
        table::print(&format!("{name}\n"));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Push {
    /// All tags of the repository that are here
    #[arg(short, long)]
    all_tags: bool,
    /// Print only the image's name
    #[arg(short, long)]
    quiet: bool,
    /// Accepted for Docker's sake: there is no content trust to disable
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// Image: NAME[:TAG]
    name: String,
}

impl Push {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let reference = Reference::parse(&self.name)?;
        if !self.all_tags {
            if !names_one(&self.name) && !self.quiet {
                table::print("Using default tag: latest\n");
            }
            self.one(engine, &reference)?;
            return Ok(0);
        }
        if names_one(&self.name) {
            return Err(Failure::new("a tag or digest cannot be used with --all-tags").into());
        }
        let names = transfer::names_of(engine, &reference)?;
        if names.is_empty() {
            return Err(Failure::new(format!(
                "no image here belongs to the repository {}",
                reference.familiar_name()
            ))
            .into());
        }
        names.iter().try_for_each(|name| self.one(engine, name))?;
        Ok(0)
    }

    fn one(&self, engine: &Engine, reference: &Reference) -> Result<()> {
        let progress = Progress::of_push(reference, self.quiet);
        let pushed = transfer::push(engine, reference, &progress)?;
        progress.pushed(&pushed);
        if self.quiet {
            table::print(&format!("{reference}\n"));
        }
        Ok(())
    }
}

/// Whether the text has a tag or digest of its own.
fn names_one(text: &str) -> bool {
    text.contains('@') || text.rsplit('/').next().is_some_and(|last| last.contains(':'))
}
