//! Registries as a person uses them: Debian's docker-registry, other tools on the other side, and a network that breaks.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "registry/access.rs"]
mod access;
#[path = "registry/broken.rs"]
mod broken;
#[path = "registry/company.rs"]
mod company;
#[path = "registry/kinds.rs"]
mod kinds;
#[path = "registry/peers.rs"]
mod peers;
#[path = "registry/room.rs"]
mod room;
mod support;

use std::path::Path;
use std::process::Command;

use support::{Docker, Ran, Result};
use testkit::Sandbox;

fn main() {
    let all =
        [access::TESTS, broken::TESTS, company::TESTS, kinds::TESTS, peers::TESTS, room::TESTS];
    testkit::main(&all.concat());
}

/// A mini-docker that knows no login, no proxy and no settings but those of the test.
pub fn command(docker: &Docker, sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = docker.command(args);
    command.env("DOCKER_CONFIG", sandbox.path("docker-config"));
    command.env("MINI_DOCKER_CONFIG_FILE", settings(sandbox));
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    command
}

/// Runs it to its end.
pub fn ran(docker: &Docker, sandbox: &Sandbox, args: &[&str]) -> Result<Ran> {
    support::finish(&mut command(docker, sandbox, args))
}

/// Runs what must succeed; returns its standard output.
pub fn done(docker: &Docker, sandbox: &Sandbox, args: &[&str]) -> Result<String> {
    let ran = ran(docker, sandbox, args)?;
    if ran.code == 0 { Ok(ran.stdout) } else { Err(format!("{args:?}: {ran:?}").into()) }
}

/// The settings file of the test, empty at first.
pub fn settings(sandbox: &Sandbox) -> std::path::PathBuf {
    let file = sandbox.path("daemon.json");
    if !file.exists() {
        std::fs::write(&file, "{}").unwrap();
    }
    file
}

/// Replaces what differs from run to run.
pub fn plain(text: &str, sandbox: &Sandbox) -> String {
    let text = text.replace(&*sandbox.dir.to_string_lossy(), "[SANDBOX]");
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("127.0.0.1:") {
        let (before, after) = rest.split_at(at + "127.0.0.1:".len());
        plain.push_str(before);
        plain.push_str("PORT");
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    plain.push_str(rest);
    plain
}

/// Binds snapshots to texts in which digests and layer ids are replaced.
pub fn snapshots(run: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{64}", "[DIGEST]");
    settings.add_filter(r"\d+ years ago", "2 years ago");
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[ID]");
    settings.bind(run);
}

/// Files of a folder by name, with their number of bytes.
pub fn files(dir: &Path) -> Vec<(String, u64)> {
    let mut files: Vec<(String, u64)> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            let length = entry.metadata().map_or(0, |metadata| metadata.len());
            (entry.file_name().to_string_lossy().into_owned(), length)
        })
        .collect();
    files.sort();
    files
}

/// What a failed or killed pull may leave for the next one, and nothing else may.
pub fn leftovers(docker: &Docker) -> Vec<String> {
    let images = docker.root.join("images");
    let mut left: Vec<String> = Vec::new();
    for (name, folder) in [
        ("blob", images.join("blobs/sha256")),
        ("tmp", images.join("tmp")),
        ("incoming", images.join("incoming")),
        ("layer", docker.root.join("layers")),
        ("layer tmp", docker.root.join("layers/tmp")),
    ] {
        let found = files(&folder).into_iter().filter(|(file, _)| file != "tmp");
        left.extend(found.map(|(file, length)| format!("{name} {file} {length}")));
    }
    left
}
