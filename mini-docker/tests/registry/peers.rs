//! Other tools on the other side: what they push runs here, what is pushed here runs there.

use std::path::Path;
use std::process::Command;

use testkit::registry::{Layout, Options, Registry};
use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, stdout};
use crate::{done, ran};

pub const TESTS: &[Test] = &[
    ("images_of_buildah_run", images_of_buildah_run),
    ("podman_runs_what_was_pushed", podman_runs_what_was_pushed),
    ("skopeo_and_umoci_unpack_the_same_tree", skopeo_and_umoci_unpack_the_same_tree),
];

/// buildah or podman with everything of theirs in the sandbox.
fn peer(program: &str, sandbox: &Sandbox) -> crate::Result<Command> {
    if Command::new(program).arg("--version").output().is_err() {
        return testkit::skip(format!("needs {program} (Debian: {program})"));
    }
    let conf = sandbox.path("containers.conf");
    // This machine may not raise limits, and podman asks for it by default.
    std::fs::write(
        &conf,
        "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n",
    )?;
    let policy = sandbox.path("home/.config/containers/policy.json");
    std::fs::create_dir_all(policy.parent().unwrap())?;
    std::fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)?;
    let mut command = Command::new(program);
    command.env("CONTAINERS_CONF", conf).env("HOME", sandbox.path("home"));
    command.env("TMPDIR", &sandbox.dir);
    command.arg("--root").arg(sandbox.path("peer/store"));
    command.arg("--runroot").arg(sandbox.path("peer/run"));
    command.args(["--storage-driver", "overlay"]);
    if program == "podman" {
        command.args(["--cgroup-manager=cgroupfs", "--events-backend=file"]);
        command.args(["--runtime", "/usr/sbin/runc"]);
    }
    Ok(command)
}

fn images_of_buildah_run(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let root = sandbox.busybox_rootfs("rootfs")?;
    let file = sandbox.path("Dockerfile");
    std::fs::write(
        &file,
        "FROM scratch\nCOPY . /\nENV WHO=buildah\nCOPY etc/passwd /second\nWORKDIR /srv\nCMD [\"sh\", \"-c\", \"echo $WHO; pwd; cat /second\"]\n",
    )?;
    for format in ["oci", "docker"] {
        let name = format!("{}/built-{format}:1", registry.address());
        let mut build = peer("buildah", sandbox)?;
        build.args(["bud", "--layers", "--isolation", "chroot", "--format", format, "-t", &name]);
        stdout(build.arg("-f").arg(&file).arg(&root))?;
        let mut push = peer("buildah", sandbox)?;
        stdout(push.args(["push", "--tls-verify=false", &name]))?;
        let docker = Docker::new(sandbox);
        done(&docker, sandbox, &["pull", "-q", &name])?;
        let output = done(&docker, sandbox, &["run", "--rm", "--network", "none", &name])?;
        assert_eq!(output, "buildah\n/srv\nroot:x:0:0:root:/root:/bin/sh\n", "{format}");
    }
    let mut clean = peer("buildah", sandbox)?;
    stdout(clean.args(["rmi", "-a", "-f"]))?;
    unmount(sandbox);
    Ok(())
}

/// podman and buildah mount their store on itself and leave it so.
fn unmount(sandbox: &Sandbox) {
    Command::new("umount").arg("-q").arg(sandbox.path("peer/store/overlay")).status().ok();
}

fn podman_runs_what_was_pushed(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let docker = Docker::with_busybox(sandbox)?;
    let name = format!("{}/team/app:1", registry.address());
    done(&docker, sandbox, &["tag", "busybox", &name])?;
    let pushed = done(&docker, sandbox, &["push", &name])?;
    let digest = pushed.lines().last().unwrap().split(' ').nth(2).unwrap().to_owned();
    let mut pull = peer("podman", sandbox)?;
    let id = stdout(pull.args(["pull", "-q", "--tls-verify=false", &name]))?;
    let here = done(&docker, sandbox, &["images", "-q", "--no-trunc", &name])?;
    assert_eq!(here.trim(), format!("sha256:{}", id.trim()), "the image ID is the same");
    let mut inspect = peer("podman", sandbox)?;
    let theirs = stdout(inspect.args(["image", "inspect", "--format", "{{.Digest}}", &name]))?;
    assert_eq!(theirs.trim(), digest);
    let mut run = peer("podman", sandbox)?;
    run.args(["run", "--rm", "--network", "none", "--cgroup-parent", &sandbox.name, &name]);
    assert_eq!(stdout(run.args(["sh", "-c", "echo from $0", "podman"]))?, "from podman\n");
    remove_cgroups(&sandbox.name);
    let mut clean = peer("podman", sandbox)?;
    stdout(clean.args(["rmi", "-a", "-f"]))?;
    unmount(sandbox);
    Ok(())
}

/// podman leaves the parents of its cgroups.
fn remove_cgroups(name: &str) {
    let script = "find /sys/fs/cgroup -depth -type d -path \"*/$0*\" -exec rmdir {} +";
    Command::new("sh").args(["-c", script, name]).status().ok();
}

/// Every path of a tree with its kind, mode, owner, time, and what is in it.
fn listing(dir: &Path) -> crate::Result<String> {
    let script = "cd \"$0\"; find . -mindepth 1 -printf '%P %y %m %U:%G %T@ %l\\n' | sort; \
                  find . -type f -exec sha256sum {} + | sort -k2";
    stdout(Command::new("sh").args(["-c", script]).arg(dir))
}

fn skopeo_and_umoci_unpack_the_same_tree(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    // Links, odd modes and owners, an empty folder, a FIFO, a long name.
    let root = sandbox.busybox_rootfs("rootfs")?;
    let script = "cd \"$0\"; mkdir -p a/b empty; echo x > a/b/file; ln a/b/file a/hard; \
        ln -s ../../nowhere a/b/link; chmod 4755 a/hard; chown 12:34 a/b; mkfifo a/fifo; \
        chmod 1777 tmp; touch a/$(printf 'n%.0s' $(seq 200)); touch -d @1000000000.5 a/b/file";
    stdout(Command::new("sh").args(["-ec", script]).arg(&root))?;
    let tar = sandbox.path("rootfs.tar");
    stdout(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg("."))?;
    let docker = Docker::new(sandbox);
    let name = format!("{}/tree:1", registry.address());
    done(&docker, sandbox, &["import", tar.to_str().unwrap(), &name])?;
    done(&docker, sandbox, &["push", "-q", &name])?;
    let layout = Layout::new(sandbox.path("theirs"))?;
    registry.pull_layout("tree:1", &layout.path, "1", &[])?;
    let bundle = sandbox.path("bundle");
    let image = format!("{}:1", layout.path.display());
    stdout(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle))?;
    // Pulled again, by a store that knows nothing.
    let other = Docker { root: sandbox.path("root2"), run_root: sandbox.path("run2") };
    done(&other, sandbox, &["pull", "-q", &name])?;
    let layers: Vec<_> = std::fs::read_dir(other.root.join("layers"))?
        .flatten()
        .map(|entry| entry.path().join("diff"))
        .filter(|path| path.exists())
        .collect();
    assert_eq!(layers.len(), 1);
    let (ours, theirs) = (listing(&layers[0])?, listing(&bundle.join("rootfs"))?);
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.lines().count(), theirs.lines().count());
    let gone = ran(&other, sandbox, &["pull", &format!("{}/tree:2", registry.address())])?;
    assert_eq!(gone.code, 1);
    Ok(())
}
