//! What a build is given on its command line, and what of it is in the image.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testkit::{Outcome, Sandbox, Test};

use crate::room::{Going, build, built, command, context, ends, id, leftovers, run, snapshots};
use crate::support::{Docker, Result, finish};

pub const TESTS: &[Test] = &[
    ("a_secret_is_in_no_layer_and_no_history", a_secret_is_in_no_layer_and_no_history),
    ("secrets_in_all_forms", secrets_in_all_forms),
    ("arguments_that_nobody_asks_for", arguments_that_nobody_asks_for),
    ("names_labels_and_the_id_file", names_labels_and_the_id_file),
    ("squash_makes_one_layer", squash_makes_one_layer),
    ("history_is_as_docker_writes_it", history_is_as_docker_writes_it),
    ("cache_mounts_are_shared_locked_or_private", cache_mounts_are_shared_locked_or_private),
    ("cache_mounts_have_owner_and_mode", cache_mounts_have_owner_and_mode),
    ("a_step_leaves_no_places_of_mounts", a_step_leaves_no_places_of_mounts),
    ("networks_and_hosts", networks_and_hosts),
    ("plain_progress", plain_progress),
    ("build_help", build_help),
];

const TOKEN: &str = "s3cr3t-t0ken-0f-a-person";

/// Files below a folder that have these bytes in them, or in their name.
fn files_with(root: &Path, needle: &str) -> Result<Vec<String>> {
    let ran = finish(Command::new("grep").args(["-rlaF", needle]).arg(root))?;
    Ok(ran.stdout.lines().map(str::to_owned).collect())
}

fn a_secret_is_in_no_layer_and_no_history(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM busybox\nRUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN \\\n  cat /run/secrets/token | wc -c > /a; echo ${#TOKEN} > /b\nRUN ls -R /run > /c 2>&1 || true\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    let file = sandbox.path("token");
    std::fs::write(&file, TOKEN)?;
    let secret = format!("id=token,src={}", file.display());
    let progress = built(&docker, &["-t", "x", "--secret", &secret], &dir)?;
    assert!(!progress.contains(TOKEN));
    assert_eq!(
        run(&docker, "x", &["cat", "/a", "/b", "/c"])?,
        format!("{0}\n{0}\nls: /run: No such file or directory\n", TOKEN.len())
    );
    for root in [&docker.root, &docker.run_root] {
        assert_eq!(files_with(root, TOKEN)?, [""; 0]);
    }
    let saved = sandbox.path("saved.tar");
    assert_eq!(docker.ran(["save", "-o", saved.to_str().unwrap(), "x"])?.code, 0);
    assert_eq!(files_with(&saved, TOKEN)?, [""; 0]);
    assert!(!docker.ran(["history", "--no-trunc", "x"])?.stdout.contains(TOKEN));
    // What finds it there would find it here.
    std::fs::write(docker.root.join("canary"), TOKEN)?;
    assert_eq!(files_with(&docker.root, TOKEN)?.len(), 1);
    Ok(())
}

fn secrets_in_all_forms(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM busybox\nRUN --mount=type=secret,id=FILE,target=/etc/deep/token,mode=0440,uid=5,gid=6 stat -c '%a %u:%g' /etc/deep/token > /a; cat /etc/deep/token >> /a\nRUN --mount=type=secret,id=VAR stat -c '%a %u:%g' /run/secrets/VAR >> /a; cat /run/secrets/VAR >> /a\nRUN --mount=type=secret,id=none test ! -e /run/secrets/none\nRUN --mount=type=secret,id=FILE ! echo x > /run/secrets/FILE\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    std::fs::write(sandbox.path("file"), "in a file\n")?;
    let secret = format!("id=FILE,src={}", sandbox.path("file").display());
    let mut build = command(&docker, &["-t", "x", "--secret", &secret, "--secret", "id=VAR"], &dir);
    let ran = finish(build.env("VAR", "in a variable"))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let seen = run(&docker, "x", &["sh", "-c", "cat /a; ls -d /etc/deep /run/secrets 2>&1; true"])?;
    assert!(seen.starts_with("440 5:6\nin a file\n400 0:0\nin a variable"), "{seen}");
    assert!(
        seen.contains("/etc/deep: No such file") && seen.contains("/run/secrets: No such file"),
        "{seen}"
    );
    assert_eq!(std::fs::read_to_string(sandbox.path("file"))?, "in a file\n");
    Ok(())
}

fn arguments_that_nobody_asks_for(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "ARG G=g\nFROM busybox\nARG A\nARG G\nARG UNSET\nRUN echo \"$A $G ${UNSET-unset} ${B-none}\" > /a\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    let flags = [
        "-t",
        "x",
        "--build-arg",
        "A=a b",
        "--build-arg",
        "B=b",
        "--build-arg",
        "UNSET",
        "--build-arg",
        "FROM_ENV",
    ];
    let mut build = command(&docker, &flags, &dir);
    let ran = finish(build.env("FROM_ENV", "e").env_remove("UNSET"))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stderr.contains("warning: one or more build-args were not consumed: [B FROM_ENV]\n"),
        "{ran:?}"
    );
    assert_eq!(run(&docker, "x", &["cat", "/a"])?, "a b g unset none\n");
    let env = run(&docker, "x", &["env"])?;
    assert!(!env.contains("A=a b"), "an argument is no setting: {env}");
    Ok(())
}

fn names_labels_and_the_id_file(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let dir = context(
        sandbox,
        "context",
        &[("Dockerfile", "FROM busybox AS one\nLABEL a=1\nFROM one\nLABEL b=2\n")],
    );
    let file = sandbox.path("id");
    let flags = [
        "-q",
        "-t",
        "first",
        "-t",
        "example.org/second:v2",
        "--label",
        "c=3",
        "--iidfile",
        file.to_str().unwrap(),
    ];
    let ran = build(&docker, &flags, &dir)?;
    assert_eq!((ran.code, &*ran.stderr), (0, ""), "{ran:?}");
    let image = id(&docker, "first")?;
    assert_eq!(ran.stdout, format!("{image}\n"), "quiet prints the id alone");
    assert_eq!(std::fs::read_to_string(&file)?, image);
    assert_eq!(id(&docker, "example.org/second:v2")?, image);
    let labels =
        docker.ran(["image", "inspect", "--format", "{{json .Config.Labels}}", "first"])?;
    let labels: Value = serde_json::from_str(&labels.stdout)?;
    assert_eq!(labels, serde_json::json!({"a": "1", "b": "2", "c": "3"}));
    // Without a name it is there all the same.
    std::fs::write(dir.join("Dockerfile"), "FROM busybox\nLABEL other=1\n")?;
    let nameless = build(&docker, &["-q"], &dir)?.stdout;
    assert_eq!(run(&docker, nameless.trim(), &["echo", "runs"])?, "runs\n");
    // A build that fails takes the old file away.
    std::fs::write(dir.join("Dockerfile"), "FROM busybox\nRUN false\n")?;
    assert_eq!(build(&docker, &["--iidfile", file.to_str().unwrap()], &dir)?.code, 1);
    assert!(!file.exists());
    Ok(())
}

fn squash_makes_one_layer(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM busybox\nRUN echo large > /gone; echo a > /a; mkdir /d; echo x > /d/x\nRUN rm /gone /bin/vi; rm -r /d; mkdir /d; echo y > /d/y\nRUN echo b > /b; ln /b /c\nCMD [\"cat\", \"/a\"]\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    built(&docker, &["-t", "plain"], &dir)?;
    let progress = built(&docker, &["-t", "one", "--squash"], &dir)?;
    assert_eq!(ends(&progress), ["CACHED"; 3], "{progress}");
    let layers = |image: &str| -> Result<Vec<String>> {
        let ran = docker.ran(["image", "inspect", "--format", "{{json .RootFS.Layers}}", image])?;
        Ok(serde_json::from_str(&ran.stdout)?)
    };
    assert_eq!(layers("plain")?.len(), 4);
    let squashed = layers("one")?;
    assert_eq!(squashed.len(), 2);
    assert_eq!(squashed[0], layers("busybox")?[0], "the base's layer stays");
    let list = "find / -xdev -path /proc -prune -o -path /dev -prune -o -path /sys -prune -o -path /etc -prune -o -type f -print -exec md5sum {} + | sort; ls -la /b /c | wc -l; stat -c %h /b";
    assert_eq!(
        run(&docker, "one", &["sh", "-c", list])?,
        run(&docker, "plain", &["sh", "-c", list])?
    );
    assert_eq!(run(&docker, "one", &[])?, "a\n");
    let store = layers::Store::open(&docker.root.join("layers"))?;
    let diff = store.path(&squashed[1].parse()?);
    assert!(
        diff.join("gone").symlink_metadata().is_err(),
        "not even a whiteout of what was never there"
    );
    assert!(diff.join("bin/vi").symlink_metadata().is_ok(), "but one of what the base has");
    let first = id(&docker, "one")?;
    built(&docker, &["-t", "one", "--squash"], &dir)?;
    assert_eq!(id(&docker, "one")?, first);
    Ok(())
}

fn history_is_as_docker_writes_it(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "ARG B=busybox\nFROM $B AS one\nMAINTAINER Ada\nARG V=1\nENV A=a\\\n  B=b\nRUN echo $V > /v\nCOPY --chown=5:6 f /f\nADD f /g\nCOPY <<EOF /h\nx\nEOF\nRUN <<EOF\necho a\nEOF\nWORKDIR /w\nUSER 5\nEXPOSE 80\nVOLUME /v2\nLABEL l=m\nSTOPSIGNAL SIGINT\nHEALTHCHECK CMD true\nSHELL [\"/bin/ash\", \"-c\"]\nONBUILD RUN x\nENTRYPOINT [\"sh\"]\nCMD [\"-c\", \"id\"]\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text), ("f", "f")]);
    built(&docker, &["-t", "x"], &dir)?;
    let ran = docker.ran([
        "history",
        "--no-trunc",
        "--format",
        "{{.CreatedBy}} | {{.Size}} | {{.Comment}}",
        "x",
    ])?;
    snapshots(sandbox, || insta::assert_snapshot!("history", ran.stdout));
    Ok(())
}

/// Each build waits until the other one is there too, or finds that it is not.
fn cache_mounts_are_shared_locked_or_private(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let step = |sharing: &str, script: &str| {
        format!("FROM busybox\nRUN --mount=type=cache,id=c,sharing={sharing},target=/c {script}\n")
    };
    let dir = |name: &str, text: &str| context(sandbox, name, &[("Dockerfile", text)]);
    // Shared: both are in it at the same time, or they would wait for ever.
    let meet = |own: &str, other: &str| {
        format!("touch /c/{own}; echo in; until test -e /c/{other}; do sleep 0.05; done")
    };
    let mut one =
        Going::start(&mut command(&docker, &[], &dir("s1", &step("shared", &meet("a", "b")))))?;
    one.until(" in\n")?;
    built(&docker, &[], &dir("s2", &step("shared", &meet("b", "a"))))?;
    assert_eq!(one.end()?.code, 0);
    // Locked by the first one: a private one gets another, without what the first one has.
    let wait = "echo in; until test -e /c/go; do sleep 0.05; done";
    let mut one = Going::start(&mut command(&docker, &[], &dir("p1", &step("locked", wait))))?;
    one.until(" in\n")?;
    built(&docker, &["-t", "x"], &dir("p2", &step("private", "ls /c > /list; touch /c/mine")))?;
    assert_eq!(run(&docker, "x", &["cat", "/list"])?, "");
    // Locked: the second one waits until the first one has ended.
    let mut two = Going::start(&mut command(
        &docker,
        &["-t", "y"],
        &dir("l1", &step("locked", "ls /c > /list")),
    ))?;
    two.until("#1 [2/2]")?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(two.child.try_wait()?.is_none(), "it waits");
    // Somebody who shares it lets the first one go on.
    let folders: Vec<_> = std::fs::read_dir(docker.root.join("build/mounts"))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert_eq!(folders.len(), 2, "{folders:?}");
    let first = folders.iter().find(|path| !path.to_string_lossy().ends_with(".1")).unwrap();
    std::fs::write(first.join("data/go"), "")?;
    assert_eq!(one.end()?.code, 0);
    let two = two.end()?;
    assert_eq!(two.code, 0, "{two:?}");
    assert_eq!(run(&docker, "y", &["cat", "/list"])?, "a\nb\ngo\n");
    assert!(leftovers(&docker)?.is_empty());
    Ok(())
}

fn cache_mounts_have_owner_and_mode(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let base = context(sandbox, "base", &[("Dockerfile", "FROM busybox\nRUN chmod 1777 /tmp\n")]);
    built(&docker, &["-t", "open"], &base)?;
    let text = "FROM busybox AS seed\nRUN mkdir /seed; echo seed > /seed/s\nFROM open\nUSER 7\n\
        RUN --mount=type=cache,target=/c,uid=7,gid=8,mode=0700 echo x > /c/x; stat -c '%a %u:%g' /c > /tmp/a\n\
        RUN --mount=type=cache,target=/d,from=seed,source=/seed cat /d/s >> /tmp/a\nUSER root\n\
        RUN --mount=type=cache,target=/c,readonly cat /c/x >> /tmp/a; ! touch /c/y\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    built(&docker, &["-t", "x"], &dir)?;
    assert_eq!(run(&docker, "x", &["cat", "/tmp/a"])?, "700 7:8\nseed\nx\n");
    assert_eq!(
        run(&docker, "x", &["sh", "-c", "ls -d /c /d 2>/dev/null; true"])?,
        "",
        "no place of a mount stays"
    );
    Ok(())
}

/// Neither those of the runtime nor those of the step; and what was there before is as it was.
fn a_step_leaves_no_places_of_mounts(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM scratch\nCOPY --from=busybox /bin /bin\nRUN true\nRUN --mount=type=tmpfs,target=/a/b/c --mount=type=cache,target=/bin/deep/cache true\nRUN mkdir /kept\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    built(&docker, &["-t", "x"], &dir)?;
    let image = images::Store::open(&docker.root.join("images"))?.resolve("x")?;
    let store = layers::Store::open(&docker.root.join("layers"))?;
    let names = |layer: &images::Layer| -> Vec<String> {
        let path = store.path(&layer.diff_id.parse().unwrap());
        let mut names: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let all: Vec<Vec<String>> = image.layers.iter().map(names).collect();
    assert_eq!(
        all,
        [vec!["bin"], vec![], vec![], vec!["kept"]]
            .map(|layer: Vec<&str>| layer.into_iter().map(str::to_owned).collect::<Vec<_>>())
    );
    Ok(())
}

fn networks_and_hosts(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM busybox\nRUN ls /sys/class/net | xargs > /a; cat /etc/hosts > /b; hostname > /c\nRUN --network=none ls /sys/class/net | xargs >> /a\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    let flags = ["build", "-t", "x", "--add-host", "db:10.1.2.3", dir.to_str().unwrap()];
    let ran = docker.ran(flags)?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let seen = run(&docker, "x", &["cat", "/a", "/b", "/c"])?;
    assert!(seen.starts_with("eth0 lo\nlo\n"), "{seen}");
    assert!(seen.contains("10.1.2.3\tdb"), "{seen}");
    let ran = docker.ran([
        "build",
        "--no-cache",
        "--network",
        "host",
        "-t",
        "x",
        dir.to_str().unwrap(),
    ])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!run(&docker, "x", &["cat", "/a"])?.starts_with("eth0"));
    assert!(leftovers(&docker)?.is_empty());
    Ok(())
}

fn plain_progress(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM busybox AS tools\nRUN printf 'no end' && printf '\\033[1mbold\\033[0m\\r50%%\\r100%%\\n'\n\nFROM tools\nCOPY src /src\nRUN cat /src/main.c && echo to standard error >&2\nCMD [\"true\"]\n";
    let dir = context(
        sandbox,
        "context",
        &[("Dockerfile", text), ("src/main.c", "int main;\n"), ("src/old.c", "")],
    );
    let mut all =
        format!("First:\n{}", built(&docker, &["-t", "x", "--build-arg", "NOBODY=1"], &dir)?);
    all.push_str(&format!("\nAgain:\n{}", built(&docker, &["-t", "x"], &dir)?));
    std::fs::write(dir.join("src/main.c"), "int changed;\n")?;
    std::fs::remove_file(dir.join("src/old.c"))?;
    all.push_str(&format!("\nChanged:\n{}", built(&docker, &["-t", "x"], &dir)?));
    snapshots(sandbox, || insta::assert_snapshot!("plain_progress", all));
    Ok(())
}

fn build_help(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::new(sandbox);
    let help = docker.ran(["build", "--help"])?;
    assert_eq!(help.code, 0);
    assert_eq!(docker.ran(["builder", "build", "--help"])?.code, 0);
    assert_eq!(docker.ran(["image", "build", "--help"])?.code, 0);
    let prune = docker.ran(["builder", "prune", "--help"])?;
    snapshots(sandbox, || {
        insta::assert_snapshot!("help", format!("{}\n{}", help.stdout, prune.stdout));
    });
    Ok(())
}
