//! One layer on its way: from the registry, or from the store, into the store and unpacked, in one pass.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use syscalls::During;

use crate::Layer;
use crate::chunks::{Arriving, CHUNK, CHUNKS, Chunks, hand_on};
use crate::digest::{Digest, Hashing};
use crate::error::Error;
use crate::incoming::Incoming;
use crate::pull::{LayerState, PullError, Unpack};
use crate::registry::Registry;
use crate::spool::Spool;
use crate::store::Store;
use crate::stream::VerifiedLayer;

/// What is needed to bring one layer here.
pub(crate) struct Fetch<'f> {
    pub(crate) store: &'f Store,
    pub(crate) spool: &'f Spool,
    pub(crate) sources: &'f [Registry],
    pub(crate) repository: &'f str,
    pub(crate) layer: &'f Layer,
    /// An image of the store has this blob with this diff ID: they belong together.
    pub(crate) known: bool,
    /// Few layers come at the same time: there are processors enough to inflate on a thread of its own.
    pub(crate) roomy: bool,
    pub(crate) unpack: &'f dyn Unpack,
    pub(crate) observe: &'f (dyn Fn(LayerState) + Sync),
    /// Another layer has failed.
    pub(crate) stop: &'f AtomicBool,
}

impl Fetch<'_> {
    /// Brings blob and unpacked layer here. Returns whether anything of it was missing.
    pub(crate) fn run(&self) -> Result<bool, PullError> {
        let digest: Digest =
            self.layer.digest.parse().map_err(|error| Error::digest("layer", &error))?;
        let wait = || {
            (self.observe)(LayerState::Waiting);
            self.go_on()
        };
        // Held until the layer is unpacked: of two pulls one does the work.
        let incoming = Incoming::lock(self.store, &digest, &wait)?;
        let unpacked = self.unpack.has(&self.layer.diff_id);
        if self.spool.adopt(&self.store.blob_path(&digest), &digest)? && self.is_whole(&digest)? {
            if unpacked && self.known {
                (self.observe)(LayerState::Exists);
                incoming.discard()?;
                return Ok(false);
            }
            (self.observe)(LayerState::Unpacking);
            match self.unpack_blob(&digest, unpacked) {
                Ok(()) => {
                    (self.observe)(LayerState::Complete);
                    incoming.discard()?;
                    return Ok(true);
                }
                // The blob in the store is damaged: it comes again.
                Err(error) if is_damage(&error) => self.forget(&digest)?,
                Err(error) => return Err(error),
            }
        }
        self.download(incoming, &digest, unpacked)?;
        (self.observe)(LayerState::Complete);
        Ok(true)
    }

    /// Whether the blob of the store has the size that the manifest gives. If not, one of them is wrong.
    fn is_whole(&self, digest: &Digest) -> Result<bool, Error> {
        let what = format!("layer {digest}");
        let actual = self.spool.open(digest)?.metadata().during("stat", &what)?.len();
        if actual == self.layer.size {
            return Ok(true);
        }
        match self.store.check_blob(digest) {
            Ok(()) => Err(Error::WrongSize { what, expected: self.layer.size, actual }),
            Err(_) => self.forget(digest).map(|()| false),
        }
    }

    fn unpack_blob(&self, digest: &Digest, unpacked: bool) -> Result<(), PullError> {
        let what = format!("layer {digest}");
        let file = self.spool.open(digest)?;
        let mut tar = VerifiedLayer::new(what, file, *digest, self.layer.size)?;
        self.take(&mut tar, unpacked)
    }

    /// Unpacks a tar, or, if its layer is there, only looks whether it is the one.
    fn take(&self, tar: &mut (dyn Read + Send), unpacked: bool) -> Result<(), PullError> {
        if unpacked { self.compare(tar) } else { self.unpack_from(tar) }
    }

    fn compare(&self, tar: &mut dyn Read) -> Result<(), PullError> {
        let what = format!("layer {}", self.layer.digest);
        let mut hash = Hashing::new(tar);
        io::copy(&mut hash, &mut io::sink()).map_err(|error| Error::read(&what, &error))?;
        let (actual, _) = hash.so_far();
        if actual.to_string() == self.layer.diff_id {
            return Ok(());
        }
        let reason = format!("the content is {actual}, the config says {}", self.layer.diff_id);
        Err(Error::invalid(&what, reason).into())
    }

    fn unpack_from(&self, tar: &mut (dyn Read + Send)) -> Result<(), PullError> {
        let unpacked = self.unpack.unpack(&self.layer.diff_id, tar);
        unpacked.map_err(|source| {
            // An error of our own that went through the unpacker is told as it was.
            let digest = self.layer.digest.clone();
            match Error::inside(&*source) {
                Some(ours) => ours.into(),
                None => PullError::Unpack { digest, source },
            }
        })
    }

    /// Takes a wrong blob out of the store.
    fn forget(&self, digest: &Digest) -> Result<(), Error> {
        for path in [self.spool.path(digest), self.store.blob_path(digest)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).during("remove file", path.display())?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Fetches from one source after the other. Bytes that turned out wrong are asked for once more: whatever changed
    /// them on the way may not do so again.
    fn download(
        &self,
        mut incoming: Incoming,
        digest: &Digest,
        unpacked: bool,
    ) -> Result<(), PullError> {
        let mut again = true;
        let mut sources = self.sources.iter().peekable();
        while let Some(source) = sources.peek() {
            let result = self.stream(source, digest, &mut incoming, unpacked);
            match result {
                Ok(()) => {
                    incoming.complete(self.store, self.spool, digest)?;
                    return Ok(());
                }
                Err(error) if is_damage(&error) => {
                    incoming
                        .file
                        .set_len(0)
                        .during("empty file", self.layer.digest.clone())
                        .map_err(Error::from)?;
                    if again {
                        again = false;
                        continue;
                    }
                    sources.next();
                    if sources.peek().is_none() {
                        incoming.discard()?;
                        return Err(error);
                    }
                }
                Err(error @ PullError::Image(Error::Registry(_))) => {
                    sources.next();
                    if sources.peek().is_none() {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::NotFound(self.layer.digest.clone()).into())
    }

    /// One thread receives, hashes and writes; this one, or with few layers another one, inflates; the tar is handed on
    /// to be unpacked.
    fn stream(
        &self,
        source: &Registry,
        digest: &Digest,
        incoming: &mut Incoming,
        unpacked: bool,
    ) -> Result<(), PullError> {
        let (filled, chunks) = sync_channel(CHUNKS);
        let (returned, empty) = channel();
        let what = format!("layer {digest}");
        thread::scope(|scope| {
            let receiver = scope.spawn(move || {
                let mut hand_on = |chunk| hand_on(&filled, &empty, chunk);
                let received = self.receive(source, digest, incoming, &mut hand_on);
                if received.is_ok() {
                    filled.send(Ok(Vec::new())).ok();
                    // The disk writes the blob while its end is unpacked. Whether it could is told by the sync before
                    // the blob gets its name.
                    incoming.file.sync_data().ok();
                }
                received
            });
            let chunks = Chunks::new(chunks, returned);
            let taken = match self.roomy {
                true => {
                    let (filled, inflated) = sync_channel(CHUNKS);
                    let (returned, empty) = channel();
                    scope.spawn(move || self.inflate(what, chunks, &filled, &empty));
                    self.take(&mut Chunks::new(inflated, returned), unpacked)
                }
                false => Arriving::new(what, chunks)
                    .map_err(PullError::from)
                    .and_then(|mut tar| self.take(&mut tar, unpacked)),
            };
            let received = receiver.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (received, taken) {
                // The unpacker went away: its own words tell why.
                (Err(PullError::Image(Error::Stopped)), Err(taken)) => Err(taken),
                // The stream broke off: only the receiver knows why.
                (Err(received), _) => Err(received),
                (Ok(()), taken) => taken,
            }
        })
    }

    /// Inflates and hands on, until the end, an error, or nobody wants it any more.
    fn inflate(
        &self,
        what: String,
        chunks: Chunks,
        filled: &SyncSender<Result<Vec<u8>, Error>>,
        empty: &Receiver<Vec<u8>>,
    ) {
        let work = || -> Result<(), Error> {
            let mut tar = Arriving::new(what.clone(), chunks)?;
            let (mut buffer, mut later) = (Vec::new(), None);
            loop {
                buffer.resize(CHUNK, 0);
                let length = self
                    .fill(&mut tar, &mut buffer, &mut later)
                    .map_err(|error| Error::read(&what, &error))?;
                buffer.truncate(length);
                let next = hand_on(filled, empty, buffer)?;
                if length == 0 {
                    return Ok(());
                }
                buffer = next.unwrap_or_default();
            }
        };
        if let Err(error) = work() {
            filled.send(Err(error)).ok();
        }
    }

    /// Receives the blob into its file, going on where an earlier pull was killed, and hands each chunk on. Whatever
    /// the file holds is hashed like what comes: in the end there is one digest, and it is right or not.
    fn receive(
        &self,
        source: &Registry,
        digest: &Digest,
        incoming: &mut Incoming,
        hand_on: &mut dyn FnMut(Vec<u8>) -> Result<Option<Vec<u8>>, Error>,
    ) -> Result<(), PullError> {
        let (what, size) = (format!("layer {digest}"), self.layer.size);
        let file = &mut incoming.file;
        let written = file.seek(SeekFrom::End(0)).during("seek", &what).map_err(Error::from)?;
        if written > size {
            file.set_len(0).during("empty file", &what).map_err(Error::from)?;
        }
        file.rewind().during("seek", &what).map_err(Error::from)?;
        let mut hash = Hashing::new(io::sink());
        let mut buffer = Vec::new();
        let (mut download, mut later) = (None, None);
        let mut from_file = written <= size && written > 0;
        while hash.so_far_bytes() < size {
            self.go_on()?;
            buffer.resize(CHUNK, 0);
            let length = if from_file {
                let length = file.read(&mut buffer).during("read file", &what);
                let length = length.map_err(Error::from)?;
                from_file = length > 0;
                length
            } else {
                let from = hash.so_far_bytes();
                let download = match &mut download {
                    Some(download) => download,
                    none => none.insert(source.blob(self.repository, digest, size, from)?),
                };
                let length = self
                    .fill(download, &mut buffer, &mut later)
                    .map_err(|error| Error::read(&what, &error))?;
                if length == 0 {
                    break;
                }
                file.write_all(&buffer[..length])
                    .during("write file", &what)
                    .map_err(Error::from)?;
                length
            };
            if length == 0 {
                continue;
            }
            buffer.truncate(length);
            hash.write_all(&buffer).map_err(|error| Error::read(&what, &error))?;
            (self.observe)(LayerState::Received(hash.so_far_bytes()));
            buffer = hand_on(buffer)?.unwrap_or_default();
        }
        let (actual, bytes) = hash.so_far();
        if bytes != size {
            return Err(Error::WrongSize { what, expected: size, actual: bytes }.into());
        }
        if actual != *digest {
            return Err(Error::WrongDigest { what, expected: *digest, actual }.into());
        }
        (self.observe)(LayerState::Verified);
        Ok(())
    }

    /// Reads until the buffer is full or the stream ends: few large chunks, however small the network's are.
    fn fill(
        &self,
        reader: &mut dyn Read,
        buffer: &mut [u8],
        later: &mut Option<io::Error>,
    ) -> io::Result<usize> {
        if let Some(error) = later.take() {
            return Err(error);
        }
        let mut filled = 0;
        while filled < buffer.len() {
            self.go_on()?;
            match reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What came before it is not lost.
                Err(error) if filled > 0 => {
                    *later = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }
}

/// The bytes are not those that were announced: other ones may come, or a broken compression was noticed before the
/// digest was.
fn is_damage(error: &PullError) -> bool {
    matches!(
        error,
        PullError::Image(
            Error::WrongDigest { .. } | Error::WrongSize { .. } | Error::Missing { .. }
        )
    )
}
