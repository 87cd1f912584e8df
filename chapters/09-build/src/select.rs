//! Which files a `COPY` or `ADD` takes.
//!
//! The sources are looked up below one open directory, the *root*: the context, or the merged tree
//! of another stage. Nothing outside is ever reached, whatever links say (the module `place` says
//! how). The rules are BuildKit's:
//!
//! - A source is a path from the root; `/` at the beginning and `..` above the root mean nothing.
//! - `*`, `?` and `[...]` match names in one directory each; `**` is no more than `*` here (with
//!   `--parents` it is any number of directories). A pattern that matches nothing is fine; a plain
//!   path has to be there.
//! - A link that is *named* is followed, inside the root; it keeps its own name. Links *in* a
//!   copied directory are copied as links.
//! - Of a directory its contents are copied, not the directory itself.
//! - `.dockerignore` counts for real names: what it excludes is not there, even through a link.
//! - `--exclude` counts from the source that is copied; for a single file, its name counts.
//! - With `--parents` the whole path from the root is kept, or what follows `/./` in the source.
//!
//! What comes out is a list: names, kinds and attributes. No file has been opened to read it yet.
//! The order of a directory's names is that of their bytes, so the same files give the same list
//! everywhere.

mod glob;
mod hint;
mod walk;

use std::fs::File;
use std::os::fd::BorrowedFd;

use nix::fcntl::OFlag;
use nix::libc::{dev_t, ino_t};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use syscalls::{During, step};

use crate::file_error::FileError;
use crate::ignore::Ignore;
use crate::names::{Shown, clean, from_root, shown, split};
use crate::pattern::Pattern;
use crate::place::{kind, open_real};

/// What a `COPY` or `ADD` asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// Paths and patterns, expanded.
    pub sources: &'a [String],
    /// `--exclude`.
    pub exclude: &'a [String],
    /// `--parents`.
    pub parents: bool,
}

/// What a `COPY` or `ADD` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// For each source, or each match of it, in the order of the instruction.
    pub tops: Vec<Top>,
    /// Sources with wildcards that match nothing: worth a warning.
    pub unmatched: Vec<String>,
    /// Whether directories of the source are made anew in the target, and left alone if they are
    /// there (`--parents`).
    pub parents: bool,
    /// Sockets, which nobody can copy.
    pub skipped_sockets: u64,
}

/// One file or directory that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// Its own name, the link's if it was named by a link; empty for the root.
    pub name: Vec<u8>,
    /// Its real path from the root.
    pub source: Vec<u8>,
    /// A directory, whose contents are copied; else there is exactly one entry.
    pub is_directory: bool,
    /// What is copied, a directory before what is in it.
    pub entries: Vec<Entry>,
}

/// A file, directory, link or device that is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From the target: the path in the copied directory, or the file's name.
    pub path: Vec<u8>,
    /// The real path from the root.
    pub source: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions with the set-id and sticky bits, as the source has them.
    pub mode: u32,
    /// The owner that the source has.
    pub uid: u32,
    /// The group that the source has.
    pub gid: u32,
    /// When it was modified: seconds since 1970 and nanoseconds.
    pub mtime: (i64, i64),
    /// Which state of which file was seen.
    pub stamp: Stamp,
    /// Whether the file has further names (hard links), here or elsewhere.
    pub linked: bool,
    /// A directory that is here only because something in it is: it is made, but not changed if it
    /// exists.
    pub implied: bool,
}

/// Kinds of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link and where it points.
    Symlink(Vec<u8>),
    /// A device: `S_IFCHR` or `S_IFBLK`, and its number.
    Device(SFlag, dev_t),
    /// A named pipe.
    Fifo,
}

/// A file and a state of it: as long as all of this is the same, so is its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Device.
    pub dev: dev_t,
    /// Inode.
    pub ino: ino_t,
    /// Size in bytes.
    pub size: i64,
    /// Time of the last change of the content: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Time of the last change of anything; no program can set it.
    pub ctime: (i64, i64),
}

impl Stamp {
    /// Of what fstat(2) says.
    pub fn of(stat: &FileStat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: stat.st_size,
            mtime: (stat.st_mtime, stat.st_mtime_nsec),
            ctime: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// Finds what a `COPY` or `ADD` takes.
///
/// `root` is a directory, opened in any way. `ignore` is the context's `.dockerignore`; a stage has
/// none (`Ignore::default()`).
///
/// # Errors [`FileError::NotFound`] for a source without wildcards that is not there; a bad
/// pattern; `ENAMETOOLONG` for a path of 4096 bytes or more.
pub fn select(
    root: BorrowedFd<'_>,
    ignore: &Ignore,
    request: &Request<'_>,
) -> Result<Selection, FileError> {
    let exclude = Ignore::patterns(request.exclude)?;
    let mut selection = Selection { parents: request.parents, ..Selection::default() };
    for source in request.sources {
        if request.parents {
            with_parents(root, ignore, &exclude, source, &mut selection)?;
            continue;
        }
        let found = glob::expand(root, ignore, source.as_bytes())?;
        if found.is_empty() {
            selection.unmatched.push(source.clone());
        }
        for named in found {
            let walk = walk::Walk { root, ignore, exclude: &exclude, include: None };
            walk.top(&named, &mut selection)?;
        }
    }
    Ok(selection)
}

/// `--parents`: everything below the root, or below what stands before `/./`, is matched against
/// the source.
fn with_parents(
    root: BorrowedFd<'_>,
    ignore: &Ignore,
    exclude: &Ignore,
    source: &str,
    selection: &mut Selection,
) -> Result<(), FileError> {
    let (base, rest) = source.split_once("/./").unwrap_or(("", source));
    let rest = from_root(rest.as_bytes());
    let include = Pattern::parse(if rest.is_empty() { b"**" } else { &rest })?;
    let before: usize = selection.tops.iter().map(|top| top.entries.len()).sum();
    for named in glob::expand(root, ignore, base.as_bytes())? {
        let walk = walk::Walk { root, ignore, exclude, include: Some(&include) };
        walk.top(&named, selection)?;
    }
    let after: usize = selection.tops.iter().map(|top| top.entries.len()).sum();
    if before < after {
        return Ok(());
    }
    let plain = !glob::has_wildcards(base.as_bytes()) && include.literal().is_some();
    let excluded = include.literal().is_some_and(|path| exclude.excluded_by(path).is_some());
    if plain && !excluded {
        let path = from_root(&clean(&[base.as_bytes(), b"/", &rest].concat()));
        return Err(hint::not_found(root, ignore, &path, source));
    }
    selection.unmatched.push(source.to_owned());
    Ok(())
}

impl Selection {
    /// All entries, in the order in which they are copied.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.tops.iter().flat_map(|top| &top.entries)
    }

    /// The bytes of all files.
    pub fn size(&self) -> u64 {
        let files = self.entries().filter(|entry| entry.kind == Kind::File);
        files.map(|entry| entry.stamp.size.unsigned_abs()).sum()
    }
}

impl Entry {
    pub(crate) fn of(stat: &FileStat, path: Vec<u8>, source: Vec<u8>, kind: Kind) -> Self {
        Self {
            path,
            source,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: (stat.st_mtime, stat.st_mtime_nsec),
            stamp: Stamp::of(stat),
            linked: stat.st_nlink > 1,
            implied: false,
        }
    }

    /// The source for messages.
    pub fn shown(&self) -> String {
        shown(&self.source)
    }

    /// The last part of the path.
    pub fn name(&self) -> &[u8] {
        split(&self.path).1
    }

    /// Opens a file or directory to read it, below the same root in which it was found.
    ///
    /// # Errors
    /// [`FileError::Changed`] if something else has its name now.
    pub fn open(&self, root: BorrowedFd<'_>) -> Result<File, FileError> {
        let (file, stat) = self.open_with(root, OFlag::O_RDONLY)?;
        match kind(&stat) {
            SFlag::S_IFREG | SFlag::S_IFDIR => Ok(file),
            _ => Err(FileError::Changed { path: self.shown() }),
        }
    }

    /// As [`Entry::open`], for any kind with `O_PATH`; and its attributes now.
    pub(crate) fn open_with(
        &self,
        root: BorrowedFd<'_>,
        flags: OFlag,
    ) -> Result<(File, FileStat), FileError> {
        use nix::errno::Errno;
        // Not blocking: it may be a fifo by now.
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let opened = step!(
            "openat2",
            ("root, {:?}, BENEATH|NO_SYMLINKS", self.shown()),
            open_real(root, &self.source, flags, Mode::empty())
        );
        let file = match opened {
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENOTDIR | Errno::ENXIO) => {
                return Err(FileError::Changed { path: self.shown() });
            }
            other => File::from(other.during("open", Shown(&self.source))?),
        };
        let stat = fstat(&file).during("read attributes", Shown(&self.source))?;
        let same = (stat.st_dev, stat.st_ino) == (self.stamp.dev, self.stamp.ino);
        if !same || kind(&stat) != self.kind.flag() {
            return Err(FileError::Changed { path: self.shown() });
        }
        Ok((file, stat))
    }
}

impl Kind {
    /// The bits of `st_mode` that say so.
    pub fn flag(&self) -> SFlag {
        match self {
            Self::Directory => SFlag::S_IFDIR,
            Self::File => SFlag::S_IFREG,
            Self::Symlink(_) => SFlag::S_IFLNK,
            Self::Device(flag, _) => *flag,
            Self::Fifo => SFlag::S_IFIFO,
        }
    }
}
