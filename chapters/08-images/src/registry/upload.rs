//! Bringing a blob to a registry: not at all, by a mount from a neighbour, in one request, or in chunks.

use std::io::{self, Read};
use std::thread;

use ureq::http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use ureq::http::{Method, StatusCode};

use super::answer::{About, Answer};
use super::error::Error;
use super::request::{Body, Request};
use super::retry::backoff;
use super::scope::Scope;
use super::transport::UPLOAD_PATIENCE;
use super::url::Url;
use super::{Pushed, Registry};
use crate::digest::Digest;

/// What is not larger goes in one request, and again from its start if that breaks.
const WHOLE: u64 = 4 << 20;
/// What a broken connection costs at most, with registries that forget a half chunk.
const CHUNK: u64 = 16 << 20;

type Open<'a> = dyn Fn(u64) -> io::Result<Box<dyn Read + Send>> + Sync + 'a;

struct Upload<'a> {
    registry: &'a Registry,
    about: About,
    repository: &'a str,
    digest: &'a Digest,
    size: u64,
    open: &'a Open<'a>,
    sent: &'a (dyn Fn(u64) + Sync),
}

/// An upload that a registry has opened.
struct Session {
    url: Url,
    /// `OCI-Chunk-Min-Length`, in bytes.
    least: u64,
}

impl Registry {
    /// `HEAD /v2/<repository>/blobs/<digest>`.
    ///
    /// # Errors
    /// If the registry says neither yes nor no.
    pub fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool, Error> {
        self.has(
            Scope::pull(repository),
            self.about_blob("pull", repository, digest),
            repository,
            digest,
        )
    }

    fn has(
        &self,
        scope: Scope,
        about: About,
        repository: &str,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let url = self.base()?.below(&format!("/v2/{repository}/blobs/{digest}"));
        let mut request = Request::get(url, scope, about);
        request.method = Method::HEAD;
        Ok(self.expect(&request, &[200, 404])?.status == StatusCode::OK)
    }

    /// Brings a blob there: asks whether it exists, then tries to mount it from each of `mount_from` (repositories of
    /// this registry), then uploads it; in one PUT if it is small, in chunks that can be resumed otherwise.
    /// `open` gives the bytes from an offset on; `sent` is told how many bytes were sent so far, which may become less
    /// when a connection broke.
    ///
    /// # Errors
    /// [`Error::Denied`] without the right to push; [`Error::Local`] if `open` or its reader fails.
    pub fn push_blob(
        &self,
        repository: &str,
        digest: &Digest,
        size: u64,
        mount_from: &[String],
        open: &(dyn Fn(u64) -> io::Result<Box<dyn Read + Send>> + Sync),
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Pushed, Error> {
        let about = self.about_blob("push", repository, digest);
        if self.has(Scope::push(repository), about.clone(), repository, digest)? {
            return Ok(Pushed::Exists);
        }
        let upload = Upload { registry: self, about, repository, digest, size, open, sent };
        let mut session = None;
        for from in mount_from.iter().filter(|from| *from != repository) {
            if let Some(unused) = session.take() {
                upload.cancel(unused);
            }
            session = match upload.mount(from) {
                Ok(None) => return Ok(Pushed::Mounted(from.clone())),
                Ok(session) => session,
                // A neighbour that we may not read is no reason not to upload.
                Err(Error::Denied { .. } | Error::NotFound { .. } | Error::Refused { .. }) => None,
                Err(error) => return Err(error),
            };
        }
        upload.run(session)
    }
}

impl Upload<'_> {
    fn request(&self, method: Method, url: Url) -> Request<'static> {
        let mut request = Request::get(url, Scope::push(self.repository), self.about.clone());
        request.method = method;
        request
    }

    fn uploads(&self) -> Result<Url, Error> {
        Ok(self.registry.base()?.below(&format!("/v2/{}/blobs/uploads/", self.repository)))
    }

    /// None if the registry has mounted the blob, else the upload that it offers instead.
    fn mount(&self, from: &str) -> Result<Option<Session>, Error> {
        let url = self.uploads()?.with("mount", &self.digest.to_string()).with("from", from);
        let mut request = self.request(Method::POST, url);
        request.scope = request.scope.and(&format!("repository:{from}:pull"));
        let answer = self.registry.expect(&request, &[201, 202])?;
        if answer.status == StatusCode::CREATED {
            return Ok(None);
        }
        self.session(&answer).map(Some)
    }

    fn start(&self) -> Result<Session, Error> {
        let request = self.request(Method::POST, self.uploads()?);
        self.session(&self.registry.expect(&request, &[202])?)
    }

    fn session(&self, answer: &Answer) -> Result<Session, Error> {
        let least = answer.header("oci-chunk-min-length").and_then(|text| text.trim().parse().ok());
        Ok(Session { url: self.location(answer)?, least: least.unwrap_or(0) })
    }

    fn location(&self, answer: &Answer) -> Result<Url, Error> {
        let location = answer
            .header(LOCATION)
            .ok_or_else(|| self.registry.protocol("it opens an upload, but does not say where"))?;
        answer
            .url
            .join(location)
            .map_err(|reason| self.registry.protocol(&format!("it opens an upload, but {reason}")))
    }

    /// Frees what the registry keeps for an upload; if that fails, it does so itself some day.
    fn cancel(&self, session: Session) {
        let mut request = self.request(Method::DELETE, session.url);
        request.repeatable = false;
        self.registry.send(&request).ok();
    }

    fn run(&self, mut session: Option<Session>) -> Result<Pushed, Error> {
        let settings = &self.registry.client.shared.settings;
        let attempts = settings.attempts.max(1);
        let mut failures = 0;
        loop {
            let session = match session.take() {
                Some(session) => session,
                None => self.start()?,
            };
            let result = match self.size {
                0..=WHOLE => self.whole(session),
                _ => self.chunks(session),
            };
            let error = match result {
                Ok(()) => {
                    (self.sent)(self.size);
                    return Ok(Pushed::Uploaded);
                }
                // Broken, or the registry has lost the upload: from the start.
                Err(error @ (Error::Interrupted { .. } | Error::NotFound { .. })) => error,
                Err(error) => return Err(error),
            };
            // Perhaps it was only the answer that was lost.
            let about = self.about.clone();
            let scope = Scope::push(self.repository);
            if self.registry.has(scope, about, self.repository, self.digest)? {
                (self.sent)(self.size);
                return Ok(Pushed::Uploaded);
            }
            failures += 1;
            if failures >= attempts {
                return Err(counted(error, failures));
            }
            thread::sleep(backoff(settings.backoff, failures));
        }
    }

    /// The bytes from an offset on, counted as they leave.
    fn reader(&self, at: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(Counted { inner: (self.open)(at)?, at, sent: self.sent }))
    }

    fn whole(&self, session: Session) -> Result<(), Error> {
        let open = || self.reader(0);
        let url = session.url.with("digest", &self.digest.to_string());
        let request = Request {
            body: Body::Stream { length: self.size, open: &open },
            repeatable: false,
            patience: UPLOAD_PATIENCE,
            ..self
                .request(Method::PUT, url)
                .header(CONTENT_TYPE.as_str(), "application/octet-stream")
        };
        self.registry.expect(&request, &[201, 204]).map(drop)
    }

    fn chunks(&self, session: Session) -> Result<(), Error> {
        let settings = &self.registry.client.shared.settings;
        let attempts = settings.attempts.max(1);
        let chunk = CHUNK.max(session.least);
        let (mut url, mut at, mut best, mut failures) = (session.url, 0, 0, 0);
        while at < self.size {
            let length = chunk.min(self.size - at);
            match self.chunk(&url, at, length) {
                Ok(answer) => {
                    url = self.location(&answer)?;
                    // A registry that took less says so. Other numbers are of registries that count otherwise.
                    let taken = answer.header(RANGE).and_then(received);
                    let taken = taken.filter(|taken| (at..at + length).contains(taken));
                    at = taken.unwrap_or(at + length);
                }
                Err(error @ (Error::Interrupted { .. } | Error::Refused { status: 416, .. })) => {
                    if failures + 1 >= attempts {
                        return Err(counted(error, attempts));
                    }
                    thread::sleep(backoff(settings.backoff, failures + 1));
                    (url, at) = self.ask(&url)?;
                }
                Err(error) => return Err(error),
            }
            failures = if at > best { 0 } else { failures + 1 };
            if failures >= attempts {
                return Err(self.registry.protocol("it takes no byte of an upload"));
            }
            best = best.max(at);
        }
        let url = url.with("digest", &self.digest.to_string());
        let mut request = self.request(Method::PUT, url);
        request.patience = UPLOAD_PATIENCE;
        self.registry.expect(&request, &[201, 204]).map(drop)
    }

    fn chunk(&self, url: &Url, at: u64, length: u64) -> Result<Answer, Error> {
        let open = || self.reader(at);
        let request = Request {
            body: Body::Stream { length, open: &open },
            repeatable: false,
            patience: UPLOAD_PATIENCE,
            ..self
                .request(Method::PATCH, url.clone())
                .header(CONTENT_TYPE.as_str(), "application/octet-stream")
                .header(CONTENT_RANGE.as_str(), format!("{at}-{}", at + length - 1))
        };
        self.registry.expect(&request, &[202, 201, 204])
    }

    /// Asks how much of an upload has arrived.
    fn ask(&self, url: &Url) -> Result<(Url, u64), Error> {
        let request = self.request(Method::GET, url.clone());
        let answer = self.registry.expect(&request, &[204, 202, 200])?;
        let at = answer.header(RANGE).and_then(received);
        let at = at.filter(|at| *at <= self.size);
        let at =
            at.ok_or_else(|| self.registry.protocol("it does not say what it has of an upload"))?;
        let url = match answer.header(LOCATION) {
            Some(_) => self.location(&answer)?,
            None => url.clone(),
        };
        (self.sent)(at);
        Ok((url, at))
    }
}

/// The number of attempts is that of this upload, not of its last request.
fn counted(error: Error, tries: u32) -> Error {
    match error {
        Error::Interrupted { host, reason, .. } => {
            Error::Interrupted { host, reason, attempts: tries }
        }
        other => other,
    }
}

/// `Range: 0-LAST`, both ends included. `0-0` means nothing: no registry has an empty range, and nobody sends one byte.
fn received(range: &str) -> Option<u64> {
    let range = range.trim();
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    match range.split_once('-')? {
        ("0", "0") => Some(0),
        ("0", last) => last.parse::<u64>().ok()?.checked_add(1),
        _ => None,
    }
}

struct Counted<'a> {
    inner: Box<dyn Read + Send>,
    at: u64,
    sent: &'a (dyn Fn(u64) + Sync),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.at += length as u64;
        (self.sent)(self.at);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_arrived() {
        for (range, bytes) in [
            ("0-0", Some(0)),
            ("0-9", Some(10)),
            ("bytes=0-9", Some(10)),
            (" 0-9 ", Some(10)),
            ("5-9", None),
            ("0-18446744073709551615", None),
            ("0-", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(received(range), bytes, "{range}");
        }
    }
}
