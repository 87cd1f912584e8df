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

pub(crate) fn the_lesson_where_mounts_are_shared(sandbox: &Sandbox) -> Outcome {
    testkit::where_mounts_are_shared(sandbox, the_lesson_tells_the_truth)
}
