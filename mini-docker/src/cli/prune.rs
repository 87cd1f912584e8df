//! `image prune`, `container prune`, `system prune`.

use anyhow::Result;
use clap::Args;

use super::table;
use crate::engine::Engine;
use crate::failure::{self, Failure};
use crate::prune::{self, Filters, Pruned};

#[derive(Debug, Args)]
pub(super) struct Images {
    /// Also images with a name that no container was made from
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only some: until=24h, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
}

impl Images {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let filters = Filters::parse(self.all, &self.filter, jiff::Timestamp::now())?;
        let question = format!("WARNING! This will remove {}.\n{SURE}", which_images(filters.all));
        if !self.force && !failure::confirmed(&question)? {
            return Ok(0);
        }
        let pruned = prune::images(engine, &filters)?;
        tell("Images", &pruned.lines);
        tell_sum(pruned.reclaimed);
        Ok(0)
    }
}

const SURE: &str = "Are you sure you want to continue? [y/N] ";

fn which_images(all: bool) -> &'static str {
    match all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    }
}

/// What has gone, if anything has.
fn tell(what: &str, lines: &[String]) {
    if !lines.is_empty() {
        table::print(&format!("Deleted {what}:\n{}\n\n", lines.join("\n")));
    }
}

fn tell_sum(bytes: u64) {
    table::print(&format!("Total reclaimed space: {}\n", table::size(bytes)));
}

#[derive(Debug, Args)]
pub(super) struct Containers {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only some: until=24h, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
}

impl Containers {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        refuse_dangling(&self.filter)?;
        let filters = Filters::parse(true, &self.filter, jiff::Timestamp::now())?;
        let question = format!("WARNING! This will remove all stopped containers.\n{SURE}");
        if !self.force && !failure::confirmed(&question)? {
            return Ok(0);
        }
        let pruned = prune::containers(engine, &filters)?;
        tell("Containers", &pruned.lines);
        tell_sum(pruned.reclaimed);
        Ok(0)
    }
}

/// Only images can be dangling.
fn refuse_dangling(filters: &[String]) -> Result<(), Failure> {
    match filters.iter().find(|text| text.starts_with("dangling=")) {
        Some(text) => {
            Err(Failure::new(format!("invalid filter `{text}`"))
                .hint("one of until=, label=, label!="))
        }
        None => Ok(()),
    }
}

#[derive(Debug, Args)]
pub(super) struct System {
    /// Also images with a name that no container was made from
    #[arg(short, long)]
    all: bool,
    /// Also anonymous volumes that no container uses
    #[arg(long)]
    volumes: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only some: until=24h, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
}

impl System {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        refuse_dangling(&self.filter)?;
        let filters = Filters::parse(self.all, &self.filter, jiff::Timestamp::now())?;
        if self.volumes && filters.until.is_some() {
            return Err(Failure::new("the \"until\" filter is not supported with \"--volumes\"")
                .hint("volumes have no age that says whether they are needed: prune them by themselves")
                .into());
        }
        if !self.force && !failure::confirmed(&self.question())? {
            return Ok(0);
        }
        // In this order: what a container has used is free when it has gone.
        let containers = prune::containers(engine, &filters)?;
        tell("Containers", &containers.lines);
        let volumes = match self.volumes {
            // Those with a name stay, whatever is said of images.
            true => prune::volumes(engine, &Filters { all: false, ..filters.clone() })?,
            false => Pruned::default(),
        };
        tell("Volumes", &volumes.lines);
        let images = prune::images(engine, &filters)?;
        tell("Images", &images.lines);
        // Labels are not said of steps.
        let build = match filters.labels.is_empty() && filters.no_labels.is_empty() {
            true => build_cache(engine, &filters)?,
            false => Pruned::default(),
        };
        tell("build cache objects", &build.lines);
        let images = images.reclaimed + build.reclaimed;
        tell_sum(containers.reclaimed + volumes.reclaimed + images);
        Ok(0)
    }

    fn question(&self) -> String {
        let mut what =
            vec!["all stopped containers", "all networks not used by at least one container"];
        if self.volumes {
            what.push("all anonymous volumes not used by at least one container");
        }
        what.push(which_images(self.all));
        what.push(if self.all { "all build cache" } else { "unused build cache" });
        let mut text = "WARNING! This will remove:\n".to_owned();
        what.iter().for_each(|what| text.push_str(&format!("  - {what}\n")));
        if !self.filter.is_empty() {
            text.push_str("\n  Items to be pruned will be filtered with:\n");
            self.filter.iter().for_each(|filter| text.push_str(&format!("  - {filter}\n")));
        }
        format!("{text}\n{SURE}")
    }
}

/// What builds have left. One that goes on keeps it.
fn build_cache(engine: &Engine, filters: &Filters) -> Result<Pruned> {
    let age = filters.until.map(|until| jiff::Timestamp::now().duration_since(until));
    let unused_for = age.and_then(|age| age.try_into().ok()).unwrap_or_default();
    let pruned = match crate::build::prune::prune(engine, filters.all, unused_for) {
        Err(error) if error.is::<Failure>() => {
            failure::warn(&error);
            return Ok(Pruned::default());
        }
        other => other?,
    };
    let lines = pruned.entries.iter().map(|entry| entry.key.clone()).collect();
    Ok(Pruned { lines, reclaimed: pruned.freed })
}
