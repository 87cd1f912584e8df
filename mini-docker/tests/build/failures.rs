//! What goes wrong, and what people read then. After each of them nothing is left.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use testkit::{Outcome, Sandbox, Test};

use crate::room::{build, built, context, ends, leftovers, run, shown, snapshots};
use crate::support::{Docker, busybox_tar, finish, stdout};

pub const TESTS: &[Test] = &[
    ("mistakes_are_shown_in_their_line", mistakes_are_shown_in_their_line),
    ("steps_that_fail", steps_that_fail),
    ("wrong_command_lines", wrong_command_lines),
    ("a_full_disk", a_full_disk),
    ("an_unreadable_file", an_unreadable_file),
    ("what_is_no_file", what_is_no_file),
];

/// Builds each, shows all.
fn show_all(sandbox: &Sandbox, name: &str, cases: &[(&str, &[&str], &str)]) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut text = String::new();
    for (what, flags, dockerfile) in cases {
        let dir =
            context(sandbox, "context", &[("Dockerfile", dockerfile), ("a", "a"), ("main.c", "m")]);
        text.push_str(&format!("{}\n", shown(&docker, what, flags, &dir)?));
        let left = leftovers(&docker)?;
        assert!(left.is_empty(), "{what}: {left:#?}");
    }
    snapshots(sandbox, || insta::assert_snapshot!(name, text));
    Ok(())
}

fn mistakes_are_shown_in_their_line(sandbox: &Sandbox) -> Outcome {
    let cases: &[(&str, &[&str], &str)] = &[
        ("# an unknown word", &[], "FROM busybox\n\nRUM echo a\n"),
        ("# an unknown flag", &[], "FROM busybox\nCOPY --chwon=1 a /a\n"),
        ("# an unknown mount", &[], "FROM busybox\nRUN --mount=type=cash,target=/c true\n"),
        ("# no FROM", &[], "RUN echo a\n"),
        ("# nothing", &[], "# only a comment\n"),
        ("# a heredoc without an end", &[], "FROM busybox\nRUN <<EOF\necho a\n"),
        ("# COPY with one word", &[], "FROM busybox\nCOPY a\n"),
        ("# a bad variable", &[], "FROM busybox\nENV A=${B\n"),
        ("# a wrong time", &[], "FROM busybox\nHEALTHCHECK --interval=5 CMD true\n"),
        (
            "# a cycle",
            &[],
            "FROM busybox AS a\nCOPY --from=b /x /x\nFROM busybox AS b\nCOPY --from=a /y /y\n",
        ),
        ("# a stage that copies from itself", &[], "FROM busybox AS a\nCOPY --from=a /x /x\n"),
        (
            "# an unknown stage or image",
            &[],
            "FROM busybox AS build\nFROM busybox\nCOPY --from=biuld /x /x\n",
        ),
        ("--target biuld .", &["--target", "biuld"], "FROM busybox AS build\nFROM busybox\n"),
        ("# an unknown image", &[], "FROM localhost:1/nothing\n"),
        ("# another platform", &[], "FROM --platform=linux/s390x busybox\n"),
    ];
    show_all(sandbox, "mistakes", cases)
}

fn steps_that_fail(sandbox: &Sandbox) -> Outcome {
    let lines =
        "FROM busybox\nRUN for i in $(seq 30); do echo line $i; done; echo problem >&2; exit 3\n";
    let cases: &[(&str, &[&str], &str)] = &[
        (
            "# a failing RUN",
            &[],
            "FROM busybox\nRUN echo fine\nRUN echo one; \\\n    echo two >&2; exit 3\nRUN echo never\n",
        ),
        ("# the last lines only", &[], lines),
        ("--progress quiet .", &["--progress", "quiet"], lines),
        ("# a program that is not there", &[], "FROM busybox\nRUN nothing-like-it\nRUN true\n"),
        ("# in exec form", &[], "FROM busybox\nRUN [\"/nothing\"]\n"),
        ("# killed", &[], "FROM busybox\nRUN sh -c 'kill -9 $$'; exit $?\n"),
        ("# no shell", &[], "FROM scratch\nRUN echo a\n"),
        ("# no such user", &[], "FROM busybox\nUSER nobody-here\nRUN echo a\n"),
        ("# a file that is not there", &[], "FROM busybox\nCOPY mian.c /src/\n"),
        ("# a pattern that nothing matches", &[], "FROM busybox\nCOPY *.rs /src/\n"),
        ("# many to a file", &[], "FROM busybox\nCOPY a main.c /src\n"),
        ("# a folder to a file", &[], "FROM busybox\nCOPY . /bin/busybox\n"),
        ("# an unknown owner", &[], "FROM busybox\nCOPY --chown=webb a /a\n"),
        (
            "# no file of a stage",
            &[],
            "FROM busybox AS one\nFROM busybox\nCOPY --from=one /none /x\n",
        ),
        ("# WORKDIR on a file", &[], "FROM busybox\nWORKDIR /bin/busybox\n"),
        (
            "# a secret that is needed",
            &[],
            "FROM busybox\nRUN --mount=type=secret,id=token,required=true true\n",
        ),
        ("# no permission", &[], "FROM busybox\nRUN --security=insecure true\n"),
        ("# a wrong checksum", &[], "FROM busybox\nADD --checksum=sha256:0 a /a\n"),
        (
            "# two stages, one of which fails",
            &[],
            "FROM busybox AS one\nRUN exit 7\nFROM busybox\nCOPY --from=one /bin/sh /x\n",
        ),
    ];
    show_all(sandbox, "steps_that_fail", cases)
}

fn wrong_command_lines(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let dir = context(sandbox, "context", &[("Dockerfile", "FROM busybox\n"), ("a", "")]);
    let empty = context(sandbox, "empty", &[]);
    std::fs::create_dir_all(empty.join("folder"))?;
    let (gone, folder, file) = (sandbox.path("gone"), empty.join("folder"), dir.join("a"));
    let cases: &[(&str, &[&str], &Path)] = &[
        ("gone", &[], &gone),
        ("empty", &[], &empty),
        ("-f Other .", &["-f", "Other"], &dir),
        ("-f folder empty", &["-f", folder.to_str().unwrap()], &empty),
        ("a", &[], &file),
        ("--platform linux/arm64 .", &["--platform", "linux/arm64"], &dir),
        ("-t 'Bad Name' .", &["-t", "Bad Name"], &dir),
        ("--secret id=x,src=none .", &["--secret", "id=x,src=none"], &dir),
        ("--secret src=a .", &["--secret", "src=a"], &dir),
        ("--allow everything .", &["--allow", "everything"], &dir),
        (
            "--build-arg SOURCE_DATE_EPOCH=today .",
            &["--build-arg", "SOURCE_DATE_EPOCH=today"],
            &dir,
        ),
        ("-f - -", &["-f", "-"], Path::new("-")),
        ("--progress funny .", &["--progress", "funny"], &dir),
    ];
    let mut text = String::new();
    for (what, flags, context) in cases {
        text.push_str(&format!("{}\n", shown(&docker, what, flags, context)?));
        assert_eq!(leftovers(&docker)?.len(), 0, "{what}");
    }
    let nothing = docker.ran(["build"])?;
    text.push_str(&format!("$ mini-docker build\n{}? {}\n", nothing.stderr, nothing.code));
    snapshots(sandbox, || insta::assert_snapshot!("wrong_command_lines", text));
    Ok(())
}

/// The state lies on a small disk of its own.
fn a_full_disk(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::new(sandbox);
    std::fs::create_dir_all(&docker.root)?;
    stdout(
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "none"]).arg(&docker.root),
    )?;
    let tar = busybox_tar(sandbox)?;
    assert_eq!(docker.ran(["import", tar.to_str().unwrap(), "busybox"])?.code, 0);
    let dir = context(sandbox, "context", &[]);
    let small = "FROM busybox\nRUN echo one > /one\n";
    std::fs::write(dir.join("large"), vec![b'x'; 20 << 20])?;
    for (step, shown) in [
        ("RUN dd if=/dev/zero of=/large bs=1M count=20", "No space left on device"),
        ("COPY large /large", "No space left on device"),
        // There is room for the files, and not for the layer's tar as well.
        ("RUN dd if=/dev/urandom of=/large bs=1M count=4 2>/dev/null", "No space left on device"),
    ] {
        std::fs::write(dir.join("Dockerfile"), format!("{small}{step}\n"))?;
        let ran = build(&docker, &["-t", "x"], &dir)?;
        assert_eq!(ran.code, 1, "{step}: {ran:?}");
        assert!(ran.stderr.contains(shown), "{step}: {ran:?}");
        let left = leftovers(&docker)?
            .into_iter()
            .filter(|one| !one.contains(" / / "))
            .collect::<Vec<_>>();
        let left: Vec<_> = left.into_iter().filter(|one| !one.contains("tmpfs none")).collect();
        assert!(left.is_empty(), "{step}: {left:#?}");
        std::fs::write(dir.join("Dockerfile"), format!("{small}RUN echo two > /two\n"))?;
        let next = built(&docker, &["-t", "x", "--no-cache"], &dir)?;
        assert_eq!(ends(&next), ["DONE", "DONE"], "what was taken is free again: {next}");
        assert_eq!(run(&docker, "x", &["cat", "/one", "/two"])?, "one\ntwo\n");
        assert_eq!(docker.ran(["rmi", "x"])?.code, 0);
        assert_eq!(docker.ran(["builder", "prune", "-af"])?.code, 0);
    }
    Ok(())
}

/// Root reads everything but what the kernel does not give.
fn an_unreadable_file(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let dir = context(
        sandbox,
        "context",
        &[("Dockerfile", "FROM busybox\nCOPY data /data\n"), ("data/a", "a"), ("data/bad", "")],
    );
    let bad = dir.join("data/bad");
    stdout(
        Command::new("mount")
            .args(["--bind", &format!("/proc/{}/mem", std::process::id())])
            .arg(&bad),
    )?;
    let ran = build(&docker, &["-t", "x"], &dir)?;
    stdout(Command::new("umount").arg(&bad))?;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("data/bad") && ran.stderr.contains("I/O error (EIO)"), "{ran:?}");
    assert!(ran.stderr.contains("2 | COPY data /data"), "{ran:?}");
    assert_eq!(leftovers(&docker)?.len(), 0);
    built(&docker, &["-t", "x"], &dir)?;
    Ok(())
}

/// A build does not wait for somebody who writes into a pipe, and has no use for sockets.
fn what_is_no_file(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let dir = context(
        sandbox,
        "context",
        &[("Dockerfile", "FROM busybox\nCOPY data /data\n"), ("data/a", "a")],
    );
    let _listener = UnixListener::bind(dir.join("data/socket"))?;
    stdout(Command::new("mkfifo").arg(dir.join("data/pipe")))?;
    built(&docker, &["-t", "x"], &dir)?;
    let seen = run(&docker, "x", &["sh", "-c", "cd /data; stat -c '%n %F' *"])?;
    snapshots(sandbox, || insta::assert_snapshot!("what_is_no_file", seen));
    let fifo = context(sandbox, "fifo", &[]);
    stdout(Command::new("mkfifo").arg(fifo.join("Dockerfile")))?;
    let mut command = docker.command(["build"]);
    let ran = finish(command.arg(&fifo))?;
    assert_eq!(ran.code, 1, "{ran:?}");
    Ok(())
}
