//! Talking to a registry: the OCI distribution protocol, version 1.1, and what Docker Hub and old registries add to it.
//!
//! All of it is HTTP, and a pull is three kinds of GET: the manifest by its tag, the config and the layers by their
//! digests. What makes it long is everything between: who we are, which server to believe, and networks that break.
//!
//! 1. `url.rs`: where a request goes; credentials are bound to an origin.
//! 2. `scheme.rs`, `transport.rs`, `proxy.rs`, `tls.rs`, `verifier.rs`, `certificates.rs`: one exchange with one server, and the
//!    words for what can go wrong there.
//! 3. `request.rs`, `retry.rs`: one request, with redirects, repetition, and an answer to every 401.
//! 4. `challenge.rs`, `scope.rs`, `auth.rs`, `login.rs`: how a registry asks who we are, and how a token
//!    is had.
//! 5. `answer.rs`, [`Error`]: what a registry says when it says no.
//! 6. `manifest.rs`, `download.rs`, `upload.rs`, `catalog.rs`: what all that is for.
//!
//! Everything blocks, and may be used by several threads at once; there is no limit in time for a whole transfer, only
//! for a connection on which nothing moves.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::digest::Digest;
use crate::reference::Reference;

mod answer;
mod auth;
mod catalog;
mod certificates;
mod challenge;
mod download;
mod error;
mod file;
mod login;
mod manifest;
mod proxy;
mod request;
mod retry;
mod scheme;
mod scope;
mod tls;
mod transport;
mod upload;
mod url;
mod verifier;

pub use download::Download;
pub use error::Error;
pub use file::RemoteFile;

use answer::About;
use transport::{Transport, Trouble};
use url::{Origin, Url};

/// What people call Docker Hub.
const HUB: &str = "docker.io";
/// Where its registry is.
const HUB_HOST: &str = "registry-1.docker.io";

/// How registries are reached; the binary fills it from `daemon.json`, with Docker's keys.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `insecure-registries`: `host`, `host:port` or a network in CIDR form. There, certificates are not checked, and
    /// plain HTTP is tried when TLS fails. Loopback addresses always count.
    pub insecure: Vec<String>,
    /// `registry-mirrors`: URLs that are asked before Docker Hub, in this order.
    pub mirrors: Vec<String>,
    /// Folders with one folder for each registry, `host:port/{*.crt,*.cert,*.key}`, as Docker's `/etc/docker/certs.d`.
    pub certificates: Vec<PathBuf>,
    /// How often a request is tried before it fails (`max-download-attempts`, 5).
    pub attempts: u32,
    /// The wait before the second try; it doubles with each one, up to 10 s, with jitter.
    pub backoff: Duration,
    /// A connection on which no byte has moved for this long is broken.
    pub stall: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            mirrors: Vec::new(),
            certificates: Vec::new(),
            attempts: 5,
            backoff: Duration::from_millis(200),
            stall: Duration::from_secs(60),
        }
    }
}

/// What a registry wants to see.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// User and password, or a personal access token in its place.
    Password {
        /// User.
        username: String,
        /// Password.
        password: String,
    },
    /// A refresh token that a token server has given (`identitytoken`).
    IdentityToken(String),
}

/// Never shows the secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => {
                f.debug_struct("Password").field("username", username).finish_non_exhaustive()
            }
            Self::IdentityToken(_) => f.write_str("IdentityToken(..)"),
        }
    }
}

/// Where credentials come from: the binary reads Docker's `config.json` and asks credential helpers.
pub trait Credentials: Send + Sync {
    /// The credential for a registry, `docker.io` for Docker Hub. None: be anonymous.
    ///
    /// # Errors
    /// If there is one that cannot be read: being anonymous instead would be told as "no such image".
    fn get(&self, registry: &str) -> io::Result<Option<Credential>>;
}

/// Nobody has credentials.
#[derive(Debug, Clone, Copy)]
pub struct Anonymous;

impl Credentials for Anonymous {
    fn get(&self, _registry: &str) -> io::Result<Option<Credential>> {
        Ok(None)
    }
}

/// All connections of this process: keeps them open, and keeps tokens. Threads share it by reference.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    credentials: Box<dyn Credentials>,
    transport: Transport,
    memory: auth::Memory,
    /// Whether a registry that may be without TLS has it: found out once for each.
    schemes: Mutex<HashMap<String, Arc<Mutex<Option<bool>>>>>,
}

impl Client {
    /// Reads the proxies from the environment; nothing is sent yet.
    pub fn new(settings: Settings, credentials: Box<dyn Credentials>) -> Self {
        let transport = Transport::new(&settings);
        let (memory, schemes) = (auth::Memory::default(), Mutex::default());
        let shared = Shared { settings, credentials, transport, memory, schemes };
        Self { shared: Arc::new(shared) }
    }

    /// The registry with this host and port (`docker.io` is Docker Hub).
    pub fn registry(&self, host: &str) -> Registry {
        let server = if host == HUB { HUB_HOST } else { host };
        let base = Url::parse(&format!("https://{server}"));
        let (name, hub) = (host.to_owned(), host == HUB);
        Registry { client: self.clone(), shown: name.clone(), name, hub, base, fixed: hub }
    }

    /// Where to pull from, in the order to try: for Docker Hub its mirrors, then the registry itself.
    pub fn sources(&self, reference: &Reference) -> Vec<Registry> {
        let own = self.registry(reference.registry());
        let mirrors: &[String] = if own.hub { &self.shared.settings.mirrors } else { &[] };
        let mirrors = mirrors.iter().map(|mirror| {
            let base = Url::parse(mirror.trim_end_matches('/'));
            // Docker Hub's credentials are not for whoever runs a mirror.
            let name = base.as_ref().map_or(mirror.clone(), |url| url.origin.authority());
            let shown = mirror.trim_end_matches('/').to_owned();
            Registry { client: self.clone(), name, shown, hub: true, base, fixed: true }
        });
        mirrors.chain([own.clone()]).collect()
    }
}

/// A manifest, index or config as it came.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its bytes: never parsed and written again.
    pub bytes: Vec<u8>,
    /// From `Content-Type`; from the document's own `mediaType` if that is missing.
    pub media_type: String,
    /// Computed from the bytes; equal to what was asked for, if that was a digest.
    pub digest: Digest,
}

/// How a blob got into a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Exists,
    /// Mounted from another repository of the same registry.
    Mounted(String),
    /// Its bytes were sent.
    Uploaded,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Found {
    /// `busybox`, `alice/web`.
    pub name: String,
    /// What its owner says.
    #[serde(default, deserialize_with = "catalog::or_default")]
    pub description: String,
    /// Number of people who like it.
    #[serde(default, deserialize_with = "catalog::or_default", rename = "star_count")]
    pub stars: u64,
    /// One of Docker's official images.
    #[serde(default, deserialize_with = "catalog::or_default", rename = "is_official")]
    pub official: bool,
    /// Built by Docker Hub from a repository.
    #[serde(default, deserialize_with = "catalog::or_default", rename = "is_automated")]
    pub automated: bool,
}

/// One registry, or a mirror of Docker Hub.
#[derive(Clone)]
pub struct Registry {
    client: Client,
    /// What credentials are kept under: `docker.io`, `localhost:5000`.
    name: String,
    /// For people.
    shown: String,
    /// Has the images of Docker Hub.
    hub: bool,
    base: Result<Url, String>,
    /// Whether the scheme of `base` is given, not to be found out.
    fixed: bool,
}

impl Registry {
    /// Host and port for people: `docker.io`, `localhost:5000`, or the mirror's URL.
    pub fn host(&self) -> &str {
        &self.shown
    }

    /// The image's name as Docker prints it.
    fn image(&self, repository: &str) -> String {
        match repository.strip_prefix("library/") {
            _ if repository.is_empty() => format!("registry {}", self.shown),
            Some(official) if self.hub => official.to_owned(),
            None if self.hub => repository.to_owned(),
            _ => format!("{}/{repository}", self.shown),
        }
    }

    fn login_command(&self) -> String {
        match self.name.as_str() {
            HUB => "mini-docker login".to_owned(),
            name => format!("mini-docker login {name}"),
        }
    }

    fn about(&self, access: &'static str, repository: &str) -> About {
        let image = self.image(repository);
        let what = match repository {
            "" => image.clone(),
            _ => format!("repository {image}"),
        };
        About { access, what, image, host: self.shown.clone(), login: self.login_command() }
    }

    fn about_blob(&self, access: &'static str, repository: &str, digest: &Digest) -> About {
        let about = self.about(access, repository);
        About { what: format!("blob {digest} of {}", about.image), ..about }
    }

    fn about_manifest(&self, access: &'static str, repository: &str, reference: &str) -> About {
        let about = self.about(access, repository);
        let separator = if reference.contains(':') { '@' } else { ':' };
        About { what: format!("manifest for {}{separator}{reference}", about.image), ..about }
    }

    fn protocol(&self, reason: &str) -> Error {
        Error::Protocol { host: self.shown.clone(), reason: reason.to_owned() }
    }

    /// Why the body of an answer broke off.
    fn broken(&self, origin: &Origin, error: io::Error) -> String {
        match self.client.shared.transport.trouble(origin, None, error.into()) {
            Trouble::Broken(reason) => reason,
            Trouble::Absent(error) | Trouble::Final(error) => error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_may_share_it() {
        fn shared<T: Send + Sync>() {}
        fn sent<T: Send>() {}
        shared::<Client>();
        shared::<Registry>();
        sent::<Download>();
    }

    #[test]
    fn names_are_as_people_write_them() {
        let mirrors = vec!["https://mirror.example/hub/".to_owned()];
        let client = Client::new(Settings { mirrors, ..Settings::default() }, Box::new(Anonymous));
        let named = |reference: &str| {
            let reference: Reference = reference.parse().unwrap();
            let named = |registry: &Registry| {
                let about = registry.about_manifest("pull", reference.repository(), "1");
                let url = registry.base.clone().unwrap().below("/v2/");
                format!("{} | {} | {} | {url}", registry.host(), about.what, about.login)
            };
            client.sources(&reference).iter().map(named).collect::<Vec<_>>()
        };
        assert_eq!(
            named("busybox"),
            [
                "https://mirror.example/hub | manifest for busybox:1 | mini-docker login mirror.example | \
                 https://mirror.example/hub/v2/",
                "docker.io | manifest for busybox:1 | mini-docker login | https://registry-1.docker.io/v2/",
            ]
        );
        assert_eq!(
            named("ghcr.io/library/x"),
            [
                "ghcr.io | manifest for ghcr.io/library/x:1 | mini-docker login ghcr.io | https://ghcr.io/v2/"
            ]
        );
    }
}
