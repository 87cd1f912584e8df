//! The bytes of a blob, over as many connections as it takes.

use std::io::{self, Read};
use std::thread;

use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};

use super::Registry;
use super::answer::Answer;
use super::error::Error;
use super::request::Request;
use super::retry::backoff;
use super::scope::Scope;
use super::url::Url;
use crate::digest::Digest;

/// The bytes of a blob from `from` on, not verified. A connection that breaks is made again and goes on where it was
/// (`Range`), with back-off, up to `attempts` times without a byte of progress.
///
/// Its errors hold a [`crate::Error`]. After an error it stays at its end.
pub struct Download {
    registry: Registry,
    repository: String,
    digest: Digest,
    url: Url,
    size: u64,
    at: u64,
    body: Option<Box<dyn Read + Send>>,
    failures: u32,
}

impl Registry {
    /// `GET /v2/<repository>/blobs/<digest>`, from byte `from` on, of `size` in all.
    ///
    /// # Errors
    /// If there is no such blob, access is denied, or the registry cannot be reached.
    pub fn blob(
        &self,
        repository: &str,
        digest: &Digest,
        size: u64,
        from: u64,
    ) -> Result<Download, Error> {
        let mut download = Download {
            registry: self.clone(),
            repository: repository.to_owned(),
            digest: *digest,
            url: self.base()?.below(&format!("/v2/{repository}/blobs/{digest}")),
            size,
            at: from.min(size),
            body: None,
            failures: 0,
        };
        if download.at < size {
            download.connect()?;
        }
        Ok(download)
    }
}

impl Download {
    fn connect(&mut self) -> Result<(), Error> {
        let registry = &self.registry;
        let about = registry.about_blob("pull", &self.repository, &self.digest);
        let host = about.host.clone();
        let mut request = Request::get(self.url.clone(), Scope::pull(&self.repository), about);
        if self.at > 0 {
            request = request.header(RANGE.as_str(), format!("bytes={}-", self.at));
        }
        let answer = registry.send(&request)?;
        let skip = match answer.status.as_u16() {
            206 => {
                let range = answer.header(CONTENT_RANGE).unwrap_or_default();
                if !continues(range, self.at, self.size) {
                    let range = crate::error::printable(range);
                    return Err(self.changed(&format!("range `{range}` from {} on", self.at)));
                }
                0
            }
            // A server that knows no ranges: what we have passes by once more.
            200 => {
                // Less is what a proxy does that gives up and covers it up: the rest is asked for next.
                if length(&answer).is_some_and(|length| length > self.size) {
                    return Err(self.changed(&format!("{} bytes", length(&answer).unwrap_or(0))));
                }
                self.at
            }
            416 => return Err(self.changed(&format!("nothing from byte {} on", self.at))),
            _ => return Err(answer.refusal(&request.about)),
        };
        let left = self.size - self.at;
        let mut body = answer.plain(&host)?.body.into_reader();
        if skip > 0 {
            match io::copy(&mut body.by_ref().take(skip), &mut io::sink()) {
                Ok(skipped) if skipped == skip => {}
                // The next read finds the end, and that is handled there.
                _ => {
                    self.body = Some(Box::new(io::empty()));
                    return Ok(());
                }
            }
        }
        self.body = Some(Box::new(body.take(left)));
        Ok(())
    }

    fn changed(&self, offered: &str) -> Error {
        self.registry.protocol(&format!(
            "blob {} has {} bytes, but the registry offers {offered}",
            self.digest, self.size
        ))
    }

    fn fail(&mut self, error: Error) -> io::Error {
        self.at = self.size;
        self.body = None;
        crate::Error::from(error).into()
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.at < self.size {
            let result = match &mut self.body {
                Some(body) => body.read(buffer),
                None => match self.connect() {
                    Ok(()) => continue,
                    Err(error) => return Err(self.fail(error)),
                },
            };
            let reason = match result {
                Ok(0) => "the connection was closed early".to_owned(),
                Ok(length) => {
                    self.at += length as u64;
                    self.failures = 0;
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => self.registry.broken(&self.url.origin, error),
            };
            self.body = None;
            self.failures += 1;
            let settings = &self.registry.client.shared.settings;
            let attempts = settings.attempts.max(1);
            if self.failures >= attempts {
                let host = self.registry.host().to_owned();
                return Err(self.fail(Error::Interrupted { host, reason, attempts }));
            }
            thread::sleep(backoff(settings.backoff, self.failures));
        }
        Ok(0)
    }
}

fn length(answer: &Answer) -> Option<u64> {
    answer.header(CONTENT_LENGTH)?.trim().parse().ok()
}

/// `bytes FROM-LAST/SIZE` must go on where we are, in a blob of the same size; `*` for an unknown size is allowed.
fn continues(range: &str, from: u64, size: u64) -> bool {
    let Some((span, whole)) = range.trim().strip_prefix("bytes ").and_then(|it| it.split_once('/'))
    else {
        return false;
    };
    let Some((first, last)) = span.trim().split_once('-') else { return false };
    let whole_fits = whole.trim() == "*" || whole.trim().parse() == Ok(size);
    whole_fits
        && first.trim().parse() == Ok(from)
        && last.trim().parse().is_ok_and(|last: u64| (from..size).contains(&last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (range, good) in [
            ("bytes 3-9/10", true),
            ("bytes 3-5/10", true),
            ("bytes 3-9/*", true),
            ("bytes 0-9/10", false),
            ("bytes 3-9/11", false),
            ("bytes 3-10/10", false),
            ("bytes 3-2/10", false),
            ("bytes */10", false),
            ("3-9/10", false),
            ("", false),
        ] {
            assert_eq!(continues(range, 3, 10), good, "{range}");
        }
    }
}
