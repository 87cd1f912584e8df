//! The three grammars: tables, every error as a reader sees it, and properties.

use std::fmt::Write as _;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn volume(text: &str) -> Spec {
    parse_volume(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn mount(text: &str) -> Spec {
    parse_mount(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn tmpfs(text: &str) -> Spec {
    parse_tmpfs(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn spec(kind: Kind, source: &str, target: &str) -> Spec {
    let source = (!source.is_empty()).then(|| source.to_owned());
    let create_source = kind == Kind::Bind;
    Spec { source, create_source, ..Spec::new(kind, target) }
}

#[test]
fn v_tells_paths_from_names() {
    for (text, kind, source, target) in [
        ("/data", Kind::Volume, "", "/data"),
        ("data:/data", Kind::Volume, "data", "/data"),
        ("a1_.-:/data", Kind::Volume, "a1_.-", "/data"),
        ("/srv:/data", Kind::Bind, "/srv", "/data"),
        ("/:/host", Kind::Bind, "/", "/host"),
        ("./src:/src", Kind::Bind, "./src", "/src"),
        ("..:/src", Kind::Bind, "..", "/src"),
        (".:/src", Kind::Bind, ".", "/src"),
        ("data://a/./b/../c/", Kind::Volume, "data", "/a/c"),
        ("data:/../../x", Kind::Volume, "data", "/x"),
    ] {
        assert_eq!(volume(text), spec(kind, source, target), "{text}");
    }
}

#[test]
fn v_has_options() {
    let bind = spec(Kind::Bind, "/a", "/b");
    let named = spec(Kind::Volume, "data", "/b");
    let shared = |propagation, propagation_recursive| Spec {
        propagation: Some(propagation),
        propagation_recursive,
        ..bind.clone()
    };
    for (text, expected) in [
        ("/a:/b:ro", Spec { read_only: true, ..bind.clone() }),
        ("/a:/b:rw", bind.clone()),
        ("/a:/b:cached", bind.clone()),
        ("/a:/b:consistent", bind.clone()),
        ("/a:/b:delegated", bind.clone()),
        ("/a:/b:z", Spec { relabel: Some('z'), ..bind.clone() }),
        ("/a:/b:ro,Z", Spec { relabel: Some('Z'), read_only: true, ..bind.clone() }),
        ("/a:/b:shared", shared(Propagation::Shared, false)),
        ("/a:/b:rshared", shared(Propagation::Shared, true)),
        ("/a:/b:slave", shared(Propagation::Slave, false)),
        ("/a:/b:rslave", shared(Propagation::Slave, true)),
        ("/a:/b:private", shared(Propagation::Private, false)),
        ("/a:/b:rprivate", shared(Propagation::Private, true)),
        ("data:/b:nocopy", Spec { nocopy: true, ..named.clone() }),
        ("data:/b:nocopy,ro", Spec { nocopy: true, read_only: true, ..named.clone() }),
    ] {
        assert_eq!(volume(text), expected, "{text}");
    }
}

#[test]
fn mount_has_keys() {
    let bind = Spec { create_source: false, ..spec(Kind::Bind, "/a", "/b") };
    let named = spec(Kind::Volume, "data", "/b");
    let memory = spec(Kind::Tmpfs, "", "/b");
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    for (text, expected) in [
        ("type=bind,source=/a,target=/b", bind.clone()),
        ("type=BIND,src=/a,dst=/b", bind.clone()),
        ("destination=/b,src=/a,type=bind,consistency=cached", bind.clone()),
        ("type=bind,src=/a,dst=/b,readonly", Spec { read_only: true, ..bind.clone() }),
        ("type=bind,src=/a,dst=/b,ro=1", Spec { read_only: true, ..bind.clone() }),
        ("type=bind,src=/a,dst=/b,ro=false", bind.clone()),
        (
            "type=bind,src=/a,dst=/b,bind-propagation=rslave",
            Spec { propagation: Some(Propagation::Slave), ..bind.clone() },
        ),
        ("type=bind,src=/a,dst=/b,bind-nonrecursive", Spec { recursive: false, ..bind.clone() }),
        ("type=bind,src=/a,dst=/b,bind-recursive=enabled", bind.clone()),
        (
            "type=bind,src=/a,dst=/b,bind-recursive=disabled",
            Spec { recursive: false, ..bind.clone() },
        ),
        (
            "type=bind,src=/a,dst=/b,ro,bind-recursive=writable",
            Spec { read_only: true, read_only_recursive: false, ..bind.clone() },
        ),
        (
            "type=bind,src=/a,dst=/b,ro,bind-recursive=readonly,bind-propagation=rprivate",
            Spec { read_only: true, propagation: Some(Propagation::Private), ..bind.clone() },
        ),
        (
            "type=bind,\"source=/a,\"\"b\",target=/b",
            Spec { source: Some("/a,\"b".into()), ..bind.clone() },
        ),
        ("target=/b", spec(Kind::Volume, "", "/b")),
        ("src=data,target=/b", named.clone()),
        ("src=data,target=/b,volume-driver=local", named.clone()),
        ("src=data,dst=/b,volume-nocopy", Spec { nocopy: true, ..named.clone() }),
        (
            "src=data,dst=/b,volume-label=a=b=c,volume-label=d",
            Spec { labels: pairs(&[("a", "b=c"), ("d", "")]), ..named.clone() },
        ),
        (
            "src=data,dst=/b,volume-opt=type=none,\"volume-opt=o=bind,rw\"",
            Spec { driver_opts: pairs(&[("type", "none"), ("o", "bind,rw")]), ..named.clone() },
        ),
        (
            "src=data,dst=/b,volume-subpath=x/y/",
            Spec { subpath: Some(PathBuf::from("x/y")), ..named.clone() },
        ),
        ("type=tmpfs,dst=/b", memory.clone()),
        (
            "type=tmpfs,dst=/b,tmpfs-size=64m,tmpfs-mode=0700",
            Spec { tmpfs_size: Some(64 << 20), tmpfs_mode: Some(0o700), ..memory.clone() },
        ),
    ] {
        assert_eq!(mount(text), expected, "{text}");
    }
}

#[test]
fn tmpfs_has_options() {
    let memory = spec(Kind::Tmpfs, "", "/run");
    assert_eq!(memory.attr, Attr::NOSUID | Attr::NODEV | Attr::NOEXEC);
    let option = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    for (text, expected) in [
        ("/run", memory.clone()),
        ("/run:rw", memory.clone()),
        ("/run:ro", Spec { read_only: true, ..memory.clone() }),
        (
            "/run:size=64m,mode=755",
            Spec { tmpfs_size: Some(64 << 20), tmpfs_mode: Some(0o755), ..memory.clone() },
        ),
        ("/run:exec,suid,noatime", Spec { attr: Attr::NODEV | Attr::NOATIME, ..memory.clone() }),
        ("/run:noatime,relatime", memory.clone()),
        ("/run:size=64m,size=50%", Spec { tmpfs_options: option("size", "50%"), ..memory.clone() }),
        ("/run:size=50%,size=4096", Spec { tmpfs_size: Some(4096), ..memory.clone() }),
        ("/run:uid=7", Spec { tmpfs_options: option("uid", "7"), ..memory.clone() }),
    ] {
        assert_eq!(tmpfs(text), expected, "{text}");
    }
}

#[test]
fn sizes_have_units() {
    for (text, bytes) in [
        ("0", 0),
        ("4096", 4096),
        ("4096b", 4096),
        ("64k", 64 << 10),
        ("64KB", 64 << 10),
        ("64m", 64 << 20),
        ("64 MiB", 64 << 20),
        ("1.5g", 3 << 29),
        ("2T", 2 << 40),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(parse_size("size", text), Ok(bytes), "{text}");
    }
    for text in ["", "m", "-1", "1x", "1.2.3", ".", "18446744073709551615k", "9999999.9t", "1e3"] {
        assert!(parse_size("size", text).is_err(), "{text}");
    }
}

/// One snapshot with every way to be wrong: read it as a user would.
#[test]
fn every_error_is_one_line_and_a_hint() {
    let long = format!("{}:/b", "n".repeat(256));
    let mut text = String::new();
    for wrong in [
        "",
        ":/b",
        "a::ro",
        "a:/b:",
        "aa:/b:ro:rw",
        "/a:b",
        "/b:ro",
        "aa:/",
        "aa:/b/..",
        "a:/b",
        "a/b:/b",
        ".hidden:/b",
        "-a:/b",
        &long,
        "/a:/b:rx",
        "/a:/b:ro,rw",
        "/a:/b:ro,",
        "/a:/b:z,Z",
        "/a:/b:nocopy",
        "aa:/b:rshared",
        "/a:/b:slave,shared",
        "\x1b[31m:/b",
    ] {
        writeln!(text, "-v {wrong:.40}\n{}\n", parse_volume(wrong).unwrap_err()).unwrap();
    }
    for wrong in [
        "",
        "type=bind",
        "type=bind,dst=/b",
        "type=bind,src=a,dst=/b",
        "type=bind,src=/a,dst=b",
        "type=bind,src=/a,dst=/",
        "type=npipe,dst=/b",
        "dst=/b,foo=bar",
        "dst=/b,foo",
        "dst=/b,",
        "dst=/b,src=a/b",
        "dst=/b,readonly=maybe",
        "type=tmpfs,src=/a,dst=/b",
        "type=bind,src=/a,dst=/b,volume-nocopy",
        "dst=/b,bind-propagation=rslave",
        "type=tmpfs,dst=/b,volume-label=a",
        "type=bind,src=/a,dst=/b,tmpfs-size=1m",
        "type=bind,src=/a,dst=/b,bind-propagation=up",
        "type=bind,src=/a,dst=/b,bind-recursive=no",
        "type=bind,src=/a,dst=/b,bind-recursive=readonly",
        "type=bind,src=/a,dst=/b,ro,bind-recursive=readonly",
        "dst=/b,volume-driver=nfs",
        "dst=/b,volume-subpath=/x",
        "dst=/b,volume-subpath=x/../..",
        "type=tmpfs,dst=/b,tmpfs-size=x",
        "type=tmpfs,dst=/b,tmpfs-mode=999",
        "\"dst=/b",
        "\"dst=/b\"x",
        "dst=\"/b\"",
    ] {
        writeln!(text, "--mount {wrong}\n{}\n", parse_mount(wrong).unwrap_err()).unwrap();
    }
    for wrong in ["", "run", "/", "/run:", "/run:size", "/run:size=1x", "/run:mode=8", "/run:bind"]
    {
        writeln!(text, "--tmpfs {wrong}\n{}\n", parse_tmpfs(wrong).unwrap_err()).unwrap();
    }
    insta::assert_snapshot!(text.replace('\x1b', "ESC"));
}

/// What every parser promises, whatever it is given.
fn check_promises(parsed: Result<Spec, ParseError>) {
    match parsed {
        Ok(spec) => {
            assert!(spec.target.is_absolute() && spec.target != Path::new("/"), "{spec:?}");
            let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
            assert!(spec.target.components().all(plain), "{spec:?}");
            if let (Kind::Volume, Some(name)) = (spec.kind, &spec.source) {
                check_name(name).unwrap();
            }
        }
        Err(error) => {
            assert_eq!(error.to_string().lines().count(), 2, "{error:?}");
            assert!(!error.message.contains(char::is_control) && !error.hint.is_empty());
        }
    }
}

prop_compose! {
    fn any_mount()(
        kind in prop_oneof![Just(Kind::Bind), Just(Kind::Volume), Just(Kind::Tmpfs)],
        path in "[./]?/[^\\x00]{0,12}",
        name in proptest::option::of("[a-zA-Z0-9][a-zA-Z0-9_.-]{1,20}"),
        target in "(/[^/\\x00.][^/\\x00]{0,5}){1,3}",
        (read_only, recursive, nocopy, writable) in any::<(bool, bool, bool, bool)>(),
        propagation in proptest::option::of((
            prop_oneof![
                Just(Propagation::Private), Just(Propagation::Slave), Just(Propagation::Shared)
            ],
            any::<bool>(),
        )),
        pairs in proptest::collection::vec(("[^=\\x00]{1,8}", "[^\\x00]{0,8}"), 0..3),
        subpath in proptest::option::of("[^/.\\x00][^/\\x00]{0,5}(/[^/.\\x00]){0,2}"),
        size in proptest::option::of(any::<u64>()),
        mode in proptest::option::of(0..=0o7777u32),
    ) -> Spec {
        let mut spec = Spec::new(kind, target);
        spec.read_only = read_only;
        match kind {
            Kind::Bind => {
                let path = if is_path(&path) { path } else { format!("/{path}") };
                spec.source = Some(path);
                spec.recursive = recursive;
                spec.read_only_recursive = !(recursive && writable);
                if let Some((kind, all)) = propagation {
                    (spec.propagation, spec.propagation_recursive) = (Some(kind), all);
                }
            }
            Kind::Volume => {
                spec.source = name;
                spec.nocopy = nocopy;
                spec.labels = pairs.clone();
                spec.driver_opts = pairs;
                spec.subpath = subpath.map(PathBuf::from);
            }
            Kind::Tmpfs => (spec.tmpfs_size, spec.tmpfs_mode) = (size, mode),
        }
        spec
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in any::<String>()) {
        check_promises(parse_volume(&text));
        check_promises(parse_mount(&text));
        check_promises(parse_tmpfs(&text));
    }

    #[test]
    fn nor_is_one_of_the_right_letters(
        volume in "[/.a:,rozZ\"=\n]{0,24}",
        mount in "(type|src|dst|ro|\"|=|,|bind|volume|tmpfs|-nocopy|-size|/|a|1|%|\n){0,12}",
        tmpfs in "/a?:?(size|mode|uid|=|,|1|k|%|ro|7){0,10}",
    ) {
        check_promises(parse_volume(&volume));
        check_promises(parse_mount(&mount));
        check_promises(parse_tmpfs(&tmpfs));
    }

    #[test]
    fn a_mount_reads_back_what_it_prints(spec in any_mount()) {
        let text = spec.to_string();
        prop_assert_eq!(parse_mount(&text), Ok(spec), "{}", text);
    }

    #[test]
    fn a_volume_is_what_its_parts_say(
        source in "(/[a-z]{1,5}){1,3}|[a-zA-Z0-9][a-zA-Z0-9_.-]{1,9}",
        target in "(/[a-z][a-z.]{0,4}){1,3}",
        read_only in any::<bool>(),
    ) {
        let spec = volume(&format!("{source}:{target}:{}", if read_only { "ro" } else { "rw" }));
        prop_assert_eq!(spec.kind == Kind::Bind, source.starts_with('/'));
        prop_assert_eq!(spec.source, Some(source));
        prop_assert_eq!(spec.target, PathBuf::from(target));
        prop_assert_eq!(spec.read_only, read_only);
    }
}
