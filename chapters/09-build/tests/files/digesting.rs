//! What changes a digest, and what does not.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use build::attributes::{Attributes, Owner, Times};
use build::digest::{Changes, Content, digest, digest_of_bytes};
use build::remember::Remembered;
use testkit::{Outcome, Sandbox};

use crate::support::{make, open, select_with, selected};

fn taken(root: &Path, sources: &[&str], attributes: &Attributes) -> Content {
    digest(open(root).as_fd(), &selected(root, sources).unwrap(), attributes, None).unwrap()
}

pub(crate) fn a_digest_knows_what_matters(sandbox: &Sandbox) -> Outcome {
    type Change = fn(&Path);
    let keep = Attributes { owner: Owner::Keep, ..Attributes::default() };
    // what is done to `d`, whether the digest of a stage changes, whether that of the context does
    let cases: &[(&str, Change, bool, bool)] = &[
        ("nothing", |_| {}, false, false),
        ("content", |d| fs::write(d.join("f"), "2").unwrap(), true, true),
        ("size", |d| fs::write(d.join("f"), "").unwrap(), true, true),
        ("same content anew", |d| fs::write(d.join("f"), "1").unwrap(), false, false),
        (
            "time",
            |d| {
                let past = SystemTime::now() - Duration::from_secs(99_999);
                open(&d.join("f")).set_modified(past).unwrap();
                open(d).set_modified(past).unwrap();
            },
            false,
            false,
        ),
        (
            "mode",
            |d| fs::set_permissions(d.join("f"), fs::Permissions::from_mode(0o600)).unwrap(),
            true,
            true,
        ),
        (
            "set-id",
            |d| fs::set_permissions(d.join("f"), fs::Permissions::from_mode(0o4644)).unwrap(),
            true,
            true,
        ),
        (
            "mode of a directory",
            |d| fs::set_permissions(d.join("s"), fs::Permissions::from_mode(0o700)).unwrap(),
            true,
            true,
        ),
        ("owner", |d| chown(d.join("f"), Some(5), None).unwrap(), true, false),
        ("group", |d| chown(d.join("f"), None, Some(5)).unwrap(), true, false),
        ("new name", |d| fs::rename(d.join("f"), d.join("g")).unwrap(), true, true),
        ("moved", |d| fs::rename(d.join("f"), d.join("s/f")).unwrap(), true, true),
        ("removed", |d| fs::remove_file(d.join("f")).unwrap(), true, true),
        ("added", |d| fs::write(d.join("new"), "").unwrap(), true, true),
        ("added directory", |d| fs::create_dir(d.join("new")).unwrap(), true, true),
        (
            "link elsewhere",
            |d| {
                fs::remove_file(d.join("l")).unwrap();
                symlink("s", d.join("l")).unwrap();
            },
            true,
            true,
        ),
        (
            "file for link",
            |d| {
                fs::remove_file(d.join("l")).unwrap();
                fs::write(d.join("l"), "f").unwrap();
            },
            true,
            true,
        ),
        ("attribute", |d| xattr::set(d.join("f"), "user.x", b"1").unwrap(), true, true),
        (
            "attribute of a directory",
            |d| xattr::set(d.join("s"), "user.x", b"1").unwrap(),
            true,
            true,
        ),
        (
            "attribute of this machine",
            |d| xattr::set(d.join("f"), "trusted.x", b"1").unwrap(),
            false,
            false,
        ),
        (
            "hard link for a copy",
            |d| {
                fs::remove_file(d.join("same")).unwrap();
                fs::hard_link(d.join("f"), d.join("same")).unwrap();
            },
            true,
            true,
        ),
        (
            "mode of what is copied from",
            |d| fs::set_permissions(d, fs::Permissions::from_mode(0o700)).unwrap(),
            false,
            false,
        ),
    ];
    for (number, (what, change, in_stage, in_context)) in cases.iter().enumerate() {
        let root = sandbox.path(number.to_string());
        make(&root, "d/ d/f=1 d/same=1 d/s/ d/s/x=3 d/l->f");
        let both = || [taken(&root, &["d"], &keep), taken(&root, &["d"], &Attributes::default())];
        let before = both();
        change(&root.join("d"));
        let after = both();
        assert_eq!(before[0].digest != after[0].digest, *in_stage, "{what}, from a stage");
        assert_eq!(before[1].digest != after[1].digest, *in_context, "{what}, from the context");
        assert_eq!(Changes::between(&before[0], &after[0]).is_empty(), !in_stage, "{what}");
    }
    // What the instruction says counts as it comes out.
    let root = sandbox.path("0");
    let with = |owner, chmod: Option<&str>, times| {
        let chmod = chmod.map(|text| text.parse().unwrap());
        taken(&root, &["d"], &Attributes { owner, chmod, times }).digest
    };
    let plain = with(Owner::Root, None, Times::Keep);
    assert_eq!(plain, with(Owner::Keep, None, Times::ClampTo(5)));
    assert_eq!(plain, with(Owner::Set { uid: 0, gid: 0 }, Some("u+r"), Times::Keep));
    assert_ne!(plain, with(Owner::Set { uid: 1, gid: 0 }, None, Times::Keep));
    assert_ne!(plain, with(Owner::Root, Some("600"), Times::Keep));
    assert_ne!(taken(&root, &["d/f"], &keep).digest, taken(&root, &["d/same"], &keep).digest);
    assert_ne!(taken(&root, &["d/s"], &keep).digest, taken(&root, &["d/s/x"], &keep).digest);

    // A directory that comes with its content changes the target's, one that is only passed does not.
    let with_parents = |source: &str| {
        let selection = select_with(&root, "", &[source], &[], true).unwrap();
        assert_eq!(crate::support::paths(&selection), "d/ d/s/ d/s/x");
        digest(open(&root).as_fd(), &selection, &keep, None).unwrap().digest
    };
    assert_ne!(with_parents("d/s/x"), with_parents("d/s"));

    let bytes = |text: &str, name: &str, mode| {
        digest_of_bytes(text.as_bytes(), name.as_bytes(), mode, &keep).digest
    };
    assert_eq!(bytes("a", "EOF", 0o644), bytes("a", "EOF", 0o644));
    for other in [bytes("b", "EOF", 0o644), bytes("a", "FOE", 0o644), bytes("a", "EOF", 0o600)] {
        assert_ne!(bytes("a", "EOF", 0o644), other);
    }
    Ok(())
}

pub(crate) fn nothing_is_read_twice(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("context");
    let names: Vec<String> = (0..40).map(|number| format!("d/f{number}={number}")).collect();
    make(&root, &names.join(" "));
    xattr::set(root.join("d/f7"), "user.note", b"x")?;
    // The clock has to go on, or nothing is remembered.
    std::thread::sleep(Duration::from_millis(3100));
    let file = sandbox.path("hashes");
    let selection = selected(&root, &["d"])?;
    let dir = open(&root);
    let mut remembered = Remembered::load(&file);
    let taken = |remembered: &mut Remembered| {
        digest(
            dir.as_fd(),
            &selected(&root, &["d"]).unwrap(),
            &Attributes::default(),
            Some(remembered),
        )
        .unwrap()
    };
    let first = taken(&mut remembered);
    assert_eq!(remembered.len(), 40);
    remembered.save()?;
    let plain = digest(dir.as_fd(), &selection, &Attributes::default(), None)?;
    assert_eq!(first, plain);
    // Only what is remembered can be known: swap two records by making the memory lie, and see it
    // believed.
    let mut lying = Remembered::load(&file);
    let entry = selection.entries().find(|entry| entry.path == b"f5").unwrap();
    let known =
        build::remember::Known { content: build::hash::Digest::of(b"a lie"), has_xattrs: false };
    lying.put(entry.stamp, known);
    let believed = taken(&mut lying);
    assert_eq!(Changes::between(&first, &believed).to_string(), "d/f5 changed");
    // A write, even one that sets the time back, is seen.
    let mut second = Remembered::load(&file);
    let before = fs::metadata(root.join("d/f3"))?.modified()?;
    fs::write(root.join("d/f3"), "X")?;
    open(&root.join("d/f3")).set_modified(before)?;
    let changed = taken(&mut second);
    assert_eq!(Changes::between(&first, &changed).to_string(), "d/f3 changed");
    xattr::set(root.join("d/f7"), "user.note", b"y")?;
    assert_eq!(Changes::between(&changed, &taken(&mut second)).to_string(), "d/f7 changed");
    Ok(())
}

pub(crate) fn changes_are_told_by_name(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("context");
    make(&root, "src/main.c=1 src/util.c=2 src/old.c=3 doc/x=1 objects/a.o=1");
    let taken = || {
        let selection = select_with(&root, "*.o\nobjects", &["src", "doc"], &[], false).unwrap();
        digest(open(&root).as_fd(), &selection, &Attributes::default(), None).unwrap()
    };
    let before = taken();
    fs::write(root.join("objects/a.o"), "2")?;
    assert!(Changes::between(&before, &taken()).is_empty());
    assert_eq!(before, taken());
    fs::write(root.join("src/main.c"), "new")?;
    assert_eq!(Changes::between(&before, &taken()).to_string(), "src/main.c changed");
    fs::write(root.join("src/new\nline.c"), "new")?;
    fs::remove_file(root.join("src/old.c"))?;
    let told = Changes::between(&before, &taken()).to_string();
    assert_eq!(told, "src/main.c changed, src/new\\x0aline.c added, src/old.c removed");
    let json = serde_json::to_string(&before)?;
    assert_eq!(serde_json::from_str::<Content>(&json)?, before);
    Ok(())
}
