//! What a step is taken from the cache for, and what it says when it is not.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use testkit::{Outcome, Sandbox, Test};

use crate::room::{build, built, context, ends, id, run};
use crate::support::{Docker, stdout};

pub const TESTS: &[Test] = &[
    ("what_is_copied_decides", what_is_copied_decides),
    ("variables_decide", variables_decide),
    ("mounts_decide", mounts_decide),
    ("no_cache_builds_anew", no_cache_builds_anew),
    ("the_cache_knows_no_folder_and_no_name", the_cache_knows_no_folder_and_no_name),
    ("an_image_that_is_removed_leaves_the_cache", an_image_that_is_removed_leaves_the_cache),
    ("a_broken_cache_is_built_anew", a_broken_cache_is_built_anew),
];

fn touch(path: &Path) {
    stdout(Command::new("touch").args(["-d", "@1234567890"]).arg(path)).unwrap();
}

fn what_is_copied_decides(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let files = [
        ("Dockerfile", "FROM busybox\nCOPY data /data\nRUN echo made\n"),
        ("data/a", "a"),
        ("data/b", "b"),
        ("data/deep/c", "c"),
        ("other", "o"),
    ];
    let dir = context(sandbox, "context", &files);
    let first = built(&docker, &["-t", "x"], &dir)?;
    assert_eq!(ends(&first), ["DONE", "DONE"], "{first}");
    assert!(!first.contains("changed"), "the first one needs no reason: {first}");
    let data = dir.join("data");
    // What is done, and the reason; none: the cache is used.
    type Change<'c> = (&'c str, &'c dyn Fn(), Option<&'c str>);
    let changes: &[Change<'_>] = &[
        ("nothing", &|| (), None),
        ("a time", &|| touch(&data.join("a")), None),
        ("the time of a folder", &|| touch(&data.join("deep")), None),
        ("a file that is not copied", &|| std::fs::write(dir.join("other"), "new").unwrap(), None),
        (
            "the owner: it is root's in the image anyway",
            &|| chown(data.join("a"), Some(7), None).unwrap(),
            None,
        ),
        ("the same bytes again", &|| std::fs::write(data.join("b"), "b").unwrap(), None),
        ("a byte", &|| std::fs::write(data.join("b"), "B").unwrap(), Some("data/b changed")),
        (
            "a byte, the time kept",
            &|| {
                touch(&data.join("a"));
                std::fs::write(data.join("a"), "A").unwrap();
                touch(&data.join("a"));
            },
            Some("data/a changed"),
        ),
        (
            "a mode",
            &|| std::fs::set_permissions(data.join("a"), PermissionsExt::from_mode(0o600)).unwrap(),
            Some("data/a changed"),
        ),
        (
            "the mode of a folder",
            &|| {
                std::fs::set_permissions(data.join("deep"), PermissionsExt::from_mode(0o700))
                    .unwrap();
            },
            Some("data/deep changed"),
        ),
        ("a new file", &|| std::fs::write(data.join("new"), "").unwrap(), Some("data/new added")),
        (
            "a removed file",
            &|| std::fs::remove_file(data.join("deep/c")).unwrap(),
            Some("data/deep/c removed"),
        ),
        ("a link", &|| symlink("a", data.join("link")).unwrap(), Some("data/link added")),
        (
            "an attribute",
            &|| xattr::set(data.join("a"), "user.note", b"x").unwrap(),
            Some("data/a changed"),
        ),
    ];
    for (what, change, reason) in changes {
        change();
        let progress = built(&docker, &["-t", "x"], &dir)?;
        match reason {
            None => assert_eq!(ends(&progress), ["CACHED", "CACHED"], "{what}: {progress}"),
            Some(reason) => {
                assert_eq!(ends(&progress), ["DONE", "DONE"], "{what}: {progress}");
                assert!(
                    progress.contains(&format!("#1 not cached: {reason}\n")),
                    "{what}: {progress}"
                );
                assert!(
                    progress.contains("#2 not cached: what it is built upon has changed"),
                    "{what}: {progress}"
                );
            }
        }
    }
    assert_eq!(run(&docker, "x", &["cat", "/data/a", "/data/b"])?, "AB");
    Ok(())
}

fn variables_decide(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM busybox\nRUN echo before > /a\nARG V=one\nRUN echo $V > /v\nARG LATE\nENV E=e\nRUN echo $E > /e\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    assert_eq!(ends(&built(&docker, &["-t", "x"], &dir)?), ["DONE"; 3]);
    let again = built(&docker, &["--build-arg", "V=one", "--build-arg", "UNKNOWN=x"], &dir)?;
    assert_eq!(ends(&again), ["CACHED"; 3], "the default, given: {again}");
    let other = built(&docker, &["--build-arg", "V=two", "-t", "x"], &dir)?;
    assert_eq!(ends(&other), ["CACHED", "DONE", "DONE"], "{other}");
    assert!(other.contains("#2 not cached: ARG V changed"), "{other}");
    assert_eq!(run(&docker, "x", &["cat", "/v"])?, "two\n");
    let late = built(&docker, &["--build-arg", "LATE=1"], &dir)?;
    assert_eq!(ends(&late), ["CACHED", "CACHED", "DONE"], "{late}");
    std::fs::write(dir.join("Dockerfile"), text.replace("E=e", "E=f"))?;
    let env = built(&docker, &[], &dir)?;
    assert_eq!(ends(&env), ["CACHED", "CACHED", "DONE"], "{env}");
    assert!(env.contains("#3 not cached: ARG LATE, ENV E changed"), "{env}");
    // Through which proxy something came does not change it.
    let proxy = built(&docker, &["--build-arg", "http_proxy=http://p"], &dir)?;
    assert_eq!(ends(&proxy), ["CACHED"; 3], "{proxy}");
    std::fs::write(dir.join("Dockerfile"), text.replace("RUN echo $V", "USER 7\nRUN echo $V"))?;
    let user = build(&docker, &[], &dir)?;
    assert_eq!(
        ends(&user.stderr)[..2],
        ["CACHED", "ERROR"],
        "as somebody else it is another step: {user:?}"
    );
    Ok(())
}

fn mounts_decide(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM busybox\nRUN --mount=type=bind,source=src,target=/src --mount=type=secret,id=s --mount=type=cache,target=/c cat /src/a > /a\n";
    let dir = context(
        sandbox,
        "context",
        &[("Dockerfile", text), ("src/a", "1"), ("one", "1"), ("two", "2")],
    );
    let secret = |name: &str| format!("id=s,src={}", dir.join(name).display());
    assert_eq!(ends(&built(&docker, &["--secret", &secret("one")], &dir)?), ["DONE"]);
    assert_eq!(
        ends(&built(&docker, &["--secret", &secret("two")], &dir)?),
        ["CACHED"],
        "a secret is no part of it"
    );
    std::fs::write(dir.join("src/a"), "2")?;
    let changed = built(&docker, &["-t", "x"], &dir)?;
    assert_eq!(ends(&changed), ["DONE"]);
    assert!(changed.contains("#1 not cached: src/a changed\n"), "{changed}");
    assert_eq!(run(&docker, "x", &["cat", "/a"])?, "2");
    Ok(())
}

fn no_cache_builds_anew(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /a\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    built(&docker, &["-t", "x"], &dir)?;
    let first = run(&docker, "x", &["cat", "/a"])?;
    let anew = built(&docker, &["-t", "x", "--no-cache"], &dir)?;
    assert_eq!(ends(&anew), ["DONE"]);
    let second = run(&docker, "x", &["cat", "/a"])?;
    assert_ne!(first, second);
    // The newer one is what the next build finds.
    assert_eq!(ends(&built(&docker, &["-t", "x"], &dir)?), ["CACHED"]);
    assert_eq!(run(&docker, "x", &["cat", "/a"])?, second);
    Ok(())
}

fn the_cache_knows_no_folder_and_no_name(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let files = [
        ("Dockerfile", "FROM busybox AS one\nCOPY f /f\nRUN cat /f > /g\nWORKDIR /w\n"),
        ("f", "x"),
    ];
    let dir = context(sandbox, "one", &files);
    built(&docker, &["-t", "one"], &dir)?;
    let other = context(sandbox, "deep/two", &files);
    let text = "# another comment\nfrom busybox\nCOPY ./f   /f\nRUN cat /f > /g\nWORKDIR /w\nCMD [\"x\"]\n";
    std::fs::write(other.join("Other"), text)?;
    let file = other.join("Other");
    let progress = built(&docker, &["-t", "two", "-f", file.to_str().unwrap()], &other)?;
    assert_eq!(ends(&progress), ["CACHED"; 3], "{progress}");
    Ok(())
}

fn an_image_that_is_removed_leaves_the_cache(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let dir = context(sandbox, "context", &[("Dockerfile", "FROM busybox\nRUN echo x > /x\n")]);
    built(&docker, &["-t", "x"], &dir)?;
    let before = id(&docker, "x")?;
    assert_eq!(docker.ran(["rmi", "x"])?.code, 0);
    // Images say when they were made, in seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let again = built(&docker, &["-t", "x"], &dir)?;
    assert_eq!(ends(&again), ["CACHED"]);
    assert_eq!(id(&docker, "x")?, before, "the same image, times and all");
    assert_eq!(run(&docker, "x", &["cat", "/x"])?, "x\n");
    Ok(())
}

/// Whatever a power cut has done to it.
fn a_broken_cache_is_built_anew(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let dir = context(sandbox, "context", &[("Dockerfile", "FROM busybox\nRUN echo x > /x\n")]);
    built(&docker, &["-t", "x"], &dir)?;
    let entries = |name: &str| -> Vec<std::path::PathBuf> {
        let folder = docker.root.join("build").join(name);
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect()
    };
    for (name, what) in [("blobs", "cut"), ("blobs", ""), ("steps", "{\"no"), ("steps", "")] {
        for file in entries(name) {
            // Images may have the same file under another name.
            std::fs::remove_file(&file)?;
            std::fs::write(&file, what)?;
        }
        let again = built(&docker, &["-t", "x"], &dir)?;
        assert_eq!(ends(&again), ["DONE"], "{name} {what}: {again}");
        assert_eq!(run(&docker, "x", &["cat", "/x"])?, "x\n");
    }
    entries("blobs").iter().for_each(|file| std::fs::remove_file(file).unwrap());
    assert_eq!(ends(&built(&docker, &["-t", "x"], &dir)?), ["DONE"]);
    assert_eq!(ends(&built(&docker, &["-t", "x"], &dir)?), ["CACHED"]);
    Ok(())
}
