//! Image names: what people write, and what it means.
//!
//! ```text
//!   busybox                              docker.io/library/busybox:latest
//!   alice/web:1.2                        docker.io/alice/web:1.2
//!   localhost:5000/web@sha256:6c3c...    localhost:5000/web@sha256:6c3c...
//!   └─────┬──────┘ └┬┘ └─────┬──────┘
//!      registry  repository  digest
//! ```
//!
//! The first part is a registry only if it looks like a host: it has a dot or a port, or is `localhost`. Grammar as in
//! the reference package of the distribution project, which Docker uses.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

const HUB: &str = "docker.io";
/// Longest repository, in bytes.
const MAX_REPOSITORY: usize = 255;
/// Longest tag, in bytes.
const MAX_TAG: usize = 128;

/// A complete image name: registry and repository, and a tag or a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.text.chars().take(200).collect();
        write!(f, "invalid image name `{}`: {}", shown.escape_debug(), self.reason)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl Reference {
    /// Reads a name as people write it; `latest` is added if it has neither tag nor digest.
    ///
    /// # Errors
    /// With the reason and, for upper-case letters, the probable name.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let fail = |reason| ParseError { text: text.to_owned(), reason, hint: None };
        if text.contains("://") {
            return Err(fail("names of images begin without http:// or https://"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|_| fail("after @ must stand sha256: and 64 lower-case hex digits"))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        // A colon after the last slash begins the tag, one before it a port.
        let name_end = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[name_end..].find(':') {
            Some(colon) => {
                (&rest[..name_end + colon], Some(rest[name_end + colon + 1..].to_owned()))
            }
            None => (rest, None),
        };
        if let Some(tag) = &tag {
            check_tag(tag).map_err(fail)?;
        }
        if Digest::from_hex(name).is_some() {
            return Err(fail("64 hex digits are an image ID, not a name"));
        }
        let (registry, path) = split_registry(name);
        check_registry(registry).map_err(fail)?;
        let repository = match (registry, path.contains('/')) {
            (HUB, false) => format!("library/{path}"),
            _ => path.to_owned(),
        };
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            let lower = format!("did you mean {}?", text.replacen(path, &path.to_lowercase(), 1));
            return Err(ParseError {
                hint: Some(lower),
                ..fail("repository names are lower case")
            });
        }
        if path.is_empty() {
            return Err(fail("the name is missing"));
        }
        path.split('/').try_for_each(check_component).map_err(fail)?;
        if repository.len() > MAX_REPOSITORY {
            return Err(fail("the repository name has more than 255 characters"));
        }
        if repository == "library/sha256"
            && tag.as_deref().is_some_and(|tag| Digest::from_hex(tag).is_some())
        {
            return Err(fail("sha256: and 64 hex digits are an image ID, not a name"));
        }
        let tag = match (&tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            _ => tag,
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }

    /// The registry's host and port: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry: `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag: `latest`. None if there is only a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest after `@`.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Only registry, repository and digest, if it has a digest: beside one, a tag says nothing.
    #[must_use]
    pub fn without_moot_tag(&self) -> Self {
        match self.digest {
            Some(_) => Self { tag: None, ..self.clone() },
            None => self.clone(),
        }
    }

    /// The same repository with another tag and no digest.
    ///
    /// # Errors
    /// If the text cannot be a tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseError> {
        check_tag(tag).map_err(|reason| ParseError { text: tag.to_owned(), reason, hint: None })?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// Registry and repository without tag and digest: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The name as short as Docker prints it, without tag and digest: `busybox`.
    pub fn familiar_name(&self) -> String {
        if self.registry != HUB {
            return self.name();
        }
        if let Some(official) = self.repository.strip_prefix("library/")
            && !official.contains('/')
        {
            return official.to_owned();
        }
        // A first part that looks like a host must not become one.
        match split_registry(&self.repository).0 {
            HUB => self.repository.clone(),
            _ => self.name(),
        }
    }

    /// The whole reference as short as Docker prints it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.suffix())
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

/// Canonical: everything is written out.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.suffix())
    }
}

impl FromStr for Reference {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            (if first == "index.docker.io" { HUB } else { first }, rest)
        }
        _ => (HUB, name),
    }
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    let (host, port) = match registry.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (registry, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !host.split('.').all(label) {
        return Err("the registry is no host name");
    }
    match port {
        Some(port) if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err("the registry's port is no number")
        }
        _ => Ok(()),
    }
}

/// `[a-z0-9]+` parts with one of `.` `_` `__` `-...` between them.
fn check_component(component: &str) -> Result<(), &'static str> {
    let bytes = component.as_bytes();
    let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return Err("a part between slashes is empty");
    };
    if !bytes.iter().all(|byte| plain(byte) || b"._-".contains(byte)) {
        return Err("names are made of a-z, 0-9 and . _ - / between them");
    }
    if !plain(first) || !plain(last) {
        return Err("each part must begin and end with a letter or digit");
    }
    let separators = component.split(|c: char| c.is_ascii_alphanumeric());
    let allowed = |separator: &str| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
    };
    if separators.into_iter().all(allowed) {
        Ok(())
    } else {
        Err("between letters may stand one of . _ __ or dashes")
    }
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match tag.as_bytes() {
        [] => Err("the tag after : is missing"),
        bytes if bytes.len() > MAX_TAG => Err("the tag has more than 128 characters"),
        [first, rest @ ..]
            if word(*first) && rest.iter().all(|byte| word(*byte) || b".-".contains(byte)) =>
        {
            Ok(())
        }
        _ => Err("tags are made of letters, digits and _ . - and begin with none of . -"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn means_what_docker_means() {
        for (text, canonical, familiar) in [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("alice/web", "docker.io/alice/web:latest", "alice/web:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("index.docker.io/library/a", "docker.io/library/a:latest", "a:latest"),
            ("localhost/web", "localhost/web:latest", "localhost/web:latest"),
            ("localhost:5000/web:v1", "localhost:5000/web:v1", "localhost:5000/web:v1"),
            ("test:5000/web", "test:5000/web:latest", "test:5000/web:latest"),
            ("ghcr.io/a/b/c:X_1.y-z", "ghcr.io/a/b/c:X_1.y-z", "ghcr.io/a/b/c:X_1.y-z"),
            ("test.com:5000", "docker.io/library/test.com:5000", "test.com:5000"),
            (
                "docker.io/localhost/x",
                "docker.io/localhost/x:latest",
                "docker.io/localhost/x:latest",
            ),
            ("REGISTRY.example/x", "REGISTRY.example/x:latest", "REGISTRY.example/x:latest"),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.to_string(), canonical, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
        }
        let both = Reference::parse(&format!("web:1@{SHA}")).unwrap();
        assert_eq!((both.tag(), both.digest()), (Some("1"), SHA.parse().ok()));
        let only = Reference::parse(&format!("web@{SHA}")).unwrap();
        assert_eq!((only.tag(), only.familiar()), (None, format!("web@{SHA}")));
    }

    #[test]
    fn refusals() {
        let long = "a".repeat(256);
        let tag = format!("a:{}", "t".repeat(129));
        let mut lines = String::new();
        for text in [
            "",
            ":latest",
            "/",
            "a/",
            "/a",
            "a//b",
            "Busybox",
            "Alice/Web:V1",
            "localhost:5000/Web",
            "a b",
            "a\u{1b}[31m",
            "a:",
            "a:.x",
            "a:b:c",
            "a:b/c",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a_.b",
            "ü",
            "host:port/a",
            "-host.x/a",
            "host.:80/a",
            "a__b--c.d/e",
            "a@",
            "a@sha256:12",
            "a@sha512:12",
            "@x",
            &long,
            &tag,
            &SHA["sha256:".len()..],
            SHA,
            "https://localhost:5000/web",
            &format!("a@{}", SHA.to_uppercase()),
        ] {
            let error = Reference::parse(text).unwrap_err();
            lines += &format!("{error}\n");
        }
        insta::assert_snapshot!(lines);
    }

    proptest! {
        #[test]
        fn never_panics_and_agrees_with_oci_spec(text in "[a-zA-Z0-9._:/@-]{0,24}") {
            let theirs = oci_spec::distribution::Reference::try_from(text.as_str());
            match (Reference::parse(&text), theirs) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours.to_string(), theirs.whole()),
                (Ok(ours), Err(error)) => prop_assert!(false, "{ours} but {error}"),
                // We refuse more: upper case that could only be a registry without a dot, and a registry that no
                // host name can be.
                (Err(error), Ok(theirs)) => prop_assert!(
                    text.bytes().any(|b| b.is_ascii_uppercase()) || theirs.registry().contains('_'),
                    "{theirs} but {error}"
                ),
                (Err(_), Err(_)) => {}
            }
        }

        #[test]
        fn any_text_is_answered(text in any::<String>()) {
            let _ = Reference::parse(&text).map_err(|error| error.to_string());
        }

        #[test]
        fn what_is_printed_means_the_same(
            registry in "(docker\\.io/|localhost/|[a-z]{1,3}\\.[a-z]{2}/|[a-z]{1,4}:[0-9]{1,4}/)?",
            path in "[a-z0-9]{1,3}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}(/[a-z0-9]{1,4}){0,3}",
            tag in "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,5})?",
            digest in any::<bool>(),
        ) {
            let digest = if digest { format!("@{SHA}") } else { String::new() };
            let text = format!("{registry}{path}{tag}{digest}");
            // A first part with a dot and an underscore is neither a host nor a path.
            if let Ok(parsed) = Reference::parse(&text) {
                prop_assert_eq!(&Reference::parse(&parsed.to_string()).unwrap(), &parsed);
                prop_assert_eq!(&Reference::parse(&parsed.familiar()).unwrap(), &parsed);
            } else {
                prop_assert!(path.contains(['.']) && path.contains('/'), "{}", text);
            }
        }
    }
}
