use std::os::fd::AsFd;

use super::*;

fn parse(text: &str) -> Ignore {
    Ignore::parse(text.as_bytes(), ".dockerignore").unwrap()
}

#[test]
fn the_last_line_that_matches_decides() {
    // file, what is excluded, what is not
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("", &[], &["a", "a/b"]),
        ("# a\n\n  \na", &["a", "a/b", "a/b/c"], &["b", "x/a"]),
        (" # a", &["# a"], &["a"]),
        ("a#b", &["a#b"], &["a"]),
        ("  a  \t\r\nb\r\n", &["a", "b"], &["c"]),
        ("\u{feff}a", &["a"], &["b"]),
        ("\u{feff}# a\nb", &["b"], &["a"]),
        ("/a\n./b\nc/\nd/../e", &["a", "b", "c", "c/x", "e"], &["d"]),
        ("*.md\n!README.md", &["a.md"], &["README.md", "d/a.md"]),
        ("!README.md\n*.md", &["README.md"], &[]),
        ("*.md\n!README*.md\nREADME-secret.md", &["a.md", "README-secret.md"], &["README.md"]),
        ("*.md\nREADME-secret.md\n!README*.md", &["a.md"], &["README-secret.md"]),
        ("! a", &[], &["a"]),
        ("*\n! a", &["b"], &["a", "a/b"]),
        ("*\n!/a", &["b"], &["a"]),
        ("*\n!src\nsrc/*.o", &["x", "src/a.o"], &["src", "src/a.c", "src/d/a.o"]),
        ("dir\n!dir/keep", &["dir", "dir/a", "dir/a/keep"], &["dir/keep", "dir/keep/x"]),
        ("dir\n!dir/keep\ndir", &["dir/keep"], &[]),
        ("**\n!**/*.go", &["a", "a/b"], &["x.go", "a/x.go", "a/b/x.go"]),
        ("**/*.o", &["a.o", "x/a.o", "x/y.o/z"], &["a.c"]),
        ("**/node_modules", &["node_modules/x", "a/node_modules/x/y"], &["node"]),
        ("*", &["a", ".b", "a/b"], &[]),
        ("a/*", &["a/b", "a/b/c"], &["a"]),
        (".", &[], &["a"]),
        ("..", &[], &["a"]),
        ("\\!a\n\\#b", &["!a", "#b"], &["a", "b"]),
    ];
    for (text, excluded, kept) in cases {
        let ignore = parse(text);
        excluded.iter().for_each(|path| {
            assert!(ignore.judge_path(path.as_bytes()).excluded, "{text:?} excludes {path}");
            assert!(ignore.excluded_by(path.as_bytes()).is_some());
        });
        kept.iter().for_each(|path| {
            assert!(!ignore.judge_path(path.as_bytes()).excluded, "{text:?} keeps {path}");
            assert!(ignore.excluded_by(path.as_bytes()).is_none());
        });
    }
    let _: Option<&Rule> = parse("a").excluded_by(b"");
    assert!(!parse("**").judge_path(b"").excluded, "the context itself is never excluded");
}

#[test]
fn it_is_known_which_excluded_directories_to_enter() {
    let cases = [
        ("dir", "dir", false),
        ("dir\n!dir/keep", "dir", true),
        ("dir\n!dir/keep", "dir/other", false),
        ("*\n!src/*.c", "src", true),
        ("*\n!src/*.c", "doc", false),
        ("*\n!**/*.c", "doc", true),
        ("*\n!*.c", "doc", false),
    ];
    for (text, directory, expected) in cases {
        assert_eq!(parse(text).may_hold(directory.as_bytes()), expected, "{text:?} {directory}");
    }
}

#[test]
fn the_line_that_excludes_is_known() {
    let ignore = parse("# no objects\n*.o\n\n!keep.o\nsrc");
    assert_eq!(ignore.excluded_by(b"a.o").map(|rule| rule.line), Some(2));
    assert_eq!(ignore.excluded_by(b"src/main.c").map(|rule| rule.line), Some(5));
    assert_eq!(ignore.excluded_by(b"keep.o"), None);
}

#[test]
fn errors_tell_the_line() {
    let error =
        |text: &str| Ignore::parse(text.as_bytes(), "x.dockerignore").unwrap_err().to_string();
    assert!(
        error("a\n[b").starts_with("x.dockerignore:2: bad pattern `[b`: `[` without `]`\nhint: ")
    );
    assert!(
        error("a\n\n!").starts_with("x.dockerignore:3: illegal exclusion pattern: \"!\"\nhint: ")
    );
    let error = Ignore::patterns(&["a", "[z-a]"]).unwrap_err().to_string();
    assert!(error.starts_with("--exclude:2: bad pattern `[z-a]`"), "{error}");
}

#[test]
fn the_file_beside_the_dockerfile_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let dir = std::fs::File::open(folder.path()).unwrap();
    let read =
        |dockerfile: &str| Ignore::read(Some((dir.as_fd(), OsStr::new(dockerfile))), dir.as_fd());
    assert!(read("Dockerfile").unwrap().is_empty());
    write(".dockerignore", "a");
    assert_eq!(read("Dockerfile").unwrap().file(), ".dockerignore");
    write("test.Dockerfile.dockerignore", "b");
    let own = read("test.Dockerfile").unwrap();
    assert!(own.judge_path(b"b").excluded && !own.judge_path(b"a").excluded);
    assert_eq!(own.file(), "test.Dockerfile.dockerignore");
    assert_eq!(read("Dockerfile").unwrap().file(), ".dockerignore");
    // An empty one counts, too: nothing is excluded then.
    write("test.Dockerfile.dockerignore", "");
    assert!(read("test.Dockerfile").unwrap().is_empty());
}

#[test]
fn a_strange_ignore_file_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".dockerignore");
    let dir = std::fs::File::open(folder.path()).unwrap();
    let read = || Ignore::read(None, dir.as_fd());
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    assert!(read().unwrap().is_empty(), "a link out of the context leads nowhere");
    std::fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    assert!(matches!(read(), Err(IgnoreError::TooLong { .. })));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(read(), Err(IgnoreError::TooLong { .. })));
    std::fs::remove_dir(&path).unwrap();
    std::fs::File::create(&path).unwrap().set_len(LONGEST + 1).unwrap();
    assert!(matches!(read(), Err(IgnoreError::TooLong { .. })));
    std::fs::write(&path, b"a\xff\n*.\xfe").unwrap();
    let ignore = read().unwrap();
    assert!(ignore.judge_path(b"a\xff").excluded && ignore.judge_path(b"x.\xfe").excluded);
}
