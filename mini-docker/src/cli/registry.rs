//! `login`, `logout`, `search`: what is said to a registry without any image, and without root.

mod prompt;
mod search;

use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use images::registry::{Anonymous, Client, Credential};

use super::table;
use crate::credentials::{ConfigFile, Login as Known, server};
use crate::failure::{self, Failure};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Log in to a registry
    Login(Login),
    /// Log out from a registry
    Logout(Logout),
    /// Search Docker Hub, or a registry that can be searched, for images
    Search(search::Search),
}

impl Verb {
    /// `settings` is the file that was named, if one was.
    pub(super) fn run(self, settings: Option<&Path>) -> Result<u8> {
        match self {
            Self::Login(verb) => verb.run(&Settings::read(settings)?),
            Self::Logout(verb) => verb.run(),
            Self::Search(verb) => verb.run(&Settings::read(settings)?),
        }
    }
}

#[derive(Args)]
pub(super) struct Login {
    /// User name
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// Password or personal access token; other users of this machine can read it meanwhile
    #[arg(short, long)]
    password: Option<String>,
    /// Read the password or token from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Host of the registry, with its port [default: Docker Hub]
    server: Option<String>,
}

/// The password is nobody's business.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Login {
    fn run(self, settings: &Settings) -> Result<u8> {
        let registry = server::parse(self.server.as_deref())?;
        let file = config_file()?;
        let password = self.given_password()?;
        // Before anything is asked or sent: a damaged file would lose the answer.
        let helper = file.helper(registry)?;
        // Only the credential that is to be tried may be sent.
        let client = Client::new(settings.registry.clone(), Box::new(Anonymous));
        let try_it = |username: String, password: String| -> Result<Known> {
            let (user, secret) = (username.clone(), password.clone());
            let credential = Credential::Password { username: user, password: secret };
            let token =
                client.registry(registry).login(&credential).map_err(images::Error::from)?;
            Ok(match token {
                Some(identity_token) => Known { username, password: String::new(), identity_token },
                None => Known { username, password, identity_token: String::new() },
            })
        };

        let username = self.username.map(|name| name.trim().to_owned()).unwrap_or_default();
        let mut known = Known::default();
        let mut accepted = None;
        if username.is_empty() && password.is_none() {
            match file.login(registry) {
                Ok(found) => known = found.unwrap_or_default(),
                // A new login puts that right.
                Err(error) => failure::warn(&error),
            }
            if !known.username.is_empty() && !known.password.is_empty() {
                table::print("Authenticating with existing credentials...\n");
                match try_it(known.username.clone(), known.password.clone()) {
                    Ok(login) => accepted = Some(login),
                    Err(error) => {
                        let reason = failure::explain(&error).message;
                        failure::tell(&format!("Login did not succeed, error: {reason}"));
                    }
                }
            }
        }
        let login = match accepted {
            Some(login) => login,
            None => {
                let (username, password) = ask(registry, username, password, &known.username)?;
                try_it(username, password)?
            }
        };
        if helper.is_none() && !login.password.is_empty() {
            failure::tell(&unencrypted(file.path()));
        }
        file.store(registry, &login).context("save the login")?;
        table::print("Login Succeeded\n");
        Ok(0)
    }

    /// The password from the command line or standard input.
    fn given_password(&self) -> Result<Option<String>> {
        if self.password.is_some() {
            failure::tell(
                "WARNING! Using --password via the CLI is insecure. Use --password-stdin.",
            );
        }
        if !self.password_stdin {
            return Ok(self.password.clone().filter(|password| !password.is_empty()));
        }
        if self.password.is_some() {
            return Err(Failure::new("--password and --password-stdin are mutually exclusive")
                .hint("--password-stdin keeps the password out of the list of processes")
                .into());
        }
        if self.username.as_deref().is_none_or(|name| name.trim().is_empty()) {
            return Err(Failure::new("Must provide --username with --password-stdin")
                .hint("mini-docker login --username USER --password-stdin < FILE")
                .into());
        }
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("read the password")?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::new("the password on standard input is not UTF-8"))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(Failure::new("Password Required: standard input is empty").into());
        }
        Ok(Some(text.to_owned()))
    }
}

/// User and password, asking for what was not given.
fn ask(
    registry: &str,
    username: String,
    password: Option<String>,
    usual: &str,
) -> Result<(String, String)> {
    let complete = !username.is_empty() && password.is_some();
    if !complete && !std::io::stdin().is_terminal() {
        return Err(Failure::new("Cannot perform an interactive login from a non TTY device")
            .hint(
                "mini-docker login --username USER --password-stdin reads the password from a pipe",
            )
            .into());
    }
    let username = match username.as_str() {
        "" => {
            if registry == server::HUB {
                failure::tell(
                    "Login with your Docker ID to push and pull images from Docker Hub. If you \
                     don't have a Docker ID, head over to https://hub.docker.com to create one.",
                );
            }
            let question = match usual {
                "" => "Username: ".to_owned(),
                usual => format!("Username ({}): ", usual.escape_debug()),
            };
            let answer = prompt::line(&question)?.trim().to_owned();
            if answer.is_empty() { usual.to_owned() } else { answer }
        }
        _ => username,
    };
    if username.is_empty() {
        return Err(Failure::new("Non-null Username Required").into());
    }
    // HTTP's basic authentication ends the name at the first colon (RFC 7617 section 2).
    if username.contains(':') {
        return Err(Failure::new("a user name has no colon in it").into());
    }
    let password = match password {
        Some(password) => password,
        None => prompt::secret("Password: ")?,
    };
    if password.is_empty() {
        return Err(Failure::new("Password Required").into());
    }
    Ok((username, password))
}

fn unencrypted(file: &Path) -> String {
    format!(
        "WARNING! Your password will be stored unencrypted in {}.\n\
         Configure a credential helper to remove this warning. See\n\
         https://docs.docker.com/engine/reference/commandline/login/#credentials-store\n",
        file.display()
    )
}

fn config_file() -> Result<ConfigFile> {
    ConfigFile::find().ok_or_else(|| {
        Failure::new("you have no home folder for .docker/config.json")
            .hint("set HOME, or DOCKER_CONFIG to a folder of yours")
            .into()
    })
}

#[derive(Debug, Args)]
pub(super) struct Logout {
    /// Host of the registry, with its port [default: Docker Hub]
    server: Option<String>,
}

impl Logout {
    fn run(self) -> Result<u8> {
        let registry = server::parse(self.server.as_deref())?;
        let file = config_file()?;
        table::print(&format!("Removing login credentials for {}\n", server::key(registry)));
        file.erase(registry).context("remove the login")?;
        Ok(0)
    }
}
