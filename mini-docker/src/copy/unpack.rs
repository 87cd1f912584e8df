//! A tar stream into a directory of a container: `cp - CONTAINER:PATH`.
//!
//! Chapter 04 reads the archive; here each entry gets its place. Names with `..` that climb out are refused, each
//! directory is resolved by the kernel with the container's root as `/`, so that a link, in the archive or made by the
//! container meanwhile, leads no further than that; the last name is never followed. Unlike in a layer, `.wh.` has no
//! meaning.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::Result;
use layers::archive::{Entry, Kind, Reader};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, futimens, makedev};
use nix::sys::time::TimeSpec;
use syscalls::{During, inroot};

use super::item::Item;
use super::meta::{Meta, belongs_to_the_file};
use super::sink;
use super::walk::{Copied, Tell};
use crate::failure::Failure;

/// What may follow the end of the archive: tar(1) pads to its record size, and should not be ended by SIGPIPE for it.
const PADDING: u64 = 1 << 20;

/// Unpacks an archive at `base` in the tree of `root`. Files belong to whom the archive says.
pub(super) fn unpack(
    mut input: impl Read,
    root: BorrowedFd<'_>,
    base: &Path,
    tell: Tell<'_>,
) -> Result<Copied> {
    let mut unpack =
        Unpack { root, base, tell, current: None, times: Vec::new(), copied: Copied::default() };
    let mut archive = Reader::new(&mut input);
    loop {
        let entry = match archive.next_entry() {
            Err(error @ layers::UnpackError::Malformed { .. }) => {
                return Err(Failure::new(error.to_string())
                    .hint("a plain tar is needed: gzip -dc FILE | mini-docker cp - CONTAINER:PATH")
                    .into());
            }
            other => other?,
        };
        let Some(entry) = entry else { break };
        unpack.entry(&entry, &mut archive)?;
    }
    drop(archive);
    io::copy(&mut input.take(PADDING), &mut io::sink()).ok();
    unpack.set_times();
    Ok(unpack.copied)
}

struct Unpack<'a> {
    root: BorrowedFd<'a>,
    base: &'a Path,
    tell: Tell<'a>,
    /// The last directory: entries of one mostly stand together.
    current: Option<(PathBuf, OwnedFd)>,
    /// Directories and their times, which every new file in them changes.
    times: Vec<(PathBuf, TimeSpec)>,
    copied: Copied,
}

impl Unpack<'_> {
    fn entry<R: BufRead>(&mut self, entry: &Entry, archive: &mut Reader<R>) -> Result<()> {
        let shown = entry.shown();
        // The root of the archive is the directory that is there.
        let Some((folder, name)) = place(&entry.name).map_err(|()| outside(&shown))? else {
            return Ok(());
        };
        let meta = Meta {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs: entry
                .xattrs
                .iter()
                .map(|(key, value)| (OsStr::from_bytes(key).to_owned(), value.clone()))
                .filter(|(key, _)| belongs_to_the_file(key))
                .collect(),
        };
        let name = OsStr::from_bytes(&name);
        let tell = self.tell;
        let parent = self.enter(&folder)?;
        match entry.kind {
            Kind::Directory => {
                let dir = sink::directory(parent, name, &shown)?;
                meta.give(dir.as_fd(), SFlag::S_IFDIR, &shown)?;
                self.times.push((folder.join(name), entry.mtime));
            }
            Kind::File => {
                let fill = |file: &File| fill(file, entry, archive, &shown, tell);
                let bytes = sink::file(parent, name, &meta, &shown, fill)?;
                self.copied.bytes += bytes;
            }
            Kind::HardLink => {
                let target = place(&entry.link).ok().flatten();
                let (target_folder, target) = target.ok_or_else(|| outside(&shown))?;
                let first = self
                    .open(&target_folder)
                    .and_then(|dir| Item::open(dir.as_fd(), OsStr::from_bytes(&target)))
                    .during("find target of hard link", &shown)?;
                if first.is_dir() {
                    return Err(
                        Failure::new(format!("`{shown}` is a hard link to a directory")).into()
                    );
                }
                let parent = self.enter(&folder)?;
                sink::hard_link(parent, name, &first, &shown)?;
            }
            Kind::Symlink => {
                sink::link(parent, name, OsStr::from_bytes(&entry.link), &meta, &shown)?;
            }
            Kind::Char | Kind::Block | Kind::Fifo => {
                let kind = match entry.kind {
                    Kind::Char => SFlag::S_IFCHR,
                    Kind::Block => SFlag::S_IFBLK,
                    _ => SFlag::S_IFIFO,
                };
                let device = makedev(entry.device.0, entry.device.1);
                sink::node(parent, name, kind, device, &meta, &shown)?;
            }
        }
        Ok(())
    }

    /// Opens a directory below the base, making what is missing of it.
    fn enter(&mut self, folder: &Path) -> Result<BorrowedFd<'_>> {
        let kept = self.current.take().filter(|(path, _)| path == folder);
        let current = match kept {
            Some(current) => current,
            None => {
                let dir = match self.open(folder) {
                    Err(Errno::ENOENT) => sink::directories(self.root, &self.base.join(folder))?,
                    other => other.during("open directory", folder.display())?,
                };
                sink::refuse_kernels(dir.as_fd(), &folder.display().to_string())?;
                (folder.to_owned(), dir)
            }
        };
        Ok(self.current.insert(current).1.as_fd())
    }

    fn open(&self, folder: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        inroot::open(self.root, &self.base.join(folder), flags, Mode::empty())
    }

    /// Gives directories the times of the archive. One that has gone meanwhile needs none.
    fn set_times(&self) {
        for (folder, time) in self.times.iter().rev() {
            if let Ok(dir) = self.open(folder) {
                futimens(&dir, &TimeSpec::UTIME_OMIT, time).ok();
            }
        }
    }
}

/// Writes the data of an entry. Holes stay holes.
fn fill<R: BufRead>(
    mut file: &File,
    entry: &Entry,
    archive: &mut Reader<R>,
    shown: &str,
    tell: Tell<'_>,
) -> Result<u64> {
    let mut bytes = 0;
    let mut copy = |length: u64, mut file: &File| -> Result<()> {
        let mut left = length;
        while left > 0 {
            let chunk = archive.chunk(left)?;
            let length = chunk.len();
            if length == 0 {
                return Err(Failure::new(format!("the archive ends in `{shown}`")).into());
            }
            file.write_all(chunk).during("write file", shown)?;
            archive.consume(length);
            left -= length as u64;
            bytes += length as u64;
            tell(length as u64);
        }
        Ok(())
    };
    match &entry.sparse {
        None => copy(entry.size, file)?,
        Some(fragments) => {
            file.set_len(entry.size).during("write file", shown)?;
            for fragment in fragments {
                let start = io::SeekFrom::Start(fragment.offset);
                file.seek(start).during("write file", shown)?;
                copy(fragment.length, file)?;
            }
        }
    }
    Ok(bytes)
}

/// Folder and last name of an entry, relative to the base; None for the base itself. Absolute names are taken relative,
/// as tar(1) does.
fn place(name: &[u8]) -> Result<Option<(PathBuf, Vec<u8>)>, ()> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop().ok_or(())?),
            part => parts.push(part),
        }
    }
    let Some((last, folders)) = parts.split_last() else { return Ok(None) };
    let folder = PathBuf::from(std::ffi::OsString::from_vec(folders.join(&b'/')));
    Ok(Some((folder, last.to_vec())))
}

fn outside(shown: &str) -> anyhow::Error {
    Failure::new(format!("refused entry `{shown}`: it leads out of the destination"))
        .hint("is the archive made to do harm? tar -tf shows its names")
        .into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_base() {
        for (name, expected) in [
            ("a", Some(("", "a"))),
            ("./a/b/", Some(("a", "b"))),
            ("/etc/passwd", Some(("etc", "passwd"))),
            ("a/../b", Some(("", "b"))),
            (".wh.a", Some(("", ".wh.a"))),
            ("./", None),
            ("/", None),
        ] {
            let found = place(name.as_bytes()).unwrap();
            let expected = expected.map(|(folder, name)| (folder.into(), name.as_bytes().to_vec()));
            assert_eq!(found, expected, "{name}");
        }
        for name in ["..", "../a", "a/../../b", "/../a"] {
            assert_eq!(place(name.as_bytes()), Err(()), "{name}");
        }
    }
}
