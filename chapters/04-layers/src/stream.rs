//! The bytes of an archive, one read of a large buffer at a time.

use std::io::BufRead;

use crate::error::{UnpackError, shown};

/// One read of this many bytes at a time: fewer system calls, and it still fits the processor's
/// cache.
pub(crate) const BUFFER: usize = 256 * 1024;

/// A stream that knows whose bytes it is giving out.
#[derive(Debug)]
pub(crate) struct Stream<R> {
    input: R,
    /// Bytes of the current entry's data that nobody has read yet.
    pub(crate) data: u64,
    /// Padding after them.
    pub(crate) padding: u64,
    /// Name of the last entry, for error messages.
    pub(crate) last: Vec<u8>,
}

impl<R: BufRead> Stream<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, data: 0, padding: 0, last: b"the first entry".to_vec() }
    }

    /// The next bytes of the current entry's data, at most `limit` and as many as are in memory;
    /// empty at its end. Call [`consume`](Self::consume) with the number that was used.
    pub(crate) fn chunk(&mut self, limit: u64) -> Result<&[u8], UnpackError> {
        let want = self.data.min(limit);
        if want == 0 {
            return Ok(&[]);
        }
        let chunk = self.fill()?;
        Ok(&chunk[..chunk.len().min(usize::try_from(want).unwrap_or(usize::MAX))])
    }

    /// Marks bytes of the last [`chunk`](Self::chunk) as used.
    pub(crate) fn consume(&mut self, length: usize) {
        self.input.consume(length);
        self.data = self.data.saturating_sub(length as u64);
    }

    /// Skips what is left of the current entry. The padding after the last one may be missing:
    /// umoci leaves it out.
    pub(crate) fn end_entry(&mut self) -> Result<(), UnpackError> {
        let (data, padding) = (self.data, self.padding);
        (self.data, self.padding) = (0, 0);
        self.skip(data)?;
        if padding > 0 && !self.at_end()? {
            self.skip(padding)?;
        }
        Ok(())
    }

    pub(crate) fn read(&mut self, mut into: &mut [u8]) -> Result<(), UnpackError> {
        while !into.is_empty() {
            let chunk = self.fill()?;
            let length = chunk.len().min(into.len());
            into[..length].copy_from_slice(&chunk[..length]);
            self.input.consume(length);
            into = &mut into[length..];
        }
        Ok(())
    }

    pub(crate) fn skip(&mut self, mut length: u64) -> Result<(), UnpackError> {
        while length > 0 {
            let step = length.min(self.fill()?.len() as u64);
            self.input.consume(step as usize);
            length -= step;
        }
        Ok(())
    }

    /// What is in the buffer: at least one byte.
    fn fill(&mut self) -> Result<&[u8], UnpackError> {
        if self.at_end()? {
            return self.malformed("the archive ends in the middle");
        }
        let entry = &self.last;
        let failed = |source| UnpackError::Read { entry: shown(entry), source };
        self.input.fill_buf().map_err(failed)
    }

    pub(crate) fn at_end(&mut self) -> Result<bool, UnpackError> {
        loop {
            match self.input.fill_buf() {
                Ok(bytes) => return Ok(bytes.is_empty()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(UnpackError::Read { entry: shown(&self.last), source });
                }
            }
        }
    }

    pub(crate) fn known<T>(&self, value: Option<T>, what: &str) -> Result<T, UnpackError> {
        value.map_or_else(|| self.malformed(format!("a bad {what}")), Ok)
    }

    pub(crate) fn good<T>(&self, result: Result<T, &'static str>) -> Result<T, UnpackError> {
        result.or_else(|reason| self.malformed(reason))
    }

    pub(crate) fn malformed<T>(&self, reason: impl Into<String>) -> Result<T, UnpackError> {
        Err(UnpackError::Malformed { entry: shown(&self.last), reason: reason.into() })
    }
}
