//! Volumes against the real kernel.

#![allow(clippy::unwrap_used)]

#[path = "volumes/broom.rs"]
mod broom;
#[path = "volumes/copying.rs"]
mod copying;
#[path = "volumes/listing.rs"]
mod listing;
#[path = "volumes/mounts.rs"]
mod mounts;
#[path = "volumes/stores.rs"]
mod stores;

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use syscalls::clone::{CloneArgs, Cloned, clone3};
use testkit::{Outcome, Sandbox};

fn main() {
    testkit::main(&[
        ("a_write_is_seen_on_the_host", mounts::a_write_is_seen_on_the_host),
        ("a_file_can_be_bound_too", mounts::a_file_can_be_bound_too),
        ("read_only_means_erofs_below_submounts_too", mounts::read_only_means_erofs_below_too),
        ("writable_and_nonrecursive_are_obeyed", mounts::writable_and_nonrecursive_are_obeyed),
        ("nothing_stays_mounted_on_the_host", mounts::nothing_stays_mounted_on_the_host),
        ("propagation_is_what_was_asked", mounts::propagation_is_what_was_asked),
        ("propagation_needs_a_peer", mounts::propagation_needs_a_peer),
        ("a_target_through_a_link_stays_inside", mounts::a_target_through_a_link_stays_inside),
        ("a_subpath_cannot_leave_the_volume", mounts::a_subpath_cannot_leave_the_volume),
        ("a_missing_source_is_made_or_refused", mounts::a_missing_source_is_made_or_refused),
        ("a_tmpfs_has_size_mode_and_attributes", mounts::a_tmpfs_has_size_mode_and_attributes),
        ("a_volume_can_stand_for_another_folder", mounts::a_volume_can_stand_for_another_folder),
        ("a_first_use_copies_everything", copying::a_first_use_copies_everything),
        ("an_overlay_is_copied_as_it_looks", copying::an_overlay_is_copied_as_it_looks),
        ("a_volume_in_use_is_not_touched", copying::a_volume_in_use_is_not_touched),
        ("an_empty_folder_gives_its_owner_and_mode", copying::an_empty_folder_gives_its_owner),
        ("nothing_happens_without_a_folder", copying::nothing_happens_without_a_folder),
        ("links_of_the_image_stay_links", copying::links_of_the_image_stay_links),
        ("holes_stay_holes", copying::holes_stay_holes),
        ("of_many_only_one_copies", copying::of_many_only_one_copies),
        ("a_killed_copy_is_redone", copying::a_killed_copy_is_redone),
        ("a_half_copy_is_thrown_away_without_copy", copying::a_half_copy_is_thrown_away),
        ("a_volume_lives_and_dies", stores::a_volume_lives_and_dies),
        ("a_volume_is_made_once", stores::a_volume_is_made_once),
        ("a_volume_in_use_stays", stores::a_volume_in_use_stays),
        ("prune_takes_what_nobody_uses", stores::prune_takes_what_nobody_uses),
        ("a_killed_command_leaves_a_whole_store", stores::a_killed_command_leaves_a_whole_store),
        ("errors_read_well", stores::errors_read_well),
        ("a_deep_tree_can_be_removed", broom::a_deep_tree_can_be_removed),
        ("a_mount_in_a_volume_is_not_emptied", broom::a_mount_in_a_volume_is_not_emptied),
        ("size_is_what_du_says", broom::size_is_what_du_says),
        ("the_example_keeps_a_value", the_example_keeps_a_value),
        ("the_lesson_is_true", the_lesson_is_true),
        ("the_lesson_where_mounts_are_shared", the_lesson_where_mounts_are_shared),
    ]);
}

/// Opens a place as chapters hand places to each other.
fn place(path: &Path) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

/// Runs `body` in a child, which exits with what it returns.
fn child(namespaces: CloneFlags, body: impl FnOnce() -> i32) -> nix::Result<Pid> {
    match clone3(&CloneArgs { namespaces, cgroup: None })? {
        Cloned::Child => std::process::exit(body()),
        Cloned::Parent { pid, .. } => Ok(pid),
    }
}

fn exit_code(pid: Pid) -> i32 {
    match waitpid(pid, None).unwrap() {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        other => panic!("{other:?}"),
    }
}

fn errno(result: std::io::Result<impl Sized>) -> Errno {
    result.map(drop).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap())).unwrap_err()
}

fn the_example_keeps_a_value(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    std::fs::create_dir(root.join("data"))?;
    std::fs::write(root.join("data/from-image"), "first\n")?;
    let keep = |volume: &str, script: &str| {
        std::process::Command::new(testkit::example("keep").unwrap())
            .arg(sandbox.path("volumes"))
            .arg(&root)
            .args(["-v", volume, "--", "/bin/sh", "-c", script])
            .output()
            .unwrap()
    };
    let value = format!("{}\n", sandbox.name);
    let written =
        keep("data:/data", &format!("cat /data/from-image; echo {} >/data/x", sandbox.name));
    assert!(written.status.success(), "{written:?}");
    assert_eq!(String::from_utf8_lossy(&written.stdout), "first\n");
    assert_eq!(std::fs::read_to_string(sandbox.path("volumes/data/_data/x"))?, value);
    assert!(!root.join("data/x").exists());
    let read = keep("data:/elsewhere", "cat /elsewhere/x");
    assert_eq!(String::from_utf8_lossy(&read.stdout), value, "{read:?}");
    let refused = keep("data:/data:ro", "cat /data/x; echo no >/data/x");
    assert_eq!(String::from_utf8_lossy(&refused.stdout), value);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Read-only file system"));
    Ok(())
}

fn the_lesson_is_true(sandbox: &Sandbox) -> Outcome {
    testkit::example("keep")?;
    testkit::console::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"), &sandbox.dir)
}

fn the_lesson_where_mounts_are_shared(sandbox: &Sandbox) -> Outcome {
    testkit::where_mounts_are_shared(sandbox, the_lesson_is_true)
}
