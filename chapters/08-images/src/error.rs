//! What can go wrong with an image, in one line each.

use std::io;

use syscalls::KernelError;

use crate::digest::{Digest, NoDigest};
use crate::platform::Platform;
use crate::reference::ParseError;

/// Why an image could not be loaded, found, named or removed.
///
/// Cloneable, so that it can travel inside an [`io::Error`] through the readers of other crates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no image reference.
    #[error(transparent)]
    Reference(#[from] ParseError),
    /// No image has this name or ID.
    #[error("no such image: {0}")]
    NotFound(String),
    /// Several images have IDs that begin so.
    #[error("image id `{prefix}` is ambiguous: {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The full IDs, sorted.
        candidates: Vec<String>,
    },
    /// The image has several names, and it was to be removed by its ID.
    #[error(
        "image {id} has several names: {} (hint: remove the names one by one, or force)",
        names.join(", ")
    )]
    SeveralNames {
        /// Short ID.
        id: String,
        /// Its names.
        names: Vec<String>,
    },
    /// Containers were made from the image.
    #[error(
        "image {image} is used by {}: {} (hint: remove the container first, or force)",
        if containers.len() == 1 { "container" } else { "containers" },
        containers.join(", ")
    )]
    InUse {
        /// The name or ID that was asked for.
        image: String,
        /// Container IDs or names as the caller gave them.
        containers: Vec<String>,
    },
    /// The bytes are not those that the digest names.
    #[error("{what}: content is {actual}, expected {expected}")]
    WrongDigest {
        /// The file or blob.
        what: String,
        /// The digest it was announced with.
        expected: Digest,
        /// The digest it has.
        actual: Digest,
    },
    /// The content has another size than its descriptor says.
    #[error("{what}: size is {actual} bytes, expected {expected}")]
    WrongSize {
        /// The blob.
        what: String,
        /// Bytes according to the descriptor.
        expected: u64,
        /// Bytes found.
        actual: u64,
    },
    /// A document points to something that is not there.
    #[error("{what} is missing: {}", printable(name))]
    Missing {
        /// What kind of content: `layer 2`, `config`.
        what: String,
        /// Its digest or path.
        name: String,
    },
    /// The input could not be read to its end: truncated, corrupt, or the reader failed.
    #[error("read {what}: {reason}")]
    Read {
        /// The archive, file or blob.
        what: String,
        /// What the decoder said.
        reason: String,
    },
    /// The input is neither a docker-archive nor an OCI image layout.
    #[error("not an image archive: {0}")]
    NotAnImage(String),
    /// An archive holds a name that leads out of it, or a thing that no image archive needs.
    #[error("archive entry `{}`: {reason}", printable(name))]
    UnsafeEntry {
        /// The entry's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A document is not what it must be.
    #[error("{what}: {reason}")]
    Invalid {
        /// The document.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A manifest, index or config that is larger than [`MAX_DOCUMENT`](crate::MAX_DOCUMENT).
    #[error("{what}: {size} bytes; at most {} are read", crate::MAX_DOCUMENT)]
    TooLarge {
        /// The document.
        what: String,
        /// Its size in bytes.
        size: u64,
    },
    /// Compressed in a way that images do not use.
    #[error(
        "{what} is compressed with {format} (hint: decompress it first; gzip, zstd and plain tar are read)"
    )]
    Compression {
        /// The archive or layer.
        what: String,
        /// `xz`, `bzip2`.
        format: &'static str,
    },
    /// An image index offers nothing for this machine.
    #[error("{what}: no image for {wanted}; it offers {}", list(offered))]
    NoPlatform {
        /// The index.
        what: String,
        /// This machine.
        wanted: Platform,
        /// What there is.
        offered: Vec<Platform>,
    },
    /// One name was given for an archive with several images.
    #[error(
        "the archive holds {count} images, `{name}` can name only one (hint: load without a name, then tag)"
    )]
    NameForMany {
        /// The name.
        name: String,
        /// Number of images in the archive.
        count: usize,
    },
    /// A `--change` instruction that cannot be applied.
    #[error("change `{instruction}`: {reason}")]
    Change {
        /// The instruction as given.
        instruction: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another part of the same work has failed, and its error is the one to tell.
    #[error("stopped: another layer has failed")]
    Stopped,
    /// A registry could not be reached, or refused.
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
    /// The kernel refused a step.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Texts out of an archive must not speak to the reader's terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars().take(400) {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    clean
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "nothing".to_owned();
    }
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// Wraps the failure of a reader, or takes out the error of ours that travelled in it.
    pub(crate) fn read(what: &str, error: &io::Error) -> Self {
        if let Some(ours) = Self::inside(error) {
            return ours;
        }
        let text = error.to_string();
        // The tar crate has no kinds of its own for these, and quotes the archive's bytes.
        let has = |part: &str| text.contains(part);
        let reason = if error.kind() == io::ErrorKind::UnexpectedEof
            || has("unexpected EOF")
            || has("failed to read entire block")
        {
            "it ends too early (truncated?)".to_owned()
        } else if has("archive header checksum mismatch") || has("numeric field was not a number") {
            "it is no tar archive, or a damaged one".to_owned()
        } else {
            printable(&text)
        };
        Self::Read { what: what.to_owned(), reason }
    }

    /// The error of ours that travelled through the readers of others, if there is one in the chain of causes.
    pub(crate) fn inside(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(inner) = cause {
            if let Some(ours) = inner.downcast_ref::<Self>() {
                return Some(ours.clone());
            }
            // An io::Error hides its payload from source(), it shows only the payload's own source.
            cause = match inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(payload) => Some(payload),
                None => inner.source(),
            };
        }
        None
    }

    pub(crate) fn invalid(what: &str, reason: impl ToString) -> Self {
        Self::Invalid { what: what.to_owned(), reason: printable(&reason.to_string()) }
    }

    pub(crate) fn digest(what: &str, no_digest: &NoDigest) -> Self {
        Self::invalid(what, no_digest)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
