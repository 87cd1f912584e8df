//! `build`, also as `image build` and `builder build`; `builder prune`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use images::{Platform, Reference};

use super::table;
use crate::build::{self, Manner, Request, Secret, prune};
use crate::container::human;
use crate::engine::Engine;
use crate::failure::{self, Failure};

#[derive(Debug, Args)]
pub(super) struct Build {
    /// Dockerfile, or - for standard input [default: Dockerfile in the context]
    #[arg(short, long, value_name = "PATH")]
    file: Option<String>,
    /// Name of the image, NAME[:TAG]; several are possible
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<String>,
    /// Value of an ARG, or that of the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Stage to build [default: the last one]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Build every step anew
    #[arg(long)]
    no_cache: bool,
    /// Pull base images, also those that are here
    #[arg(long)]
    pull: bool,
    /// Make one layer of all layers of this build
    #[arg(long)]
    squash: bool,
    /// Add a label to the image
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// A secret for RUN --mount=type=secret: id=NAME[,src=FILE|,env=VARIABLE]
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,
    /// Network of RUN: default, none, host
    #[arg(long, value_name = "MODE")]
    network: Option<String>,
    /// Add a line to /etc/hosts of RUN
    #[arg(long, value_name = "HOST:ADDRESS")]
    add_host: Vec<String>,
    /// Allow what a Dockerfile may not do by itself: security.insecure, network.host
    #[arg(long, value_name = "ENTITLEMENT")]
    allow: Vec<String>,
    /// Platform of the image: this machine's
    #[arg(long, value_name = "PLATFORM", env = "DOCKER_DEFAULT_PLATFORM", hide_env = true)]
    platform: Option<Platform>,
    /// How progress is shown: auto, plain, tty, quiet
    #[arg(long, value_name = "HOW", default_value = "auto", hide_default_value = true)]
    #[arg(hide_possible_values = true)]
    progress: Manner,
    /// Print the image's id and nothing else
    #[arg(short, long)]
    quiet: bool,
    /// Write the image's id to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Accepted for Docker's sake: intermediate containers are always removed
    #[arg(long, hide = true)]
    rm: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    force_rm: bool,
    /// Folder, archive or repository to build from, or - for standard input
    context: String,
}

impl Build {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let quiet = self.quiet || self.progress == Manner::Quiet;
        let request = self.request()?;
        if let Some(file) = &self.iidfile {
            // What it says is of this build or of none.
            crate::files::remove_file(file)?;
        }
        let id = build::build(engine, &request)?;
        if let Some(file) = &self.iidfile {
            std::fs::write(file, &id)
                .map_err(|error| Failure::new(format!("write `{}`: {error}", file.display())))?;
        }
        if quiet {
            table::print(&format!("{id}\n"));
            return Ok(0);
        }
        let short = id.trim_start_matches("sha256:").get(..12).unwrap_or_default();
        failure::tell(&format!("built image {short}"));
        for tag in &request.tags {
            failure::tell(&format!("tagged {}", tag.familiar()));
        }
        Ok(0)
    }

    fn request(&self) -> Result<Request> {
        let host = Platform::host();
        if let Some(platform) = self.platform.as_ref().filter(|wanted| !host.runs(wanted)) {
            return Err(build::other_platform(platform, &host).into());
        }
        let mut tags = Vec::new();
        for tag in &self.tag {
            tags.push(Reference::parse(tag)?);
        }
        let mut arguments = BTreeMap::new();
        for argument in &self.build_arg {
            match argument.split_once('=') {
                Some((name, value)) => drop(arguments.insert(name.to_owned(), value.to_owned())),
                // As Docker: a variable that is not there is no argument.
                None => {
                    let value = std::env::var(argument).ok();
                    arguments.extend(value.map(|value| (argument.clone(), value)));
                }
            }
        }
        let label = |text: &String| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (text.clone(), String::new()),
        };
        let known = ["security.insecure", "network.host"];
        if let Some(other) = self.allow.iter().find(|word| !known.contains(&word.as_str())) {
            return Err(Failure::new(format!("unknown entitlement: {other}"))
                .hint(format!("one of {}", known.join(", ")))
                .into());
        }
        let secrets = self.secret.iter().map(|text| secret(text)).collect::<Result<_>>()?;
        Ok(Request {
            context: self.context.clone(),
            file: self.file.clone(),
            tags,
            arguments,
            labels: self.label.iter().map(label).collect(),
            target: self.target.clone(),
            no_cache: self.no_cache,
            pull: self.pull,
            squash: self.squash,
            network: self.network.clone().filter(|network| network != "default"),
            add_hosts: self.add_host.clone(),
            secrets,
            allow_insecure: self.allow.iter().any(|word| word == "security.insecure"),
            manner: if self.quiet { Manner::Quiet } else { self.progress },
        })
    }
}

/// `id=token,src=token.txt`, `id=token,env=TOKEN`, `id=TOKEN`: then a variable of that name, or else a file.
fn secret(text: &str) -> Result<(String, Secret)> {
    let wrong = |reason: &str| {
        Failure::new(format!("--secret {text}: {reason}"))
            .hint("id=NAME,src=FILE or id=NAME,env=VARIABLE")
    };
    let (mut id, mut source, mut variable) = (None, None, None);
    for field in text.split(',') {
        let (key, value) = field.split_once('=').ok_or_else(|| wrong("a field has no value"))?;
        match key {
            "id" => id = Some(value.to_owned()),
            "src" | "source" => source = Some(PathBuf::from(value)),
            "env" => variable = Some(value.to_owned()),
            "type" if matches!(value, "file" | "env") => {}
            _ => return Err(wrong(&format!("unknown field {key}")).into()),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| wrong("it has no id"))?;
    let secret = match (source, variable) {
        (Some(path), None) => Secret::File(path),
        (None, Some(name)) => Secret::Variable(name),
        (None, None) if std::env::var_os(&id).is_some() => Secret::Variable(id.clone()),
        (None, None) => Secret::File(PathBuf::from(&id)),
        (Some(_), Some(_)) => return Err(wrong("it is a file or a variable, not both").into()),
    };
    if let Secret::File(path) = &secret
        && !path.is_file()
    {
        return Err(Failure::new(format!("secret {id}: no such file: {}", path.display())).into());
    }
    Ok((id, secret))
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Build an image from a Dockerfile
    Build(Box<Build>),
    /// Remove what earlier builds have left in the cache
    Prune(Prune),
}

impl Verb {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        match self {
            Self::Build(verb) => verb.run(engine),
            Self::Prune(verb) => verb.run(engine),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Prune {
    /// Also what images are made of, and the folders of cache mounts
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only what was not used for so long: until=24h
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
}

impl Prune {
    fn run(self, engine: &Engine) -> Result<u8> {
        let mut unused_for = std::time::Duration::ZERO;
        for filter in &self.filter {
            let value =
                filter.strip_prefix("until=").or_else(|| filter.strip_prefix("unused-for="));
            let value = value.ok_or_else(|| {
                Failure::new(format!("invalid filter '{filter}'")).hint("until=24h")
            })?;
            unused_for = crate::create::duration::parse_duration(value).map_err(Failure::new)?;
        }
        let what = if self.all { "all build cache" } else { "all dangling build cache" };
        let question =
            format!("WARNING! This will remove {what}. Are you sure you want to continue? [y/N] ");
        if !self.force && !failure::confirmed(&question)? {
            return Ok(0);
        }
        let pruned = prune::prune(engine, self.all, unused_for)?;
        let mut text = String::new();
        for entry in &pruned.entries {
            let key = entry.key.get(..12).unwrap_or_default();
            text.push_str(&format!(
                "{key}  {:<10}  {}\n",
                human(entry.size),
                line(&entry.instruction)
            ));
        }
        table::print(&format!("{text}Total:\t{}\n", human(pruned.freed)));
        Ok(0)
    }
}

/// One printable line.
fn line(text: &str) -> String {
    let text = crate::format::sanitized(text);
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
