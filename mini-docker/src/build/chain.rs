//! The files of a stage as far as it has come: layers on top of each other.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use build::cache::{self, chain_id};
use serde::{Deserialize, Serialize};

use super::aside::Aside;
use crate::engine::Engine;
use crate::failure::Failure;

/// Layers, lowest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chain {
    /// The image that it begins with: the id.
    pub(super) image: Option<String>,
    /// Diff IDs of the image's layers.
    pub(super) below: Vec<String>,
    /// What steps have made on top of them.
    pub(super) own: Vec<cache::Layer>,
}

impl Chain {
    /// The diff IDs of all layers, lowest first.
    pub(super) fn diff_ids(&self) -> impl Iterator<Item = &str> {
        let own = self.own.iter().map(|layer| layer.diff_id.as_str());
        self.below.iter().map(String::as_str).chain(own)
    }

    /// The chain ID; empty if there is no layer.
    pub(super) fn id(&self) -> String {
        let chained = self
            .diff_ids()
            .fold(None, |below: Option<String>, diff_id| Some(chain_id(below.as_deref(), diff_id)));
        chained.unwrap_or_default()
    }

    /// The folders of the layers, topmost first.
    ///
    /// # Errors
    /// If one is not there.
    pub(super) fn lowers(&self, engine: &Engine) -> Result<Vec<PathBuf>> {
        let store = engine.layers()?;
        let mut lowers = Vec::new();
        for diff_id in self.diff_ids() {
            let id = diff_id.parse()?;
            if !store.has(&id) {
                return Err(Failure::new(format!("layer {diff_id} is not there any more"))
                    .hint("somebody has removed it: build again")
                    .into());
            }
            lowers.push(store.path(&id));
        }
        lowers.reverse();
        Ok(layers::distinct(lowers))
    }

    /// All of it as one tree, to be read.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub(super) fn tree(&self, engine: &Engine, aside: &Aside) -> Result<OwnedFd> {
        let mut lowers = self.lowers(engine)?;
        // The kernel joins no fewer than two.
        while lowers.len() < 2 {
            let empty = aside.path().join(format!("empty{}", lowers.len()));
            if !empty.exists() {
                std::fs::create_dir(&empty).context("create folder")?;
            }
            lowers.push(empty);
        }
        Ok(layers::overlay(&lowers, None, None)?)
    }
}

/// A tree that can be written: layers below, and a folder that gets what is written.
pub(super) struct Writable {
    /// The merged tree, a mount without a place.
    pub(super) root: OwnedFd,
    /// What was written.
    pub(super) upper: PathBuf,
}

impl Writable {
    /// Mounts `chain` with a new folder above it, in `aside`.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub(super) fn new(engine: &Engine, chain: &Chain, aside: &Aside) -> Result<Self> {
        let mut lowers = chain.lowers(engine)?;
        let (upper, work) = (aside.folder("upper")?, aside.folder("work")?);
        if lowers.is_empty() {
            lowers.push(aside.folder("empty")?);
        }
        let root = overlay(engine, &lowers, &upper, &work)?;
        Ok(Self { root, upper })
    }
}

fn overlay(engine: &Engine, lowers: &[PathBuf], upper: &Path, work: &Path) -> Result<OwnedFd> {
    layers::fleeting_overlay(lowers, upper, work).or_else(|error| {
        layers::can_hold_upper(&engine.root).map_err(|refusal| {
            Failure::new(refusal.to_string()).hint("use a --root on another file system")
        })?;
        Err(error.into())
    })
}
