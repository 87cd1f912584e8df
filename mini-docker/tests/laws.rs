//! The laws of the workspace that no compiler keeps.
//!
//! Each law is a function from what is there to what breaks it, and has two tests: nothing here breaks it, and something
//! made up does.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// The one chapter on which others may build, and the one that may call the kernel by itself.
const FOUNDATION: &str = "syscalls";
/// Written in two parts, so that this file keeps the law it is about.
const UNSAFE: &str = concat!("un", "safe");

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().unwrap().iter()
}

fn text<'value>(value: &'value Value, key: &str) -> &'value str {
    value[key].as_str().unwrap()
}

fn is_chapter(package: &Value) -> bool {
    Path::new(text(package, "manifest_path"))
        .ancestors()
        .any(|dir| dir.file_name() == Some(OsStr::new("chapters")))
}

/// Dependencies of the product: normal ones and those of a build script, by the name of their package.
fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    let all = package["dependencies"].as_array().unwrap();
    all.iter().filter(|one| one["kind"] != "dev").map(|one| text(one, "name"))
}

/// A chapter depends on no other chapter but the foundation: each can be read, and thrown away, alone.
fn chapters_that_lean_on_chapters(metadata: &Value) -> Vec<String> {
    let chapters: BTreeSet<&str> =
        packages(metadata).filter(|one| is_chapter(one)).map(|one| text(one, "name")).collect();
    let mut broken = Vec::new();
    for package in packages(metadata).filter(|one| is_chapter(one)) {
        let others = dependencies(package).filter(|name| *name != FOUNDATION);
        for other in others.filter(|name| chapters.contains(name) || *name == "mini-docker") {
            broken.push(format!("chapter {} depends on {other}", text(package, "name")));
        }
    }
    broken
}

/// What serves the tests is not in the product.
fn products_with_testkit(metadata: &Value) -> Vec<String> {
    packages(metadata)
        .filter(|package| dependencies(package).any(|name| name == "testkit"))
        .map(|package| format!("{} depends on testkit outside of its tests", text(package, "name")))
        .collect()
}

/// Lines of Rust with the word that only the foundation may use; comments do not count.
fn lines_with_unsafe(source: &str) -> Vec<usize> {
    let identifier = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let has_word = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        code.match_indices(UNSAFE).any(|(at, word)| {
            let bytes = code.as_bytes();
            let before = at.checked_sub(1).is_some_and(|index| identifier(bytes[index]));
            let after = bytes.get(at + word.len()).is_some_and(|byte| identifier(*byte));
            !before && !after
        })
    };
    let numbered = source.lines().enumerate();
    numbered.filter(|(_, line)| has_word(line)).map(|(index, _)| index + 1).collect()
}

/// All Rust files below a folder, without what cargo and git keep there.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if entry.file_type().unwrap().is_dir() && !hidden && name != "target" {
            sources(&path, found);
        } else if path.extension() == Some(OsStr::new("rs")) {
            found.push(path);
        }
    }
}

/// Whether a crate takes the lints of the workspace, which forbid that word.
fn takes_workspace_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true")
}

/// Dependencies in the workspace's manifest without a reason: no comment stands above them in their paragraph.
fn dependencies_without_reason(manifest: &str) -> Vec<String> {
    let (mut inside, mut reason) = (false, false);
    let mut broken = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
        } else if line.is_empty() {
            reason = false;
        } else if line.starts_with('#') {
            reason = true;
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside && !reason) {
            broken.push(format!("{} has no reason", name.trim()));
        }
    }
    broken
}

#[test]
fn a_chapter_depends_on_no_other() {
    let metadata = metadata();
    assert_eq!(chapters_that_lean_on_chapters(&metadata), [""; 0]);
    let chapters = packages(&metadata).filter(|one| is_chapter(one)).count();
    assert!(chapters >= 9, "only {chapters} chapters were looked at");
}

#[test]
fn a_chapter_that_depends_on_another_is_found() {
    let made_up = json!({"packages": [
        {"name": FOUNDATION, "manifest_path": "/w/chapters/00-syscalls/Cargo.toml",
         "dependencies": [{"name": "nix", "kind": null}]},
        {"name": "layers", "manifest_path": "/w/chapters/04-layers/Cargo.toml",
         "dependencies": [{"name": FOUNDATION, "kind": null}, {"name": "rootfs", "kind": "dev"}]},
        {"name": "rootfs", "manifest_path": "/w/chapters/03-rootfs/Cargo.toml",
         "dependencies": [{"name": "layers", "kind": null}]},
        {"name": "volumes", "manifest_path": "/w/chapters/06-volumes/Cargo.toml",
         "dependencies": [{"name": "mini-docker", "kind": "build"}]},
        {"name": "mini-docker", "manifest_path": "/w/mini-docker/Cargo.toml",
         "dependencies": [{"name": "layers", "kind": null}, {"name": "rootfs", "kind": null}]},
    ]});
    let expected = ["chapter rootfs depends on layers", "chapter volumes depends on mini-docker"];
    assert_eq!(chapters_that_lean_on_chapters(&made_up), expected);
}

#[test]
fn testkit_serves_tests_only() {
    assert_eq!(products_with_testkit(&metadata()), [""; 0]);
}

#[test]
fn a_product_with_testkit_is_found() {
    let with = |kind: Value| {
        json!({"packages": [{"name": "layers", "manifest_path": "/w/chapters/04-layers/Cargo.toml",
            "dependencies": [{"name": "testkit", "kind": kind}]}]})
    };
    assert_eq!(products_with_testkit(&with(json!("dev"))), [""; 0]);
    let expected = ["layers depends on testkit outside of its tests"];
    assert_eq!(products_with_testkit(&with(Value::Null)), expected);
}

#[test]
fn one_crate_alone_says_the_word() {
    let root = workspace();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let foundation = root.join("chapters/00-syscalls");
    let (own, others): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|path| path.starts_with(&foundation));
    let found = |files: &[PathBuf]| -> Vec<String> {
        let lines = files.iter().flat_map(|path| {
            let source = std::fs::read_to_string(path).unwrap();
            let shown = path.strip_prefix(&root).unwrap().display().to_string();
            lines_with_unsafe(&source).into_iter().map(move |line| format!("{shown}:{line}"))
        });
        lines.collect()
    };
    assert_eq!(found(&others), [""; 0]);
    assert!(others.len() > 100, "only {} files were looked at", others.len());
    // The search finds what is there.
    assert!(found(&own).len() > 20);
}

#[test]
fn the_word_is_found_where_it_is_code() {
    let source = "fn a() {}
        // UNSAFE {} in a comment
        let x = UNSAFE { call() };
        let UNSAFE_entry = notUNSAFE;
        pub UNSAFE fn b() {} // twice: UNSAFE
        let d = call(UNSAFE{c});
        UNSAFE";
    assert_eq!(lines_with_unsafe(&source.replace("UNSAFE", UNSAFE)), [3, 5, 6, 7]);
}

#[test]
fn every_other_crate_takes_the_workspace_lints() {
    let metadata = metadata();
    for package in packages(&metadata) {
        let manifest = std::fs::read_to_string(text(package, "manifest_path")).unwrap();
        let name = text(package, "name");
        assert_eq!(takes_workspace_lints(&manifest), name != FOUNDATION, "{name}");
    }
    let forbidden = format!("{UNSAFE}_code = \"forbid\"");
    let manifest = std::fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    assert!(manifest.contains(&forbidden), "the workspace's lints lack {forbidden}");
}

#[test]
fn a_crate_without_the_workspace_lints_is_found() {
    assert!(takes_workspace_lints("[package]\n[lints]\nworkspace = true\n\n[dependencies]\n"));
    assert!(!takes_workspace_lints("[package]\nedition.workspace = true\n[dependencies]\n"));
    assert!(!takes_workspace_lints("[lints]\n# workspace = true\n[dependencies]\n"));
    assert!(!takes_workspace_lints("[lints.rust]\nworkspace = true\n"));
}

#[test]
fn every_dependency_has_a_reason() {
    let manifest = std::fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    assert_eq!(dependencies_without_reason(&manifest), [""; 0]);
}

#[test]
fn a_dependency_without_reason_is_found() {
    let manifest = "[workspace]\nresolver = \"3\"\n\n[workspace.dependencies]\nno = \"1\"\n\
        # A reason for both.\none = \"1\"\ntwo = { version = \"2\" }\n\nthree = \"3\"\n\n[profile.dev]\nopt-level = 3\n";
    assert_eq!(dependencies_without_reason(manifest), ["no has no reason", "three has no reason"]);
    assert_eq!(
        dependencies_without_reason("[workspace.dependencies]\n# All.\na = \"1\"\n"),
        [""; 0]
    );
}
