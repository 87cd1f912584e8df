//! Images and containers as archives: `save`, `export`, `commit`, and what `image prune` leaves.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Ran, Result, finish, stdout, transcript, wait_until};

pub const TESTS: &[Test] = &[
    ("saved_images_come_back_the_same", saved_images_come_back_the_same),
    ("a_save_that_fails_leaves_nothing", a_save_that_fails_leaves_nothing),
    ("podman_loads_and_runs_what_was_saved", podman_loads_and_runs_what_was_saved),
    ("an_exported_container_is_the_same_tree", an_exported_container_is_the_same_tree),
    ("export_of_a_running_container_stays_inside", export_of_a_running_container_stays_inside),
    ("commit_keeps_files_and_settings", commit_keeps_files_and_settings),
    ("commit_pauses_and_a_kill_thaws", commit_pauses_and_a_kill_thaws),
    ("a_rootfs_container_is_one_layer", a_rootfs_container_is_one_layer),
    ("prune_frees_what_it_says", prune_frees_what_it_says),
    ("prune_spares_what_containers_use", prune_spares_what_containers_use),
];

fn shell(script: &str, dir: &Path) -> Result<String> {
    stdout(Command::new("sh").args(["-euc", script]).current_dir(dir))
}

fn ok(ran: Ran) -> Result<String> {
    if ran.code == 0 { Ok(ran.stdout) } else { Err(format!("{ran:?}").into()) }
}

fn inspected(docker: &Docker, image: &str) -> Result<serde_json::Value> {
    let config = stdout(
        Command::new("skopeo")
            .args(["inspect", "--config", "--raw"])
            .arg(format!("oci:{}:{image}", docker.root.join("images").display())),
    )?;
    Ok(serde_json::from_str(&config)?)
}

/// A second engine in the same sandbox.
fn other(sandbox: &Sandbox) -> Docker {
    Docker { root: sandbox.path("root2"), run_root: sandbox.path("run2") }
}

/// Starts a container that prints `ready` when its script has come so far, and waits for that.
fn background<'d>(
    docker: &'d Docker,
    name: &'static str,
    flags: &[&str],
    script: &str,
) -> Result<Running<'d>> {
    let fixed = ["run", "--name", name, "--network", "none"];
    let mut command =
        docker.command(fixed.iter().chain(flags).chain(&["busybox", "sh", "-c", script]));
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(child.stdout.take().unwrap()),
        &mut line,
    )?;
    let running = Running { docker, name, child };
    assert_eq!(line, "ready\n");
    Ok(running)
}

/// A container in the background. It goes with this value: a test that fails must not leave it, least of all frozen.
struct Running<'d> {
    docker: &'d Docker,
    name: &'static str,
    child: std::process::Child,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.docker.ran(["rm", "-f", self.name]).ok();
        self.child.wait().ok();
    }
}

fn saved_images_come_back_the_same(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    ok(docker.ran(["tag", "busybox", "busybox:2"])?)?;
    ok(docker.ran(["tag", "busybox", "other:1"])?)?;
    // To a file and through a pipe: the same bytes.
    ok(docker.ran(["save", "-o", sandbox.path("a.tar").to_str().unwrap(), "busybox"])?)?;
    let mut save = docker.command(["image", "save", "busybox"]);
    let out = std::fs::File::create(sandbox.path("b.tar"))?;
    assert!(save.stdout(out).status()?.success());
    shell("cmp a.tar b.tar; test $(stat -c %a a.tar) = 600", &sandbox.dir)?;
    let ids = ok(docker.ran(["images", "-q", "--no-trunc", "--digests", "busybox:2"])?)?;

    let second = other(sandbox);
    let loaded = ok(second.ran(["load", "-i", sandbox.path("a.tar").to_str().unwrap()])?)?;
    assert_eq!(loaded, "Loaded image: busybox:latest\nLoaded image: busybox:2\n");
    let shown = ["images", "-q", "--no-trunc", "--digests", "busybox:2"];
    assert_eq!(ok(second.ran(shown)?)?, ids);
    let ran = second.ran(["run", "--rm", "--network", "none", "busybox:2", "echo", "there"])?;
    assert_eq!(ran.stdout, "there\n");
    // By its ID it has no name.
    let id = ids.trim();
    ok(docker.ran(["save", "-o", sandbox.path("c.tar").to_str().unwrap(), &id[7..19]])?)?;
    let third = Docker { root: sandbox.path("root3"), run_root: sandbox.path("run3") };
    let loaded = ok(third.ran(["load", "-i", sandbox.path("c.tar").to_str().unwrap()])?)?;
    assert_eq!(loaded, format!("Loaded image ID: {id}\n"));
    Ok(())
}

fn a_save_that_fails_leaves_nothing(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let folder = sandbox.path("out");
    std::fs::create_dir(&folder)?;
    let small = sandbox.path("small");
    std::fs::create_dir(&small)?;
    shell("mount -t tmpfs -o size=64k none small; echo old > out/kept.tar", &sandbox.dir)?;
    let path = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    let mut text = String::new();
    for arguments in [
        &["save", "-o", &path("small/x.tar"), "busybox"][..],
        &["save", "-o", "/dev/full", "busybox"],
        &["save", "-o", &path("out/kept.tar"), "busybox", "nosuch"],
        &["save", "-o", &path("out"), "busybox"],
        &["save", "-o", &path("nosuch/x.tar"), "busybox"],
        &["save"],
        &["export", "nosuch"],
        &["commit", "nosuch", "name"],
        &["image", "prune", "--filter", "size=1"],
    ] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    // A terminal is no place for an archive: script(1) gives it one.
    let binary = env!("CARGO_BIN_EXE_mini-docker");
    for verb in ["save busybox", "export none"] {
        let roots = format!("--root {} --run-root {}", path("root"), path("run"));
        let typed = format!("{binary} {roots} {verb}");
        let script = Command::new("script").args(["-qec", &typed, "/dev/null"]).output()?;
        text.push_str(&format!("$ mini-docker {verb}   (to a terminal)\n"));
        text.push_str(&String::from_utf8_lossy(&script.stdout).replace('\r', ""));
    }
    // A layer with another byte in it.
    let blobs = docker.root.join("images/blobs/sha256");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&blobs)?.flatten().map(|e| e.path()).collect();
    files.sort_by_key(|path| std::fs::metadata(path).map_or(0, |metadata| metadata.len()));
    let largest = files.last().unwrap();
    let mut bytes = std::fs::read(largest)?;
    bytes[600] ^= 1;
    std::fs::write(largest, bytes)?;
    text.push_str(&transcript(
        &docker,
        sandbox,
        &["save", "-o", &path("out/kept.tar"), "busybox"],
    )?);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{64}", "[DIGEST]");
    settings.bind(|| insta::assert_snapshot!(text));
    assert_eq!(std::fs::read_to_string(folder.join("kept.tar"))?, "old\n");
    assert_eq!((std::fs::read_dir(&folder)?.count(), std::fs::read_dir(&small)?.count()), (1, 0));

    // Killed while it writes: there is no file yet, by any name.
    shell("umount small; mkfifo gate", &sandbox.dir)?;
    let docker = other(sandbox);
    let big = sandbox.path("big");
    std::fs::create_dir(&big)?;
    std::fs::File::create(big.join("file"))?.set_len(256 << 20)?;
    shell("tar -C big -cf big.tar .", &sandbox.dir)?;
    ok(docker.ran(["import", &path("big.tar"), "big"])?)?;
    for signal in ["INT", "KILL"] {
        let mut save = docker.command(["save", "-o", &path("out/big.tar"), "big"]).spawn()?;
        let written = format!("/proc/{}/io", save.id());
        wait_until("the archive grows", || {
            let io = std::fs::read_to_string(&written)?;
            let wchar = io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap_or("0");
            Ok(wchar.parse::<u64>()? > 1 << 20)
        })?;
        shell(&format!("kill -{signal} {}", save.id()), &sandbox.dir)?;
        assert!(!save.wait()?.success());
        assert_eq!(std::fs::read_dir(&folder)?.count(), 1, "after SIG{signal}");
    }
    // Nobody reads on: no words.
    let pipe = format!("{{ {binary} save big; echo $? >&2; }} | head -c 1000000 | wc -c");
    let mut piped = Command::new("sh");
    piped.args(["-c", &pipe]).env("MINI_DOCKER_ROOT", &docker.root);
    let ran = finish(piped.env("MINI_DOCKER_RUN_ROOT", &docker.run_root))?;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("1000000\n", "141\n"));
    Ok(())
}

fn podman_loads_and_runs_what_was_saved(sandbox: &Sandbox) -> Outcome {
    if !Path::new("/usr/bin/podman").exists() {
        return testkit::skip("needs podman (Debian: podman)");
    }
    let docker = Docker::with_busybox(sandbox)?;
    ok(docker.ran(["tag", "busybox", "second:v1"])?)?;
    let archive = sandbox.path("a.tar");
    ok(docker.ran(["save", "-o", archive.to_str().unwrap(), "busybox", "second:v1"])?)?;
    let limits = "[containers]\ndefault_ulimits = [\"nofile=4096:4096\",\"nproc=4096:4096\"]\n";
    std::fs::write(sandbox.path("containers.conf"), limits)?;
    let policy = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
    std::fs::write(sandbox.path("policy.json"), policy)?;
    let podman = |arguments: &[&str]| {
        let mut command = Command::new("podman");
        command.env("CONTAINERS_CONF", sandbox.path("containers.conf"));
        command.env("TMPDIR", &sandbox.dir);
        command.arg("--root").arg(sandbox.path("store")).arg("--runroot").arg(sandbox.path("prun"));
        command.args(["--storage-driver", "overlay", "--cgroup-manager=cgroupfs"]);
        command.args(["--events-backend=file", "--runtime", "/usr/sbin/runc"]);
        stdout(command.args(arguments))
    };
    let policy = sandbox.path("policy.json");
    let policy = policy.to_str().unwrap();
    podman(&["load", "--signature-policy", policy, "-i", archive.to_str().unwrap()])?;
    let names = podman(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?;
    assert_eq!(names, "localhost/second:v1\nlocalhost/busybox:latest\n");
    let id = podman(&["images", "-q", "--no-trunc", "second:v1"])?;
    let ours = ok(docker.ran(["images", "-q", "--no-trunc", "second:v1"])?)?;
    assert_eq!(id.trim(), ours.trim());
    let ran = podman(&["run", "--rm", "--network=none", "second:v1", "echo", "from podman"])?;
    assert_eq!(ran, "from podman\n");
    // One image alone it takes for an image layout, with its whole name.
    ok(docker.ran(["save", "-o", archive.to_str().unwrap(), "busybox:latest"])?)?;
    let loaded =
        podman(&["load", "--signature-policy", policy, "-q", "-i", archive.to_str().unwrap()])?;
    assert_eq!(loaded, "Loaded image: docker.io/library/busybox:latest\n");
    // It keeps its store mounted.
    shell(
        "umount -l store/overlay 2>/dev/null || true; umount -l store 2>/dev/null || true",
        &sandbox.dir,
    )?;
    Ok(())
}

/// Everything that tar(5) can say about the files below a folder.
fn listing(folder: &Path) -> Result<String> {
    let script = "find . -printf '%p %y %m %U:%G %s %n %T@ %l\\n' | grep -v '^\\. ' |
                  sed -E '/ d /s/ [0-9]+ [0-9]+ ([0-9.]+) $/ \\1/' | LC_ALL=C sort
                  find . -type f -exec sha256sum {} + | LC_ALL=C sort -k2
                  getfattr -R -h -d -m - . 2>/dev/null | LC_ALL=C sort || true";
    shell(script, folder)
}

fn an_exported_container_is_the_same_tree(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script =
        "mkdir -p /data/dir /etc/conf.d; echo text > /data/dir/file; chmod 4711 /data/dir/file
        ln -s /etc/passwd /data/link; ln -s ../../../../../etc/shadow /data/out
        ln /data/dir/file /data/hard; mkfifo -m 600 /data/fifo; mknod /data/null c 1 3
        chown 12:34 /data/dir; chmod 1777 /data; touch -d '2001-02-03 04:05:06' /data/dir/file
        rm /etc/group; rm -r /root; printf '%0200d' 0 > /data/$(printf '%0150d' 0)";
    let flags = ["run", "--name", "made", "--network", "none", "-v", "/vol", "-v", "named:/n"];
    let tmpfs = ["--tmpfs", "/t", "busybox", "sh", "-c", script];
    ok(docker.ran(flags.iter().chain(&tmpfs))?)?;
    let before = docker.footprint()?;
    ok(docker.ran(["export", "-o", sandbox.path("a.tar").to_str().unwrap(), "made"])?)?;
    let mut export = docker.command(["container", "export", "made"]);
    let out = std::fs::File::create(sandbox.path("b.tar"))?;
    assert!(export.stdout(out).status()?.success());
    docker.footprint()?.same_as(&before)?;
    shell(
        "cmp a.tar b.tar; test $(stat -c %a a.tar) = 600; mkdir x; tar -C x -xpf a.tar",
        &sandbox.dir,
    )?;
    let names = shell("cd x; find . | grep -vE '^./(bin|data)' | LC_ALL=C sort", &sandbox.dir)?;
    insta::assert_snapshot!(names);
    let data = shell(
        "cd x/data; find . -printf '%P %y %m %U:%G %s %n %l\\n' | LC_ALL=C sort",
        &sandbox.dir,
    )?;
    assert!(data.contains("dir/file f 4711 0:0 5 2 \n"), "{data}");
    assert!(data.contains("out l 777 0:0 25 1 ../../../../../etc/shadow\n"), "{data}");
    assert!(data.contains("fifo p 600") && data.contains("null c"), "{data}");
    assert!(data.contains("dir d 755 12:34"), "{data}");

    // Imported and exported again, never started: the same tree.
    ok(docker.ran(["import", sandbox.path("a.tar").to_str().unwrap(), "again"])?)?;
    ok(docker.ran(["create", "--name", "second", "--network", "none", "again", "sh"])?)?;
    ok(docker.ran(["export", "-o", sandbox.path("c.tar").to_str().unwrap(), "second"])?)?;
    shell("mkdir y; tar -C y -xpf c.tar", &sandbox.dir)?;
    assert_eq!(listing(&sandbox.path("x"))?, listing(&sandbox.path("y"))?);
    Ok(())
}

fn export_of_a_running_container_stays_inside(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    std::fs::create_dir(sandbox.path("host"))?;
    std::fs::write(sandbox.path("host/secret"), "of the host")?;
    let volume = format!("{}:/vol", sandbox.path("host").display());
    let writes = "echo kept > /file; mkdir /busy; echo ready
        i=0; while :; do i=$((i+1)); echo $i > /busy/$((i%50)); rm -f /busy/$(((i+7)%50)); done";
    let running = background(&docker, "busy", &["-v", &volume], writes)?;
    let before = std::fs::read_link("/proc/self/ns/mnt")?;
    for _ in 0..5 {
        ok(docker.ran(["export", "-o", sandbox.path("a.tar").to_str().unwrap(), "busy"])?)?;
    }
    assert_eq!(std::fs::read_link("/proc/self/ns/mnt")?, before);
    let names = shell("tar -tf a.tar | grep -vE '^\\./?$|^bin/.|^busy/.'", &sandbox.dir)?;
    insta::assert_snapshot!(names);
    assert_eq!(shell("tar -xOf a.tar file", &sandbox.dir)?, "kept\n");
    let same = ok(docker.ran(["ps", "-q"])?)?;
    assert_eq!(same.lines().count(), 1, "it still runs");
    drop(running);
    assert_eq!(ok(docker.ran(["ps", "-aq"])?)?, "");
    Ok(())
}

fn commit_keeps_files_and_settings(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // Fields that OCI does not know, in the base's config.
    let made = r#"{"Healthcheck": {"Test": ["CMD", "true"]}, "OnBuild": ["RUN x"]}"#;
    shell(
        &format!(
            "mkdir x; tar -cf /dev/null --files-from /dev/null; skopeo copy -q oci:root/images:busybox:latest docker-archive:d.tar:base:1
             cd x; tar -xf ../d.tar; old=$(ls *.json | grep -v manifest); python3 - $old <<'E'
import hashlib, json, sys
config = json.load(open(sys.argv[1])); config['config'].update(json.loads('''{made}'''))
text = json.dumps(config).encode(); name = hashlib.sha256(text).hexdigest() + '.json'
open(name, 'wb').write(text)
manifest = json.load(open('manifest.json')); manifest[0]['Config'] = name
json.dump(manifest, open('manifest.json', 'w'))
E"
        ),
        &sandbox.dir,
    )?;
    ok(docker.ran(["load", "-i", sandbox.path("x").to_str().unwrap()])?)?;
    let script = "echo new > /etc/new; rm /etc/group; echo x > /vol/in-volume; echo y > /tmp/file";
    let flags = ["--name", "made", "--network", "none", "-v", "/vol", "--tmpfs", "/t", "-e", "A=1"];
    let more =
        ["-u", "0", "-w", "/etc", "-l", "k=v", "--expose", "99", "base:1", "sh", "-c", script];
    ok(docker.ran(["run"].iter().chain(&flags).chain(&more))?)?;
    let before = docker.footprint()?;
    let id = ok(docker.ran([
        "commit",
        "-a",
        "Alice",
        "-m",
        "as it was",
        "-c",
        "ENV B=2",
        "-c",
        "CMD [\"cat\", \"new\"]",
        "made",
        "made:1",
    ])?)?;
    assert!(id.starts_with("sha256:") && id.len() == 72, "{id}");
    let ran = docker.ran(["run", "--rm", "--network", "none", "made:1"])?;
    assert_eq!(ran.stdout, "new\n", "{ran:?}");
    let script = "echo $A $B; ls -A /vol /t; cat /tmp/file; test -e /etc/group || echo gone";
    let ran = docker.ran(["run", "--rm", "--network", "none", "made:1", "sh", "-c", script])?;
    assert_eq!(ran.stdout, "1 2\n/t:\n\n/vol:\ny\ngone\n", "{ran:?}");
    let mut config = inspected(&docker, "made:1")?;
    let time = config["created"].clone();
    assert_eq!(config["history"][1]["created"], time);
    config["created"] = "[TIME]".into();
    config["history"][0]["created"] = "[TIME]".into();
    config["history"][1]["created"] = "[TIME]".into();
    config["rootfs"]["diff_ids"] = config["rootfs"]["diff_ids"].as_array().unwrap().len().into();
    insta::assert_snapshot!(serde_json::to_string_pretty(&config)?);
    // What the runtime mounts is not in the layer.
    let blob = shell("skopeo inspect --raw oci:root/images:made:1", &sandbox.dir)?;
    let manifest: serde_json::Value = serde_json::from_str(&blob)?;
    let digest = manifest["layers"][1]["digest"].as_str().unwrap().trim_start_matches("sha256:");
    let names = shell(&format!("tar -tf root/images/blobs/sha256/{digest}"), &sandbox.dir)?;
    assert_eq!(names, "./\netc/\netc/.wh.group\netc/new\nt/\ntmp/\ntmp/file\nvol/\n");

    // Without a name; and one that nothing was written in has the base's layers only.
    ok(docker.ran(["create", "--name", "idle", "made:1"])?)?;
    let id = ok(docker.ran(["container", "commit", "idle"])?)?;
    ok(docker.ran(["tag", id.trim(), "idle:1"])?)?;
    let config = inspected(&docker, "idle:1")?;
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
    assert_eq!(config["history"][2]["empty_layer"], true);

    ok(docker.ran(["rm", "-v", "idle"])?)?;
    ok(docker.ran(["rmi", "idle:1"])?)?;
    ok(docker.ran(["rmi", "made:1"])?)?;
    docker.footprint()?.same_as(&before)?;
    Ok(())
}

/// The pids of a container's processes that stand still.
fn frozen(docker: &Docker) -> Result<bool> {
    let id = std::fs::read_to_string(docker.root.join("id"))?;
    let states = stdout(Command::new("sh").args([
        "-c",
        &format!(
            "cat /sys/fs/cgroup/freezer/mini-docker-{id}/*/freezer.state 2>/dev/null ||
             cat /sys/fs/cgroup/mini-docker-{id}/*/cgroup.freeze"
        ),
    ]))?;
    Ok(states.lines().any(|state| matches!(state, "FROZEN" | "FREEZING" | "1")))
}

fn commit_pauses_and_a_kill_thaws(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // Two files that the container always writes in this order: in the image the second is never ahead.
    let script = "dd if=/dev/zero of=/big bs=1M count=60 2>/dev/null; echo ready
        i=0; while :; do i=$((i+1)); echo $i > /one; echo $i > /two; done";
    let running = background(&docker, "busy", &[], script)?;
    for at in 0..2 {
        ok(docker.ran(["commit", "busy", &format!("at:{at}")])?)?;
        assert!(!frozen(&docker)?, "it runs on");
        let show = ["run", "--rm", "--network", "none", &format!("at:{at}"), "cat", "/one", "/two"];
        let shown = ok(docker.ran(show)?)?;
        let numbers: Vec<i64> = shown.lines().map_while(|line| line.parse().ok()).collect();
        // A file may be empty at the moment between open and write.
        if let [one, two] = numbers[..] {
            assert!((0..=1).contains(&(one - two)), "{shown}");
        }
    }
    // Killed while the container stands still: it runs on, and nothing of the image is there.
    let mut seen = false;
    let images = ok(docker.ran(["images", "-q"])?)?;
    for _ in 0..8 {
        let mut commit = docker.command(["commit", "busy", "never:1"]).spawn()?;
        while !frozen(&docker)? && commit.try_wait()?.is_none() {}
        seen |= frozen(&docker)?;
        commit.kill()?;
        let done = commit.wait()?.success();
        wait_until("the container runs on", || Ok(!frozen(&docker)?))?;
        if done {
            ok(docker.ran(["rmi", "never:1"])?)?;
        }
    }
    assert!(seen, "no kill came while it stood still");
    assert_eq!(ok(docker.ran(["images", "-q"])?)?, images);
    ok(docker.ran(["image", "prune", "-f"])?)?;
    assert_eq!(std::fs::read_dir(docker.root.join("images/tmp"))?.count(), 0);
    // Without a pause it works as long as no file shrinks meanwhile; whatever comes, it runs on.
    docker.ran(["commit", "--pause=false", "busy", "unpaused"])?;
    assert!(!frozen(&docker)?);
    drop(running);
    assert_eq!(ok(docker.ran(["ps", "-aq"])?)?, "");
    Ok(())
}

fn a_rootfs_container_is_one_layer(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::new(sandbox);
    let root = sandbox.busybox_rootfs("tree")?;
    let tree = root.to_str().unwrap();
    let run = ["run", "--name", "plain", "--network", "none", "--rootfs", "-e", "A=1", tree];
    ok(docker.ran(run.iter().chain(&["sh", "-c", "echo here > /file"]))?)?;
    ok(docker.ran(["export", "-o", sandbox.path("a.tar").to_str().unwrap(), "plain"])?)?;
    assert_eq!(shell("tar -xOf a.tar file", &sandbox.dir)?, "here\n");
    ok(docker.ran(["commit", "-c", "CMD [\"cat\", \"/file\"]", "plain", "committed"])?)?;
    let ran = docker.ran(["run", "--rm", "--network", "none", "committed"])?;
    assert_eq!(ran.stdout, "here\n", "{ran:?}");
    let config = inspected(&docker, "committed:latest")?;
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
    assert_eq!(config["config"]["Env"], serde_json::json!(["A=1"]));
    Ok(())
}

fn disk_usage(folder: &Path) -> Result<u64> {
    let text = stdout(Command::new("du").args(["-s", "--block-size=1"]).arg(folder))?;
    Ok(text.split('\t').next().unwrap_or_default().parse()?)
}

/// The number behind `Total reclaimed space: `, in bytes.
fn reclaimed(text: &str) -> Result<f64> {
    let size = text.lines().last().unwrap_or_default().rsplit(' ').next().unwrap_or_default();
    let unit = size.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let factor = match unit {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        other => return Err(format!("unit {other} in {text}").into()),
    };
    Ok(size[..size.len() - unit.len()].parse::<f64>()? * factor)
}

fn prune_frees_what_it_says(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    shell(
        "mkdir one two; head -c 3000000 /dev/urandom > one/f; head -c 5000000 /dev/urandom > two/f
         tar -C one -cf one.tar .; tar -C two -cf two.tar .",
        &sandbox.dir,
    )?;
    let path = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    // The second takes the name of the first; what killed commands left lies beside them.
    ok(docker.ran(["import", &path("one.tar"), "app"])?)?;
    ok(docker.ran(["import", "-c", "LABEL keep=1", &path("two.tar"), "app"])?)?;
    let spool = docker.root.join("images/tmp/dead");
    std::fs::create_dir(&spool)?;
    std::fs::write(spool.join("blob"), vec![7; 2_000_000])?;
    let unpacked = docker.root.join("layers").join("0".repeat(64));
    std::fs::create_dir_all(unpacked.join("diff"))?;
    std::fs::write(unpacked.join("diff/file"), vec![7; 1_000_000])?;

    // Asked, and not answered.
    let refused = docker.ran(["image", "prune"])?;
    assert_eq!((refused.code, refused.stdout.as_str()), (0, ""));
    let mut text = refused.stderr + "\n";
    text += &docker.ran(["image", "prune", "-a"])?.stderr;
    text.push('\n');

    let mut before = disk_usage(&docker.root)?;
    let kinds: [(&[&str], f64); 5] = [
        (&["--filter", "until=24h"], 3e6),
        (&["--filter", "label=keep"], 0.0),
        (&[], 6e6),
        (&["-a", "--filter", "label!=keep"], 1e6),
        (&["-a"], 10e6),
    ];
    for (flags, least) in kinds {
        let pruned = ok(docker.ran(["image", "prune", "-f"].iter().chain(flags))?)?;
        let now = disk_usage(&docker.root)?;
        let (freed, said) = ((before - now) as f64, reclaimed(&pruned)?);
        // Three digits are said; index.json may take a block more or less.
        assert!((freed - said).abs() <= said * 0.006 + 8192.0, "{flags:?}: {freed} {said}");
        assert!(said >= least, "{flags:?}: {pruned}");
        before = now;
        text += &format!("$ mini-docker image prune -f {}\n{pruned}", flags.join(" "));
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{64}", "[DIGEST]");
    settings.add_filter(r"space: [1-9][\d.]*", "space: [SIZE]");
    settings.bind(|| insta::assert_snapshot!(text));
    assert_eq!(std::fs::read_dir(docker.root.join("images/blobs/sha256"))?.count(), 0);
    assert_eq!(ok(docker.ran(["images", "-q"])?)?, "");
    Ok(())
}

fn prune_spares_what_containers_use(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let run = ["run", "--network", "none", "--name"];
    ok(docker.ran(run.iter().chain(&["exited", "busybox", "touch", "/x"]))?)?;
    ok(docker.ran(["commit", "exited", "app"])?)?;
    ok(docker.ran(run.iter().chain(&["user", "app", "true"]))?)?;
    // The image loses its name: dangling, and in use.
    ok(docker.ran(["commit", "-m", "newer", "exited", "app"])?)?;
    let images = ok(docker.ran(["images", "-q"])?)?;
    let pruned = ok(docker.ran(["image", "prune", "-f"])?)?;
    assert_eq!(pruned, "Total reclaimed space: 0B\n");
    assert_eq!(ok(docker.ran(["images", "-q"])?)?, images);
    let pruned = ok(docker.ran(["image", "prune", "-af"])?)?;
    assert!(
        pruned.starts_with("Deleted Images:\nuntagged: app:latest\ndeleted: sha256:"),
        "{pruned}"
    );
    assert_eq!(ok(docker.ran(["images", "-q"])?)?.lines().count(), 2);
    ok(docker.ran(["start", "user"])?)?;
    // A record that cannot be read may need any image.
    let containers = docker.root.join("containers");
    let id = std::fs::read_dir(containers)?.flatten().next().unwrap().path();
    let record = id.join("record.json");
    let bytes = std::fs::read(&record)?;
    std::fs::write(&record, "{")?;
    let ran = docker.ran(["image", "prune", "-af"])?;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("nobody knows which image it needs"), "{ran:?}");
    std::fs::write(&record, bytes)?;
    ok(docker.ran(["rm", "exited", "user"])?)?;
    ok(docker.ran(["image", "prune", "-af"])?)?;
    assert_eq!(ok(docker.ran(["images", "-q"])?)?, "");
    Ok(())
}
