//! Archives that mean harm.

use std::os::fd::AsFd;

use layers::{DiffId, Store, UnpackError};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use testkit::{Outcome, Sandbox};

use crate::support::{Tar, listing_with_overlay, sh, unpack_to};

/// What an archive may do.
enum Expected {
    /// It is refused, and the error says this.
    Refused(&'static str),
    /// It is unpacked, and this shell command succeeds in the root.
    Harmless(&'static str),
}

pub(crate) fn hostile_archives_do_no_harm(sandbox: &Sandbox) -> Outcome {
    use Expected::{Harmless, Refused};
    let host = sandbox.path("host");
    std::fs::create_dir_all(host.join("dir"))?;
    std::fs::write(host.join("passwd"), "root")?;
    std::fs::write(host.join("dir/file"), "host")?;
    let host_dir = host.to_str().unwrap();
    let up = "../".repeat(30);
    let to_host = |rest: &str| format!("{up}{}{rest}", &host_dir[1..]);
    let long_name = "n".repeat(256);
    let long_path = "d/".repeat(2100);
    let long_target = vec![b't'; 5000];
    let many: Vec<(String, Vec<u8>)> =
        (0..2000).map(|n| (format!("SCHILY.xattr.user.{n}"), vec![b'v'; 200])).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect();
    let (large, larger) = (vec![b'v'; 65_536], vec![b'v'; 65_537]);
    let parts: String = std::iter::once("1048577\n".to_owned())
        .chain((0..1_048_577).map(|n| format!("{n}\n0\n")))
        .collect();
    let table: Vec<(&str, Tar, Expected)> = vec![
        (
            "a name that climbs",
            Tar::new().pax(&[("path", to_host("/x").as_bytes())]).file("x", ""),
            Refused("it lies above the root"),
        ),
        ("an absolute name", Tar::new().file("/absolute", ""), Harmless("test -f absolute")),
        (
            "a name that climbs and comes back",
            Tar::new().file("a/../../root/x", ""),
            Refused("above the root"),
        ),
        (
            "a file through a link out",
            Tar::new().symlink("out", host_dir).file("out/passwd", "evil"),
            Harmless("test -L out"),
        ),
        (
            "a file through a climbing link",
            Tar::new().symlink("out", &to_host("")).file("out/passwd", "evil"),
            Harmless("test -L out"),
        ),
        (
            "a file over a link",
            Tar::new().symlink("l", &format!("{host_dir}/passwd")).file("l", "evil"),
            Harmless("test ! -L l"),
        ),
        (
            "a directory over a link",
            Tar::new()
                .symlink("l", &format!("{host_dir}/dir"))
                .entry(b'5', "l", b"", |header| header.set_mode(0o777)),
            Harmless("test -d l -a ! -L l"),
        ),
        (
            "a file in a link to a link",
            Tar::new().symlink("a", "b").symlink("b", host_dir).file("a/passwd", "evil"),
            Harmless("test -L a"),
        ),
        (
            "a hard link to the host",
            Tar::new().link("h", &format!("{host_dir}/passwd")),
            Refused("not in this layer"),
        ),
        (
            "a climbing hard link",
            Tar::new().pax(&[("linkpath", to_host("/passwd").as_bytes())]).link("h", "x"),
            Refused("hard link to"),
        ),
        (
            "a hard link through a link",
            Tar::new().symlink("l", host_dir).link("h", "l/passwd").file("h", "evil"),
            Refused("not in this layer"),
        ),
        (
            "a hard link to a link, then a file",
            Tar::new().symlink("l", &format!("{host_dir}/passwd")).link("h", "l").file("h", "evil"),
            Harmless("test -L l -a ! -L h"),
        ),
        (
            "a hard link to a directory",
            Tar::new().dir("d").link("h", "d"),
            Refused("hard link to a directory"),
        ),
        ("a hard link to the root", Tar::new().link("h", "."), Refused("not in this layer")),
        (
            "a root that is a link",
            Tar::new().symlink(".", host_dir),
            Refused("only be a directory"),
        ),
        ("a root that is a file", Tar::new().file("./", "x"), Refused("only be a directory")),
        (
            "a link loop",
            Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", ""),
            Refused("ELOOP"),
        ),
        ("a file below a file", Tar::new().file("f", "").file("f/x", ""), Refused("ENOTDIR")),
        (
            "links through /proc",
            Tar::new().symlink("p", "/proc/self/root").file(&format!("p{host_dir}/passwd"), "evil"),
            Harmless("test -d proc/self/root"),
        ),
        (
            "a link replaced while its directory is open",
            Tar::new()
                .dir("a")
                .dir("b")
                .symlink("a/l", ".")
                .file("a/l/f", "")
                .symlink("a/l/l", "../b")
                .file("a/l/g", ""),
            Harmless("test -f b/g -a -f a/f -a ! -e a/g"),
        ),
        (
            "a whiteout of the parent",
            Tar::new().dir("d").file("d/.wh...", ""),
            Refused("must name a file"),
        ),
        (
            "a whiteout of itself",
            Tar::new().dir("d").file("d/.wh..", ""),
            Refused("must name a file"),
        ),
        ("a whiteout of nothing", Tar::new().file(".wh.", ""), Refused("must name a file")),
        (
            "a whiteout through a link",
            Tar::new().symlink("l", host_dir).file("l/.wh.passwd", ""),
            Harmless("test -L l"),
        ),
        (
            "an opaque marker through a link",
            Tar::new().symlink("l", host_dir).file("l/.wh..wh..opq", ""),
            Harmless("test -L l"),
        ),
        (
            "a directory called whiteout",
            Tar::new().file(".wh.d/x", ""),
            Refused("a whiteout is no directory"),
        ),
        (
            "overlay's own attributes",
            Tar::new()
                .pax(&[
                    ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                    ("SCHILY.xattr.user.overlay.opaque", b"y"),
                ])
                .dir("d"),
            Harmless("test -d d"),
        ),
        ("a flood of attributes", Tar::new().pax(&many).file("f", ""), Refused("attribute user.")),
        (
            "a flood of extended header",
            Tar::new().pax(&[("comment", &vec![b'x'; 2 << 20])]).file("f", ""),
            Refused("more than 1048576"),
        ),
        (
            "an extended header that lies about its size",
            Tar::new().entry(b'x', "x", b"", |header| header.set_size(1 << 40)).file("f", ""),
            Refused("more than 1048576"),
        ),
        (
            "an attribute name with NUL",
            Tar::new().pax(&[("SCHILY.xattr.user.a\0b", b"x")]).file("f", ""),
            Refused("set attribute"),
        ),
        ("a name with NUL", Tar::new().pax(&[("path", b"a\0b")]).file("f", ""), Refused("NUL")),
        (
            "a link target with NUL",
            Tar::new().pax(&[("linkpath", b"a\0b")]).symlink("l", "x"),
            Refused("NUL"),
        ),
        (
            "a name too long",
            Tar::new().pax(&[("path", long_name.as_bytes())]).file("x", ""),
            Refused("256 bytes"),
        ),
        (
            "a path too long",
            Tar::new().pax(&[("path", long_path.as_bytes())]).dir("x"),
            Refused("longer than 4095"),
        ),
        (
            "a link target too long",
            Tar::new().pax(&[("linkpath", &long_target)]).symlink("x", "x"),
            Refused("ENAMETOOLONG"),
        ),
        ("an empty link target", Tar::new().symlink("x", ""), Refused("ENOENT")),
        (
            "an owner that means nobody",
            Tar::new().pax(&[("uid", b"4294967295")]).file("x", ""),
            Refused("a bad owner"),
        ),
        (
            "an owner too large",
            Tar::new().pax(&[("gid", b"4294967296")]).file("x", ""),
            Refused("a bad group"),
        ),
        (
            "a negative size",
            Tar::new().entry(b'0', "x", b"", |header| {
                header.as_old_mut().size.copy_from_slice(&[0xff; 12]);
            }),
            Refused("a bad size"),
        ),
        (
            "a size that overflows",
            Tar::new().pax(&[("size", b"18446744073709551615")]).file("x", ""),
            Refused("a bad size"),
        ),
        (
            "two sizes, one of them a header",
            Tar::new()
                .pax(&[("size", b"512")])
                .entry(b'0', "x", b"", |header| header.set_size(0))
                .file("smuggled", ""),
            Harmless("test -f x -a ! -e smuggled"),
        ),
        (
            "a device number too large",
            Tar::new().entry(b'3', "x", b"", |header| {
                header.set_device_major(5000).unwrap();
            }),
            Refused("no such device number"),
        ),
        ("an unknown type", Tar::new().entry(b'Q', "x", b"", |_| {}), Refused("unknown type `Q`")),
        (
            "sparse parts that overlap",
            Tar::new()
                .pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,4,2,4")])
                .file("x", "12345678"),
            Refused("overlap"),
        ),
        (
            "a sparse file of 8 EiB",
            Tar::new()
                .pax(&[("GNU.sparse.size", b"9223372036854775807"), ("GNU.sparse.map", b"0,1")])
                .file("x", "1"),
            Refused("EFBIG"),
        ),
        (
            "sparse parts behind the end",
            Tar::new()
                .pax(&[("GNU.sparse.size", b"2"), ("GNU.sparse.map", b"0,4")])
                .file("x", "1234"),
            Refused("behind its end"),
        ),
        (
            "a sparse map without end",
            Tar::new()
                .pax(&[
                    ("GNU.sparse.major", b"1"),
                    ("GNU.sparse.minor", b"0"),
                    ("GNU.sparse.realsize", b"1"),
                ])
                .file("x", "9999\n1\n"),
            Refused("damaged map"),
        ),
        (
            "two extended headers",
            Tar::new().pax(&[("path", b"a")]).pax(&[("path", b"b")]).file("x", ""),
            Refused("two extended headers"),
        ),
        (
            "a size of 8 EiB",
            Tar::new().entry(b'0', "x", b"", |header| header.set_size(i64::MAX.cast_unsigned())),
            Refused("ends in the middle"),
        ),
        (
            "a chain of links out",
            Tar::new()
                .symlink("a", "b/c")
                .dir("b")
                .symlink("b/c", "../d")
                .symlink("d", &to_host("/dir"))
                .file("a/file", "evil"),
            Harmless("test -L d -a -L b/c"),
        ),
        (
            "a link out, replaced by a directory and back",
            Tar::new()
                .dir("d")
                .file("d/passwd", "inside")
                .symlink("d", host_dir)
                .file("d/passwd", "evil"),
            Harmless("test -L d"),
        ),
        (
            "one name as file, directory, link, file",
            Tar::new()
                .file("x", "1")
                .dir("x")
                .file("x/y", "2")
                .symlink("x", &format!("{host_dir}/passwd"))
                .file("x", "evil"),
            Harmless("test -f x -a ! -L x && test $(cat x) = evil"),
        ),
        (
            "an absolute hard link through a link",
            Tar::new().symlink("l", "/").link("h", &format!("/l{host_dir}/passwd")),
            Refused("not in this layer"),
        ),
        (
            "a set-user-id program of another owner",
            Tar::new().entry(b'0', "x", b"", |header| {
                header.set_mode(0o6755);
                header.set_uid(7);
            }),
            Harmless("test $(stat -c %a:%u x) = 6755:7"),
        ),
        (
            "a plain directory in a set-group-id one of another group",
            Tar::new()
                .entry(b'5', "g", b"", |header| {
                    header.set_mode(0o2755);
                    header.set_gid(8);
                })
                .entry(b'5', "g/d", b"", |header| header.set_gid(9))
                .file("g/f", ""),
            Harmless("test $(stat -c %a:%g g/d g/f | tr '\\n' ' ' | tr -d ' ') = 755:9644:0"),
        ),
        (
            "names that are not UTF-8",
            Tar::new()
                .entry(b'5', b"\xff\xfe", b"", |_| {})
                .entry(b'0', b"\xff\xfe/\xc3\x28", b"", |_| {})
                .entry(b'2', b"\x80", b"", |header| {
                    header.as_old_mut().linkname[..2].copy_from_slice(b"\xff\xfe");
                }),
            Harmless("test -f $'\\xff\\xfe/\\xc3\\x28' -a -f $'\\x80/\\xc3\\x28'"),
        ),
        (
            "an attribute of 64 KiB",
            Tar::new().pax(&[("SCHILY.xattr.user.large", &large)]).file("f", ""),
            Refused("attribute user.large"),
        ),
        (
            "an attribute larger than Linux knows",
            Tar::new().pax(&[("SCHILY.xattr.user.larger", &larger)]).file("f", ""),
            Refused("attribute user.larger"),
        ),
        (
            "a whiteout mark as a directory",
            Tar::new().dir("d").file("d/.wh..wh.", ""),
            Harmless("test -z \"$(ls -A d)\""),
        ),
        (
            "a sparse map with a million and one parts",
            Tar::new()
                .pax(&[
                    ("GNU.sparse.major", b"1"),
                    ("GNU.sparse.minor", b"0"),
                    ("GNU.sparse.realsize", b"9999999"),
                ])
                .file("x", &parts),
            Refused("more than a million parts"),
        ),
        (
            "a terminal's control codes",
            Tar::new().file("\x1b[2J/..//../x", ""),
            Refused("\\u{1b}[2J"),
        ),
    ];
    let before = listing_with_overlay(&host);
    for (number, (what, tar, expected)) in table.into_iter().enumerate() {
        let root = sandbox.path(format!("root{number}"));
        let outcome = unpack_to(&tar.end(), &root);
        match (&expected, &outcome) {
            (Refused(words), Err(error)) => {
                let text = error.to_string();
                assert!(text.contains(words), "{what}: {text}");
            }
            (Harmless(command), Ok(_)) => drop(sh(&root, command)),
            _ => panic!("{what}: {outcome:?}"),
        }
        assert_eq!(before, listing_with_overlay(&host), "{what}: the host was changed");
        let tree = listing_with_overlay(&root).join("\n");
        assert!(!tree.contains("overlay.redirect"), "{what}: {tree}");
        assert!(!tree.contains("user.overlay"), "{what}: {tree}");
    }
    Ok(())
}

pub(crate) fn cut_and_damaged_archives_are_refused(sandbox: &Sandbox) -> Outcome {
    let whole = Tar::new()
        .dir("d")
        .pax(&[("path", b"d/file")])
        .file("x", &"content ".repeat(200))
        .symlink("l", "d")
        .end();
    let root = |what: &str| sandbox.path(what.replace(' ', "-"));
    // Without the two blocks at its end an archive is whole: only the second one is missing, or
    // both.
    for cut in [512, 1024] {
        unpack_to(&whole[..whole.len() - cut], &root(&format!("end {cut}")))?;
    }
    for length in (1..whole.len() - 1024).step_by(97) {
        let result = unpack_to(&whole[..length], &root("cut"));
        let between_entries = length % 512 == 0;
        assert!(result.is_err() || between_entries, "{length} bytes of {}", whole.len());
        std::fs::remove_dir_all(root("cut"))?;
    }
    let mut damaged = whole.clone();
    damaged[5] ^= 1;
    let error = unpack_to(&damaged, &root("damaged")).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
    let more = [&whole[..whole.len() - 512], &whole[..]].concat();
    let error = unpack_to(&more, &root("more")).unwrap_err();
    assert!(error.to_string().contains("follows the end"), "{error}");
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the line is down"))
        }
    }
    std::fs::create_dir(root("broken"))?;
    let broken = std::io::Read::chain(&whole[..1024], Broken);
    let dir = std::fs::File::open(root("broken"))?;
    match layers::unpack(broken, dir.as_fd()) {
        Err(UnpackError::Read { source, .. }) => assert_eq!(source.to_string(), "the line is down"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

/// A tree deeper than there are descriptors, made with links to go on where a path ends.
pub(crate) fn very_deep_trees_can_be_removed(sandbox: &Sandbox) -> Outcome {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard)?;
    let step = "d/".repeat(100);
    let first = step.as_str();
    let second = format!("l/{step}");
    let tar = Tar::new()
        .pax(&[("path", first.as_bytes())])
        .dir("x")
        .symlink("l", first)
        .pax(&[("path", second.as_bytes())])
        .dir("x");
    // In the way of a later entry,
    let replaced = tar.clone().file("d", "a file now").end();
    unpack_to(&replaced, &sandbox.path("replaced"))?;
    assert!(sandbox.path("replaced/d").is_file());
    // in a layer that turns out to be another one, and in one that is removed.
    let whole = tar.end();
    let store = Store::open(&sandbox.path("store"))?;
    store.add(&DiffId::of(b"other"), &whole[..]).unwrap_err();
    assert_eq!(std::fs::read_dir(sandbox.path("store/tmp"))?.count(), 0);
    let id = DiffId::of(&whole);
    store.add(&id, &whole[..])?;
    assert!(store.path(&id).join("l").join(first).is_dir());
    store.remove(&id)?;
    assert_eq!(std::fs::read_dir(sandbox.path("store/tmp"))?.count(), 0);
    Ok(())
}
