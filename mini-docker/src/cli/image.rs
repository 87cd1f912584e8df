//! `load`, `import`, `images`, `tag`, `rmi`, also as `image ...`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use images::Reference;

use super::table;
use crate::engine::Engine;
use crate::failure::{self, Failure, code};
use crate::image;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Load images from an archive or an OCI layout
    Load(Load),
    /// Make an image from a tar of a root file system
    Import(Import),
    /// List images
    #[command(alias = "list")]
    Ls(List),
    /// Give an image another name
    Tag(Tag),
    /// Remove images
    #[command(alias = "remove")]
    Rm(Remove),
}

impl Verb {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        match self {
            Self::Load(verb) => verb.run(engine),
            Self::Import(verb) => verb.run(engine),
            Self::Ls(verb) => verb.run(engine),
            Self::Tag(verb) => verb.run(engine),
            Self::Rm(verb) => verb.run(engine),
        }
    }
}

fn reference(text: &str) -> Result<Reference> {
    Ok(Reference::parse(text)?)
}

#[derive(Debug, Args)]
pub(super) struct Load {
    /// Archive or folder to read: docker-archive or OCI layout, plain, gzip or zstd [default: standard input]
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Name for an image that has none in the archive, or another name
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,
    /// Print nothing
    #[arg(short, long)]
    quiet: bool,
}

impl Load {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        use std::io::IsTerminal;
        let input = self.input.unwrap_or_else(|| "-".into());
        if input.as_os_str() == "-" && std::io::stdin().is_terminal() {
            return Err(Failure::new("no archive: standard input is a terminal")
                .hint("mini-docker load -i FILE, or pipe an archive in")
                .into());
        }
        let name = self.name.as_deref().map(reference).transpose()?;
        for loaded in image::load(engine, image::open_source(&input)?, name.as_ref())? {
            if let Some(warning) = &loaded.warning {
                failure::tell(&format!("mini-docker: {warning}"));
            }
            if self.quiet {
                continue;
            }
            match &loaded.reference {
                Some(name) => table::print(&format!("Loaded image: {}\n", name.familiar())),
                None => table::print(&format!("Loaded image ID: {}\n", loaded.id)),
            }
        }
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Apply a Dockerfile instruction: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Comment in the image's history
    #[arg(short, long, default_value = "", hide_default_value = true)]
    message: String,
    /// Tar of a root file system (plain, gzip or zstd), or - for standard input
    file: PathBuf,
    /// Name of the new image
    name: Option<String>,
}

impl Import {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let name = self.name.as_deref().map(reference).transpose()?;
        let tar = match image::open_source(&self.file)? {
            images::Source::Tar(tar) => tar,
            images::Source::Dir(folder) => {
                return Err(Failure::new(format!("`{}` is a folder", folder.display()))
                    .hint(format!(
                        "import takes a tar: tar -C {} -c . | mini-docker import - NAME",
                        folder.display()
                    ))
                    .into());
            }
        };
        let loaded = image::import(engine, tar, name.as_ref(), &self.change, &self.message)?;
        table::print(&format!("{}\n", loaded.id));
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(super) struct List {
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
    /// Only images of this name
    name: Option<String>,
}

impl List {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let store = engine.images()?;
        for (name, error) in store.damaged()? {
            failure::tell(&format!("mini-docker: image {name} is damaged: {error}"));
        }
        let mut all = store.list()?;
        all.sort_by_key(|image| std::cmp::Reverse(image.created));
        let wanted = self.name.as_deref().map(reference).transpose()?;
        let layers = engine.layers()?;
        let mut rows = Vec::new();
        for image in &all {
            let id = image.id.trim_start_matches("sha256:");
            let id = if self.no_trunc { image.id.clone() } else { id[..12].to_owned() };
            let created = image.created.map_or_else(|| "N/A".to_owned(), table::ago);
            let size = table::size(image::unpacked_size(&layers, image));
            let mut names: Vec<(String, String)> = image
                .references
                .iter()
                .filter(|name| {
                    wanted.as_ref().is_none_or(|wanted| {
                        let tag_given = self.name.as_deref().is_some_and(|text| text.contains(':'));
                        name.name() == wanted.name() && (!tag_given || name.tag() == wanted.tag())
                    })
                })
                .map(|name| (name.familiar_name(), name.tag().unwrap_or("<none>").to_owned()))
                .collect();
            if image.references.is_empty() && wanted.is_none() {
                names.push(("<none>".to_owned(), "<none>".to_owned()));
            }
            for (name, tag) in names {
                let mut row = vec![name, tag];
                if self.digests {
                    row.push(image.manifest_digest.clone());
                }
                row.extend([id.clone(), created.clone(), size.clone()]);
                rows.push(row);
            }
        }
        if self.quiet {
            let column = if self.digests { 3 } else { 2 };
            let mut ids: Vec<&String> = rows.iter().map(|row| &row[column]).collect();
            ids.dedup();
            table::print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>());
            return Ok(0);
        }
        let mut header = vec!["REPOSITORY", "TAG"];
        if self.digests {
            header.push("DIGEST");
        }
        header.extend(["IMAGE ID", "CREATED", "SIZE"]);
        table::print(&table::table(&header, &rows));
        Ok(0)
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
        engine.images()?.tag(&image, &reference(&self.target)?)?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Remove all names of an id, and images that exited containers were made from
    #[arg(short, long)]
    force: bool,
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
                Err(error) => worst = failure::report(&error, code::OTHER),
            }
        }
        Ok(worst)
    }
}
