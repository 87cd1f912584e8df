//! Who we are: basic authentication, and tokens from the token server that a registry names.
//!
//! A registry answers 401 and says where tokens are made ("realm"), for which service, and what for ("scope"). The token
//! server gets the credential, or nothing, and gives a token that is good for minutes; the registry gets only the token.
//! (distribution.github.io/distribution/spec/auth/token, and .../oauth for identity tokens.)

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use ureq::http::Method;

use super::answer::{About, Answer};
use super::challenge::Challenge;
use super::error::Error;
use super::request::{Body, Request};
use super::scope::Scope;
use super::url::{Origin, Url, encode};
use super::{Credential, Registry};
use crate::error::printable;

/// How long a token is good if its server does not say.
const TOKEN_LIFE: u64 = 60;
const MAX_TOKEN: u64 = 1 << 20;
const CLIENT: &str = "mini-docker";

/// What proves who we are. Has no `Debug`: it holds secrets.
#[derive(Clone)]
pub(super) enum Authorization {
    /// User and password, encoded.
    Basic(String),
    /// A token, and what it is kept under.
    Bearer(Key, String),
}

impl Authorization {
    pub(super) fn header(&self) -> String {
        match self {
            Self::Basic(encoded) => format!("Basic {encoded}"),
            Self::Bearer(_, token) => format!("Bearer {token}"),
        }
    }

    pub(super) fn basic(username: &str, password: &str) -> Self {
        Self::Basic(BASE64_STANDARD.encode(format!("{username}:{password}")))
    }
}

/// Registry, realm, service, scope: a token is good for one of each. (Registries that share a realm may have other
/// credentials for it.)
pub(super) type Key = (String, String, String, Scope);

struct Token {
    text: String,
    until: Instant,
}

/// Behind a lock of its own, so that threads that want the same token wait for one request.
type Slot = Arc<Mutex<Option<Token>>>;

/// What was learned about authentication so far.
#[derive(Default)]
pub(super) struct Memory {
    challenges: Mutex<HashMap<Origin, Challenge>>,
    tokens: Mutex<HashMap<Key, Slot>>,
    credentials: Mutex<HashMap<String, Option<Credential>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The answer of a token server.
#[derive(Deserialize)]
pub(super) struct Given {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
    pub(super) refresh_token: Option<String>,
}

impl Registry {
    /// What to send with a request, if it is known from an earlier answer how this registry asks.
    pub(super) fn authorization(
        &self,
        scope: &Scope,
        about: &About,
    ) -> Result<Option<Authorization>, Error> {
        let origin = self.base()?.origin;
        let challenge = lock(&self.client.shared.memory.challenges).get(&origin).cloned();
        match challenge {
            // The registry may have something for everybody; it says so if not.
            Some(basic) if basic.scheme == "basic" && self.credential()?.is_none() => Ok(None),
            Some(challenge) => self.respond(&challenge, scope, about).map(Some),
            None => Ok(None),
        }
    }

    /// Picks the challenge that we can answer, and remembers it.
    pub(super) fn learn(&self, challenges: Vec<Challenge>) -> Option<Challenge> {
        let tokens = |one: &&Challenge| one.scheme == "bearer" && one.get("realm").is_some();
        let best = challenges.iter().find(tokens);
        let best = best.or_else(|| challenges.iter().find(|one| one.scheme == "basic"))?;
        let origin = self.base().ok()?.origin;
        lock(&self.client.shared.memory.challenges).insert(origin, best.clone());
        Some(best.clone())
    }

    /// Forgets a token that was refused.
    pub(super) fn forget(&self, refused: &Authorization) {
        let Authorization::Bearer(key, text) = refused else { return };
        let slot = self.slot(key);
        let mut slot = lock(&slot);
        // Another thread may have a new one already.
        if slot.as_ref().is_some_and(|token| token.text == *text) {
            *slot = None;
        }
    }

    fn slot(&self, key: &Key) -> Slot {
        Arc::clone(lock(&self.client.shared.memory.tokens).entry(key.clone()).or_default())
    }

    /// Answers a challenge: from memory, or by asking the token server.
    pub(super) fn respond(
        &self,
        challenge: &Challenge,
        scope: &Scope,
        about: &About,
    ) -> Result<Authorization, Error> {
        if challenge.scheme == "basic" {
            return match self.credential()? {
                Some(Credential::Password { username, password }) => {
                    Ok(Authorization::basic(&username, &password))
                }
                Some(Credential::IdentityToken(_)) => {
                    Err(self.unauthorized("it wants a user and password, not an identity token"))
                }
                None => Err(self.unauthorized("it wants a user and password")),
            };
        }
        let text = |name: &str| challenge.get(name).unwrap_or_default().to_owned();
        let key = (self.name.clone(), text("realm"), text("service"), scope.clone());
        let slot = self.slot(&key);
        let mut slot = lock(&slot);
        if let Some(token) = slot.as_ref().filter(|token| token.until > Instant::now()) {
            return Ok(Authorization::Bearer(key, token.text.clone()));
        }
        let credential = self.credential()?;
        let given = self.ask(challenge, scope, credential.as_ref(), about, false)?;
        let token = token(&given).ok_or_else(|| self.protocol("its token server gave no token"))?;
        // Clocks and requests take their time: a token is not used up to its last second.
        let life = given.expires_in.filter(|life| *life > 0).unwrap_or(TOKEN_LIFE);
        let life = Duration::from_secs(life).mul_f64(0.9);
        let until = Instant::now().checked_add(life).unwrap_or_else(Instant::now);
        *slot = Some(Token { text: token.clone(), until });
        Ok(Authorization::Bearer(key, token))
    }

    fn credential(&self) -> Result<Option<Credential>, Error> {
        let mut known = lock(&self.client.shared.memory.credentials);
        if let Some(credential) = known.get(&self.name) {
            return Ok(credential.clone());
        }
        let credential = self.client.shared.credentials.get(&self.name).map_err(|error| {
            let reason = printable(&error.to_string());
            Error::Credentials { host: self.name.clone(), reason }
        })?;
        known.insert(self.name.clone(), credential.clone());
        Ok(credential)
    }

    /// Asks the token server. With `offline`, for an identity token too.
    pub(super) fn ask(
        &self,
        challenge: &Challenge,
        scope: &Scope,
        credential: Option<&Credential>,
        about: &About,
        offline: bool,
    ) -> Result<Given, Error> {
        let realm = challenge.get("realm").unwrap_or_default();
        let url = Url::parse(realm)
            .map_err(|reason| self.protocol(&format!("its token server: {reason}")))?;
        let base = self.base()?.origin;
        if !url.origin.https && base.https && !self.client.shared.transport.insecure.covers(&base) {
            let host = url.origin.authority();
            return Err(
                self.protocol(&format!("its token server {host} is without https, refused"))
            );
        }
        let service = challenge.get("service").unwrap_or_default();
        if let Some(Credential::IdentityToken(identity)) = credential {
            let answer = self.post_identity(&url, service, scope, identity, about)?;
            // Token servers without OAuth2 say so in one of these ways; there it works as a password.
            if !matches!(answer.status.as_u16(), 401 | 404 | 405) {
                return self.given(answer, credential, about);
            }
        }
        let mut url = url;
        if !service.is_empty() {
            url = url.with("service", service);
        }
        for scope in scope.list() {
            url = url.with("scope", &scope);
        }
        if offline {
            url = url.with("offline_token", "true").with("client_id", CLIENT);
        }
        let authorization = match credential {
            None => None,
            Some(Credential::IdentityToken(token)) => Some(Authorization::basic("", token)),
            Some(Credential::Password { username, password }) => {
                url = url.with("account", username);
                Some(Authorization::basic(username, password))
            }
        };
        let request = Request::get(url, Scope::default(), about.clone());
        let answer = self.exchange(&request, authorization.as_ref())?;
        self.given(answer, credential, about)
    }

    fn post_identity(
        &self,
        url: &Url,
        service: &str,
        scope: &Scope,
        identity: &str,
        about: &About,
    ) -> Result<Answer, Error> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", identity),
            ("service", service),
            ("scope", &scope.list().join(" ")),
            ("client_id", CLIENT),
        ];
        let form: Vec<_> =
            form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let form = form.join("&");
        let mut request = Request::get(url.clone(), Scope::default(), about.clone())
            .header("content-type", "application/x-www-form-urlencoded");
        request.method = Method::POST;
        request.body = Body::Bytes(form.as_bytes());
        self.exchange(&request, None)
    }

    fn given(
        &self,
        answer: Answer,
        credential: Option<&Credential>,
        about: &About,
    ) -> Result<Given, Error> {
        if !answer.status.is_success() {
            let (known, status) = (credential.is_some(), answer.status.as_u16());
            let error = answer.refusal(about);
            return Err(match (status, known) {
                (400 | 401, true) => self.wrong_credentials(error),
                _ => error,
            });
        }
        let broken = |reason: &str| self.protocol(&format!("its token server {reason}"));
        let mut bytes = Vec::new();
        let mut body = answer.body.into_reader().take(MAX_TOKEN);
        body.read_to_end(&mut bytes).map_err(|_| broken("broke off its answer"))?;
        // What serde says would quote the answer, and a token in it.
        serde_json::from_slice(&bytes).map_err(|_| broken("gave no JSON document"))
    }

    /// Says that it is the credential that was refused.
    pub(super) fn wrong_credentials(&self, error: Error) -> Error {
        match error {
            Error::Denied { said, .. } | Error::Refused { said, .. } => {
                let more = match said.as_str() {
                    "" | "incorrect username or password" => String::new(),
                    said => format!(": {said}"),
                };
                self.unauthorized(&format!("incorrect username or password{more}"))
            }
            other => other,
        }
    }

    pub(super) fn unauthorized(&self, reason: &str) -> Error {
        let (host, login) = (self.host().to_owned(), self.login_command());
        Error::Unauthorized { host, reason: reason.to_owned(), login }
    }
}

pub(super) fn token(given: &Given) -> Option<String> {
    let token = given.token.as_ref().filter(|token| !token.is_empty());
    let token = token.or(given.access_token.as_ref())?;
    // Visible characters only, so that it makes a header of one line.
    (!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())).then(|| token.clone())
}
