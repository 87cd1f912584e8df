//! Every form in which images travel, and every way in which an archive can be wrong.

use std::fmt::Write as _;
use std::path::Path;

use images::{Digest, Error, Platform, Reference, Source, Store};
use serde_json::{Value, json};
use testkit::{Outcome, Sandbox};

use crate::broken::Files;
use crate::make::*;

pub(crate) fn from(bytes: Vec<u8>) -> Source {
    Source::Tar(Box::new(std::io::Cursor::new(bytes)))
}

/// Files of a store below `blobs` and `tmp`.
fn blobs_and_leftovers(root: &Path) -> usize {
    let count = |dir: &str| std::fs::read_dir(root.join(dir)).unwrap().count();
    count("blobs/sha256") + count("tmp")
}

fn docker_archive(layers: &[Vec<u8>], tags: &[&str]) -> Files {
    let plain: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let config = config(&plain).to_string();
    let config_name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let mut files: Files = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        files.push((format!("{at}/layer.tar"), Is::File(layer.clone())));
    }
    let layers: Vec<_> = (0..layers.len()).map(|at| format!("{at}/layer.tar")).collect();
    let manifest = json!([{"Config": config_name, "RepoTags": tags, "Layers": layers}]);
    files.push((config_name, Is::File(config.into())));
    files.push(("manifest.json".into(), Is::File(manifest.to_string().into())));
    files
}

fn tar_of(files: &Files) -> Vec<u8> {
    let files: Vec<_> = files.iter().map(|(name, is)| (name.as_str(), is.clone())).collect();
    tar(&files)
}

pub(crate) fn every_form_of_archive_loads(sandbox: &Sandbox) -> Outcome {
    let store = Store::open(&sandbox.path("store"))?;
    let layout = Layout::simple("docker.io/library/box:1", "x");
    layout.write(&sandbox.path("folder"))?;
    let plain = layout.tar();
    // The other order: what describes comes before what is described.
    let mut reversed = tar::Archive::new(plain.as_slice());
    let mut entries: Files = Vec::new();
    for entry in reversed.entries()? {
        let mut entry = entry?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes)?;
        entries.insert(0, (format!("./{}", entry.path()?.display()), Is::File(bytes)));
    }
    let mut ids = Vec::new();
    for source in [
        Source::Dir(sandbox.path("folder")),
        from(gzip(&plain)),
        from(zstd(&plain)),
        from(plain),
        from(tar_of(&entries)),
    ] {
        let loaded = store.load(source, None)?;
        assert_eq!(loaded[0].reference.as_ref().unwrap().familiar(), "box:1");
        ids.push(loaded[0].id.clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(store.list()?.len(), 1);

    // docker-archive: layers compressed or not, links between layers, several names, several images.
    let (one, two) = (layer("a", "1"), layer("b", "2"));
    let mut files = docker_archive(&[one.clone(), two.clone(), one.clone()], &["d:1", "d:2"]);
    files[2].1 = Is::Link("../0/layer.tar");
    let loaded = store.load(from(tar_of(&files)), None)?;
    assert_eq!(loaded.len(), 2);
    assert_eq!(loaded[0].id, loaded[1].id);
    let linked = store.resolve("d:2")?;
    assert_eq!(linked.layers[0], linked.layers[2]);
    files[2].1 = Is::Hard("0/layer.tar");
    files[1].1 = Is::File(gzip(&two));
    files[0].1 = Is::File(zstd(&one));
    store.load(from(tar_of(&files)), Some(&Reference::parse("other")?))?;
    let packed = store.resolve("other")?;
    assert_eq!(packed.id, linked.id, "the config is the same");
    assert_ne!(packed.manifest_digest, linked.manifest_digest);
    let types: Vec<_> = packed.layers.iter().map(|layer| layer.media_type.as_str()).collect();
    assert_eq!(
        types,
        [&*format!("{LAYER}+zstd"), &*format!("{LAYER}+gzip"), &*format!("{LAYER}+zstd")]
    );
    assert_eq!(store.list()?.len(), 2, "one image for people, however it is packed");

    // Both forms in one archive, names only in Docker's own (docker save 25).
    let mut both = Layout::simple("x", "both");
    both.index[0]["annotations"] = json!({});
    let config =
        both.files.iter().find(|(_, bytes)| bytes.starts_with(b"{\"arch")).unwrap().0.clone();
    let manifest = json!([{"Config": config, "RepoTags": ["both:7"], "Layers": []}]);
    both.files.push(("manifest.json".into(), manifest.to_string().into()));
    let loaded = store.load(from(both.tar()), None)?;
    assert_eq!(loaded[0].reference.as_ref().unwrap().familiar(), "both:7");

    // A new image under an old name: the old one is there without a name, and it is told.
    let replaced = store.load(from(Layout::simple("both:7", "newer").tar()), None)?;
    assert_eq!(replaced[0].replaced.as_ref(), Some(&loaded[0].id));
    assert!(store.resolve(&loaded[0].id)?.references.is_empty());
    Ok(())
}

fn for_platform(layout: &mut Layout, architecture: &str, os: &str) -> Value {
    let layer = layer("arch", architecture);
    let mut config = config(&[&layer]);
    config["architecture"] = architecture.into();
    let mut manifest = layout.image(&config, &[layer]);
    manifest["platform"] = json!({"architecture": architecture, "os": os});
    manifest
}

pub(crate) fn an_index_is_chosen_by_platform(sandbox: &Sandbox) -> Outcome {
    let store = Store::open(&sandbox.path("store"))?;
    let host = Platform::host().architecture;
    let mut layout = Layout::default();
    let others = ["s390x", "riscv64"].map(|other| for_platform(&mut layout, other, "linux"));
    let own = for_platform(&mut layout, &host, "linux");
    let attestation = for_platform(&mut layout, "unknown", "unknown");
    let manifests = json!([attestation, others[0], own, others[1]]);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string();
    let mut descriptor = layout.blob(INDEX, index.as_bytes());
    descriptor["annotations"] = json!({"io.containerd.image.name": "docker.io/library/multi:1"});
    // Within an image layout the platforms may also stand side by side.
    let flat = Layout { index: manifests.as_array().unwrap().clone(), ..layout.clone() };
    layout.index.push(descriptor);
    let id = store.load(from(layout.tar()), None)?[0].id.clone();
    let image = store.resolve("multi:1")?;
    assert_eq!(
        (image.config.architecture().to_string(), image.manifest_digest.as_str()),
        (host, own["digest"].as_str().unwrap())
    );
    assert_eq!(store.load(from(flat.tar()), None)?[0].id, id);

    let mut foreign = Layout::default();
    let manifests = json!([for_platform(&mut foreign, "s390x", "linux")]);
    let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
    let descriptor = foreign.blob(INDEX, index.as_bytes());
    foreign.index.push(descriptor);
    let error = store.load(from(foreign.tar()), None).unwrap_err();
    assert!(matches!(&error, Error::NoPlatform { offered, .. } if offered.len() == 1), "{error}");
    // Without an index nothing was chosen: it loads, with a warning.
    let mut single = Layout::default();
    let mut manifest = for_platform(&mut single, "s390x", "linux");
    manifest.as_object_mut().unwrap().remove("platform");
    single.index.push(manifest);
    let loaded = store.load(from(single.tar()), None)?;
    assert!(loaded[0].warning.as_ref().unwrap().contains("linux/s390x"), "{loaded:?}");
    Ok(())
}

pub(crate) fn archives_of_old_docker_load(sandbox: &Sandbox) -> Outcome {
    let store = Store::open(&sandbox.path("store"))?;
    let (base, top) = (layer("a", "1"), layer("b", "2"));
    let base_json = json!({"id": "b0", "created": "2014-01-01T00:00:00Z",
        "container_config": {"Cmd": ["/bin/sh", "-c", "#(nop) ADD file"]}});
    let top_json = json!({"id": "b1", "parent": "b0", "created": "2014-01-02T00:00:00Z",
        "architecture": Platform::host().architecture, "os": "linux", "author": "somebody",
        "config": {"Cmd": ["/bin/sh"], "Env": null, "Labels": null}});
    let file = |text: String| Is::File(text.into());
    let entries = [
        ("b1/json", file(top_json.to_string())),
        ("b1/layer.tar", Is::File(gzip(&top))),
        ("b0/json", file(base_json.to_string())),
        ("b0/layer.tar", Is::File(base.clone())),
        ("repositories", file(json!({"old": {"1": "b1", "2": "b1"}}).to_string())),
    ];
    let loaded = store.load(from(tar(&entries)), None)?;
    assert_eq!(loaded.len(), 2);
    let image = store.resolve("old:2")?;
    let ids: Vec<_> = image.layers.iter().map(|layer| layer.diff_id.clone()).collect();
    assert_eq!(ids, [Digest::of(&base).to_string(), Digest::of(&top).to_string()]);
    assert_eq!(image.config.config().as_ref().unwrap().cmd().as_ref().unwrap(), &["/bin/sh"]);
    let history = image.config.history().clone().unwrap();
    assert_eq!(history[0].created_by().as_deref(), Some("/bin/sh -c #(nop) ADD file"));
    assert_eq!(image.created, "2014-01-02T00:00:00Z".parse().ok());
    Ok(())
}

/// One line per mistake; after each, the store holds nothing.
pub(crate) fn broken_archives(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("store");
    let store = Store::open(&root)?;
    let mut lines = String::new();
    let mut case = |what: &str, bytes: Vec<u8>| {
        let error = store.load(from(bytes), None).err().map(|error| error.to_string());
        writeln!(lines, "{what}:\n  {}", error.as_deref().unwrap_or("LOADED")).unwrap();
        assert_eq!(blobs_and_leftovers(&root), 0, "{what}: something was left behind");
        assert!(error.is_some(), "{what} was loaded");
    };
    crate::broken::streams(&mut case);
    crate::broken::layouts(&mut case);
    crate::broken::docker(&mut case, &|| docker_archive(&[layer("a", "1")], &["d:1"]), tar_of);
    insta::assert_snapshot!(lines);

    let layout = Layout::simple("a:1", "1");
    let named = Reference::parse(&format!("a@{}", Digest::of(b"")))?;
    assert!(store.load(from(layout.tar()), Some(&named)).is_err());
    let mut two = layout.clone();
    let mut second = for_platform(&mut two, "s390x", "linux");
    second.as_object_mut().unwrap().remove("platform");
    two.index.push(second);
    let error = store.load(from(two.tar()), Some(&Reference::parse("one")?)).unwrap_err();
    assert!(matches!(error, Error::NameForMany { count: 2, .. }), "{error}");
    assert_eq!(blobs_and_leftovers(&root), 0);
    Ok(())
}

pub(crate) fn hostile_folders_stay_inside(sandbox: &Sandbox) -> Outcome {
    use std::os::unix::fs::symlink;
    let store = Store::open(&sandbox.path("store"))?;
    let layout = Layout::simple("a:1", "1");
    layout.write(&sandbox.path("outside"))?;
    let folder = sandbox.path("folder");
    std::fs::create_dir(&folder)?;
    symlink(sandbox.path("outside/index.json"), folder.join("index.json"))?;
    symlink("../outside/oci-layout", folder.join("oci-layout"))?;
    symlink("../outside/blobs", folder.join("blobs"))?;
    let error = store.load(Source::Dir(folder.clone()), None).unwrap_err();
    assert!(matches!(error, Error::NotAnImage(_)), "{error}");
    // Links within the folder are fine, and a FIFO does not hold us.
    std::fs::remove_dir_all(&folder)?;
    layout.write(&folder.join("deep"))?;
    for name in ["index.json", "oci-layout", "blobs"] {
        symlink(format!("deep/{name}"), folder.join(name))?;
    }
    store.load(Source::Dir(folder.clone()), None)?;
    std::fs::remove_file(folder.join("oci-layout"))?;
    nix::unistd::mkfifo(&folder.join("oci-layout"), nix::sys::stat::Mode::S_IRUSR)?;
    let error = store.load(Source::Dir(folder), None).unwrap_err();
    assert!(matches!(error, Error::UnsafeEntry { .. }), "{error}");
    Ok(())
}
