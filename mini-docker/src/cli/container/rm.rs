//! `rm`: nothing of a container stays.

use anyhow::Result;
use clap::Args;

use super::each::failed;
use crate::cli::table;
use crate::container::{self, act};
use crate::containers::Containers;
use crate::create::remove_anonymous;
use crate::engine::Engine;
use crate::events;
use crate::failure::{self, Failure, code};
use crate::record::{Record, Status};

#[derive(Debug, Args)]
pub(in crate::cli) struct Rm {
    /// Also remove containers that run, ending their processes
    #[arg(short, long)]
    force: bool,
    /// Also remove their anonymous volumes
    #[arg(short, long)]
    volumes: bool,
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Rm {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let mut worst = 0;
        for key in &self.containers {
            match self.remove(engine, key) {
                Ok(()) => table::print(&format!("{key}\n")),
                // As Docker: it is said, but what is wanted is so.
                Err(error) if self.force && is_missing(engine, key)? => {
                    failure::report(&error, code::OTHER);
                }
                Err(error) => worst = failed(&error),
            }
        }
        Ok(worst)
    }

    fn remove(&self, engine: &Engine, key: &str) -> Result<()> {
        let containers = Containers::new(engine);
        let found = containers.find(key)?;
        let held = match self.force {
            true => container::end(engine, &found)?,
            false => match container::hold_idle(engine, &found.id)? {
                Some((held, _)) => Some(held),
                None => return Err(runs(engine, &containers.load(&found.id)?).into()),
            },
        };
        // `--rm`: its supervisor has removed it.
        let Some(held) = held else { return Ok(()) };
        // It may have got another name since it was found.
        let record = containers.load(&found.id).unwrap_or(found);
        if self.volumes {
            remove_anonymous(engine, &record.mounts, &record.id);
        }
        containers.remove(&record.id, &record.name, held)?;
        events::container(engine, &record, "destroy", &[]);
        Ok(())
    }
}

/// Why it cannot be removed.
fn runs(engine: &Engine, record: &Record) -> Failure {
    let name = &record.name;
    let (state, hint) = match record.status {
        Status::Restarting { .. } => {
            ("restarting", format!("stop it first: mini-docker stop {name}"))
        }
        _ if act::is_paused(engine, record) => {
            ("paused", format!("let it go on and stop it: mini-docker unpause {name}"))
        }
        _ => ("running", format!("stop it first: mini-docker stop {name}")),
    };
    Failure::new(format!("cannot remove container {name}: it is {state}"))
        .hint(format!("{hint}\nor end it by force: mini-docker rm -f {name}"))
}

/// Whether no container has that name, and no id begins so. A beginning of several ids is a mistake, not a missing one.
fn is_missing(engine: &Engine, key: &str) -> Result<bool> {
    let is_it = |record: &Record| record.name == key || record.id.starts_with(key);
    Ok(!Containers::new(engine).list()?.iter().any(is_it))
}
