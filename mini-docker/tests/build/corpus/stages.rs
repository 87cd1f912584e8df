//! Stages: what they begin with, and what they take from each other.

use super::{CASE, Case, Expect};

/// `FROM scratch` has a working directory in BuildKit (dockerfile2llb, `emptyImage`), and none in buildah.
pub const SCRATCH: Expect = Expect::But {
    why: "FROM scratch has a working directory in BuildKit, and none in buildah",
    here: &[r#"WorkingDir "/""#],
    buildah: &[],
};

pub const CASES: &[Case] = &[
    Case {
        name: "FROM scratch",
        dockerfile: "FROM scratch\nCOPY tool.sh /\nCOPY src /src/\nENV A=$PATH\nCMD [\"/tool.sh\"]\n",
        expect: SCRATCH,
        ..CASE
    },
    Case { name: "FROM an image and nothing else", dockerfile: "FROM busybox\n", ..CASE },
    Case {
        name: "COPY --from by name and number",
        dockerfile: "FROM busybox AS build\nRUN echo one > /one; chown 5:6 /one\nFROM busybox\nRUN echo two > /two\nFROM busybox\nCOPY --from=build /one /\nCOPY --from=1 /two /sub/\nCOPY --from=build /one /again\n",
        ..CASE
    },
    Case {
        name: "names of stages in capital letters",
        dockerfile: "FROM busybox AS Build\nRUN echo one > /one\nFROM bUILD AS Next\nFROM busybox\nCOPY --from=NEXT /one /\n",
        expect: Expect::Lines {
            why: "buildah compares letter by letter",
            lines: &[
                r#"/one 100644 0:0 "one\n""#,
                r#"Cmd ["sh"]"#,
                r#"Env ["PATH=/bin","BASE=yes"]"#,
            ],
        },
        ..CASE
    },
    Case {
        name: "COPY --from an image",
        dockerfile: "FROM scratch\nCOPY --from=busybox /old /old\nCOPY --from=busybox /etc/passwd /etc/group /etc/\n",
        expect: SCRATCH,
        ..CASE
    },
    Case {
        name: "COPY --from with patterns and links",
        dockerfile: "FROM busybox AS one\nCOPY . /all\nRUN ln -s all /l\nFROM scratch\nCOPY --from=one /all/*.c /c/\nCOPY --from=one /l/hello.txt /h\nCOPY --from=one /all/link /k\n",
        expect: SCRATCH,
        ..CASE
    },
    Case {
        name: "COPY --from knows no .dockerignore",
        prepare: "echo '*.c' > .dockerignore",
        dockerfile: "FROM busybox AS one\nRUN mkdir /d; echo c > /d/x.c\nFROM busybox\nCOPY --from=one /d /d\n",
        ..CASE
    },
    Case {
        name: "COPY --from --chown",
        dockerfile: "FROM busybox AS one\nRUN echo a > /a; chown 1:2 /a\nFROM busybox\nCOPY --from=one --chown=web:staff /a /b\nCOPY --from=one /a /c\n",
        ..CASE
    },
    Case {
        name: "FROM a stage takes over its settings",
        dockerfile: "FROM busybox AS one\nENV A=a\nWORKDIR /w\nUSER web\nENTRYPOINT [\"e\"]\nRUN echo x > /tmp/x\nFROM one AS two\nENV B=$A\nFROM two\nCMD [\"c\"]\n",
        ..CASE
    },
    Case {
        name: "what nothing needs is not built",
        dockerfile: "FROM busybox AS bad\nRUN false\nFROM busybox\nRUN echo good > /a\n",
        ..CASE
    },
    Case {
        name: "--target",
        dockerfile: "FROM busybox AS one\nENV A=one\nFROM one AS two\nENV A=two\nFROM busybox\nRUN false\n",
        flags: &["--target", "two"],
        ..CASE
    },
    Case {
        name: "a stage named by an argument",
        dockerfile: "ARG WHICH=a\nFROM busybox AS a\nENV X=a\nFROM busybox AS b\nENV X=b\nFROM $WHICH\nENV Y=y\n",
        flags: &["--build-arg", "WHICH=b"],
        ..CASE
    },
    Case {
        name: "a stage with the name of an image",
        dockerfile: "FROM busybox AS busybox\nENV A=a\nFROM busybox\nENV B=b\n",
        ..CASE
    },
    Case {
        name: "ONBUILD between stages",
        dockerfile: "FROM busybox AS one\nONBUILD ENV A=triggered\nFROM one\nENV B=$A\n",
        ..CASE
    },
    Case {
        name: "empty files and folders of a stage",
        dockerfile: "FROM busybox AS one\nRUN mkdir -p /o/e; touch /o/f; chmod 700 /o\nFROM scratch\nCOPY --from=one /o /o\n",
        expect: SCRATCH,
        ..CASE
    },
];
