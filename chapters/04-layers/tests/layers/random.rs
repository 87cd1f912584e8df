//! Trees that nobody thought of.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use testkit::{Outcome, Sandbox};

use crate::support::{assert_same, diff_of, listing, run, unpack_to};

/// One thing of a tree; `parent` picks one of the directories made before it.
#[derive(Debug, Clone)]
struct Thing {
    parent: usize,
    name: String,
    what: What,
    mode: u32,
    owner: (u32, u32),
    time: (i64, i64),
    xattr: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
enum What {
    Directory,
    File(Vec<u8>),
    Symlink(String),
    /// Another name of one of the files made before.
    Link(usize),
    Fifo,
}

fn thing() -> impl Strategy<Value = Thing> {
    let what = prop_oneof![
        3 => Just(What::Directory),
        4 => vec(any::<u8>(), 0..2000).prop_map(What::File),
        1 => vec(any::<u8>(), 250_000..300_000).prop_map(What::File),
        2 => "[a-z./]{1,130}".prop_map(What::Symlink),
        2 => any::<usize>().prop_map(What::Link),
        1 => Just(What::Fifo),
    ];
    let name = prop_oneof![4 => "[a-z]{1,8}", 1 => "[ -.0-~äß\n]{1,60}", 1 => "[x-z]{90,120}"];
    let owner = prop_oneof![Just(0), 1..100_000_u32, 2_097_150..2_097_155_u32, Just(u32::MAX - 1)];
    let time = (0..4_000_000_000_i64, prop_oneof![Just(0), 0..1_000_000_000_i64]);
    let xattr = proptest::option::of(vec(any::<u8>(), 0..300));
    (any::<usize>(), name, what, 0..0o10000_u32, (owner.clone(), owner), time, xattr).prop_map(
        |(parent, name, what, mode, owner, time, xattr)| Thing {
            parent,
            name,
            what,
            mode,
            owner,
            time,
            xattr,
        },
    )
}

pub(crate) fn random_trees_go_there_and_back(sandbox: &Sandbox) -> Outcome {
    let config = Config { cases: 40, failure_persistence: None, ..Config::default() };
    let number = std::cell::Cell::new(0);
    TestRunner::new(config).run(&vec(thing(), 0..40), |things| {
        number.set(number.get() + 1);
        let dir = sandbox.path(format!("case{}", number.get()));
        let source = dir.join("source");
        build(&source, &things);
        let expected = listing(&source);
        // Our own writer, twice; and GNU tar's.
        let tar = diff_of(&source);
        prop_assert!(tar == diff_of(&source), "not the same bytes on the second run");
        unpack_to(&tar, &dir.join("ours"))
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        assert_same(&listing(&dir.join("ours")), &expected, "through diff");
        prop_assert!(tar == diff_of(&dir.join("ours")), "the copy's layer differs");
        let command = "tar --format=posix --xattrs --xattrs-include=* --numeric-owner -cf - .";
        let gnu = run(Command::new("sh").args(["-c", command]).current_dir(&source));
        unpack_to(&gnu, &dir.join("gnu"))
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        assert_same(&listing(&dir.join("gnu")), &expected, "through GNU tar");
        // And GNU tar reads what we write.
        std::fs::create_dir(dir.join("theirs")).unwrap();
        std::fs::write(dir.join("layer.tar"), &tar).unwrap();
        run(Command::new("tar")
            .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", "../layer.tar"])
            .current_dir(dir.join("theirs")));
        assert_same(&listing(&dir.join("theirs")), &expected, "read by GNU tar");
        std::fs::remove_dir_all(&dir).unwrap();
        Ok(())
    })?;
    Ok(())
}

fn build(root: &Path, things: &[Thing]) {
    std::fs::create_dir_all(root).unwrap();
    let mut directories = vec![root.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    let mut made: Vec<(PathBuf, &Thing)> = Vec::new();
    for thing in things {
        let path = directories[thing.parent % directories.len()].join(&thing.name);
        if path.symlink_metadata().is_ok() || [".", ".."].contains(&thing.name.as_str()) {
            continue;
        }
        match &thing.what {
            What::Directory => {
                std::fs::create_dir(&path).unwrap();
                directories.push(path.clone());
            }
            What::File(content) => {
                std::fs::write(&path, content).unwrap();
                files.push(path.clone());
            }
            What::Symlink(target) => symlink(target, &path).unwrap(),
            What::Link(which) if files.is_empty() => std::fs::write(&path, [*which as u8]).unwrap(),
            What::Link(which) => {
                std::fs::hard_link(&files[which % files.len()], &path).unwrap();
                continue;
            }
            What::Fifo => {
                nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600))
                    .unwrap();
            }
        }
        made.push((path, thing));
    }
    // Children first: what happens in a directory changes its time.
    for (path, thing) in made.iter().rev() {
        std::os::unix::fs::lchown(path, Some(thing.owner.0), Some(thing.owner.1)).unwrap();
        let meta = path.symlink_metadata().unwrap();
        if !meta.is_symlink() {
            std::fs::set_permissions(path, PermissionsExt::from_mode(thing.mode)).unwrap();
        }
        if let Some(value) = &thing.xattr {
            xattr::set(path, "trusted.test", value).unwrap();
        }
        let time = TimeSpec::new(thing.time.0, thing.time.1);
        let no_follow = UtimensatFlags::NoFollowSymlink;
        utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, no_follow).unwrap();
    }
}
