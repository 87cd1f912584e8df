//! `volume ls --filter`.

use anyhow::Result;
use regex_lite::Regex;
use volumes::Volume;

use crate::cli::filter::Pair;
use crate::create::options::parse_bool;
use crate::create::volume_users;
use crate::engine::Engine;
use crate::failure::Failure;

/// What a volume must be to be listed. Of several values for one name any will do, except of labels.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Patterns that may stand anywhere in the name.
    names: Vec<Regex>,
    drivers: Vec<String>,
    labels: Vec<String>,
    /// Whether no container may have it, or one must.
    dangling: Option<bool>,
}

impl Filter {
    /// Makes one of all flags.
    ///
    /// # Errors
    /// For an unknown name or a value that makes no sense.
    pub(super) fn new(pairs: &[Pair]) -> Result<Self> {
        let mut filter = Self::default();
        for Pair { name, value } in pairs {
            let wrong =
                |hint: &str| Failure::new(format!("invalid filter '{name}={value}'")).hint(hint);
            match name.as_str() {
                "name" => {
                    let pattern = Regex::new(value);
                    filter.names.push(pattern.map_err(|_| wrong("it is a regular expression"))?);
                }
                "driver" => filter.drivers.push(value.clone()),
                "label" => filter.labels.push(value.clone()),
                "dangling" => {
                    let flag = parse_bool(value);
                    filter.dangling =
                        Some(flag.map_err(|_| wrong("dangling takes true or false"))?);
                }
                _ => {
                    return Err(Failure::new(format!("invalid filter '{name}'"))
                        .hint("filters are dangling, driver, label, name")
                        .into());
                }
            }
        }
        Ok(filter)
    }

    /// Whether the volume is to be listed.
    pub(super) fn takes(&self, engine: &Engine, volume: &Volume) -> bool {
        let has_label = |label: &String| match label.split_once('=') {
            Some((key, value)) => volume.labels.get(key).is_some_and(|found| found == value),
            None => volume.labels.contains_key(label),
        };
        (self.names.is_empty() || self.names.iter().any(|name| name.is_match(&volume.name)))
            && (self.drivers.is_empty() || self.drivers.iter().any(|driver| driver == "local"))
            && self.labels.iter().all(has_label)
            && self
                .dangling
                .is_none_or(|dangling| volume_users(engine, &volume.name).is_empty() == dangling)
    }
}
