//! `images --filter`.

use anyhow::{Context, Result};
use images::{Image, Reference};
use jiff::Timestamp;

use crate::cli::filter::Pair;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::{format, image};

/// What an image must be to be listed.
#[derive(Debug, Default)]
pub(super) struct Filter {
    dangling: Option<bool>,
    /// All of them.
    labels: Vec<String>,
    before: Vec<Timestamp>,
    since: Vec<Timestamp>,
    /// Any of them.
    references: Vec<String>,
}

impl Filter {
    /// Makes one of all flags; images that they name are looked up.
    ///
    /// # Errors
    /// For an unknown name or a value that makes no sense.
    pub(super) fn new(engine: &Engine, pairs: &[Pair], name: Option<&str>) -> Result<Self> {
        let mut filter = Self::default();
        for Pair { name, value } in pairs {
            let invalid = || Failure::new(format!("invalid filter '{name}={value}'"));
            match name.as_str() {
                "dangling" => {
                    filter.dangling = Some(match value.as_str() {
                        "true" | "1" => true,
                        "false" | "0" => false,
                        _ => return Err(invalid().hint("dangling takes true or false").into()),
                    });
                }
                "label" => filter.labels.push(value.clone()),
                "before" | "since" => {
                    let other = image::resolve(engine, value)?;
                    let created = other.created.unwrap_or(Timestamp::UNIX_EPOCH);
                    if name == "before" { &mut filter.before } else { &mut filter.since }
                        .push(created);
                }
                "until" => filter.before.push(moment(value).ok_or_else(|| {
                    invalid().hint("until takes a time, 2024-12-31T00:00:00Z, or an age, 24h")
                })?),
                "reference" => filter.references.push(value.clone()),
                _ => {
                    return Err(Failure::new(format!("invalid filter '{name}'"))
                        .hint("filters are before, dangling, label, reference, since, until")
                        .into());
                }
            }
        }
        filter.references.extend(name.map(str::to_owned));
        for pattern in &filter.references {
            format::matches(pattern, "").ok().with_context(|| {
                format!("invalid filter 'reference={pattern}': syntax error in pattern")
            })?;
        }
        Ok(filter)
    }

    /// Whether the image is to be listed; its names are looked at apart.
    pub(super) fn takes(&self, image: &Image) -> bool {
        let labels = image.config.config().as_ref().and_then(|config| config.labels().as_ref());
        let has = |wanted: &String| {
            let (key, value) = match wanted.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (wanted.as_str(), None),
            };
            let found = labels.and_then(|labels| labels.get(key));
            found.is_some_and(|found| value.is_none_or(|value| value == found))
        };
        let created = image.created.unwrap_or(Timestamp::UNIX_EPOCH);
        self.dangling.is_none_or(|wanted| wanted == image.references.is_empty())
            && self.labels.iter().all(has)
            && self.before.iter().all(|time| created < *time)
            && self.since.iter().all(|time| created > *time)
            && (self.references.is_empty() || image.references.iter().any(|name| self.names(name)))
    }

    /// Whether a name of an image is to be listed.
    pub(super) fn names(&self, name: &Reference) -> bool {
        self.references.is_empty() || self.references.iter().any(|pattern| named(pattern, name))
    }
}

/// As Docker's `FamiliarMatch`: the pattern is for `busybox:latest` or for `busybox`; and any spelling of the name is
/// the name.
fn named(pattern: &str, name: &Reference) -> bool {
    let fits = |text: &str| format::matches(pattern, text) == Ok(true);
    if fits(&name.familiar()) || fits(&name.familiar_name()) {
        return true;
    }
    Reference::parse(pattern).is_ok_and(|wanted| {
        let repository_only = wanted.tag() == Some("latest") && !pattern.ends_with(":latest");
        wanted.name() == name.name() && (repository_only || wanted.tag() == name.tag())
    })
}

/// A time, or an age: `2024-12-31T00:00:00Z`, `2024-12-31` (UTC), `1735603200`, `1h30m`.
fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    if let Ok(time) = text.parse::<jiff::civil::DateTime>() {
        return time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp());
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).ok();
    }
    let age: jiff::SignedDuration = text.parse().ok()?;
    Timestamp::now().checked_sub(age).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::filter::pair;

    #[test]
    fn names_are_matched_as_docker_does() {
        for (pattern, name, expected) in [
            ("busybox", "busybox:1", true),
            ("busybox:1", "busybox:1", true),
            ("busybox:1", "busybox:2", false),
            ("busybox:latest", "busybox:2", false),
            ("busy*", "busybox:1", true),
            ("*", "alice/web:1", false),
            ("*/*", "alice/web:1", true),
            ("*:1", "busybox:1", true),
            ("docker.io/library/busybox", "busybox:1", true),
            ("localhost:5000/*", "localhost:5000/web:1", true),
            ("localhost:5000/web", "localhost:5000/web:1", true),
            ("web", "alice/web:1", false),
        ] {
            let reference = Reference::parse(name).unwrap();
            assert_eq!(named(pattern, &reference), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn moments_are_times_or_ages() {
        let at = |text: &str| moment(text).map(Timestamp::as_second);
        assert_eq!(at("2024-12-31T00:00:00Z"), Some(1_735_603_200));
        assert_eq!(at("2024-12-31"), Some(1_735_603_200));
        assert_eq!(at("2024-12-31T00:00:00"), Some(1_735_603_200));
        assert_eq!(at("1735603200"), Some(1_735_603_200));
        let ago = Timestamp::now().as_second() - at("1h30m").unwrap();
        assert!((5390..=5410).contains(&ago), "{ago}");
        assert_eq!(at("yesterday"), None);
    }

    #[test]
    fn filters_are_pairs() {
        assert_eq!(pair("x").unwrap_err(), "bad format of filter (expected name=value)");
        let Pair { name, value } = pair("Label=a=b").unwrap();
        assert_eq!((name.as_str(), value.as_str()), ("label", "a=b"));
    }
}
