//! One request: redirects are followed, failures repeated, and a 401 is answered wherever it comes.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use ureq::SendBody;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION, WWW_AUTHENTICATE};
use ureq::http::{self, Method, StatusCode};

use super::Registry;
use super::answer::{About, Answer};
use super::auth::Authorization;
use super::challenge;
use super::error::Error;
use super::retry::{MAX_RETRY_AFTER, backoff, retry_after};
use super::scope::Scope;
use super::transport::{PATIENCE, Trouble};
use super::url::Url;

const MAX_REDIRECTS: u32 = 10;

/// Opens the bytes of a body once more for each try.
pub(super) type Open<'a> = dyn Fn() -> io::Result<Box<dyn Read + Send + 'a>> + 'a;

/// What is sent.
pub(super) enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    Stream { length: u64, open: &'a Open<'a> },
}

/// A request that can be sent several times.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body<'a>,
    /// What a token must allow.
    pub(super) scope: Scope,
    pub(super) about: About,
    /// How long the head of an answer may take.
    pub(super) patience: Duration,
    /// Whether it can be repeated blindly. A chunk of an upload cannot: some of it may have arrived.
    pub(super) repeatable: bool,
}

impl Request<'_> {
    pub(super) fn get(url: Url, scope: Scope, about: About) -> Self {
        Request {
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: Body::None,
            scope,
            about,
            patience: PATIENCE,
            repeatable: true,
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Registry {
    /// Sends a request; an answer with another status than these is an error.
    pub(super) fn expect(&self, request: &Request<'_>, good: &[u16]) -> Result<Answer, Error> {
        let answer = self.send(request)?;
        if good.contains(&answer.status.as_u16()) {
            Ok(answer)
        } else {
            Err(answer.refusal(&request.about))
        }
    }

    /// Sends a request and answers the questions who we are. An answer 401 is the registry's last word.
    pub(super) fn send(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let base = self.base()?.origin;
        let to = &request.url.origin;
        if base.https && !to.https && !self.client.shared.transport.insecure.covers(to) {
            let to = to.authority();
            return Err(self.protocol(&format!("it sends us to {to} without https, refused")));
        }
        let mut scope = request.scope.clone();
        // An upload may go to another server than the registry itself; its URL is then all that server needs.
        let mut sent = match *to == base {
            true => self.authorization(&scope, &request.about)?,
            false => None,
        };
        let mut rounds = 0;
        loop {
            let answer = self.exchange(request, sent.as_ref())?;
            // Another server that we were sent to does not get to ask for the registry's credentials.
            if answer.status != StatusCode::UNAUTHORIZED || answer.url.origin != base {
                return Ok(answer);
            }
            let challenges = answer.headers.get_all(WWW_AUTHENTICATE).iter();
            let challenges: Vec<_> =
                challenges.filter_map(|it| it.to_str().ok()).flat_map(challenge::parse).collect();
            let Some(challenge) = self.learn(challenges) else { return Ok(answer) };
            let wider = scope.clone().and(challenge.get("scope").unwrap_or_default());
            if let Some(Authorization::Basic(_)) = &sent {
                return Err(self.wrong_credentials(answer.refusal(&request.about)));
            }
            // A token is tried once more: it may have ended, or not have been enough.
            if rounds > 0 && (wider == scope || rounds > 2) {
                return Ok(answer);
            }
            if let Some(refused) = &sent {
                self.forget(refused);
            }
            scope = wider;
            sent = Some(self.respond(&challenge, &scope, &request.about)?);
            rounds += 1;
        }
    }

    /// Sends a request until there is an answer that will stay the same.
    pub(super) fn exchange(
        &self,
        request: &Request<'_>,
        authorization: Option<&Authorization>,
    ) -> Result<Answer, Error> {
        let settings = &self.client.shared.settings;
        let attempts = if request.repeatable { settings.attempts.max(1) } else { 1 };
        let mut tries = 0;
        loop {
            tries += 1;
            let wait = match self.follow(request, authorization) {
                Ok(mut answer) => {
                    answer.tries = tries;
                    // Nothing of a body was taken by a server that has too much to do, whatever it was.
                    let busy = answer.status == StatusCode::TOO_MANY_REQUESTS;
                    let attempts = if busy { settings.attempts.max(1) } else { attempts };
                    let passing = busy || matches!(answer.status.as_u16(), 408 | 500 | 502..=504);
                    let asked = retry_after(&answer.headers, jiff::Timestamp::now());
                    if !passing || tries >= attempts || asked > Some(MAX_RETRY_AFTER) {
                        return Ok(answer);
                    }
                    asked.unwrap_or_else(|| backoff(settings.backoff, tries))
                }
                Err(Trouble::Final(error)) => return Err(error),
                // Nothing was sent, so this may be repeated in any case.
                Err(Trouble::Absent(error)) if tries >= settings.attempts.clamp(1, 2) => {
                    return Err(error);
                }
                Err(Trouble::Absent(_)) => settings.backoff,
                Err(Trouble::Broken(reason)) if tries >= attempts => {
                    let host = request.about.host.clone();
                    return Err(Error::Interrupted { host, reason, attempts: tries });
                }
                Err(Trouble::Broken(_)) => backoff(settings.backoff, tries),
            };
            thread::sleep(wait);
        }
    }

    /// Sends a request once, and follows where it is sent.
    pub(super) fn follow(
        &self,
        request: &Request<'_>,
        authorization: Option<&Authorization>,
    ) -> Result<Answer, Trouble> {
        let mut url = request.url.clone();
        let mut authorization = authorization;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.once(request, &url, authorization)?;
            let only_reads = matches!(request.method, Method::GET | Method::HEAD);
            let redirect = match answer.status.as_u16() {
                301..=303 => only_reads,
                307 | 308 => true,
                _ => false,
            };
            let Some(location) = answer.header(LOCATION).filter(|_| redirect) else {
                return Ok(answer);
            };
            let protocol = |reason: String| {
                let host = request.about.host.clone();
                Trouble::Final(Error::Protocol { host, reason })
            };
            let next = url
                .join(location)
                .map_err(|reason| protocol(format!("it sends us elsewhere, but {reason}")))?;
            let insecure = &self.client.shared.transport.insecure;
            if url.origin.https && !next.origin.https && !insecure.covers(&next.origin) {
                let to = next.origin.authority();
                return Err(protocol(format!("it sends us to {to} without https, refused")));
            }
            // A body may hold a refresh token. What is uploaded has no secret, and may go to a store elsewhere.
            if next.origin != url.origin && matches!(request.body, Body::Bytes(_)) {
                let to = next.origin.authority();
                return Err(protocol(format!("it sends us to {to} with what we say, refused")));
            }
            // Once gone, they stay away: whoever sends us back may have chosen the path.
            if next.origin != url.origin {
                authorization = None;
            }
            url = next;
        }
        let reason =
            format!("it sends us from one place to the next, more than {MAX_REDIRECTS} times");
        Err(Trouble::Final(Error::Protocol { host: request.about.host.clone(), reason }))
    }

    fn once<'a>(
        &self,
        request: &Request<'a>,
        url: &Url,
        authorization: Option<&Authorization>,
    ) -> Result<Answer, Trouble> {
        let mut builder = http::Request::builder().method(&request.method).uri(url.to_string());
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization.header());
        }
        let mut reader: Exact<'a> = Exact { inner: Box::new(io::empty()), left: 0, failure: None };
        let writes = matches!(request.method, Method::POST | Method::PUT | Method::PATCH);
        let body = match &request.body {
            Body::None if writes => Some(0),
            Body::None => None,
            Body::Bytes(bytes) => {
                reader.inner = Box::new(*bytes);
                Some(bytes.len() as u64)
            }
            Body::Stream { length, open } => {
                reader.inner = open().map_err(|error| local(&error))?;
                Some(*length)
            }
        };
        let invalid = |error: http::Error| {
            let (host, reason) = (request.about.host.clone(), error.to_string());
            Trouble::Final(Error::Protocol { host, reason })
        };
        let transport = &self.client.shared.transport;
        let result = match body {
            Some(length) => {
                reader.left = length;
                let builder = builder.header(CONTENT_LENGTH, length);
                let prepared = builder.body(SendBody::from_reader(&mut reader)).map_err(invalid)?;
                transport.run(&url.origin, prepared, request.patience)
            }
            None => {
                let prepared = builder.body(SendBody::none()).map_err(invalid)?;
                transport.run(&url.origin, prepared, request.patience)
            }
        };
        match (result, reader.failure) {
            (_, Some(error)) => Err(local(&error)),
            (Err(trouble), None) => Err(trouble),
            (Ok(response), None) => {
                let (parts, body) = response.into_parts();
                let (status, headers) = (parts.status, parts.headers);
                Ok(Answer { status, headers, url: url.clone(), tries: 1, body })
            }
        }
    }
}

fn local(error: &io::Error) -> Trouble {
    Trouble::Final(Error::Local(crate::error::printable(&error.to_string())))
}

/// A body of the length that was announced. Remembers that it was the reader that failed, not the connection.
struct Exact<'a> {
    inner: Box<dyn Read + Send + 'a>,
    left: u64,
    failure: Option<io::Error>,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let failure = loop {
            match self.inner.read(&mut buffer[..most]) {
                Ok(0) => break io::Error::new(io::ErrorKind::UnexpectedEof, "it ends too early"),
                Ok(length) => {
                    self.left -= length as u64;
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
        };
        self.failure = Some(failure);
        Err(io::ErrorKind::InvalidData.into())
    }
}
