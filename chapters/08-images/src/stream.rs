//! Compressed or not is told by the first bytes, never by a file name or a media type.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::read::MultiGzDecoder;

use crate::digest::{Digest, Hashing};
use crate::error::Error;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

impl Compression {
    /// Looks at the first bytes of a stream (six are enough).
    ///
    /// # Errors
    /// For xz and bzip2, which can be recognised and are not read.
    pub(crate) fn detect(what: &str, head: &[u8]) -> Result<Self, Error> {
        let refuse = |format| Err(Error::Compression { what: what.to_owned(), format });
        match head {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // RFC 8878: a frame, or a skippable frame before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => refuse("xz"),
            [b'B', b'Z', b'h', ..] => refuse("bzip2"),
            _ => Ok(Self::Plain),
        }
    }

    /// The media type of a layer that is compressed so.
    pub(crate) fn layer_media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

type Peeked<R> = Chain<Cursor<Vec<u8>>, R>;

/// A stream whose compression is undone on the way.
pub(crate) enum Decoder<R: Read> {
    Plain(Peeked<R>),
    Gzip(Box<MultiGzDecoder<Peeked<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Peeked<R>>>>),
}

impl<R: Read> Decoder<R> {
    pub(crate) fn new(what: &str, mut reader: R) -> Result<Self, Error> {
        let mut head = Vec::with_capacity(6);
        let read = |error: io::Error| Error::read(what, &error);
        reader.by_ref().take(6).read_to_end(&mut head).map_err(read)?;
        let compression = Compression::detect(what, &head)?;
        let whole = Cursor::new(head).chain(reader);
        Ok(match compression {
            Compression::Plain => Self::Plain(whole),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(whole))),
            Compression::Zstd => {
                Self::Zstd(Box::new(zstd::stream::read::Decoder::new(whole).map_err(read)?))
            }
        })
    }

    /// The compressed stream below. What the decoder has read ahead is missing from it.
    pub(crate) fn raw(&mut self) -> &mut R {
        match self {
            Self::Plain(reader) => reader.get_mut().1,
            Self::Gzip(decoder) => decoder.get_mut().get_mut().1,
            Self::Zstd(decoder) => decoder.get_mut().get_mut().get_mut().1,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

/// Undoes the compression of an archive that somebody has made: gzip, zstd, bzip2, xz, or none. (The layer of an image is
/// gzip or zstd, and nothing else.)
///
/// # Errors
/// If the first bytes cannot be read, or zstd has no memory. A stream that is broken fails while it is read.
pub fn decompress<'r>(what: &str, mut reader: impl Read + 'r) -> Result<Box<dyn Read + 'r>, Error> {
    let mut head = Vec::with_capacity(6);
    let read = |error: io::Error| Error::read(what, &error);
    reader.by_ref().take(6).read_to_end(&mut head).map_err(read)?;
    let whole = Cursor::new(head.clone()).chain(reader);
    Ok(match &head[..] {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            Box::new(liblzma::read::XzDecoder::new_multi_decoder(whole))
        }
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::read::MultiBzDecoder::new(whole)),
        _ => Box::new(Decoder::new(what, whole)?),
    })
}

/// Whether a stream that begins so is compressed, as [`decompress`] knows it. Six bytes are enough.
pub fn is_compressed(head: &[u8]) -> bool {
    !matches!(Compression::detect("", head), Ok(Compression::Plain))
}

/// The decompressed tar of a layer. Its end is only reached if the blob was the one that its digest names.
pub(crate) struct VerifiedLayer {
    what: String,
    expected: (Digest, u64),
    decoder: Decoder<Hashing<File>>,
    verified: bool,
}

impl VerifiedLayer {
    pub(crate) fn new(what: String, blob: File, digest: Digest, size: u64) -> Result<Self, Error> {
        let decoder = Decoder::new(&what, Hashing::new(blob))?;
        Ok(Self { what, expected: (digest, size), decoder, verified: false })
    }

    fn verify(&mut self) -> Result<(), Error> {
        let raw = self.decoder.raw();
        // What follows the compressed stream belongs to the blob too.
        io::copy(raw, &mut io::sink()).map_err(|error| Error::read(&self.what, &error))?;
        let (actual, size) = raw.so_far();
        if actual != self.expected.0 {
            let (what, expected) = (self.what.clone(), self.expected.0);
            return Err(Error::WrongDigest { what, expected, actual });
        }
        if size != self.expected.1 {
            let (what, expected) = (self.what.clone(), self.expected.1);
            return Err(Error::WrongSize { what, expected, actual: size });
        }
        self.verified = true;
        Ok(())
    }
}

impl Read for VerifiedLayer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.verified || buffer.is_empty() {
            return Ok(0);
        }
        match self.decoder.read(buffer) {
            Ok(0) => {
                self.verify()?;
                Ok(0)
            }
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                Err(Error::read(&self.what, &error).into())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &[u8] = b"a layer, as far as the stream is concerned";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(blob: &[u8], digest: Digest, size: u64) -> Result<Vec<u8>, Error> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(blob).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let mut layer = VerifiedLayer::new("layer x".into(), file, digest, size)?;
        let mut bytes = Vec::new();
        let result = layer.read_to_end(&mut bytes);
        result.map(|_| bytes).map_err(|error| Error::read("outer", &error))
    }

    fn own(blob: &[u8]) -> Result<Vec<u8>, Error> {
        read(blob, Digest::of(blob), blob.len() as u64)
    }

    #[test]
    fn told_apart_by_the_first_bytes() {
        let zstd = zstd::encode_all(TEXT, 1).unwrap();
        // Several members or frames in a row are one stream (pigz, zstd:chunked, estargz).
        let members = [gzip(&TEXT[..7]), gzip(&TEXT[7..])].concat();
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2], &zstd[..]].concat();
        for blob in [TEXT.to_vec(), gzip(TEXT), members, zstd, skippable] {
            assert_eq!(own(&blob).unwrap(), TEXT);
        }
        assert_eq!(own(b"").unwrap(), b"");
        for (blob, format) in [(&b"\xfd7zXZ\0rest"[..], "xz"), (b"BZh9rest", "bzip2")] {
            let what = "layer x".to_owned();
            assert_eq!(own(blob).unwrap_err(), Error::Compression { what, format });
        }
    }

    #[test]
    fn archives_come_in_more_ways() {
        let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bz.write_all(TEXT).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(TEXT).unwrap();
        let zstd = zstd::encode_all(TEXT, 1).unwrap();
        let all = [bz.finish().unwrap(), xz.finish().unwrap(), zstd, gzip(TEXT), TEXT.to_vec()];
        for (number, blob) in all.into_iter().enumerate() {
            let mut bytes = Vec::new();
            decompress("archive", &blob[..]).unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, TEXT, "{number}");
            assert_eq!(is_compressed(&blob), number < 4);
        }
        let error = decompress("archive", &b"\xfd7zXZ\0rest"[..]).unwrap().read(&mut [0; 9]);
        assert!(error.is_err());
    }

    #[test]
    fn the_end_is_only_reached_by_the_right_blob() {
        for blob in [TEXT.to_vec(), gzip(TEXT), zstd::encode_all(TEXT, 1).unwrap()] {
            let (digest, size) = (Digest::of(&blob), blob.len() as u64);
            let cut = &blob[..blob.len() - 3];
            let error = read(cut, digest, size).unwrap_err();
            let truncated =
                matches!(&error, Error::Read { reason, .. } if reason.contains("early"));
            assert!(truncated || matches!(error, Error::WrongDigest { .. }), "{error}");
            let other = Digest::of(b"other");
            assert!(matches!(read(&blob, other, size), Err(Error::WrongDigest { .. })));
            assert!(matches!(read(&blob, digest, 1), Err(Error::WrongSize { .. })));
        }
        // Bytes behind a complete zstd frame are in the digest, though no decoder shows them.
        let mut blob = zstd::encode_all(TEXT, 1).unwrap();
        let digest = Digest::of(&blob);
        blob.extend(b"\x50\x2a\x4d\x18\x01\0\0\0!");
        assert!(matches!(read(&blob, digest, 1), Err(Error::WrongDigest { .. })));
    }
}
