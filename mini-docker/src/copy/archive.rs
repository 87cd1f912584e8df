//! Writes files as a plain tar: what `export` gives, and `cp CONTAINER:PATH -`.
//!
//! Unlike a layer (chapter 04) it has no words for deleted files: a name that begins with `.wh.` and a device 0/0 are
//! written as what they are.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::stat::{SFlag, major, minor};
use nix::sys::time::TimeSpec;
use syscalls::During;
use tar::{Builder, EntryType, Header};

use super::item::{Item, names};
use super::meta::Meta;
use super::walk::DEPTH;
use crate::failure::Failure;

const BUFFER: usize = 256 * 1024;

/// A file of at most this size is read before its header is written: then the header is right, whoever changes the file
/// meanwhile.
const SMALL: usize = 64 * 1024;

/// An archive being written.
///
/// Format: GNU tar headers; PAX records for long names, fractions of seconds, extended attributes. Entries are in the
/// order of their names, hard links are links to their first name, and nothing depends on the moment.
pub(crate) struct Archive<'a, W: Write> {
    builder: Builder<BufWriter<W>>,
    hidden: &'a [(u64, u64)],
    /// First names of files that have several, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl<'a, W: Write> Archive<'a, W> {
    /// `hidden`: directories, by device and inode, that are written as empty ones.
    pub(crate) fn new(out: W, hidden: &'a [(u64, u64)]) -> Self {
        let builder = Builder::new(BufWriter::with_capacity(BUFFER, out));
        Self { builder, hidden, links: HashMap::new() }
    }

    /// Writes a file of any kind, and what is in it, under a name; without one it is the archive's root, `./`. `.` is
    /// the root too, and a part of each name in it.
    pub(crate) fn tree(&mut self, item: &Item, name: Option<&OsStr>) -> Result<()> {
        self.entry(item, name.map_or(b"", |name| name.as_bytes()), 0)
    }

    /// Writes the end of the archive.
    pub(crate) fn finish(self) -> Result<()> {
        let mut out = self.builder.into_inner().context("write archive")?;
        out.flush().context("write archive")
    }

    fn entry(&mut self, item: &Item, path: &[u8], depth: usize) -> Result<()> {
        let shown = String::from_utf8_lossy(path).into_owned();
        let entry_type = match item.kind() {
            SFlag::S_IFDIR => return self.directory(item, path, &shown, depth),
            // An archive has no word for a socket, and nobody listens any more.
            SFlag::S_IFSOCK => return Ok(()),
            SFlag::S_IFREG => EntryType::Regular,
            SFlag::S_IFLNK => EntryType::Symlink,
            SFlag::S_IFCHR => EntryType::Char,
            SFlag::S_IFBLK => EntryType::Block,
            _ => EntryType::Fifo,
        };
        let meta = Meta::read(item, &shown)?;
        if item.stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&item.identity()) {
                let first = first.clone();
                let meta = Meta { xattrs: Vec::new(), ..meta };
                return self.write(
                    header(EntryType::Link, &meta),
                    path,
                    &first,
                    &meta,
                    io::empty(),
                );
            }
            self.links.insert(item.identity(), path.to_vec());
        }
        let mut header = header(entry_type, &meta);
        match entry_type {
            EntryType::Symlink => {
                let target = item.target().during("read link", &shown)?;
                self.write(header, path, target.as_bytes(), &meta, io::empty())
            }
            EntryType::Regular => {
                let file = item.contents().during("open file", &shown)?;
                let size = item.stat.st_size.cast_unsigned();
                if size <= SMALL as u64 {
                    let mut bytes = Vec::with_capacity(size as usize);
                    (&file).take(size).read_to_end(&mut bytes).during("read file", &shown)?;
                    header.set_size(bytes.len() as u64);
                    return self.write(header, path, b"", &meta, &bytes[..]);
                }
                header.set_size(size);
                let mut data = Exactly { file, left: size, failed: None };
                let written = self.write(header, path, b"", &meta, &mut data);
                data.failed.map_or(written, |error| {
                    Err(error).with_context(|| format!("read file `{shown}`"))
                })
            }
            EntryType::Char | EntryType::Block => {
                header.set_device_major(major(item.stat.st_rdev) as u32)?;
                header.set_device_minor(minor(item.stat.st_rdev) as u32)?;
                self.write(header, path, b"", &meta, io::empty())
            }
            _ => self.write(header, path, b"", &meta, io::empty()),
        }
    }

    fn directory(&mut self, item: &Item, path: &[u8], shown: &str, depth: usize) -> Result<()> {
        if depth > DEPTH {
            Err(Errno::ENAMETOOLONG).during("write directory", shown)?;
        }
        let prefix = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
        let name = if path.is_empty() { &b"./"[..] } else { &prefix };
        let meta = Meta::read(item, shown)?;
        self.write(header(EntryType::Directory, &meta), name, b"", &meta, io::empty())?;
        if self.hidden.contains(&item.identity())
            || item.is_kernels().during("ask for the file system of", shown)?
        {
            return Ok(());
        }
        let dir = item.directory().during("open directory", shown)?;
        for name in names(dir.as_fd()).during("read directory", shown)? {
            match Item::open(dir.as_fd(), &name) {
                // Removed meanwhile.
                Err(Errno::ENOENT) => {}
                other => {
                    let path = [&prefix, name.as_bytes()].concat();
                    let child = other.during("open", String::from_utf8_lossy(&path))?;
                    self.entry(&child, &path, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        mut header: Header,
        path: &[u8],
        link: &[u8],
        meta: &Meta,
        data: impl Read,
    ) -> Result<()> {
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        let old = header.as_old_mut();
        for (key, field, text) in
            [("path", &mut old.name, path), ("linkpath", &mut old.linkname, link)]
        {
            if text.len() > field.len() {
                records.push((key.to_owned(), text.to_vec()));
            }
            // A reader that knows no PAX gets as much as there is room for.
            let length = text.len().min(field.len());
            field[..length].copy_from_slice(&text[..length]);
        }
        if meta.mtime.tv_nsec() != 0 || meta.mtime.tv_sec() < 0 {
            records.push(("mtime".to_owned(), time(meta.mtime).into_bytes()));
        }
        for (key, value) in &meta.xattrs {
            // `=` ends the name in a PAX record.
            match key.to_str().filter(|key| !key.contains('=')) {
                Some(key) => records.push((format!("SCHILY.xattr.{key}"), value.clone())),
                None => {
                    let (path, key) = (String::from_utf8_lossy(path), key.display());
                    return Err(Failure::new(format!(
                        "`{path}`: the attribute `{key}` cannot be written to a tar archive"
                    ))
                    .hint("take it away with setfattr -x")
                    .into());
                }
            }
        }
        header.set_cksum();
        let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.builder
            .append_pax_extensions(records)
            .and_then(|()| self.builder.append(&header, data))
            .context("write archive")
    }
}

fn header(entry_type: EntryType, meta: &Meta) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(entry_type);
    header.set_mode(meta.mode);
    header.set_uid(u64::from(meta.uid));
    header.set_gid(u64::from(meta.gid));
    header.set_size(0);
    header.set_mtime(u64::try_from(meta.mtime.tv_sec()).unwrap_or(0));
    header
}

/// Seconds since 1970 with their fraction, as pax(1) writes them.
fn time(time: TimeSpec) -> String {
    let nanoseconds = i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec());
    let (seconds, fraction) =
        (nanoseconds.unsigned_abs() / 1_000_000_000, nanoseconds.unsigned_abs() % 1_000_000_000);
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let text = format!("{sign}{seconds}.{fraction:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// As many bytes of a file as its header says: what follows them must be the next header.
struct Exactly {
    file: File,
    left: u64,
    failed: Option<io::Error>,
}

impl Read for Exactly {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let want = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = match self.file.read(&mut into[..want]) {
            Ok(0) if want > 0 => Err(io::Error::other("it became shorter meanwhile")),
            other => other,
        };
        match read {
            Ok(length) => self.left -= length as u64,
            Err(ref error) if error.kind() != io::ErrorKind::Interrupted => {
                self.failed = Some(io::Error::new(error.kind(), error.to_string()));
            }
            Err(_) => {}
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_decimal() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "0"),
            (1, 500_000_000, "1.5"),
            (10, 1, "10.000000001"),
            (-1, 0, "-1"),
            (-1, 500_000_000, "-0.5"),
            (-2, 250_000_000, "-1.75"),
        ] {
            assert_eq!(time(TimeSpec::new(seconds, nanoseconds)), text);
        }
    }
}
