//! `volume create`, `ls`, `inspect`, `rm`, `prune`.

mod filter;

use anyhow::Result;
use clap::{Args, Subcommand};
use volumes::Volume;

use self::filter::Filter;
use super::filter::{Pair, pair};
use super::table;
use crate::create::options::parse_bool;
use crate::create::volume_users;
use crate::engine::Engine;
use crate::events;
use crate::failure::{self, Failure, code};
use crate::format::{Listing, Show, sanitized};
use crate::inspect;
use crate::prune::{self, Filters};

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
        let store = engine.volumes()?;
        let is_new = self.name.as_deref().is_none_or(|name| store.get(name).is_err());
        let volume = store.create(self.name.as_deref(), &labels, &options)?;
        if is_new {
            events::volume(engine, "create", &volume.name);
        }
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
    /// Only volumes that are so: dangling=BOOL, driver=, label=KEY[=VALUE], name=
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = pair)]
    filter: Vec<Pair>,
    /// Print `json`, a template for each, or `table TEMPLATE`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl List {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let row = |volume: &Volume| {
            let labels: Vec<String> =
                volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let cells = [
                ("Name", volume.name.as_str()),
                ("Driver", "local"),
                ("Scope", "local"),
                ("Mountpoint", &volume.mountpoint.to_string_lossy()),
                ("Labels", &sanitized(&labels.join(","))),
                ("Links", "N/A"),
                ("Size", "N/A"),
                ("Status", "N/A"),
                ("Availability", "N/A"),
                ("Group", "N/A"),
            ];
            cells.into_iter().map(|(field, text)| (field.to_owned(), text.into())).collect()
        };
        let filter = Filter::new(&self.filter)?;
        let volumes = engine.volumes()?.list()?;
        let rows = volumes.iter().filter(|volume| filter.takes(engine, volume)).map(row);
        let rows: Vec<_> = rows.collect();
        let show = Show { format: self.format.as_deref(), quiet: self.quiet, no_trunc: true };
        table::print(&LISTING.render(show, &rows)?);
        Ok(0)
    }
}

const LISTING: Listing<'_> = Listing {
    headers: &[
        ("Name", "VOLUME NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
        ("Availability", "AVAILABILITY"),
        ("Group", "GROUP"),
    ],
    table: &["Driver", "Name"],
    quiet: "Name",
    ids: &[],
};

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Print a template, or `json` on one line
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Names
    #[arg(required = true)]
    volumes: Vec<String>,
}

impl Inspect {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let store = engine.volumes()?;
        super::inspect::show(self.format.as_deref(), &self.volumes, |name| {
            Ok(inspect::volume(&store.get(name).map_err(hinted)?))
        })
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
            // With force, what is not there is as good as removed.
            let is_there = store.get(name).is_ok();
            match store.remove(name, &|name| volume_users(engine, name), self.force) {
                Ok(()) => {
                    if is_there {
                        events::volume(engine, "destroy", name);
                    }
                    table::print(&format!("{name}\n"));
                }
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
    /// Only volumes that are so: all=BOOL, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub(super) fn run(mut self, engine: &Engine) -> Result<u8> {
        let filters = self.filters()?;
        let what = if self.all { "all volumes" } else { "all anonymous volumes" };
        let question = format!("This removes {what} that no container uses. Are you sure? [y/N] ");
        if !self.force && !failure::confirmed(&question)? {
            return Ok(0);
        }
        let pruned = prune::volumes(engine, &filters)?;
        if !pruned.lines.is_empty() {
            table::print(&format!("Deleted Volumes:\n{}\n\n", pruned.lines.join("\n")));
        }
        table::print(&format!("Total reclaimed space: {}\n", table::size(pruned.reclaimed)));
        Ok(0)
    }

    /// Of those that prune knows, volumes have labels only; `all` is theirs alone.
    fn filters(&mut self) -> Result<Filters> {
        let mut labels = Vec::new();
        for text in &self.filter {
            let wrong = || {
                Failure::new(format!("invalid filter `{text}`"))
                    .hint("one of all=true, all=false, label=, label!=")
            };
            match text.split_once('=') {
                Some(("all", value)) => self.all = parse_bool(value).map_err(|_| wrong())?,
                Some(("label" | "label!", _)) => labels.push(text.clone()),
                _ => return Err(wrong().into()),
            }
        }
        Filters::parse(self.all, &labels, jiff::Timestamp::now())
    }
}
