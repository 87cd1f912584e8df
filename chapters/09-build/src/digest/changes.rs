//! What is different between two contents, in words: why a step was not taken from the cache.

use std::fmt;

use super::Content;

/// Names that are told; of more there is only the number.
const TOLD: usize = 3;

/// The differences between what was copied last time and what would be copied now. Names are
/// printable, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Entries with another content, mode, owner or kind.
    pub changed: Vec<String>,
    /// New entries.
    pub added: Vec<String>,
    /// Entries that are gone.
    pub removed: Vec<String>,
}

impl Changes {
    /// Compares.
    pub fn between(old: &Content, new: &Content) -> Self {
        let mut changes = Self::default();
        for (name, digest) in &new.entries {
            match old.entries.get(name) {
                None => changes.added.push(name.clone()),
                Some(before) if before != digest => changes.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        let gone = old.entries.keys().filter(|name| !new.entries.contains_key(*name));
        changes.removed = gone.cloned().collect();
        changes
    }

    /// Whether every entry is what it was.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.added.is_empty() && self.removed.is_empty()
    }
}

/// `src/main.c changed`, `a.c and b.c changed, old.c removed`, `a, b, c and 7 more added`.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(&self.changed, "changed"), (&self.added, "added"), (&self.removed, "removed")];
        let mut parts = all.into_iter().filter(|(names, _)| !names.is_empty());
        let Some((names, verb)) = parts.next() else { return f.write_str("nothing changed") };
        write!(f, "{} {verb}", listed(names))?;
        parts.try_for_each(|(names, verb)| write!(f, ", {} {verb}", listed(names)))
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [name] => name.clone(),
        [first, second] => format!("{first} and {second}"),
        [first, second, third] => format!("{first}, {second} and {third}"),
        _ => format!("{} and {} more", names[..TOLD].join(", "), names.len() - TOLD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Digest;

    fn content(entries: &[(&str, &str)]) -> Content {
        let entries = entries.iter().map(|(name, digest)| ((*name).into(), (*digest).into()));
        Content { digest: Digest::of(b""), entries: entries.collect() }
    }

    #[test]
    fn changes_are_told() {
        let old = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1")];
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Pairs<'_>, &str); 6] = [
            (&old, "nothing changed"),
            (&[("a", "2"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1")], "a changed"),
            (
                &[("a", "2"), ("b", "2"), ("c", "1"), ("d", "1"), ("f", "1")],
                "a and b changed, f added, e removed",
            ),
            (&[("a", "1"), ("b", "1")], "c, d and e removed"),
            (&[], "a, b, c and 2 more removed"),
            (
                &[("a", "2"), ("b", "2"), ("c", "2"), ("d", "2"), ("e", "2")],
                "a, b, c and 2 more changed",
            ),
        ];
        for (new, expected) in cases {
            let changes = Changes::between(&content(&old), &content(new));
            assert_eq!(changes.to_string(), expected);
            assert_eq!(changes.is_empty(), expected == "nothing changed");
        }
    }
}
