//! `load`, `import`, `save`, `export`, `commit`: images and containers as archives, also as `image ...` and
//! `container ...`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgAction, Args};
use images::Reference;

use super::table;
use crate::commit::{self, Request};
use crate::create::options::parse_bool;
use crate::engine::Engine;
use crate::events;
use crate::export;
use crate::failure::{self, Failure};
use crate::image;
use crate::output::Output;

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
    /// Accepted for Docker's sake: the names of the images are all that is printed
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
        let text = self.file.to_string_lossy().into_owned();
        if text.starts_with("http://") || text.starts_with("https://") {
            return Err(Failure::new("import does not fetch from URLs")
                .hint(format!("curl -L {text} | mini-docker import - NAME"))
                .into());
        }
        let message = match self.message.is_empty() {
            true => "Imported from -".to_owned(),
            false => self.message.clone(),
        };
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
        let loaded = image::import(engine, tar, name.as_ref(), &self.change, &message)?;
        table::print(&format!("{}\n", loaded.id));
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(super) struct Save {
    /// File to write, with mode 0600 [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Names or ids; a name without a tag is all its tags
    #[arg(required = true)]
    images: Vec<String>,
}

impl Save {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let images = image::select(engine, &self.images)?;
        let store = engine.images()?;
        let code = write(self.output, "save", |out| Ok(store.save(&images, out)?))?;
        for image in self.images.iter().filter_map(|name| store.resolve(name).ok()) {
            events::image(engine, "save", &image.id, &image.id);
        }
        Ok(code)
    }
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// File to write, with mode 0600 [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name or id
    container: String,
}

impl Export {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        write(self.output, "export", |out| export::export(engine, &self.container, out))
    }
}

/// Writes an archive to its place, and finds the words if that fails.
fn write(
    path: Option<PathBuf>,
    verb: &str,
    archive: impl FnOnce(&mut Output) -> Result<()>,
) -> Result<u8> {
    let mut output = Output::open(path.as_deref(), verb)?;
    match archive(&mut output) {
        Ok(()) => output.finish().map(|()| 0),
        Err(error) => output.failed(error),
    }
}

#[derive(Debug, Args)]
pub(super) struct Commit {
    /// Author of the image
    #[arg(short, long, default_value = "", hide_default_value = true)]
    author: String,
    /// Apply a Dockerfile instruction: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Comment in the image's history
    #[arg(short, long, default_value = "", hide_default_value = true)]
    message: String,
    /// Let the container stand still while its files are read [default: true]
    #[arg(short, long, num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(default_value = "true", default_missing_value = "true", hide_default_value = true)]
    #[arg(value_parser = parse_bool, value_name = "BOOL")]
    pause: bool,
    /// Name or id
    container: String,
    /// Name of the new image
    name: Option<String>,
}

impl Commit {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let request = Request {
            reference: self.name.as_deref().map(reference).transpose()?,
            container: self.container,
            author: self.author,
            message: self.message,
            changes: self.change,
            pause: self.pause,
        };
        let id = commit::commit(engine, &request)?;
        table::print(&format!("{id}\n"));
        Ok(0)
    }
}
