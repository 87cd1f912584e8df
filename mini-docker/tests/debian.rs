//! A real distribution, in an image of four layers that another tool has made: it runs, and it is file by file what that
//! tool makes of it.
//!
//! The root file system comes from `tests/data/debian`; umoci packs it, changes it and packs the changes.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "debian/image.rs"]
mod image;
mod support;
#[path = "debian/tree.rs"]
mod tree;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use images::Image;
use layers::DiffId;
use support::{Docker, Ran};
use testkit::{Outcome, Sandbox};
use tree::{Tree, listing};

fn main() {
    testkit::main(&[("a_debian_of_four_layers_runs_and_is_whole", runs_and_is_whole)]);
}

fn runs_and_is_whole(sandbox: &Sandbox) -> Outcome {
    let umoci = image::Umoci::with_debian(sandbox)?;
    let docker = Docker::new(sandbox);
    let loaded = docker.ran(["load", "-q", "-i", &umoci.layout, "--name", "debian"])?;
    assert_eq!((loaded.code, loaded.stderr.as_str()), (0, ""), "{loaded:?}");
    programs_work(&docker)?;

    let images = images::Store::open(&docker.root.join("images"))?;
    let image = images.resolve("debian")?;
    let lowers = unpacked(&docker, &image)?;
    assert_eq!(lowers.len(), 4);
    layers_say_what_is_gone(&lowers);
    let ours = listing(&merged(sandbox, &lowers)?);
    let theirs = listing(&umoci.unpack()?);
    assert!(theirs.len() > 5_000, "only {} files", theirs.len());
    same(&ours, &theirs, &unnamed_parents(&images, &image)?);
    Ok(())
}

fn programs_work(docker: &Docker) -> support::Result<()> {
    let run = |command: &[&str]| -> support::Result<String> {
        let fixed = ["run", "--rm", "--network", "none", "debian"];
        let Ran { code, stdout, stderr } = docker.ran(fixed.iter().chain(command))?;
        assert_eq!((code, stderr.as_str()), (0, ""), "{command:?} printed {stdout}");
        Ok(stdout)
    };
    let apt = run(&["apt-get", "--version"])?;
    assert!(apt.starts_with("apt 2.") && apt.contains("Supported modules:"), "{apt}");
    assert_eq!(run(&["perl", "-e", "print 6*7"])?, "42");
    // From root to somebody else needs no set-user-id bit, so no-new-privileges is no hindrance.
    let id = run(&["su", "-c", "id", "nobody", "-s", "/bin/sh"])?;
    assert_eq!(id, "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)\n");
    let last = run(&["sh", "-c", "dpkg -l | tail -1"])?;
    assert!(last.starts_with("ii  zlib1g:"), "{last}");
    // What the upper layers say, as a program sees it.
    let seen = run(&[
        "sh",
        "-c",
        "cat /etc/greeting; ls /usr/share/doc; test -e /usr/share/locale; echo $?",
    ])?;
    assert_eq!(seen, "changed\nonly-this\n1\n");
    Ok(())
}

/// Folders of an image's layers in the store, topmost first.
fn unpacked(docker: &Docker, image: &Image) -> support::Result<Vec<PathBuf>> {
    let store = layers::Store::open(&docker.root.join("layers"))?;
    let ids: Vec<DiffId> =
        image.layers.iter().rev().map(|layer| layer.diff_id.parse()).collect::<Result<_, _>>()?;
    Ok(ids.iter().map(|id| store.path(id)).collect())
}

/// The layers as one tree, as a container sees it before it has written anything.
fn merged(sandbox: &Sandbox, lowers: &[PathBuf]) -> support::Result<PathBuf> {
    let place = sandbox.path("merged");
    std::fs::create_dir(&place)?;
    let mount = layers::overlay(lowers, None, None)?;
    syscalls::mount::attach(mount.as_fd(), File::open(&place)?.as_fd())?;
    Ok(place)
}

/// The upper layers are no plain trees: deleted names are there as whiteouts, a replaced folder as an opaque one.
/// Otherwise the comparison would prove little.
fn layers_say_what_is_gone(lowers: &[PathBuf]) {
    let whiteout = std::fs::symlink_metadata(lowers[1].join("usr/share/locale")).unwrap();
    assert!(whiteout.file_type().is_char_device(), "{whiteout:?}");
    let opaque = xattr::get(lowers[0].join("usr/share/doc"), "trusted.overlay.opaque").unwrap();
    assert_eq!(opaque.as_deref(), Some(&b"y"[..]));
}

/// Folders that a layer walks through without an entry for them: `usr/` and `usr/bin/` of a layer that holds
/// `usr/bin/perl` alone. A layer from `docker build` has none of these, umoci's have.
fn unnamed_parents(images: &images::Store, image: &Image) -> support::Result<BTreeSet<PathBuf>> {
    let mut unnamed = BTreeSet::new();
    for layer in &image.layers {
        let mut reader = layers::archive::Reader::new(images.open_layer(layer)?);
        let (mut named, mut walked) = (BTreeSet::new(), BTreeSet::new());
        while let Some(entry) = reader.next_entry()? {
            let path = Path::new("/").join(Path::new(&entry.shown()));
            walked.extend(path.ancestors().skip(1).map(Path::to_owned));
            named.insert(path);
        }
        // A later layer that names the folder says again what it is.
        unnamed.retain(|path| !named.contains(path));
        unnamed.extend(walked.difference(&named).cloned());
    }
    Ok(unnamed)
}

/// Compares. What a layer does not say about a folder, two programs may answer in two ways: umoci unpacks on top of the
/// layers below and leaves the folder as it was there; a store that keeps each layer alone, as this one and Docker's,
/// has to make it, and the overlay shows the topmost one. So of those folders only the existence is compared.
fn same(ours: &Tree, theirs: &Tree, unnamed: &BTreeSet<PathBuf>) {
    let mut differences = Vec::new();
    let paths: BTreeSet<&PathBuf> = ours.keys().chain(theirs.keys()).collect();
    for path in paths {
        let (one, other) = (ours.get(path), theirs.get(path));
        let folders = one.is_some_and(tree::Node::is_dir) && other.is_some_and(tree::Node::is_dir);
        if one != other && !(folders && unnamed.contains(path)) {
            let show = |node: Option<&tree::Node>| {
                node.map_or_else(|| "nothing".to_owned(), ToString::to_string)
            };
            differences.push(format!("{path:?}\n  here:  {}\n  umoci: {}", show(one), show(other)));
        }
    }
    let few = differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} differences:\n{few}", differences.len());
}
