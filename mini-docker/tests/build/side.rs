//! Several at once: stages of one build, several builds, and `builder prune` beside them; and builds that are long.

use testkit::{Outcome, Sandbox, Test};

use crate::room::{Going, build, built, command, context, ends, id, leftovers, run, snapshots};
use crate::support::{Docker, finish, wait_until};

pub const TESTS: &[Test] = &[
    ("stages_are_built_side_by_side", stages_are_built_side_by_side),
    ("a_stage_that_fails_ends_the_others", a_stage_that_fails_ends_the_others),
    ("a_stage_that_nothing_needs", a_stage_that_nothing_needs),
    ("two_builds_at_once", two_builds_at_once),
    ("sixty_steps", sixty_steps),
    ("prune_while_a_build_goes_on", prune_while_a_build_goes_on),
    ("a_base_that_is_removed_meanwhile", a_base_that_is_removed_meanwhile),
    ("nothing_begins_with_nothing", nothing_begins_with_nothing),
    ("equal_layers", equal_layers),
    ("prune_frees_what_it_says", prune_frees_what_it_says),
    ("the_same_input_is_the_same_image", the_same_input_is_the_same_image),
    ("times_of_files_are_those_of_the_source", times_of_files_are_those_of_the_source),
];

/// Each writes what the other one reads, through pipes in a cache mount: one after the other would wait for ever.
fn stages_are_built_side_by_side(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM busybox AS pipes\nRUN --mount=type=cache,id=p,target=/p mkfifo /p/one /p/two\n\
        FROM pipes AS one\nRUN --mount=type=cache,id=p,target=/p echo from one > /p/one; cat /p/two > /two\n\
        FROM pipes AS two\nRUN --mount=type=cache,id=p,target=/p cat /p/one > /one; echo from two > /p/two\n\
        FROM busybox\nCOPY --from=one /two /\nCOPY --from=two /one /\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    let mut going = Going::start(&mut command(&docker, &["-t", "x"], &dir))?;
    going.until("tagged x")?;
    assert_eq!(going.end()?.code, 0);
    assert_eq!(run(&docker, "x", &["cat", "/one", "/two"])?, "from one\nfrom two\n");
    assert!(leftovers(&docker)?.is_empty());
    Ok(())
}

fn a_stage_that_fails_ends_the_others(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM busybox AS long\nRUN --mount=type=cache,target=/c touch /c/begun; sleep 1000\n\
        FROM busybox AS bad\nRUN --mount=type=cache,target=/c until test -e /c/begun; do sleep 0.05; done; exit 9\n\
        FROM busybox\nCOPY --from=long / /\nCOPY --from=bad / /\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    let ran = build(&docker, &[], &dir)?;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("exit code: 9"), "{ran:?}");
    assert!(leftovers(&docker)?.is_empty());
    Ok(())
}

fn a_stage_that_nothing_needs(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM localhost:1/is/not/there AS unused\nRUN false\n\
        FROM busybox AS mark\nRUN --mount=type=cache,id=m,target=/m touch /m/marked\n\
        FROM busybox AS last\nRUN --mount=type=cache,id=m,target=/m ls /m > /list\n\
        FROM mark AS after\nRUN false\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    let progress = built(&docker, &["-t", "x", "--target", "last"], &dir)?;
    assert_eq!(ends(&progress), ["DONE"], "{progress}");
    assert_eq!(run(&docker, "x", &["cat", "/list"])?, "");
    // By number, too.
    built(&docker, &["-t", "x", "--target", "1"], &dir)?;
    Ok(())
}

fn two_builds_at_once(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = format!("FROM busybox\nCOPY Dockerfile /d\n{}", "RUN echo x >> /x\n".repeat(8));
    let dir = context(sandbox, "context", &[("Dockerfile", &text)]);
    let mut all = Vec::new();
    for name in ["a", "b", "c", "d"] {
        all.push((name, Going::start(&mut command(&docker, &["-t", name, "-t", "same"], &dir))?));
    }
    for (name, going) in all {
        let ran = going.end()?;
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        assert_eq!(run(&docker, name, &["cat", "/x"])?, "x\n".repeat(8), "{name}");
    }
    assert_eq!(ends(&built(&docker, &["-t", "same"], &dir)?), ["CACHED"; 9]);
    assert!(leftovers(&docker)?.is_empty());
    Ok(())
}

fn sixty_steps(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text: String =
        (0..60).map(|step| format!("RUN echo {step} >> /all; echo {step} > /{step}\n")).collect();
    let dir = context(sandbox, "context", &[("Dockerfile", &format!("FROM busybox\n{text}"))]);
    assert_eq!(ends(&built(&docker, &["-t", "x"], &dir)?), ["DONE"; 60]);
    assert_eq!(
        run(&docker, "x", &["sh", "-c", "wc -l < /all; ls -d /[0-9]* | wc -l; tail -1 /all"])?,
        "60\n60\n59\n"
    );
    assert_eq!(ends(&built(&docker, &["-t", "x"], &dir)?), ["CACHED"; 60]);
    Ok(())
}

fn prune_while_a_build_goes_on(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM busybox\nRUN echo one > /one\nRUN --mount=type=cache,target=/c touch /c/here; until test -e /c/go; do sleep 0.05; done\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    let mut going = Going::start(&mut command(&docker, &["-t", "x"], &dir))?;
    going.until("#2 [3/3]")?;
    for args in [["builder", "prune", "-f"], ["builder", "prune", "-af"]] {
        let ran = docker.ran(args)?;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert_eq!(
            ran.stderr,
            "mini-docker: a build is going on, and uses the cache\nhint: prune when it has ended\n"
        );
    }
    // What prunes images sees that layers are in use.
    let ran = docker.ran(["image", "prune", "-f"])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let mount =
        std::fs::read_dir(docker.root.join("build/mounts"))?.flatten().next().unwrap().path();
    std::fs::write(mount.join("data/go"), "")?;
    let ran = going.end()?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(run(&docker, "x", &["cat", "/one"])?, "one\n");
    Ok(())
}

/// It cannot be part of the new image then.
fn a_base_that_is_removed_meanwhile(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM busybox\nRUN --mount=type=cache,target=/c until test -e /c/go; do sleep 0.05; done\nRUN echo still > /there\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    let mut going = Going::start(&mut command(&docker, &["-t", "x"], &dir))?;
    going.until("#1 [2/3]")?;
    let mounts = docker.root.join("build/mounts");
    wait_until(
        "the step runs",
        || Ok(mounts.exists() && std::fs::read_dir(&mounts)?.count() == 1),
    )?;
    assert_eq!(docker.ran(["rmi", "-f", "busybox"])?.code, 0);
    let mount = std::fs::read_dir(&mounts)?.flatten().next().unwrap().path();
    wait_until("its folder is there", || Ok(mount.join("data").exists()))?;
    std::fs::write(mount.join("data/go"), "")?;
    let ran = going.end()?;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("#2 DONE"), "the files are held: {ran:?}");
    assert!(
        ran.stderr.contains(
            "mini-docker: the base image busybox was removed while the build went on\nhint: "
        ),
        "{ran:?}"
    );
    Ok(())
}

fn prune_frees_what_it_says(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let dir = context(
        sandbox,
        "context",
        &[(
            "Dockerfile",
            "FROM busybox\nRUN --mount=type=cache,target=/c echo c > /c/c; dd if=/dev/zero of=/large bs=1M count=3 2>/dev/null\nRUN echo two > /two\nWORKDIR /w\n",
        )],
    );
    let mut text = String::new();
    let mut step = |what: &str, args: &[&str]| -> crate::support::Result<()> {
        let ran = docker.ran(args)?;
        let shown = regex_lite::Regex::new("[0-9a-f]{12}  ")?
            .replace_all(&ran.stdout, "[KEY]  ")
            .into_owned();
        let mut lines: Vec<&str> = shown.lines().collect();
        let end = lines.len().saturating_sub(1);
        lines[..end].sort_unstable();
        let shown = regex_lite::Regex::new("Total:.*")?
            .replace(&lines.join("\n"), "Total: [SIZE]")
            .into_owned();
        text.push_str(&format!(
            "# {what}\n$ mini-docker {}\n{shown}\n{}? {}\n\n",
            args.join(" "),
            ran.stderr,
            ran.code
        ));
        Ok(())
    };
    step("nothing was ever built", &["builder", "prune", "-f"])?;
    built(&docker, &["-t", "x"], &dir)?;
    step("an image is made of it", &["builder", "prune", "-f"])?;
    assert_eq!(ends(&built(&docker, &["-t", "x"], &dir)?), ["CACHED"; 3]);
    step("not old enough", &["builder", "prune", "-af", "--filter", "until=24h"])?;
    assert_eq!(ends(&built(&docker, &["-t", "x"], &dir)?), ["CACHED"; 3]);
    step("all", &["builder", "prune", "-af"])?;
    assert_eq!(run(&docker, "x", &["cat", "/two"])?, "two\n", "images keep their layers");
    assert_eq!(std::fs::read_dir(docker.root.join("build/blobs"))?.count(), 0);
    assert!(!docker.root.join("build/mounts").exists());
    assert_eq!(ends(&built(&docker, &["-t", "x"], &dir)?), ["DONE"; 3]);
    assert_eq!(docker.ran(["rmi", "-f", "x"])?.code, 0);
    step("the image is gone", &["builder", "prune", "-f"])?;
    step("a wrong filter", &["builder", "prune", "-f", "--filter", "color=red"])?;
    assert_eq!(ends(&built(&docker, &["-t", "x"], &dir)?), ["DONE"; 3]);
    step("without an answer", &["builder", "prune"])?;
    snapshots(sandbox, || insta::assert_snapshot!("builder_prune", text));
    Ok(())
}

/// A step upon no layer at all.
fn nothing_begins_with_nothing(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = "FROM scratch\nRUN --mount=from=busybox,source=/bin,target=/bin [\"/bin/sh\", \"-c\", \"echo made > /made\"]\nCOPY --from=busybox /bin/cat /cat\nCMD [\"/cat\", \"/made\"]\n";
    let dir = context(sandbox, "context", &[("Dockerfile", text)]);
    built(&docker, &["-t", "x"], &dir)?;
    assert_eq!(run(&docker, "x", &[])?, "made\n");
    let layers = docker.ran(["image", "inspect", "--format", "{{len .RootFS.Layers}}", "x"])?;
    assert_eq!(layers.stdout, "2\n", "{layers:?}");
    std::fs::write(dir.join("Dockerfile"), "FROM scratch\nENV A=b\n")?;
    built(&docker, &["-t", "y"], &dir)?;
    std::fs::write(dir.join("Dockerfile"), "FROM y\nCOPY Dockerfile /d\n")?;
    built(&docker, &["-t", "z"], &dir)?;
    Ok(())
}

/// Steps that change nothing, or the same, make the same layer: an overlay takes it only once.
fn equal_layers(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let touch = "RUN touch -d @1000000000 /x /";
    let text = format!(
        "FROM busybox\nRUN true\nRUN :\nCOPY f /f\nRUN rm /f\nCOPY f /f\nRUN true\n{touch}\nRUN rm /x; touch -d @1000000000 /\n{touch}\nRUN cat /f > /g\nFROM scratch\nCOPY --from=0 / /all\n"
    );
    let dir = context(sandbox, "context", &[("Dockerfile", &text), ("f", "f")]);
    built(&docker, &["-t", "x", "--target", "0"], &dir)?;
    assert_eq!(run(&docker, "x", &["sh", "-c", "cat /f /g; ls -d /x"])?, "ff/x\n");
    built(&docker, &["-t", "y"], &dir)?;
    built(&docker, &["-t", "z", "--target", "0", "--squash"], &dir)?;
    assert_eq!(run(&docker, "z", &["sh", "-c", "cat /f /g; ls -d /x"])?, "ff/x\n");
    Ok(())
}

/// Digest of the manifest: of everything.
fn digest(docker: &Docker, image: &str) -> crate::support::Result<String> {
    Ok(images::Store::open(&docker.root.join("images"))?.resolve(image)?.manifest_digest)
}

/// In other folders, by other people, on other days: stores of their own, files with other times and owners and in
/// another order.
fn the_same_input_is_the_same_image(sandbox: &Sandbox) -> Outcome {
    let text = "FROM busybox AS one\nRUN mkdir -p /d/e; for i in 3 1 2; do echo $i > /d/$i; done; ln /d/1 /d/one; date > /dev/null\n\
        FROM busybox\nARG V=1\nCOPY . /app/\nCOPY --from=one /d /d\nRUN cp -r /app /app2; rm /bin/vi\nWORKDIR /w\nENV A=b\nLABEL b=1 a=2\nADD t.tar /t/\nCOPY <<EOF /h\nx\nEOF\nCMD [\"a\"]\n";
    let names = ["f1", "f2", "sub/f3", "sub/f4"];
    let mut found = Vec::new();
    for round in 0..3 {
        let root = context(sandbox, &format!("round{round}"), &[]);
        let inner = Sandbox { dir: root.clone(), name: sandbox.name.clone() };
        let docker = Docker::new(&inner);
        // The base is the same for all; a store of its own each.
        let tar = crate::support::busybox_tar(sandbox)?;
        let config = ["import", "-c", "CMD [\"sh\"]", tar.to_str().unwrap(), "busybox"];
        let mut import = docker.command(config);
        assert_eq!(finish(import.env("SOURCE_DATE_EPOCH", "1600000000"))?.code, 0);
        if found.is_empty() {
            let saved = docker.ran([
                "save",
                "-o",
                sandbox.path("base.tar").to_str().unwrap(),
                "busybox",
            ])?;
            assert_eq!(saved.code, 0);
        } else {
            assert_eq!(docker.ran(["rmi", "busybox"])?.code, 0);
            assert_eq!(
                docker.ran(["load", "-q", "-i", sandbox.path("base.tar").to_str().unwrap()])?.code,
                0
            );
        }
        let dir = context(
            &inner,
            &format!("some/where{}", "/deeper".repeat(round)),
            &[("Dockerfile", text)],
        );
        let mut names = names.to_vec();
        names.rotate_left(round);
        for name in names {
            std::fs::create_dir_all(dir.join("sub"))?;
            std::fs::write(dir.join(name), name)?;
        }
        let packed = "mkdir ../t; echo t > ../t/t; touch -d @1111111111 ../t/t ../t; tar --sort=name --owner=0 --group=0 -C .. -cf t.tar t; rm -r ../t
            chown -R $0:$0 .; find . -exec touch -d @170000000$0 {} +";
        crate::support::stdout(
            std::process::Command::new("bash")
                .args(["-ec", packed, &round.to_string()])
                .current_dir(&dir),
        )?;
        let mut build = command(&docker, &["-t", "x"], &dir);
        build
            .env("SOURCE_DATE_EPOCH", "1650000000")
            .env("TZ", ["UTC", "Asia/Tokyo", "America/Lima"][round]);
        build.env("USER", format!("user{round}")).env("HOME", root.join("home"));
        let ran = finish(&mut build)?;
        assert_eq!(ran.code, 0, "{ran:?}");
        let squashed = finish(
            command(&docker, &["-t", "one", "--squash"], &dir)
                .env("SOURCE_DATE_EPOCH", "1650000000"),
        )?;
        assert_eq!(squashed.code, 0, "{squashed:?}");
        found.push((digest(&docker, "x")?, id(&docker, "x")?, digest(&docker, "one")?));
    }
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0], found[2]);
    Ok(())
}

/// Without SOURCE_DATE_EPOCH; with it, none is later.
fn times_of_files_are_those_of_the_source(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let dir = context(
        sandbox,
        "context",
        &[
            ("Dockerfile", "FROM busybox\nCOPY old new /d/\nRUN echo x > /d/made\n"),
            ("old", ""),
            ("new", ""),
        ],
    );
    for (name, time) in [("old", 1_000_000_000), ("new", 1_600_000_000)] {
        let touch =
            ["-d", &format!("@{time}"), dir.join(name).to_str().unwrap()].map(str::to_owned);
        crate::support::stdout(std::process::Command::new("touch").args(touch))?;
    }
    built(&docker, &["-t", "x"], &dir)?;
    let times =
        |image: &str| run(&docker, image, &["stat", "-c", "%Y", "/d/old", "/d/new", "/d/made"]);
    let now = times("x")?;
    let made = now.strip_prefix("1000000000\n1600000000\n").unwrap();
    assert!(made.trim().parse::<i64>()? > 1_700_000_000, "{now}");
    let clamped =
        finish(command(&docker, &["-t", "y"], &dir).env("SOURCE_DATE_EPOCH", "1500000000"))?;
    assert_eq!(clamped.code, 0, "{clamped:?}");
    assert_eq!(times("y")?, "1000000000\n1500000000\n1500000000\n");
    let created = docker.ran(["image", "inspect", "--format", "{{.Created}}", "y"])?.stdout;
    assert_eq!(created, "2017-07-14T02:40:00Z\n");
    Ok(())
}
