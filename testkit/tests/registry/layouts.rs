//! Layouts are what other tools take for images.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use testkit::registry::{Compression, Image, Layout, Options, Platform, Registry};
use testkit::{Outcome, Sandbox};

use crate::expect;

pub(crate) fn busybox_runs(sandbox: &Sandbox) -> Outcome {
    let layout = Layout::busybox(sandbox, "busybox")?;
    let bundle = sandbox.path("bundle");
    let image = format!("{}:latest", layout.path.display());
    let umoci = Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle).output();
    let Ok(umoci) = umoci else { return testkit::skip("needs umoci") };
    expect(umoci.status.success(), &String::from_utf8_lossy(&umoci.stderr))?;
    let root = bundle.join("rootfs");
    let output = Command::new("chroot").arg(&root).args(["/bin/sh", "-c", "echo runs"]).output()?;
    assert_eq!(output.stdout, b"runs\n");
    Ok(())
}

pub(crate) fn are_the_same_each_time(sandbox: &Sandbox) -> Outcome {
    let make = |name: &str, seed: &str| -> Result<String, Box<dyn std::error::Error>> {
        let dir = sandbox.path(name);
        std::fs::create_dir(&dir)?;
        let inner = Sandbox { dir, name: String::new() };
        let layout = Layout::random(&inner, seed, 2, 1000, Compression::Gzip)?;
        let manifest = layout.manifest("latest")?;
        assert_ne!(manifest["layers"][0]["digest"], manifest["layers"][1]["digest"]);
        expect(manifest["layers"][0]["size"].as_u64() > Some(1000), "random bytes do not shrink")?;
        layout.digest("latest")
    };
    // Neither when a file was written, nor who may write it besides its owner.
    let layout = Layout::new(sandbox.path("times"))?;
    let mut digests = Vec::new();
    for (name, time, mode) in [("old", 1_000_000_000, 0o600), ("new", 1_700_000_000, 0o666)] {
        let dir = sandbox.path(name);
        std::fs::create_dir(&dir)?;
        let file = std::fs::File::create(dir.join("file"))?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(time))?;
        digests.push(layout.add(name, &Image { layers: &[dir], ..Image::default() })?);
    }
    assert_eq!(digests[0], digests[1]);
    assert_eq!(make("a", "one")?, make("b", "one")?);
    assert_ne!(make("c", "one")?, make("d", "two")?);
    Ok(())
}

pub(crate) fn compressions_and_schema_2(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let types = |name: &str| -> Result<String, Box<dyn std::error::Error>> {
        let manifest: serde_json::Value = serde_json::from_slice(&registry.manifest(name)?)?;
        let layer = &manifest["layers"][0]["mediaType"];
        Ok(format!("{} {}", manifest["mediaType"].as_str().unwrap(), layer.as_str().unwrap()))
    };
    let (manifest, layer) =
        ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.layer.v1.tar");
    for (name, compression, suffix) in [
        ("none", Compression::None, ""),
        ("gzip", Compression::Gzip, "+gzip"),
        ("zstd", Compression::Zstd, "+zstd"),
    ] {
        let layout = Layout::random(sandbox, name, 1, 1000, compression)?;
        registry.push_layout(&layout.path, "latest", &format!("{name}:1"), &[])?;
        assert_eq!(types(&format!("{name}:1"))?, format!("{manifest} {layer}{suffix}"));
        expect(registry.blobs().contains(&layout.digest("latest")?), "the digest stays")?;
    }
    let layout = Layout::random(sandbox, "more", 1, 1000, Compression::Gzip)?;
    registry.push_layout(&layout.path, "latest", "docker:1", &["--format", "v2s2"])?;
    assert_eq!(
        types("docker:1")?,
        "application/vnd.docker.distribution.manifest.v2+json \
         application/vnd.docker.image.rootfs.diff.tar.gzip"
    );
    let layout = Layout::random(sandbox, "plain", 1, 1000, Compression::None)?;
    let extra = ["--dest-compress-format", "zstd"];
    registry.push_layout(&layout.path, "latest", "packed:1", &extra)?;
    assert_eq!(types("packed:1")?, format!("{manifest} {layer}+zstd"));
    Ok(())
}

pub(crate) fn indexes(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = Layout::random(sandbox, "image", 1, 1000, Compression::Gzip)?;
    let arm = Platform { os: "linux", architecture: "arm", variant: "v7" };
    let dir = sandbox.path("arm-root");
    std::fs::create_dir(&dir)?;
    layout.add("arm", &Image { layers: &[dir], platform: arm, ..Image::default() })?;
    let digest = layout.add_index("all", &[("latest", Platform::host()), ("arm", arm)])?;
    registry.push_layout(&layout.path, "all", "image:all", &["--all"])?;
    let index = registry.manifest("image:all")?;
    assert_eq!(index, std::fs::read(layout.blob_path(&digest))?);
    // The platform that is asked for is the one that comes.
    let back = Layout::new(sandbox.path("back"))?;
    let mut skopeo = Command::new("skopeo");
    skopeo.args([
        "--override-arch",
        "arm",
        "--override-variant",
        "v7",
        "--insecure-policy",
        "copy",
    ]);
    skopeo.args(["--src-tls-verify=false", &format!("docker://{}/image:all", registry.address())]);
    let output = skopeo.arg(format!("oci:{}:arm", back.path.display())).output()?;
    expect(output.status.success(), &String::from_utf8_lossy(&output.stderr))?;
    assert_eq!(back.digest("arm")?, layout.digest("arm")?);
    expect(layout.digest("nothing").is_err(), "a tag that is not there")
}
