//! The engine's settings: a file with the keys of Docker's `daemon.json`.
//!
//! ```text
//! { "registry-mirrors": ["https://mirror.example"],        asked before Docker Hub
//!   "insecure-registries": ["host:5000", "10.0.0.0/8"],    certificates unchecked, plain HTTP if TLS fails
//!   "max-concurrent-downloads": 8,                         layers at once; 0: no limit
//!   "max-concurrent-uploads": 5,
//!   "max-download-attempts": 5 }                           of one request, before it fails
//! ```
//!
//! A file that Docker takes is taken: keys of Docker that mean nothing here are passed over. A key that Docker does not
//! know is a typing error, here as there.

mod check;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use images::registry::{Anonymous, Client, Credentials};
use serde_json::{Map, Value};

use crate::credentials::ConfigFile;

/// Default of `--config-file`; unlike a file that is named, it need not exist.
pub const DEFAULT_FILE: &str = "/etc/mini-docker/daemon.json";

/// Folders of certificates for single registries that are always looked into, the first first.
const CERTIFICATES: [&str; 2] = ["/etc/mini-docker/certs.d", "/etc/docker/certs.d"];

/// What the file says, or the defaults.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How registries are reached.
    pub registry: images::registry::Settings,
    /// Layers that are downloaded at the same time, 8 by default; [`usize::MAX`] for no limit.
    pub downloads: usize,
    /// Layers that are uploaded at the same time, 5 by default; [`usize::MAX`] for no limit.
    pub uploads: usize,
}

impl Default for Settings {
    /// Docker downloads three layers at once, which leaves a fast line idle.
    fn default() -> Self {
        let registry = images::registry::Settings {
            certificates: CERTIFICATES.map(PathBuf::from).to_vec(),
            ..images::registry::Settings::default()
        };
        Self { registry, downloads: 8, uploads: 5 }
    }
}

impl Settings {
    /// Reads the file that was named, or else the default one if it is there.
    ///
    /// # Errors
    /// If the file cannot be read, or holds what is no setting.
    pub fn read(named: Option<&Path>) -> Result<Self> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match fs::read(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => {
                let hint = match named {
                    Some(_) => " (hint: --config-file or MINI_DOCKER_CONFIG_FILE names this file)",
                    None => "",
                };
                Err(anyhow!("read settings `{}`: {error}{hint}", path.display()))
            }
        }
    }

    /// Reads settings from the text of a file; `certs.d` beside it comes before the usual folders.
    ///
    /// # Errors
    /// One line with the file and what is wrong, and a hint.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self> {
        let mut settings = Self::default();
        let beside = path.with_file_name("certs.d");
        let folders = &mut settings.registry.certificates;
        if !folders.contains(&beside) {
            folders.insert(0, beside);
        }
        if text.trim_ascii().is_empty() {
            return Ok(settings);
        }
        for (key, value) in &parse_object(path, text)? {
            settings
                .set(key, value)
                .map_err(|wrong| anyhow!("settings `{}`: {wrong}", path.display()))?;
        }
        Ok(settings)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        let at_once = |value| {
            Ok::<_, String>(match check::number(key, value)? {
                0 => usize::MAX,
                limit => limit as usize,
            })
        };
        match key {
            "insecure-registries" => {
                self.registry.insecure = check::list(key, value, check::insecure)?;
            }
            "registry-mirrors" => {
                self.registry.mirrors = check::list(key, value, check::mirror)?;
            }
            "max-concurrent-downloads" => self.downloads = at_once(value)?,
            "max-concurrent-uploads" => self.uploads = at_once(value)?,
            "max-download-attempts" => match check::number(key, value)? {
                0 => return Err(format!("`{key}` must be 1 or more, not 0")),
                attempts => self.registry.attempts = attempts,
            },
            _ => check::is_dockers(key)?,
        }
        Ok(())
    }

    /// A client with these settings and the user's credentials. Nothing is read or sent before they are needed.
    pub fn client(&self) -> Client {
        let credentials: Box<dyn Credentials> = match ConfigFile::find() {
            Some(file) => Box::new(file),
            None => Box::new(Anonymous),
        };
        Client::new(self.registry.clone(), credentials)
    }
}

/// A file that must hold one JSON object.
///
/// # Errors
/// With the file and the line.
pub(crate) fn parse_object(path: &Path, text: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(anyhow!("`{}` must hold an object, {{ ... }}", path.display())),
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            Err(anyhow!(
                "`{}` is damaged: line {}: {reason} (hint: it must be JSON; mini-docker leaves it as it is)",
                path.display(),
                error.line()
            ))
        }
    }
}

#[cfg(test)]
mod tests;
