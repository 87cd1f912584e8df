//! A plain root file system becomes an image of one layer (`docker import`).

use std::io::{self, Read};

use serde_json::{Map, Value, json};

use crate::changes;
use crate::digest::Digest;
use crate::docker;
use crate::error::Error;
use crate::load::Loaded;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::spool::{BlobWriter, Spool, Stored};
use crate::store::{Store, check_taggable};
use crate::stream::decompress;

const WHAT: &str = "root file system archive";

impl Store {
    /// Makes an image of one layer from a tar stream, plain or compressed with gzip or zstd.
    ///
    /// The layer is kept as the uncompressed tar; its diff ID is computed as it streams by. `changes` are instructions
    /// as of [`changes`], `message` is the comment in the history. Equal input gives an equal layer; config and
    /// manifest differ in the time of creation only.
    ///
    /// # Errors
    /// [`Error::Read`] for what is no tar archive, [`Error::Compression`], [`Error::Change`], and those of the disk.
    pub fn import(
        &self,
        tar: impl Read,
        reference: Option<&Reference>,
        changes: &[String],
        message: &str,
    ) -> Result<Loaded, Error> {
        reference.map_or(Ok(()), check_taggable)?;
        // Mistakes in the instructions come to light before the long part.
        let mut process = Map::new();
        changes::apply(&mut process, changes)?;
        let spool = self.spool()?;
        let layer = spool_tar(&spool, tar)?;
        let config = config(&layer.digest, process, message);
        let config = spool.store("config", &mut config.to_string().as_bytes())?;
        let names = reference.cloned().into_iter().collect();
        let arrival = docker::arrival(&spool, config, &[layer], names)?;
        let loaded = self.commit(&spool, vec![arrival])?;
        loaded.into_iter().next().ok_or_else(|| Error::NotFound(WHAT.to_owned()))
    }
}

fn config(diff_id: &Digest, process: Map<String, Value>, message: &str) -> Value {
    let created = jiff::Timestamp::now().to_string();
    let host = Platform::host();
    let mut config = json!({ "created": created, "architecture": host.architecture });
    if let Some(variant) = host.variant {
        config["variant"] = variant.into();
    }
    config["os"] = host.os.into();
    config["config"] = Value::Object(process);
    config["rootfs"] = json!({ "type": "layers", "diff_ids": [diff_id.to_string()] });
    config["history"] = json!([{ "created": created, "comment": message }]);
    config
}

/// Writes the uncompressed tar to the spool, reading its headers on the way: what is no tar is refused here and not
/// by the first `run`.
fn spool_tar(spool: &Spool, tar: impl Read) -> Result<Stored, Error> {
    let read = |error: io::Error| Error::read(WHAT, &error);
    let tee = Tee { reader: decompress(WHAT, tar)?, writer: spool.writer()? };
    let mut archive = tar::Archive::new(tee);
    let (mut content_end, mut failure) = (0, None);
    for entry in archive.entries().map_err(read)? {
        match entry {
            Ok(entry) => content_end = entry.raw_file_position() + stored_size(&entry),
            Err(error) => failure = Some(read(error)),
        }
    }
    let mut tee = archive.into_inner();
    // Some writers leave out the zeros that fill the last block, `umoci insert` for one: nothing is lost then.
    let complete = content_end > 0 && (content_end..content_end + 512).contains(&tee.writer.size());
    if let Some(failure) = failure.filter(|_| !complete) {
        return Err(failure);
    }
    if content_end == 0 {
        return Err(Error::invalid(WHAT, "it is empty"));
    }
    // Padding behind the end of the archive belongs to the layer's digest.
    io::copy(&mut tee, &mut io::sink()).map_err(read)?;
    tee.writer.finish()
}

/// Bytes of an entry's content in the archive: of a sparse file, those that were written down.
fn stored_size<R: Read>(entry: &tar::Entry<'_, R>) -> u64 {
    let sparse = entry.header().entry_type() == tar::EntryType::GNUSparse;
    let in_header = entry.header().entry_size().ok().filter(|_| sparse);
    in_header.unwrap_or_else(|| entry.size())
}

/// Writes what is read.
struct Tee<'s, R> {
    reader: R,
    writer: BlobWriter<'s>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.writer.append(&buffer[..length])?;
        Ok(length)
    }
}
