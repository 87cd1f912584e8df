//! Finding, naming, removing, importing.

use std::io::{Read, Write};
use std::path::Path;

use images::{Digest, Error, Reference, Source, Store, Swept};
use serde_json::Value;
use testkit::{Outcome, Sandbox};

use crate::archives::from;
use crate::make::*;

fn nobody(_: &str) -> Vec<String> {
    Vec::new()
}

fn blobs(root: &Path) -> usize {
    std::fs::read_dir(root.join("blobs/sha256")).unwrap().count()
}

pub(crate) fn names_and_ids_are_resolved(sandbox: &Sandbox) -> Outcome {
    let store = Store::open(&sandbox.path("store"))?;
    assert!(matches!(store.resolve("none"), Err(Error::NotFound(_))));
    // Twenty images: by pigeonhole two IDs begin with the same digit.
    for at in 0..20 {
        store.load(
            from(Layout::simple(&format!("docker.io/library/img{at}:1"), &at.to_string()).tar()),
            None,
        )?;
    }
    let images = store.list()?;
    assert_eq!(images.len(), 20);
    let image = store.resolve("img7:1")?;
    assert_eq!(image.created, "2020-01-02T03:04:05Z".parse().ok());
    let manifest = &image.manifest_digest;
    for name in [
        "docker.io/library/img7:1",
        &image.id,
        &image.id["sha256:".len()..],
        &image.id[..20],
        manifest,
        &format!("img7@{manifest}"),
        &format!("img7:whatever@{manifest}"),
    ] {
        assert_eq!(store.resolve(name)?.id, image.id, "{name}");
    }
    for name in
        ["img7", "img7:2", "sha256:", "abcdefg", &format!("img8@{manifest}"), &"0".repeat(64)]
    {
        assert!(store.resolve(name).is_err(), "{name}");
    }
    assert!(matches!(store.resolve("Img7"), Err(Error::Reference(_))));
    let common = images.iter().find_map(|one| {
        let prefix = &one.id["sha256:".len()..][..1];
        let same = images.iter().filter(|two| two.id[7..].starts_with(prefix)).count();
        (same > 1).then(|| (prefix.to_owned(), same))
    });
    let (prefix, same) = common.unwrap();
    match store.resolve(&prefix) {
        Err(Error::Ambiguous { candidates, .. }) => assert_eq!(candidates.len(), same),
        other => panic!("{other:?}"),
    }
    // A name that looks like an ID is a name first.
    let digit = image.id[7..8].to_owned();
    let other = store.resolve("img8:1")?;
    store.tag(&other, &Reference::parse(&digit)?)?;
    assert_eq!(store.resolve(&digit)?.id, other.id);
    assert_eq!(store.resolve("img8:1")?.references.len(), 2);
    // A name that moves: the answer is the image that lost it, if that was its last.
    let lost = store.tag(&store.resolve("img9:1")?, &Reference::parse("img7:1")?)?;
    assert_eq!(lost, Some(image.id.clone()));
    assert!(store.resolve(&image.id)?.references.is_empty());
    assert!(store.tag(&other, &Reference::parse(&format!("a@{manifest}"))?).is_err());
    Ok(())
}

pub(crate) fn removing_follows_docker(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("store");
    let store = Store::open(&root)?;
    let (shared, own) = (layer("base", "1"), layer("own", "2"));
    let mut layout = Layout::default();
    for layers in [&[shared.clone()][..], &[shared.clone(), own.clone()]] {
        let plain: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        let mut manifest = layout.image(&config(&plain), layers);
        let name = format!("docker.io/library/app:{}", layers.len());
        manifest["annotations"] = serde_json::json!({"io.containerd.image.name": name});
        layout.index.push(manifest);
    }
    store.load(from(layout.tar()), None)?;
    assert_eq!(blobs(&root), 6);
    let image = store.resolve("app:2")?;
    store.tag(&image, &Reference::parse("again")?)?;

    let error = store.remove(&image.id, false, &nobody).unwrap_err();
    assert!(
        matches!(&error, Error::SeveralNames { names, .. } if names == &["app:2", "again:latest"])
    );
    let used = |id: &str| vec![format!("user-of-{}", &id[7..9])];
    let removed = store.remove("again", false, &used)?;
    assert_eq!(
        (removed.untagged.as_slice(), removed.deleted.len()),
        (&["again:latest".to_owned()][..], 0)
    );
    let error = store.remove("app:2", false, &used).unwrap_err();
    assert!(error.to_string().contains("is used by container: user-of-"), "{error}");
    assert_eq!(blobs(&root), 6);

    let removed = store.remove("app:2", false, &nobody)?;
    assert_eq!(removed.untagged, ["app:2"]);
    assert_eq!(removed.deleted, [image.id.clone(), Digest::of(&own).to_string()]);
    assert_eq!(removed.layers(), [Digest::of(&own).to_string()]);
    assert!(matches!(store.resolve("app:2"), Err(Error::NotFound(_))));
    assert_eq!(blobs(&root), 3, "the shared layer stays");
    assert_eq!(
        store.diff_ids()?.into_iter().collect::<Vec<_>>(),
        [Digest::of(&shared).to_string()]
    );
    store.open_layer(&store.resolve("app:1")?.layers[0])?.read_to_end(&mut Vec::new())?;

    store.tag(&store.resolve("app:1")?, &Reference::parse("b")?)?;
    let id = store.resolve("b")?.id;
    let removed = store.remove(&id[7..19], true, &used)?;
    assert_eq!((removed.untagged.len(), removed.deleted.len()), (2, 2));
    assert_eq!((blobs(&root), store.list()?.len()), (0, 0));

    // What nothing points to is swept; what another tool wrote into the index stays, with its blobs.
    let foreign = b"{\"artifact\": true}";
    let stray = Digest::of(b"stray");
    std::fs::write(root.join("blobs/sha256").join(stray.hex()), "stray")?;
    std::fs::write(root.join("blobs/sha256").join(Digest::of(foreign).hex()), foreign)?;
    let mut index: Value = serde_json::from_slice(&std::fs::read(root.join("index.json"))?)?;
    index["manifests"] = serde_json::json!([descriptor("application/vnd.example", foreign)]);
    index["x"] = "y".into();
    std::fs::write(root.join("index.json"), index.to_string())?;
    assert_eq!(store.gc()?, Swept { blobs: 1, bytes: 5 });
    store.load(from(Layout::simple("z", "z").tar()), None)?;
    store.remove("z", false, &nobody)?;
    assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(root.join("index.json"))?)?, index);
    assert_eq!((blobs(&root), store.damaged()?.len()), (1, 1));
    Ok(())
}

pub(crate) fn a_root_file_system_is_imported(sandbox: &Sandbox) -> Outcome {
    let store = Store::open(&sandbox.path("store"))?;
    let root = layer("bin/sh", "not really");
    let name = Reference::parse("box")?;
    let changes = ["CMD [\"sh\"]", "ENV A=b", "LABEL z=1 a=2"].map(str::to_owned);
    let mut layers = Vec::new();
    for bytes in [root.clone(), gzip(&root), zstd(&root)] {
        let loaded = store.import(bytes.as_slice(), Some(&name), &changes, "by hand")?;
        let image = store.resolve("box")?;
        assert_eq!(loaded.id, image.id);
        layers.push(image.layers[0].clone());
    }
    layers.dedup();
    assert_eq!(layers.len(), 1, "the layer is the uncompressed tar, however it came");
    assert_eq!(layers[0].diff_id, Digest::of(&root).to_string());
    let image = store.resolve("box")?;
    let mut bytes = Vec::new();
    store.open_layer(&image.layers[0])?.read_to_end(&mut bytes)?;
    assert_eq!(bytes, root);
    assert_eq!(image.config.history().as_ref().unwrap()[0].comment().as_deref(), Some("by hand"));
    let config = String::from_utf8(store.config_json(&image)?)?;
    assert!(
        config.contains(r#""config":{"Cmd":["sh"],"Env":["A=b"],"Labels":{"z":"1","a":"2"}}"#),
        "{config}"
    );

    // Packed as people pack them, it is the same image.
    let mut packer = liblzma::write::XzEncoder::new(Vec::new(), 1);
    packer.write_all(&root[..])?;
    let plain = store.import(&root[..], None, &[], "")?;
    let packed = store.import(&packer.finish()?[..], None, &[], "")?;
    let layers = |id: &str| store.resolve(id).map(|image| image.layers);
    assert_eq!(layers(&packed.id)?, layers(&plain.id)?);

    // Zeros at the end that a writer forgot are no damage; a cut in a file or a header is.
    let before = store.gc().map(|_| blobs(&sandbox.path("store")))?;
    store.import(&root[..512 + 10], None, &[], "")?;
    let mut lines = String::new();
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("only zeros", vec![0; 1024]),
        ("text", b"no tar at all, but long enough to be taken for one. ".repeat(20)),
        ("cut in a file", root[..512 + 9].to_vec()),
        ("cut in a header", root[..300].to_vec()),
        ("xz", b"\xfd7zXZ\0\0\0".to_vec()),
        ("gzip, cut", gzip(&root)[..40].to_vec()),
    ] {
        let error = store.import(bytes.as_slice(), None, &[], "").unwrap_err();
        lines += &format!("{what}: {error}\n");
    }
    let bad = ["RUN x".to_owned()];
    lines += &format!("bad change: {}\n", store.import(&root[..], None, &bad, "").unwrap_err());
    insta::assert_snapshot!(lines);
    // The one that was imported has a layer of its own, a config and a manifest.
    assert_eq!(blobs(&sandbox.path("store")), before + 3);
    Ok(())
}

pub(crate) fn damage_is_named_and_can_be_removed(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("store");
    let store = Store::open(&root)?;
    let archive = Layout::simple("docker.io/library/a:1", "1").tar();
    store.load(from(archive.clone()), None)?;
    store.load(from(Layout::simple("docker.io/library/b:1", "2").tar()), None)?;
    let image = store.resolve("a:1")?;
    let path = |digest: &str| root.join("blobs/sha256").join(&digest[7..]);

    // One flipped bit in a layer shows at the end of its stream; loading again repairs it.
    let layer = &image.layers[0];
    let mut bytes = std::fs::read(path(&layer.digest))?;
    bytes[100] ^= 1;
    std::fs::write(path(&layer.digest), &bytes)?;
    let error = store.open_layer(layer)?.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("expected sha256:"), "{error}");
    store.load(from(archive), None)?;
    store.open_layer(layer)?.read_to_end(&mut Vec::new())?;

    std::fs::write(path(&image.id), "{}")?;
    assert!(matches!(store.resolve("a:1"), Err(Error::WrongDigest { .. })));
    std::fs::remove_file(path(&image.id))?;
    assert!(matches!(store.resolve("a:1"), Err(Error::Missing { .. })));
    std::fs::remove_file(path(&image.manifest_digest))?;
    assert!(matches!(store.resolve("a:1"), Err(Error::Missing { .. })));
    assert_eq!((store.list()?.len(), store.damaged()?[0].0.as_str()), (1, "a:1"));
    store.remove("a:1", false, &nobody)?;
    assert_eq!((store.damaged()?.len(), blobs(&root)), (0, 3));

    std::fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"9"}"#)?;
    assert!(Store::open(&root).unwrap_err().to_string().contains("version 9"));
    assert!(Source::open(&sandbox.path("missing")).is_err());
    Ok(())
}
