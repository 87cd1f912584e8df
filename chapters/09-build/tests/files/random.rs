//! Random trees: what is copied has the digest of what it was copied from.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use build::attributes::{Attributes, Owner};
use build::digest::digest;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use testkit::{Outcome, Sandbox};

use crate::support::{copied, open, selected, show};

#[derive(Debug, Clone)]
enum Item {
    Directory(u32),
    File(Vec<u8>, u32, u32),
    Link(String),
    Twin(usize),
    Hole(u64),
}

fn item() -> impl Strategy<Value = Item> {
    let mode = prop::sample::select(vec![0o755u32, 0o700, 0o644, 0o4755, 0o1777, 0o0, 0o2711]);
    prop_oneof![
        mode.clone().prop_map(Item::Directory),
        (prop::collection::vec(any::<u8>(), 0..60), mode, 0u32..3)
            .prop_map(|(content, mode, owner)| Item::File(content, mode, owner)),
        "[a-c/.]{1,6}".prop_map(Item::Link),
        any::<usize>().prop_map(Item::Twin),
        (1u64..1 << 17).prop_map(Item::Hole),
    ]
}

/// Names that exist already are left out.
fn build_tree(root: &Path, items: &[(String, Item)]) {
    fs::create_dir(root).unwrap();
    let mut files = Vec::new();
    for (name, item) in items {
        let path = root.join(name);
        if path.symlink_metadata().is_ok() || fs::create_dir_all(path.parent().unwrap()).is_err() {
            continue;
        }
        let made = match item {
            Item::Directory(_) => fs::create_dir(&path),
            Item::File(content, _, owner) => {
                fs::write(&path, content).and_then(|()| chown(&path, Some(*owner), Some(owner + 1)))
            }
            Item::Link(target) => symlink(target, &path),
            Item::Twin(which) if !files.is_empty() => {
                fs::hard_link(&files[which % files.len()], &path)
            }
            Item::Twin(_) => Ok(()),
            Item::Hole(size) => fs::File::create(&path).and_then(|file| file.set_len(*size)),
        };
        match item {
            _ if made.is_err() => {}
            Item::Directory(mode) | Item::File(_, mode, _) => {
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
                if matches!(item, Item::File(..)) {
                    files.push(path);
                }
            }
            _ => {}
        }
    }
}

pub(crate) fn a_copy_has_the_digest_of_its_source(sandbox: &Sandbox) -> Outcome {
    let mut runner =
        TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    let name = "[ab](/[ab]){0,2}";
    let trees = prop::collection::vec((name, item()), 0..25);
    runner.run(&trees, |items| {
        let (from, to) = (sandbox.path("from"), sandbox.path("to"));
        build_tree(&from, &items);
        fs::create_dir(&to).unwrap();
        let keep = Attributes { owner: Owner::Keep, ..Attributes::default() };
        let selection = selected(&from, &["."]).unwrap();
        copied(&from, &selection, &to, "/", &keep).unwrap();
        let again = selected(&to, &["."]).unwrap();
        let of =
            |root: &Path, selection| digest(open(root).as_fd(), selection, &keep, None).unwrap();
        prop_assert_eq!(show(&from), show(&to));
        prop_assert_eq!(of(&from, &selection), of(&to, &again));
        fs::remove_dir_all(&from).unwrap();
        fs::remove_dir_all(&to).unwrap();
        Ok(())
    })?;
    Ok(())
}
