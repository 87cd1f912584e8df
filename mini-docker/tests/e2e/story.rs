//! `run --explain` against strace: every call that makes a container is told, and nothing is told that did not happen.

use std::collections::BTreeSet;
use std::process::Command;

use testkit::{Outcome, Sandbox, Test, skip};

use crate::support::{Docker, finish};

pub const TESTS: &[Test] = &[
    ("the_story_is_what_strace_sees", the_story_is_what_strace_sees),
    ("the_story_has_all_its_steps", the_story_has_all_its_steps),
];

/// Calls that change what a process is or sees: the subject of the story. Reading, writing, memory and descriptors
/// serve every program and are left out on strace's side, and so is the execveat by which mini-docker starts from a
/// read-only mount before the story begins.
const SUBJECT: &[&str] = &[
    "capset",
    "chdir",
    "chroot",
    "clone3",
    "close_range",
    "execve",
    "fchdir",
    "fsconfig",
    "fsmount",
    "fsopen",
    "keyctl",
    "mknodat",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "openat2",
    "pivot_root",
    "seccomp",
    "setdomainname",
    "setgroups",
    "sethostname",
    "setns",
    "setresgid",
    "setresuid",
    "setsid",
    "symlinkat",
    "umount2",
    "unshare",
    "waitid",
];

const RUN: &[&str] = &[
    "run",
    "--rm",
    "-p",
    "18082:80",
    "-m",
    "64m",
    "-v",
    "data:/data",
    "-h",
    "box",
    "busybox",
    "/bin/true",
];

/// Names of the calls in the story's lines: `12 µs  child   03-rootfs  pivot_root(".", ".")`.
fn told(story: &str) -> BTreeSet<String> {
    story
        .lines()
        .filter(|line| line.contains(" µs  parent") || line.contains(" µs  child"))
        .filter_map(|line| line.split_whitespace().nth(4)?.split('(').next().map(str::to_owned))
        .collect()
}

fn the_story_is_what_strace_sees(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let story = docker.ran(["run", "--explain"].iter().chain(&RUN[1..]))?;
    assert_eq!(story.code, 0, "{story:?}");
    let told = told(&story.stderr);
    let log = sandbox.path("strace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o"]).arg(&log).arg(env!("CARGO_BIN_EXE_mini-docker")).args(RUN);
    strace.env("MINI_DOCKER_ROOT", &docker.root).env("MINI_DOCKER_RUN_ROOT", &docker.run_root);
    if strace.output().is_err() {
        return skip("needs strace (Debian: strace)");
    }
    let seen: BTreeSet<String> = std::fs::read_to_string(&log)?
        .lines()
        .filter_map(|line| {
            let call = line.split_once(' ')?.1.trim_start().split('(').next()?;
            call.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                .then(|| call.to_owned())
        })
        .collect();
    let subject: BTreeSet<String> = SUBJECT.iter().map(|name| (*name).to_owned()).collect();
    let untold: Vec<_> = seen.intersection(&subject).filter(|call| !told.contains(*call)).collect();
    assert!(untold.is_empty(), "strace sees {untold:?}, the story is silent about them");
    let invented: Vec<_> = told.iter().filter(|call| !seen.contains(*call)).collect();
    assert!(invented.is_empty(), "the story tells of {invented:?}, strace does not see them");
    assert!(told.len() > 25, "{told:?}");
    Ok(())
}

fn the_story_has_all_its_steps(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let story = docker.ran(["run", "--explain"].iter().chain(&RUN[1..]))?.stderr;
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\(\d+ µs in \d+ calls\)", "([TIME])");
    settings.add_filter(r"(?m)^\d+ calls, .*$", "[TOTAL]");
    let headings: String = story
        .lines()
        .filter(|line| !line.contains(" µs  "))
        .map(|line| format!("{line}\n"))
        .collect();
    settings.bind(|| insta::assert_snapshot!(headings));
    let of = |process: &str| {
        story.lines().filter(|line| line.contains(&format!(" µs  {process}"))).count()
    };
    assert!(of("parent") > 30 && of("child") > 80, "{story}");
    let pivot = story.lines().find(|line| line.contains("pivot_root(")).unwrap();
    assert!(pivot.contains("child") && pivot.contains("03-rootfs"), "{pivot}");
    // Without the flag nothing is told.
    assert_eq!(finish(&mut docker.command(RUN))?.stderr, "");
    Ok(())
}
