//! `cp` reaches what a container sees, also when it does not run, and nothing that is read-only.

use testkit::{Outcome, Sandbox, Test};

use crate::copy::{Boxed, listing, ok, shell};
use crate::support::{Docker, finish};

pub const TESTS: &[Test] = &[
    (
        "cp_reaches_a_stopped_container_and_its_volumes",
        cp_reaches_a_stopped_container_and_its_volumes,
    ),
    ("cp_reaches_what_a_running_container_sees", cp_reaches_what_a_running_container_sees),
    ("cp_respects_read_only", cp_respects_read_only),
];

fn cp_reaches_a_stopped_container_and_its_volumes(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let path = |name: &str| sandbox.path(name).display().to_string();
    std::fs::create_dir(sandbox.path("bind"))?;
    std::fs::write(sandbox.path("file"), "text")?;
    let bind = format!("{}:/opt/bind", path("bind"));
    let script = "cat /opt/bind/b /data/d /etc/v /root/r; ls /etc/passwd; echo more > /data/more";
    // The image's own files at the volume's place come first, also when cp is the first to use it.
    let create = [
        "create",
        "--name",
        "box",
        "--network",
        "none",
        "-v",
        &bind,
        "-v",
        "vol:/data",
        "-v",
        "conf:/etc",
    ];
    ok(docker.ran(create.iter().chain(&["busybox", "sh", "-c", script]))?)?;
    let before = docker.footprint()?;
    for to in ["/opt/bind/b", "/data/d", "/etc/v", "/root/r"] {
        ok(docker.ran(["cp", &path("file"), &format!("box:{to}")])?)?;
    }
    ok(docker.ran(["cp", "box:/etc/passwd", &path("passwd")])?)?;
    assert_eq!(std::fs::read_to_string(path("bind/b"))?, "text");
    assert_eq!(std::fs::read_to_string(docker.root.join("volumes/vol/_data/d"))?, "text");
    let after = docker.footprint()?;
    assert_eq!((after.mounts, after.processes), (before.mounts, before.processes));
    let ran = docker.ran(["start", "-a", "box"])?;
    assert_eq!(ran.stdout, "texttexttexttext/etc/passwd\n", "{ran:?}");
    // It has ended.
    ok(docker.ran(["cp", "box:/data/more", &path("more")])?)?;
    assert_eq!(std::fs::read_to_string(path("more"))?, "more\n");
    // Two at once wait for each other.
    let copies: Vec<_> = (0..4)
        .map(|number| docker.command(["cp", &path("file"), &format!("box:/root/{number}")]).spawn())
        .collect::<std::result::Result<_, _>>()?;
    for mut copy in copies {
        assert!(copy.wait()?.success());
    }
    ok(docker.ran(["cp", "box:/root", &path("roots")])?)?;
    assert_eq!(listing(&sandbox.path("roots"))?.len(), 5);
    ok(docker.ran(["rm", "box"])?)?;

    // A folder of the host as root.
    let rootfs = sandbox.busybox_rootfs("folder")?;
    ok(docker.ran([
        "create",
        "--name",
        "box",
        "--network",
        "none",
        "--rootfs",
        rootfs.to_str().unwrap(),
        "sh",
    ])?)?;
    ok(docker.ran(["cp", &path("file"), "box:/tmp/"])?)?;
    assert_eq!(std::fs::read_to_string(rootfs.join("tmp/file"))?, "text");
    ok(docker.ran(["rm", "box"])?)?;
    Ok(())
}

fn cp_reaches_what_a_running_container_sees(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let path = |name: &str| sandbox.path(name).display().to_string();
    let script = "echo mem > /t/file; echo vol > /data/file; mkdir -p /dev/shm/s; echo shm > /dev/shm/s/file";
    let running =
        Boxed::new(&docker, &["-v", "vol:/data", "--tmpfs", "/t", "--hostname", "boxed"], script)?;
    for (from, text) in [
        ("/t/file", "mem\n"),
        ("/data/file", "vol\n"),
        ("/dev/shm/s/file", "shm\n"),
        ("/etc/hostname", "boxed\n"),
    ] {
        ok(docker.ran(["cp", &format!("box:{from}"), &path("got")])?)?;
        assert_eq!(std::fs::read_to_string(path("got"))?, text, "{from}");
    }
    // A file that is mounted is written, not replaced: the container would lose its mount.
    std::fs::write(path("names"), "10.0.0.1 other\n")?;
    ok(docker.ran(["cp", &path("names"), "box:/etc/hosts"])?)?;
    let id = std::fs::read_to_string(docker.root.join("names/box"))?;
    let hosts = docker.run_root.join("containers").join(id).join("hosts");
    assert_eq!(std::fs::read_to_string(hosts)?, "10.0.0.1 other\n");
    ok(docker.ran(["cp", "box:/etc/hosts", &path("got")])?)?;
    assert_eq!(std::fs::read_to_string(path("got"))?, "10.0.0.1 other\n");
    // All of it: with the volumes, without what the kernel makes.
    ok(docker.ran(["cp", "box:/", &path("all")])?)?;
    let all = listing(&sandbox.path("all"))?;
    assert_eq!(all.get("data/file").map(String::as_str), Some("vol\n"));
    assert!(all.contains_key("bin/busybox") && all.contains_key("proc"));
    let none = |folder: &str| !all.keys().any(|path| path.starts_with(folder));
    assert!(none("proc/") && none("sys/") && none("dev/"), "{:?}", all.keys());
    drop(running);
    Ok(())
}

fn cp_respects_read_only(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let path = |name: &str| sandbox.path(name).display().to_string();
    std::fs::create_dir(sandbox.path("bind"))?;
    std::fs::write(sandbox.path("file"), "text")?;
    let bind = format!("{}:/bind:ro", path("bind"));
    let flags = ["--read-only", "-v", &bind, "-v", "vol:/data", "--tmpfs", "/t"];
    let fixed = ["run", "-d", "--name", "box", "--network", "none"];
    ok(docker.ran(fixed.iter().chain(&flags).chain(&["busybox", "sleep", "1000"]))?)?;
    // Running, then stopped.
    for _ in 0..2 {
        for (to, words) in [
            ("/tmp", "container rootfs is marked read-only"),
            ("/new", "container rootfs is marked read-only"),
            ("/bind/", "mounted volume is marked read-only"),
            ("/data/", ""),
        ] {
            let ran = docker.ran(["cp", &path("file"), &format!("box:{to}")])?;
            assert_eq!(ran.code == 0, words.is_empty(), "{to}: {ran:?}");
            assert!(ran.stderr.contains(words), "{to}: {ran:?}");
        }
        let tar = shell("tar -cf a.tar file; echo a.tar", &sandbox.dir)?;
        let input = std::fs::File::open(sandbox.path(tar.trim()))?;
        let ran = finish(docker.command(["cp", "-", "box:/bind"]).stdin(input))?;
        assert!(ran.code == 1 && ran.stderr.contains("marked read-only"), "{ran:?}");
        ok(docker.ran(["rm", "-f", "box"])?)?;
        let fixed = ["create", "--name", "box", "--network", "none"];
        ok(docker.ran(fixed.iter().chain(&flags).chain(&["busybox", "true"]))?)?;
    }
    assert_eq!(listing(&sandbox.path("bind"))?.len(), 0);
    ok(docker.ran(["rm", "box"])?)?;
    Ok(())
}
