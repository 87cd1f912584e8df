//! Instructions that change settings of the image and no files.

use super::{CASE, Case, Expect};

pub const CASES: &[Case] = &[
    Case {
        name: "CMD shell form",
        dockerfile: "FROM busybox\nCMD echo a  && echo \"b\"\n",
        ..CASE
    },
    Case {
        name: "CMD exec form",
        dockerfile: "FROM busybox\nCMD [ \"echo\", \"a b\",\"c\" ]\n",
        ..CASE
    },
    Case {
        name: "CMD that only looks like JSON",
        dockerfile: "FROM busybox\nCMD ['echo', 'a']\n",
        ..CASE
    },
    Case {
        name: "CMD empty",
        dockerfile: "FROM busybox\nENTRYPOINT [\"stress\"]\nCMD []\n",
        ..CASE
    },
    Case { name: "the last CMD counts", dockerfile: "FROM busybox\nCMD a\nCMD [\"b\"]\n", ..CASE },
    Case {
        name: "ENTRYPOINT takes the CMD of the base away",
        dockerfile: "FROM busybox\nENTRYPOINT [\"echo\"]\n",
        ..CASE
    },
    Case {
        name: "ENTRYPOINT after CMD of the same stage",
        dockerfile: "FROM busybox\nCMD [\"a\"]\nENTRYPOINT [\"echo\"]\n",
        ..CASE
    },
    Case {
        name: "ENTRYPOINT shell form, CMD after it",
        dockerfile: "FROM busybox\nENTRYPOINT exec echo $A\nCMD b\n",
        ..CASE
    },
    Case {
        name: "ENTRYPOINT empty",
        dockerfile: "FROM busybox\nENTRYPOINT []\nCMD [\"a\"]\n",
        ..CASE
    },
    Case {
        name: "SHELL wraps what comes after it",
        dockerfile: "FROM busybox\nCMD a\nSHELL [\"/bin/ash\", \"-e\", \"-c\"]\nENTRYPOINT b\nRUN echo $0 $- > /a\n",
        expect: Expect::But {
            why: "buildah wraps an ENTRYPOINT with /bin/sh whatever SHELL says",
            here: &[r#"Entrypoint ["/bin/ash","-e","-c","b"]"#],
            buildah: &[r#"Entrypoint ["/bin/sh","-c","b"]"#],
        },
        ..CASE
    },
    Case {
        name: "WORKDIR absolute, relative, and from a variable",
        dockerfile: "FROM busybox\nENV N=c\nWORKDIR /a\nWORKDIR b/./../b\nWORKDIR $N/\nRUN pwd > out\nCOPY hello.txt .\n",
        ..CASE
    },
    Case {
        name: "WORKDIR with blanks",
        dockerfile: "FROM busybox\nWORKDIR /a b\nRUN pwd > /out\n",
        ..CASE
    },
    Case {
        name: "WORKDIR is made for USER",
        dockerfile: "FROM busybox\nUSER web\nWORKDIR /made/here\n",
        ..CASE
    },
    Case {
        name: "WORKDIR that is there",
        dockerfile: "FROM busybox\nWORKDIR /tmp\nWORKDIR /way/deep\nRUN pwd > /out\n",
        ..CASE
    },
    Case {
        name: "USER by name, number, group",
        dockerfile: "FROM busybox\nRUN chmod 777 /srv\nUSER web\nRUN id -u > /srv/a; id -g >> /srv/a\nUSER 7:8\nRUN id -u > /srv/b; id -g >> /srv/b\nUSER web:staff\nRUN id -u > /srv/c; id -g >> /srv/c\n",
        ..CASE
    },
    Case {
        name: "EXPOSE",
        dockerfile: "FROM busybox\nEXPOSE 80 443/tcp 53/udp\nEXPOSE 8000-8003 80\n",
        expect: Expect::But {
            why: "buildah leaves ranges as they are; Docker writes each port",
            here: &[
                r#"ExposedPorts {"443/tcp":{},"53/udp":{},"80/tcp":{},"8000/tcp":{},"8001/tcp":{},"8002/tcp":{},"8003/tcp":{}}"#,
            ],
            buildah: &[r#"ExposedPorts {"443/tcp":{},"53/udp":{},"80/tcp":{},"8000-8003/tcp":{}}"#],
        },
        ..CASE
    },
    Case {
        name: "EXPOSE of a range with a protocol",
        dockerfile: "FROM busybox\nEXPOSE 9000-9002/UDP\n",
        expect: Expect::But {
            why: "buildah leaves ranges and protocols as they are written",
            here: &[r#"ExposedPorts {"9000/udp":{},"9001/udp":{},"9002/udp":{}}"#],
            buildah: &[r#"ExposedPorts {"9000-9002/UDP":{}}"#],
        },
        ..CASE
    },
    Case {
        name: "VOLUME in both forms",
        dockerfile: "FROM busybox\nVOLUME /a /b\nVOLUME [\"/c\", \"/d e\"]\n",
        expect: Expect::But {
            why: "buildah makes the folder of the last VOLUME; Docker leaves that to the first container",
            here: &[],
            buildah: &["/c 040755 0:0", "/d e 040755 0:0"],
        },
        ..CASE
    },
    Case {
        name: "LABEL in all forms",
        dockerfile: "FROM busybox\nLABEL a=b c=\"d e\" \"f g\"=h\nLABEL i j k\nLABEL l=\"m\\\n n\" a=z\nLABEL o=\n",
        ..CASE
    },
    Case {
        name: "MAINTAINER",
        dockerfile: "FROM busybox\nMAINTAINER Ada Lovelace <ada@example.org>\n",
        ..CASE
    },
    Case { name: "STOPSIGNAL by name", dockerfile: "FROM busybox\nSTOPSIGNAL SIGQUIT\n", ..CASE },
    Case { name: "STOPSIGNAL by number", dockerfile: "FROM busybox\nSTOPSIGNAL 9\n", ..CASE },
    Case {
        name: "HEALTHCHECK with all options",
        dockerfile: "FROM busybox\nHEALTHCHECK --interval=5m --timeout=3s --start-period=1m30s --retries=4 CMD test -e /ok || exit 1\n",
        ..CASE
    },
    Case {
        name: "HEALTHCHECK exec form",
        dockerfile: "FROM busybox\nHEALTHCHECK CMD [\"true\"]\n",
        ..CASE
    },
    Case {
        name: "HEALTHCHECK NONE",
        dockerfile: "FROM busybox\nHEALTHCHECK CMD true\nHEALTHCHECK NONE\n",
        ..CASE
    },
    Case {
        name: "ONBUILD is kept for others",
        dockerfile: "FROM busybox\nONBUILD RUN echo a > /a\nONBUILD COPY . /app\nonbuild  env A=b\n",
        ..CASE
    },
    Case {
        name: "ONBUILD of the base is done and gone",
        before: "FROM busybox\nONBUILD RUN echo built > /a\nONBUILD COPY hello.txt /app/\nONBUILD ENV A=b\nONBUILD ARG V=v\n",
        dockerfile: "FROM before\nRUN cp /a /b; echo $V > /c\n",
        ..CASE
    },
    Case {
        name: "everything of the base is taken over",
        before: "FROM busybox\nENV A=a\nLABEL l=m\nEXPOSE 80\nVOLUME /v\nUSER web\nWORKDIR /srv\nENTRYPOINT [\"e\"]\nCMD [\"c\"]\nSTOPSIGNAL SIGINT\nHEALTHCHECK CMD true\nSHELL [\"/bin/ash\", \"-c\"]\nMAINTAINER m\n",
        dockerfile: "FROM before\nENV B=b\nLABEL l=n o=p\nEXPOSE 81\nVOLUME /w\n",
        expect: Expect::But {
            why: "buildah makes the folder of the last VOLUME",
            here: &[],
            buildah: &["/w 040755 0:0"],
        },
        ..CASE
    },
    Case {
        name: "--label",
        dockerfile: "FROM busybox\nLABEL a=b\n",
        flags: &["--label", "a=c", "--label", "d=e f"],
        ..CASE
    },
];
