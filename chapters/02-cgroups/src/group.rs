//! One directory of one hierarchy: reading and writing its files.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::{read, write};
use syscalls::{During, KernelError, step};

use crate::Controller;

/// Which interface a directory has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One tree per controller (or per few controllers).
    V1,
    /// One tree for all.
    V2,
}

/// A cgroup in one hierarchy.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) version: Version,
    /// The controllers whose files are in this directory.
    pub(crate) controllers: Vec<Controller>,
    pub(crate) path: PathBuf,
    pub(crate) dir: OwnedFd,
}

impl Group {
    /// Opens an existing directory.
    pub(crate) fn open(
        path: PathBuf,
        version: Version,
        controllers: Vec<Controller>,
    ) -> Result<Self, KernelError> {
        let dir = open_dir(&path)?;
        Ok(Self { version, controllers, path, dir })
    }

    /// Writes a value with one write(2): the kernel takes each write as a whole value.
    pub(crate) fn write(&self, file: &str, value: &str) -> Result<(), KernelError> {
        step!("write", ("{}/{file} {value:?}", self.short()), self.put(file, value))
            .during("write cgroup file", self.path.join(file).display())
            .map_err(|error| error.with_detail(format!("value `{value}`")))
    }

    fn put(&self, file: &str, value: &str) -> Result<(), Errno> {
        let fd = openat(&self.dir, file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        write(&fd, value.as_bytes()).map(drop)
    }

    /// Reads a file as a whole.
    pub(crate) fn read(&self, file: &str) -> Result<String, KernelError> {
        self.get(file).during("read cgroup file", self.path.join(file).display())
    }

    pub(crate) fn get(&self, file: &str) -> Result<String, Errno> {
        let fd = openat(&self.dir, file, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match read(fd.as_fd(), &mut buffer)? {
                0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
                length => text.extend_from_slice(&buffer[..length]),
            }
        }
    }

    /// The last part of the path and the tree it is in, for a reader of the trace.
    fn short(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let name: String = name.chars().take(12).collect();
        match (self.version, self.controllers.first()) {
            (Version::V1, Some(controller)) => format!("{}:{name}", controller.v1_name()),
            _ => name,
        }
    }
}

/// Opens a cgroup directory as `CLONE_INTO_CGROUP` and the `*at` calls want it.
pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd, KernelError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).during("open cgroup", path.display())
}

/// The value of a `key value` line, `None` if there is no such line.
pub(crate) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        .and_then(|value| value.trim().parse().ok())
}

/// The child directories of a cgroup.
pub(crate) fn children(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_whole_word() {
        let text = "oom 3\noom_kill 1\nbad x\n";
        assert_eq!(keyed(text, "oom_kill"), Some(1));
        assert_eq!(keyed(text, "oom"), Some(3));
        assert_eq!(keyed(text, "bad"), None);
        assert_eq!(keyed(text, "oom_k"), None);
    }
}
