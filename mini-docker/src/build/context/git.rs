//! A repository as context: `https://example.org/app.git#branch:folder`.
//!
//! The protocol is git's own business: the machine's `git` fetches, without asking questions, and only what is needed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::build::aside::Aside;
use crate::failure::Failure;

/// Where a context or an `ADD` comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::build) struct Repository {
    /// What git fetches from.
    pub(in crate::build) remote: String,
    /// Branch, tag or commit; none is the remote's own choice.
    pub(in crate::build) reference: Option<String>,
    /// A folder in it.
    pub(in crate::build) folder: Option<String>,
}

impl Repository {
    /// Reads `git://…`, `git@host:path`, `ssh://…`, `github.com/…`, and `http(s)://…` or `file://…` whose path ends in
    /// `.git`. None: it is something else.
    pub(in crate::build) fn parse(text: &str) -> Option<Self> {
        let (remote, fragment) = text.split_once('#').unwrap_or((text, ""));
        let scheme = |names: &[&str]| names.iter().any(|name| remote.starts_with(name));
        let is_short = remote.starts_with("github.com/");
        let by_name = scheme(&["http://", "https://", "file://"]) && remote.ends_with(".git");
        if !(scheme(&["git://", "ssh://", "git@"]) || by_name || is_short) {
            return None;
        }
        let (reference, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let remote = if is_short { format!("https://{remote}") } else { remote.to_owned() };
        Some(Self { remote, reference: some(reference), folder: some(folder) })
    }

    /// Fetches it; returns the folder that was asked for.
    ///
    /// # Errors
    /// If there is no git, or it fails.
    pub(in crate::build) fn fetch(&self, aside: &Aside) -> Result<PathBuf> {
        let into = aside.folder("repository")?;
        let reference = self.reference.as_deref().unwrap_or("HEAD");
        for text in [&self.remote, reference] {
            // It would be taken for an option.
            if text.starts_with('-') {
                return Err(Failure::new(format!("not a repository: {text}")).into());
            }
        }
        git(&into, &["init", "--quiet"])?;
        git(&into, &["fetch", "--quiet", "--depth=1", "--", &self.remote, reference])
            // A commit that no name leads to is not given out alone by every server.
            .or_else(|error| match is_commit(reference) {
                true => git(&into, &["fetch", "--quiet", "--", &self.remote]),
                false => Err(error),
            })?;
        let wanted = if is_commit(reference) { reference } else { "FETCH_HEAD" };
        git(&into, &["checkout", "--quiet", "--detach", wanted])?;
        if into.join(".gitmodules").exists() {
            git(&into, &["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"])?;
        }
        let Some(folder) = &self.folder else { return Ok(into) };
        let inside = into.join(folder).canonicalize();
        let whole = into.canonicalize()?;
        match inside {
            Ok(path) if path.starts_with(&whole) && path.is_dir() => Ok(path),
            _ => {
                Err(Failure::new(format!("there is no folder {folder} in {}", self.remote)).into())
            }
        }
    }
}

fn is_commit(reference: &str) -> bool {
    reference.len() == 40 && reference.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn git(folder: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new("git")
        .args(["-c", "advice.detachedHead=false", "-c", "protocol.ext.allow=never"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::new("git is not installed, and fetches repositories")
                .hint("install git, or build from a folder")
        }
        _ => Failure::new(format!("execute git: {error}")),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let last = words.lines().last().unwrap_or_default().trim_start_matches("fatal: ").to_owned();
    Err(Failure::new(format!("git {}: {last}", arguments.first().unwrap_or(&""))).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_repository() {
        let cases = [
            ("https://h/a.git", Some(("https://h/a.git", "", ""))),
            ("https://h/a.git#v1:docker", Some(("https://h/a.git", "v1", "docker"))),
            ("https://h/a.git#:docker", Some(("https://h/a.git", "", "docker"))),
            ("git@h:a/b#main", Some(("git@h:a/b", "main", ""))),
            ("github.com/a/b", Some(("https://github.com/a/b", "", ""))),
            ("ssh://git@h/a", Some(("ssh://git@h/a", "", ""))),
            ("https://h/a.tar.gz", None),
            ("./a.git", None),
            (".", None),
        ];
        for (text, expected) in cases {
            let found = Repository::parse(text);
            let parts = found.as_ref().map(|found| {
                let (reference, folder) = (found.reference.as_deref(), found.folder.as_deref());
                (&*found.remote, reference.unwrap_or_default(), folder.unwrap_or_default())
            });
            assert_eq!(parts, expected, "{text}");
        }
    }
}
