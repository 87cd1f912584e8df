//! Programs that keep secrets elsewhere: `docker-credential-NAME get|store|erase`.
//!
//! | verb    | standard input                          | standard output                         |
//! |---------|-----------------------------------------|-----------------------------------------|
//! | `get`   | the key                                 | `{"ServerURL", "Username", "Secret"}`   |
//! | `store` | `{"ServerURL", "Username", "Secret"}`   | nothing                                 |
//! | `erase` | the key                                 | nothing                                 |
//!
//! A failure is an exit code other than 0 with a sentence on standard output. The user name `<token>` marks a secret
//! that is an identity token. Protocol: github.com/docker/docker-credential-helpers.

use std::ffi::OsStr;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

use super::Login;

/// The sentence for "there is none", the same for all helpers.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name of an identity token.
const TOKEN: &str = "<token>";

/// A helper that is configured.
pub(super) struct Helper<'a> {
    /// `pass` for `docker-credential-pass`.
    pub(super) name: String,
    /// Which field of the file names it.
    pub(super) field: &'static str,
    /// The file.
    pub(super) file: &'a Path,
    /// Where to search for it instead of in `PATH`.
    pub(super) search: Option<&'a OsStr>,
}

/// What `get` answers and `store` is told.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Secret<'a> {
    #[serde(rename = "ServerURL", default)]
    server_url: std::borrow::Cow<'a, str>,
    #[serde(default)]
    username: std::borrow::Cow<'a, str>,
    #[serde(default)]
    secret: std::borrow::Cow<'a, str>,
}

impl Helper<'_> {
    /// Name of the program.
    pub(super) fn program(&self) -> String {
        format!("docker-credential-{}", self.name)
    }

    /// The login that it keeps for a key of `config.json`.
    pub(super) fn get(&self, key: &str) -> Result<Option<Login>> {
        let Some(output) = self.run("get", key, key.as_bytes())? else { return Ok(None) };
        let answer: Secret<'_> = serde_json::from_slice(&output).map_err(|_| {
            anyhow!("`{} get` for `{key}` did not answer with JSON", self.program())
        })?;
        let (username, secret) = (answer.username.into_owned(), answer.secret.into_owned());
        Ok(match (username.as_str(), secret.is_empty()) {
            ("", true) => None,
            (TOKEN, _) => Some(Login { identity_token: secret, ..Login::default() }),
            _ => Some(Login { username, password: secret, ..Login::default() }),
        })
    }

    /// Keeps a login.
    pub(super) fn store(&self, key: &str, login: &Login) -> Result<()> {
        let (username, secret) = match login.identity_token.as_str() {
            "" => (login.username.as_str(), login.password.as_str()),
            token => (TOKEN, token),
        };
        let secret =
            Secret { server_url: key.into(), username: username.into(), secret: secret.into() };
        self.run("store", key, &serde_json::to_vec(&secret)?).map(drop)
    }

    /// Forgets a login; one that it does not have is forgotten already.
    pub(super) fn erase(&self, key: &str) -> Result<()> {
        self.run("erase", key, key.as_bytes()).map(drop)
    }

    /// Its output; None if it says that there is no credential.
    fn run(&self, verb: &str, key: &str, input: &[u8]) -> Result<Option<Vec<u8>>> {
        let program = self.program();
        let mut command = Command::new(&program);
        command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(search) = self.search {
            command.env("PATH", search);
        }
        let mut child = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow!(
                "`{program}` is not installed, and `{}` says that it keeps the credentials of \
                 `{key}` (hint: install it, or take it out of \"{}\" in that file)",
                self.file.display(),
                self.field
            ),
            _ => anyhow!("execute `{program}`: {error}"),
        })?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not want to know has its reasons, which it tells.
            stdin.write_all(input).ok();
        }
        let output =
            child.wait_with_output().map_err(|error| anyhow!("wait for `{program}`: {error}"))?;
        if output.status.success() {
            return Ok(Some(output.stdout));
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let said = said.trim();
        if said == NOT_FOUND {
            return Ok(None);
        }
        let said: String = said.chars().take(400).flat_map(char::escape_debug).collect();
        let said = if said.is_empty() { output.status.to_string() } else { said };
        Err(anyhow!("`{program} {verb}` for `{key}` failed: {said}"))
    }
}
