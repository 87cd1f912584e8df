//! The files of a build, with real files: what is selected, what its digest is, and where it lands.

#![allow(clippy::unwrap_used)]

#[path = "files/copying.rs"]
mod copying;
#[path = "files/digesting.rs"]
mod digesting;
#[path = "files/hostile.rs"]
mod hostile;
#[path = "files/random.rs"]
mod random;
#[path = "files/selecting.rs"]
mod selecting;
#[path = "files/support.rs"]
mod support;

fn main() {
    testkit::main(&[
        ("sources_name_what_docker_says", selecting::sources_name_what_docker_says),
        ("what_is_ignored_is_not_there", selecting::what_is_ignored_is_not_there),
        ("excludes_count_from_the_source", selecting::excludes_count_from_the_source),
        ("parents_are_kept", selecting::parents_are_kept),
        ("a_missing_source_comes_with_a_hint", selecting::a_missing_source_comes_with_a_hint),
        ("targets_are_found_by_dockers_rules", copying::targets_are_found_by_dockers_rules),
        ("everything_about_a_file_is_copied", copying::everything_about_a_file_is_copied),
        ("owners_and_modes_are_as_asked", copying::owners_and_modes_are_as_asked),
        ("times_are_kept_or_clamped", copying::times_are_kept_or_clamped),
        ("hard_links_stay_links", copying::hard_links_stay_links),
        ("made_files_land_like_copied_ones", copying::made_files_land_like_copied_ones),
        ("a_change_during_the_copy_is_told", copying::a_change_during_the_copy_is_told),
        ("copies_land_in_an_overlay", copying::copies_land_in_an_overlay),
        ("a_digest_knows_what_matters", digesting::a_digest_knows_what_matters),
        ("nothing_is_read_twice", digesting::nothing_is_read_twice),
        ("changes_are_told_by_name", digesting::changes_are_told_by_name),
        ("nothing_outside_is_reached", hostile::nothing_outside_is_reached),
        ("a_swapped_directory_is_noticed", hostile::a_swapped_directory_is_noticed),
        ("a_race_for_the_secret_is_lost", hostile::a_race_for_the_secret_is_lost),
        ("odd_files_and_odd_names", hostile::odd_files_and_odd_names),
        ("links_in_circles_end", hostile::links_in_circles_end),
        ("a_hundred_thousand_files", hostile::a_hundred_thousand_files),
        ("a_very_deep_tree", hostile::a_very_deep_tree),
        ("a_copy_has_the_digest_of_its_source", random::a_copy_has_the_digest_of_its_source),
    ]);
}
