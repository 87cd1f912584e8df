//! The lesson, executed.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use testkit::{Outcome, Sandbox};

fn main() {
    testkit::main(&[
        ("the_lesson_tells_the_truth", the_lesson_tells_the_truth),
        ("the_lesson_where_mounts_are_shared", the_lesson_where_mounts_are_shared),
        ("the_second_part_tells_the_truth", the_second_part_tells_the_truth),
        ("the_toy_is_the_one_in_the_lesson", the_toy_is_the_one_in_the_lesson),
    ]);
}

fn check(file: &str, sandbox: &Sandbox) -> Outcome {
    testkit::console::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file), &sandbox.dir)
}

fn the_lesson_tells_the_truth(sandbox: &Sandbox) -> Outcome {
    check("README.md", sandbox)
}

fn the_lesson_where_mounts_are_shared(sandbox: &Sandbox) -> Outcome {
    testkit::where_mounts_are_shared(sandbox, the_lesson_tells_the_truth)
}

fn the_second_part_tells_the_truth(sandbox: &Sandbox) -> Outcome {
    check("BUILDER.md", sandbox)
}

/// Who types it from the page types what was compiled and executed.
fn the_toy_is_the_one_in_the_lesson(_sandbox: &Sandbox) -> Outcome {
    let lesson = include_str!("../README.md");
    let (_, rest) = lesson.split_once("```rust\n").ok_or("no block of Rust in the lesson")?;
    let (shown, _) = rest.split_once("```\n").ok_or("the block does not end")?;
    let compiled = include_str!("../examples/toy.rs");
    let code = compiled.split_once("\n\n").ok_or("no module doc")?.1;
    if shown == code { Ok(()) } else { Err("the toy of README.md is not examples/toy.rs".into()) }
}
