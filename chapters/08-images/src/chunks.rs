//! Bytes on their way from one thread of a pull to the next.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender};

use crate::error::Error;
use crate::stream::Decoder;

/// Bytes that go from thread to thread at once.
pub(crate) const CHUNK: usize = 256 << 10;
/// Chunks between the network and the unpacking: 1 MiB. With a slow disk the network waits, not the memory.
pub(crate) const CHUNKS: usize = 4;

/// Gives a chunk to the other side and takes back one that is used up.
pub(crate) fn hand_on(
    filled: &SyncSender<Result<Vec<u8>, Error>>,
    empty: &Receiver<Vec<u8>>,
    chunk: Vec<u8>,
) -> Result<Option<Vec<u8>>, Error> {
    filled.send(Ok(chunk)).map_err(|_| Error::Stopped)?;
    Ok(empty.try_recv().ok())
}

/// Bytes as they come from another thread. An empty chunk says that they were complete and right.
pub(crate) struct Chunks {
    chunks: Receiver<Result<Vec<u8>, Error>>,
    returned: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Chunks {
    pub(crate) fn new(chunks: Receiver<Result<Vec<u8>, Error>>, returned: Sender<Vec<u8>>) -> Self {
        Self { chunks, returned, current: Vec::new(), at: 0, ended: false }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len() && !self.ended {
            // Nobody takes it back when all has been received.
            self.returned.send(std::mem::take(&mut self.current)).ok();
            self.at = 0;
            self.current = self.chunks.recv().map_err(|_| Error::Stopped)??;
            self.ended = self.current.is_empty();
        }
        let length = buffer.len().min(self.current.len() - self.at);
        buffer[..length].copy_from_slice(&self.current[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

/// The tar in a blob that is still arriving. Its end is reached only when the whole blob was right.
pub(crate) struct Arriving {
    what: String,
    decoder: Decoder<Chunks>,
    ended: bool,
}

impl Arriving {
    pub(crate) fn new(what: String, chunks: Chunks) -> Result<Self, Error> {
        let decoder = Decoder::new(&what, chunks)?;
        Ok(Self { what, decoder, ended: false })
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        match self.decoder.read(buffer) {
            Ok(0) => {
                // What follows the compressed stream belongs to the blob too.
                io::copy(self.decoder.raw(), &mut io::sink())?;
                self.ended = true;
                Ok(0)
            }
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                // A wrong byte is told by the digest, not by what the decoder makes of it.
                io::copy(self.decoder.raw(), &mut io::sink())?;
                Err(Error::read(&self.what, &error).into())
            }
            other => other,
        }
    }
}
