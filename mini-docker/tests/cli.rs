//! The command line itself: what needs neither root nor an image.

#![allow(clippy::unwrap_used)]

use assert_cmd::Command;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, is_empty, starts_with};

fn mini_docker() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mini-docker"))
}

#[test]
fn version_and_help_need_nothing() {
    mini_docker().arg("version").assert().success().stdout(starts_with("mini-docker 0."));
    mini_docker().arg("--version").assert().success().stdout(starts_with("mini-docker 0."));
    let verbs = contains("run").and(contains("load")).and(contains("volume"));
    mini_docker().assert().success().stdout(verbs).stderr(is_empty());
}

#[test]
fn a_wrong_flag_is_one_line_a_hint_and_125() {
    let line = starts_with("mini-docker: unexpected argument '--frobnicate' found\nhint: ");
    mini_docker()
        .args(["run", "--frobnicate", "image"])
        .assert()
        .code(125)
        .stdout(is_empty())
        .stderr(line);
}

#[test]
fn help_survives_a_reader_that_goes_away() {
    let shell = format!("{} run --help | head -n 1", env!("CARGO_BIN_EXE_mini-docker"));
    let assert = Command::new("bash").args(["-o", "pipefail", "-c", &shell]).assert();
    assert.stdout(starts_with("Create a container")).stderr(is_empty());
}
