//! Layers against the real kernel, and against the tools whose layers they must be.

#![allow(clippy::unwrap_used)]

#[path = "layers/hostile.rs"]
mod hostile;
#[path = "layers/limits.rs"]
mod limits;
#[path = "layers/mounting.rs"]
mod mounting;
#[path = "layers/random.rs"]
mod random;
#[path = "layers/storing.rs"]
mod storing;
#[path = "layers/support.rs"]
mod support;
#[path = "layers/unpacking.rs"]
mod unpacking;

use std::path::Path;

use testkit::{Outcome, Sandbox};

fn main() {
    testkit::main(&[
        ("a_tree_equals_the_one_umoci_unpacks", unpacking::a_tree_equals_the_one_umoci_unpacks),
        ("a_stack_equals_the_one_umoci_merges", unpacking::a_stack_equals_the_one_umoci_merges),
        ("every_kind_of_entry_arrives_whole", unpacking::every_kind_of_entry_arrives_whole),
        ("extensions_of_all_ages_are_read", unpacking::extensions_of_all_ages_are_read),
        ("sparse_files_of_all_versions", unpacking::sparse_files_of_all_versions),
        ("the_last_of_equal_names_counts", unpacking::the_last_of_equal_names_counts),
        ("directories_keep_their_times", unpacking::directories_keep_their_times),
        ("links_to_directories_lead_inside", unpacking::links_to_directories_lead_inside),
        ("whiteouts_are_about_lower_layers", unpacking::whiteouts_are_about_lower_layers),
        ("hostile_archives_do_no_harm", hostile::hostile_archives_do_no_harm),
        ("cut_and_damaged_archives_are_refused", hostile::cut_and_damaged_archives_are_refused),
        ("very_deep_trees_can_be_removed", hostile::very_deep_trees_can_be_removed),
        ("limits_are_kept_to_the_last_byte", limits::limits_are_kept_to_the_last_byte),
        ("a_bomb_meets_a_quota", limits::a_bomb_meets_a_quota),
        ("memory_does_not_grow_with_the_archive", limits::memory_does_not_grow_with_the_archive),
        ("random_trees_go_there_and_back", random::random_trees_go_there_and_back),
        ("a_layer_is_kept_once", storing::a_layer_is_kept_once),
        ("a_tampered_layer_leaves_nothing", storing::a_tampered_layer_leaves_nothing),
        ("a_killed_add_is_completed_by_the_next", storing::a_killed_add_is_completed_by_the_next),
        ("two_processes_add_the_same_layer", storing::two_processes_add_the_same_layer),
        ("leftovers_are_removed_by_many_at_once", storing::leftovers_are_removed_by_many_at_once),
        ("a_power_cut_takes_what_was_not_synced", storing::a_power_cut_takes_what_was_not_synced),
        ("no_thread_is_left", storing::no_thread_is_left),
        ("a_disk_error_ends_the_reader", storing::a_disk_error_ends_the_reader),
        ("a_layer_may_be_there_twice", mounting::a_layer_may_be_there_twice),
        ("the_topmost_layer_wins", mounting::the_topmost_layer_wins),
        ("many_and_oddly_named_layers", mounting::many_and_oddly_named_layers),
        ("all_layers_in_one_option", mounting::all_layers_in_one_option),
        ("a_diff_is_what_a_container_changed", mounting::a_diff_is_what_a_container_changed),
        ("an_upper_folder_is_adopted", mounting::an_upper_folder_is_adopted),
        ("roots_and_archives_of_builds", mounting::roots_and_archives_of_builds),
        ("a_diff_refuses_what_it_cannot_say", mounting::a_diff_refuses_what_it_cannot_say),
        ("overlay_on_overlay_is_detected", mounting::overlay_on_overlay_is_detected),
        ("layers_in_a_user_namespace", mounting::layers_in_a_user_namespace),
        ("the_lesson_tells_the_truth", the_lesson_tells_the_truth),
        ("the_lesson_where_mounts_are_shared", the_lesson_where_mounts_are_shared),
    ]);
}

fn the_lesson_tells_the_truth(sandbox: &Sandbox) -> Outcome {
    let lesson = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    testkit::console::check(&lesson, &sandbox.dir)
}

fn the_lesson_where_mounts_are_shared(sandbox: &Sandbox) -> Outcome {
    testkit::where_mounts_are_shared(sandbox, the_lesson_tells_the_truth)
}
