//! Layers as one tree, and back.

use std::fs::{create_dir, create_dir_all, read_to_string, write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use layers::{DiffError, MAX_LOWERS, Refusal, can_hold_upper, diff, overlay};
use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::wait::{WaitStatus, waitpid};
use syscalls::clone::{CloneArgs, Cloned, clone3};
use syscalls::mount::{Attr, FsContext, attach};
use testkit::{Outcome, Sandbox};

use crate::support::{
    Tar, assert_same, diff_of, directory, listing, listing_with_overlay, sh, unpack_to,
};

/// Mounts an overlay below the sandbox.
pub(crate) fn mount(
    sandbox: &Sandbox,
    name: &str,
    lowers: &[PathBuf],
    upper: Option<(&Path, &Path)>,
) -> PathBuf {
    let place = sandbox.path(name);
    create_dir_all(&place).unwrap();
    let fd = overlay(lowers, upper.map(|(upper, _)| upper), upper.map(|(_, work)| work)).unwrap();
    attach(fd.as_fd(), directory(&place).as_fd()).unwrap();
    place
}

fn folders<const N: usize>(sandbox: &Sandbox, names: [&str; N]) -> [PathBuf; N] {
    names.map(|name| {
        let path = sandbox.path(name);
        create_dir_all(&path).unwrap();
        path
    })
}

pub(crate) fn a_layer_may_be_there_twice(sandbox: &Sandbox) -> Outcome {
    let [same, between] = folders(sandbox, ["same", "between"]);
    write(same.join("a"), "same")?;
    write(between.join("a"), "between")?;
    write(between.join("b"), "between")?;
    let lowers = vec![same.clone(), between.clone(), same.clone()];
    assert_eq!(overlay(&lowers, None, None).unwrap_err().errno, Errno::ELOOP);
    let lowers = layers::distinct(lowers);
    assert_eq!(lowers, [same, between]);
    let merged = mount(sandbox, "merged", &lowers, None);
    assert_eq!(
        read_to_string(merged.join("a"))? + &read_to_string(merged.join("b"))?,
        "samebetween"
    );
    Ok(())
}

pub(crate) fn the_topmost_layer_wins(sandbox: &Sandbox) -> Outcome {
    let [bottom, middle, top, upper, work] =
        folders(sandbox, ["bottom", "middle", "top", "upper", "work"]);
    for (layer, files) in [(&bottom, "abc"), (&middle, "bc"), (&top, "c")] {
        for name in files.chars() {
            write(layer.join(name.to_string()), layer.file_name().unwrap().as_encoded_bytes())?;
        }
    }
    let lowers = [top.clone(), middle, bottom];
    let merged = mount(sandbox, "merged", &lowers, Some((&upper, &work)));
    let read = |name: &str| read_to_string(merged.join(name)).unwrap();
    assert_eq!([read("a"), read("b"), read("c")], ["bottom", "middle", "top"]);
    // Copy on write: the layer stays as it is.
    write(merged.join("c"), "changed")?;
    assert_eq!((read("c"), read_to_string(top.join("c"))?), ("changed".into(), "top".into()));
    assert_eq!(read_to_string(upper.join("c"))?, "changed");
    let read_only = mount(sandbox, "read-only", &lowers, None);
    let error = write(read_only.join("x"), "").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::EROFS as i32));
    Ok(())
}

/// What kernels before 6.7 are given is understood by all.
pub(crate) fn all_layers_in_one_option(sandbox: &Sandbox) -> Outcome {
    let [upper, work, place] = folders(sandbox, ["upper", "work", "place"]);
    let mut lowers = Vec::new();
    for number in 0..60 {
        let path = sandbox.path(format!("a:rather,long\\name/{}{number}", "n".repeat(200)));
        create_dir_all(&path)?;
        write(path.join("file"), number.to_string())?;
        write(path.join(number.to_string()), "")?;
        lowers.push(path);
    }
    let lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
    std::env::set_current_dir(&sandbox.dir)?;
    let relative = (Path::new("upper"), Path::new("work"));
    let fd = layers::compat::one_option(&lowers, Some(relative.0), Some(relative.1), false)?;
    assert_eq!(std::env::current_dir()?, sandbox.dir);
    attach(fd.as_fd(), directory(&place).as_fd())?;
    assert_eq!(read_to_string(place.join("file"))?, "0", "the first one is the topmost");
    assert_eq!(std::fs::read_dir(&place)?.count(), 61);
    write(place.join("file"), "changed")?;
    assert_eq!(read_to_string(upper.join("file"))?, "changed");
    drop(work);
    let many: Vec<&Path> = (0..200).map(|_| lowers[0]).collect();
    let error = layers::compat::one_option(&many, None, None, false).unwrap_err();
    assert_eq!(error.errno, Errno::E2BIG);
    Ok(())
}

pub(crate) fn many_and_oddly_named_layers(sandbox: &Sandbox) -> Outcome {
    // Names with a meaning in mount options, and one longer than an option may be.
    let long = "n".repeat(200);
    let odd = ["with:colon", "with,comma", "with\\backslash", "with space", "ümlaut", "a=b", &long];
    let mut lowers = Vec::new();
    for (number, name) in odd.iter().enumerate() {
        let path = sandbox.path("odd").join(name).join(if number == 6 { &long } else { "diff" });
        create_dir_all(&path)?;
        write(path.join(format!("file{number}")), "")?;
        lowers.push(path);
    }
    let upper = sandbox.path("up:per,\\").join(&long).join("upper");
    let work = upper.with_file_name("work");
    create_dir_all(&upper)?;
    create_dir_all(&work)?;
    let merged = mount(sandbox, "merged", &lowers, Some((&upper, &work)));
    write(merged.join("new"), "")?;
    assert_eq!(std::fs::read_dir(&merged)?.count(), odd.len() + 1);
    assert!(upper.join("new").exists());
    // As many as the kernel takes, and one more.
    // (With names so long that kernels before 6.7 could not have so many of them.)
    let deep = sandbox.path(&long).join(&long);
    let many: Vec<PathBuf> = (0..=MAX_LOWERS).map(|number| deep.join(number.to_string())).collect();
    for path in &many {
        create_dir_all(path)?;
    }
    write(many[MAX_LOWERS - 1].join("lowest"), "")?;
    let stack = mount(sandbox, "stack", &many[..MAX_LOWERS], None);
    assert!(stack.join("lowest").exists());
    let error = overlay(&many, None, None).unwrap_err();
    assert_eq!(error.errno, Errno::E2BIG);
    assert_eq!(
        error.to_string(),
        "stack layers `501`: Argument list too long (E2BIG): the kernel joins at most 500"
    );
    let missing = overlay(&[sandbox.path("missing"), sandbox.path("merged")], None, None);
    let error = missing.unwrap_err();
    assert_eq!(error.errno, Errno::ENOENT);
    assert!(error.to_string().contains("/missing"), "{error}");
    Ok(())
}

/// What people do in containers, and what overlay has to remember of it.
const CHANGES: &str = r"
    echo more >> changed; rm gone; rm -r gone-dir
    rm -r dir-to-file; echo file > dir-to-file; rm file-to-dir; mkdir file-to-dir; touch file-to-dir/x
    rm -r opaque; mkdir opaque; touch opaque/new; mv renamed renamed-to; mv dir-renamed dir-renamed-to
    chmod 4711 modes; chown 12:3456789 modes; chmod 700 dir-modes
    ln linked linked-too; echo new > a; ln a z; ln -s nowhere link; mkfifo pipe; mknod dev c 5 1
    rm link-to-file; echo file > link-to-file; rm was-linked-1
    mkdir -p new/deep/tree; echo x > new/deep/tree/file; touch -d 2001-01-01T00:00:00.123456789Z new/deep
    touch -d 2002-02-02T00:00:00Z .
";

pub(crate) fn a_diff_is_what_a_container_changed(sandbox: &Sandbox) -> Outcome {
    let [lower, upper, work] = folders(sandbox, ["lower", "upper", "work"]);
    sh(
        &lower,
        "for f in changed gone file-to-dir renamed modes linked untouched; do echo $f > $f; done
         for d in gone-dir dir-to-file opaque dir-renamed dir-modes same; do mkdir $d; echo old > $d/old; done
         ln -s untouched link-to-file; echo two > was-linked-1; ln was-linked-1 was-linked-2
         find . -exec touch -h -d 2000-01-01T00:00:00Z {} +",
    );
    let merged = mount(sandbox, "merged", std::slice::from_ref(&lower), Some((&upper, &work)));
    sh(&merged, CHANGES);
    xattr::set(merged.join("changed"), "user.note", b"kept\n")?;
    let view = listing(&merged);
    let tar = diff_of(&upper);
    assert!(tar == diff_of(&upper), "not the same bytes on the second run");
    let names = String::from_utf8(crate::support::run(
        std::process::Command::new("tar").arg("-tf").arg({
            write(sandbox.path("layer.tar"), &tar)?;
            sandbox.path("layer.tar")
        }),
    ))?;
    let names: Vec<&str> = names.lines().collect();
    for expected in [".wh.gone", ".wh.gone-dir", "opaque/.wh..wh..opq", ".wh.renamed", "z"] {
        assert!(names.contains(&expected), "{expected} is not in {names:?}");
    }
    for unexpected in ["untouched", "same/", "same/old", "was-linked-2", "opaque/old"] {
        assert!(!names.contains(&unexpected), "{unexpected} is in {names:?}");
    }
    let top =
        names.iter().map(|name| name.trim_end_matches('/')).filter(|name| !name.contains('/'));
    let top: Vec<&str> = top.map(|name| name.strip_prefix(".wh.").unwrap_or(name)).collect();
    assert!(top.len() > 15 && top.is_sorted(), "{top:?}");
    // The layer on top of the same image shows what the container saw,
    let layer = sandbox.path("layer");
    unpack_to(&tar, &layer)?;
    let again = mount(sandbox, "again", &[layer.clone(), lower], None);
    assert_same(&listing(&again), &view, "the layer against the container");
    // its tree is the upper folder, and its own layer has the same bytes.
    let strip = |lines: Vec<String>| -> Vec<String> {
        // Overlay notes more than a layer says (origin, impure), and whiteouts have a time.
        let words = |line: String| {
            let keep = |word: &&str| !word.contains(".overlay.") || word.contains("opaque=y");
            line.split(' ').filter(keep).collect::<Vec<_>>().join(" ")
        };
        lines.into_iter().filter(|line| !line.contains("dev=0")).map(words).collect()
    };
    let trees = (strip(listing_with_overlay(&layer)), strip(listing_with_overlay(&upper)));
    assert_same(&trees.0, &trees.1, "unpacked against upper folder");
    assert!(diff_of(&layer) == tar, "the layer's layer differs");
    Ok(())
}

/// Nobody waits for the disk, and the upper folder becomes a layer without being copied.
pub(crate) fn an_upper_folder_is_adopted(sandbox: &Sandbox) -> Outcome {
    let [lower, upper, work] = folders(sandbox, ["lower", "store/upper", "store/work"]);
    sh(&lower, "echo old > gone; echo old > changed; echo old > same");
    let mount = layers::fleeting_overlay(std::slice::from_ref(&lower), &upper, &work)?;
    assert!(work.join("work/incompat/volatile").exists(), "it is not volatile");
    let merged = sandbox.path("merged");
    create_dir(&merged)?;
    attach(mount.as_fd(), directory(&merged).as_fd())?;
    drop(mount);
    sh(&merged, "rm gone; echo new > changed; mkdir d; ln -s x d/link; setfattr -n user.a -v b d");
    let view = listing(&merged);
    sh(Path::new("/"), &format!("umount {}", merged.display()));

    let mut tar = Vec::new();
    let files = directory(&upper);
    let stats = layers::diff_of(files.as_fd(), &|path| !path.is_empty(), &mut tar)?;
    let id = layers::DiffId::of(&tar);
    let store = layers::Store::open(&sandbox.path("store/layers"))?;
    let added = layers::Added { size: stats.bytes, files: stats.files };
    store.adopt(&id, &upper, added)?;
    assert!(store.has(&id) && !upper.exists(), "it was not moved");
    assert_eq!(store.size(&id)?, 4);
    let again = self::mount(sandbox, "again", &[store.path(&id), lower], None);
    assert_same(&listing(&again), &view, "the adopted layer against what was seen");

    // What is there already stays, and so does the other one.
    let second = sandbox.path("store/second");
    create_dir(&second)?;
    store.adopt(&id, &second, added)?;
    assert!(second.exists());
    // Another file system.
    let elsewhere = sandbox.path("elsewhere");
    create_dir(&elsewhere)?;
    sh(&elsewhere, "mount -t tmpfs none . && mkdir sub");
    let other = layers::DiffId::of(b"other");
    let error = store.adopt(&other, &elsewhere.join("sub"), added).unwrap_err();
    assert!(error.to_string().contains("EXDEV"), "{error}");
    assert!(
        !store.has(&other) && std::fs::read_dir(sandbox.path("store/layers/tmp"))?.count() == 0
    );
    sh(Path::new("/"), &format!("umount {}", elsewhere.display()));
    Ok(())
}

/// Docker's well-known empty layer, and an archive into a tree that is there.
pub(crate) fn roots_and_archives_of_builds(sandbox: &Sandbox) -> Outcome {
    let [empty, tree] = folders(sandbox, ["empty", "tree"]);
    let mut tar = Vec::new();
    layers::diff_of(directory(&empty).as_fd(), &|path| !path.is_empty(), &mut tar)?;
    let known = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    assert_eq!(layers::DiffId::of(&tar).to_string(), known);

    sh(&tree, "echo old > file; mkdir -m 700 d; echo stays > d/stays; ln -s d link");
    let limits = layers::Limits::default();
    let archive = Tar::new().file("file", "new").file("link/added", "1").end();
    layers::extract(&archive[..], directory(&tree).as_fd(), &limits)?;
    assert_eq!(sh(&tree, "cat file d/stays d/added"), "newstays\n1");
    for name in [".wh.file", "d/.wh..wh..opq", ".wh..wh.plnk/x"] {
        let archive = Tar::new().file(name, "").end();
        let error = layers::extract(&archive[..], directory(&tree).as_fd(), &limits).unwrap_err();
        assert!(error.to_string().contains("mean a deleted file"), "{name}: {error}");
    }
    assert_eq!(sh(&tree, "ls -A d"), "added\nstays\n");
    Ok(())
}

pub(crate) fn a_diff_refuses_what_it_cannot_say(sandbox: &Sandbox) -> Outcome {
    let [reserved, equals, sockets, deep] =
        folders(sandbox, ["reserved", "equals", "sockets", "deep"]);
    write(reserved.join(".wh.passwd"), "")?;
    let layer = |dir: &Path| diff(directory(dir).as_fd(), Vec::new());
    assert!(matches!(layer(&reserved), Err(DiffError::Reserved(name)) if name == ".wh.passwd"));
    write(equals.join("f"), "")?;
    xattr::set(equals.join("f"), "user.a=b", b"")?;
    assert!(matches!(layer(&equals), Err(DiffError::Attribute { .. })));
    let socket = std::os::unix::net::UnixListener::bind(sockets.join("s"))?;
    let stats = layer(&sockets)?;
    assert_eq!((stats.entries, stats.skipped_sockets), (1, 1));
    drop(socket);
    sh(&deep, "for i in {1..20}; do d=$(printf 'd%.0s' {1..250}); mkdir $d; cd $d; done");
    match layer(&deep) {
        Err(DiffError::Kernel(error)) => assert_eq!(error.errno, Errno::ENAMETOOLONG),
        other => panic!("{other:?}"),
    }
    Ok(())
}

pub(crate) fn overlay_on_overlay_is_detected(sandbox: &Sandbox) -> Outcome {
    let [lower, upper, work] = folders(sandbox, ["lower", "upper", "work"]);
    can_hold_upper(&upper)?;
    let merged = mount(sandbox, "merged", std::slice::from_ref(&lower), Some((&upper, &work)));
    let refusal = can_hold_upper(&merged).unwrap_err();
    assert_eq!(refusal, Refusal::Overlay(merged.display().to_string()));
    // The kernel says so too, in its own words.
    create_dir(merged.join("upper"))?;
    create_dir(merged.join("work"))?;
    let (upper, work) = (merged.join("upper"), merged.join("work"));
    let error = overlay(&[&lower], Some(&upper), Some(&work)).unwrap_err();
    assert_eq!(error.errno, Errno::EINVAL, "{error}");
    assert!(error.detail.contains("upper"), "{error}");
    let tmpfs = FsContext::open("tmpfs")?.mount(Attr::empty())?;
    let [place] = folders(sandbox, ["tmpfs"]);
    attach(tmpfs.as_fd(), directory(&place).as_fd())?;
    can_hold_upper(&place)?;
    let ramfs = FsContext::open("ramfs")?.mount(Attr::empty())?;
    attach(ramfs.as_fd(), directory(&place).as_fd())?;
    assert!(matches!(can_hold_upper(&place), Err(Refusal::Filesystem { filesystem: "ramfs", .. })));
    assert!(matches!(can_hold_upper(&sandbox.path("missing")), Err(Refusal::Kernel(_))));
    Ok(())
}

/// In a user namespace overlay's marks are attributes that its root may set.
pub(crate) fn layers_in_a_user_namespace(sandbox: &Sandbox) -> Outcome {
    let [lower, layer, upper, work, place] =
        folders(sandbox, ["lower", "layer", "upper", "work", "place"]);
    create_dir(lower.join("d"))?;
    write(lower.join("d/old"), "")?;
    write(lower.join("gone"), "")?;
    let (ready, go) = nix::unistd::pipe()?;
    let namespaces = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
    let pid = match clone3(&CloneArgs { namespaces, cgroup: None })? {
        Cloned::Child => {
            drop(go);
            let inside = || -> Outcome {
                nix::unistd::read(&ready, &mut [0; 1])?;
                let tar =
                    Tar::new().file(".wh.gone", "").file("d/.wh..wh..opq", "").file("d/new", "");
                // Nobody may make a device here; the rest of the layer is unpacked all the same.
                let tar = tar.entry(b'3', "null", b"", |header| {
                    header.set_device_major(1).unwrap();
                    header.set_device_minor(3).unwrap();
                });
                let stats = unpack_to(&tar.entry(b'6', "pipe", b"", |_| {}).end(), &layer)?;
                assert_eq!((stats.entries, stats.skipped_devices), (5, 1));
                assert!(layer.join("pipe").exists() && !layer.join("null").exists());
                std::fs::remove_file(layer.join("pipe"))?;
                assert!(xattr::get(layer.join("d"), "user.overlay.opaque")?.is_some());
                let fd = overlay(&[&layer, &lower], Some(&upper), Some(&work))?;
                attach(fd.as_fd(), directory(&place).as_fd())?;
                std::fs::remove_file(place.join("d/new"))?;
                let names = sh(&place, "find . -mindepth 1 | sort | tr '\\n' ' '");
                assert_eq!(names, "./d ");
                // `d/new` is only in a lower layer: the upper folder needs a whiteout.
                let tar = diff_of(&upper);
                assert!(tar.windows(9).any(|bytes| bytes == b"d/.wh.new"));
                Ok(())
            };
            let outcome = inside();
            if let Err(error) = &outcome {
                eprintln!("inside: {error}");
            }
            std::process::exit(i32::from(outcome.is_err()));
        }
        Cloned::Parent { pid, .. } => pid,
    };
    drop(ready);
    for file in ["uid_map", "gid_map"] {
        write(format!("/proc/{pid}/{file}"), "0 0 65536")?;
    }
    drop(go);
    assert_eq!(waitpid(pid, None)?, WaitStatus::Exited(pid, 0));
    Ok(())
}
