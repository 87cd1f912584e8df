//! Which files a `COPY` takes.

use testkit::{Outcome, Sandbox};

use crate::support::{make, paths, select_with, selected};

pub(crate) fn sources_name_what_docker_says(sandbox: &Sandbox) -> Outcome {
    let tree = "a.txt=1 b.txt=2 c.md=3 [x]=4 dir/a.c=1 dir/b.c=2 dir/sub/c.c=3 dir/l->a.c other/a.c=9 \
        link->dir/a.c dlink->dir dlink2->/dlink up->../../../a.txt empty/ dir/.hidden=1 other/abs->/dir/sub";
    let root = sandbox.path("context");
    make(&root, tree);
    let whole = ".hidden a.c b.c l sub/ sub/c.c";
    let cases: &[(&[&str], &str)] = &[
        (&["a.txt"], "a.txt"),
        (&["/a.txt"], "a.txt"),
        (&["./a.txt"], "a.txt"),
        (&["../a.txt"], "a.txt"),
        (&["dir/../a.txt"], "a.txt"),
        (&["a.txt/"], "a.txt"),
        (&["dir/a.c"], "a.c"),
        (&["dir"], whole),
        (&["dir/"], whole),
        (&["dir/."], whole),
        (&["empty"], ""),
        (&["*.txt"], "a.txt b.txt"),
        (&["*.t?t", "c.md"], "a.txt b.txt c.md"),
        (&["[ab].txt"], "a.txt b.txt"),
        (&["[^a].txt"], "b.txt"),
        (&["[[]x]"], "[x]"),
        (&["\\[x]*"], "[x]"),
        (&["*/a.c"], "a.c a.c"),
        (&["dir/*.c"], "a.c b.c"),
        (&["**/*.c"], "a.c b.c a.c"),
        (&["**/c.c"], ""),
        (&["d?r"], whole),
        (&["d*r/*"], ".hidden a.c b.c l c.c"),
        (&["link"], "link"),
        (&["l[i]nk"], "link"),
        (&["dlink"], whole),
        (&["dlink2/a.c"], "a.c"),
        (&["dlink2"], whole),
        (&["dlink*/a.c"], ""),
        (&["other/abs"], "c.c"),
        (&["other/abs/../a.c"], "a.c"),
        (&["up"], "up"),
        (&["nothing*"], ""),
        (&["a.txt", "nothing*"], "a.txt"),
    ];
    for (sources, expected) in cases {
        let selection = selected(&root, sources)?;
        assert_eq!(paths(&selection), *expected, "{sources:?}");
    }
    let unmatched = selected(&root, &["a.txt", "nothing*", "dlink*/a.c", "empty"])?.unmatched;
    assert_eq!(unmatched, ["nothing*", "dlink*/a.c"]);
    let all = paths(&selected(&root, &["."])?);
    let expected = "[x] a.txt b.txt c.md dir/ dir/.hidden dir/a.c dir/b.c dir/l dir/sub/ dir/sub/c.c \
        dlink dlink2 empty/ link other/ other/a.c other/abs up";
    assert_eq!(all, expected);
    assert_eq!(paths(&selected(&root, &["/"])?), expected);
    Ok(())
}

pub(crate) fn what_is_ignored_is_not_there(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("context");
    make(
        &root,
        "Dockerfile=F .dockerignore=x a.o=1 src/main.c=1 src/main.o=2 src/gen/x.c=3 src/gen/deep/y.c=4 \
        doc/a.md=1 doc/b.md=2 to-doc->doc/a.md empty/",
    );
    let cases: &[(&str, &str, &str)] = &[
        (
            "Dockerfile\n.dockerignore\n**/*.o\n",
            ".",
            "doc/ doc/a.md doc/b.md empty/ src/ src/gen/ src/gen/deep/ src/gen/deep/y.c src/gen/x.c src/main.c to-doc",
        ),
        ("*\n!src/main.c", ".", "src/ src/main.c"),
        ("*\n!src/gen/deep/*.c", ".", "src/ src/gen/ src/gen/deep/ src/gen/deep/y.c"),
        ("*\n!src\nsrc/gen", ".", "src/ src/main.c src/main.o"),
        ("src\n!src/gen/x.c\n", "src", "gen/ gen/x.c"),
        ("src\n!src/gen/x.c\n", "src/*", "x.c"),
        ("src\n!src/gen/x.c\n", "s*", "gen/ gen/x.c"),
        ("src\n!src/gen/x.c\n", "src/gen/x.c", "x.c"),
        ("src\n!src/none\n", "s*", ""),
        ("doc/b.md", "doc/*", "a.md"),
        ("doc", "d*/*", ""),
        ("**", ".", ""),
        ("**\n!empty", ".", "empty/"),
        ("to-doc", "*.md", ""),
    ];
    for (ignore, source, expected) in cases {
        let selection = select_with(&root, ignore, &[source], &[], false)?;
        assert_eq!(paths(&selection), *expected, "{ignore:?} {source}");
    }
    for (ignore, source) in
        [("doc", "doc"), ("doc/a.md", "to-doc"), ("to-doc", "to-doc"), ("src\n!src/none", "src")]
    {
        let error = select_with(&root, ignore, &[source], &[], false).unwrap_err().to_string();
        assert!(error.contains("not found\nhint: `"), "{ignore:?} {source}: {error}");
    }
    Ok(())
}

pub(crate) fn excludes_count_from_the_source(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("context");
    make(&root, "a.txt=1 b.md=2 dir/a.txt=1 dir/b.md=2 dir/sub/a.txt=1 dir/sub/b.md=2");
    let cases: &[(&[&str], &[&str], &str)] = &[
        (&["dir"], &["*.txt"], "b.md sub/ sub/a.txt sub/b.md"),
        (&["dir"], &["**/*.txt"], "b.md sub/ sub/b.md"),
        (&["dir"], &["sub"], "a.txt b.md"),
        (&["dir"], &["dir"], "a.txt b.md sub/ sub/a.txt sub/b.md"),
        (&["dir"], &["*", "!sub/*.md"], "sub/ sub/b.md"),
        (&["dir"], &["**/*.txt", "**/*.md"], "sub/"),
        (&["."], &["dir", "*.md"], "a.txt"),
        (&["*.txt", "*.md"], &["*.txt"], "b.md"),
        (&["*"], &["*.md"], "a.txt a.txt sub/ sub/a.txt sub/b.md"),
    ];
    for (sources, exclude, expected) in cases {
        let selection = select_with(&root, "", sources, exclude, false)?;
        assert_eq!(paths(&selection), *expected, "{sources:?} {exclude:?}");
    }
    let error = select_with(&root, "", &["."], &["[a"], false).unwrap_err().to_string();
    assert!(error.starts_with("--exclude:1: bad pattern `[a`"), "{error}");
    Ok(())
}

pub(crate) fn parents_are_kept(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("context");
    make(&root, "x/a.txt=1 x/b/c.txt=2 y/a.txt=3 y/b.md=4 z/q/r/d.txt=5 e/");
    let cases: &[(&[&str], &str)] = &[
        (&["x/a.txt"], "x/ x/a.txt"),
        (&["./x/a.txt", "./y/a.txt"], "x/ x/a.txt y/ y/a.txt"),
        (&["x"], "x/ x/a.txt x/b/ x/b/c.txt"),
        (&["x/./b/c.txt"], "b/ b/c.txt"),
        (&["z/./q"], "q/ q/r/ q/r/d.txt"),
        (&["z/./q/r/*.txt"], "q/ q/r/ q/r/d.txt"),
        (&["*/a.txt"], "x/ x/a.txt y/ y/a.txt"),
        (&["**/*.txt"], "x/ x/a.txt x/b/ x/b/c.txt y/ y/a.txt z/ z/q/ z/q/r/ z/q/r/d.txt"),
        (&["[xy]/./*.txt"], "a.txt a.txt"),
        (&["**/none"], ""),
        (&["e"], "e/"),
    ];
    for (sources, expected) in cases {
        let selection = select_with(&root, "", sources, &[], true)?;
        assert_eq!(paths(&selection), *expected, "{sources:?}");
    }
    let selection = select_with(&root, "", &["**/*.txt"], &["z", "**/c.txt"], true)?;
    assert_eq!(paths(&selection), "x/ x/a.txt y/ y/a.txt");
    assert!(selection.entries().all(|entry| entry.implied == (entry.path.len() == 1)));
    let error = select_with(&root, "", &["x/nothing.txt"], &[], true).unwrap_err().to_string();
    assert!(error.starts_with("\"/x/nothing.txt\": not found"), "{error}");
    Ok(())
}

pub(crate) fn a_missing_source_comes_with_a_hint(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("context");
    make(
        &root,
        "package.json=1 src/main.c=1 src/util.c=2 dist/app.js=1 broken->nowhere secret/key=1",
    );
    let ignore = "dist\n*.log\nsecret\n";
    let cases = [
        ("package.jsn", "\"/package.jsn\": not found\nhint: did you mean `package.json`?"),
        ("Package.json", "\"/Package.json\": not found\nhint: did you mean `package.json`?"),
        ("src/mian.c", "\"/src/mian.c\": not found\nhint: did you mean `src/main.c`?"),
        ("scr/main.c", "\"/scr/main.c\": not found\nhint: did you mean `src`?"),
        (
            "dist",
            "\"/dist\": not found\nhint: `dist` is excluded by line 1 of .dockerignore: `dist`; a line `!dist` after it brings it back",
        ),
        (
            "dist/app.js",
            "\"/dist/app.js\": not found\nhint: `dist/app.js` is excluded by line 1 of .dockerignore: `dist`; a line `!dist/app.js` after it brings it back",
        ),
        (
            "../lib",
            "\"/lib\": not found\nhint: a build sees only what is in its context; build with a folder further up and `-f`",
        ),
        (
            "broken",
            "\"/broken\": not found\nhint: it is a link that leads nowhere: links are followed inside the context only",
        ),
        ("secre", "\"/secre\": not found"),
        ("qqqqqqqq", "\"/qqqqqqqq\": not found"),
        ("src/main.c/x", "\"/src/main.c/x\": not found"),
    ];
    for (source, expected) in cases {
        let error = select_with(&root, ignore, &[source], &[], false).unwrap_err();
        assert_eq!(error.to_string(), expected, "{source}");
    }
    let error = selected(&root, &["[a"]).unwrap_err().to_string();
    assert!(error.starts_with("bad pattern `[a`: `[` without `]`\nhint: "), "{error}");
    Ok(())
}
