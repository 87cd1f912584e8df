//! Turns what a container wrote back into a layer: [`unpack`](crate::unpack()), the other way
//! round.
//!
//! The upper folder of an overlay holds just what changed; what overlay says with devices and
//! attributes, the archive says with names. Names are sorted and nothing depends on the moment, so
//! the same folder gives the same bytes and the same diff ID.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, major, minor};
use nix::sys::time::TimeSpec;
use syscalls::{During, KernelError};
use tar::{EntryType, Header};

use crate::attributes::{below, is_overlays, open_dir};
use crate::error::shown;
use crate::header::padding;
use crate::names::{OPAQUE, PATH_MAX, WHITEOUT};
use crate::pax;
use crate::places::kind;

const BUFFER: usize = 256 * 1024;

/// What went into the archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiffStats {
    /// Entries, the root's included.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Whiteouts and opaque directories.
    pub whiteouts: u64,
    /// Sockets: an archive has no word for them, and nobody listens any more.
    pub skipped_sockets: u64,
}

/// Why no layer could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// A file's name begins with `.wh.`, which in a layer would delete another file.
    #[error("`{0}`: in a layer, names that begin with `.wh.` mean a deleted file")]
    Reserved(String),
    /// The file became shorter while it was read.
    #[error("`{0}` changed while it was read")]
    Changed(String),
    /// An attribute's name contains `=`, which ends the name in a PAX record.
    #[error("`{path}`: the attribute `{attribute}` cannot be written to a tar archive")]
    Attribute {
        /// The file.
        path: String,
        /// The attribute's name.
        attribute: String,
    },
    /// The archive could not be written.
    #[error("write archive: {0}")]
    Write(#[source] io::Error),
    /// A step failed; the object is the file.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Writes the directory `upper`, the upper folder of an overlay that is not in use, as a layer.
///
/// Format: ustar; PAX records where needed (long names, fractions of seconds, numbers above octal's
/// reach, extended attributes). The first entry is the root, `./`. Hard links stay links to their
/// first name. Overlay's own attributes and SELinux labels, which belong to this machine, are left
/// out.
///
/// # Errors
/// [`DiffError`]; `out` then holds part of an archive.
pub fn diff(upper: BorrowedFd<'_>, out: impl Write) -> Result<DiffStats, DiffError> {
    diff_of(upper, &|_| true, out)
}

/// As [`diff`], of what `keep` wants: it is asked for each path, `etc/hosts`, before anything below it. The root is
/// the empty path: if that is not wanted, it has no entry of its own, and what is in it is asked for all the same.
///
/// What is removed while this works, in a tree that is in use, is left out.
///
/// # Errors
/// As [`diff`].
pub fn diff_of(
    upper: BorrowedFd<'_>,
    keep: &dyn Fn(&[u8]) -> bool,
    out: impl Write,
) -> Result<DiffStats, DiffError> {
    let root = open_dir(upper, b".").during("open directory", "/")?;
    let out = BufWriter::with_capacity(BUFFER, out);
    let (stats, first_names) = (DiffStats::default(), HashMap::new());
    let mut writer = Writer { out, keep, stats, first_names };
    let stat = fstat(&root).during("read attributes", "/")?;
    writer.directory(&root, b"", &stat)?;
    writer.out.write_all(&[0; 1024]).map_err(DiffError::Write)?;
    writer.out.flush().map_err(DiffError::Write)?;
    Ok(writer.stats)
}

struct Writer<'k, W> {
    out: W,
    keep: &'k dyn Fn(&[u8]) -> bool,
    stats: DiffStats,
    /// First names of files that have several, by device and inode.
    first_names: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Writer<'_, W> {
    fn directory(&mut self, dir: &File, path: &[u8], stat: &FileStat) -> Result<(), DiffError> {
        let name = if path.is_empty() { b"./".to_vec() } else { [path, b"/"].concat() };
        let attributes = self.attributes(dir.as_fd(), b".", path)?;
        if !path.is_empty() || (self.keep)(b"") {
            self.header(&name, EntryType::Directory, stat, b"", &attributes.kept)?;
        }
        let prefix = if path.is_empty() { &b""[..] } else { &name };
        if attributes.opaque {
            // Right after the directory: some readers delete what they have unpacked so far.
            self.whiteout(&[prefix, OPAQUE].concat())?;
        }
        for child in names(dir, path)? {
            let path = [prefix, child.as_bytes()].concat();
            self.child(dir, child.as_bytes(), &path)?;
        }
        Ok(())
    }

    fn child(&mut self, dir: &File, name: &[u8], path: &[u8]) -> Result<(), DiffError> {
        if !(self.keep)(path) {
            return Ok(());
        }
        if name.starts_with(WHITEOUT) {
            return Err(DiffError::Reserved(shown(path)));
        }
        if path.len() > PATH_MAX {
            return Err(Errno::ENAMETOOLONG).during("write entry", shown(path))?;
        }
        let stat = match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other.during("read attributes", shown(path))?,
        };
        let entry_type = match kind(stat.st_mode) {
            SFlag::S_IFDIR => {
                let child = match open_dir(dir, name) {
                    Err(Errno::ENOENT) => return Ok(()),
                    other => other.during("open directory", shown(path))?,
                };
                return self.directory(&child, path, &stat);
            }
            SFlag::S_IFCHR if stat.st_rdev == 0 => {
                let parent = &path[..path.len() - name.len()];
                return self.whiteout(&[parent, WHITEOUT, name].concat());
            }
            SFlag::S_IFSOCK => {
                self.stats.skipped_sockets += 1;
                return Ok(());
            }
            SFlag::S_IFREG => EntryType::Regular,
            SFlag::S_IFLNK => EntryType::Symlink,
            SFlag::S_IFCHR => EntryType::Char,
            SFlag::S_IFBLK => EntryType::Block,
            _ => EntryType::Fifo,
        };
        if stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.first_names.get(&inode) {
                let first = first.clone();
                return self.header(path, EntryType::Link, &stat, &first, &[]);
            }
        }
        let link = match entry_type {
            EntryType::Symlink => match readlinkat(dir, name) {
                Err(Errno::ENOENT) => return Ok(()),
                other => other.during("read link", shown(path))?,
            },
            _ => OsString::new(),
        };
        // Before the header: a file that has gone meanwhile has none. Not blocking: it may be a fifo by now.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match entry_type {
            EntryType::Regular => match openat(dir, name, flags, Mode::empty()) {
                Err(Errno::ENOENT) => return Ok(()),
                other => Some(other.during("open file", shown(path))?),
            },
            _ => None,
        };
        let attributes = self.attributes(dir.as_fd(), name, path)?;
        if stat.st_nlink > 1 {
            self.first_names.insert((stat.st_dev, stat.st_ino), path.to_vec());
        }
        self.header(path, entry_type, &stat, link.as_bytes(), &attributes.kept)?;
        match file {
            Some(file) => self.contents(File::from(file), path, stat.st_size.cast_unsigned()),
            None => Ok(()),
        }
    }

    fn contents(&mut self, mut file: File, path: &[u8], size: u64) -> Result<(), DiffError> {
        let mut buffer = vec![0; (size as usize).clamp(1, BUFFER)];
        let mut left = size;
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let length = file.read(&mut buffer[..want]).during("read file", shown(path))?;
            if length == 0 {
                return Err(DiffError::Changed(shown(path)));
            }
            self.out.write_all(&buffer[..length]).map_err(DiffError::Write)?;
            left -= length as u64;
        }
        self.pad(size)?;
        self.stats.files += 1;
        self.stats.bytes += size;
        Ok(())
    }

    /// An empty file of root's, of 1970: only its name counts.
    fn whiteout(&mut self, path: &[u8]) -> Result<(), DiffError> {
        let mut header = empty_header(EntryType::Regular);
        let mut records = Vec::new();
        set_name(&mut header.as_old_mut().name, b"path", path, &mut records);
        self.stats.whiteouts += 1;
        self.write(header, &records)
    }

    fn header(
        &mut self,
        path: &[u8],
        entry_type: EntryType,
        stat: &FileStat,
        link: &[u8],
        xattrs: &[(OsString, Vec<u8>)],
    ) -> Result<(), DiffError> {
        let mut header = empty_header(entry_type);
        let mut records = Vec::new();
        header.set_mode(stat.st_mode & 0o7777);
        set_name(&mut header.as_old_mut().name, b"path", path, &mut records);
        set_name(&mut header.as_old_mut().linkname, b"linkpath", link, &mut records);
        let old = header.as_old_mut();
        set_number(&mut old.uid, b"uid", u64::from(stat.st_uid), &mut records);
        set_number(&mut old.gid, b"gid", u64::from(stat.st_gid), &mut records);
        if entry_type == EntryType::Regular {
            set_number(&mut old.size, b"size", stat.st_size.cast_unsigned(), &mut records);
        }
        match u64::try_from(stat.st_mtime) {
            Ok(seconds) if stat.st_mtime_nsec == 0 => {
                set_number(&mut old.mtime, b"mtime", seconds, &mut records);
            }
            _ => {
                set_number(&mut old.mtime, b"", stat.st_mtime.max(0).cast_unsigned(), &mut records);
                let time = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
                pax::push(&mut records, b"mtime", pax::time_text(time).as_bytes());
            }
        }
        if matches!(entry_type, EntryType::Char | EntryType::Block) {
            // 12 and 20 bits always fit into seven octal digits; the header is ustar, so neither
            // can fail.
            header.set_device_major(major(stat.st_rdev) as u32).map_err(DiffError::Write)?;
            header.set_device_minor(minor(stat.st_rdev) as u32).map_err(DiffError::Write)?;
        }
        for (key, value) in xattrs {
            let key = [&b"SCHILY.xattr."[..], key.as_bytes()].concat();
            pax::push(&mut records, &key, value);
        }
        self.write(header, &records)
    }

    fn write(&mut self, mut header: Header, records: &[u8]) -> Result<(), DiffError> {
        if !records.is_empty() {
            let mut extended = empty_header(EntryType::XHeader);
            let name = b"PaxHeaders/entry";
            extended.as_old_mut().name[..name.len()].copy_from_slice(name);
            extended.set_size(records.len() as u64);
            extended.set_cksum();
            self.out.write_all(extended.as_bytes()).map_err(DiffError::Write)?;
            self.out.write_all(records).map_err(DiffError::Write)?;
            self.pad(records.len() as u64)?;
        }
        header.set_cksum();
        self.stats.entries += 1;
        self.out.write_all(header.as_bytes()).map_err(DiffError::Write)
    }

    fn pad(&mut self, size: u64) -> Result<(), DiffError> {
        self.out.write_all(&[0; 512][..padding(size) as usize]).map_err(DiffError::Write)
    }

    fn attributes(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<Attributes, DiffError> {
        let mut attributes = Attributes { kept: Vec::new(), opaque: false };
        let place = below(dir, name);
        let failed = || shown(path);
        let keys = match xattr::list(&place) {
            Err(error) if error.raw_os_error() == Some(Errno::ENOTSUP as i32) => {
                return Ok(attributes);
            }
            other => other.during("list attributes", failed())?,
        };
        for key in keys {
            let Some(value) = xattr::get(&place, &key).during("read attribute", failed())? else {
                continue;
            };
            if is_overlays(key.as_bytes()) {
                attributes.opaque |= key.as_bytes().ends_with(b".overlay.opaque") && value == b"y";
            } else if key.as_bytes().contains(&b'=') {
                let attribute = shown(key.as_bytes());
                return Err(DiffError::Attribute { path: shown(path), attribute });
            } else if key != OsStr::new("security.selinux") {
                attributes.kept.push((key, value));
            }
        }
        attributes.kept.sort();
        Ok(attributes)
    }
}

struct Attributes {
    kept: Vec<(OsString, Vec<u8>)>,
    opaque: bool,
}

/// The names in a directory, sorted by their bytes.
fn names(dir: &File, path: &[u8]) -> Result<Vec<OsString>, DiffError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut names: Vec<OsString> = Dir::openat(dir, ".", flags, Mode::empty())
        .and_then(|mut dir| {
            let name = |name: &CStr| OsStr::from_bytes(name.to_bytes()).to_owned();
            dir.iter().map(|entry| entry.map(|entry| name(entry.file_name()))).collect()
        })
        .during("read directory", shown(path))?;
    names.retain(|name| name != "." && name != "..");
    names.sort();
    Ok(names)
}

/// A header with zeros, in digits, for all numbers: not every reader takes an empty field for one.
fn empty_header(entry_type: EntryType) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(entry_type);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mtime(0);
    header
}

/// Puts a name into its field, or into a record if it is too long.
fn set_name(field: &mut [u8; 100], key: &[u8], name: &[u8], records: &mut Vec<u8>) {
    let fits = name.len() <= field.len();
    if !fits {
        pax::push(records, key, name);
    }
    // A reader that knows no PAX gets as much as there is room for.
    let length = name.len().min(field.len());
    field[..length].copy_from_slice(&name[..length]);
}

/// Puts a number into its field in octal, or into a record if it is too large.
fn set_number(field: &mut [u8], key: &[u8], number: u64, records: &mut Vec<u8>) {
    let width = field.len() - 1;
    let octal = format!("{number:0width$o}\0");
    if octal.len() == field.len() {
        field.copy_from_slice(octal.as_bytes());
    } else {
        field.fill(b'0');
        field[width] = 0;
        if !key.is_empty() {
            pax::push(records, key, number.to_string().as_bytes());
        }
    }
}
