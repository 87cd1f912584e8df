//! `RUN`: what its process sees, and what of its doings is in the layer.

use super::{CASE, Case, Expect};

pub const CASES: &[Case] = &[
    Case {
        name: "RUN shell and exec form",
        dockerfile: "FROM busybox\nRUN echo a > /a && echo \"$BASE\" >> /a\nRUN [\"cp\", \"/a\", \"/b c\"]\nRUN [\"sh\", \"-c\", \"echo $BASE > /d\"]\n",
        ..CASE
    },
    Case {
        name: "RUN removes and replaces",
        dockerfile: "FROM busybox\nRUN rm /old/file; rm -r /old/deep; mkdir /old/deep; echo new > /old/deep/new\nRUN rm -r /srv /way; echo file > /srv\n",
        ..CASE
    },
    Case {
        name: "RUN makes all kinds of files",
        dockerfile: "FROM busybox\nRUN mkfifo /f; ln -s /nowhere /l; mkdir -m 1777 /d; touch /e; ln /e /h; echo x > /s; chmod 4711 /s; chown 5:6 /s; mknod /n c 1 3; touch -d @1000000000 /e\n",
        ..CASE
    },
    Case {
        name: "RUN changes modes and owners only",
        dockerfile: "FROM busybox\nRUN chmod 600 /old/file; chown -R web:staff /old/deep\n",
        ..CASE
    },
    Case {
        name: "RUN moves and links across layers",
        dockerfile: "FROM busybox\nRUN mv /old /moved; ln /moved/file /linked\nRUN mv /moved/deep /top\n",
        ..CASE
    },
    Case {
        name: "RUN sees ENV, ARG and the working directory",
        dockerfile: "FROM busybox\nENV E=env\nARG A=arg\nWORKDIR /work\nRUN echo $E $A $PWD $HOME > out\nUSER web\nRUN echo $HOME > /tmp/home\n",
        ..CASE
    },
    Case {
        name: "RUN leaves nothing in /dev, /proc, /sys",
        dockerfile: "FROM busybox\nRUN echo a > /dev/shm/a; ls /sys/kernel > /dev/null\n",
        ..CASE
    },
    Case {
        name: "RUN --mount=type=bind",
        dockerfile: "FROM busybox AS one\nRUN echo made > /made\nFROM busybox\nRUN --mount=type=bind,source=src,target=/mnt/src cp /mnt/src/main.c /a\nRUN --mount=type=bind,from=one,source=/made,target=/made cp /made /b\n",
        expect: Expect::But {
            why: "buildah leaves the place of a mount",
            here: &[],
            buildah: &[r#"/mnt 040755 0:0"#],
        },
        ..CASE
    },
    Case {
        name: "RUN --mount=type=tmpfs",
        dockerfile: "FROM busybox\nRUN --mount=type=tmpfs,target=/old echo gone > /old/x; ls /old > /a\n",
        expect: Expect::But {
            why: "buildah takes what was below the mount for removed",
            here: &[],
            buildah: &[
                r#"/old gone"#,
                r#"/old/deep gone"#,
                r#"/old/deep/file gone"#,
                r#"/old/file gone"#,
            ],
        },
        ..CASE
    },
    Case {
        name: "RUN --mount=type=cache",
        dockerfile: "FROM busybox\nRUN --mount=type=cache,target=/cache/here echo kept > /cache/here/x\nRUN --mount=type=cache,target=/cache/here cp /cache/here/x /a\n",
        expect: Expect::But {
            why: "buildah leaves the place of a mount",
            here: &[],
            buildah: &[r#"/cache 040755 0:0"#],
        },
        ..CASE
    },
    Case {
        name: "RUN --mount=type=secret",
        prepare: "",
        dockerfile: "FROM busybox\nRUN --mount=type=secret,id=none ls /run/secrets > /a 2>/dev/null || echo none > /a\n",
        ..CASE
    },
    Case {
        name: "RUN heredoc",
        dockerfile: "FROM busybox\nENV A=value\nRUN <<EOF\necho $A > /a\necho two >> /a\nEOF\nRUN <<\"EOF\" cat > /b\n$A\nEOF\nRUN cat <<one - <<two > /c\n1 $A\none\n2\ntwo\nRUN <<-EOF\n\techo tabs > /d\n\tEOF\n",
        expect: Expect::Lines {
            why: "buildah 1.28 does not know heredocs",
            lines: &[
                r#"/a 100644 0:0 "value\ntwo\n""#,
                r#"/b 100644 0:0 "$A\n""#,
                r#"/c 100644 0:0 "2\n""#,
                r#"/d 100644 0:0 "tabs\n""#,
                r#"Cmd ["sh"]"#,
                r#"Env ["PATH=/bin","BASE=yes","A=value"]"#,
            ],
        },
        ..CASE
    },
    Case {
        name: "RUN heredoc with its own interpreter",
        dockerfile: "FROM busybox\nRUN <<EOF\n#!/bin/awk -f\nBEGIN { print 6 * 7 > \"/a\" }\nEOF\n",
        expect: Expect::Lines {
            why: "buildah 1.28 does not know heredocs",
            lines: &[r#"/a 100644 0:0 "42\n""#, r#"Cmd ["sh"]"#, r#"Env ["PATH=/bin","BASE=yes"]"#],
        },
        ..CASE
    },
    Case {
        name: "RUN --network=none",
        dockerfile: "FROM busybox\nRUN --network=none ls /sys/class/net > /a\n",
        expect: Expect::Lines {
            why: "buildah's isolation chroot has the host's network",
            lines: &[r#"/a 100644 0:0 "lo\n""#, r#"Cmd ["sh"]"#, r#"Env ["PATH=/bin","BASE=yes"]"#],
        },
        ..CASE
    },
    Case {
        name: "RUN writes below a VOLUME",
        dockerfile: "FROM busybox\nRUN mkdir /v; echo before > /v/a\nVOLUME /v\nRUN echo after > /v/b\n",
        expect: Expect::But {
            why: "Docker with BuildKit keeps it (Dockerfile reference, VOLUME, notes), its old builder and buildah do not",
            here: &[r#"/v/b 100644 0:0 "after\n""#],
            buildah: &[],
        },
        ..CASE
    },
];
