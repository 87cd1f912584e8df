//! A container's files as lists and archives: `diff`, `export`, `cp` with `-`.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use testkit::{Outcome, Sandbox, Test};

use crate::copy::{Boxed, ok, shell};
use crate::support::{Docker, finish, transcript};

pub const TESTS: &[Test] = &[
    ("cp_streams_tars_both_ways", cp_streams_tars_both_ways),
    ("diff_lists_what_has_changed", diff_lists_what_has_changed),
    ("export_writes_names_that_layers_reserve", export_writes_names_that_layers_reserve),
];

fn cp_streams_tars_both_ways(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let long = "n".repeat(150);
    let running = Boxed::new(&docker, &[], "mkdir /to")?;
    shell(
        &format!(
            "mkdir -p from/dir; cd from; echo text > dir/file; ln dir/file hard; ln -s /etc/passwd link; mkfifo fifo
             echo w > .wh.name; echo l > {long}; chown 5:6 dir/file; chmod 4711 dir/file; touch -d @981173106.25 dir/file
             touch -d @981173107 dir; setfattr -n user.note -v mine dir/file 2> /dev/null || true"
        ),
        &sandbox.dir,
    )?;
    xattr::set(sandbox.path("from/dir/file"), "user.note", b"mine")?;
    let tar = Command::new("tar")
        .args(["-C", "from", "--format=posix", "--xattrs", "-c", "."])
        .current_dir(&sandbox.dir)
        .stdout(Stdio::piped())
        .spawn()?;
    let ran =
        finish(docker.command(["cp", "-q=false", "-", "box:/to"]).stdin(tar.stdout.unwrap()))?;
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (0, "Successfully copied 9B to box:/to\n"),
        "{ran:?}"
    );
    let show = "find . -mindepth 1 -printf '%P %y %m %U:%G %n %T@ %l\\n' | LC_ALL=C sort";
    for (source, strip) in [("box:/to", "to"), ("box:/to/.", ".")] {
        shell("rm -rf back; mkdir back", &sandbox.dir)?;
        let back = std::fs::File::create(sandbox.path("back.tar"))?;
        assert!(docker.command(["cp", source, "-"]).stdout(back).status()?.success());
        shell("tar -C back --xattrs --xattrs-include='*' -xpf back.tar", &sandbox.dir)?;
        let from = shell(&format!("cd from; {show}"), &sandbox.dir)?;
        assert_eq!(shell(&format!("cd back/{strip}; {show}"), &sandbox.dir)?, from, "{source}");
        let note = xattr::get(sandbox.path(format!("back/{strip}/dir/file")), "user.note")?;
        assert_eq!(note.as_deref(), Some(&b"mine"[..]));
    }
    // Not an archive, and one that ends early.
    let whole = std::fs::read(sandbox.path("back.tar"))?;
    for (name, bytes) in [
        ("none", &b"certainly not a tar archive".repeat(40)[..]),
        ("cut", &whole[..whole.len() / 2]),
    ] {
        std::fs::write(sandbox.path(name), bytes)?;
        let input = std::fs::File::open(sandbox.path(name))?;
        let ran = finish(docker.command(["cp", "-", "box:/to"]).stdin(input))?;
        assert!(ran.code == 1 && ran.stderr.contains("malformed archive"), "{name}: {ran:?}");
    }
    drop(running);
    Ok(())
}

fn diff_lists_what_has_changed(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::new(sandbox);
    let rootfs = sandbox.busybox_rootfs("filled")?;
    for folder in ["old/deep", "gone/deep", "replaced", "quiet", "touched"] {
        std::fs::create_dir_all(rootfs.join(folder))?;
        std::fs::write(rootfs.join(folder).join("file"), "text")?;
    }
    symlink("file", rootfs.join("old/link"))?;
    std::fs::set_permissions(rootfs.join("quiet"), std::fs::Permissions::from_mode(0o755))?;
    let tar = sandbox.path("filled.tar");
    let pack = ["-C", rootfs.to_str().unwrap(), "-cf", tar.to_str().unwrap(), "."];
    assert!(Command::new("tar").args(pack).status()?.success());
    ok(docker.ran(["import", tar.to_str().unwrap(), "busybox"])?)?;

    // Nothing of its own: only the place of the volume.
    ok(docker.ran([
        "run",
        "--name",
        "idle",
        "--network",
        "none",
        "-v",
        "/vol/ume",
        "busybox",
        "true",
    ])?)?;
    let mut text = transcript(&docker, sandbox, &["diff", "idle"])?;
    ok(docker.ran(["rm", "-v", "idle"])?)?;

    let script = "echo more >> /old/deep/file; rm /old/link; rm -r /gone; rm -r /replaced; mkdir /replaced
        echo n > /replaced/new; rm /touched/file; echo back > /touched/file; mkdir -p /new/dir; echo x > /new/dir/file
        chmod 700 /quiet; rm -r /root; echo a > /root; mv /tmp /moved; printf x > /etc/$(printf 'odd\\nname')";
    let running = Boxed::new(&docker, &[], script)?;
    text.push_str(&transcript(&docker, sandbox, &["diff", "box"])?);
    // On a second layer, and by its other name.
    ok(docker.ran(["commit", "box", "second"])?)?;
    drop(running);
    let run = [
        "run",
        "--name",
        "upon",
        "--network",
        "none",
        "second",
        "sh",
        "-c",
        "rm -r /new/dir; echo > /bin/extra",
    ];
    ok(docker.ran(run)?)?;
    text.push_str(&transcript(&docker, sandbox, &["container", "diff", "upon"])?);
    ok(docker.ran(["rm", "upon"])?)?;
    let create = ["create", "--name", "folder", "--rootfs", rootfs.to_str().unwrap(), "sh"];
    ok(docker.ran(create)?)?;
    text.push_str(&transcript(&docker, sandbox, &["diff", "folder"])?);
    ok(docker.ran(["rm", "folder"])?)?;
    insta::assert_snapshot!(text);
    Ok(())
}

fn export_writes_names_that_layers_reserve(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let running = Boxed::new(
        &docker,
        &["-v", "vol:/vol"],
        "mkdir /dir; echo kept > /dir/.wh.name; echo vol > /vol/file",
    )?;
    for number in 0..2 {
        ok(docker.ran([
            "export",
            "-o",
            sandbox.path(format!("{number}.tar")).to_str().unwrap(),
            "box",
        ])?)?;
    }
    shell("cmp 0.tar 1.tar", &sandbox.dir)?;
    assert_eq!(shell("tar -xOf 0.tar dir/.wh.name", &sandbox.dir)?, "kept\n");
    let names = shell("tar -tf 0.tar", &sandbox.dir)?;
    assert!(names.contains("vol/\n") && !names.contains("vol/file"), "{names}");
    drop(running);
    Ok(())
}
