//! The example and the lesson.

use std::path::Path;
use std::process::Command;

use testkit::{Outcome, Sandbox};

pub(crate) fn the_example_runs(sandbox: &Sandbox) -> Outcome {
    let output = Command::new(testkit::example("two-hosts")?).current_dir(&sandbox.dir).output()?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("0% packet loss"), "{text}");
    assert_eq!(crate::world::sh("ip -br link | wc -l")?.trim(), "1", "only lo is left");
    Ok(())
}

pub(crate) fn the_lesson_tells_the_truth(sandbox: &Sandbox) -> Outcome {
    testkit::console::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"), &sandbox.dir)
}

/// As on a machine with systemd, where every mount is shared: what a lesson mounts in another
/// namespace must not appear in this one.
pub(crate) fn the_lesson_where_mounts_are_shared(sandbox: &Sandbox) -> Outcome {
    let status = std::process::Command::new("mount").args(["--make-rshared", "/"]).status()?;
    assert!(status.success());
    let before = std::fs::read_to_string("/proc/self/mounts")?;
    the_lesson_tells_the_truth(sandbox)?;
    assert_eq!(std::fs::read_to_string("/proc/self/mounts")?, before);
    Ok(())
}
