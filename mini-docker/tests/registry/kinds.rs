//! What registries hold: manifests and indexes of both families, layers packed in three ways, and what is no image.

use serde_json::Value;
use testkit::registry::{Compression, Image, Layout, Options, Platform, Registry};
use testkit::{Outcome, Sandbox, Test};

use crate::support::Docker;
use crate::{done, plain, ran, snapshots};

pub const TESTS: &[Test] = &[
    ("an_image_is_pulled_and_runs", an_image_is_pulled_and_runs),
    ("manifests_of_docker_and_layers_of_all_kinds", manifests_of_docker_and_layers_of_all_kinds),
    ("the_platform_is_chosen", the_platform_is_chosen),
    ("digests_and_all_tags", digests_and_all_tags),
    ("run_pulls_what_is_missing", run_pulls_what_is_missing),
    ("what_is_no_image_is_refused", what_is_no_image_is_refused),
    ("a_blob_must_be_the_layer_that_the_config_names", a_blob_must_be_the_layer),
    ("a_damaged_image_can_be_pulled_again_and_removed", a_damaged_image_can_be_pulled_again),
];

/// Two folders with a file each, as layers on the busybox.
fn layered(sandbox: &Sandbox, name: &str, compression: Compression) -> crate::Result<Layout> {
    let layout = Layout::new(sandbox.path(name))?;
    let mut layers = vec![sandbox.busybox_rootfs(&format!("{name}-rootfs"))?];
    for part in ["one", "two"] {
        let dir = sandbox.path(format!("{name}-{part}"));
        std::fs::create_dir_all(dir.join("srv"))?;
        std::fs::write(dir.join("srv").join(part), format!("{part}\n"))?;
        layers.push(dir);
    }
    let config = serde_json::json!({"Cmd": ["cat", "/srv/one", "/srv/two"], "Env": ["A=b"]});
    layout.add(
        "latest",
        &Image { layers: &layers, compression, platform: Platform::host(), config },
    )?;
    Ok(layout)
}

fn an_image_is_pulled_and_runs(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = layered(sandbox, "app", Compression::Gzip)?;
    registry.push_layout(&layout.path, "latest", "team/app:1.0", &[])?;
    let name = format!("{}/team/app:1.0", registry.address());
    let docker = Docker::new(sandbox);
    let mut text = String::new();
    for args in [&["pull", &name][..], &["pull", &name], &["pull", "-q", &name], &["images"]] {
        let ran = ran(&docker, sandbox, args)?;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        // Layers arrive in any order; the lines of each one do not.
        let mut lines: Vec<&str> = ran.stdout.lines().collect();
        let layer = |line: &&str| line.len() > 13 && line.as_bytes()[12] == b':';
        let first = lines.iter().position(layer).unwrap_or(0);
        let count = lines.iter().filter(|line| layer(line)).count();
        lines[first..first + count].sort_by_key(|line| line[..12].to_owned());
        text.push_str(&format!("$ mini-docker {}\n{}\n", args.join(" "), lines.join("\n")));
    }
    let text = plain(&text, sandbox).replace("[SANDBOX]", "");
    let created = text.lines().map(|line| line.split("  ").collect::<Vec<_>>().len()).max();
    assert!(created > Some(2));
    snapshots(|| insta::assert_snapshot!(text));
    let ran = ran(&docker, sandbox, &["run", "--rm", "--network", "none", &name])?;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "one\ntwo\n"), "{ran:?}");

    // The store is an OCI layout: skopeo sees the same digest there and in the registry.
    let digest = layout.digest("latest")?;
    let listed = done(&docker, sandbox, &["images", "--digests"])?;
    assert!(listed.contains(&digest), "{listed} {digest}");
    let skopeo = crate::support::stdout(std::process::Command::new("skopeo").args([
        "inspect",
        "--format",
        "{{.Digest}}",
        &format!("oci:{}:{name}", docker.root.join("images").display()),
    ]))?;
    assert_eq!(skopeo.trim(), digest);
    Ok(())
}

fn manifests_of_docker_and_layers_of_all_kinds(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let mut digests = Vec::new();
    for (compression, repository, extra) in [
        (Compression::Gzip, "gzip", &[][..]),
        (Compression::Zstd, "zstd", &[]),
        (Compression::None, "plain", &[]),
        (Compression::Gzip, "docker", &["--format=v2s2"]),
    ] {
        let layout = layered(sandbox, repository, compression)?;
        registry.push_layout(&layout.path, "latest", &format!("{repository}:latest"), extra)?;
        let manifest = registry.manifest(&format!("{repository}:latest"))?;
        let media_type = serde_json::from_slice::<Value>(&manifest)?["layers"][0]["mediaType"]
            .as_str()
            .unwrap()
            .to_owned();
        let docker = Docker::new(sandbox);
        let name = format!("{}/{repository}", registry.address());
        done(&docker, sandbox, &["pull", "-q", &name])?;
        let output = done(&docker, sandbox, &["run", "--rm", "--network", "none", &name])?;
        assert_eq!(output, "one\ntwo\n", "{media_type}");
        digests.push(media_type);
        done(&docker, sandbox, &["rmi", &name])?;
        assert!(crate::leftovers(&docker).is_empty(), "{:?}", crate::leftovers(&docker));
    }
    assert_eq!(
        digests,
        [
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ]
    );
    Ok(())
}

fn the_platform_is_chosen(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = Layout::busybox(sandbox, "multi")?;
    let other = Platform { os: "linux", architecture: "s390x", variant: "" };
    let dir = sandbox.path("other");
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("other"), "other\n")?;
    layout.add("other", &Image { layers: &[dir], platform: other, ..Image::default() })?;
    let index = layout.add_index("both", &[("other", other), ("latest", Platform::host())])?;
    registry.push_layout(&layout.path, "both", "multi:1", &["--all", "--preserve-digests"])?;
    registry.push_layout(&layout.path, "other", "other:1", &[])?;
    let name = format!("{}/multi:1", registry.address());
    let docker = Docker::new(sandbox);
    let pulled = done(&docker, sandbox, &["pull", &name])?;
    assert!(pulled.contains(&format!("Digest: {index}")), "{pulled}");
    assert_eq!(
        done(&docker, sandbox, &["run", "--rm", "--network", "none", &name, "echo", "x"])?,
        "x\n"
    );
    // The digest of the index is a name for what was chosen from it.
    let by_digest = format!("{}/multi@{index}", registry.address());
    assert_eq!(
        done(&docker, sandbox, &["run", "--rm", "--network", "none", &by_digest, "echo", "x"])?,
        "x\n"
    );

    let pulled = ran(&docker, sandbox, &["pull", "--platform", "linux/s390x", &name])?;
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert!(pulled.stderr.contains("s390x"), "a warning: {pulled:?}");
    assert!(done(&docker, sandbox, &["images"])?.contains("<none>"), "the name has moved");
    let mut text = String::new();
    let other = format!("{}/other:1", registry.address());
    for args in [
        &["pull", "--platform", "linux/riscv64", &name][..],
        &["pull", "--platform", "linux/amd64", &other],
        &["pull", "--platform", "mips/../x", &name],
        &["create", "--pull", "never", "--platform", "linux/arm64", &name],
    ] {
        let ran = ran(&docker, sandbox, args)?;
        text.push_str(&format!("{}? {}\n", ran.stderr, ran.code));
    }
    snapshots(|| insta::assert_snapshot!(plain(&text, sandbox)));
    Ok(())
}

fn digests_and_all_tags(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = Layout::busybox(sandbox, "busybox")?;
    let random = Layout::random(sandbox, "random", 1, 1000, Compression::Gzip)?;
    registry.push_layout(&layout.path, "latest", "app:1", &[])?;
    registry.push_layout(&layout.path, "latest", "app:2", &[])?;
    registry.push_layout(&random.path, "latest", "app:3", &[])?;
    let docker = Docker::new(sandbox);
    let repository = format!("{}/app", registry.address());
    let digest = layout.digest("latest")?;
    // The tag beside a digest is for people.
    for name in [format!("{repository}@{digest}"), format!("{repository}:moot@{digest}")] {
        let pulled = done(&docker, sandbox, &["pull", "-q", &name])?;
        assert_eq!(pulled, format!("{repository}@{digest}\n"));
        assert_eq!(
            done(&docker, sandbox, &["run", "--rm", "--network", "none", &name, "echo", "x"])?,
            "x\n"
        );
    }
    done(&docker, sandbox, &["pull", "-a", "-q", &repository])?;
    let listed = done(&docker, sandbox, &["images", &repository])?;
    for tag in ["1", "2", "3"] {
        assert!(listed.lines().any(|line| line.split_whitespace().nth(1) == Some(tag)), "{listed}");
    }
    let ran = ran(&docker, sandbox, &["pull", "-a", &format!("{repository}:1")])?;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("--all-tags"), "{ran:?}");
    Ok(())
}

fn run_pulls_what_is_missing(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = Layout::busybox(sandbox, "busybox")?;
    registry.push_layout(&layout.path, "latest", "app:1", &[])?;
    let docker = Docker::new(sandbox);
    let name = format!("{}/app:1", registry.address());
    let never = ran(&docker, sandbox, &["run", "--rm", "--pull", "never", &name, "true"])?;
    assert_eq!(never.code, 125, "{never:?}");
    let run = ["run", "--rm", "--network", "none"];
    let first = ran(&docker, sandbox, &[&run[..], &[&name, "echo", "x"]].concat())?;
    assert_eq!((first.code, first.stdout.as_str()), (0, "x\n"), "{first:?}");
    assert!(first.stderr.starts_with("Unable to find image '127.0.0.1:"), "{first:?}");
    assert!(first.stderr.contains("Pull complete"), "{first:?}");
    let second = ran(&docker, sandbox, &[&run[..], &[&name, "echo", "x"]].concat())?;
    assert_eq!((second.code, second.stderr.as_str()), (0, ""), "{second:?}");

    // Another image gets the name: `always` asks, `missing` does not.
    let config = serde_json::json!({"Cmd": ["echo", "newer"]});
    let root = sandbox.busybox_rootfs("newer")?;
    layout.add("newer", &Image { layers: &[root], config, ..Image::default() })?;
    registry.push_layout(&layout.path, "newer", "app:1", &[])?;
    let always = ran(&docker, sandbox, &[&run[..], &["--pull", "always", "-q", &name]].concat())?;
    assert_eq!((always.stdout.as_str(), always.stderr.as_str()), ("newer\n", ""), "{always:?}");
    // An image that is nowhere.
    let missing = format!("{}/missing:1", registry.address());
    let missing = ran(&docker, sandbox, &[&run[..], &[&missing, "true"]].concat())?;
    assert_eq!((missing.code, missing.stdout.as_str()), (125, ""));
    snapshots(|| insta::assert_snapshot!(plain(&missing.stderr, sandbox)));
    Ok(())
}

/// Puts a blob into the registry with curl.
fn put_blob(
    registry: &Registry,
    repository: &str,
    bytes: &[u8],
    sandbox: &Sandbox,
) -> crate::Result<String> {
    let file = sandbox.path("blob");
    std::fs::write(&file, bytes)?;
    let script = "d=sha256:$(sha256sum < $3 | cut -d' ' -f1)
        l=$(curl -sf -D- -o /dev/null -X POST http://$1/v2/$2/blobs/uploads/ | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')
        curl -sf -X PUT -H 'Content-Type: application/octet-stream' --data-binary @$3 \"$l&digest=$d\" && printf %s $d";
    let mut sh = std::process::Command::new("sh");
    sh.args(["-ec", script, "sh", registry.address(), repository]).arg(&file);
    crate::support::stdout(&mut sh)
}

fn put_manifest(registry: &Registry, name: &str, manifest: &Value, sandbox: &Sandbox) -> Outcome {
    let file = sandbox.path("manifest");
    std::fs::write(&file, manifest.to_string())?;
    let (repository, tag) = name.split_once(':').unwrap();
    let url = format!("http://{}/v2/{repository}/manifests/{tag}", registry.address());
    let kind = format!("Content-Type: {}", manifest["mediaType"].as_str().unwrap());
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sf", "-X", "PUT", "-H", &kind, "--data-binary"]);
    curl.arg(format!("@{}", file.display())).arg(url);
    crate::support::stdout(&mut curl)?;
    Ok(())
}

fn what_is_no_image_is_refused(sandbox: &Sandbox) -> Outcome {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = Layout::busybox(sandbox, "busybox")?;
    registry.push_layout(&layout.path, "latest", "app:good", &[])?;
    let good = layout.manifest("latest")?;
    let config = layout.json(good["config"]["digest"].as_str().unwrap())?;
    let put_config = |value: &Value| -> crate::Result<Value> {
        let text = value.to_string();
        let digest = put_blob(&registry, "app", text.as_bytes(), sandbox)?;
        Ok(serde_json::json!({"mediaType": CONFIG, "digest": digest, "size": text.len()}))
    };
    let garbage = put_blob(&registry, "app", b"this is not gzip and no tar archive", sandbox)?;
    let change = |change: &dyn Fn(&mut Value)| {
        let mut manifest = good.clone();
        manifest["mediaType"] = MANIFEST.into();
        change(&mut manifest);
        manifest
    };
    let mut wrong_diff = config.clone();
    wrong_diff["rootfs"]["diff_ids"][0] = format!("sha256:{}", "0".repeat(64)).into();
    let wrong_diff = put_config(&wrong_diff)?;
    let mut windows = config.clone();
    windows["os"] = "windows".into();
    let windows = put_config(&windows)?;
    let mut two_layers = config.clone();
    let diff_ids = two_layers["rootfs"]["diff_ids"].as_array_mut().unwrap();
    diff_ids.push(diff_ids[0].clone());
    let two_layers = put_config(&two_layers)?;
    let cases = [
        (
            "chart",
            change(&|m| {
                m["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into();
            }),
        ),
        (
            "foreign",
            change(&|m| {
                m["layers"][0]["mediaType"] =
                    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
            }),
        ),
        (
            "encrypted",
            change(&|m| {
                m["layers"][0]["mediaType"] = format!("{LAYER}+encrypted").into();
            }),
        ),
        ("unknown", change(&|m| m["layers"][0]["mediaType"] = "application/x-what".into())),
        ("windows", change(&|m| m["config"] = windows.clone())),
        ("diff-id", change(&|m| m["config"] = wrong_diff.clone())),
        ("two-layers", change(&|m| m["config"] = two_layers.clone())),
        (
            "garbage",
            change(&|m| {
                m["layers"][0]["digest"] = garbage.clone().into();
                m["layers"][0]["size"] = 35.into();
            }),
        ),
    ];
    let docker = Docker::new(sandbox);
    assert_eq!(ran(&docker, sandbox, &["images", "-q"])?.code, 0);
    let mut text = String::new();
    for (tag, manifest) in cases {
        put_manifest(&registry, &format!("app:{tag}"), &manifest, sandbox)?;
        let name = format!("{}/app:{tag}", registry.address());
        let ran = ran(&docker, sandbox, &["pull", "-q", &name])?;
        text.push_str(&format!("{tag}: {}{}? {}\n", ran.stdout, ran.stderr, ran.code));
        assert!(crate::leftovers(&docker).is_empty(), "{tag}: {:?}", crate::leftovers(&docker));
    }
    assert_eq!(done(&docker, sandbox, &["images", "-q"])?, "");
    snapshots(|| insta::assert_snapshot!(plain(&text, sandbox)));
    Ok(())
}

/// Whoever has an image's layer unpacked must not take any blob for it.
fn a_blob_must_be_the_layer(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let good = Layout::busybox(sandbox, "good")?;
    registry.push_layout(&good.path, "latest", "app:good", &[])?;
    let evil = Layout::random(sandbox, "evil", 1, 1000, Compression::Gzip)?;
    registry.push_layout(&evil.path, "latest", "app:evil", &[])?;
    // The config of the one, which names its diff ID, with the blob of the other.
    let mut liar = good.manifest("latest")?;
    liar["mediaType"] = "application/vnd.oci.image.manifest.v1+json".into();
    liar["layers"] = evil.manifest("latest")?["layers"].clone();
    put_manifest(&registry, "app:liar", &liar, sandbox)?;
    let docker = Docker::new(sandbox);
    let name = |tag: &str| format!("{}/app:{tag}", registry.address());
    done(&docker, sandbox, &["pull", "-q", &name("good")])?;
    for first in [false, true] {
        if first {
            // Now the blob is in the store, too.
            done(&docker, sandbox, &["pull", "-q", &name("evil")])?;
        }
        let ran = ran(&docker, sandbox, &["pull", "-q", &name("liar")])?;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains("the config says"), "{ran:?}");
    }
    for tag in ["good", "evil"] {
        assert!(done(&docker, sandbox, &["pull", &name(tag)])?.contains("up to date"), "{tag}");
    }
    Ok(())
}

fn a_damaged_image_can_be_pulled_again(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = Layout::busybox(sandbox, "busybox")?;
    registry.push_layout(&layout.path, "latest", "app:1", &[])?;
    let docker = Docker::new(sandbox);
    let name = format!("{}/app:1", registry.address());
    done(&docker, sandbox, &["pull", "-q", &name])?;
    let config = layout.manifest("latest")?["config"]["digest"].as_str().unwrap().to_owned();
    let blob = docker.root.join("images/blobs/sha256").join(config.trim_start_matches("sha256:"));
    let run = ["run", "--rm", "--network", "none", "--pull", "never", &name, "echo", "x"];
    std::fs::write(&blob, "{}")?;
    assert_ne!(ran(&docker, sandbox, &run)?.code, 0);
    done(&docker, sandbox, &["pull", "-q", &name])?;
    assert_eq!(done(&docker, sandbox, &run)?, "x\n");
    std::fs::write(&blob, "{}")?;
    done(&docker, sandbox, &["rmi", "-f", &name])?;
    assert_eq!(done(&docker, sandbox, &["images", "-q"])?, "");
    Ok(())
}
