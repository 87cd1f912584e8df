//! What every pull has to compute, and nothing else: SHA-256 of each blob, the inflated tar, and the SHA-256 of that.
//!
//! With the libraries that the chapters use, flate2 on zlib-rs and sha2, and with the blobs in the page cache. One blob
//! is divided among two threads: one reads, hashes and inflates, the other hashes what comes out. Several blobs are
//! divided among as many threads as there are processors, each blob a matter of one thread, the largest first.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::thread;

use anyhow::{Context, Result, ensure};
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::layout::hex;
use super::pool::side_by_side;

/// Bytes that are read, and handed on, at once.
const CHUNK: usize = 256 << 10;

/// Inflates and hashes blobs, whose file names are their digests. Returns the digests of the tars in them.
///
/// # Errors
/// If a file cannot be read, is not gzip, or is not what its name says.
pub fn run(blobs: &[PathBuf]) -> Result<Vec<String>> {
    if let [blob] = blobs {
        return Ok(vec![in_two_threads(blob).with_context(|| blob.display().to_string())?]);
    }
    let mut order: Vec<(u64, usize)> = Vec::new();
    for (at, blob) in blobs.iter().enumerate() {
        let size = blob.metadata().with_context(|| blob.display().to_string())?.len();
        order.push((size, at));
    }
    order.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    let workers = thread::available_parallelism()?.get();
    let mut digests = side_by_side(workers, &order, |(_, at)| {
        let blob = &blobs[*at];
        let digest = in_one_thread(blob).with_context(|| blob.display().to_string())?;
        Ok((*at, digest))
    })?;
    digests.sort_unstable();
    Ok(digests.into_iter().map(|(_, digest)| digest).collect())
}

fn in_one_thread(blob: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    inflate(blob, vec![0; CHUNK], |buffer, length| {
        hash.update(&buffer[..length]);
        Some(buffer)
    })?;
    Ok(hex(&hash.finalize()))
}

fn in_two_threads(blob: &Path) -> Result<String> {
    let (filled, chunks) = sync_channel::<(Vec<u8>, usize)>(4);
    let (empty, returned) = channel::<Vec<u8>>();
    let hash = |chunks: Receiver<(Vec<u8>, usize)>| {
        let mut hash = Sha256::new();
        for (buffer, length) in chunks {
            hash.update(&buffer[..length]);
            // Nobody wants it back when all is inflated.
            empty.send(buffer).ok();
        }
        hex(&hash.finalize())
    };
    thread::scope(|scope| {
        let hashing = scope.spawn(move || hash(chunks));
        inflate(blob, vec![0; CHUNK], |buffer, length| {
            // The other thread ends only after this sender is gone.
            filled.send((buffer, length)).ok()?;
            Some(returned.try_recv().unwrap_or_else(|_| vec![0; CHUNK]))
        })?;
        drop(filled);
        hashing.join().map_err(|_| anyhow::anyhow!("the hashing thread failed"))
    })
}

/// Hashes and inflates one blob; `take` gets each full buffer, and gives one back for the next bytes.
fn inflate(
    blob: &Path,
    mut buffer: Vec<u8>,
    mut take: impl FnMut(Vec<u8>, usize) -> Option<Vec<u8>>,
) -> Result<()> {
    let input = Hashing { inner: File::open(blob)?, hash: Sha256::new() };
    let mut decoder = MultiGzDecoder::new(BufReader::with_capacity(CHUNK, input));
    loop {
        let length = fill(&mut decoder, &mut buffer)?;
        if length == 0 {
            break;
        }
        buffer = take(buffer, length).context("nobody takes the bytes")?;
    }
    let mut input = decoder.into_inner();
    ensure!(input.fill_buf()?.is_empty(), "there is more than gzip");
    let (actual, name) = (hex(&input.into_inner().hash.finalize()), blob.file_name());
    ensure!(name.is_some_and(|name| *name == *actual), "the content is another one: {actual}");
    Ok(())
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}

struct Hashing {
    inner: File,
    hash: Sha256,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{add_layer, create};
    use super::*;

    #[test]
    fn one_and_several_blobs_are_hashed_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path()).unwrap();
        let tar = |byte: u8, length| io::repeat(byte).take(length);
        // More than the buffers between the threads hold.
        let large = add_layer(folder.path(), tar(1, 9 << 20)).unwrap();
        let small = add_layer(folder.path(), tar(2, 100)).unwrap();
        assert_eq!(
            run(std::slice::from_ref(&large.path)).unwrap(),
            [large.diff_id[7..].to_owned()]
        );
        let both = run(&[small.path.clone(), large.path.clone()]).unwrap();
        assert_eq!(both, [small.diff_id[7..].to_owned(), large.diff_id[7..].to_owned()]);
    }

    #[test]
    fn another_content_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path()).unwrap();
        let blob = add_layer(folder.path(), &b"tar"[..]).unwrap();
        let other = folder.path().join("0123");
        std::fs::rename(&blob.path, &other).unwrap();
        let error = format!("{:#}", run(&[other]).unwrap_err());
        assert!(error.contains("the content is another one"), "{error}");
    }
}
