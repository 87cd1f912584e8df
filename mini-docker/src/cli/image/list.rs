//! `images`.

use anyhow::Result;
use clap::Args;
use images::Image;
use serde_json::{Map, Value};

use super::filter::Filter;
use crate::cli::filter::{Pair, pair};
use crate::cli::table;
use crate::engine::Engine;
use crate::format::{Listing, Show};
use crate::{failure, image};

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Accepted for Docker's sake: there are no intermediate images to hide
    #[arg(short, long)]
    all: bool,
    /// Show ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show ids in full
    #[arg(long)]
    no_trunc: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Only images that are so: before, dangling, label, reference, since, until
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = pair)]
    filter: Vec<Pair>,
    /// Print `json`, a template for each, or `table TEMPLATE`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Only images of this name: `busybox`, `busybox:1.36`, `busy*`
    name: Option<String>,
}

const HEADERS: [(&str, &str); 11] = [
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

impl List {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let store = engine.images()?;
        for (name, error) in store.damaged()? {
            failure::tell(&format!("mini-docker: image {name} is damaged: {error}"));
        }
        let filter = Filter::new(engine, &self.filter, self.name.as_deref())?;
        let mut all = store.list()?;
        all.sort_by_key(|image| std::cmp::Reverse(image.created));
        let layers = engine.layers()?;
        let mut rows = Vec::new();
        for image in all.iter().filter(|image| filter.takes(image)) {
            for name in names(image, &filter) {
                rows.push(row(&layers, image, &name));
            }
        }
        let listing = Listing {
            headers: &HEADERS,
            table: if self.digests {
                &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"]
            } else {
                &["Repository", "Tag", "ID", "CreatedSince", "Size"]
            },
            quiet: "ID",
            ids: &["ID"],
        };
        let show =
            Show { format: self.format.as_deref(), quiet: self.quiet, no_trunc: self.no_trunc };
        table::print(&listing.render(show, &rows)?);
        Ok(0)
    }
}

const NONE: &str = "<none>";

/// Repository, tag and digest of each line that an image has.
fn names(image: &Image, filter: &Filter) -> Vec<[String; 3]> {
    let digests = &image.repo_digests;
    let digest_of = |repository: &str| {
        let digests = digests.iter().filter_map(|digest| digest.split_once('@'));
        let mut found = digests.filter(|(name, _)| *name == repository).map(|(_, digest)| digest);
        found.next_back().unwrap_or(NONE).to_owned()
    };
    if image.references.is_empty() {
        return vec![[NONE.to_owned(), NONE.to_owned(), NONE.to_owned()]];
    }
    let is_tagged = |repository: &str| {
        image
            .references
            .iter()
            .any(|name| name.tag().is_some() && name.familiar_name() == repository)
    };
    let mut lines: Vec<[String; 3]> = image
        .references
        .iter()
        .filter(|name| filter.names(name))
        // A digest beside a tag of the same repository needs no line of its own.
        .filter(|name| name.tag().is_some() || !is_tagged(&name.familiar_name()))
        .map(|name| {
            let repository = name.familiar_name();
            let digest = digest_of(&repository);
            [repository, name.tag().unwrap_or(NONE).to_owned(), digest]
        })
        .collect();
    lines.dedup();
    lines
}

fn row(layers: &layers::Store, image: &Image, name: &[String; 3]) -> Map<String, Value> {
    let size = table::size(image::unpacked_size(layers, image));
    let [repository, tag, digest] = name;
    let cells = [
        ("ID", image.id.clone()),
        ("Repository", repository.clone()),
        ("Tag", tag.clone()),
        ("Digest", digest.clone()),
        ("CreatedSince", image.created.map_or_else(|| "N/A".to_owned(), table::ago)),
        ("CreatedAt", image.created.map_or_else(|| "N/A".to_owned(), created_at)),
        ("Size", size.clone()),
        ("Containers", "N/A".to_owned()),
        ("VirtualSize", size),
        ("SharedSize", "N/A".to_owned()),
        ("UniqueSize", "N/A".to_owned()),
    ];
    cells.into_iter().map(|(field, text)| (field.to_owned(), text.into())).collect()
}

/// As Go prints times: `2023-11-14 22:13:20 +0000 UTC`.
fn created_at(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}
