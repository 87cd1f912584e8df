//! Which machine an image is for: `linux/amd64`, `linux/arm64/v8`.

use std::fmt;

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
