//! Fills a tmpfs with what the image has at its place, as Docker's `tmpcopyup` does.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmodat, fstatat, mkdirat, mknodat,
    utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, symlinkat};
use syscalls::{During, KernelError};

use crate::root::file_type;

/// Copies everything below the directory `from` into the directory `to`: contents, types, owners, modes and times.
/// Extended attributes are not copied, and two names of one file become two files. `shown` is for messages.
///
/// No path is followed: each step opens one name of an open directory, and links are copied as links.
pub(crate) fn copy(from: OwnedFd, to: OwnedFd, shown: &Path) -> Result<(), KernelError> {
    let failed =
        |errno: Errno, path: &Path| KernelError::new("copy to tmpfs", path.display(), errno);
    let to_fd = to.as_fd();
    let mut entries = Dir::from_fd(from).map_err(|errno| failed(errno, shown))?;
    let names: Vec<PathBuf> = entries
        .iter()
        .map(|entry| entry.map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).into()))
        .collect::<Result<_, Errno>>()
        .map_err(|errno| failed(errno, shown))?;
    let from_fd = entries.as_fd();
    for name in names {
        if name == Path::new(".") || name == Path::new("..") {
            continue;
        }
        let path = shown.join(&name);
        let stat = fstatat(from_fd, &name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(errno, &path))?;
        if file_type(&stat) == SFlag::S_IFDIR {
            let (from, to) =
                make_directory(from_fd, to_fd, &name).map_err(|errno| failed(errno, &path))?;
            copy(from, to, &path)?;
        } else {
            copy_file(from_fd, to_fd, &name, &stat).during("copy to tmpfs", path.display())?;
        }
        take_over(to_fd, &name, &stat).map_err(|errno| failed(errno, &path))?;
    }
    Ok(())
}

fn make_directory(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &Path,
) -> Result<(OwnedFd, OwnedFd), Errno> {
    mkdirat(to, name, Mode::S_IRWXU)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok((openat(from, name, flags, Mode::empty())?, openat(to, name, flags, Mode::empty())?))
}

fn copy_file(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &Path,
    stat: &FileStat,
) -> std::io::Result<()> {
    match file_type(stat) {
        SFlag::S_IFREG => {
            let read = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
            let write = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
            let mut source = File::from(openat(from, name, read, Mode::empty())?);
            let mut target = File::from(openat(to, name, write, Mode::S_IRUSR | Mode::S_IWUSR)?);
            std::io::copy(&mut source, &mut target)?;
        }
        SFlag::S_IFLNK => symlinkat(readlinkat(from, name)?.as_os_str(), to, name)?,
        kind => mknodat(to, name, kind, Mode::empty(), stat.st_rdev)?,
    }
    Ok(())
}

/// Owner first: changing it clears set-user-id bits.
fn take_over(to: BorrowedFd<'_>, name: &Path, stat: &FileStat) -> Result<(), Errno> {
    let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    fchownat(to, name, owner.0, owner.1, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if file_type(stat) != SFlag::S_IFLNK {
        let mode = Mode::from_bits_truncate(stat.st_mode & 0o7777);
        // The tmpfs has no place yet and this name was made above: nobody can have put a link there.
        fchmodat(to, name, mode, FchmodatFlags::FollowSymlink)?;
    }
    let modified = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
    utimensat(to, name, &modified, &modified, UtimensatFlags::NoFollowSymlink)
}
