//! Bytes from file to file, as well as this kernel and these file systems can do it.
//!
//! `copy_file_range(2)` comes first. Where source and target are on one file system that can share
//! blocks (btrfs, XFS, bcachefs), it makes a reflink: no data is copied at all; NFS has its server
//! copy; others copy inside the kernel. It refuses by name:
//!
//! - `EXDEV`: two file systems, and since Linux 5.19 also two kinds of them; so always from a
//!   folder into an overlay;
//! - `EINVAL`: a file system that cannot (FUSE, before its server has said so);
//! - `EOPNOTSUPP`: an overlay above such a one;
//! - `ENOSYS`: Linux before 4.5; `EPERM`: a seccomp filter that is older than the call.
//!
//! Then bytes are read and written through a buffer. (The upper folder of the overlay, on the
//! source's file system, would take a reflink where the overlay does not. Writing there while it is
//! mounted is "undefined" by `Documentation/filesystems/overlayfs.rst`, so nobody does.)

use std::fs::File;
use std::io::{self, Read, Write};

use nix::errno::Errno;
use nix::fcntl::copy_file_range;

/// Bytes that are read at a time.
const BUFFER: usize = 256 * 1024;
/// Bytes that one call is asked for; the kernel takes less than 2 GiB.
const AT_ONCE: usize = 1 << 30;

/// Moves bytes from file to file, and knows what has failed before.
#[derive(Debug, Default)]
pub(crate) struct Transfer {
    refused: bool,
    buffer: Vec<u8>,
}

impl Transfer {
    /// Copies up to `length` bytes from where `from` stands to where `to` stands. Returns how many
    /// there were.
    pub(crate) fn run(&mut self, from: &File, to: &File, length: u64) -> io::Result<u64> {
        let mut done = 0;
        while !self.refused && done < length {
            let wanted = usize::try_from(length - done).unwrap_or(AT_ONCE).min(AT_ONCE);
            match copy_file_range(from, None, to, None, wanted) {
                // The end; or a file of /proc, which has no length and has to be read.
                Ok(0) => break,
                Ok(copied) => done += copied as u64,
                Err(Errno::EINTR) => {}
                Err(errno) if done == 0 && is_refusal(errno) => self.refused = true,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(done + self.stream(from.take(length - done), to)?)
    }

    /// Copies all of a reader.
    pub(crate) fn stream(&mut self, mut from: impl Read, mut to: &File) -> io::Result<u64> {
        self.buffer.resize(BUFFER, 0);
        let mut done = 0;
        loop {
            match from.read(&mut self.buffer) {
                Ok(0) => return Ok(done),
                Ok(length) => {
                    to.write_all(&self.buffer[..length])?;
                    done += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::EXDEV | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EPERM)
}
