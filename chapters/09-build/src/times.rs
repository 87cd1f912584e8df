//! The times of files in a layer: the only thing in it that a clock has made.
//!
//! Whoever sets `SOURCE_DATE_EPOCH` wants the same bytes from the same input on any day
//! (<https://reproducible-builds.org/specs/source-date-epoch/>): what is later than that moment was made by the build,
//! and gets that time. What is earlier came with the input, and stays.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fstatat, utimensat};
use nix::sys::time::TimeSpec;
use syscalls::{During, KernelError, inroot};

/// Sets the modification time of everything in a directory, and of itself, to at most `latest` (seconds since 1970).
/// Links are changed themselves, not followed.
///
/// # Errors
/// As openat(2), getdents(2), utimensat(2).
pub fn clamp_tree(dir: BorrowedFd<'_>, latest: i64) -> Result<(), KernelError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    // By their paths, not open: there may be more of them than a process may have descriptors.
    let mut pending = vec![PathBuf::from(".")];
    while let Some(path) = pending.pop() {
        let current = inroot::open(dir, &path, flags, Mode::empty())
            .during("open directory", path.display())?;
        let mut names = Dir::openat(&current, ".", flags, Mode::empty())
            .during("read directory", path.display())?;
        for entry in names.iter() {
            let entry = entry.during("read directory", path.display())?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == ".." {
                continue;
            }
            let below = path.join(name);
            let stat = fstatat(&current, name, AtFlags::AT_SYMLINK_NOFOLLOW)
                .during("read attributes", below.display())?;
            if (stat.st_mtime, stat.st_mtime_nsec) > (latest, 0) {
                let keep = TimeSpec::new(0, nix::libc::UTIME_OMIT);
                let time = TimeSpec::new(latest, 0);
                utimensat(&current, name, &keep, &time, UtimensatFlags::NoFollowSymlink)
                    .during("set time", below.display())?;
            }
            let is_dir = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
            if is_dir && name != "." {
                pending.push(below);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn later_times_are_cut_and_earlier_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("a/b")).unwrap();
        std::fs::write(path("a/b/new"), "").unwrap();
        std::fs::write(path("old"), "").unwrap();
        symlink("old", path("link")).unwrap();
        let old = UNIX_EPOCH + Duration::new(999, 5);
        File::options().write(true).open(path("old")).unwrap().set_modified(old).unwrap();
        clamp_tree(File::open(dir.path()).unwrap().as_fd(), 1000).unwrap();
        for name in [".", "a", "a/b", "a/b/new", "link"] {
            let metadata = path(name).symlink_metadata().unwrap();
            assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1000, 0), "{name}");
        }
        assert_eq!(path("old").metadata().unwrap().modified().unwrap(), old);
    }
}
