//! The name of a blob is the SHA-256 of its bytes.

use std::fmt::{self, Write as _};
use std::io::{self, Read, Write};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest, written `sha256:` and 64 lower-case hex digits.
///
/// The specification allows other algorithms; nobody uses them, and none is accepted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no digest: expected sha256: and 64 lower-case hex digits")]
pub struct NoDigest(pub String);

impl Digest {
    /// Computes the digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = Digester::new();
        hash.update(bytes);
        hash.finish()
    }

    /// The 64 hex digits: the file name below `blobs/sha256`.
    pub fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").ok();
            hex
        })
    }

    /// Reads 64 hex digits without the algorithm before them.
    pub(crate) fn from_hex(hex: &str) -> Option<Self> {
        let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != 64 || !hex.bytes().all(lower) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        text.strip_prefix("sha256:")
            .and_then(Self::from_hex)
            .ok_or_else(|| NoDigest(text.chars().take(200).collect()))
    }
}

/// SHA-256 by whom this processor lets do it faster.
#[derive(Clone)]
enum Digester {
    /// Uses the processor's own SHA instructions; without them it is plain Rust.
    Sha2(Sha256),
    /// Assembly for processors without SHA instructions: 1.8 times as fast as plain Rust.
    #[cfg(target_arch = "x86_64")]
    Ring(ring::digest::Context),
}

impl Digester {
    fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        if !std::is_x86_feature_detected!("sha") {
            return Self::Ring(ring::digest::Context::new(&ring::digest::SHA256));
        }
        Self::Sha2(Sha256::new())
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha2(hash) => hash.update(bytes),
            #[cfg(target_arch = "x86_64")]
            Self::Ring(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Sha2(hash) => Digest(hash.finalize().into()),
            #[cfg(target_arch = "x86_64")]
            Self::Ring(hash) => {
                let mut digest = [0; 32];
                digest.copy_from_slice(hash.finish().as_ref());
                Digest(digest)
            }
        }
    }
}

/// Passes bytes through and computes their digest: wraps a reader or a writer.
pub(crate) struct Hashing<T> {
    inner: T,
    hasher: Digester,
    bytes: u64,
}

impl<T> Hashing<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, hasher: Digester::new(), bytes: 0 }
    }

    /// The digest and number of the bytes that went through so far.
    pub(crate) fn so_far(&self) -> (Digest, u64) {
        (self.hasher.clone().finish(), self.bytes)
    }

    /// The number of bytes that went through so far.
    pub(crate) fn so_far_bytes(&self) -> u64 {
        self.bytes
    }

    fn count(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.count(&buffer[..length]);
        Ok(length)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(buffer)?;
        self.count(&buffer[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_exact() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse(), Ok(Digest::of(b"")));
        for wrong in ["", "sha256:", "sha512:00", &empty[..70], &empty.to_uppercase(), "sha256:é"]
        {
            wrong.parse::<Digest>().unwrap_err();
        }
    }

    #[test]
    fn whoever_does_it_the_digest_is_the_same() {
        let expected = "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
        let all = [
            Digester::Sha2(Sha256::new()),
            #[cfg(target_arch = "x86_64")]
            Digester::Ring(ring::digest::Context::new(&ring::digest::SHA256)),
        ];
        for mut hash in all {
            hash.update(b"hello ");
            hash.update(b"world");
            assert_eq!(hash.finish().to_string(), expected);
        }
    }

    #[test]
    fn hashing_sees_what_passes() {
        let mut reader = Hashing::new(&b"abc"[..]);
        let mut writer = Hashing::new(Vec::new());
        io::copy(&mut reader, &mut writer).unwrap();
        assert_eq!(reader.so_far(), (Digest::of(b"abc"), 3));
        assert_eq!(writer.so_far(), (Digest::of(b"abc"), 3));
    }
}
