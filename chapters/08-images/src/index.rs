//! `index.json`: which names point to which manifests.
//!
//! The document stays a JSON value: other tools write to it too, and what we do not know must survive.

use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::document::Descriptor;
use crate::error::Error;
use crate::reference::Reference;

/// The name for other tools: what stands after `oci:ROOT:` for skopeo. The specification leaves its form open.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The complete name, as containerd and Docker write it.
pub(crate) const FULL_NAME: &str = "io.containerd.image.name";

/// The digest that a registry has for the name: of the manifest, or of the image index that it was chosen from. Only an
/// image that was pulled or pushed has it.
const REPO_DIGEST: &str = "mini-docker.repo-digest";

pub(crate) struct Index {
    document: Map<String, Value>,
}

/// One line of the index.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) descriptor: Descriptor,
    /// [`FULL_NAME`], or else [`REF_NAME`] as it stands.
    name: Option<String>,
    full: bool,
    /// [`REPO_DIGEST`].
    pub(crate) origin: Option<Digest>,
}

impl Entry {
    /// Its name, if it has one that can be read as a reference.
    pub(crate) fn reference(&self) -> Option<Reference> {
        Reference::parse(self.name.as_deref()?).ok()
    }

    /// [`REF_NAME`] where it is the only name.
    pub(crate) fn bare_name(&self) -> Option<&str> {
        self.name.as_deref().filter(|_| !self.full)
    }

    /// [`FULL_NAME`], if another tool or we have given it.
    pub(crate) fn full_name(&self) -> Option<&str> {
        self.name.as_deref().filter(|_| self.full)
    }

    fn is(&self, canonical: &str) -> bool {
        match &self.name {
            Some(name) if self.full => name == canonical,
            Some(_) => self.reference().is_some_and(|own| own.to_string() == canonical),
            None => false,
        }
    }
}

impl Index {
    pub(crate) fn empty() -> Self {
        let mut document = Map::new();
        document.insert("schemaVersion".into(), json!(2));
        document.insert("mediaType".into(), json!("application/vnd.oci.image.index.v1+json"));
        document.insert("manifests".into(), json!([]));
        Self { document }
    }

    pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Self, Error> {
        let value = serde_json::from_slice(bytes).map_err(|error| Error::invalid(what, error))?;
        let Value::Object(document) = value else {
            return Err(Error::invalid(what, "not a JSON object"));
        };
        if !document.get("manifests").is_some_and(Value::is_array) {
            return Err(Error::invalid(what, "it has no list of manifests"));
        }
        Ok(Self { document })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // A Map of strings and values always serialises.
        serde_json::to_vec(&self.document).unwrap_or_default()
    }

    /// All entries that have a descriptor; what else stands there is kept and not looked at.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.manifests().iter().filter_map(entry)
    }

    /// The entry with this canonical name.
    pub(crate) fn find(&self, canonical: &str) -> Option<Entry> {
        self.entries().find(|entry| entry.is(canonical))
    }

    /// What registries call a manifest, in order: `busybox@sha256:...`, each once.
    pub(crate) fn repo_digests(&self, manifest: &Digest) -> Vec<String> {
        let mut digests = Vec::new();
        for entry in self.entries().filter(|entry| entry.descriptor.digest == *manifest) {
            if let (Some(name), Some(origin)) = (entry.reference(), entry.origin) {
                let digest = format!("{}@{origin}", name.familiar_name());
                if !digests.contains(&digest) {
                    digests.push(digest);
                }
            }
        }
        digests
    }

    /// Puts another manifest in the place of one, whatever names it has by now.
    pub(crate) fn replace(&mut self, old: &Digest, new: &Descriptor) {
        for value in self.manifests_mut() {
            if entry(value).is_some_and(|entry| entry.descriptor.digest == *old) {
                value["mediaType"] = json!(new.media_type);
                value["digest"] = json!(new.digest.to_string());
                value["size"] = json!(new.size);
            }
        }
    }

    /// Notes under which digest a registry has what a name points to, if that still is this manifest.
    pub(crate) fn set_origin(&mut self, reference: &Reference, manifest: &Digest, origin: &Digest) {
        let canonical = reference.to_string();
        for value in self.manifests_mut() {
            let is = |entry: Entry| entry.is(&canonical) && entry.descriptor.digest == *manifest;
            if entry(value).is_some_and(is)
                && let Some(Value::Object(annotations)) = value.get_mut("annotations")
            {
                annotations.insert(REPO_DIGEST.into(), json!(origin.to_string()));
            }
        }
    }

    /// Names that point to a manifest, in order.
    pub(crate) fn references(&self, manifest: &Digest) -> Vec<Reference> {
        self.entries()
            .filter(|entry| entry.descriptor.digest == *manifest)
            .filter_map(|entry| entry.reference())
            .collect()
    }

    /// Points a name to a manifest. Returns the manifest that has thereby lost its last name; it stays in the index.
    pub(crate) fn set(
        &mut self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Option<Descriptor> {
        let canonical = reference.to_string();
        let old = self.find(&canonical).map(|entry| entry.descriptor);
        if old.as_ref().is_some_and(|old| old.digest == descriptor.digest) {
            return None;
        }
        let named = json!({ REF_NAME: reference.familiar(), FULL_NAME: canonical });
        // The name's own entry first, then one without a name: data of others in it stays.
        let place = self
            .manifests()
            .iter()
            .position(|value| entry(value).is_some_and(|entry| entry.is(&canonical)));
        match place {
            Some(place) => {
                self.manifests_mut().remove(place);
                self.insert_named(place, descriptor, &named);
            }
            None => self.insert_named(usize::MAX, descriptor, &named),
        }
        let old = old.filter(|old| !self.contains(&old.digest));
        if let Some(old) = &old {
            self.add_unnamed(old);
        }
        old
    }

    fn insert_named(&mut self, place: usize, descriptor: &Descriptor, named: &Value) {
        let unnamed = self.manifests().iter().position(|value| {
            entry(value).is_some_and(|entry| {
                entry.name.is_none() && entry.descriptor.digest == descriptor.digest
            })
        });
        let (place, mut value) = match unnamed {
            Some(at) => (at, self.manifests_mut().remove(at)),
            None => (place.min(self.manifests().len()), descriptor.to_value()),
        };
        if let (Value::Object(value), Value::Object(named)) = (&mut value, named) {
            let annotations = value.entry("annotations").or_insert_with(|| json!({}));
            match annotations {
                Value::Object(annotations) => annotations.extend(named.clone()),
                other => *other = Value::Object(named.clone()),
            }
        }
        self.manifests_mut().insert(place, value);
    }

    /// Makes sure that a manifest is in the index, under whatever name.
    pub(crate) fn add_unnamed(&mut self, descriptor: &Descriptor) {
        if !self.contains(&descriptor.digest) {
            self.manifests_mut().push(descriptor.to_value());
        }
    }

    /// Drops the entry with this name.
    pub(crate) fn remove_name(&mut self, canonical: &str) {
        self.manifests_mut().retain(|value| !entry(value).is_some_and(|e| e.is(canonical)));
    }

    /// Drops all entries of a manifest.
    pub(crate) fn remove(&mut self, manifest: &Digest) {
        self.manifests_mut()
            .retain(|value| entry(value).is_none_or(|e| e.descriptor.digest != *manifest));
    }

    fn contains(&self, manifest: &Digest) -> bool {
        self.entries().any(|entry| entry.descriptor.digest == *manifest)
    }

    fn manifests(&self) -> &[Value] {
        self.document.get("manifests").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn manifests_mut(&mut self) -> &mut Vec<Value> {
        let manifests = self.document.entry("manifests").or_insert_with(|| json!([]));
        if !manifests.is_array() {
            *manifests = json!([]);
        }
        match manifests {
            Value::Array(manifests) => manifests,
            _ => unreachable!("it was made an array above"),
        }
    }
}

fn entry(value: &Value) -> Option<Entry> {
    let descriptor = Descriptor::from_value(value)?;
    let annotation = |key: &str| {
        let text = value.get("annotations")?.get(key)?.as_str()?;
        Some(text.to_owned())
    };
    let full_name = annotation(FULL_NAME);
    let full = full_name.is_some();
    let origin = annotation(REPO_DIGEST).and_then(|text| text.parse().ok());
    Some(Entry { descriptor, name: full_name.or_else(|| annotation(REF_NAME)), full, origin })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(content: &str) -> Descriptor {
        Descriptor {
            media_type: crate::document::MANIFEST.to_owned(),
            digest: Digest::of(content.as_bytes()),
            size: 1,
            platform: None,
        }
    }

    fn name(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    #[test]
    fn what_others_wrote_survives() {
        let digest = Digest::of(b"a");
        let text = json!({
            "schemaVersion": 2, "x-top": {"k": [1]},
            "manifests": [
                {"mediaType": "application/x-unknown", "artifactType": "t"},
                {"mediaType": crate::document::MANIFEST, "digest": digest.to_string(), "size": 1,
                 "x-own": true, "annotations": {"k": "v"}},
            ],
        });
        let mut index = Index::parse("i", text.to_string().as_bytes()).unwrap();
        index.set(&name("a"), &descriptor("a"));
        index.set(&name("b"), &descriptor("b"));
        index.remove(&Digest::of(b"b"));
        let mut expected = text;
        let annotations = &mut expected["manifests"][1]["annotations"];
        annotations[REF_NAME] = json!("a:latest");
        annotations[FULL_NAME] = json!("docker.io/library/a:latest");
        assert_eq!(serde_json::from_slice::<Value>(&index.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn a_name_moves_and_leaves_its_image_nameless() {
        let mut index = Index::empty();
        assert_eq!(index.set(&name("a"), &descriptor("1")), None);
        assert_eq!(index.set(&name("b"), &descriptor("1")), None);
        assert_eq!(index.set(&name("a"), &descriptor("2")), None, "b still names 1");
        let lost = index.set(&name("b"), &descriptor("2"));
        assert_eq!(lost, Some(descriptor("1")));
        assert_eq!(index.references(&Digest::of(b"2")), [name("a"), name("b")]);
        let unnamed: Vec<_> = index.entries().filter(|entry| entry.name.is_none()).collect();
        assert_eq!(unnamed.len(), 1);
        assert_eq!(unnamed[0].descriptor, descriptor("1"));
        index.set(&name("c"), &descriptor("1"));
        assert_eq!(index.entries().count(), 3, "the nameless entry got the name");
        index.remove_name("docker.io/library/c:latest");
        assert!(index.find("docker.io/library/c:latest").is_none());
    }

    #[test]
    fn names_of_other_tools_are_read() {
        let entry = |name: &str| {
            let annotations = json!({ REF_NAME: name });
            let mut value = descriptor(name).to_value();
            value["annotations"] = annotations;
            value
        };
        let text = json!({"manifests": [entry("busybox"), entry("x+y"), entry("quay.io/a/b:1")]});
        let index = Index::parse("i", text.to_string().as_bytes()).unwrap();
        assert!(index.find("docker.io/library/busybox:latest").is_some());
        assert!(index.find("quay.io/a/b:1").is_some());
        assert_eq!(index.entries().filter_map(|entry| entry.reference()).count(), 2);
    }
}
