//! What can go wrong between here and a registry, split by what a caller can do about it.

use std::time::Duration;

use crate::digest::Digest;

/// Why a registry did not do what it was asked.
///
/// All texts of a registry in here are printable and bounded; no variant holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry has no such image, tag or blob. A mirror may not have it where the registry does.
    #[error("{what} not found{}", after(said))]
    NotFound {
        /// `manifest for localhost:5000/web:v1`.
        what: String,
        /// What the registry said.
        said: String,
    },
    /// The registry does not let this user do that. Registries do not tell "private" from "not there".
    #[error(
        "{access} access denied for {image}, repository does not exist or may require `{login}`{}",
        after(said)
    )]
    Denied {
        /// `pull`, `push`.
        access: &'static str,
        /// The image, or the registry if the request was about no image.
        image: String,
        /// The command that logs in.
        login: String,
        /// What the registry said.
        said: String,
    },
    /// No credential where one is needed, or a wrong one.
    #[error("registry {host}: {reason} (hint: `{login}`)")]
    Unauthorized {
        /// The registry.
        host: String,
        /// What is wrong.
        reason: String,
        /// The command that logs in.
        login: String,
    },
    /// Too many requests.
    #[error(
        "registry {host} limits how much is asked of it{} (hint: {}log in with `{login}`, or use a mirror)",
        after(said), wait(*retry_after)
    )]
    RateLimited {
        /// The registry.
        host: String,
        /// What the registry said.
        said: String,
        /// How long it wants us to wait, if it said so.
        retry_after: Option<Duration>,
        /// The command that logs in.
        login: String,
    },
    /// No connection could be made.
    #[error("registry {host} cannot be reached: {reason} (hint: {hint})")]
    Unreachable {
        /// The registry, or the host that it sent us to.
        host: String,
        /// What the system said.
        reason: String,
        /// What to look at.
        hint: &'static str,
    },
    /// A proxy could not be reached, or refused.
    #[error("proxy {proxy} on the way to {host}: {reason} (hint: see HTTPS_PROXY and NO_PROXY)")]
    Proxy {
        /// The proxy, without user and password.
        proxy: String,
        /// The registry.
        host: String,
        /// What happened.
        reason: String,
    },
    /// The connection is not safe.
    #[error("registry {host}: {reason} (hint: {hint})")]
    Tls {
        /// The registry.
        host: String,
        /// What is wrong with its certificate.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// The registry speaks HTTP where HTTPS is wanted.
    #[error(
        "registry {host} speaks plain http, not https (hint: if you trust the network between, add it to \
         insecure-registries in daemon.json)"
    )]
    PlainHttp {
        /// The registry.
        host: String,
    },
    /// The bytes are not those that the digest names.
    #[error("{what}: content is {actual}, expected {expected}")]
    WrongDigest {
        /// The document.
        what: String,
        /// The digest that was asked for or announced.
        expected: Digest,
        /// The digest it has.
        actual: Digest,
    },
    /// A document or an answer that is larger than any of its kind should be.
    #[error("{what}: more than {limit} bytes")]
    TooLarge {
        /// The document.
        what: String,
        /// What is read at most.
        limit: u64,
    },
    /// The registry says no, and no variant above says why.
    #[error("registry {host} answered {status}{}", after(said))]
    Refused {
        /// The registry.
        host: String,
        /// HTTP status.
        status: u16,
        /// What the registry said.
        said: String,
    },
    /// The connection broke, time after time, or the registry kept failing.
    #[error(
        "registry {host}: {reason}; given up after {attempts} attempts (hint: try again later)"
    )]
    Interrupted {
        /// The registry.
        host: String,
        /// What happened the last time.
        reason: String,
        /// How often it was tried without progress.
        attempts: u32,
    },
    /// Something that the registry, or this program, does not do.
    #[error("{0}")]
    Unsupported(String),
    /// The answer is not what the protocol says.
    #[error("registry {host}: {reason}")]
    Protocol {
        /// The registry.
        host: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// Credentials exist and could not be read.
    #[error("credentials for {host}: {reason}")]
    Credentials {
        /// The registry.
        host: String,
        /// Why.
        reason: String,
    },
    /// A certificate or key in `certs.d`, or the address of a mirror or proxy, is not usable.
    #[error("{what}: {reason}")]
    Settings {
        /// The file or setting.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What was to be sent could not be read.
    #[error("read what is to be pushed: {0}")]
    Local(String),
}

fn after(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

fn wait(retry_after: Option<Duration>) -> String {
    match retry_after.map(|wait| wait.as_secs()) {
        None => "wait a while, ".to_owned(),
        Some(seconds @ 0..120) => format!("wait {seconds} s, "),
        Some(seconds @ 120..7_200) => format!("wait {} minutes, ", seconds.div_ceil(60)),
        Some(seconds) => format!("wait {} hours, ", seconds.div_ceil(3_600)),
    }
}
