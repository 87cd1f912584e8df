//! What a process sees, and cannot reach, after `rootfs::enter`: against the real kernel.

#![allow(clippy::unwrap_used)]

#[path = "rootfs/escapes.rs"]
mod escapes;
#[path = "rootfs/hostile.rs"]
mod hostile;
#[path = "rootfs/support.rs"]
mod support;
#[path = "rootfs/terminal.rs"]
mod terminal;
#[path = "rootfs/view.rs"]
mod view;

use std::path::Path;

use testkit::{Outcome, Sandbox};

/// Every console block of the lesson prints what it says.
fn the_lesson(sandbox: &Sandbox) -> Outcome {
    testkit::console::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"), &sandbox.dir)
}

fn the_lesson_where_mounts_are_shared(sandbox: &Sandbox) -> Outcome {
    testkit::where_mounts_are_shared(sandbox, the_lesson)
}

fn main() {
    testkit::main(&[
        ("escape_by_the_chroot_dance", escapes::the_chroot_dance),
        ("escape_to_the_old_root", escapes::the_old_root),
        ("escape_by_dot_dot", escapes::dot_dot_from_outside),
        ("escape_by_a_leaked_descriptor", escapes::a_leaked_descriptor),
        ("staging_of_another_namespace", escapes::staging_of_another_namespace),
        ("nothing_of_ours_survives_exec", escapes::nothing_of_ours_survives_exec),
        ("escape_by_working_directory", escapes::a_working_directory_outside),
        ("the_hosts_mounts_do_not_change", hostile::the_hosts_mounts_do_not_change),
        ("links_stay_inside", hostile::links_stay_inside),
        ("links_to_the_root_are_refused", hostile::links_to_the_root_are_refused),
        ("the_cover_is_never_the_images", hostile::the_cover_is_never_the_images),
        ("a_slave_volume_follows_the_host", hostile::a_slave_volume_follows_the_host),
        ("parameters_of_the_namespace_only", hostile::parameters_of_the_namespace_only),
        ("devices_work", view::devices_work),
        ("only_its_own_mounts", view::only_its_own_mounts),
        ("masks_hide_and_read_only_refuses", view::masks_hide_and_read_only_refuses),
        ("read_only_root_keeps_volumes", view::a_read_only_root_keeps_volumes_writable),
        ("missing_targets_are_created", view::missing_targets_are_created),
        ("tmpfs_takes_over_what_is_there", view::a_tmpfs_takes_over_what_is_there),
        ("wrong_options_are_named", view::the_options_of_a_filesystem_are_named_when_wrong),
        ("user_namespace_binds_devices", view::a_user_namespace_binds_the_hosts_devices),
        ("default_mounts", view::sources_are_what_they_say),
        ("terminal_has_its_size_before_exec", terminal::has_its_size_before_exec),
        ("terminal_needs_a_devpts", terminal::needs_a_devpts),
        ("the_lesson", the_lesson),
        ("the_lesson_where_mounts_are_shared", the_lesson_where_mounts_are_shared),
    ]);
}
