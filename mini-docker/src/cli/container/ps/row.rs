//! A line of `ps`: every field that a template can name.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::ports::{self, Port};
use super::status::status;
use crate::cli::table;
use crate::engine::Engine;
use crate::format::sanitized;
use crate::inspect::{configured, sizes};
use crate::record::{MountRecord, Record};
use crate::state::Looker;

/// Longest command and longest name of a mount without `--no-trunc`.
const COMMAND: usize = 20;
const MOUNT: usize = 15;

/// Makes rows.
pub(in crate::cli) struct Rows<'a> {
    engine: &'a Engine,
    looker: &'a Looker<'a>,
    no_trunc: bool,
    sizes: bool,
    /// The id that an image's name stands for now.
    images: BTreeMap<String, Option<String>>,
}

impl<'a> Rows<'a> {
    pub(in crate::cli) fn new(
        engine: &'a Engine,
        looker: &'a Looker<'a>,
        no_trunc: bool,
        sizes: bool,
    ) -> Self {
        Self { engine, looker, no_trunc, sizes, images: BTreeMap::new() }
    }

    pub(in crate::cli) fn row(&mut self, record: &Record) -> Map<String, Value> {
        let state = self.looker.state(record);
        let ports = all_ports(self.engine, record);
        let labels: Vec<String> =
            record.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mounts: Vec<String> =
            record.mounts.iter().filter_map(|mount| mount_name(mount, self.no_trunc)).collect();
        let volumes = record.mounts.iter().filter(|mount| mount.volume.is_some()).count();
        let cells = [
            ("ID", record.id.clone()),
            ("Names", record.name.clone()),
            ("Image", self.image(record)),
            ("Command", command(&record.command, self.no_trunc)),
            ("CreatedAt", record.created.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()),
            ("RunningFor", table::ago(record.created)),
            ("Ports", ports::shown(&ports)),
            ("State", state.name().to_owned()),
            ("Status", status(record, state, Timestamp::now())),
            ("Size", self.size(record)),
            ("Labels", labels.join(",")),
            ("Mounts", mounts.join(",")),
            ("LocalVolumes", volumes.to_string()),
            ("Networks", network(record).unwrap_or_default().to_owned()),
        ];
        cells.into_iter().map(|(field, text)| (field.to_owned(), json!(sanitized(&text)))).collect()
    }

    /// The name that the user gave, as long as it stands for the same image; then the id.
    fn image(&mut self, record: &Record) -> String {
        let (Some(name), Some(id)) = (&record.image, &record.image_id) else {
            return "<rootfs>".to_owned();
        };
        let now = self.images.entry(name.clone()).or_insert_with(|| {
            let image = self.engine.images().ok()?.resolve(name).ok()?;
            Some(image.id)
        });
        match now {
            Some(now) if now == id && self.no_trunc => name.clone(),
            Some(now) if now == id => {
                name.split_once("@sha256:").map_or(name.as_str(), |(name, _)| name).to_owned()
            }
            _ if self.no_trunc => id.clone(),
            _ => {
                let digits = id.strip_prefix("sha256:").unwrap_or(id);
                digits.get(..12).unwrap_or(digits).to_owned()
            }
        }
    }

    fn size(&self, record: &Record) -> String {
        if !self.sizes {
            return table::size(0);
        }
        let (own, all) = sizes(self.engine, record);
        format!("{} (virtual {})", table::size(own), table::size(all))
    }
}

/// The network that it is on; none of its own with `--network container:`.
pub(super) fn network(record: &Record) -> Option<&str> {
    let mode = record.network.mode.as_str();
    (!mode.is_empty() && !mode.starts_with("container:")).then_some(mode)
}

/// The ports of a running container: those that are published, and of the others those that are exposed.
pub(super) fn all_ports(engine: &Engine, record: &Record) -> Vec<Port> {
    if record.pid().is_none() || record.network.mode != "bridge" {
        return Vec::new();
    }
    let mut ports: Vec<Port> =
        record.network.ports.iter().filter_map(|text| Port::parse(text)).collect();
    let config = configured(engine, record);
    let exposed = config.get("ExposedPorts").and_then(Value::as_object);
    for port in exposed.into_iter().flatten().filter_map(|(text, _)| Port::parse(text)) {
        let is_published =
            |other: &Port| (other.inside, &other.protocol) == (port.inside, &port.protocol);
        if !ports.iter().any(is_published) {
            ports.push(port);
        }
    }
    ports
}

/// Volume or folder of a mount. A tmpfs has none, and Docker does not list it either.
fn mount_name(mount: &MountRecord, whole: bool) -> Option<String> {
    let source = || mount.source.as_ref().map(|source| source.to_string_lossy().into_owned());
    let name = mount.volume.clone().or_else(source)?;
    Some(if whole { name } else { shortened(&name, MOUNT) })
}

/// At most so many characters, the last of them `…` if some are missing.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// As Docker's: arguments with blanks in quotes, cut, and all of it as Go writes a string.
fn command(words: &[String], whole: bool) -> String {
    let words = words.iter().enumerate().map(|(index, word)| {
        if index > 0 && word.contains(' ') { format!("'{word}'") } else { word.clone() }
    });
    let text = words.collect::<Vec<_>>().join(" ");
    quoted(&if whole { text } else { shortened(&text, COMMAND) })
}

/// Go's `strconv.Quote`: one line, whatever is in it.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        let hidden = c.is_control() || (sanitized(c.encode_utf8(&mut [0; 4])).len() > c.len_utf8());
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c.is_ascii_control() => {
                write!(out, "\\x{:02x}", u32::from(c)).ok();
            }
            c if hidden => {
                write!(out, "\\u{:04x}", u32::from(c)).ok();
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_quoted_and_cut() {
        for (words, whole, expected) in [
            (&["sh"][..], false, r#""sh""#),
            (&["sh", "-c", "sleep 5"], false, r#""sh -c 'sleep 5'""#),
            (&["twenty characters ab"], false, r#""twenty characters ab""#),
            (&["twenty characters abc"], false, r#""twenty characters a…""#),
            (&["twenty characters abc"], true, r#""twenty characters abc""#),
            (&["echo", "a\nb\t\"\\"], false, r#""echo a\nb\t\"\\""#),
            (&["\u{1b}[31m", "ä"], false, r#""\x1b[31m ä""#),
            (&["a\u{202e}b\u{85}"], false, r#""a\u202eb\u0085""#),
            (&[], false, r#""""#),
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(command(&words, whole), expected);
        }
    }

    #[test]
    fn mounts_have_short_names() {
        let mount = |value: Value| -> MountRecord {
            let mut all = json!({
                "kind": "volume", "volume": null, "source": null, "target": "/t", "read_only": false,
                "anonymous": false, "copy": false,
            });
            all.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            serde_json::from_value(all).unwrap()
        };
        for (value, whole, expected) in [
            (json!({ "volume": "data" }), false, Some("data")),
            (json!({ "volume": "0123456789abcdef" }), false, Some("0123456789abcd…")),
            (json!({ "volume": "0123456789abcdef" }), true, Some("0123456789abcdef")),
            (json!({ "kind": "bind", "source": "/srv" }), false, Some("/srv")),
            (json!({ "kind": "tmpfs" }), false, None),
        ] {
            assert_eq!(mount_name(&mount(value.clone()), whole).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_shared_network_is_no_network() {
        use super::super::status::tests::record;
        let of = |mode: &str| {
            record(json!({ "network": {
                "mode": mode, "publish": [], "ip": null, "mac": null, "dns": [], "dns_search": [],
                "dns_options": [], "extra_hosts": [],
            } }))
        };
        assert_eq!(network(&of("none")), Some("none"));
        assert_eq!(network(&of("container:x")), None);
    }
}
