//! Archives that we write, as other tools and we ourselves read them; new images on top of old ones.

use std::io::Write;

use images::commit::{Derived, History};
use images::save::Selected;
use images::{Digest, Error, Image, Reference, Store};
use serde_json::{Value, json};
use testkit::{Outcome, Sandbox};

use crate::archives::from;
use crate::make::*;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn saved(store: &Store, names: &[&str]) -> std::result::Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    store.save(&store.select(&words(names))?, &mut bytes)?;
    Ok(bytes)
}

/// The files of an archive, in order.
fn files(archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes)?;
        files.push((entry.path()?.to_string_lossy().into_owned(), bytes));
    }
    Ok(files)
}

fn document(archive: &[u8], name: &str) -> Result<Value> {
    let file = files(archive)?.into_iter().find(|(own, _)| own == name);
    Ok(serde_json::from_slice(&file.ok_or("no such file")?.1)?)
}

/// Three images: two share a layer, one of them is compressed.
fn three(store: &Store) -> Outcome {
    let (shared, own) = (layer("base", "1"), layer("own", "2"));
    let mut layout = Layout::default();
    for (name, layers) in [("a:1", &[shared.clone()][..]), ("b", &[shared.clone(), own.clone()])] {
        let plain: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        let mut manifest = layout.image(&config(&plain), layers);
        let name = Reference::parse(name)?.to_string();
        manifest["annotations"] = json!({"io.containerd.image.name": name});
        layout.index.push(manifest);
    }
    store.load(from(layout.tar()), None)?;
    let packed = [("base", Is::File(b"1".to_vec()))];
    let archive = gzip(&tar(&packed));
    let config = config(&[&tar(&packed)]).to_string().replace("2020", "2021");
    let name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let manifest = json!([{"Config": name, "RepoTags": ["ghcr.io/x/c:v1"], "Layers": ["l"]}]);
    let files = [
        (name.as_str(), Is::File(config.clone().into())),
        ("l", Is::File(archive)),
        ("manifest.json", Is::File(manifest.to_string().into())),
    ];
    store.load(from(tar(&files)), None)?;
    store.tag(&store.resolve("a:1")?, &Reference::parse("a:2")?)?;
    Ok(())
}

pub(crate) fn an_archive_is_two_forms_of_the_same(sandbox: &Sandbox) -> Outcome {
    let store = Store::open(&sandbox.path("store"))?;
    three(&store)?;
    let bytes = saved(&store, &["a:2", "b", "ghcr.io/x/c:v1", "a:1"])?;
    assert_eq!(bytes, saved(&store, &["a:2", "b", "ghcr.io/x/c:v1", "a:1"])?, "the same bytes");
    let names: Vec<String> = files(&bytes)?.into_iter().map(|(name, _)| name).collect();
    let mut once = names.clone();
    once.sort();
    once.dedup();
    assert_eq!(names.len(), once.len(), "{names:?}");
    // Documents, two folders; three manifests, three configs, three layers.
    assert_eq!(names.len(), 4 + 2 + 9);
    for (name, bytes) in files(&bytes)? {
        if let Some(hex) = name.strip_prefix("blobs/sha256/").filter(|hex| !hex.is_empty()) {
            assert_eq!(Digest::of(&bytes).hex(), hex);
        }
    }
    let (a, b, c) = (store.resolve("a:1")?, store.resolve("b")?, store.resolve("ghcr.io/x/c:v1")?);
    let blob = |digest: &str| format!("blobs/sha256/{}", &digest[7..]);
    let item = |image: &images::Image, tags: &[&str]| {
        let layers: Vec<_> = image.layers.iter().map(|layer| blob(&layer.digest)).collect();
        json!({"Config": blob(&image.id), "RepoTags": tags, "Layers": layers})
    };
    let items =
        json!([item(&a, &["a:2", "a:1"]), item(&b, &["b:latest"]), item(&c, &["ghcr.io/x/c:v1"])]);
    assert_eq!(document(&bytes, "manifest.json")?, items);
    let index = document(&bytes, "index.json")?;
    let listed: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let of = &entry["annotations"];
            let text = |key: &str| of[key].as_str().unwrap().to_owned();
            (
                entry["digest"].as_str().unwrap().to_owned(),
                text("io.containerd.image.name"),
                text("org.opencontainers.image.ref.name"),
            )
        })
        .collect();
    let line = |image: &images::Image, name: &str, tag: &str| {
        (image.manifest_digest.clone(), name.to_owned(), tag.to_owned())
    };
    assert_eq!(
        listed,
        [
            line(&a, "docker.io/library/a:2", "2"),
            line(&a, "docker.io/library/a:1", "1"),
            line(&b, "docker.io/library/b:latest", "latest"),
            line(&c, "ghcr.io/x/c:v1", "v1"),
        ]
    );
    let top = |image: &images::Image| image.layers.last().unwrap().digest[7..].to_owned();
    let expected = json!({"a": {"2": top(&a), "1": top(&a)}, "b": {"latest": top(&b)}, "ghcr.io/x/c": {"v1": top(&c)}});
    assert_eq!(document(&bytes, "repositories")?, expected);

    // A repository is all its tags, an ID no name, a name beside its ID one image.
    let names = |names: &[&str]| -> Result<Vec<(String, Vec<String>)>> {
        let selected = store.select(&words(names))?;
        let shown =
            |one: Selected| (one.image.id, one.names.iter().map(Reference::familiar).collect());
        Ok(selected.into_iter().map(shown).collect())
    };
    assert_eq!(names(&["a"])?, [(a.id.clone(), words(&["a:1", "a:2"]))]);
    assert_eq!(names(&[&a.id[7..20]])?, [(a.id.clone(), words(&[]))]);
    assert_eq!(names(&[&a.id, "a:1", "a:1"])?, [(a.id.clone(), words(&["a:1"]))]);
    assert!(matches!(store.select(&words(&["a:3"])), Err(Error::NotFound(_))));
    let unnamed = saved(&store, &[&a.id])?;
    assert_eq!(document(&unnamed, "manifest.json")?[0]["RepoTags"], Value::Null);
    assert!(document(&unnamed, "repositories").is_err());

    // There and back: the same IDs, the same manifests.
    let other = Store::open(&sandbox.path("other"))?;
    let loaded = other.load(from(bytes.clone()), None)?;
    let loaded: Vec<_> =
        loaded.iter().map(|one| one.reference.as_ref().unwrap().familiar()).collect();
    assert_eq!(loaded, ["a:2", "a:1", "b:latest", "ghcr.io/x/c:v1"]);
    for name in ["a:1", "a:2", "b", "ghcr.io/x/c:v1"] {
        let (was, is) = (store.resolve(name)?, other.resolve(name)?);
        assert_eq!((was.id, was.manifest_digest), (is.id, is.manifest_digest));
    }
    assert_eq!(saved(&other, &["a:2", "b", "ghcr.io/x/c:v1", "a:1"])?, bytes);
    other.load(from(unnamed), None)?;
    Ok(())
}

pub(crate) fn other_tools_read_what_is_saved(sandbox: &Sandbox) -> Outcome {
    crate::tools::umoci(sandbox)?;
    let dir = &sandbox.dir;
    let store = Store::open(&sandbox.path("store"))?;
    three(&store)?;
    let name = Reference::parse("busybox:1")?;
    store.load(images::Source::Dir(sandbox.path("L")), Some(&name))?;
    let image = store.resolve("busybox:1")?;
    std::fs::write(sandbox.path("one.tar"), saved(&store, &["busybox:1"])?)?;
    std::fs::write(sandbox.path("many.tar"), saved(&store, &["busybox:1", "b", "a:1"])?)?;
    for reference in [
        "oci-archive:one.tar",
        "oci-archive:one.tar:1",
        "docker-archive:one.tar",
        "docker-archive:many.tar:busybox:1",
        "oci-archive:many.tar:1",
    ] {
        let config = run(dir, &format!("skopeo inspect --config --raw {reference}"))?;
        assert_eq!(Digest::of(config.as_bytes()).to_string(), image.id, "{reference}");
        run(dir, &format!("rm -rf copy; skopeo copy -q {reference} oci:copy:x"))?;
    }
    let seen: Value = serde_json::from_str(&run(dir, "skopeo inspect oci-archive:one.tar")?)?;
    assert_eq!(seen["Digest"], image.manifest_digest);
    let listed = run(dir, "skopeo list-tags docker-archive:many.tar")?;
    for tag in ["busybox:1", "b:latest", "a:1"] {
        assert!(listed.contains(tag), "{listed}");
    }
    // Unpacked as an archive it is a layout that umoci unpacks to the tree it was made of.
    let bundle = "mkdir layout; tar -C layout -xf one.tar; umoci unpack --image layout:1 bundle
        umoci unpack --image L:t original; diff -r --no-dereference original/rootfs bundle/rootfs";
    run(dir, bundle)?;
    assert!(sandbox.path("bundle/rootfs/opt/file").exists());
    Ok(())
}

pub(crate) fn damage_ends_a_save(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("store");
    let store = Store::open(&root)?;
    three(&store)?;
    let image = store.resolve("b")?;
    let path = |digest: &str| root.join("blobs/sha256").join(&digest[7..]);
    let own = path(&image.layers[1].digest);
    let bytes = std::fs::read(&own)?;
    let mut other = bytes.clone();
    other[512] ^= 1;
    std::fs::write(&own, &other)?;
    assert!(matches!(saved(&store, &["b"]), Err(Error::WrongDigest { .. })));
    assert!(saved(&store, &["a"]).is_ok());
    std::fs::write(&own, &bytes[..bytes.len() - 1])?;
    assert!(matches!(saved(&store, &["b"]), Err(Error::WrongSize { .. })));
    std::fs::remove_file(&own)?;
    assert!(matches!(saved(&store, &["b"]), Err(Error::Missing { .. })));
    std::fs::write(&own, &bytes)?;
    std::fs::write(path(&image.id), "{}")?;
    assert!(matches!(saved(&store, &["b"]), Err(Error::WrongDigest { .. })));
    let full = std::fs::File::options().write(true).open("/dev/full")?;
    let error = store.save(&store.select(&words(&["a:1"]))?, full).unwrap_err();
    assert_eq!(error.to_string(), "write archive: No space left on device (ENOSPC)");
    Ok(())
}

fn history(created_by: &str, empty_layer: bool) -> Result<History> {
    let created = "2026-01-02T03:04:05Z".parse()?;
    let (created_by, author) = (created_by.to_owned(), "Alice".to_owned());
    Ok(History { created, created_by, author, comment: String::new(), empty_layer })
}

pub(crate) fn images_grow_on_images(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("store");
    let store = Store::open(&root)?;
    // A base with what OCI has no words for, and without a history.
    let below = layer("base", "1");
    let mut layout = Layout::default();
    let mut own = config(&[&below]);
    own["config"]["Healthcheck"] = json!({"Test": ["CMD", "x"]});
    own["container_config"] = json!({"Cmd": ["y"]});
    own["x-top"] = 7.into();
    own["author"] = "Bob".into();
    let mut manifest = layout.image(&own, &[below]);
    manifest["annotations"] = json!({"io.containerd.image.name": "docker.io/library/base:1"});
    layout.index.push(manifest);
    store.load(from(layout.tar()), None)?;
    let base = store.resolve("base:1")?;

    let tar = layer("new", "2");
    let write = |out: &mut dyn Write| -> Result<u8> { Ok(out.write_all(&tar).map(|()| 7)?) };
    let (added, seven) = store.new_layer(write)?;
    assert_eq!(
        (added.diff_id(), added.size(), seven),
        (Digest::of(&tar).to_string(), tar.len() as u64, 7)
    );
    assert_eq!(store.list()?.len(), 1, "nothing is visible yet");
    // The base goes meanwhile: its layers are needed, and still there.
    let mut process = store.process_json(&base)?;
    process.insert("Cmd".into(), json!(["new"]));
    let name = Reference::parse("grown:1")?;
    let derive = |layers, process, history| {
        let reference = Some(&name);
        store.derive(Derived { base: Some(&base), layers, history, process, reference })
    };
    let lines = vec![history("COPY new", false)?, history("CMD new", true)?];
    let loaded = derive(vec![added], process.clone(), lines.clone())?;
    let image = store.resolve("grown:1")?;
    assert_eq!(loaded.id, image.id);
    store.remove("base:1", false, &|_| Vec::new())?;
    let mut contents = Vec::new();
    for layer in &image.layers {
        std::io::Read::read_to_end(&mut store.open_layer(layer)?, &mut contents)?;
    }
    let config: Value = serde_json::from_slice(&store.config_json(&image)?)?;
    insta::assert_snapshot!(serde_json::to_string_pretty(&config)?);
    // skopeo copies it: the documents fit together.
    if needs("skopeo").is_ok() {
        run(&sandbox.dir, "skopeo copy -q oci:store:grown:1 docker-archive:out.tar:x:1")?;
    }
    // The same again is the same image; on its own base now, without a layer of its own.
    let again = Derived {
        base: Some(&image),
        layers: Vec::new(),
        history: vec![history("ENV", true)?],
        process: process.clone(),
        reference: None,
    };
    let again = store.derive(again)?;
    let same = Derived {
        base: Some(&image),
        layers: Vec::new(),
        history: vec![history("ENV", true)?],
        process: process.clone(),
        reference: None,
    };
    assert_eq!(store.derive(same)?.id, again.id);
    assert_eq!(store.resolve(&again.id)?.layers, image.layers);
    // From nothing, with a layer that no other image has.
    let tar = layer("alone", "3");
    let (added, ()) = store.new_layer(|out| -> Result<()> { Ok(out.write_all(&tar)?) })?;
    let reference = Reference::parse("scratch:1")?;
    let scratch = Derived {
        base: None,
        layers: vec![added],
        history: vec![history("ADD", false)?],
        process,
        reference: Some(&reference),
    };
    // Before that it gets a name elsewhere: the cache of builds.
    let kept = sandbox.dir.join("kept");
    scratch.layers[0].keep_at(&kept)?;
    scratch.layers[0].keep_at(&kept)?;
    store.derive(scratch)?;
    let diff_id = Digest::of(&tar).to_string();
    let known = store.known_layer(&kept, &diff_id, tar.len() as u64)?;
    assert_eq!((known.diff_id(), known.size()), (diff_id.clone(), tar.len() as u64));
    let short = store.known_layer(&kept, &diff_id, 1).unwrap_err();
    assert!(matches!(short, Error::WrongSize { expected: 1, .. }), "{short}");
    assert!(store.known_layer(&root.join("nothing"), &diff_id, 1).is_err());
    drop(known);
    // Held layers are needed by somebody, whatever becomes of the image.
    let image = store.resolve("scratch:1")?;
    let hold = store.hold(&image)?;
    let other = Image { layers: vec![], ..image.clone() };
    store.remove("scratch:1", false, &|_| Vec::new())?;
    assert!(store.diff_ids()?.contains(&diff_id) && store.hold(&other).is_ok());
    drop(hold);
    assert!(!store.diff_ids()?.contains(&diff_id));
    let process = store.process_json(&store.resolve("grown:1")?)?;
    let scratch = Derived {
        base: None,
        layers: vec![store.known_layer(&kept, &diff_id, tar.len() as u64)?],
        history: vec![history("ADD", false)?],
        process,
        reference: Some(&reference),
    };
    store.derive(scratch)?;
    assert_eq!(store.resolve("scratch:1")?.layers[0].diff_id, Digest::of(&tar).to_string());

    // What goes wrong leaves nothing.
    let blobs = || std::fs::read_dir(root.join("blobs/sha256")).map(Iterator::count);
    let before = blobs()?;
    let failed: Result<(_, ())> = store.new_layer(|out| {
        out.write_all(b"half")?;
        Err("no more".into())
    });
    assert_eq!(failed.unwrap_err().to_string(), "no more");
    assert!(matches!(derive(Vec::new(), Default::default(), lines), Err(Error::Invalid { .. })));
    // The base's own config has gone with it.
    let error = derive(Vec::new(), Default::default(), vec![history("x", true)?]).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert_eq!((blobs()?, std::fs::read_dir(root.join("tmp"))?.count()), (before, 0));
    Ok(())
}
