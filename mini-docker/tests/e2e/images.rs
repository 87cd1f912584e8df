//! Images that other tools made, and what is told of them.

use std::process::Command;

use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, stdout, transcript};

pub const TESTS: &[Test] = &[
    ("images_of_umoci_and_skopeo_load_and_run", images_of_umoci_and_skopeo_load_and_run),
    ("layers_are_shared_and_written_on_copies", layers_are_shared_and_written_on_copies),
    ("rmi_untags_refuses_and_deletes", rmi_untags_refuses_and_deletes),
    ("a_broken_archive_leaves_nothing", a_broken_archive_leaves_nothing),
    ("a_failed_import_gives_the_name_back", a_failed_import_gives_the_name_back),
    ("rmi_of_nothing_is_no_failure_with_force", rmi_of_nothing_is_no_failure_with_force),
    ("what_a_power_cut_took_is_unpacked_again", what_a_power_cut_took_is_unpacked_again),
];

/// An OCI layout of two layers with entry point, command, environment, user folder and volume.
fn layout(sandbox: &Sandbox) -> crate::support::Result<String> {
    let rootfs = sandbox.busybox_rootfs("made")?;
    let extra = sandbox.path("extra");
    std::fs::create_dir_all(&extra)?;
    std::fs::write(extra.join("note"), "second layer\n")?;
    let layout = sandbox.path("layout").to_string_lossy().into_owned();
    let tagged = format!("{layout}:v1");
    let umoci = |args: &[&str]| stdout(Command::new("umoci").args(args));
    umoci(&["init", "--layout", &layout])?;
    umoci(&["new", "--image", &tagged])?;
    umoci(&["insert", "--image", &tagged, rootfs.to_str().unwrap(), "/"])?;
    umoci(&["insert", "--image", &tagged, extra.to_str().unwrap(), "/srv"])?;
    umoci(&[
        "config",
        "--image",
        &tagged,
        "--config.entrypoint",
        "echo",
        "--config.cmd",
        "default",
        "--config.env",
        "WHO=umoci",
        "--config.workingdir",
        "/srv",
        "--config.volume",
        "/data",
    ])?;
    Ok(layout)
}

fn images_of_umoci_and_skopeo_load_and_run(sandbox: &Sandbox) -> Outcome {
    let layout = layout(sandbox)?;
    let archive = sandbox.path("archive.tar");
    let target = format!("docker-archive:{}:example/app:v2", archive.display());
    stdout(Command::new("skopeo").args(["copy", "-q", &format!("oci:{layout}:v1"), &target]))?;
    let docker = Docker::new(sandbox);
    let ran = docker.ran(["load", "-i", &layout, "--name", "app:v1"])?;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Loaded image: app:v1\n"), "{ran:?}");
    let ran = docker.ran(["load", "-i", archive.to_str().unwrap()])?;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Loaded image: example/app:v2\n"), "{ran:?}");
    // And through a pipe, compressed.
    let gzip = stdout(Command::new("gzip").arg("-k").arg(&archive));
    gzip?;
    let mut piped = docker.command(["load"]);
    piped.stdin(std::fs::File::open(sandbox.path("archive.tar.gz"))?);
    assert_eq!(stdout(&mut piped)?, "Loaded image: example/app:v2\n");
    for image in ["app:v1", "example/app:v2"] {
        let run = ["run", "--rm", "--network", "none"];
        assert_eq!(docker.ran(run.iter().chain(&[image]))?.stdout, "default\n");
        assert_eq!(docker.ran(run.iter().chain(&[image, "given"]))?.stdout, "given\n");
        let script = "pwd; cat note; echo $WHO; touch /data/x && grep -c ' /data ' /proc/mounts";
        let ran = docker.ran(run.iter().chain(&["--entrypoint", "sh", image, "-c", script]))?;
        assert_eq!(ran.stdout, "/srv\nsecond layer\numoci\n1\n", "{ran:?}");
    }
    assert_eq!(docker.ran(["volume", "ls", "-q"])?.stdout, "", "anonymous volumes go with --rm");
    // The image of the layout and that of the archive have the same config: one image, two names.
    let ids = docker.ran(["images", "-q", "--no-trunc"])?.stdout;
    let inspected = stdout(Command::new("skopeo").args([
        "inspect",
        "--config",
        "--raw",
        &format!("oci:{layout}:v1"),
    ]))?;
    let digest = stdout(Command::new("sh").args([
        "-c",
        "printf %s \"$0\" | sha256sum | cut -d' ' -f1",
        &inspected,
    ]))?;
    assert!(ids.contains(digest.trim()), "{ids} {digest}");
    Ok(())
}

fn layers_are_shared_and_written_on_copies(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let first = docker.ran([
        "run",
        "--name",
        "first",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "echo mine > /etc/passwd; rm /etc/group; ls /etc",
    ])?;
    assert_eq!(first.stdout, "hostname\nhosts\npasswd\nresolv.conf\n");
    let second = docker.sh(&[], "cat /etc/passwd; test -e /etc/group && echo there")?;
    assert_eq!(second.stdout, "root:x:0:0:root:/root:/bin/sh\nthere\n");
    assert_eq!(
        docker.ran(["start", "-a", "first"])?.stdout,
        "hostname\nhosts\npasswd\nresolv.conf\n"
    );
    let layers = std::fs::read_dir(docker.root.join("layers"))?
        .flatten()
        .filter(|entry| entry.file_name().len() == 64)
        .count();
    assert_eq!(layers, 1, "two containers, one layer");
    Ok(())
}

fn rmi_untags_refuses_and_deletes(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    assert_eq!(docker.ran(["tag", "busybox", "other:1"])?.code, 0);
    assert_eq!(
        docker.ran(["run", "--name", "user", "--network", "none", "busybox", "true"])?.code,
        0
    );
    let mut text = String::new();
    for arguments in [
        &["rmi", "other:1"][..],
        &["rmi", "busybox"],
        &["rm", "user"],
        &["rmi", "busybox"],
        &["images"],
    ] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{64}", "[DIGEST]");
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[ID]");
    settings.bind(|| insta::assert_snapshot!(text));
    let left: Vec<_> = std::fs::read_dir(docker.root.join("layers"))?
        .flatten()
        .filter(|entry| entry.file_name().len() == 64)
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(std::fs::read_dir(docker.root.join("images/blobs/sha256"))?.count(), 0);
    Ok(())
}

fn a_broken_archive_leaves_nothing(sandbox: &Sandbox) -> Outcome {
    let layout = layout(sandbox)?;
    let docker = Docker::new(sandbox);
    assert_eq!(docker.ran(["images"])?.code, 0);
    let before = docker.footprint()?;
    // One byte of the largest blob, the first layer, is another.
    let blobs = std::path::Path::new(&layout).join("blobs/sha256");
    let mut files: Vec<_> = std::fs::read_dir(blobs)?.flatten().map(|entry| entry.path()).collect();
    files.sort_by_key(|path| std::fs::metadata(path).map_or(0, |metadata| metadata.len()));
    let largest = files.pop().unwrap();
    let mut bytes = std::fs::read(&largest)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&largest, bytes)?;
    let ran = docker.ran(["load", "-i", &layout, "--name", "app"])?;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("sha256:"), "{ran:?}");
    docker.footprint()?.same_as(&before)?;
    assert_eq!(docker.ran(["images", "-q"])?.stdout, "");
    Ok(())
}

fn what_a_power_cut_took_is_unpacked_again(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let name = ["--name", "old", "--network", "none"];
    let ran = docker.ran([&["create"][..], &name, &["busybox", "cat", "/etc/passwd"]].concat())?;
    assert_eq!(ran.code, 0, "{ran:?}");
    // As if the machine had gone down before the disk had all of it, and this were the boot after that.
    let power_cut = || -> Outcome {
        for layer in std::fs::read_dir(docker.root.join("layers"))?.flatten() {
            let mark = layer.path().join("unsynced");
            if mark.symlink_metadata().is_ok() {
                std::fs::remove_file(&mark)?;
                std::os::unix::fs::symlink("another-boot", &mark)?;
                std::fs::write(layer.path().join("diff/etc/passwd"), "")?;
            }
        }
        Ok(())
    };
    power_cut()?;
    assert_eq!(docker.ran(["start", "-a", "old"])?.stdout, "root:x:0:0:root:/root:/bin/sh\n");
    power_cut()?;
    assert_eq!(docker.sh(&[], "cat /etc/passwd")?.stdout, "root:x:0:0:root:/root:/bin/sh\n");
    Ok(())
}

fn a_failed_import_gives_the_name_back(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let before = docker.ran(["images", "--no-trunc", "-q", "busybox"])?.stdout;
    // It reads as a tar, and does not unpack: the name leads out.
    let outside = sandbox.path("outside");
    std::fs::write(&outside, "x")?;
    let tar = sandbox.path("bad.tar");
    let mut make = Command::new("tar");
    make.arg("-C").arg(sandbox.path("root")).args(["-Pcf"]).arg(&tar).arg("../outside");
    stdout(&mut make)?;
    let ran = docker.ran(["import", tar.to_str().unwrap(), "busybox"])?;
    assert_eq!(ran.code, 1, "{ran:?}");
    let after = docker.ran(["images", "--no-trunc", "-q", "busybox"])?.stdout;
    assert_eq!((after.lines().count(), after), (1, before));
    assert_eq!(docker.sh(&[], "echo x")?.stdout, "x\n");
    Ok(())
}

fn rmi_of_nothing_is_no_failure_with_force(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    assert_eq!(docker.ran(["rmi", "nosuch"])?.code, 1);
    let forced = docker.ran(["rmi", "--force=true", "nosuch"])?;
    assert_eq!(forced.code, 0, "{forced:?}");
    assert!(forced.stderr.contains("no such image: nosuch"), "{forced:?}");
    Ok(())
}
