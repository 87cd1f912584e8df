//! Reads a tar stream entry by entry, in constant memory.
//!
//! The `tar` crate has a reader too. This one exists because two readers of one archive must not
//! disagree: where a size stands twice (header and PAX), or a link claims to have data, the answer
//! decides which bytes are the *next header* (CVE-2025-62518, -2026-33055). OCI layers are written
//! and judged by Go's `archive/tar`, so its rules are followed: the PAX size wins, only files have
//! data, global PAX headers are skipped.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use nix::sys::time::TimeSpec;
use tar::{GnuExtSparseHeader, Header};

use crate::error::{UnpackError, shown};
use crate::header::{checksum_is_right, number, padding};
use crate::pax::{self, Records};
pub use crate::sparse::Fragment;
use crate::sparse::{self, Map, Sparse};
use crate::stream::{BUFFER, Stream};

/// Longest extended header. Go's reader stops there too.
const MAX_EXTENSION: u64 = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, possibly sparse.
    File,
    /// Another name of a file; `link` is the first name.
    HardLink,
    /// A symbolic link to `link`.
    Symlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// One entry, all extensions applied.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Name as the archive has it.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Target of a link.
    pub link: Vec<u8>,
    /// The twelve permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last change.
    pub mtime: TimeSpec,
    /// Major and minor number of a device.
    pub device: (u64, u64),
    /// Size of the file in bytes, with its holes.
    pub size: u64,
    /// Where the data of a sparse file belongs.
    pub sparse: Option<Vec<Fragment>>,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Entry {
    /// The name for people.
    pub fn shown(&self) -> String {
        shown(&self.name)
    }
}

/// Reads entries from a stream.
#[derive(Debug)]
pub struct Reader<R> {
    stream: Stream<R>,
}

/// What extension headers say about the entry after them.
#[derive(Default)]
struct Extensions {
    pax: Option<Records>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Extensions {
    /// The last record with this key; an empty value means "as if it were not there" (pax(1)).
    fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let records = self.pax.as_ref()?;
        let (_, value) = records.iter().rev().find(|(name, _)| name == key)?;
        (!value.is_empty()).then_some(value)
    }
}

impl<R: Read> Reader<BufReader<R>> {
    /// Starts at the first header.
    pub fn new(input: R) -> Self {
        Self::buffered(BufReader::with_capacity(BUFFER, input))
    }
}

impl<R: BufRead> Reader<R> {
    /// As [`new`](Reader::new) for an input that has a buffer of its own: the data of files is
    /// taken right from there.
    pub fn buffered(input: R) -> Self {
        Self { stream: Stream::new(input) }
    }

    /// Reads the next entry. None at the end of the archive; what the stream holds after it is not
    /// read.
    ///
    /// # Errors
    /// [`UnpackError::Read`] and [`UnpackError::Malformed`].
    pub fn next_entry(&mut self) -> Result<Option<Entry>, UnpackError> {
        self.stream.end_entry()?;
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else {
                let any = extensions.pax.is_some()
                    || extensions.long_name.is_some()
                    || extensions.long_link.is_some();
                return if any {
                    self.stream.malformed("an extension without an entry")
                } else {
                    Ok(None)
                };
            };
            let size = self.field(&header.as_old().size, "size")?;
            let slot = match header.as_old().linkflag[0] {
                b'x' => {
                    let Some(records) = pax::parse(&self.extension(size)?) else {
                        return self.stream.malformed("a damaged extended header");
                    };
                    if extensions.pax.replace(records).is_some() {
                        return self.stream.malformed("two extended headers for one entry");
                    }
                    continue;
                }
                b'g' => {
                    self.stream.skip(size.saturating_add(padding(size)))?;
                    continue;
                }
                b'L' => &mut extensions.long_name,
                b'K' => &mut extensions.long_link,
                _ => return self.entry(&header, size, extensions).map(Some),
            };
            let mut text = self.extension(size)?;
            text.truncate(text.iter().position(|byte| *byte == 0).unwrap_or(text.len()));
            if slot.replace(text).is_some() {
                return self.stream.malformed("two long names for one entry");
            }
        }
    }

    /// The next bytes of the current entry's data, at most `limit` and as many as are in memory;
    /// empty at its end. Call [`consume`](Self::consume) with the number that was used.
    ///
    /// # Errors
    /// As [`next_entry`](Self::next_entry).
    pub fn chunk(&mut self, limit: u64) -> Result<&[u8], UnpackError> {
        self.stream.chunk(limit)
    }

    /// Marks bytes of the last [`chunk`](Self::chunk) as used.
    pub fn consume(&mut self, length: usize) {
        self.stream.consume(length);
    }

    /// Makes the header, and what was said before it, an entry.
    fn entry(
        &mut self,
        header: &Header,
        size: u64,
        extensions: Extensions,
    ) -> Result<Entry, UnpackError> {
        let old = header.as_old();
        let mut name = (extensions.long_name.clone())
            .or_else(|| extensions.get(b"path").map(<[u8]>::to_vec))
            .unwrap_or_else(|| header.path_bytes().into_owned());
        self.stream.last.clone_from(&name);
        let link = (extensions.long_link.clone())
            .or_else(|| extensions.get(b"linkpath").map(<[u8]>::to_vec))
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
            .unwrap_or_default();
        let kind = match old.linkflag[0] {
            // Before 1988 a directory was a file whose name ends with a slash.
            0 if name.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return self.stream.malformed(format!("unknown type `{}`", shown(&[other]))),
        };
        let stored = match extensions.get(b"size") {
            // The largest number that the octal and base-256 forms are read to; so sums of two
            // cannot overflow.
            Some(text) => {
                let size = pax::decimal(text).filter(|size| *size <= i64::MAX.cast_unsigned());
                self.stream.known(size, "size")?
            }
            None => size,
        };
        if kind == Kind::File {
            (self.stream.data, self.stream.padding) = (stored, padding(stored));
        }
        let mut entry = Entry {
            kind,
            link,
            mode: self.field(&old.mode, "mode")? as u32 & 0o7777,
            uid: self.owner(extensions.get(b"uid"), &old.uid, "owner")?,
            gid: self.owner(extensions.get(b"gid"), &old.gid, "group")?,
            mtime: match extensions.get(b"mtime") {
                Some(text) => self.stream.known(pax::time(text), "time")?,
                None => TimeSpec::new(self.stream.known(number(&old.mtime), "time")?, 0),
            },
            device: self.device(header, kind)?,
            size: if kind == Kind::File { stored } else { 0 },
            sparse: None,
            xattrs: BTreeMap::new(),
            name: Vec::new(),
        };
        if kind == Kind::File {
            let found = match old.linkflag[0] {
                b'S' => Some(self.old_sparse(header)?),
                _ => self.pax_sparse(&extensions)?,
            };
            if let Some(found) = found {
                self.stream.good(sparse::check(&found.fragments, found.size, self.stream.data))?;
                (entry.sparse, entry.size) = (Some(found.fragments), found.size);
                name = found.name.unwrap_or(name);
            }
        }
        entry.name = name;
        for (key, value) in extensions.pax.unwrap_or_default() {
            if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
                entry.xattrs.insert(attribute.to_vec(), value);
            }
        }
        if entry.name.contains(&0) || entry.link.contains(&0) {
            return self.stream.malformed("a name with a NUL byte");
        }
        Ok(entry)
    }

    /// A sparse file of type `S`: the map goes on in blocks between header and data.
    fn old_sparse(&mut self, header: &Header) -> Result<Sparse, UnpackError> {
        let Some(gnu) = header.as_gnu() else {
            return self.stream.malformed("a GNU sparse file without a GNU header");
        };
        let size = self.field(&gnu.realsize, "size")?;
        let (mut fragments, mut more) = self.stream.good(sparse::old_first(gnu))?;
        while more {
            let mut block = GnuExtSparseHeader::new();
            self.stream.read(block.as_mut_bytes())?;
            more = self.stream.good(sparse::old_more(&mut fragments, &block))?;
        }
        Ok(Sparse { fragments, size, name: None })
    }

    /// A sparse file of the versions 0.0, 0.1 and 1.0.
    fn pax_sparse(&mut self, extensions: &Extensions) -> Result<Option<Sparse>, UnpackError> {
        let Some(records) = &extensions.pax else { return Ok(None) };
        let Some(found) = self.stream.good(sparse::described(records))? else { return Ok(None) };
        let fragments = match found.map {
            Map::Known(fragments) => fragments,
            Map::InData => self.map_in_data()?,
        };
        Ok(Some(Sparse { fragments, size: found.size, name: found.name }))
    }

    /// The map of version 1.0: lines of decimal numbers (count; then offset, length of each),
    /// padded to a block.
    fn map_in_data(&mut self) -> Result<Vec<Fragment>, UnpackError> {
        let before = self.stream.data;
        let count = self.line()?;
        let mut fragments = Vec::new();
        for _ in 0..count {
            let next = Fragment { offset: self.line()?, length: self.line()? };
            self.stream.good(sparse::push(&mut fragments, next))?;
        }
        let rest = padding(before - self.stream.data);
        if rest > self.stream.data {
            return self.stream.malformed("the map of a sparse file is cut off");
        }
        self.stream.skip(rest)?;
        self.stream.data -= rest;
        Ok(fragments)
    }

    /// One decimal number and its newline, taken from the data.
    fn line(&mut self) -> Result<u64, UnpackError> {
        let mut text = Vec::new();
        loop {
            let byte = self.chunk(1)?.first().copied();
            self.consume(usize::from(byte.is_some()));
            match byte {
                Some(b'\n') => {
                    return self.stream.known(pax::decimal(&text), "map of a sparse file");
                }
                Some(byte) if text.len() < 20 => text.push(byte),
                _ => return self.stream.malformed("a damaged map of a sparse file"),
            }
        }
    }

    fn device(&self, header: &Header, kind: Kind) -> Result<(u64, u64), UnpackError> {
        if !matches!(kind, Kind::Char | Kind::Block) {
            return Ok((0, 0));
        }
        // GNU and POSIX have them at the same place; before, there were none.
        let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
            (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
            (_, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
            (None, None) => return self.stream.malformed("a device without a number"),
        };
        let (major, minor) =
            (self.field(major, "device number")?, self.field(minor, "device number")?);
        // dev_t of Linux has 12 and 20 bits.
        if major >= 1 << 12 || minor >= 1 << 20 {
            return self.stream.malformed(format!("no such device number: {major}:{minor}"));
        }
        Ok((major, minor))
    }

    fn owner(&self, pax: Option<&[u8]>, field: &[u8], what: &str) -> Result<u32, UnpackError> {
        let id = match pax {
            Some(text) => self.stream.known(pax::decimal(text), what)?,
            None => self.field(field, what)?,
        };
        // To chown(2) the largest number means "leave it as it is".
        self.stream.known(u32::try_from(id).ok().filter(|id| *id != u32::MAX), what)
    }

    fn field(&self, field: &[u8], what: &str) -> Result<u64, UnpackError> {
        self.stream.known(number(field).and_then(|number| u64::try_from(number).ok()), what)
    }

    /// The next header; None at the end, which is two blocks of zeros or the end of the stream.
    fn header(&mut self) -> Result<Option<Header>, UnpackError> {
        let mut header = Header::new_old();
        if self.stream.at_end()? {
            return Ok(None);
        }
        self.stream.read(header.as_mut_bytes())?;
        let zero = |header: &Header| header.as_bytes().iter().all(|byte| *byte == 0);
        if zero(&header) {
            if !self.stream.at_end()? {
                self.stream.read(header.as_mut_bytes())?;
                if !zero(&header) {
                    return self.stream.malformed("something follows the end of the archive");
                }
            }
            return Ok(None);
        }
        if !checksum_is_right(&header) {
            return self.stream.malformed("the header's checksum is wrong");
        }
        Ok(Some(header))
    }

    /// The data of an extension header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        if size > MAX_EXTENSION {
            return self.stream.malformed(format!(
                "an extended header of {size} bytes, more than {MAX_EXTENSION}"
            ));
        }
        let mut bytes = vec![0; size as usize];
        self.stream.read(&mut bytes)?;
        self.stream.skip(padding(size))?;
        Ok(bytes)
    }
}
