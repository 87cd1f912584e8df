//! Chapter 02 against the real kernel: v1 and hybrid on the host, v2 in the virtual machine of tests/vm/run. The same
//! tests run in both; the few that only one arrangement can show are chosen by what is detected.
//!
//! Limits are proved by enforcement: with the limit the process is killed, refused or held back; the same process
//! without it lives.

#![allow(clippy::unwrap_used)]

#[path = "cgroups/inside.rs"]
mod inside;
#[path = "cgroups/life.rs"]
mod life;
#[path = "cgroups/limits.rs"]
mod limits;
#[path = "cgroups/nested.rs"]
mod nested;

use std::path::Path;

use cgroups::{Controller, Hierarchies, Mode};
use testkit::{Outcome, Sandbox, Test};

fn main() {
    let mut tests: Vec<Test> = vec![
        ("detection_agrees_with_mountinfo", life::detection_agrees_with_mountinfo),
        ("in_force_before_the_first_instruction", life::in_force_before_the_first_instruction),
        ("a_running_process_can_be_added", life::a_running_process_can_be_added),
        ("the_guard_removes", life::the_guard_removes),
        ("a_forked_copy_of_the_guard_does_nothing", life::a_forked_copy_of_the_guard_does_nothing),
        ("a_namesake_is_refused_and_left_alone", life::a_namesake_is_refused_and_left_alone),
        ("cgroups_made_inside_are_removed_too", life::cgroups_made_inside_are_removed_too),
        ("leftovers_are_reclaimed", life::leftovers_are_reclaimed),
        ("kill_ends_a_fork_bomb", life::kill_ends_a_fork_bomb),
        ("kill_ends_frozen_processes", life::kill_ends_frozen_processes),
        ("freeze_stops_and_thaw_goes_on", life::freeze_stops_and_thaw_goes_on),
        ("memory_beyond_the_limit_is_killed", limits::memory_beyond_the_limit_is_killed),
        ("pids_end_with_eagain", limits::pids_end_with_eagain),
        ("cpu_quota_holds", limits::cpu_quota_holds),
        ("devices_not_listed_are_refused", limits::devices_not_listed_are_refused),
        ("dockers_device_list_holds", limits::dockers_device_list_holds),
        ("io_is_held_back", limits::io_is_held_back),
        ("limits_change_while_it_runs", limits::limits_change_while_it_runs),
        ("a_missing_controller_is_named", limits::a_missing_controller_is_named),
        ("the_container_sees_its_cgroup_as_the_root", nested::container_sees_its_own_root),
        ("the_lesson_is_true", the_lesson_is_true),
    ];
    // If nothing is mounted, the tests say so themselves.
    if let Ok(h) = Hierarchies::detect() {
        if h.mode() == Mode::Unified {
            tests.push(("nested_v2_moves_processes_to_a_leaf", nested::v2_moves_to_a_leaf));
        } else {
            tests.push(("update_joins_another_v1_hierarchy", life::update_joins_another_hierarchy));
        }
        if h.home(Controller::Cpuset).is_some() {
            tests.push(("cpuset_confines", limits::cpuset_confines));
        } else {
            println!("NOT IN THIS KERNEL: cpuset (cpuset_confines does not run)");
        }
    }
    testkit::main(&tests);
}

/// The blocks of the lesson, those under a heading that ends in `(v1)` or `(v2)` only where there is such a tree.
fn the_lesson_is_true(sandbox: &Sandbox) -> Outcome {
    let lesson = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"))?;
    let other = if Hierarchies::detect()?.mode() == Mode::Unified { "(v1)" } else { "(v2)" };
    let (mut here, mut text) = (true, String::new());
    for line in lesson.lines() {
        if line.starts_with("##") {
            here = !line.ends_with(other);
        }
        // An empty line in place of another keeps the line numbers right.
        text.push_str(if here { line } else { "" });
        text.push('\n');
    }
    let file = sandbox.path("README.md");
    std::fs::write(&file, text)?;
    testkit::console::check(&file, &sandbox.dir)
}
