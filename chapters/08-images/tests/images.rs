//! The image store against archives of other tools, broken and hostile archives, crashes and company.

#![allow(clippy::unwrap_used)]

#[path = "images/archives.rs"]
mod archives;
#[path = "images/broken.rs"]
mod broken;
#[path = "images/crash.rs"]
mod crash;
#[path = "images/make.rs"]
mod make;
#[path = "images/save.rs"]
mod save;
#[path = "images/store.rs"]
mod store;
#[path = "images/tools.rs"]
mod tools;

use std::path::Path;

use testkit::{Outcome, Sandbox};

fn main() {
    testkit::main(&[
        ("skopeo_reads_the_store_in_place", tools::skopeo_reads_the_store_in_place),
        ("docker_archives_of_skopeo_load", tools::docker_archives_of_skopeo_load),
        ("every_form_of_archive_loads", archives::every_form_of_archive_loads),
        ("an_index_is_chosen_by_platform", archives::an_index_is_chosen_by_platform),
        ("archives_of_old_docker_load", archives::archives_of_old_docker_load),
        ("broken_archives_are_one_line_and_leave_nothing", archives::broken_archives),
        ("hostile_folders_stay_inside", archives::hostile_folders_stay_inside),
        ("names_and_ids_are_resolved", store::names_and_ids_are_resolved),
        ("removing_follows_docker", store::removing_follows_docker),
        ("a_root_file_system_is_imported", store::a_root_file_system_is_imported),
        ("damage_is_named_and_can_be_removed", store::damage_is_named_and_can_be_removed),
        ("a_kill_at_any_time_leaves_a_store_that_works", crash::a_kill_at_any_time),
        ("two_loads_at_the_same_time", crash::two_loads_at_the_same_time),
        ("an_archive_is_two_forms_of_the_same", save::an_archive_is_two_forms_of_the_same),
        ("other_tools_read_what_is_saved", save::other_tools_read_what_is_saved),
        ("damage_ends_a_save", save::damage_ends_a_save),
        ("images_grow_on_images", save::images_grow_on_images),
        ("the_lesson_runs", the_lesson_runs),
        ("the_lesson_on_registries_runs", the_lesson_on_registries_runs),
    ]);
}

fn the_lesson_runs(sandbox: &Sandbox) -> Outcome {
    let lesson = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    testkit::console::check(&lesson, &sandbox.dir)
}

fn the_lesson_on_registries_runs(sandbox: &Sandbox) -> Outcome {
    let lesson = Path::new(env!("CARGO_MANIFEST_DIR")).join("REGISTRY.md");
    testkit::console::check(&lesson, &sandbox.dir)
}
