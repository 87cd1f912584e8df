//! What `inspect` tells of images, containers and volumes: objects in Docker's shape, with Docker's names, so that
//! scripts that read `docker inspect` read ours.

mod container;
mod history;
mod image;
mod volume;

pub(crate) use container::configured;
pub use container::{container, sizes};
pub use history::{Step, history};
pub use image::{image, names};
pub use volume::volume;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::containers::Containers;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::format::Template;

/// A time that is not known, as Go writes it and Docker shows it.
pub(crate) const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// What can be inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A container, by name or beginning of its id.
    Container,
    /// An image, by name, id or digest.
    Image,
    /// A volume, by name.
    Volume,
}

/// Describes the object with that name; without a kind the first container, image or volume that has it. `size`: how
/// large a container's files are.
///
/// # Errors
/// If there is none, the beginning of an id is that of several, or its files are damaged.
pub fn object(engine: &Engine, kind: Option<Kind>, name: &str, size: bool) -> Result<Value> {
    match kind {
        Some(Kind::Container) => {
            return container(engine, &Containers::new(engine).find(name)?, size);
        }
        Some(Kind::Image) => return image(engine, &find_image(engine, name)?),
        Some(Kind::Volume) => return Ok(volume(&engine.volumes()?.get(name)?)),
        None => {}
    }
    let containers = Containers::new(engine);
    match containers.find(name) {
        Ok(record) => return container(engine, &record, size),
        // The beginning of several ids is a mistake, and not some other object.
        Err(error) if containers.list()?.iter().any(|record| record.id.starts_with(name)) => {
            return Err(error);
        }
        Err(_) => {}
    }
    match engine.images()?.resolve(name) {
        Ok(found) => return image(engine, &found),
        Err(images::Error::NotFound(_) | images::Error::Reference(_)) => {}
        Err(error) => return Err(error.into()),
    }
    match engine.volumes()?.get(name) {
        Ok(found) => Ok(volume(&found)),
        Err(volumes::Error::NotFound { .. }) => {
            Err(Failure::new(format!("no such object: {name}"))
                .hint("`mini-docker ps -a`, `images` and `volume ls` list what is here")
                .into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Finds an image, and says as Docker does that there is none.
fn find_image(engine: &Engine, name: &str) -> Result<images::Image> {
    engine.images()?.resolve(name).map_err(|error| match error {
        images::Error::NotFound(_) => Failure::new(format!("no such image: {name}"))
            .hint("`mini-docker images` lists what is here")
            .into(),
        other => other.into(),
    })
}

/// How `inspect` prints what it found.
#[derive(Debug)]
pub enum Format {
    /// An array, four spaces deeper at each level.
    Indented,
    /// `--format json`: an array on one line.
    Compact,
    /// `--format TEMPLATE`: a line for each object.
    Template(Template),
}

impl Format {
    /// Reads `--format`.
    ///
    /// # Errors
    /// If it is no template; exit code 64 as Docker's.
    pub fn parse(text: Option<&str>) -> Result<Self, Failure> {
        match text {
            None | Some("") => Ok(Self::Indented),
            Some("json") => Ok(Self::Compact),
            Some(text) => match Template::parse(text) {
                Ok(template) => Ok(Self::Template(template)),
                Err(failure) => Err(failure.code(64)),
            },
        }
    }

    /// Objects as text, and what could not be filled in.
    ///
    /// # Errors
    /// None in practice: JSON of JSON values.
    pub fn render(&self, objects: &[Value]) -> Result<(String, Vec<Failure>)> {
        let mut failures = Vec::new();
        let mut text = match self {
            Self::Indented => indented(objects)?,
            Self::Compact => serde_json::to_string(objects)?,
            Self::Template(template) => {
                let mut lines = Vec::new();
                for object in objects {
                    match template.render(object) {
                        Ok(line) => lines.push(line),
                        Err(failure) => failures.push(failure),
                    }
                }
                lines.join("\n")
            }
        };
        text.push('\n');
        Ok((text, failures))
    }
}

fn indented(objects: &[Value]) -> Result<String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    objects.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An object's keys in order, as Go writes maps; anything else is `null`.
fn sorted(value: Option<&Value>) -> Value {
    let Some(Value::Object(map)) = value else { return Value::Null };
    let mut entries: Vec<_> = map.clone().into_iter().collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Value::Object(entries.into_iter().collect())
}

/// Leaves out fields that Docker leaves out when they are empty.
fn without_empty(object: &mut Map<String, Value>, fields: &[&str]) {
    object.retain(|key, value| {
        let empty = match value {
            Value::Null => true,
            Value::Bool(flag) => !*flag,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Number(_) => false,
        };
        !(empty && fields.contains(&key.as_str()))
    });
}

/// The `Config` of images and containers, from an image's own JSON or what is known of a container.
fn config(from: &Value) -> Value {
    let text = |key: &str| from[key].as_str().unwrap_or_default().to_owned();
    let flag = |key: &str| from[key].as_bool().unwrap_or_default();
    let mut config = serde_json::json!({
        "Hostname": text("Hostname"),
        "Domainname": text("Domainname"),
        "User": text("User"),
        "AttachStdin": flag("AttachStdin"),
        "AttachStdout": flag("AttachStdout"),
        "AttachStderr": flag("AttachStderr"),
        "ExposedPorts": sorted(from.get("ExposedPorts")),
        "Tty": flag("Tty"),
        "OpenStdin": flag("OpenStdin"),
        "StdinOnce": flag("StdinOnce"),
        "Env": from["Env"],
        "Cmd": from["Cmd"],
        "Healthcheck": from["Healthcheck"],
        "ArgsEscaped": from["ArgsEscaped"],
        "Image": text("Image"),
        "Volumes": sorted(from.get("Volumes")),
        "WorkingDir": text("WorkingDir"),
        "Entrypoint": from["Entrypoint"],
        "NetworkDisabled": from["NetworkDisabled"],
        "MacAddress": text("MacAddress"),
        "OnBuild": from["OnBuild"],
        "Labels": sorted(from.get("Labels")),
        "StopSignal": text("StopSignal"),
        "StopTimeout": from["StopTimeout"],
        "Shell": from["Shell"],
    });
    if let Some(map) = config.as_object_mut() {
        without_empty(
            map,
            &[
                "ExposedPorts",
                "Healthcheck",
                "ArgsEscaped",
                "NetworkDisabled",
                "MacAddress",
                "StopSignal",
                "StopTimeout",
                "Shell",
            ],
        );
    }
    config
}
