//! Where files land, and what they keep.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use build::attributes::{Attributes, Owner, Times};
use build::copy::{Made, Target, check_many, make_directory, write};
use build::file_error::FileError;
use nix::sys::stat::{Mode, SFlag, makedev, mknod, utimes};
use nix::sys::time::{TimeVal, TimeValLike};
use testkit::{Outcome, Sandbox};

use crate::support::{copied, make, open, select_with, selected, show};

pub(crate) fn targets_are_found_by_dockers_rules(sandbox: &Sandbox) -> Outcome {
    // context, tree before, sources, target, tree after or the beginning of the error
    let cases: &[(&str, &str, &[&str], &str, &str)] = &[
        // A file.
        ("f=1", "", &["f"], "/g", "g=1"),
        ("f=1:600", "", &["f"], "/f", "f=1:600"),
        ("f=1", "", &["f"], "g", "g=1"),
        ("f=1", "", &["f"], "/", "f=1"),
        ("f=1", "", &["f"], "/d/", "d/ d/f=1"),
        ("f=1", "", &["f"], "/a/b/c", "a/ a/b/ a/b/c=1"),
        ("f=1", "", &["f"], "/a/b/c/", "a/ a/b/ a/b/c/ a/b/c/f=1"),
        ("f=1", "w/", &["f"], "/w/.", "w/ w/f=1"),
        ("f=1", "d/:700@7:8", &["f"], "/d", "d/:700@7:8 d/f=1"),
        ("f=1", "d/ d/f=old:600@5:5", &["f"], "/d/", "d/ d/f=1"),
        ("f=1", "g=old:600@5:5", &["f"], "/g", "g=1"),
        ("f=1", "", &["f"], "/../../x", "x=1"),
        ("f=1", "a/", &["f"], "/a/../b", "a/ b=1"),
        // Links at the target.
        ("f=1", "d/ l->d", &["f"], "/l", "d/ d/f=1 l->d"),
        ("f=1", "d/ l->d", &["f"], "/l/", "d/ d/f=1 l->d"),
        ("f=1", "d/ l->d", &["f"], "/l/g", "d/ d/g=1 l->d"),
        ("f=1", "d/ l->/d", &["f"], "/l/", "d/ d/f=1 l->/d"),
        ("f=1", "d/ l->../../../d", &["f"], "/l/", "d/ d/f=1 l->../../../d"),
        ("f=1", "g=old l->g", &["f"], "/l", "g=1 l->g"),
        ("f=1", "l->x/y", &["f"], "/l", "l->x/y x/ x/y=1"),
        ("f=1", "l->/x/y", &["f"], "/l/", "l->/x/y x/ x/y/ x/y/f=1"),
        ("f=1", "d/ d/f->../g g=old", &["f"], "/d/", "d/ d/f=1 g=old"),
        ("f=1", "l->l", &["f"], "/l/", "find target `l`: Too many symbolic links"),
        ("f=1", "d/ o/l->/d", &["f"], "/o/l/", "d/ d/f=1 o/ o/l->/d"),
        ("f=1", "o/l->/d/g", &["f"], "/o/l", "d/ d/g=1 o/ o/l->/d/g"),
        // A directory.
        ("s/:700 s/f=1", "", &["s"], "/t", "t/ t/f=1"),
        ("s/:700 s/f=1", "", &["s/"], "/t/", "t/ t/f=1"),
        ("s/:700 s/f=1", "", &["s"], "/", "f=1"),
        ("s/", "", &["s"], "/t", "t/"),
        ("s/ s/f=1", "t/:711@3:3 t/f=old:600 t/g=2", &["s"], "/t", "t/:711@3:3 t/f=1 t/g=2"),
        (
            "s/ s/u/:700 s/u/f=1",
            "t/ t/u/:755@3:3 t/u/x=9",
            &["s"],
            "/t",
            "t/ t/u/:700 t/u/f=1 t/u/x=9",
        ),
        ("s/ s/f=1", "d/ l->d", &["s"], "/l", "d/ d/f=1 l->d"),
        ("s/ s/f=1", "t/ t/f->../g g=old", &["s"], "/t", "g=old t/ t/f=1"),
        ("s/ s/l->f", "t/ t/l=old", &["s"], "/t", "t/ t/l->f"),
        ("s/ s/f=1 s/d/ s/d/g=2 s/l->d", "", &["."], "/", "s/ s/d/ s/d/g=2 s/f=1 s/l->d"),
        ("s/ s/f=1", "t=file", &["s"], "/t", "cannot copy to non-directory: /t\nhint: "),
        ("s/ s/f=1", "t=file", &["s"], "/t/", "cannot copy to non-directory: /t\nhint: "),
        ("f=1", "t=file", &["f"], "/t/x", "cannot copy to non-directory: /t/x\nhint: "),
        (
            "s/ s/u/ s/u/f=1",
            "t/ t/u=file",
            &["s"],
            "/t",
            "cannot copy to non-directory: /t/u\nhint: ",
        ),
        (
            "s/ s/u/ s/u/f=1",
            "t/ d/ t/u->../d",
            &["s"],
            "/t",
            "cannot copy to non-directory: /t/u\nhint: ",
        ),
        ("s/ s/u=1", "t/ t/u/", &["s"], "/t", "cannot replace directory with file: /t/u\nhint: "),
        ("f=1", "f/", &["f"], "/", "cannot replace directory with file: /f\nhint: "),
        // Several.
        ("f=1 g=2", "", &["f", "g"], "/d/", "d/ d/f=1 d/g=2"),
        ("f=1 g=2", "d/", &["f", "g"], "/d", "d/ d/f=1 d/g=2"),
        ("f=1 g=2", "d/ l->d", &["f", "g"], "/l", "d/ d/f=1 d/g=2 l->d"),
        (
            "f=1 g=2",
            "",
            &["f", "g"],
            "/d",
            "when using COPY with more than one source file, the destination must be a directory and end with a /\nhint: write `/d/`",
        ),
        ("f=1 g=2", "d=file", &["[fg]"], "/d", "when using COPY with more than one source file"),
        ("f=1 s/ s/g=2", "", &["f", "s"], "/d", "when using COPY with more than one source file"),
        ("a/ a/f=1 b/ b/g=2", "", &["a", "b"], "/d", "d/ d/f=1 d/g=2"),
        ("a/ a/f=1 b/ b/g=2", "", &["?"], "/d", "d/ d/f=1 d/g=2"),
        ("a/ a/f=1 b/ b/f=2", "", &["a", "b"], "/d/", "d/ d/f=2"),
        ("a/ a/u/:700 b/ b/u/:711", "", &["a", "b"], "/d/", "d/ d/u/:711"),
        ("f=1", "", &["f", "none*"], "/d", "d=1"),
        ("f=1", "", &["none*"], "/d", ""),
        // Links in the source.
        ("f=1 l->f", "", &["l"], "/", "l=1"),
        ("f=1 l->f", "", &["l"], "/g", "g=1"),
        ("d/ d/f=1 d/l->f l->d", "", &["l"], "/t", "t/ t/f=1 t/l->f"),
        ("d/ d/f=1 l->/d", "", &["l/f"], "/", "f=1"),
    ];
    for (number, (context, before, sources, target, expected)) in cases.iter().enumerate() {
        let (from, to) =
            (sandbox.path(format!("{number}/from")), sandbox.path(format!("{number}/to")));
        make(&from, context);
        make(&to, before);
        let result = copied(&from, &selected(&from, sources)?, &to, target, &Attributes::default());
        let case = format!("{context:?} onto {before:?}: {sources:?} to {target}");
        match result {
            Ok(_) => assert_eq!(show(&to), *expected, "{case}"),
            Err(error) => assert!(error.to_string().starts_with(expected), "{case}: {error}"),
        }
    }
    let (from, to) = (sandbox.path("from"), sandbox.path("to"));
    make(&from, "a/:700 a/b/:711@5:6 a/b/f=1 c/:750 c/g=1");
    make(&to, "t/ t/a/:777@9:9");
    let selection = select_with(&from, "", &["a/b/f", "c/g"], &[], true)?;
    let keep = Attributes { owner: Owner::Keep, ..Attributes::default() };
    copied(&from, &selection, &to, "/t/", &keep)?;
    assert_eq!(show(&to), "t/ t/a/:777@9:9 t/a/b/:711@5:6 t/a/b/f=1 t/c/:750 t/c/g=1");
    Ok(())
}

pub(crate) fn everything_about_a_file_is_copied(sandbox: &Sandbox) -> Outcome {
    let (from, to) = (sandbox.path("from"), sandbox.path("to"));
    make(&from, "bin/ bin/su=x:4755@1:2 bin/group=x:2755 tmp/:1777 none=x:0 tool=x:755");
    fs::create_dir(&to)?;
    mknod(&from.join("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3))?;
    nix::unistd::mkfifo(&from.join("pipe"), Mode::from_bits_truncate(0o622))?;
    fs::set_permissions(from.join("pipe"), fs::Permissions::from_mode(0o622))?;
    fs::set_permissions(from.join("null"), fs::Permissions::from_mode(0o666))?;
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    xattr::set(from.join("tool"), "security.capability", &capability)?;
    xattr::set(from.join("tool"), "user.note", b"kept")?;
    xattr::set(from.join("tool"), "trusted.machine", b"not kept")?;
    xattr::set(from.join("bin"), "user.dir", b"kept too")?;
    let mut sparse = File::create(from.join("sparse"))?;
    sparse.write_all(b"start")?;
    sparse.set_len(64 << 20)?;
    let _listener = std::os::unix::net::UnixListener::bind(from.join("socket"))?;

    let selection = selected(&from, &["."])?;
    assert_eq!(selection.skipped_sockets, 1);
    let keep = Attributes { owner: Owner::Keep, ..Attributes::default() };
    let done = copied(&from, &selection, &to, "/", &keep)?;
    assert_eq!((done.files, done.changed), (5, None));
    fs::remove_file(from.join("socket"))?;
    let compared =
        Command::new("diff").arg("-r").arg(from.join("bin")).arg(to.join("bin")).output()?;
    assert!(compared.status.success(), "{compared:?}");
    for file in [&from, &to] {
        let meta = fs::metadata(file.join("sparse"))?;
        assert_eq!(meta.len(), 64 << 20);
        assert!(meta.blocks() < 100, "{}: the hole takes {} blocks", file.display(), meta.blocks());
        fs::remove_file(file.join("sparse"))?;
    }
    assert_eq!(show(&from), show(&to));
    assert_eq!(fs::metadata(to.join("null"))?.rdev(), makedev(1, 3));
    assert_eq!(
        xattr::get(to.join("tool"), "security.capability")?.as_deref(),
        Some(&capability[..])
    );
    assert_eq!(xattr::get(to.join("tool"), "user.note")?.as_deref(), Some(&b"kept"[..]));
    assert_eq!(xattr::get(to.join("tool"), "trusted.machine")?, None);
    assert_eq!(xattr::get(to.join("bin"), "user.dir")?.as_deref(), Some(&b"kept too"[..]));
    Ok(())
}

pub(crate) fn owners_and_modes_are_as_asked(sandbox: &Sandbox) -> Outcome {
    let tree = "d/:700@5:6 d/f=1:640@7:8 d/x=2:750 d/l->f d/e/:555";
    let from = sandbox.path("from");
    make(&from, tree);
    let user = Owner::Set { uid: 33, gid: 44 };
    // owner, chmod, umask, expected
    let cases = [
        (Owner::Root, None, 0, "t/ t/e/:555 t/f=1:640 t/l->f t/x=2:750"),
        (Owner::Keep, None, 0o077, "t/ t/e/:555 t/f=1:640@7:8 t/l->f t/x=2:750"),
        (user, None, 0o077, "t/@33:44 t/e/:555@33:44 t/f=1:640@33:44 t/l->f@33:44 t/x=2:750@33:44"),
        (Owner::Root, Some("0604"), 0o022, "t/ t/e/:604 t/f=1:604 t/l->f t/x=2:604"),
        (Owner::Root, Some("u=rwX,go=rX"), 0, "t/ t/e/ t/f=1 t/l->f t/x=2:755"),
        (
            user,
            Some("u+s"),
            0,
            "t/@33:44 t/e/:4555@33:44 t/f=1:4640@33:44 t/l->f@33:44 t/x=2:4750@33:44",
        ),
    ];
    for (number, (owner, chmod, umask, expected)) in cases.into_iter().enumerate() {
        let to = sandbox.path(format!("to{number}"));
        fs::create_dir(&to)?;
        let before = nix::sys::stat::umask(Mode::from_bits_truncate(umask));
        let chmod = chmod.map(str::parse).transpose()?;
        let attributes = Attributes { owner, chmod, times: Times::Keep };
        copied(&from, &selected(&from, &["d"])?, &to, "/t", &attributes)?;
        nix::sys::stat::umask(before);
        assert_eq!(show(&to), expected, "{attributes:?}");
    }
    Ok(())
}

pub(crate) fn times_are_kept_or_clamped(sandbox: &Sandbox) -> Outcome {
    let from = sandbox.path("from");
    make(&from, "d/ d/sub/ d/sub/old=1 d/sub/new=2 d/l->sub");
    let time = |path: &str, seconds: i64| {
        utimes(&from.join(path), &TimeVal::seconds(1), &TimeVal::seconds(seconds)).unwrap();
    };
    time("d/sub/old", 1000);
    time("d/sub/new", 3000);
    time("d/sub", 1500);
    let exact = nix::sys::time::TimeSpec::new(1234, 567_891_234);
    nix::sys::stat::futimens(open(&from.join("d/sub/old")), &exact, &exact)?;
    let mtime = |root: &std::path::Path, path: &str| {
        let meta = fs::symlink_metadata(root.join(path)).unwrap();
        (meta.mtime(), meta.mtime_nsec())
    };
    let all = ["t/sub/old", "t/sub/new", "t/sub"];
    let copy = |name: &str, times: Times| -> Result<Vec<(i64, i64)>, FileError> {
        let to = sandbox.path(name);
        fs::create_dir(&to).unwrap();
        let attributes = Attributes { times, ..Attributes::default() };
        copied(&from, &selected(&from, &["d"])?, &to, "/t", &attributes)?;
        Ok(all.iter().chain(&["t/l", "t"]).map(|path| mtime(&to, path)).collect())
    };
    let kept = copy("keep", Times::Keep)?;
    assert_eq!(kept[..3], [(1234, 567_891_234), (3000, 0), (1500, 0)]);
    assert_eq!(kept[3], mtime(&from, "d/l"));
    let clamped = copy("clamp", Times::ClampTo(2000))?;
    assert_eq!(clamped, [(1234, 567_891_234), (2000, 0), (1500, 0), (2000, 0), (2000, 0)]);
    Ok(())
}

pub(crate) fn hard_links_stay_links(sandbox: &Sandbox) -> Outcome {
    let (from, to) = (sandbox.path("from"), sandbox.path("to"));
    make(&from, "a/ a/f=one b/ b/f=two b/h=three");
    make(&to, "g=old");
    fs::hard_link(from.join("a/f"), from.join("a/g"))?;
    fs::hard_link(from.join("a/f"), from.join("b/g"))?;
    fs::hard_link(from.join("b/h"), sandbox.path("elsewhere"))?;
    copied(&from, &selected(&from, &["a"])?, &to, "/", &Attributes::default())?;
    assert_eq!(show(&to), "f=one g=one");
    assert_eq!(fs::metadata(to.join("f"))?.ino(), fs::metadata(to.join("g"))?.ino());
    assert_eq!(fs::metadata(to.join("f"))?.nlink(), 2);
    // `b/f` takes the place of `f`, which was the first name of what `b/g` is a link to.
    let other = sandbox.path("other");
    make(&other, "");
    copied(&from, &selected(&from, &["a", "b"])?, &other, "/", &Attributes::default())?;
    assert_eq!(show(&other), "f=two g=one h=three");
    assert_eq!(fs::metadata(other.join("h"))?.nlink(), 1);
    Ok(())
}

pub(crate) fn made_files_land_like_copied_ones(sandbox: &Sandbox) -> Outcome {
    let to = sandbox.path("to");
    make(&to, "d/ l->d old=x:600@3:3");
    let root = open(&to);
    let target = |path: &'static str| Target {
        root: root.as_fd(),
        path: path.as_bytes(),
        instruction: "COPY",
    };
    let put = |path: &'static str, attributes: &Attributes| {
        let made = Made { name: b"EOF", content: &mut &b"text"[..], mode: 0o644, mtime: (1000, 5) };
        write(made, &target(path), attributes)
    };
    let plain = Attributes::default();
    put("/l/", &plain)?;
    put("/old", &plain)?;
    let special = Attributes {
        owner: Owner::Set { uid: 1, gid: 2 },
        chmod: Some("a+x".parse()?),
        times: Times::ClampTo(500),
    };
    put("/new/script", &special)?;
    assert_eq!(show(&to), "d/ d/EOF=text l->d new/@1:2 new/script=text:755@1:2 old=text");
    let time =
        |path: &str| fs::metadata(to.join(path)).map(|meta| (meta.mtime(), meta.mtime_nsec()));
    assert_eq!((time("d/EOF")?, time("new/script")?), ((1000, 5), (500, 0)));
    assert!(put("/old/x", &plain).is_err() && put("/d/EOF/", &plain).is_err());

    let made = make_directory(&target("/work/dir"), &special)?;
    assert_eq!(made.metadata()?.ino(), fs::metadata(to.join("work/dir"))?.ino());
    assert_eq!(fs::metadata(to.join("work/dir"))?.uid(), 1);
    make_directory(&target("/l"), &special)?;
    assert!(make_directory(&target("/old"), &plain).is_err());

    for (path, fine) in
        [("/d", true), ("/l", true), ("/x/", true), (".", true), ("/x", false), ("/old", false)]
    {
        assert_eq!(check_many(2, &target(path)).is_ok(), fine, "{path}");
        check_many(1, &target(path))?;
    }
    Ok(())
}

pub(crate) fn a_change_during_the_copy_is_told(sandbox: &Sandbox) -> Outcome {
    let (from, to) = (sandbox.path("from"), sandbox.path("to"));
    make(&from, "d/ d/f=1 d/g=2");
    make(&to, "");
    let selection = selected(&from, &["d"])?;
    fs::write(from.join("d/g"), "longer than before")?;
    let done = copied(&from, &selection, &to, "/", &Attributes::default())?;
    assert_eq!(done.changed.as_deref(), Some("d/g"));
    assert_eq!(show(&to), "f=1 g=longer\\x20than\\x20before".replace("\\x20", " "));
    fs::remove_file(from.join("d/f"))?;
    let error = copied(&from, &selection, &to, "/", &Attributes::default()).unwrap_err();
    assert!(matches!(error, FileError::Changed { ref path } if path == "d/f"), "{error}");
    Ok(())
}

pub(crate) fn copies_land_in_an_overlay(sandbox: &Sandbox) -> Outcome {
    let from = sandbox.path("from");
    make(&from, "s/ s/etc/:711 s/etc/new=1:4755 s/etc/old=2 s/deep/a/b/c=3 s/l->etc");
    fs::write(from.join("s/big"), vec![7; 3 << 20])?;
    fs::hard_link(from.join("s/etc/old"), from.join("s/twin"))?;
    make(&sandbox.path("lower"), "etc/ etc/old=x:600 etc/stays=y lib->usr/lib usr/lib/");
    for dir in ["upper", "work", "merged"] {
        fs::create_dir(sandbox.path(dir))?;
    }
    let path = |name: &str| sandbox.path(name).display().to_string();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", path("lower"), path("upper"), path("work"));
    let merged = sandbox.path("merged");
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("overlay"), &merged, Some("overlay"), flags, Some(options.as_str()))?;
    let attributes = Attributes { owner: Owner::Set { uid: 5, gid: 5 }, ..Attributes::default() };
    copied(&from, &selected(&from, &["s"])?, &merged, "/", &attributes)?;
    copied(&from, &selected(&from, &["s/deep"])?, &merged, "/lib/", &attributes)?;
    let big = fs::read(merged.join("big"))?;
    assert!(big.len() == 3 << 20 && big.iter().all(|byte| *byte == 7));
    assert_eq!(
        fs::metadata(merged.join("twin"))?.ino(),
        fs::metadata(merged.join("etc/old"))?.ino()
    );
    fs::remove_file(merged.join("big"))?;
    let expected = "deep/@5:5 deep/a/@5:5 deep/a/b/@5:5 deep/a/b/c=3@5:5 etc/:711@5:5 etc/new=1:4755@5:5 \
        etc/old=2@5:5 etc/stays=y l->etc@5:5 lib->usr/lib twin=2@5:5 usr/ usr/lib/ usr/lib/a/@5:5 \
        usr/lib/a/b/@5:5 usr/lib/a/b/c=3@5:5";
    assert_eq!(show(&merged), expected);
    nix::mount::umount(&merged)?;
    assert_eq!(
        show(&sandbox.path("lower")),
        "etc/ etc/old=x:600 etc/stays=y lib->usr/lib usr/ usr/lib/"
    );
    Ok(())
}
