//! `system df`: what takes which part of the disk.

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::build::prune::Entry;
use crate::cli::container::ps::Rows;
use crate::cli::table::{self, ago, size};
use crate::disk::{self, ImageUsage, Usage};
use crate::engine::Engine;
use crate::format::{Listing, Show, Template};
use crate::record::Record;
use crate::state::Looker;

#[derive(Debug, Args)]
pub(in crate::cli) struct Df {
    /// Show each image, container and volume
    #[arg(short, long)]
    verbose: bool,
    /// Print `json`, a template for each line, or `table TEMPLATE`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl Df {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let format = self.format.as_deref().filter(|text| !text.is_empty());
        // What is wrong with a template is said before everything is measured.
        if let Some(text) = format.filter(|text| !matches!(*text, "json" | "table")) {
            Template::parse(text.strip_prefix("table ").unwrap_or(text))?;
        }
        let usage = disk::measure(engine)?;
        let text = match (self.verbose, format) {
            (false, _) => SUMS.render(Show { format, ..Show::default() }, &sums(&usage))?,
            (true, None | Some("table")) => verbose(engine, &usage)?,
            (true, Some("json")) => format!("{}\n", object(engine, &usage)),
            (true, Some(template)) => {
                Template::parse(template)?.render(&object(engine, &usage))? + "\n"
            }
        };
        table::print(&text);
        Ok(0)
    }
}

type Row = Map<String, Value>;

fn row<const N: usize>(cells: [(&str, String); N]) -> Row {
    cells.into_iter().map(|(field, text)| (field.to_owned(), text.into())).collect()
}

const SUMS: Listing<'_> = Listing {
    headers: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    table: &["Type", "TotalCount", "Active", "Size", "Reclaimable"],
    quiet: "Type",
    ids: &[],
};

fn sums(usage: &Usage) -> Vec<Row> {
    let line = |kind: &str, count: usize, active: usize, total: u64, free: u64| {
        let share = match total {
            0 => String::new(),
            total => format!(" ({}%)", free * 100 / total),
        };
        row([
            ("Type", kind.to_owned()),
            ("TotalCount", count.to_string()),
            ("Active", active.to_string()),
            ("Size", size(total)),
            ("Reclaimable", size(free) + &share),
        ])
    };
    let Usage { images, containers, volumes, .. } = usage;
    let idle: u64 =
        containers.iter().filter(|(record, _)| !record.is_active()).map(|(_, size)| size).sum();
    let unused: u64 =
        volumes.iter().filter(|(_, links, _)| *links == 0).map(|(_, _, size)| size).sum();
    vec![
        line(
            "Images",
            images.len(),
            images.iter().filter(|image| image.containers > 0).count(),
            usage.images_total,
            usage.images_reclaimable,
        ),
        line(
            "Containers",
            containers.len(),
            containers.iter().filter(|(record, _)| record.is_active()).count(),
            containers.iter().map(|(_, size)| size).sum(),
            idle,
        ),
        line(
            "Local Volumes",
            volumes.len(),
            volumes.iter().filter(|(_, links, _)| *links > 0).count(),
            volumes.iter().map(|(_, _, size)| size).sum(),
            unused,
        ),
        line("Build Cache", usage.build.len(), 0, usage.build_total, usage.build_total),
    ]
}

const IMAGES: Listing<'_> = Listing {
    headers: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("ID", "IMAGE ID"),
        ("CreatedSince", "CREATED"),
        ("Size", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("Containers", "CONTAINERS"),
    ],
    table: &[
        "Repository",
        "Tag",
        "ID",
        "CreatedSince",
        "Size",
        "SharedSize",
        "UniqueSize",
        "Containers",
    ],
    quiet: "ID",
    ids: &["ID"],
};

/// A line for each name of an image.
fn image_rows(usage: &ImageUsage) -> Vec<Row> {
    let ImageUsage { image, size: all, shared, containers } = usage;
    let none = || "<none>".to_owned();
    let mut names: Vec<(String, String)> = image
        .references
        .iter()
        .map(|name| (name.familiar_name(), name.tag().map_or_else(none, str::to_owned)))
        .collect();
    if names.is_empty() {
        names.push((none(), none()));
    }
    let line = |(repository, tag)| {
        row([
            ("Repository", repository),
            ("Tag", tag),
            ("ID", image.id.clone()),
            ("CreatedSince", image.created.map_or_else(|| "N/A".to_owned(), ago)),
            ("Size", size(*all)),
            ("SharedSize", size(*shared)),
            ("UniqueSize", size(all - shared)),
            ("Containers", containers.to_string()),
        ])
    };
    names.into_iter().map(line).collect()
}

const CONTAINERS: Listing<'_> = Listing {
    headers: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Size", "SIZE"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
    ],
    table: &["ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names"],
    quiet: "ID",
    ids: &["ID"],
};

/// As `ps` shows it, but with all that it takes.
fn container_row(rows: &mut Rows<'_>, (record, bytes): &(Record, u64)) -> Row {
    let mut row = rows.row(record);
    row.retain(|field, _| CONTAINERS.headers.iter().any(|(name, _)| name == field));
    row.insert("Size".to_owned(), size(*bytes).into());
    row
}

const VOLUMES: Listing<'_> = Listing {
    headers: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
    table: &["Name", "Links", "Size"],
    quiet: "Name",
    ids: &[],
};

const BUILD: Listing<'_> = Listing {
    headers: &[
        ("ID", "CACHE ID"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("Description", "DESCRIPTION"),
    ],
    table: &["ID", "Size", "CreatedSince", "LastUsedSince", "Description"],
    quiet: "ID",
    ids: &["ID"],
};

fn build_row(entry: &Entry) -> Row {
    row([
        ("ID", entry.key.clone()),
        ("Size", size(entry.size)),
        ("CreatedSince", ago(entry.made)),
        ("LastUsedSince", ago(entry.used)),
        ("Description", entry.instruction.clone()),
    ])
}

/// Rows of images, containers, volumes and steps of builds.
fn details(engine: &Engine, usage: &Usage) -> [Vec<Row>; 4] {
    let looker = Looker::new(engine);
    let mut rows = Rows::new(engine, &looker, false, false);
    let volumes = usage.volumes.iter().map(|(volume, links, bytes)| {
        row([("Name", volume.name.clone()), ("Links", links.to_string()), ("Size", size(*bytes))])
    });
    [
        usage.images.iter().flat_map(image_rows).collect(),
        usage.containers.iter().map(|container| container_row(&mut rows, container)).collect(),
        volumes.collect(),
        usage.build.iter().map(build_row).collect(),
    ]
}

fn verbose(engine: &Engine, usage: &Usage) -> Result<String> {
    let [images, containers, volumes, build] = details(engine, usage);
    let show = Show::default();
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\n\
         Build cache usage: {}\n{}",
        IMAGES.render(show, &images)?,
        CONTAINERS.render(show, &containers)?,
        VOLUMES.render(show, &volumes)?,
        size(usage.build_total),
        if build.is_empty() { String::new() } else { format!("\n{}", BUILD.render(show, &build)?) },
    ))
}

fn object(engine: &Engine, usage: &Usage) -> Value {
    let [images, containers, volumes, build] = details(engine, usage);
    json!({ "Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": build })
}
