//! Where a build comes from: a folder, standard input, an archive, a repository.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::{Outcome, Sandbox, Test};

use crate::room::{build, built, command, context, leftovers, run};
use crate::support::{Docker, Ran, Result, finish, stdout};

pub const TESTS: &[Test] = &[
    ("standard_input", standard_input),
    ("an_archive_file", an_archive_file),
    ("a_dockerfile_elsewhere", a_dockerfile_elsewhere),
    ("a_repository", a_repository),
    ("links_do_not_lead_out", links_do_not_lead_out),
];

fn with_input(docker: &Docker, flags: &[&str], context: &Path, input: &Path) -> Result<Ran> {
    finish(command(docker, flags, context).stdin(Stdio::from(File::open(input)?)))
}

fn standard_input(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let files = [
        ("Dockerfile", "FROM busybox\nCOPY f /f\n"),
        ("sub/Other", "FROM busybox\nCOPY f /other\n"),
        ("f", "file"),
        ("alone", "FROM busybox\nRUN echo alone > /f\n"),
    ];
    let dir = context(sandbox, "context", &files);
    let stdin = Path::new("-");
    let ran = with_input(&docker, &["-t", "x"], stdin, &dir.join("alone"))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(run(&docker, "x", &["cat", "/f"])?, "alone\n");
    for kind in ["tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"] {
        let tar = sandbox.path(format!("context.{kind}"));
        stdout(Command::new("tar").arg("-C").arg(&dir).arg("-caf").arg(&tar).arg("."))?;
        let ran = with_input(&docker, &["-t", "x"], stdin, &tar)?;
        assert_eq!(ran.code, 0, "{kind}: {ran:?}");
        assert_eq!(run(&docker, "x", &["cat", "/f"])?, "file");
        let ran = with_input(&docker, &["-t", "x", "-f", "sub/Other"], stdin, &tar)?;
        assert_eq!(ran.code, 0, "{kind}: {ran:?}");
        assert_eq!(run(&docker, "x", &["cat", "/other"])?, "file");
    }
    let ran = with_input(&docker, &["-t", "x", "-f", "-"], &dir, &dir.join("sub/Other"))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(run(&docker, "x", &["cat", "/other"])?, "file");
    // A Dockerfile alone has no files.
    let ran = with_input(&docker, &[], stdin, &dir.join("Dockerfile"))?;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("/f"), "{ran:?}");
    // Half an archive, and nothing.
    let whole = std::fs::read(sandbox.path("context.tar.gz"))?;
    std::fs::write(sandbox.path("half"), &whole[..whole.len() / 2])?;
    std::fs::write(sandbox.path("nothing"), "")?;
    for input in ["half", "nothing"] {
        let ran = with_input(&docker, &[], stdin, &sandbox.path(input))?;
        assert_eq!(ran.code, 1, "{input}: {ran:?}");
        assert!(ran.stderr.starts_with("mini-docker: "), "{input}: {ran:?}");
    }
    assert!(leftovers(&docker)?.is_empty());
    Ok(())
}

fn an_archive_file(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let dir = context(
        sandbox,
        "context",
        &[
            ("Dockerfile", "FROM busybox\nCOPY . /all/\n"),
            ("f", "f"),
            (".dockerignore", "g"),
            ("g", "g"),
        ],
    );
    let tar = sandbox.path("context.tgz");
    stdout(Command::new("tar").arg("-C").arg(&dir).arg("-czf").arg(&tar).arg("."))?;
    built(&docker, &["-t", "x"], &tar)?;
    assert_eq!(run(&docker, "x", &["ls", "-A", "/all"])?, ".dockerignore\nDockerfile\nf\n");
    Ok(())
}

fn a_dockerfile_elsewhere(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let dir = context(
        sandbox,
        "context",
        &[
            ("f", "f"),
            ("g", "g"),
            (".dockerignore", "f"),
            ("sub/D", "FROM busybox\nCOPY . /all/\n"),
        ],
    );
    let other = context(
        sandbox,
        "other",
        &[("D", "FROM busybox\nCOPY . /all/\n"), ("D.dockerignore", "g\nsub")],
    );
    built(&docker, &["-t", "x", "-f", other.join("D").to_str().unwrap()], &dir)?;
    assert_eq!(
        run(&docker, "x", &["ls", "-A", "/all"])?,
        ".dockerignore\nf\n",
        "its own .dockerignore"
    );
    // As people write it: from here.
    let mut here = command(&docker, &["-t", "x", "-f", "sub/D"], Path::new("."));
    let ran = finish(here.current_dir(&dir))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(run(&docker, "x", &["ls", "-A", "/all"])?, ".dockerignore\ng\nsub\n");
    Ok(())
}

fn a_repository(sandbox: &Sandbox) -> Outcome {
    if Command::new("git").arg("--version").output().is_err() {
        return testkit::skip("needs git (Debian: git)");
    }
    let docker = Docker::with_busybox(sandbox)?;
    let dir =
        context(sandbox, "work", &[("Dockerfile", "FROM busybox\nCOPY . /all/\n"), ("f", "main")]);
    let bare = sandbox.path("app.git");
    let script = "set -e; export HOME=$(dirname $0); git config --global user.email t@example.org; git config --global user.name t
        git init -q -b main; git add .; git commit -qm one
        git checkout -qb side; echo side > f; mkdir deep; echo 'FROM busybox
COPY f /f' > deep/Dockerfile; echo deep > deep/f; git add .; git commit -qm two; git tag v1
        git checkout -q main; git clone -q --bare . $0";
    stdout(Command::new("bash").args(["-c", script]).arg(&bare).current_dir(&dir))?;
    let url = format!("file://{}", bare.display());
    let commit = stdout(Command::new("git").arg("-C").arg(&bare).args(["rev-parse", "side"]))?;
    for (fragment, path, content) in [
        ("", "/all/f", "main"),
        ("#side", "/all/f", "side\n"),
        ("#v1", "/all/f", "side\n"),
        ("#side:deep", "/f", "deep\n"),
        (&*format!("#{}", commit.trim()), "/all/f", "side\n"),
    ] {
        built(&docker, &["-t", "x"], Path::new(&format!("{url}{fragment}")))?;
        assert_eq!(run(&docker, "x", &["cat", path])?, content, "{fragment}");
        assert!(leftovers(&docker)?.is_empty());
    }
    assert_eq!(
        run(&docker, "x", &["ls", "-A", "/all"])?,
        "Dockerfile\ndeep\nf\n",
        "without the repository itself"
    );
    built(
        &docker,
        &["-t", "x", "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"],
        Path::new(&url),
    )?;
    assert_eq!(run(&docker, "x", &["ls", "-A", "/all"])?, ".git\nDockerfile\nf\n");
    for (fragment, words) in [
        ("#none", "git fetch"),
        ("#side:none", "there is no folder none"),
        ("#side:../..", "there is no folder"),
    ] {
        let ran = build(&docker, &[], Path::new(&format!("{url}{fragment}")))?;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains(words), "{fragment}: {ran:?}");
    }
    assert!(leftovers(&docker)?.is_empty());
    Ok(())
}

/// Neither in the context nor in an image.
fn links_do_not_lead_out(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let outside =
        context(sandbox, "outside", &[("secret", "secret"), ("Dockerfile", "FROM busybox\n")]);
    let dir = context(sandbox, "context", &[("Dockerfile", "FROM busybox\nCOPY link/secret /a\n")]);
    std::os::unix::fs::symlink(&outside, dir.join("link"))?;
    let ran = build(&docker, &["-t", "x"], &dir)?;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("link/secret"), "{ran:?}");
    // A link in the image that points to a place of the machine is one in the image.
    let text = format!(
        "FROM busybox\nRUN ln -s {} /out\nCOPY Dockerfile /out/made\nADD a.tar /out/\n",
        outside.display()
    );
    std::fs::write(dir.join("Dockerfile"), text)?;
    stdout(Command::new("tar").arg("-C").arg(&outside).arg("-cf").arg(dir.join("a.tar")).args([
        "--transform",
        "s/^/sub\\//",
        "Dockerfile",
    ]))?;
    let before = std::fs::read_dir(&outside)?.count();
    let ran = build(&docker, &["-t", "x"], &dir)?;
    assert_eq!(std::fs::read_dir(&outside)?.count(), before, "{ran:?}");
    Ok(())
}
