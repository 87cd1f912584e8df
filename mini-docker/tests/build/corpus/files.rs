//! `COPY`: what is copied, where to, and as what.

use super::{CASE, Case, Expect};

pub const CASES: &[Case] = &[
    Case {
        name: "COPY a file to a name, a new folder, an old folder",
        dockerfile: "FROM busybox\nCOPY hello.txt /new\nCOPY hello.txt /dir/\nCOPY tool.sh /srv\nCOPY key b.c /many/\n",
        ..CASE
    },
    Case {
        name: "COPY of a folder copies what is in it",
        dockerfile: "FROM busybox\nCOPY src /src\nCOPY docs/ /docs/\nCOPY src/empty /empty\n",
        ..CASE
    },
    Case {
        name: "COPY of everything",
        dockerfile: "FROM busybox\nWORKDIR /app\nCOPY . .\n",
        ..CASE
    },
    Case {
        name: "COPY into what is there",
        dockerfile: "FROM busybox\nCOPY docs /old\nCOPY hello.txt /old/file\nCOPY src /old/deep\n",
        ..CASE
    },
    Case {
        name: "COPY patterns",
        dockerfile: "FROM busybox\nCOPY *.c /c/\nCOPY h*?.txt /h/\nCOPY [ab].? /ab/\nCOPY src/*/util.* /u/\nCOPY d* /d/\n",
        ..CASE
    },
    Case {
        name: "COPY a name that looks like a pattern",
        dockerfile: "FROM busybox\nCOPY arr[[]0].txt /x/\n",
        expect: Expect::Lines {
            why: "buildah takes the name that it has found for a pattern again; Dockerfile reference, COPY",
            lines: &[
                "/x 040755 0:0",
                r#"/x/arr[0].txt 100644 0:0 @1000000000 "arr[0].txt\n""#,
                r#"Cmd ["sh"]"#,
                r#"Env ["PATH=/bin","BASE=yes"]"#,
            ],
        },
        ..CASE
    },
    Case {
        name: "COPY in JSON form",
        dockerfile: "FROM busybox\nCOPY [\"odd name.txt\", \"hello.txt\", \"/with blank/\"]\n",
        ..CASE
    },
    Case {
        name: "COPY to a relative path",
        dockerfile: "FROM busybox\nWORKDIR /a/b\nCOPY hello.txt c/d/\nCOPY hello.txt ../up.txt\nCOPY hello.txt ./\n",
        ..CASE
    },
    Case {
        name: "COPY of paths that climb stays in the context",
        dockerfile: "FROM busybox\nCOPY ../hello.txt /a\nCOPY /src/../hello.txt /b\n",
        ..CASE
    },
    Case {
        name: "COPY of links",
        dockerfile: "FROM busybox\nCOPY link /copied\nCOPY folder /from-link/\nCOPY src /links/\n",
        ..CASE
    },
    Case {
        name: "COPY through a link of the image",
        dockerfile: "FROM busybox\nCOPY hello.txt /way/\nCOPY hello.txt /way/new/\n",
        ..CASE
    },
    Case {
        name: "COPY of hard links",
        dockerfile: "FROM busybox\nCOPY hard1 hard2 /h/\nCOPY . /all/\n",
        expect: Expect::But {
            why: "two sources of one line: here they stay one file",
            here: &[r#"/h/hard2 100644 0:0 @1000000000 "one" = /h/hard1"#],
            buildah: &[r#"/h/hard2 100644 0:0 @1000000000 "one""#],
        },
        ..CASE
    },
    Case {
        name: "COPY --chown by name",
        dockerfile: "FROM busybox\nCOPY --chown=web hello.txt /a\nCOPY --chown=web:staff src /b/\nCOPY --chown=root:web key /c/d\n",
        ..CASE
    },
    Case {
        name: "COPY --chown by number",
        dockerfile: "FROM busybox\nCOPY --chown=5 hello.txt /a\nCOPY --chown=5:6 src /b/\n",
        ..CASE
    },
    Case {
        name: "COPY --chown from a variable",
        dockerfile: "FROM busybox\nARG U=web\nCOPY --chown=$U:$U hello.txt /a\n",
        ..CASE
    },
    Case {
        name: "COPY --chmod",
        dockerfile: "FROM busybox\nCOPY --chmod=640 hello.txt tool.sh /a/\nCOPY --chmod=2755 src /b/\n",
        ..CASE
    },
    Case {
        name: "COPY of set-user-id programs",
        prepare: "printf su > su; chmod 4755 su; cp -p su sg; chmod 2755 sg",
        dockerfile: "FROM busybox\nCOPY su sg /a/\n",
        expect: Expect::But {
            why: "buildah takes the bits of files of the context away, Docker does not",
            here: &[r#"/a/sg 102755 0:0 @1000000000 "su""#, r#"/a/su 104755 0:0 @1000000000 "su""#],
            buildah: &[
                r#"/a/sg 100755 0:0 @1000000000 "su""#,
                r#"/a/su 100755 0:0 @1000000000 "su""#,
            ],
        },
        ..CASE
    },
    Case {
        name: "COPY whoever USER is",
        dockerfile: "FROM busybox\nUSER web\nCOPY hello.txt /home/a/\nCOPY src /home/b\n",
        ..CASE
    },
    Case {
        name: "COPY of a mode that a umask would change",
        prepare: "chmod 666 hello.txt; chmod 777 src; chmod 1777 docs",
        dockerfile: "FROM busybox\nCOPY hello.txt /a/\nCOPY . /b/\n",
        ..CASE
    },
    Case {
        name: "COPY --link",
        dockerfile: "FROM busybox\nCOPY --link hello.txt /a/\nCOPY --link --chown=5:6 src /b/\n",
        expect: Expect::Lines {
            why: "buildah 1.28 does not know --link",
            lines: &[
                r#"/a 040755 0:0"#,
                r#"/a/hello.txt 100644 0:0 @1000000000 "hello\n""#,
                r#"/b 040755 5:6"#,
                r#"/b/.hidden 100644 5:6 @1000000000 "src/.hidden\n""#,
                r#"/b/empty 040755 5:6 @1000000000"#,
                r#"/b/lib 040700 5:6 @1000000000"#,
                r#"/b/lib/util.c 100644 5:6 @1000000000 "src/lib/util.c\n""#,
                r#"/b/lib/util.h 100644 5:6 @1000000000 "src/lib/util.h\n""#,
                r#"/b/main.c 100644 5:6 @1000000000 "src/main.c\n""#,
                r#"/b/up 120777 5:6 @1000000000 -> ../hello.txt"#,
                r#"Cmd ["sh"]"#,
                r#"Env ["PATH=/bin","BASE=yes"]"#,
            ],
        },
        ..CASE
    },
    Case {
        name: "COPY --exclude",
        dockerfile: "FROM busybox\nCOPY --exclude=*.h --exclude=main.* src /a/\nCOPY --exclude=**/*.md docs /b/\n",
        expect: Expect::Lines {
            why: "buildah 1.28 does not know --exclude",
            lines: &[
                r#"/a 040755 0:0"#,
                r#"/a/.hidden 100644 0:0 @1000000000 "src/.hidden\n""#,
                r#"/a/empty 040755 0:0 @1000000000"#,
                r#"/a/lib 040700 0:0 @1000000000"#,
                r#"/a/lib/util.c 100644 0:0 @1000000000 "src/lib/util.c\n""#,
                r#"/a/lib/util.h 100644 0:0 @1000000000 "src/lib/util.h\n""#,
                r#"/a/up 120777 0:0 @1000000000 -> ../hello.txt"#,
                r#"/b 040755 0:0"#,
                r#"/b/api 040755 0:0 @1000000000"#,
                r#"Cmd ["sh"]"#,
                r#"Env ["PATH=/bin","BASE=yes"]"#,
            ],
        },
        ..CASE
    },
    Case {
        name: "COPY --parents",
        dockerfile: "FROM busybox\nCOPY --parents src/lib/util.c docs/api /a/\nCOPY --parents src/./lib/*.h /b/\n",
        expect: Expect::Lines {
            why: "buildah 1.28 does not know --parents",
            lines: &[
                r#"/a 040755 0:0"#,
                r#"/a/docs 040755 0:0 @1000000000"#,
                r#"/a/docs/api 040755 0:0 @1000000000"#,
                r#"/a/docs/api/index.md 100644 0:0 @1000000000 "docs/api/index.md\n""#,
                r#"/a/docs/api/old.md 100644 0:0 @1000000000 "docs/api/old.md\n""#,
                r#"/a/src 040755 0:0 @1000000000"#,
                r#"/a/src/lib 040700 0:0 @1000000000"#,
                r#"/a/src/lib/util.c 100644 0:0 @1000000000 "src/lib/util.c\n""#,
                r#"/b 040755 0:0"#,
                r#"/b/lib 040700 0:0 @1000000000"#,
                r#"/b/lib/util.h 100644 0:0 @1000000000 "src/lib/util.h\n""#,
                r#"Cmd ["sh"]"#,
                r#"Env ["PATH=/bin","BASE=yes"]"#,
            ],
        },
        ..CASE
    },
    Case {
        name: "COPY --chmod with letters",
        dockerfile: "FROM busybox\nCOPY --chmod=u=rwX,go=r hello.txt tool.sh /a/\nCOPY --chmod=g+w,o-rwx src /b/\n",
        expect: Expect::Lines {
            why: "buildah 1.28 takes octal numbers only",
            lines: &[
                r#"/a 040755 0:0"#,
                r#"/a/hello.txt 100644 0:0 @1000000000 "hello\n""#,
                r##"/a/tool.sh 100744 0:0 @1000000000 "#!/bin/sh\necho tool\n""##,
                r#"/b 040755 0:0"#,
                r#"/b/.hidden 100660 0:0 @1000000000 "src/.hidden\n""#,
                r#"/b/empty 040770 0:0 @1000000000"#,
                r#"/b/lib 040720 0:0 @1000000000"#,
                r#"/b/lib/util.c 100660 0:0 @1000000000 "src/lib/util.c\n""#,
                r#"/b/lib/util.h 100660 0:0 @1000000000 "src/lib/util.h\n""#,
                r#"/b/main.c 100660 0:0 @1000000000 "src/main.c\n""#,
                r#"/b/up 120777 0:0 @1000000000 -> ../hello.txt"#,
                r#"Cmd ["sh"]"#,
                r#"Env ["PATH=/bin","BASE=yes"]"#,
            ],
        },
        ..CASE
    },
    Case {
        name: "COPY heredocs",
        dockerfile: "FROM busybox\nENV A=value\nCOPY <<one <<\"two\" <<-three /d/\n$A\none\n$A\ntwo\n\t\tindented\nthree\nCOPY <<EOF /e\nplain\nEOF\nCOPY --chown=5:6 --chmod=600 <<EOF hello.txt /f/\nx\nEOF\n",
        expect: Expect::Lines {
            why: "buildah 1.28 does not know heredocs",
            lines: &[
                r#"/d 040755 0:0"#,
                r#"/d/one 100644 0:0 "value\n""#,
                r#"/d/three 100644 0:0 "indented\n""#,
                r#"/d/two 100644 0:0 "$A\n""#,
                r#"/e 100644 0:0 "plain\n""#,
                r#"/f 040755 5:6"#,
                r#"/f/EOF 100600 5:6 "x\n""#,
                r#"/f/hello.txt 100600 5:6 @1000000000 "hello\n""#,
                r#"Cmd ["sh"]"#,
                r#"Env ["PATH=/bin","BASE=yes","A=value"]"#,
            ],
        },
        ..CASE
    },
    Case {
        name: ".dockerignore",
        prepare: "printf '# comment\\n*.md\\n**/*.h\\n!docs/README.md\\nsrc/empty\\n/key\\n' > .dockerignore",
        dockerfile: "FROM busybox\nCOPY . /a/\n",
        ..CASE
    },
    Case {
        name: ".dockerignore with everything and exceptions",
        prepare: "printf '*\\n!src\\nsrc/lib\\n!src/lib/util.c\\n' > .dockerignore",
        dockerfile: "FROM busybox\nCOPY . /a/\n",
        expect: Expect::But {
            why: "buildah makes folders anew that are left out themselves and lead to a file that is not",
            here: &["/a/src/lib 040700 0:0 @1000000000"],
            buildah: &["/a/src/lib 040755 0:0"],
        },
        ..CASE
    },
    Case {
        name: ".dockerignore with patterns",
        prepare: "printf '?.c\\nd*/**/o*.md\\n[a-k]*.txt\\n  key  \\n./broken\\n' > .dockerignore",
        dockerfile: "FROM busybox\nCOPY . /a/\n",
        ..CASE
    },
    Case {
        name: "extended attributes",
        prepare: "setfattr -n user.note -v text hello.txt; setfattr -n user.dir -v d src",
        dockerfile: "FROM busybox\nCOPY hello.txt /a/\nCOPY . /b/\n",
        ..CASE
    },
    Case {
        name: "capabilities of a file",
        prepare: "setcap cap_net_raw+ep tool.sh",
        dockerfile: "FROM busybox\nCOPY tool.sh /a/\n",
        ..CASE
    },
];
