//! What arrives on disk.

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Outcome, Sandbox, skip};

use crate::support::{Tar, assert_same, directory, listing, run, sh, unpack_to};

/// A tree with everything that a layer can hold and that has ever gone wrong.
pub(crate) fn nasty_tree(root: &Path) {
    std::fs::create_dir_all(root).unwrap();
    sh(
        root,
        r#"
        umask 022
        mkdir -p bin etc/deep/er tmp 'dir with space' empty secret
        printf hello > etc/greeting; : > etc/empty; head -c 300000 /dev/zero | tr '\0' x > etc/large
        printf '#!/bin/sh\n' > bin/tool; ln bin/tool bin/tool-again; ln bin/tool etc/deep/tool-too
        ln -s tool bin/link; ln -s /etc/greeting etc/absolute; ln -s ../../../../../etc/passwd etc/out
        ln -s nowhere etc/dangling; ln -s deep etc/dir-link; ln etc/absolute etc/second-name-of-a-link
        mkfifo tmp/pipe; mknod tmp/null c 1 3; mknod tmp/disk b 7 200; mknod tmp/large c 200 70000
        chmod 4755 bin/tool; chmod 1777 tmp; chmod 2750 secret; chmod 0000 etc/empty; chmod 644 tmp/pipe
        chown 1234:5678 etc/greeting secret; chown -h 1:2 bin/link
        chown 3000000:4000000000 'dir with space'
        printf x > 'etc/new
line'; printf x > etc/ümlaut; printf x > $'etc/bytes-\xff\xfe'; printf x > 'etc/back\slash'; printf x > etc/-dash
        printf x > "etc/$(printf 'n%.0s' {1..255})"
        long=etc; for i in 1 2 3 4; do long=$long/$(printf 'd%.0s' {1..60}); done; mkdir -p $long; printf deep > $long/file
        ln -s "$(printf 't%.0s' {1..300})" etc/long-target
        touch -d '1970-01-01T00:00:00Z' etc/greeting; touch -d '2001-02-03T04:05:06.123456789Z' etc/large
        touch -h -d '2010-10-10T10:10:10.5Z' bin/link; touch -d '2040-01-01T00:00:00Z' etc/ümlaut
        touch -d '1999-12-31T23:59:59Z' etc/deep tmp empty
        "#,
    );
    xattr::set(root.join("etc/large"), "user.comment", b"two\nlines\0and=more").unwrap();
    xattr::set(root.join("empty"), "user.on-a-directory", b"").unwrap();
    xattr::set(root.join("bin/tool"), "security.capability", &CAPABILITY).unwrap();
    xattr::set(root.join("bin/link"), "trusted.on-a-link", b"\xff\n").unwrap();
}

/// cap_net_raw+ep as the kernel keeps it (`struct vfs_cap_data`, version 2), with the byte 0x0a
/// that a text-minded reader takes for the end of a record.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0];

struct Image {
    layout: PathBuf,
    bundle: PathBuf,
}

impl Image {
    fn new(sandbox: &Sandbox) -> Result<Self, Box<dyn std::error::Error>> {
        if Command::new("umoci").arg("--version").output().is_err() {
            return skip("needs umoci (Debian: umoci)");
        }
        let image = Self { layout: sandbox.path("layout"), bundle: sandbox.path("bundle") };
        run(Command::new("umoci").arg("init").arg("--layout").arg(&image.layout));
        run(Command::new("umoci").arg("new").arg("--image").arg(image.tag()));
        Ok(image)
    }

    fn tag(&self) -> String {
        format!("{}:t", self.layout.display())
    }

    fn insert(&self, arguments: &[&str]) {
        run(Command::new("umoci").args(["insert", "--image", &self.tag()]).args(arguments));
    }

    /// The uncompressed layers, lowest first.
    fn layers(&self) -> Vec<Vec<u8>> {
        let json = |path: PathBuf| -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
        };
        let blob = |digest: &serde_json::Value| {
            self.layout.join("blobs").join(digest.as_str().unwrap().replace(':', "/"))
        };
        let index = json(self.layout.join("index.json"));
        let manifest = json(blob(&index["manifests"][0]["digest"]));
        let layers = manifest["layers"].as_array().unwrap();
        layers
            .iter()
            .map(|layer| {
                run(Command::new("gzip")
                    .arg("-dc")
                    .stdin(std::fs::File::open(blob(&layer["digest"])).unwrap()))
            })
            .collect()
    }

    /// What umoci makes of it.
    fn unpack(&self) -> PathBuf {
        run(Command::new("umoci").args(["unpack", "--image", &self.tag()]).arg(&self.bundle));
        self.bundle.join("rootfs")
    }
}

pub(crate) fn a_tree_equals_the_one_umoci_unpacks(sandbox: &Sandbox) -> Outcome {
    let source = sandbox.path("source");
    nasty_tree(&source);
    let image = Image::new(sandbox)?;
    image.insert(&[source.to_str().unwrap(), "/tree"]);
    let theirs = listing(&image.unpack().join("tree"));
    let layers = image.layers();
    assert_eq!(layers.len(), 1);
    let ours = sandbox.path("ours");
    unpack_to(&layers[0], &ours)?;
    assert_same(&listing(&ours.join("tree")), &theirs, "ours against umoci's");
    assert!(theirs.len() > 30, "{theirs:#?}");
    Ok(())
}

pub(crate) fn a_stack_equals_the_one_umoci_merges(sandbox: &Sandbox) -> Outcome {
    let source = sandbox.path("source");
    nasty_tree(&source);
    let image = Image::new(sandbox)?;
    image.insert(&[source.to_str().unwrap(), "/"]);
    // A second layer with the same directories, one with a whiteout, one with an opaque directory.
    let second = sandbox.path("second");
    std::fs::create_dir_all(&second)?;
    sh(
        &second,
        "mkdir -p etc; echo new > etc/greeting; ln -s greeting etc/large; mkdir etc/dir-link",
    );
    sh(&second, "chown 7:8 etc; touch -d 2020-01-01T00:00:00Z etc");
    image.insert(&[second.to_str().unwrap(), "/"]);
    image.insert(&["--whiteout", "/bin/tool"]);
    let third = sandbox.path("third");
    std::fs::create_dir_all(&third)?;
    sh(&third, "echo alone > only; touch -d 2021-01-01T00:00:00Z .");
    image.insert(&["--opaque", third.to_str().unwrap(), "/etc/deep"]);
    let theirs = listing(&image.unpack());
    let mut lowers = Vec::new();
    for (number, tar) in image.layers().iter().enumerate() {
        let dir = sandbox.path(format!("layer{number}"));
        unpack_to(tar, &dir)?;
        lowers.insert(0, dir);
    }
    assert_eq!(lowers.len(), 4);
    let merged = crate::mounting::mount(sandbox, "merged", &lowers, None);
    // A layer that only names /etc/deep/only does not say what /etc was: overlay then shows it with
    // the attributes of the directory that had to be made, where umoci, unpacking on top, finds the
    // old one. Content must agree.
    let ours: Vec<String> = listing(&merged);
    let strip = |lines: &[String]| -> Vec<String> {
        let implicit = ["/ ", "/etc ", "/bin "];
        lines
            .iter()
            .filter(|line| !implicit.iter().any(|name| line.starts_with(name)))
            .cloned()
            .collect()
    };
    assert_same(&strip(&ours), &strip(&theirs), "overlay of ours against umoci's");
    assert!(!ours.iter().any(|line| line.starts_with("/bin/tool ")));
    assert!(!ours.iter().any(|line| line.starts_with("/etc/deep/er ")));
    Ok(())
}

pub(crate) fn every_kind_of_entry_arrives_whole(sandbox: &Sandbox) -> Outcome {
    let source = sandbox.path("source");
    nasty_tree(&source);
    // GNU tar as a second, independent writer, in both of its formats.
    let posix = "tar --format=posix --xattrs --xattrs-include=* --numeric-owner -cf - .";
    let from_posix = sandbox.path("posix");
    unpack_to(&run(Command::new("sh").args(["-c", posix]).current_dir(&source)), &from_posix)?;
    assert_same(&listing(&from_posix), &listing(&source), "GNU tar, posix format");
    for key in ["user.comment", "user.on-a-directory", "security.capability", "trusted.on-a-link"] {
        for file in ["etc/large", "empty", "bin/tool", "bin/link"] {
            xattr::remove(source.join(file), key).ok();
        }
    }
    sh(&source, "find . -exec touch -h -d @1234567890 {} +");
    let from_gnu = sandbox.path("gnu");
    let gnu = "tar --format=gnu --numeric-owner -cf - .";
    unpack_to(&run(Command::new("sh").args(["-c", gnu]).current_dir(&source)), &from_gnu)?;
    assert_same(&listing(&from_gnu), &listing(&source), "GNU tar, its own format");
    Ok(())
}

pub(crate) fn extensions_of_all_ages_are_read(sandbox: &Sandbox) -> Outcome {
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(150));
    let tar = Tar::new()
        // A global header says something about every entry; OCI tools skip it.
        .entry(b'g', "pax_global_header", b"20 comment=whatever\n", |_| {})
        .entry(b'L', "././@LongLink", format!("{long}\0").as_bytes(), |_| {})
        .file("cut", "gnu long name")
        .entry(b'K', "././@LongLink", format!("{long}\0").as_bytes(), |_| {})
        .symlink("gnu-long-link", "cut")
        .pax(&[
            ("path", b"pax/name"),
            ("uid", b"3000000000"),
            ("gid", b"70000"),
            ("mtime", b"-1.25"),
            ("SCHILY.xattr.user.x", b"first"),
            ("SCHILY.xattr.user.x", b"a\n12 b=c\n\0"),
            ("SCHILY.xattr.security.capability", &CAPABILITY),
        ])
        .entry(b'0', "ignored", b"data", |header| header.set_mode(0o104_755))
        // An empty value takes a record back.
        .pax(&[("path", b"wrong"), ("path", b"")])
        .file("right", "")
        .entry(b'0', "base256", b"", |header| {
            header.as_old_mut().uid.copy_from_slice(b"\x80\0\0\0\0\x2d\xc6\xc0");
            header.as_old_mut().mtime.copy_from_slice(&[0xff; 12]);
        })
        // The size of a link is not data: the next header follows at once.
        .entry(b'2', "link-with-size", b"", |header| {
            header.set_size(1024);
            header.set_link_name_literal("x").unwrap();
        })
        // 1979: no type, a slash says directory.
        .entry(0, "v7-dir/", b"", |header| header.as_old_mut().linkflag[0] = 0)
        .entry(b'7', "v7-dir/contiguous", b"abc", |_| {})
        // The PAX size wins over the header's.
        .pax(&[("size", b"5")])
        .entry(b'0', "sized", b"12345", |header| header.set_size(0))
        .file("last", "end")
        .end();
    let root = sandbox.path("root");
    let stats = unpack_to(&tar, &root)?;
    assert_eq!((stats.entries, stats.files), (10, 7));
    assert_eq!(std::fs::read_to_string(root.join(&long))?, "gnu long name");
    assert_eq!(std::fs::read_link(root.join("gnu-long-link"))?, Path::new(&long));
    let meta = std::fs::metadata(root.join("pax/name"))?;
    assert_eq!((meta.uid(), meta.gid(), meta.mode()), (3_000_000_000, 70_000, 0o104_755));
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (-2, 750_000_000));
    let get = |key| xattr::get(root.join("pax/name"), key).unwrap().unwrap();
    assert_eq!(get("user.x"), b"a\n12 b=c\n\0");
    assert_eq!(get("security.capability"), CAPABILITY);
    assert!(root.join("right").exists() && !root.join("wrong").exists());
    let meta = std::fs::metadata(root.join("base256"))?;
    assert_eq!((meta.uid(), meta.mtime()), (3_000_000, -1));
    assert!(root.join("v7-dir").is_dir());
    assert_eq!(std::fs::read_to_string(root.join("v7-dir/contiguous"))?, "abc");
    assert_eq!(std::fs::read_to_string(root.join("sized"))?, "12345");
    assert_eq!(std::fs::read_to_string(root.join("last"))?, "end");
    Ok(())
}

pub(crate) fn sparse_files_of_all_versions(sandbox: &Sandbox) -> Outcome {
    let source = sandbox.path("source");
    std::fs::create_dir(&source)?;
    // Many parts, so that the old format needs further blocks; a hole at the end; nothing but a
    // hole.
    let file = std::fs::File::create(source.join("parts"))?;
    for part in 0..60_u64 {
        file.write_all_at(format!("part {part}").as_bytes(), part * 100_000)?;
    }
    file.set_len(60_000_000)?;
    std::fs::File::create(source.join("hole"))?.set_len(5_000_001)?;
    std::fs::write(source.join("z-after"), "what follows is found")?;
    let formats = [
        "--format=gnu",
        "--format=posix --sparse-version=0.0",
        "--format=posix --sparse-version=0.1",
        "--format=posix --sparse-version=1.0",
    ];
    for (number, format) in formats.iter().enumerate() {
        let tar = run(Command::new("sh")
            .args(["-c", &format!("tar --sparse {format} -cf - hole parts z-after")])
            .current_dir(&source));
        assert!(tar.len() < 1_000_000, "{format}: tar did not find the holes");
        let root = sandbox.path(format!("sparse{number}"));
        unpack_to(&tar, &root)?;
        for name in ["hole", "parts", "z-after"] {
            let (was, is) = (std::fs::read(source.join(name))?, std::fs::read(root.join(name))?);
            assert!(was == is, "{format}: {name}");
        }
        let blocks = std::fs::metadata(root.join("parts"))?.blocks();
        assert!(blocks < 2000, "{format}: the holes are filled, {blocks} blocks");
    }
    Ok(())
}

pub(crate) fn the_last_of_equal_names_counts(sandbox: &Sandbox) -> Outcome {
    let tar = Tar::new()
        .file("target", "untouched")
        .symlink("was-link", "target")
        .file("was-link", "a file now")
        .dir("was-dir")
        .file("was-dir/child", "gone")
        .file("was-dir", "a file now")
        .file("was-file", "")
        .dir("was-file")
        .file("was-file/child", "new")
        .symlink("was-dir-link", "was-file")
        .dir("was-dir-link")
        .file("was-dir-link/child", "another")
        .pax(&[("SCHILY.xattr.user.old", b"1")])
        .dir("twice")
        .file("twice/stays", "")
        .entry(b'5', "twice", b"", |header| header.set_mode(0o700))
        .file("linked", "one inode")
        .link("linked-too", "linked")
        .file("linked", "another inode")
        .link("self", "self-target")
        .raw(b"");
    let missing = unpack_to(&tar.clone().end(), &sandbox.path("missing")).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "hard link `self` to `self-target`, which is not in this layer"
    );
    let tar = Tar::new().raw(&tar.end()).end();
    let root = sandbox.path("root");
    let end = tar.len() - 2048 - 512;
    unpack_to(&[&tar[..end], &[0; 1024]].concat(), &root)?;
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    assert_eq!(read("target"), "untouched");
    assert!(!root.join("was-link").is_symlink());
    assert_eq!(read("was-dir"), "a file now");
    assert_eq!(read("was-file/child"), "new");
    assert_eq!(read("was-dir-link/child"), "another");
    assert!(root.join("twice/stays").exists());
    assert_eq!(root.join("twice").metadata()?.permissions().mode() & 0o7777, 0o700);
    assert_eq!(xattr::list(root.join("twice"))?.count(), 0);
    assert_eq!((read("linked"), read("linked-too")), ("another inode".into(), "one inode".into()));
    // A file that is a link to itself, as some writers have made.
    let root = sandbox.path("self");
    unpack_to(&Tar::new().file("f", "kept").link("f", "./f").end(), &root)?;
    assert_eq!(std::fs::read_to_string(root.join("f"))?, "kept");
    Ok(())
}

pub(crate) fn directories_keep_their_times(sandbox: &Sandbox) -> Outcome {
    // Directories before, after and between their files; files come back to a directory that was
    // left; a directory that nobody describes; something removed while its directory is open.
    let tar = Tar::new()
        .dir("before")
        .file("before/a", "")
        .dir("other")
        .file("before/b", "")
        .file("after/a", "")
        .dir("after")
        .dir("before/inner")
        .file("before/inner/x", "")
        .file("implicit/deep/x", "")
        .file("before/a", "replaced")
        .file("before/c", "")
        .dir(".")
        .file("top", "")
        .end();
    let root = sandbox.path("root");
    unpack_to(&tar, &root)?;
    for (name, time) in [
        ("", 1_000_000_000),
        ("before", 1_000_000_000),
        ("before/inner", 1_000_000_000),
        ("after", 1_000_000_000),
        ("implicit", 0),
        ("implicit/deep", 0),
    ] {
        let meta = root.join(name).metadata()?;
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (time, 0), "{name}");
        assert_eq!(meta.mode() & 0o7777, 0o755, "{name}");
    }
    Ok(())
}

pub(crate) fn links_to_directories_lead_inside(sandbox: &Sandbox) -> Outcome {
    let outside = sandbox.path("outside");
    std::fs::create_dir(&outside)?;
    let absolute = outside.to_str().unwrap();
    let tar = Tar::new()
        .dir("usr")
        .dir("usr/lib")
        .symlink("lib", "usr/lib")
        .file("lib/merged", "")
        .symlink("absolute", absolute)
        .file("absolute/a", "")
        .symlink("up", "../../../../../../../../..")
        .file("up/b", "")
        .symlink("dangling", "not/there/yet")
        .file("dangling/c", "")
        .symlink("usr/sideways", "../dangling/more")
        .file("usr/sideways/d", "")
        .link("usr/hard", "lib/merged")
        .link("absolute/hard", "/absolute/a")
        .end();
    let root = sandbox.path("root");
    unpack_to(&tar, &root)?;
    assert!(root.join("usr/lib/merged").exists());
    assert!(root.join("b").exists());
    assert!(root.join("not/there/yet/c").exists());
    assert!(root.join("not/there/yet/more/d").exists());
    let inside = root.join(absolute.trim_start_matches('/'));
    assert!(inside.join("a").exists());
    assert_eq!(inside.join("hard").metadata()?.nlink(), 2);
    assert_eq!(std::fs::read_dir(&outside)?.count(), 0, "the host was written to");
    Ok(())
}

pub(crate) fn whiteouts_are_about_lower_layers(sandbox: &Sandbox) -> Outcome {
    let lower = sandbox.path("lower");
    std::fs::create_dir(&lower)?;
    sh(
        &lower,
        "mkdir -p d e f g h p q; touch gone stays d/old e/old f/old g/old h/old p/old q/old replaced",
    );
    let tar = Tar::new()
        .file(".wh.gone", "")
        // The layer's own file survives its whiteout, whichever comes first.
        .file("stays", "new")
        .file(".wh.stays", "")
        .file(".wh.replaced", "")
        .file("replaced", "new")
        // A directory that was deleted and made again hides what was in it, in either order,
        .file(".wh.d", "")
        .dir("d")
        .file("d/new", "")
        .dir("e")
        .file("e/new", "")
        .file(".wh.e", "")
        // also if no entry makes it.
        .file(".wh.f", "")
        .file("f/new", "")
        .file("g/new", "")
        .file("g/.wh..wh..opq", "")
        .file("h/.wh.old", "")
        // A folder that has become a file or a link hides all of it; umoci lists what was in it nevertheless.
        .file("p", "now a file")
        .file("p/.wh.old", "")
        .symlink("q", "nowhere")
        .file("q/.wh.old", "")
        .file(".wh..wh.aufs", "bookkeeping")
        .file(".wh..wh.plnk/1.2", "bookkeeping")
        .end();
    let layer = sandbox.path("layer");
    let stats = unpack_to(&tar, &layer)?;
    assert_eq!((stats.whiteouts, stats.files), (10, 7));
    let merged = crate::mounting::mount(sandbox, "merged", &[layer, lower], None);
    let names = sh(&merged, "find . -mindepth 1 | sort | tr '\\n' ' '");
    assert_eq!(
        names,
        "./d ./d/new ./e ./e/new ./f ./f/new ./g ./g/new ./h ./p ./q ./replaced ./stays "
    );
    assert_eq!(std::fs::read_to_string(merged.join("stays"))?, "new");
    drop(directory(&merged));
    Ok(())
}
