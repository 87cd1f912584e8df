//! Chapter 01 against the real kernel: an observer outside looks at what the child got.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use testkit::{Outcome, Sandbox};

#[path = "namespaces/exec.rs"]
mod exec;
#[path = "namespaces/helpers.rs"]
mod helpers;
#[path = "namespaces/joining.rs"]
mod joining;
#[path = "namespaces/lifetime.rs"]
mod lifetime;
#[path = "namespaces/reaper.rs"]
mod reaper;
#[path = "namespaces/seen.rs"]
mod seen;

fn main() {
    testkit::main(&[
        ("every_created_namespace_is_new", seen::every_created_namespace_is_new),
        ("what_is_not_created_is_shared", seen::what_is_not_created_is_shared),
        ("the_first_process_is_pid_1", seen::the_first_process_is_pid_1),
        ("a_name_of_its_own", seen::a_name_of_its_own),
        ("the_map_is_exact", seen::the_map_is_exact),
        ("an_ordinary_user_may_be_root_inside", seen::an_ordinary_user_may_be_root_inside),
        ("clocks_of_its_own", seen::clocks_of_its_own),
        ("born_in_a_cgroup_that_is_its_root", seen::born_in_a_cgroup_that_is_its_root),
        ("signals_are_at_their_defaults", seen::signals_are_at_their_defaults),
        ("the_childs_error_arrives_whole", lifetime::the_childs_error_arrives_whole),
        ("a_panic_in_the_child_is_an_error", lifetime::a_panic_in_the_child_is_an_error),
        ("a_dropped_child_is_killed", lifetime::a_dropped_child_is_killed),
        ("the_body_waits_for_go", lifetime::the_body_waits_for_go),
        ("a_killed_parent_takes_the_child_along", lifetime::a_killed_parent_takes_the_child_along),
        ("the_end_is_told_as_it_was", lifetime::the_end_is_told_as_it_was),
        ("a_running_process_outlives_its_handle", lifetime::a_running_process_outlives_its_handle),
        ("joined_namespaces_are_the_same", joining::joined_namespaces_are_the_same),
        ("a_joined_child_is_out_of_reach", joining::a_joined_child_is_out_of_reach),
        ("a_new_user_in_an_old_network", joining::a_new_user_in_an_old_network),
        ("into_a_running_process", joining::into_a_running_process),
        ("a_child_beside_a_running_process", joining::a_child_beside_a_running_process),
        ("a_failed_start_says_why", exec::a_failed_start_says_why),
        ("path_is_searched_as_execvp_does", exec::path_is_searched_as_execvp_does),
        ("init_is_pid_1_and_reaps", reaper::init_is_pid_1_and_reaps),
        ("init_forwards_signals", reaper::init_forwards_signals),
        ("init_ends_as_its_child", reaper::init_ends_as_its_child),
        ("inits_binary_cannot_be_opened", reaper::inits_binary_cannot_be_opened),
        ("a_failed_exec_passes_init", reaper::a_failed_exec_passes_init),
        ("the_terminal_belongs_to_the_program", reaper::the_terminal_belongs_to_the_program),
        ("the_lesson_is_true", the_lesson_is_true),
        ("the_lesson_where_mounts_are_shared", the_lesson_where_mounts_are_shared),
    ]);
}

fn the_lesson_is_true(sandbox: &Sandbox) -> Outcome {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    testkit::console::check(&readme, &sandbox.dir)
}

fn the_lesson_where_mounts_are_shared(sandbox: &Sandbox) -> Outcome {
    testkit::where_mounts_are_shared(sandbox, the_lesson_is_true)
}
