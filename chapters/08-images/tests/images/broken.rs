//! The table of broken and hostile archives: what each is, and its bytes.

use serde_json::{Value, json};

use crate::make::*;

/// Names and contents of an archive.
pub(crate) type Files = Vec<(String, Is)>;
type Case<'c> = &'c mut dyn FnMut(&str, Vec<u8>);

fn file(text: impl Into<Vec<u8>>) -> Is {
    Is::File(text.into())
}

/// The stream itself is wrong.
pub(crate) fn streams(case: Case<'_>) {
    let good = Layout::simple("docker.io/library/a:1", "1").tar();
    case("nothing", Vec::new());
    case("text", b"this is no archive, but a longish line of text. ".repeat(30));
    case("xz", b"\xfd7zXZ\0\0\0".to_vec());
    case("bzip2", b"BZh91AY".to_vec());
    case("cut in a file", good[..700].to_vec());
    case("cut in a header", good[..1300].to_vec());
    let packed = gzip(&good);
    case("gzip, cut", packed[..packed.len() / 2].to_vec());
    case("gzip, checksum cut", packed[..packed.len() - 4].to_vec());
    let mut wrong = packed.clone();
    let at = wrong.len() - 6;
    wrong[at] ^= 1;
    case("gzip, checksum wrong", wrong);
    let packed = zstd(&good);
    case("zstd, cut", packed[..packed.len() - 9].to_vec());
    case("a root file system", tar(&[("bin/sh", file("x")), ("etc/passwd", file("x"))]));
    let many: Vec<String> = (0..10_002).map(|at| format!("usr/{at}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), file(""))).collect();
    case("a large root file system", tar(&many));
    for (what, name, is) in [
        ("name with ..", "../../etc/cron.d/x", file("x")),
        ("name with .. in it", "a/../../x", file("x")),
        ("absolute name", "/etc/cron.d/x", file("x")),
        ("name with an escape", "a\u{1b}[2J", file("x")),
        ("FIFO", "index.json", Is::Fifo),
        ("link out", "a/layer.tar", Is::Link("../../etc/shadow")),
        ("absolute link", "layer.tar", Is::Link("/etc/shadow")),
        ("hard link out", "layer.tar", Is::Hard("../etc/shadow")),
    ] {
        case(what, tar(&[(name, is)]));
    }
}

/// Changes the one manifest of a layout, so that its digest is right again.
fn with_manifest(change: impl Fn(&mut Value)) -> Vec<u8> {
    let mut layout = Layout::simple("docker.io/library/a:1", "1");
    let at = layout.files.iter().position(|(_, bytes)| bytes.starts_with(b"{\"schema")).unwrap();
    let mut manifest: Value = serde_json::from_slice(&layout.files.remove(at).1).unwrap();
    change(&mut manifest);
    let descriptor = layout.blob(MANIFEST, manifest.to_string().as_bytes());
    layout.index = vec![descriptor];
    layout.tar()
}

/// Changes the config of a layout likewise.
fn with_config(change: impl Fn(&mut Value)) -> Vec<u8> {
    let layer = layer("file", "1");
    let mut config = config(&[&layer]);
    change(&mut config);
    let mut layout = Layout::default();
    let manifest = layout.image(&config, &[layer]);
    layout.index.push(manifest);
    layout.tar()
}

/// The documents of an image layout are wrong.
pub(crate) fn layouts(case: Case<'_>) {
    let good = Layout::simple("docker.io/library/a:1", "1");
    for (at, what) in ["layer", "config", "manifest"].into_iter().enumerate() {
        let mut layout = good.clone();
        layout.files.remove(at);
        case(&format!("{what} missing"), layout.tar());
        let mut layout = good.clone();
        layout.files[at].1.push(b' ');
        case(&format!("{what} tampered with"), layout.tar());
    }
    case("no index.json", tar(&[("oci-layout", file(r#"{"imageLayoutVersion": "1.0.0"}"#))]));
    let version =
        [("oci-layout", file(r#"{"imageLayoutVersion": "2.0.0"}"#)), ("index.json", file("{}"))];
    case("layout of the future", tar(&version));
    case("empty index", Layout::default().tar());
    let mut layout = good.clone();
    layout.index[0]["annotations"] = json!({"io.containerd.image.name": "../../Evil:x"});
    case("bad name in the index", layout.tar());
    let mut layout = good.clone();
    layout.index[0]["size"] = json!(1);
    case("wrong size of the manifest", layout.tar());
    layout.index[0]["size"] = json!(5 << 20);
    case("huge manifest announced", layout.tar());
    layout.index[0]["mediaType"] = json!("application/vnd.example");
    case("unknown kind of document", layout.tar());
    let mut layout = good.clone();
    layout.index[0]["mediaType"] = json!(INDEX);
    case("manifest announced as index", layout.tar());
    let mut layout = good;
    let mut child = layout.index[0].clone();
    for _ in 0..6 {
        let index = json!({"schemaVersion": 2, "manifests": [child]}).to_string();
        child = layout.blob(INDEX, index.as_bytes());
    }
    layout.index = vec![child];
    case("indexes in indexes", layout.tar());

    case("manifest and index at once", with_manifest(|it| it["manifests"] = json!([])));
    case("schema 1", with_manifest(|it| it["schemaVersion"] = json!(1)));
    case("no config", with_manifest(|it| drop(it.as_object_mut().unwrap().remove("config"))));
    case("an artifact", with_manifest(|it| it["config"]["mediaType"] = json!("application/vnd.x")));
    case("sha512", with_manifest(|it| it["layers"][0]["digest"] = json!("sha512:00")));
    case(
        "digest with a path",
        with_manifest(|it| it["layers"][0]["digest"] = json!("sha256:../../x")),
    );
    case("wrong size of a layer", with_manifest(|it| it["layers"][0]["size"] = json!(7)));
    case(
        "encrypted layer",
        with_manifest(|it| {
            it["layers"][0]["mediaType"] = json!(format!("{LAYER}+gzip+encrypted"));
        }),
    );
    case(
        "layer of unknown kind",
        with_manifest(|it| it["layers"][0]["mediaType"] = json!("text/html")),
    );
    case(
        "more layers than diff IDs",
        with_manifest(|it| {
            let layer = it["layers"][0].clone();
            it["layers"].as_array_mut().unwrap().push(layer);
        }),
    );

    case("config for windows", with_config(|it| it["os"] = json!("windows")));
    case("config without os", with_config(|it| drop(it.as_object_mut().unwrap().remove("os"))));
    case("config is a list", with_config(|it| *it = json!([])));
    case("bad diff ID", with_config(|it| it["rootfs"]["diff_ids"] = json!(["sha256:12"])));
    case(
        "wrong diff ID",
        with_config(|it| {
            it["rootfs"]["diff_ids"] = json!([images::Digest::of(b"other").to_string()]);
        }),
    );
    case("huge config", with_config(|it| it["author"] = json!("x".repeat(5 << 20))));
    let xz = b"\xfd7zXZ\0\0\0".to_vec();
    let mut layout = Layout::default();
    let manifest = layout.image(&config(&[&xz]), &[xz]);
    layout.index.push(manifest);
    case("layer in xz", layout.tar());
}

/// Docker's own form is wrong.
pub(crate) fn docker(case: Case<'_>, good: &dyn Fn() -> Files, tar_of: fn(&Files) -> Vec<u8>) {
    let mut changed = |what: &str, change: &dyn Fn(&mut Files)| {
        let mut files = good();
        change(&mut files);
        case(what, tar_of(&files));
    };
    let manifest = |text: &str| ("manifest.json".to_owned(), file(text));
    changed("docker: layer missing", &|files| drop(files.remove(0)));
    changed("docker: config missing", &|files| drop(files.remove(1)));
    changed("docker: layer tampered with", &|files| files[0].1 = file("other"));
    changed("docker: config tampered with", &|files| files[1].1 = file("{}"));
    changed("docker: not JSON", &|files| files[2] = manifest("]"));
    changed("docker: no image", &|files| files[2] = manifest("[]"));
    changed("docker: config by ..", &|files| {
        files[2] = manifest(r#"[{"Config": "../x", "Layers": []}]"#);
    });
    changed("docker: config by a path", &|files| {
        files[2] = manifest(r#"[{"Config": "/etc/shadow", "Layers": []}]"#);
    });
    changed("docker: bad name", &|files| {
        let Is::File(bytes) = &files[2].1 else { return };
        files[2] = manifest(&String::from_utf8_lossy(bytes).replace("d:1", "Web"));
    });
    changed("docker: link to nowhere", &|files| files[0].1 = Is::Link("gone.tar"));
    changed("docker: link to itself", &|files| files[0].1 = Is::Link("layer.tar"));
    let repositories = r#"{"old": {"1": "b1"}}"#;
    case("old docker: no layer", tar(&[("repositories", file(repositories))]));
    let parent = [("repositories", file(repositories)), ("b1/json", file(r#"{"parent": "b1"}"#))];
    case("old docker: its own parent", tar(&parent));
}
