//! Documents: manifests by tag or digest, and small blobs. They are checked here, since they are read whole.

use std::io::Read;
use std::thread;

use serde_json::Value;
use ureq::http::Method;
use ureq::http::header::{ACCEPT, CONTENT_TYPE};

use super::answer::Answer;
use super::error::Error;
use super::request::{Body, Request};
use super::retry::backoff;
use super::scope::Scope;
use super::{Document, Registry};
use crate::MAX_DOCUMENT;
use crate::digest::Digest;
use crate::error::printable;

/// Manifests and indexes that this program reads, newest first.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";
const CONTENT_DIGEST: &str = "docker-content-digest";

impl Registry {
    /// `GET /v2/<repository>/manifests/<tag or digest>`. Accepts manifests and indexes, of OCI and Docker schema 2.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Denied`]; [`Error::WrongDigest`] if the bytes are not those that were asked for, or
    /// not those that the registry announced.
    pub fn manifest(&self, repository: &str, reference: &str) -> Result<Document, Error> {
        let url = self.base()?.below(&format!("/v2/{repository}/manifests/{reference}"));
        let about = self.about_manifest("pull", repository, reference);
        let what = about.what.clone();
        let request = Request::get(url, Scope::pull(repository), about);
        let request = request.header(ACCEPT.as_str(), ACCEPTED);
        let (bytes, media_type, announced) = self.whole(&request, &what)?;
        let digest = Digest::of(&bytes);
        for expected in [reference.parse().ok(), announced].into_iter().flatten() {
            if digest != expected {
                return Err(Error::WrongDigest { what, expected, actual: digest });
            }
        }
        let media_type = self.media_type(&what, media_type, &bytes)?;
        Ok(Document { bytes, media_type, digest })
    }

    /// A small blob whole, at most [`MAX_DOCUMENT`], verified.
    ///
    /// # Errors
    /// [`Error::WrongDigest`]; [`Error::TooLarge`]; those of [`Registry::blob`].
    pub fn document(&self, repository: &str, digest: &Digest, size: u64) -> Result<Vec<u8>, Error> {
        let what = format!("blob {digest}");
        if size > MAX_DOCUMENT {
            return Err(Error::TooLarge { what, limit: MAX_DOCUMENT });
        }
        let mut bytes = Vec::new();
        let mut download = self.blob(repository, digest, size, 0)?;
        download.read_to_end(&mut bytes).map_err(|error| {
            let ours = error.get_ref().and_then(|inner| inner.downcast_ref::<crate::Error>());
            match ours {
                Some(crate::Error::Registry(error)) => error.clone(),
                _ => self.protocol(&format!("{what}: {error}")),
            }
        })?;
        let actual = Digest::of(&bytes);
        if actual != *digest {
            return Err(Error::WrongDigest { what, expected: *digest, actual });
        }
        Ok(bytes)
    }

    /// Reads an answer whole; if its connection breaks, once more from its start.
    fn whole(
        &self,
        request: &Request<'_>,
        what: &str,
    ) -> Result<(Vec<u8>, String, Option<Digest>), Error> {
        let mut tries = 0;
        loop {
            let answer = self.expect(request, &[200])?.plain(&request.about.host)?;
            let media_type = answer.content_type();
            let announced = digest_of(&answer);
            match self.body(answer, what)? {
                Ok(bytes) => return Ok((bytes, media_type, announced)),
                Err(reason) => {
                    tries += 1;
                    self.pause(tries, reason)?;
                }
            }
        }
    }

    /// The body of an answer, or why the connection broke.
    pub(super) fn body(
        &self,
        answer: Answer,
        what: &str,
    ) -> Result<Result<Vec<u8>, String>, Error> {
        let mut bytes = Vec::new();
        let mut body = answer.body.into_reader().take(MAX_DOCUMENT + 1);
        if let Err(error) = body.read_to_end(&mut bytes) {
            return Ok(Err(self.broken(&answer.url.origin, error)));
        }
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(Error::TooLarge { what: what.to_owned(), limit: MAX_DOCUMENT });
        }
        Ok(Ok(bytes))
    }

    /// Waits before the next try, or gives up.
    pub(super) fn pause(&self, tries: u32, reason: String) -> Result<(), Error> {
        let settings = &self.client.shared.settings;
        if tries >= settings.attempts.max(1) {
            let host = self.host().to_owned();
            return Err(Error::Interrupted { host, reason, attempts: tries });
        }
        thread::sleep(backoff(settings.backoff, tries));
        Ok(())
    }

    /// What kind of document it is. Simple servers say only `application/json`, or nothing.
    fn media_type(&self, what: &str, announced: String, bytes: &[u8]) -> Result<String, Error> {
        let old = || {
            Error::Unsupported(format!(
                "{what} is in the old schema 1 format, which is not read (hint: ask its owner to push it again)"
            ))
        };
        if announced.starts_with("application/vnd.docker.distribution.manifest.v1+") {
            return Err(old());
        }
        if announced.starts_with("application/vnd.") {
            return Ok(announced);
        }
        let none = |why: &str| Err(self.protocol(&format!("{what} is no manifest: {why}")));
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
            return none(if announced == "text/html" { "a web page" } else { "no JSON document" });
        };
        if value.get("schemaVersion").and_then(Value::as_u64) == Some(1) {
            return Err(old());
        }
        match value.get("mediaType").and_then(Value::as_str) {
            Some(own) => Ok(printable(own)),
            None if value.get("manifests").is_some() => {
                Ok("application/vnd.oci.image.index.v1+json".to_owned())
            }
            None if value.get("config").is_some() => {
                Ok("application/vnd.oci.image.manifest.v1+json".to_owned())
            }
            None => none("it has neither a config nor manifests"),
        }
    }

    /// `PUT /v2/<repository>/manifests/<tag or digest>`. Returns the digest, which is checked against the registry's.
    ///
    /// # Errors
    /// [`Error::Denied`] without the right to push; [`Error::Refused`] if blobs that it names are missing.
    pub fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, Error> {
        let url = self.base()?.below(&format!("/v2/{repository}/manifests/{reference}"));
        let about = self.about_manifest("push", repository, reference);
        let what = about.what.clone();
        let mut request = Request::get(url, Scope::push(repository), about)
            .header(CONTENT_TYPE.as_str(), media_type);
        request.method = Method::PUT;
        request.body = Body::Bytes(bytes);
        let answer = self.expect(&request, &[201, 200, 202, 204])?;
        let digest = Digest::of(bytes);
        match digest_of(&answer) {
            Some(actual) if actual != digest => {
                Err(Error::WrongDigest { what, expected: digest, actual })
            }
            _ => Ok(digest),
        }
    }
}

/// The digest that a registry announces; one of another algorithm is nothing that could be compared.
fn digest_of(answer: &Answer) -> Option<Digest> {
    answer.header(CONTENT_DIGEST)?.trim().parse().ok()
}
