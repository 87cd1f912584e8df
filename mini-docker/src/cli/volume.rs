//! `volume create`, `ls`, `inspect`, `rm`, `prune`.

use anyhow::Result;
use clap::{Args, Subcommand};

use super::table;
use crate::create::volume_users;
use crate::engine::Engine;
use crate::failure::{self, Failure, code};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a volume
    Create(Create),
    /// List volumes
    #[command(alias = "list")]
    Ls(List),
    /// Show volumes as JSON
    Inspect(Inspect),
    /// Remove volumes that no container uses
    #[command(alias = "remove")]
    Rm(Remove),
    /// Remove all anonymous volumes that no container uses
    Prune(Prune),
}

impl Verb {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        match self {
            Self::Create(verb) => verb.run(engine),
            Self::Ls(verb) => verb.run(engine),
            Self::Inspect(verb) => verb.run(engine),
            Self::Rm(verb) => verb.run(engine),
            Self::Prune(verb) => verb.run(engine),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Set a label
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Driver; only `local` is known
    #[arg(short, long, default_value = "local", value_parser = ["local"])]
    driver: String,
    /// Driver option: type, o, device
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Name [default: 64 random hex digits]
    name: Option<String>,
}

impl Create {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let (labels, options) = (pairs(&self.label), pairs(&self.opt));
        let volume = engine.volumes()?.create(self.name.as_deref(), &labels, &options)?;
        table::print(&format!("{}\n", volume.name));
        Ok(0)
    }
}

fn pairs(texts: &[String]) -> Vec<(String, String)> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    texts.iter().map(pair).collect()
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Show names only
    #[arg(short, long)]
    quiet: bool,
}

impl List {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let volumes = engine.volumes()?.list()?;
        if self.quiet {
            table::print(
                &volumes.iter().map(|volume| format!("{}\n", volume.name)).collect::<String>(),
            );
            return Ok(0);
        }
        let rows: Vec<Vec<String>> =
            volumes.iter().map(|volume| vec!["local".to_owned(), volume.name.clone()]).collect();
        table::print(&table::table(&["DRIVER", "VOLUME NAME"], &rows));
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Names
    #[arg(required = true)]
    volumes: Vec<String>,
}

impl Inspect {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let store = engine.volumes()?;
        let (mut found, mut worst) = (Vec::new(), 0);
        for name in &self.volumes {
            match store.get(name) {
                Ok(volume) => found.push(serde_json::json!({
                    "CreatedAt": volume.created,
                    "Driver": "local",
                    "Labels": volume.labels,
                    "Mountpoint": volume.mountpoint,
                    "Name": volume.name,
                    "Options": volume.options,
                    "Scope": "local",
                })),
                Err(error) => worst = failure::report(&hinted(error), code::OTHER),
            }
        }
        table::print(&format!("{}\n", serde_json::to_string_pretty(&found)?));
        Ok(worst)
    }
}

fn hinted(error: volumes::Error) -> anyhow::Error {
    match &error {
        volumes::Error::NotFound { .. } => {
            Failure::new(error.to_string()).hint("`mini-docker volume ls` lists all volumes").into()
        }
        volumes::Error::InUse { .. } => Failure::new(error.to_string())
            .hint("remove the container first: mini-docker rm")
            .into(),
        _ => error.into(),
    }
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Do not mind volumes that are not there
    #[arg(short, long)]
    force: bool,
    /// Names
    #[arg(required = true)]
    volumes: Vec<String>,
}

impl Remove {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let store = engine.volumes()?;
        let mut worst = 0;
        for name in &self.volumes {
            match store.remove(name, &|name| volume_users(engine, name), self.force) {
                Ok(()) => table::print(&format!("{name}\n")),
                Err(error) => worst = failure::report(&hinted(error), code::OTHER),
            }
        }
        Ok(worst)
    }
}

#[derive(Debug, Args)]
pub(super) struct Prune {
    /// Also volumes with a name
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        if !self.force && !confirmed(self.all)? {
            return Ok(0);
        }
        let pruned =
            engine.volumes()?.prune(self.all, &|_| true, &|name| volume_users(engine, name))?;
        if !pruned.removed.is_empty() {
            table::print(&format!("Deleted Volumes:\n{}\n\n", pruned.removed.join("\n")));
        }
        table::print(&format!("Total reclaimed space: {}\n", table::size(pruned.reclaimed)));
        Ok(0)
    }
}

fn confirmed(all: bool) -> Result<bool> {
    let what = if all { "all volumes" } else { "all anonymous volumes" };
    failure::ask(&format!("This removes {what} that no container uses. Are you sure? [y/N] "));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
