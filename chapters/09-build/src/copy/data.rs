//! The content of a file, without its holes.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::sys::stat::FileStat;
use nix::unistd::{Whence, lseek};

use crate::compat::Transfer;

/// Copies the content of a file into an empty one. Holes (lseek(2), `SEEK_DATA`) are not written,
/// so they take no room in the copy either. Returns the length.
pub(super) fn copy(
    transfer: &mut Transfer,
    from: &File,
    stat: &FileStat,
    to: &File,
) -> io::Result<u64> {
    // Blocks of 512 bytes, whatever the file system's are (inode(7)). Without holes there is
    // nothing to look for.
    if stat.st_blocks.saturating_mul(512) >= stat.st_size {
        return transfer.run(from, to, stat.st_size.unsigned_abs());
    }
    let mut position = 0;
    while position < stat.st_size {
        let start = match lseek(from, position, Whence::SeekData) {
            // Nothing but a hole up to the end.
            Err(Errno::ENXIO) => break,
            other => other?,
        };
        let end = lseek(from, start, Whence::SeekHole)?.min(stat.st_size);
        lseek(from, start, Whence::SeekSet)?;
        lseek(to, start, Whence::SeekSet)?;
        if end <= start || transfer.run(from, to, (end - start).unsigned_abs())? == 0 {
            break;
        }
        position = end;
    }
    to.set_len(stat.st_size.unsigned_abs())?;
    Ok(stat.st_size.unsigned_abs())
}
