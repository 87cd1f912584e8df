//! Images that umoci and skopeo made, and our store as they see it.

use std::io::Read;

use images::{Digest, Reference, Source, Store};
use serde_json::Value;
use testkit::{Outcome, Sandbox};

use crate::make::{needs, run};

/// `L:t`, an image layout that umoci made of busybox, with two layers.
pub(crate) fn umoci(sandbox: &Sandbox) -> Outcome {
    needs("umoci")?;
    needs("skopeo")?;
    let root = sandbox.busybox_rootfs("root")?;
    std::fs::create_dir(sandbox.path("more"))?;
    std::fs::write(sandbox.path("more/file"), "second layer")?;
    run(
        &sandbox.dir,
        "umoci init --layout L; umoci new --image L:t
         umoci insert --image L:t root /; umoci insert --image L:t more /opt
         umoci config --image L:t --config.cmd /bin/sh --config.env A=b",
    )?;
    assert!(root.exists());
    Ok(())
}

fn json(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text)
}

pub(crate) fn skopeo_reads_the_store_in_place(sandbox: &Sandbox) -> Outcome {
    umoci(sandbox)?;
    let dir = &sandbox.dir;
    let store = Store::open(&sandbox.path("store"))?;
    let name = Reference::parse("busybox:1")?;
    let loaded = store.load(Source::Dir(sandbox.path("L")), Some(&name))?;
    let image = store.resolve("busybox:1")?;
    assert_eq!(loaded[0].id, image.id);
    assert_eq!(image.layers.len(), 2);

    // The raw bytes are what umoci wrote, and skopeo computes the same digests from our store.
    let theirs = json(&run(dir, "skopeo inspect oci:L:t")?)?;
    let ours = json(&run(dir, "skopeo inspect oci:store:busybox:1")?)?;
    assert_eq!(theirs, ours);
    assert_eq!(ours["Digest"], image.manifest_digest);
    let raw = run(dir, "skopeo inspect --raw oci:store:busybox:1")?;
    assert_eq!(raw.as_bytes(), store.manifest_json(&image)?);
    let config = run(dir, "skopeo inspect --config --raw oci:store:busybox:1")?;
    assert_eq!(Digest::of(config.as_bytes()).to_string(), image.id);
    assert_eq!(config.as_bytes(), store.config_json(&image)?);

    // Two names of one image, and a copy out of the store and back into another one.
    store.tag(&image, &Reference::parse("ghcr.io/alice/web")?)?;
    run(dir, "skopeo copy oci:store:ghcr.io/alice/web:latest oci-archive:out.tar:x:1")?;
    let other = Store::open(&sandbox.path("other"))?;
    let copied = other.load(Source::open(&sandbox.path("out.tar"))?, None)?;
    assert_eq!(copied[0].reference, Some(Reference::parse("x:1")?));
    assert_eq!(copied[0].id, image.id);

    // What skopeo writes into the store is ours, too.
    run(dir, "skopeo copy oci:L:t oci:store:theirs")?;
    assert_eq!(store.resolve("theirs")?.id, image.id);
    assert_eq!(store.resolve("busybox:1")?.references.len(), 3);
    run(dir, "umoci ls --layout store")?;
    Ok(())
}

pub(crate) fn docker_archives_of_skopeo_load(sandbox: &Sandbox) -> Outcome {
    umoci(sandbox)?;
    run(&sandbox.dir, "skopeo copy oci:L:t docker-archive:plain.tar:alice/box:1")?;
    run(&sandbox.dir, "gzip -k plain.tar; zstd -q plain.tar || cp plain.tar plain.tar.zst")?;
    let store = Store::open(&sandbox.path("store"))?;
    let mut ids = Vec::new();
    for file in ["plain.tar", "plain.tar.gz", "plain.tar.zst"] {
        let loaded = store.load(Source::open(&sandbox.path(file))?, None)?;
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].reference.as_ref().unwrap().familiar(), "alice/box:1");
        ids.push((loaded[0].id.clone(), store.resolve("alice/box:1")?.manifest_digest));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "the manifest that we write is the same each time");
    let image = store.resolve("alice/box:1")?;
    let config = run(&sandbox.dir, "skopeo inspect --config --raw docker-archive:plain.tar")?;
    assert_eq!(Digest::of(config.as_bytes()).to_string(), image.id);
    // Plain layers: each is its own diff ID, and reads to its end.
    for layer in &image.layers {
        assert_eq!(
            (layer.digest.as_str(), layer.media_type.ends_with(".tar")),
            (&*layer.diff_id, true)
        );
        store.open_layer(layer)?.read_to_end(&mut Vec::new())?;
    }
    run(&sandbox.dir, "skopeo copy oci:store:alice/box:1 oci:again:x")?;
    // An unpacked archive is a folder with the same files.
    run(&sandbox.dir, "mkdir unpacked; tar -xf plain.tar -C unpacked")?;
    let loaded = store.load(Source::Dir(sandbox.path("unpacked")), None)?;
    assert_eq!(loaded[0].id, image.id);
    Ok(())
}
