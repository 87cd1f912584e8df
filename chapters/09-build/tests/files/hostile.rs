//! Contexts that want out, or want the builder to stumble.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use build::attributes::Attributes;
use build::digest::digest;
use build::file_error::FileError;
use build::remember::Remembered;
use nix::sys::stat::Mode;
use testkit::{Outcome, Sandbox};

use crate::support::{copied, make, open, paths, selected, show};

pub(crate) fn nothing_outside_is_reached(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("outer/context");
    make(&sandbox.path("outer"), "secret=1 secrets/ secrets/key=1");
    make(
        &root,
        "a=1 up->../secret updir->../secrets far->../../../../../../etc/passwd abs->/etc root->/ \
        chain->updir proc->/proc/self/root/etc/passwd dot->.. d/ d/up->../../secret d/a=2",
    );
    let to = sandbox.path("to");
    fs::create_dir(&to)?;
    let missing = [
        "up",
        "updir",
        "updir/key",
        "far",
        "abs",
        "abs/passwd",
        "chain/key",
        "proc",
        "../secret",
        "../../outer/secret",
        "/../secret",
        "dot/secret",
        "root/etc/passwd",
        "d/up",
        "dot/../secret",
        "..//secret",
        "d/../../secret",
    ];
    for source in missing {
        let error = selected(&root, &[source]).unwrap_err();
        assert!(matches!(error, FileError::NotFound { .. }), "{source}: {error}");
    }
    // Above the root is the root.
    for source in ["dot/a", "root/a", "..", "dot", "root", "../a"] {
        let found = paths(&selected(&root, &[source])?);
        assert!(found.starts_with("a"), "{source}: {found}");
    }
    // In a copied directory they are links, whatever they say; nothing follows them.
    let selection = selected(&root, &["."])?;
    copied(&root, &selection, &to, "/", &Attributes::default())?;
    assert_eq!(show(&root), show(&to));
    // A target that wants out.
    let image = sandbox.path("outer/image");
    make(&image, "out->../secrets abs->/ up->../../..");
    for target in ["/out/", "/abs/x", "/up/y", "/../../z", "/up/out/w"] {
        copied(&root, &selected(&root, &["a"])?, &image, target, &Attributes::default())?;
    }
    assert_eq!(show(&sandbox.path("outer/secrets")), "key=1");
    assert_eq!(
        show(&image),
        "abs->/ out->../secrets secrets/ secrets/a=1 secrets/w=1 up->../../.. x=1 y=1 z=1"
    );
    Ok(())
}

pub(crate) fn a_swapped_directory_is_noticed(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("context");
    make(&sandbox.path("outside"), "f=secret sub/ sub/g=secret");
    make(&root, "d/f=1 d/sub/g=2");
    let to = sandbox.path("to");
    fs::create_dir(&to)?;
    let selection = selected(&root, &["d"])?;
    let dir = open(&root);
    let digested = || digest(dir.as_fd(), &selection, &Attributes::default(), None);
    digested()?;
    fs::rename(root.join("d"), root.join("aside"))?;
    symlink("../outside", root.join("d"))?;
    let changed = |error: FileError| matches!(error, FileError::Changed { .. });
    assert!(changed(digested().unwrap_err()));
    assert!(changed(copied(&root, &selection, &to, "/", &Attributes::default()).unwrap_err()));
    fs::remove_file(root.join("d"))?;
    fs::rename(root.join("aside"), root.join("d"))?;
    digested()?;
    // A file becomes a link, a fifo (which must not make us wait), another file.
    let file = root.join("d/f");
    fs::rename(&file, root.join("kept"))?;
    symlink("../../outside/f", &file)?;
    assert!(changed(digested().unwrap_err()));
    fs::remove_file(&file)?;
    nix::unistd::mkfifo(&file, Mode::S_IRWXU)?;
    assert!(changed(digested().unwrap_err()));
    fs::remove_file(&file)?;
    fs::write(&file, "1")?;
    assert!(changed(digested().unwrap_err()));
    assert!(!show(&to).contains("secret"));
    Ok(())
}

pub(crate) fn a_race_for_the_secret_is_lost(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("context");
    make(&sandbox.path("outside"), "f=secret");
    make(&root, "d/ d/s/ d/s/f=fine other=x");
    let done = AtomicBool::new(false);
    let (directory, aside, link) = (root.join("d/s"), root.join("aside"), root.join("link"));
    symlink("../../outside", &link)?;
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| -> Outcome {
        // Also when an assertion fails: the scope waits for its threads.
        let stop = Stop(&done);
        let swapper = scope.spawn(|| {
            let mut swaps = 0;
            while !done.load(Ordering::Relaxed) {
                fs::rename(&directory, &aside).unwrap();
                fs::rename(&link, &directory).unwrap();
                std::thread::yield_now();
                fs::rename(&directory, &link).unwrap();
                fs::rename(&aside, &directory).unwrap();
                swaps += 1;
            }
            swaps
        });
        let mut copies = 0;
        for round in 0..300 {
            let to = sandbox.path("to");
            fs::create_dir(&to)?;
            let source = ["d/s", "d", "d/*", "d/s/f"][round % 4];
            if let Ok(selection) = selected(&root, &[source]) {
                digest(open(&root).as_fd(), &selection, &Attributes::default(), None).ok();
                copied(&root, &selection, &to, "/", &Attributes::default()).ok();
            }
            let tree = show(&to);
            assert!(!tree.contains("secret"), "{source}: {tree}");
            copies += usize::from(tree.contains("fine"));
            fs::remove_dir_all(&to)?;
        }
        drop(stop);
        let swaps = swapper.join().unwrap();
        assert!(swaps > 0 && copies > 0, "{swaps} swaps, {copies} copies");
        Ok(())
    })
}

pub(crate) fn odd_files_and_odd_names(sandbox: &Sandbox) -> Outcome {
    let (root, to) = (sandbox.path("context"), sandbox.path("to"));
    make(&root, "d/ d/plain=1");
    fs::create_dir(&to)?;
    let names: [&[u8]; 7] = [b"\xff\xfe", b"new\nline", b"\x1b[31m", b" ", b"-rf", b"*", b"a\\b"];
    for name in names {
        fs::write(root.join("d").join(OsStr::from_bytes(name)), name)?;
    }
    let long = "n".repeat(255);
    fs::write(root.join("d").join(&long), "long")?;
    nix::unistd::mkfifo(&root.join("d/pipe"), Mode::S_IRWXU)?;
    let selection = selected(&root, &["d"])?;
    assert_eq!(selection.entries().count(), 10);
    let content = digest(open(&root).as_fd(), &selection, &Attributes::default(), None)?;
    assert!(
        content.entries.contains_key("d/\\xff\\xfe")
            && content.entries.contains_key("d/new\\x0aline")
    );
    copied(&root, &selection, &to, "/", &Attributes::default())?;
    assert_eq!(show(&root.join("d")), show(&to));
    // As with BuildKit: without a wildcard a backslash is one.
    assert!(matches!(selected(&root, &["d/\\*"]), Err(FileError::NotFound { .. })));
    assert_eq!(selected(&root, &["d/a\\b"])?.entries().count(), 1);
    assert_eq!(selected(&root, &["d/[*]"])?.entries().count(), 1);
    let error = selected(&root, &["d/\x1b[2Jx"]).map(|selection| selection.unmatched);
    assert!(!format!("{error:?}").contains('\x1b'));
    Ok(())
}

pub(crate) fn links_in_circles_end(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("context");
    make(&root, "a/b/f=1 a/b/up->.. a/b/top->../.. self->self x->y y->x a/here->.");
    assert_eq!(paths(&selected(&root, &["."])?), "a/ a/b/ a/b/f a/b/top a/b/up a/here self x y");
    assert_eq!(paths(&selected(&root, &["a/b/up/b/up/b/up/here/here/b/f"])?), "f");
    for source in ["self", "x", "x/y", "self/f"] {
        let error = selected(&root, &[source]).unwrap_err();
        assert!(matches!(error, FileError::NotFound { .. }), "{source}: {error}");
    }
    let far = format!("a/{}b/f", "b/up/".repeat(41));
    assert!(selected(&root, &[&far]).is_err(), "more than 40 links");
    Ok(())
}

pub(crate) fn a_hundred_thousand_files(sandbox: &Sandbox) -> Outcome {
    in_memory(sandbox)?;
    let root = sandbox.path("context");
    for directory in 0..100 {
        let path = root.join(format!("d{directory}"));
        fs::create_dir_all(&path)?;
        for file in 0..1000 {
            fs::write(path.join(format!("f{file}")), [directory])?;
        }
    }
    let ignore = "# none of these\n**/*.o\n**/node_modules\n.git\n*.md\n!README.md\n";
    let selection = crate::support::select_with(&root, ignore, &["."], &[], false)?;
    assert_eq!(selection.entries().count(), 100_100);
    let dir = open(&root);
    let mut remembered = Remembered::load(&sandbox.path("hashes"));
    let first = digest(dir.as_fd(), &selection, &Attributes::default(), Some(&mut remembered))?;
    remembered.save()?;
    let again = digest(dir.as_fd(), &selection, &Attributes::default(), Some(&mut remembered))?;
    assert_eq!(first, again);
    assert_eq!(first.entries.len(), 100_100);
    Ok(())
}

pub(crate) fn a_very_deep_tree(sandbox: &Sandbox) -> Outcome {
    in_memory(sandbox)?;
    let root = sandbox.path("context");
    fs::create_dir(&root)?;
    // Deeper than descriptors go, but still a path; then deeper than a path.
    let mut dir = open(&root);
    let mut path = Vec::new();
    for depth in 0..2100 {
        nix::sys::stat::mkdirat(&dir, "d", Mode::S_IRWXU)?;
        let flags = nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_DIRECTORY;
        dir = nix::fcntl::openat(&dir, "d", flags, Mode::empty())?.into();
        path.push("d");
        if depth == 1500 {
            let to = sandbox.path("to");
            fs::create_dir(&to)?;
            let selection = selected(&root, &["."])?;
            assert_eq!(selection.entries().count(), 1501);
            digest(open(&root).as_fd(), &selection, &Attributes::default(), None)?;
            copied(&root, &selection, &to, "/", &Attributes::default())?;
            assert_eq!(selected(&to, &["."])?.entries().count(), 1501);
        }
    }
    let error = selected(&root, &["."]).unwrap_err().to_string();
    assert!(error.contains("ENAMETOOLONG"), "{error}");
    drop(dir);
    let removed = std::process::Command::new("rm").arg("-rf").arg(&root).status()?;
    assert!(removed.success());
    Ok(())
}

/// So many files and directories take long on a disk that has other work; the test's own mount namespace takes this one
/// away with it.
fn in_memory(sandbox: &Sandbox) -> Outcome {
    let flags = nix::mount::MsFlags::empty();
    let mode = Some("mode=755");
    Ok(nix::mount::mount(Some("tmpfs"), &sandbox.dir, Some("tmpfs"), flags, mode)?)
}
