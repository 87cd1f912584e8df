//! Reading and unpacking side by side.
//!
//! A layer is read, inflated and hashed by one thread, and written by the other, the caller's own:
//! each waits for the other one only when all blocks are full, or empty. The blocks go round, so
//! memory does not grow with the archive. A layer that fits into the first block needs no thread,
//! and when [`read`] returns there is none left: `clone3` wants a process with one thread.

use std::io::{self, BufRead, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::digest::{DiffId, Hashing};
use crate::stream::BUFFER;

/// So many blocks are on their way: 1.5 MiB. More did not make it faster.
const BLOCKS: usize = 6;

/// A buffer and how many of its bytes count.
struct Block {
    bytes: Box<[u8]>,
    length: usize,
}

impl Block {
    fn new() -> Self {
        Self { bytes: vec![0; BUFFER].into_boxed_slice(), length: 0 }
    }

    /// Reads until the block is full or the input has ended. Whether it has ended.
    fn fill(&mut self, input: &mut impl Read, stop: &AtomicBool) -> io::Result<bool> {
        self.length = 0;
        while self.length < self.bytes.len() {
            if stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            match input.read(&mut self.bytes[self.length..]) {
                Ok(0) => return Ok(true),
                Ok(length) => self.length += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// The bytes of the layer, in order.
pub(crate) struct Ahead<'scope> {
    block: Block,
    used: usize,
    next: Next,
    stop: &'scope AtomicBool,
}

/// What follows the block.
enum Next {
    End,
    Failure(io::Error),
    /// What the other thread reads into the empty ones.
    Blocks {
        filled: Receiver<io::Result<Block>>,
        empty: SyncSender<Block>,
    },
}

impl Ahead<'_> {
    /// Tells the reader that nobody will ask for the digest. It ends with the read call it is in.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Read for Ahead<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(into)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Ahead<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.used == self.block.length {
            let Next::Blocks { filled, empty } = &self.next else {
                match std::mem::replace(&mut self.next, Next::End) {
                    Next::Failure(error) => return Err(error),
                    _ => break,
                }
            };
            // A reader that has hung up is at the end.
            let Ok(next) = filled.recv() else { break };
            let used = std::mem::replace(&mut self.block, next?);
            self.used = 0;
            empty.send(used).ok();
        }
        Ok(&self.block.bytes[self.used..self.block.length])
    }

    fn consume(&mut self, length: usize) {
        self.used = self.block.length.min(self.used + length);
    }
}

/// Lets `work` read `tar`, and returns with its result the digest of all bytes, those included that
/// `work` has left unread.
///
/// # Errors
/// The outer one: no thread could be started. The inner one: the input could not be read to its end
/// (unless `work` was told so: then it is any error), or [`Ahead::stop`] was called.
pub(crate) fn read<T>(
    tar: impl Read + Send,
    work: impl FnOnce(&mut Ahead<'_>) -> T,
) -> io::Result<(T, io::Result<DiffId>)> {
    let stop = &AtomicBool::new(false);
    let mut tar = Hashing::new(tar);
    let mut block = Block::new();
    let next = match block.fill(&mut tar, stop) {
        Ok(false) => return read_beside(tar, block, stop, work),
        Ok(true) => Next::End,
        Err(error) => Next::Failure(error),
    };
    let complete = matches!(next, Next::End);
    let mut ahead = Ahead { block, used: 0, next, stop };
    let result = work(&mut ahead);
    let digest = match ahead.next {
        Next::Failure(error) => Err(error),
        _ if complete => Ok(tar.digest()),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    };
    Ok((result, digest))
}

/// As [`read`], when there is more than the first block.
fn read_beside<T>(
    tar: Hashing<impl Read + Send>,
    block: Block,
    stop: &AtomicBool,
    work: impl FnOnce(&mut Ahead<'_>) -> T,
) -> io::Result<(T, io::Result<DiffId>)> {
    let before = threads();
    let both = thread::scope(|scope| {
        // Nobody ever waits to send: there are no more blocks than places, and one for an error.
        let (to_work, filled) = sync_channel(BLOCKS + 1);
        let (empty, from_work) = sync_channel(BLOCKS);
        for _ in 1..BLOCKS {
            empty.send(Block::new()).ok();
        }
        let reader = thread::Builder::new()
            .name("read layer".to_owned())
            .spawn_scoped(scope, move || fill_all(tar, &to_work, &from_work, stop))?;
        let mut ahead = Ahead { block, used: 0, next: Next::Blocks { filled, empty }, stop };
        let result = work(&mut ahead);
        // No more empty blocks: from here on the reader goes on for the digest alone.
        let filled = match ahead.next {
            Next::Blocks { filled, empty } => {
                drop(empty);
                Some(filled)
            }
            _ => None,
        };
        let digest = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let digest = digest.ok_or_else(|| {
            let error = filled.and_then(|filled| filled.try_iter().find_map(Result::err));
            error.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
        });
        Ok((result, digest))
    });
    // The kernel may count a thread for a moment after it was joined. Not longer: other threads of
    // this process may have begun.
    for _ in 0..1000 {
        if threads() <= before {
            break;
        }
        thread::yield_now();
    }
    both
}

/// The other thread: fills what comes back empty. The digest, if it came to the end.
fn fill_all(
    mut tar: Hashing<impl Read>,
    to_work: &SyncSender<io::Result<Block>>,
    from_work: &Receiver<Block>,
    stop: &AtomicBool,
) -> Option<DiffId> {
    let mut ended = Ok(false);
    while let Ok(false) = ended {
        let Ok(mut block) = from_work.recv() else { break };
        ended = block.fill(&mut tar, stop);
        to_work.send(Ok(block)).ok();
    }
    let mut unwanted = Block::new();
    loop {
        match ended {
            Ok(true) => return Some(tar.digest()),
            Ok(false) => ended = unwanted.fill(&mut tar, stop),
            Err(error) => {
                to_work.send(Err(error)).ok();
                return None;
            }
        }
    }
}

/// A number that grows with the threads of this process. Always the same where /proc is not
/// mounted.
fn threads() -> u64 {
    std::fs::metadata("/proc/self/task").map_or(0, |task| task.nlink())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// So many bytes, then an error or the end.
    struct Input {
        left: usize,
        fails: bool,
    }

    impl Read for Input {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.left == 0 && self.fails {
                return Err(io::Error::other("the line is down"));
            }
            // Odd steps, as an inflater gives.
            let length = into.len().min(self.left).min(99_991);
            into[..length].fill(7);
            self.left -= length;
            Ok(length)
        }
    }

    const SIZES: [usize; 8] =
        [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER, 10 * BUFFER + 5, 40 * BUFFER];

    #[test]
    fn all_bytes_arrive_and_are_hashed() {
        for size in SIZES {
            let input = Input { left: size, fails: false };
            let mut got = Vec::new();
            let (read, digest) = read(input, |ahead| ahead.read_to_end(&mut got)).unwrap();
            assert_eq!(read.unwrap(), size);
            assert!(got == vec![7; size], "{size}");
            assert_eq!(digest.unwrap(), DiffId::of(&got), "{size}");
        }
    }

    #[test]
    fn what_is_left_unread_is_hashed() {
        for size in SIZES {
            let input = Input { left: size, fails: false };
            let (_, digest) = read(input, |ahead| ahead.read(&mut [0; 100]).unwrap()).unwrap();
            assert_eq!(digest.unwrap(), DiffId::of(&vec![7; size]), "{size}");
        }
    }

    #[test]
    fn a_failure_comes_after_the_bytes_before_it() {
        for size in SIZES {
            let input = Input { left: size, fails: true };
            let mut got = Vec::new();
            let (seen, digest) = read(input, |ahead| ahead.read_to_end(&mut got)).unwrap();
            assert_eq!(seen.unwrap_err().to_string(), "the line is down");
            assert_eq!(got.len(), size);
            digest.unwrap_err();
            // Nobody has seen it.
            let input = Input { left: size, fails: true };
            let ((), digest) = read(input, |_| ()).unwrap();
            assert_eq!(digest.unwrap_err().to_string(), "the line is down", "{size}");
        }
    }

    #[test]
    fn an_input_without_end_can_be_stopped() {
        let (length, digest) = read(io::repeat(1), |ahead| {
            let length = ahead.fill_buf().unwrap().len();
            ahead.stop();
            length
        })
        .unwrap();
        assert_eq!(length, BUFFER);
        digest.unwrap_err();
    }
}
