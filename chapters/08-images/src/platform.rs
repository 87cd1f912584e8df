//! Which machine an image is for: `linux/amd64`, `linux/arm64/v8`.

use std::fmt;
use std::str::FromStr;

use oci_spec::image::ImageConfiguration;

use crate::error::printable;

/// Operating system, architecture in Go's words, and variant of the architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// `v8` of arm64, `v7` of arm. May be missing.
    pub variant: Option<String>,
}

impl Platform {
    /// This machine.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// The platform that an image's config names.
    pub(crate) fn of(config: &ImageConfiguration) -> Self {
        Self {
            os: config.os().to_string(),
            architecture: config.architecture().to_string(),
            variant: config.variant().clone(),
        }
    }

    /// Whether this machine runs images for `image` without an emulator.
    pub fn runs(&self, image: &Self) -> bool {
        self.rank(image).is_some()
    }

    /// How well an image suits this machine, 0 is best; None if it does not. Of several variants that run, the plain
    /// one wins: it runs on every machine of the architecture.
    pub(crate) fn rank(&self, image: &Self) -> Option<u32> {
        if (&self.os, &self.architecture) != (&image.os, &image.architecture) {
            return None;
        }
        match (self.architecture.as_str(), image.variant.as_deref()) {
            (_, variant) if variant == self.variant.as_deref() => Some(0),
            (_, None) => Some(1),
            ("amd64", Some("v1")) => Some(1),
            // Compiled for newer processors: better than nothing, and the kernel cannot tell us.
            ("amd64", Some("v2")) => Some(2),
            ("amd64", Some("v3")) => Some(3),
            ("arm", Some("v6")) => Some(2),
            ("arm", Some("v5")) => Some(3),
            _ => None,
        }
    }
}

/// Why a text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid platform `{}`: {reason} (hint: write it as os/architecture: linux/amd64)",
    printable(text)
)]
pub struct NoPlatform {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// `os/architecture[/variant]`, or an architecture alone; the names that kernels use for architectures are understood.
impl FromStr for Platform {
    type Err = NoPlatform;

    fn from_str(text: &str) -> Result<Self, NoPlatform> {
        let fail = |reason| Err(NoPlatform { text: text.to_owned(), reason });
        let lower = text.to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        if !parts.iter().all(word) {
            return fail("a part is empty or has strange characters");
        }
        let (os, architecture, variant) = match parts[..] {
            ["linux"] => return Ok(Self::host()),
            [architecture] => ("linux", architecture, None),
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return fail("it has more than three parts"),
        };
        let (architecture, implied) = match architecture {
            "x86_64" | "x86-64" => ("amd64", None),
            "i386" | "i686" => ("386", None),
            "arm64" | "aarch64" => ("arm64", Some("v8")),
            "armhf" | "arm" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            other => (other, None),
        };
        Ok(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.or(implied).map(str::to_owned),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&format!("{}/{}", self.os, self.architecture)))?;
        match &self.variant {
            Some(variant) => write!(f, "/{}", printable(variant)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        Platform {
            os: parts.next().unwrap(),
            architecture: parts.next().unwrap(),
            variant: parts.next(),
        }
    }

    #[test]
    fn what_people_write() {
        for (text, means) in [
            ("linux/amd64", "linux/amd64"),
            ("amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("LINUX/aarch64", "linux/arm64/v8"),
            ("linux/arm64", "linux/arm64/v8"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(text.parse::<Platform>().map(|p| p.to_string()), Ok(means.to_owned()));
        }
        for wrong in ["", "/", "linux/", "a/b/c/d", "linux/\u{1b}[31m"] {
            let error = wrong.parse::<Platform>().unwrap_err().to_string();
            assert!(!error.contains('\u{1b}') && error.contains("hint"), "{error}");
        }
    }

    #[test]
    fn ranks() {
        for (host, image, rank) in [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/amd64/v1", Some(1)),
            ("linux/amd64", "linux/amd64/v3", Some(3)),
            ("linux/amd64", "linux/arm64", None),
            ("linux/amd64", "windows/amd64", None),
            ("linux/arm64/v8", "linux/arm64", Some(1)),
            ("linux/arm64/v8", "linux/arm64/v8", Some(0)),
            ("linux/arm64/v8", "linux/arm64/v9", None),
            ("linux/arm/v7", "linux/arm/v6", Some(2)),
            ("linux/arm64/v8", "unknown/unknown", None),
        ] {
            assert_eq!(platform(host).rank(&platform(image)), rank, "{image} on {host}");
        }
    }
}
