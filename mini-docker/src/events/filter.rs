//! `events --filter`: which events are wanted.

use super::Event;
use crate::failure::Failure;

/// Conditions of different kinds must all be so; of several of one kind one is enough, but for labels, which must all be
/// there. Docker's rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    conditions: Vec<(Key, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Container,
    Event,
    Image,
    Label,
    Network,
    Scope,
    Type,
    Volume,
}

const KEYS: [(&str, Key); 8] = [
    ("container", Key::Container),
    ("event", Key::Event),
    ("image", Key::Image),
    ("label", Key::Label),
    ("network", Key::Network),
    ("scope", Key::Scope),
    ("type", Key::Type),
    ("volume", Key::Volume),
];

impl Filter {
    /// Reads `--filter`: `container=NAME`, `event=start`, `image=NAME`, `label=KEY[=VALUE]`, `network=NAME`,
    /// `scope=local`, `type=container`, `volume=NAME`.
    ///
    /// # Errors
    /// A failure with a hint for anything else.
    pub fn parse(texts: &[String]) -> Result<Self, Failure> {
        let mut conditions = Vec::new();
        for text in texts {
            let known = text.split_once('=').and_then(|(name, value)| {
                let name = name.trim().to_ascii_lowercase();
                let (_, key) = KEYS.iter().find(|(known, _)| *known == name)?;
                Some((*key, value.trim().to_owned()))
            });
            conditions.push(known.ok_or_else(|| {
                let names: Vec<String> = KEYS.iter().map(|(name, _)| format!("{name}=")).collect();
                Failure::new(format!("invalid filter `{text}`"))
                    .hint(format!("one of {}", names.join(", ")))
            })?);
        }
        Ok(Self { conditions })
    }

    /// Whether an event is wanted.
    pub fn fits(&self, event: &Event) -> bool {
        KEYS.iter().all(|(_, key)| {
            let mut wanted = self
                .conditions
                .iter()
                .filter(|(own, _)| own == key)
                .map(|(_, value)| value)
                .peekable();
            match key {
                _ if wanted.peek().is_none() => true,
                Key::Label => wanted.all(|label| has_label(event, label)),
                _ => wanted.any(|value| is_so(*key, value, event)),
            }
        })
    }
}

fn has_label(event: &Event, label: &str) -> bool {
    let attributes = &event.actor.attributes;
    match label.split_once('=') {
        Some((key, value)) => attributes.get(key).is_some_and(|own| own == value),
        None => attributes.contains_key(label),
    }
}

fn is_so(key: Key, value: &str, event: &Event) -> bool {
    let attribute = |key: &str| event.actor.attributes.get(key).map(String::as_str);
    // A name, or the beginning of an id or name.
    let named = |kind: &str| {
        event.kind == kind
            && (event.actor.id.starts_with(value)
                || attribute("name").is_some_and(|name| name.starts_with(value)))
    };
    match key {
        Key::Container => named("container"),
        Key::Network => named("network"),
        Key::Volume => named("volume"),
        Key::Type => event.kind == value,
        Key::Scope => event.scope == value,
        // `health_status: healthy` is a `health_status` too, and so is `exec_start: sh` an `exec_start`.
        Key::Event => {
            event.action == value
                || event.action.split_once(':').is_some_and(|(action, _)| action == value)
        }
        Key::Image => {
            let image =
                if event.kind == "container" { attribute("image") } else { attribute("name") };
            let own_id = Some(event.actor.id.as_str()).filter(|_| event.kind == "image");
            [own_id, image]
                .into_iter()
                .flatten()
                .any(|name| name == value || untagged(name) == value)
        }
        Key::Label => false,
    }
}

/// A name without its tag: `host:5000/busybox` of `host:5000/busybox:1.36`.
fn untagged(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn kinds_are_all_needed_and_one_of_each_is_enough() {
        let start = example(
            "container",
            "start",
            "4f1c22",
            &[("image", "host:5000/busybox:1"), ("name", "web"), ("tier", "front")],
        );
        let health = example("container", "health_status: healthy", "4f1c22", &[("name", "web")]);
        let tag = example("image", "tag", "sha256:ab", &[("name", "busybox:1")]);
        for (filters, wanted) in [
            (&[][..], [true, true, true]),
            (&["container=web"], [true, true, false]),
            (&["container=4f1c"], [true, true, false]),
            (&["container=f1c"], [false, false, false]),
            (&["event=start"], [true, false, false]),
            (&["event=health_status"], [false, true, false]),
            (&["event=health_status: healthy"], [false, true, false]),
            (&["event=start", "event=tag"], [true, false, true]),
            (&["event=start", "type=image"], [false, false, false]),
            (&["image=host:5000/busybox"], [true, false, false]),
            (&["image=host:5000/busybox:1"], [true, false, false]),
            (&["image=busybox"], [false, false, true]),
            (&["image=sha256:ab"], [false, false, true]),
            (&["label=tier"], [true, false, false]),
            (&["label=tier=front", "label=name=web"], [true, false, false]),
            (&["label=tier=back"], [false, false, false]),
            (&["label=tier", "label=other"], [false, false, false]),
            (&["scope=local"], [true, true, true]),
            (&["Type=image"], [false, false, true]),
        ] {
            let texts: Vec<String> = filters.iter().map(|text| (*text).to_owned()).collect();
            let filter = Filter::parse(&texts).unwrap();
            assert_eq!(
                [&start, &health, &tag].map(|event| filter.fits(event)),
                wanted,
                "{filters:?}"
            );
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in ["", "start", "colour=red", "=x"] {
            let failure = Filter::parse(&[text.to_owned()]).unwrap_err();
            assert!(failure.hint.unwrap().starts_with("one of container=, event="), "{text}");
        }
    }
}
