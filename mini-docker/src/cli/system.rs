//! `info`, `version`, `system ...`.

mod boot;
mod df;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{events, prune, table};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::format::Template;
use crate::info;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show what takes which part of the disk
    Df(df::Df),
    /// Show what happens to containers, images and volumes, while it happens
    Events(events::Events),
    /// Show what this machine can do and what is stored
    Info(Info),
    /// Remove what nobody needs: stopped containers, unused networks, images without a name
    Prune(prune::System),
    /// Start the containers that their restart policy wants to run, after a boot
    RestartAll(boot::RestartAll),
    /// Stop all containers so that restart-all brings them back, before a shutdown
    StopAll(boot::StopAll),
}

impl Verb {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        match self {
            Self::Df(verb) => verb.run(engine),
            Self::Events(verb) => verb.run(engine),
            Self::Info(verb) => verb.run(engine),
            Self::Prune(verb) => verb.run(engine),
            Self::RestartAll(verb) => verb.run(engine),
            Self::StopAll(verb) => verb.run(engine),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Info {
    /// Print a template, or `json`
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl Info {
    pub(super) fn run(self, engine: &Engine) -> Result<u8> {
        let format = Format::parse(self.format.as_deref())?;
        let info = info::collect(engine)?;
        let text = match format.render(&Value::Object(info.fields.clone()))? {
            Some(text) => text,
            None => info::render(&info),
        };
        table::print(&text);
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(super) struct Version {
    /// Print a template, or `json`
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl Version {
    pub(super) fn run(self) -> Result<u8> {
        let version = version();
        let text = match Format::parse(self.format.as_deref())?.render(&version)? {
            Some(text) => text,
            None => Template::parse(VERSION)?.render(&version)?,
        };
        table::print(&text);
        Ok(0)
    }
}

/// What `version` prints: the client and the engine are one program.
const VERSION: &str = "mini-docker {{.Client.Version}}

Client:
 Version:           {{.Client.Version}}
 OS/Arch:           {{.Client.Os}}/{{.Client.Arch}}
 Context:           {{.Client.Context}}

Server: {{.Server.Platform.Name}}
 Engine:
  Version:          {{.Server.Version}}
  OS/Arch:          {{.Server.Os}}/{{.Server.Arch}}
  Kernel Version:   {{.Server.KernelVersion}}
";

fn version() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let platform = images::Platform::host().to_string();
    let mut parts = platform.split('/');
    let (os, arch) = (parts.next().unwrap_or("linux"), parts.next().unwrap_or_default());
    let kernel = nix::sys::utsname::uname();
    let kernel =
        kernel.map(|kernel| kernel.release().to_string_lossy().into_owned()).unwrap_or_default();
    json!({
        "Client": {
            "Platform": { "Name": "mini-docker" },
            "Version": version,
            "Os": os,
            "Arch": arch,
            "Context": "default",
        },
        "Server": {
            "Platform": { "Name": "the same program, without a daemon" },
            "Components": [{ "Name": "Engine", "Version": version }],
            "Version": version,
            "Os": os,
            "Arch": arch,
            "KernelVersion": kernel,
        },
    })
}

/// `--format` of something that is one object.
enum Format {
    Usual,
    Json,
    Template(Template),
}

impl Format {
    fn parse(text: Option<&str>) -> Result<Self, Failure> {
        Ok(match text {
            None | Some("") => Self::Usual,
            Some("json") => Self::Json,
            // Docker's code for a wrong template.
            Some(text) => {
                Self::Template(Template::parse(text).map_err(|failure| failure.code(64))?)
            }
        })
    }

    /// None: in the usual words.
    fn render(&self, object: &Value) -> Result<Option<String>, Failure> {
        Ok(match self {
            Self::Usual => None,
            Self::Json => Some(format!("{object}\n")),
            Self::Template(template) => Some(template.render(object)? + "\n"),
        })
    }
}
