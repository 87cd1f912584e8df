//! What can go wrong with a layer's archive.

use syscalls::KernelError;

/// Why an archive was not unpacked. Names are printable: control characters are escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The stream could not be read: a broken pipe, a failed decompression.
    #[error("read archive after `{entry}`: {source}")]
    Read {
        /// The last entry that was begun.
        entry: String,
        /// What the reader said.
        source: std::io::Error,
    },
    /// The bytes are no valid tar archive.
    #[error("malformed archive at `{entry}`: {reason}")]
    Malformed {
        /// The entry, or the last one before the damage.
        entry: String,
        /// What is wrong.
        reason: String,
    },
    /// The archive is readable, but asks for something that no layer may.
    #[error("refused entry `{entry}`: {reason}")]
    Refused {
        /// The entry.
        entry: String,
        /// What it asks for.
        reason: String,
    },
    /// A hard link to a file that this archive does not hold (a link into a lower layer does not
    /// exist in OCI layers).
    #[error("hard link `{entry}` to `{target}`, which is not in this layer")]
    HardLink {
        /// The link.
        entry: String,
        /// The file it wants to be.
        target: String,
    },
    /// The archive is readable, but holds more than it was allowed ([`Limits`](crate::Limits)).
    #[error("too much in the archive: with `{entry}` it unpacks to more than {allowed} {what}")]
    Limit {
        /// The entry that goes too far.
        entry: String,
        /// How many are allowed.
        allowed: u64,
        /// Of what: `bytes`, `files and directories`.
        what: &'static str,
    },
    /// The kernel refused a step; the object is the entry.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// A name as text for people: what is not UTF-8 is replaced, what would move a terminal's cursor is
/// escaped.
pub(crate) fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for character in String::from_utf8_lossy(name).chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}
