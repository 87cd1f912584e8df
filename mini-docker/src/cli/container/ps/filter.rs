//! `ps --filter`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use anyhow::Result;
use regex_lite::Regex;

use super::ports::Port;
use super::row::{all_ports, network};
use crate::cli::filter::Pair;
use crate::containers::Containers;
use crate::create::options::parse_bool;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::record::{Record, Status};
use crate::state::{Looker, health, health_name};

const NAMES: &str = "ancestor, before, exited, expose, health, id, is-task, label, name, network, \
                     publish, since, status, volume";
const STATES: [&str; 7] =
    ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
const HEALTH: [&str; 4] = ["starting", "healthy", "unhealthy", "none"];

/// What a container must be to be listed. Of several values for one name any will do, except of labels.
pub(super) struct Filter<'a> {
    engine: &'a Engine,
    /// Patterns that may stand anywhere in the text.
    names: Vec<Regex>,
    ids: Vec<Regex>,
    labels: Vec<String>,
    exited: Vec<i32>,
    states: Vec<String>,
    health: Vec<String>,
    volumes: Vec<String>,
    networks: Vec<String>,
    /// Id and layers of each image that was named.
    ancestors: Option<Vec<(String, Vec<String>)>>,
    published: Vec<Ports>,
    exposed: Vec<Ports>,
    is_task: Option<bool>,
    /// Positions in the list of all containers, newest first.
    positions: BTreeMap<String, usize>,
    /// Older than these.
    before: Vec<usize>,
    /// Newer than these.
    since: Vec<usize>,
}

/// `80`, `80/udp`, `8000-8080/tcp`.
#[derive(Debug, PartialEq, Eq)]
struct Ports {
    range: RangeInclusive<u16>,
    protocol: String,
}

impl Ports {
    fn parse(text: &str) -> Option<Self> {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let range: RangeInclusive<u16> = first.parse().ok()?..=last.parse().ok()?;
        let known = matches!(protocol, "tcp" | "udp" | "sctp") && !range.is_empty();
        known.then(|| Self { range, protocol: protocol.to_owned() })
    }

    fn has(&self, port: u16, protocol: &str) -> bool {
        self.range.contains(&port) && self.protocol == protocol
    }
}

impl<'a> Filter<'a> {
    /// Makes one of all flags; containers and images that they name are looked up.
    ///
    /// # Errors
    /// For an unknown name or a value that makes no sense.
    pub(super) fn new(engine: &'a Engine, pairs: &[Pair], all: &[Record]) -> Result<Self> {
        let mut filter = Self {
            engine,
            names: Vec::new(),
            ids: Vec::new(),
            labels: Vec::new(),
            exited: Vec::new(),
            states: Vec::new(),
            health: Vec::new(),
            volumes: Vec::new(),
            networks: Vec::new(),
            ancestors: None,
            published: Vec::new(),
            exposed: Vec::new(),
            is_task: None,
            positions: BTreeMap::new(),
            before: Vec::new(),
            since: Vec::new(),
        };
        filter.positions =
            all.iter().enumerate().map(|(index, record)| (record.id.clone(), index)).collect();
        for pair in pairs {
            filter.add(pair)?;
        }
        Ok(filter)
    }

    fn add(&mut self, Pair { name, value }: &Pair) -> Result<()> {
        let wrong = |hint: &str| {
            Failure::new(format!("invalid filter '{name}={value}'")).hint(hint.to_owned())
        };
        let pattern =
            || Regex::new(value).map_err(|_| wrong("it is a regular expression: ^web, web-[0-9]+"));
        let ports = || {
            Ports::parse(value).ok_or_else(|| wrong("a port or a range: 80, 53/udp, 8000-8080/tcp"))
        };
        let one_of = |known: &[&str]| match known.contains(&value.as_str()) {
            true => Ok(value.clone()),
            false => Err(wrong(&format!("one of {}", known.join(", ")))),
        };
        match name.as_str() {
            "name" => self.names.push(pattern()?),
            "id" => self.ids.push(pattern()?),
            "label" => self.labels.push(value.clone()),
            "exited" => {
                let code = value.parse().map_err(|_| wrong("exited takes an exit code"))?;
                self.exited.push(code);
            }
            "status" => self.states.push(one_of(&STATES)?),
            "health" => self.health.push(one_of(&HEALTH)?),
            "volume" => self.volumes.push(value.clone()),
            "network" => self.networks.push(value.clone()),
            "ancestor" => {
                // What is not here nobody was made from.
                let image = self.engine.images()?.resolve(value).ok();
                let named = image.map(|image| (image.id.clone(), crate::create::diff_ids(&image)));
                self.ancestors.get_or_insert_default().extend(named);
            }
            "publish" => self.published.push(ports()?),
            "expose" => self.exposed.push(ports()?),
            "is-task" => {
                let flag = parse_bool(value).map_err(|_| wrong("is-task takes true or false"))?;
                self.is_task = Some(flag);
            }
            "before" | "since" => {
                let other = Containers::new(self.engine).find(value)?;
                // Made or removed in this moment: all others are older.
                let position = self.positions.get(&other.id).copied().unwrap_or_default();
                if name == "before" { &mut self.before } else { &mut self.since }.push(position);
            }
            _ => {
                return Err(Failure::new(format!("invalid filter '{name}'"))
                    .hint(format!("filters are {NAMES}"))
                    .into());
            }
        }
        Ok(())
    }

    /// Whether it says itself in which states containers are listed.
    pub(super) fn is_about_state(&self) -> bool {
        !self.states.is_empty()
    }

    /// Whether the container is to be listed.
    pub(super) fn takes(&self, looker: &Looker<'_>, record: &Record) -> bool {
        let any = |values: &[String], is: &dyn Fn(&str) -> bool| {
            values.is_empty() || values.iter().any(|value| is(value))
        };
        let finds = |patterns: &[Regex], texts: &[&str]| {
            patterns.is_empty()
                || patterns.iter().any(|one| texts.iter().any(|text| one.is_match(text)))
        };
        let position = self.positions.get(&record.id).copied().unwrap_or_default();
        // Docker's names begin with a slash, and people write patterns for both.
        finds(&self.names, &[&record.name, &format!("/{}", record.name)])
            && finds(&self.ids, &[&record.id])
            && self.labels.iter().all(|label| has_label(record, label))
            && (self.exited.is_empty() || exit_code(record).is_some_and(|code| self.exited.contains(&code)))
            && self.before.iter().all(|other| position > *other)
            && self.since.iter().all(|other| position < *other)
            && any(&self.health, &|value| value == health(record).map_or("none", health_name))
            && any(&self.volumes, &|value| uses(record, value))
            && any(&self.networks, &|value| network(record) == Some(value))
            && self.is_task != Some(true)
            && self.ancestors.as_ref().is_none_or(|images| descends(record, images))
            && self.takes_ports(record)
            // Last, since the kernel is asked.
            && any(&self.states, &|value| looker.state(record).name() == value)
    }

    /// Published or exposed: one of all of them.
    fn takes_ports(&self, record: &Record) -> bool {
        if self.published.is_empty() && self.exposed.is_empty() {
            return true;
        }
        all_ports(self.engine, record).iter().any(|port| self.takes_port(port))
    }

    fn takes_port(&self, Port { inside, host, protocol }: &Port) -> bool {
        let public = host.as_ref().map(|(_, port)| *port);
        self.exposed.iter().any(|ports| ports.has(*inside, protocol))
            || public
                .is_some_and(|port| self.published.iter().any(|ports| ports.has(port, protocol)))
    }
}

fn exit_code(record: &Record) -> Option<i32> {
    match record.status {
        Status::Exited { code, .. } => Some(code),
        _ => None,
    }
}

/// `KEY` or `KEY=VALUE`.
fn has_label(record: &Record, label: &str) -> bool {
    match label.split_once('=') {
        Some((key, value)) => record.labels.get(key).is_some_and(|found| found == value),
        None => record.labels.contains_key(label),
    }
}

/// A volume's name, a folder of the host, or a place in the container.
fn uses(record: &Record, wanted: &str) -> bool {
    record.mounts.iter().any(|mount| {
        let paths = [mount.source.as_deref(), Some(mount.target.as_path())];
        mount.volume.as_deref() == Some(wanted)
            || paths.into_iter().flatten().any(|path| path.as_os_str() == wanted)
    })
}

/// Made from one of the images, or from an image that was made from one: its layers begin with theirs.
fn descends(record: &Record, images: &[(String, Vec<String>)]) -> bool {
    images.iter().any(|(id, layers)| {
        record.image_id.as_deref() == Some(id)
            || (!layers.is_empty() && record.layers.starts_with(layers))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::status::tests::record;
    use super::*;

    #[test]
    fn ports_are_numbers_or_ranges() {
        for (text, port, protocol, expected) in [
            ("80", 80, "tcp", true),
            ("80", 80, "udp", false),
            ("53/udp", 53, "udp", true),
            ("8000-8080/tcp", 8080, "tcp", true),
            ("8000-8080", 8081, "tcp", false),
        ] {
            assert_eq!(Ports::parse(text).unwrap().has(port, protocol), expected, "{text}");
        }
        for wrong in ["", "x", "80/ftp", "90-80", "70000", "80-"] {
            assert_eq!(Ports::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn labels_volumes_and_ancestors() {
        let one = record(json!({
            "labels": { "a": "1", "b": "" },
            "image_id": "sha256:own",
            "layers": ["one", "two"],
            "mounts": [
                {
                    "kind": "volume", "volume": "data", "source": null, "target": "/data",
                    "read_only": false, "anonymous": false, "copy": true,
                },
                {
                    "kind": "bind", "volume": null, "source": "/srv", "target": "/in",
                    "read_only": false, "anonymous": false, "copy": false,
                },
            ],
        }));
        for (label, expected) in
            [("a", true), ("a=1", true), ("a=2", false), ("b", true), ("b=", true), ("c", false)]
        {
            assert_eq!(has_label(&one, label), expected, "{label}");
        }
        for (volume, expected) in
            [("data", true), ("/data", true), ("/srv", true), ("/in", true), ("dat", false)]
        {
            assert_eq!(uses(&one, volume), expected, "{volume}");
        }
        for (id, layers, expected) in [
            ("sha256:own", &["else"][..], true),
            ("sha256:base", &["one"], true),
            ("sha256:base", &["two"], false),
            ("sha256:base", &["one", "two", "three"], false),
            // An image without layers is nobody's ancestor.
            ("sha256:empty", &[], false),
        ] {
            let layers = layers.iter().map(|layer| (*layer).to_owned()).collect();
            assert_eq!(descends(&one, &[(id.to_owned(), layers)]), expected, "{id}");
        }
    }

    #[test]
    fn an_exit_code_is_of_what_has_ended() {
        let ended = |state: &str| {
            record(json!({ "status": {
                "state": state, "code": 3, "oom": false, "finished": "2026-01-01T00:00:00Z",
            } }))
        };
        assert_eq!(exit_code(&ended("exited")), Some(3));
        assert_eq!(exit_code(&ended("restarting")), None);
        assert_eq!(exit_code(&record(json!({}))), None);
    }
}
