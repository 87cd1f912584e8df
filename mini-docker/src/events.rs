//! What happens to containers, images and volumes, for `events` and for whoever looks later.
//!
//! There is no daemon to ask. Each command and each monitor writes a line of JSON into a file that all share, the journal
//! (`journal.rs`); whoever wants to know reads it, and waits for more (`watch.rs`). `filter.rs` says what is wanted.
//!
//! ```text
//! {"Type":"container","Action":"start","Actor":{"ID":"4f1c...","Attributes":{"image":"busybox","name":"web"}},
//!  "scope":"local","time":1785000000,"timeNano":1785000000123456789}
//! ```
//!
//! The words are Docker's: <https://docs.docker.com/reference/cli/docker/system/events/>. An event tells what is so
//! already; that it could not be written stops nobody.

mod filter;
mod journal;
mod watch;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::record::{HealthStatus, Record};
pub use filter::Filter;
pub use watch::{Span, watch};

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What it has happened to: `container`, `image` or `volume`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What has happened: `start`, `die`, `health_status: healthy`.
    #[serde(rename = "Action")]
    pub action: String,
    /// To which one.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`, as for everything that is not a swarm's.
    pub scope: String,
    /// When, in seconds since 1970.
    pub time: i64,
    /// When, in nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// The one that it has happened to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Id of a container, id or name of an image, name of a volume.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name, image, labels, and what belongs to the event: `exitCode`, `signal`.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// It happens now.
    fn new(kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) -> Self {
        let now = Timestamp::now();
        Self {
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor: Actor { id: id.to_owned(), attributes },
            scope: "local".to_owned(),
            time: now.as_second(),
            time_nano: i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
        }
    }

    /// When it has happened.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_nanosecond(self.time_nano.into()).unwrap_or_default()
    }

    /// As Docker prints it: `2026-01-31T12:00:00.123456789Z container start 4f1c... (image=busybox, name=web)`.
    pub fn line(&self) -> String {
        let attributes: Vec<String> =
            self.actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let attributes = match attributes.is_empty() {
            true => String::new(),
            false => format!(" ({})", attributes.join(", ")),
        };
        let Self { kind, action, actor, .. } = self;
        crate::format::sanitized(&format!(
            "{:.9} {kind} {action} {}{attributes}",
            self.at(),
            actor.id
        ))
    }

    /// As Docker's API has it. The first three are older than `Type` and `Action`, and of containers and images only.
    pub fn to_json(&self) -> Value {
        let mut object = serde_json::Map::new();
        let from = self.actor.attributes.get("image");
        if self.kind == "container" || self.kind == "image" {
            object.insert("status".into(), self.action.clone().into());
            object.insert("id".into(), self.actor.id.clone().into());
        }
        if let Some(from) = from.filter(|_| self.kind == "container") {
            object.insert("from".into(), from.clone().into());
        }
        if let Ok(Value::Object(rest)) = serde_json::to_value(self) {
            object.extend(rest);
        }
        Value::Object(object)
    }

    /// The fields that a template may name: those of Docker's Go structure.
    pub fn fields(&self) -> Value {
        json!({
            "Status": self.action,
            "ID": self.actor.id,
            "From": self.actor.attributes.get("image").filter(|_| self.kind == "container").map_or("", String::as_str),
            "Type": self.kind,
            "Action": self.action,
            "Actor": self.actor,
            "Scope": self.scope,
            "Time": self.time,
            "TimeNano": self.time_nano,
        })
    }
}

/// Tells of a container. `more` is what belongs to this action: `("signal", "15")` of `kill`, `("oldName", "/web")` of
/// `rename`, `("exitCode", "0")` of `exec_die`.
pub fn container(engine: &Engine, record: &Record, action: &str, more: &[(&str, &str)]) {
    let mut attributes = record.labels.clone();
    attributes.insert("image".to_owned(), record.image.clone().unwrap_or_default());
    attributes.insert("name".to_owned(), record.name.clone());
    attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    journal::append(engine, &Event::new("container", action, &record.id, attributes));
}

/// A container's process runs.
pub fn started(engine: &Engine, record: &Record) {
    container(engine, record, "start", &[]);
}

/// A container's process has ended.
pub fn died(engine: &Engine, record: &Record, code: i32, oom: bool) {
    if oom {
        container(engine, record, "oom", &[]);
    }
    let ran = record.started().map_or(0, |since| Timestamp::now().as_second() - since.as_second());
    let (code, ran) = (code.to_string(), ran.max(0).to_string());
    container(
        engine,
        record,
        "die",
        &[("execDuration", ran.as_str()), ("exitCode", code.as_str())],
    );
}

/// A health check has changed what is known of a container.
pub fn health(engine: &Engine, record: &Record, status: HealthStatus) {
    let status = match status {
        HealthStatus::Starting => "starting",
        HealthStatus::Healthy => "healthy",
        HealthStatus::Unhealthy => "unhealthy",
    };
    container(engine, record, &format!("health_status: {status}"), &[]);
}

/// Tells of an image: `pull`, `push`, `tag`, `untag`, `delete`, `load`, `import`, `save`. `id` is its id, or the name of
/// what was pulled or pushed, as with Docker.
pub fn image(engine: &Engine, action: &str, id: &str, name: &str) {
    let attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
    journal::append(engine, &Event::new("image", action, id, attributes));
}

/// What [`images::Store::remove`] has taken away: names first, then the image. Layers are not told of.
pub fn image_removed(engine: &Engine, id: &str, removed: &images::Removed) {
    for name in &removed.untagged {
        image(engine, "untag", id, name);
    }
    if let Some(id) = removed.deleted.first() {
        image(engine, "delete", id, id);
    }
}

/// Tells of a volume: `create`, `destroy`.
pub fn volume(engine: &Engine, action: &str, name: &str) {
    let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
    journal::append(engine, &Event::new("volume", action, name, attributes));
}

/// An event of a time long ago, for tests.
#[cfg(test)]
fn example(kind: &str, action: &str, id: &str, attributes: &[(&str, &str)]) -> Event {
    let attributes =
        attributes.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let mut event = Event::new(kind, action, id, attributes);
    (event.time, event.time_nano) = (1_785_000_000, 1_785_000_000_012_345_678);
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_that_cannot_move_the_cursor() {
        let event =
            example("container", "start", "4f1c", &[("name", "web\x1b[2J"), ("image", "busybox")]);
        let line = r"2026-07-25T17:20:00.012345678Z container start 4f1c (image=busybox, name=web\u{1b}[2J)";
        assert_eq!(event.line(), line);
        let bare = example("volume", "create", "data", &[]);
        assert_eq!(bare.line(), "2026-07-25T17:20:00.012345678Z volume create data");
    }

    #[test]
    fn json_has_dockers_old_words_where_docker_has_them() {
        let keys = |event: &Event| -> Vec<String> {
            event.to_json().as_object().unwrap().keys().cloned().collect()
        };
        let rest = ["Type", "Action", "Actor", "scope", "time", "timeNano"];
        let container = example("container", "die", "4f1c", &[("image", "busybox")]);
        assert_eq!(keys(&container), [&["status", "id", "from"], &rest[..]].concat());
        assert_eq!(
            keys(&example("image", "tag", "sha256:1", &[])),
            [&["status", "id"], &rest[..]].concat()
        );
        assert_eq!(keys(&example("volume", "create", "data", &[])), rest);
        let again: Event = serde_json::from_value(container.to_json()).unwrap();
        assert_eq!(again, container);
    }
}
