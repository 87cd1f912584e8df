//! The corpus: Dockerfiles that say each instruction and each rule of the language, built here and by buildah from the
//! same base and the same context. The images must be the same, setting by setting and file by file; where they are not,
//! the case says what differs and why. What buildah does not know is compared with lines written by hand, from Docker's
//! documentation.

#[path = "corpus/files.rs"]
mod files;
#[path = "corpus/language.rs"]
mod language;
#[path = "corpus/run.rs"]
mod run;
#[path = "corpus/settings.rs"]
mod settings;
#[path = "corpus/stages.rs"]
mod stages;
#[path = "corpus/unpack.rs"]
mod unpack;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Outcome, Sandbox, Test};

use crate::peer::{Buildah, Built, built};
use crate::support::{Docker, Result, stdout};
use crate::tree::{self, Tree};

pub const TESTS: &[Test] = &[
    ("corpus_language", |sandbox| compare(sandbox, language::CASES)),
    ("corpus_settings", |sandbox| compare(sandbox, settings::CASES)),
    ("corpus_files", |sandbox| compare(sandbox, files::CASES)),
    ("corpus_unpack", |sandbox| compare(sandbox, unpack::CASES)),
    ("corpus_run", |sandbox| compare(sandbox, run::CASES)),
    ("corpus_stages", |sandbox| compare(sandbox, stages::CASES)),
    ("corpus_is_as_large_as_it_says", corpus_is_as_large_as_it_says),
];

/// A Dockerfile and what is to come of it.
pub struct Case {
    pub name: &'static str,
    pub dockerfile: &'static str,
    /// Makes the context more special: a shell script in it.
    pub prepare: &'static str,
    /// A Dockerfile of an image `before`, which this one begins with.
    pub before: &'static str,
    /// For both builders.
    pub flags: &'static [&'static str],
    pub expect: Expect,
}

/// What the image is compared with.
pub enum Expect {
    /// That of buildah: it is the same.
    Same,
    /// That of buildah, but for some lines.
    But { why: &'static str, here: &'static [&'static str], buildah: &'static [&'static str] },
    /// These lines: settings, and the changes to the base. buildah 1.28 cannot build it.
    Lines { why: &'static str, lines: &'static [&'static str] },
}

/// What cases leave out.
pub const CASE: Case =
    Case { name: "", dockerfile: "", prepare: "", before: "", flags: &[], expect: Expect::Same };

fn corpus_is_as_large_as_it_says(_: &Sandbox) -> Outcome {
    let all =
        [language::CASES, settings::CASES, files::CASES, unpack::CASES, run::CASES, stages::CASES];
    let names: BTreeSet<&str> = all.iter().copied().flatten().map(|case| case.name).collect();
    assert_eq!(names.len(), all.iter().map(|cases| cases.len()).sum::<usize>(), "names are unique");
    assert!(names.len() >= 60, "only {}", names.len());
    let words: BTreeSet<String> = all
        .iter()
        .copied()
        .flatten()
        .flat_map(|case| case.dockerfile.lines().chain(case.before.lines()))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_uppercase)
        .collect();
    for word in [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ] {
        assert!(words.contains(word), "no Dockerfile has {word}");
    }
    Ok(())
}

/// The context that all cases begin with. Everything in it is of the same second, long ago.
const CONTEXT: &str = r#"
printf 'hello\n' > hello.txt; printf '#!/bin/sh\necho tool\n' > tool.sh; chmod 755 tool.sh
printf key > key; chmod 600 key; chown 1000:1001 key
for name in a.c b.c notes.md 'odd name.txt' 'arr[0].txt'; do printf '%s\n' "$name" > "$name"; done
mkdir -p src/lib src/empty docs/api; chmod 700 src/lib; chown 1000:1000 src/lib
for name in src/main.c src/lib/util.c src/lib/util.h src/.hidden docs/README.md docs/api/index.md docs/api/old.md; do
    printf '%s\n' "$name" > "$name"
done
ln -s hello.txt link; ln -s ../hello.txt src/up; ln -s nowhere broken; ln -s docs folder
printf one > hard1; ln hard1 hard2
"#;

/// Gives everything the same time. Links too.
const AGE: &str = "find . -exec touch -h -d @1000000000 {} +";

struct Room<'s> {
    sandbox: &'s Sandbox,
    docker: Docker,
    buildah: Buildah<'s>,
    base: Tree,
}

fn compare(sandbox: &Sandbox, cases: &[Case]) -> Outcome {
    let room = Room::new(sandbox)?;
    let mut wrong = Vec::new();
    for case in cases {
        if let Err(error) = room.check(case) {
            wrong.push(format!("{}: {error}", case.name));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n\n").into()) }
}

impl<'s> Room<'s> {
    fn new(sandbox: &'s Sandbox) -> Result<Self> {
        let buildah = Buildah::new(sandbox)?;
        let docker = base(sandbox)?;
        buildah.take(&docker, "busybox")?;
        let base = built(&docker, sandbox, "busybox")?.tree;
        Ok(Self { sandbox, docker, buildah, base })
    }

    fn check(&self, case: &Case) -> Result<()> {
        let context = self.sandbox.path("context");
        if context.exists() {
            std::fs::remove_dir_all(&context)?;
        }
        make(&context, case.prepare)?;
        let beside = !matches!(case.expect, Expect::Lines { .. });
        if !case.before.is_empty() {
            self.here("before", &[], &self.file(case.before)?, &context)?;
            if beside {
                self.there("localhost/before", &[], &self.file(case.before)?, &context)?;
            }
        }
        let file = self.file(case.dockerfile)?;
        let here = self.lines(self.here("case", case.flags, &file, &context)?);
        let expected =
            |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<BTreeSet<_>>();
        let (only_here, only_there, why) = match &case.expect {
            Expect::Lines { lines, why } => {
                let there = expected(lines);
                return same(&(&here - &there), &(&there - &here), why);
            }
            Expect::Same => (BTreeSet::new(), BTreeSet::new(), ""),
            Expect::But { here, buildah, why } => (expected(here), expected(buildah), *why),
        };
        let there = self.lines(self.there("case", case.flags, &file, &context)?);
        let (ours, theirs) = (&here - &there, &there - &here);
        if (&ours, &theirs) == (&only_here, &only_there) {
            return Ok(());
        }
        same(&ours, &theirs, why)
    }

    fn file(&self, text: &str) -> Result<PathBuf> {
        let file = self.sandbox.path("Dockerfile");
        std::fs::write(&file, text)?;
        Ok(file)
    }

    fn here(&self, name: &str, flags: &[&str], file: &Path, context: &Path) -> Result<Built> {
        let (file, context) = (file.to_str().unwrap(), context.to_str().unwrap());
        let fixed = ["build", "--network", "none", "--progress", "plain", "-t", name, "-f", file];
        let ran = self.docker.ran([&fixed[..], flags, &[context]].concat())?;
        if ran.code != 0 {
            return Err(format!("here: {}\n{}", ran.code, ran.stderr).into());
        }
        built(&self.docker, self.sandbox, name)
    }

    fn there(&self, name: &str, flags: &[&str], file: &Path, context: &Path) -> Result<Built> {
        let ran = self.buildah.build(name, flags, file, context)?;
        if ran.code != 0 {
            return Err(format!("buildah: {}\n{}", ran.code, ran.stderr).into());
        }
        self.buildah.built(&ran.stdout)
    }

    fn lines(&self, built: Built) -> BTreeSet<String> {
        let mut lines = tree::changes(&built.tree, &self.base);
        lines.extend(built.settings);
        lines
    }
}

fn same(here: &BTreeSet<String>, there: &BTreeSet<String>, why: &str) -> Result<()> {
    if here.is_empty() && there.is_empty() {
        return Ok(());
    }
    let mut text = "the images differ".to_owned();
    if !why.is_empty() {
        text.push_str(&format!(", and not only so: {why}"));
    }
    here.iter().for_each(|line| text.push_str(&format!("\n  here:  {line}")));
    there.iter().for_each(|line| text.push_str(&format!("\n  there: {line}")));
    Err(text.into())
}

/// A context with everything in it.
pub fn make(context: &Path, prepare: &str) -> Result<()> {
    std::fs::create_dir_all(context)?;
    let script = format!("set -e; umask 022\n{CONTEXT}\n{prepare}\n{AGE}");
    stdout(Command::new("bash").args(["-c", &script]).current_dir(context))?;
    Ok(())
}

/// State roots with the base image `busybox`, old, with a user and a group that can be named.
pub fn base(sandbox: &Sandbox) -> Result<Docker> {
    let root = sandbox.busybox_rootfs("busybox")?;
    let script = format!(
        "echo web:x:33:34::/srv:/bin/sh >> etc/passwd; echo web:x:34: >> etc/group; echo staff:x:50:web >> etc/group
        mkdir -p srv run old/deep; touch etc/hosts etc/hostname etc/resolv.conf; echo old > old/file; echo deep > old/deep/file; ln -s old way; chmod 1777 tmp; {AGE}"
    );
    stdout(Command::new("bash").args(["-c", &script]).current_dir(&root))?;
    let docker = Docker::new(sandbox);
    let tar = sandbox.path("busybox.tar");
    stdout(Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&tar).arg("."))?;
    let ran = docker.ran([
        "import",
        "-c",
        "CMD [\"sh\"]",
        "-c",
        "ENV PATH=/bin BASE=yes",
        tar.to_str().unwrap(),
        "busybox",
    ])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Ok(docker)
}
