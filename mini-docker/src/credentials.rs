//! Who the user is at which registry: Docker's client configuration, `config.json`, shared with Docker itself.
//!
//! ```text
//! { "auths": { "https://index.docker.io/v1/": { "auth": "base64 of user:password" },
//!              "localhost:5000": { "auth": "...", "identitytoken": "..." } },
//!   "credsStore": "secretservice",                   docker-credential-secretservice keeps them all
//!   "credHelpers": { "gcr.io": "gcloud" } }          docker-credential-gcloud keeps those of gcr.io
//! ```
//!
//! The file has more in it that is not ours and stays as it is. [`server`] knows the names under which a registry is
//! found in it, `file` reads and writes it, `helper` speaks with the programs that keep secrets elsewhere.

mod file;
mod helper;
pub mod server;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use images::registry::{Credential, Credentials};
use serde_json::{Map, Value};

use helper::Helper;

/// A JSON object whose keys stay in their order.
type Object = Map<String, Value>;

/// Writes padding as Docker does; other tools leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Fields of an entry of `auths` that are the credential; all others are left alone.
const SECRETS: [&str; 5] = ["auth", "username", "password", "identitytoken", "registrytoken"];

/// What is known of the user at one registry. No `Debug`: it holds secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// User; empty if there is only a token.
    pub username: String,
    /// Password, or a personal access token in its place; empty if there is an identity token.
    pub password: String,
    /// Refresh token of the registry's token server; empty if there is none.
    pub identity_token: String,
}

impl Login {
    /// What the registry wants to see; None if nothing is known.
    pub fn credential(self) -> Option<Credential> {
        if !self.identity_token.is_empty() {
            return Some(Credential::IdentityToken(self.identity_token));
        }
        let known = !self.username.is_empty() || !self.password.is_empty();
        known.then_some(Credential::Password { username: self.username, password: self.password })
    }
}

/// Docker's `config.json`, which need not exist.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    path: PathBuf,
    /// Where helpers are searched instead of in `PATH`.
    search: Option<OsString>,
}

impl ConfigFile {
    /// The user's: `$DOCKER_CONFIG/config.json`, or `.docker/config.json` in the folder that `HOME` or, without it, the
    /// user database names. None for a user without a home. Under sudo `HOME` is what sudo makes of it, as for Docker.
    pub fn find() -> Option<Self> {
        let given = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(folder) = given("DOCKER_CONFIG") {
            return Some(Self::in_folder(Path::new(&folder)));
        }
        let home = given("HOME").map(PathBuf::from).or_else(|| {
            let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten()?;
            Some(user.dir)
        })?;
        Some(Self::in_folder(&home.join(".docker")))
    }

    /// The `config.json` in this folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join("config.json"), search: None }
    }

    /// Where it is, or would be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The program that keeps the credential of a registry, `docker-credential-pass`. None: the file itself does.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn helper(&self, registry: &str) -> Result<Option<String>> {
        Ok(self.helper_in(&file::read(&self.path)?, registry)?.map(|helper| helper.program()))
    }

    /// What is known of the user at a registry, `docker.io` for Docker Hub.
    ///
    /// # Errors
    /// If the file is damaged, or the helper that has the credential fails or is missing.
    pub fn login(&self, registry: &str) -> Result<Option<Login>> {
        let document = file::read(&self.path)?;
        match self.helper_in(&document, registry)? {
            Some(helper) => helper.get(server::key(registry)),
            None => self.entry(&document, registry),
        }
    }

    /// Keeps what is known of the user at a registry.
    ///
    /// # Errors
    /// As [`ConfigFile::login`], and if the file cannot be written.
    pub fn store(&self, registry: &str, login: &Login) -> Result<()> {
        let key = server::key(registry);
        let document = file::read(&self.path)?;
        let helper = self.helper_in(&document, registry)?;
        if let Some(helper) = &helper {
            helper.store(key, login)?;
        }
        file::change(&self.path, |document| {
            let auths = document.entry("auths").or_insert(Value::Null);
            let entry = object_in(auths, &self.path, "auths")?.entry(key).or_insert(Value::Null);
            let entry = object_in(entry, &self.path, key)?;
            entry.retain(|field, _| !SECRETS.contains(&field.as_str()));
            // With a helper, an entry without secrets says that there is a login: Docker writes the same.
            if helper.is_none() {
                if !login.username.is_empty() {
                    let pair = format!("{}:{}", login.username, login.password);
                    entry.insert("auth".to_owned(), BASE64.encode(pair).into());
                }
                if !login.identity_token.is_empty() {
                    entry.insert("identitytoken".to_owned(), login.identity_token.clone().into());
                }
            }
            Ok(())
        })
    }

    /// Forgets the user at a registry, under all the names that mean it. Nothing known is nothing to forget.
    ///
    /// # Errors
    /// As [`ConfigFile::store`].
    pub fn erase(&self, registry: &str) -> Result<()> {
        let document = file::read(&self.path)?;
        if document.is_empty() {
            return Ok(());
        }
        if let Some(helper) = self.helper_in(&document, registry)? {
            helper.erase(server::key(registry))?;
        }
        file::change(&self.path, |document| {
            if let Some(auths) = document.get_mut("auths").filter(|auths| !auths.is_null()) {
                object_in(auths, &self.path, "auths")?
                    .retain(|key, _| server::registry(key) != server::registry(registry));
            }
            Ok(())
        })
    }

    /// The registry's own helper, or else the one for all. An empty name in `credHelpers` means the file.
    fn helper_in(&self, document: &Object, registry: &str) -> Result<Option<Helper<'_>>> {
        let own = match self.object(document, "credHelpers")? {
            Some(helpers) => find(helpers, registry).map(|(_, name)| ("credHelpers", name)),
            None => None,
        };
        let all = document.get("credsStore").map(|name| ("credsStore", name));
        let Some((field, name)) = own.or(all).filter(|(_, name)| !name.is_null()) else {
            return Ok(None);
        };
        match name.as_str() {
            Some("") => Ok(None),
            Some(name) if !name.contains('/') => Ok(Some(Helper {
                name: name.to_owned(),
                field,
                file: &self.path,
                search: self.search.as_deref(),
            })),
            _ => Err(anyhow!(
                "`{}`: `{field}` names {name} (hint: it must be the end of a program's name: \
                 \"pass\" for docker-credential-pass)",
                self.path.display()
            )),
        }
    }

    /// What the file itself has.
    fn entry(&self, document: &Object, registry: &str) -> Result<Option<Login>> {
        let Some(auths) = self.object(document, "auths")? else { return Ok(None) };
        let Some((key, _)) = find(auths, registry) else { return Ok(None) };
        let Some(entry) = self.object(auths, key)? else { return Ok(None) };
        let wrong = |what: &str| {
            anyhow!(
                "`{}`: the entry of `{key}` {what} (hint: mini-docker login {registry} writes a new one)",
                self.path.display()
            )
        };
        let text = |field: &str| match entry.get(field) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(_) => Err(wrong(&format!("has a field `{field}` that is no string"))),
        };
        let mut login = Login {
            username: text("username")?.to_owned(),
            password: text("password")?.to_owned(),
            identity_token: text("identitytoken")?.to_owned(),
        };
        let auth: String = text("auth")?.split_ascii_whitespace().collect();
        if !auth.is_empty() {
            let bytes = BASE64.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = bytes.ok_or_else(|| wrong("has an `auth` that is not base64"))?;
            let (username, password) = pair
                .split_once(':')
                .filter(|(username, _)| !username.is_empty())
                .ok_or_else(|| wrong("has an `auth` that is not USER:PASSWORD"))?;
            // Very old versions of Docker filled the last bytes with zeroes.
            let password = password.trim_matches('\0');
            (login.username, login.password) = (username.to_owned(), password.to_owned());
        }
        if login == Login::default() {
            return match text("registrytoken")? {
                "" => Ok(None),
                _ => Err(wrong("has only a `registrytoken`, which mini-docker does not use")),
            };
        }
        Ok(Some(login))
    }

    /// An object in another; null counts as absent, as in Docker.
    fn object<'doc>(&self, document: &'doc Object, key: &str) -> Result<Option<&'doc Object>> {
        match document.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(not_an_object(&self.path, key)),
        }
    }
}

impl Credentials for ConfigFile {
    fn get(&self, registry: &str) -> io::Result<Option<Credential>> {
        // As text: the sentence ends with the hint, wherever it is wrapped.
        let login = self.login(registry).map_err(|error| io::Error::other(format!("{error:#}")))?;
        Ok(login.and_then(Login::credential))
    }
}

/// The value for a registry: under its key, or else under an older name for it.
fn find<'doc>(object: &'doc Object, registry: &str) -> Option<(&'doc String, &'doc Value)> {
    object.get_key_value(server::key(registry)).or_else(|| {
        object.iter().find(|(key, _)| server::registry(key) == server::registry(registry))
    })
}

/// The object that a value is, or becomes if it is null.
fn object_in<'doc>(value: &'doc mut Value, file: &Path, key: &str) -> Result<&'doc mut Object> {
    if value.is_null() {
        *value = Value::Object(Object::new());
    }
    value.as_object_mut().ok_or_else(|| not_an_object(file, key))
}

fn not_an_object(file: &Path, key: &str) -> anyhow::Error {
    anyhow!("`{}`: `{key}` must be an object, {{ ... }}", file.display())
}

#[cfg(test)]
mod tests;
