//! How a Dockerfile is read: directives, comments, continued lines, variables and their scope.

use super::{CASE, Case, Expect};

pub const CASES: &[Case] = &[
    Case {
        name: "small letters, blank lines, comments, a blank before the keyword",
        dockerfile: "\n# first\nfrom busybox\n\n  # second\n   env A=b\n\trun echo $A > /a\nCmD [\"a\"]\n",
        ..CASE
    },
    Case {
        name: "comments and blank lines in a continued line",
        dockerfile: "FROM busybox\nRUN echo one \\\n# a comment\n    two \\\n\n   # and one with blanks before it\n  three > /a\nENV A=1 \\\n  B=2 \\\n# none\n  C=3\n",
        ..CASE
    },
    Case {
        name: "a number sign that begins no comment",
        dockerfile: "FROM busybox\nRUN echo a # not for the parser > /b\nENV A=# B=c#d\n",
        ..CASE
    },
    Case {
        name: "lines that end as Windows ends them",
        dockerfile: "FROM busybox\r\nENV A=b \\\r\n  C=d\r\nRUN echo $A$C > /a\r\n",
        ..CASE
    },
    Case {
        name: "a blank after the backslash",
        dockerfile: "FROM busybox\nENV A=1 \\  \n  B=2\n",
        ..CASE
    },
    Case {
        name: "the other escape character",
        dockerfile: "# escape=`\nFROM busybox\nENV A=a`\n  B=c:\\d\nRUN echo $B `\n  $A > /a\n",
        expect: Expect::But {
            why: "buildah escapes with a backslash all the same",
            here: &[
                r#"/a 100644 0:0 "c:\\d a\n""#,
                r#"Env ["PATH=/bin","BASE=yes","A=a","B=c:\\d"]"#,
            ],
            buildah: &[
                r#"/a 100644 0:0 "c:d a\n""#,
                r#"Env ["PATH=/bin","BASE=yes","A=a","B=c:d"]"#,
            ],
        },
        ..CASE
    },
    Case {
        name: "directives syntax and escape",
        dockerfile: "# syntax=docker/dockerfile:1\n# escape=\\\nFROM busybox\nENV A=\\$B\n",
        ..CASE
    },
    Case {
        name: "a directive after a comment is a comment",
        dockerfile: "# hello\n# escape=`\nFROM busybox\nENV A=1 \\\n  B=2\n",
        ..CASE
    },
    Case {
        name: "quotes and escapes in ENV",
        dockerfile: r#"FROM busybox
ENV A="a b" B='c $D' C=e\ f D="g\"h" E="i'j" F= G="" H='k"l' I=m"n o"p J="\$A" K=\\q
"#,
        ..CASE
    },
    Case {
        name: "ENV in the old form",
        dockerfile: "FROM busybox\nENV A  b c  d\nENV B \"e f\"\nENV C $A\n",
        ..CASE
    },
    Case {
        name: "a line of ENV sees the values before it",
        dockerfile: "FROM busybox\nENV A=one\nENV A=two B=$A\nENV C=$A\n",
        ..CASE
    },
    Case {
        name: "values, defaults and alternatives",
        dockerfile: "FROM busybox\nENV A=a E=\nENV B=${A} C=${X:-d} D=${A:-d} F=${A:+f} G=${X:+g} H=${E:-h} I=${E:+i} J=$X J2=$A-$A K=${X:-$A} L=\\${A} M=${A}b\n",
        ..CASE
    },
    Case {
        name: "values, set or empty",
        dockerfile: "FROM busybox\nENV A=a E=\nENV B=${E-b} C=${X-c} D=${E+d} F=${X+f} G=${A-g}\n",
        expect: Expect::Lines {
            why: "buildah 1.28 knows these only with a colon",
            lines: &[
                r#"Cmd ["sh"]"#,
                r#"Env ["PATH=/bin","BASE=yes","A=a","E=","B=","C=c","D=d","F=","G=a"]"#,
            ],
        },
        ..CASE
    },
    Case {
        name: "values, cut and replaced",
        dockerfile: "FROM busybox\nENV A=a/b/c.tar.gz\nENV B=${A#*/} C=${A##*/} D=${A%.*} E=${A%%.*} F=${A/b/x} G=${A//a/y}\n",
        expect: Expect::Lines {
            why: "buildah 1.28 knows no patterns in variables; Dockerfile reference, Environment replacement",
            lines: &[
                r#"Cmd ["sh"]"#,
                r#"Env ["PATH=/bin","BASE=yes","A=a/b/c.tar.gz","B=b/c.tar.gz","C=c.tar.gz","D=a/b/c.tar","E=a/b/c","F=a/x/c.tar.gz","G=y/b/c.tyr.gz"]"#,
            ],
        },
        ..CASE
    },
    Case {
        name: "which instructions expand",
        dockerfile: "FROM busybox\nENV D=dir U=web P=80 S=SIGUSR1 V=/vol L=label\nWORKDIR /w/$D\nUSER $U\nEXPOSE $P ${P}01/udp\nSTOPSIGNAL $S\nVOLUME $V /x$V\nLABEL $L=$D \"a$L\"=b\nCOPY hello.txt /$D/\nONBUILD ENV A=$D\n",
        ..CASE
    },
    Case {
        name: "which instructions leave it to others",
        dockerfile: "FROM busybox\nENV A=a\nCMD echo $A\nENTRYPOINT [\"echo\", \"$A\"]\nHEALTHCHECK CMD test $A\nSHELL [\"sh\", \"$A\"]\n",
        ..CASE
    },
    Case {
        name: "ARG with and without a value",
        dockerfile: "FROM busybox\nARG A\nARG B=b\nARG C=c\nARG D=$C-d\nENV R=$A,$B,$C,$D\nRUN echo $A,$B,$C,$D > /a\n",
        flags: &["--build-arg", "A=given", "--build-arg", "C=other"],
        ..CASE
    },
    Case {
        name: "several ARG in a line",
        dockerfile: "FROM busybox\nARG A=a B=\"b c\" C\nRUN echo $A,$B,$C > /a\n",
        ..CASE
    },
    Case {
        name: "ARG is known from its line on",
        dockerfile: "FROM busybox\nENV A=${V:-no}\nARG V=yes\nENV B=$V\n",
        flags: &["--build-arg", "V=given"],
        ..CASE
    },
    Case {
        name: "ENV wins over ARG",
        dockerfile: "FROM busybox\nARG V=arg\nENV V=env\nRUN echo $V > /a\nARG V=again\nRUN echo $V > /b\nARG BASE=arg\nRUN echo $BASE > /c\n",
        flags: &["--build-arg", "V=given"],
        ..CASE
    },
    Case {
        name: "ARG before FROM",
        dockerfile: "ARG B=busybox\nARG T=latest\nARG V=global\nFROM ${B}:$T\nENV A=$V.\nARG V\nENV C=$V\nARG T=here\nENV D=$T\n",
        ..CASE
    },
    Case {
        name: "ARG of one stage is not known in the next",
        dockerfile: "FROM busybox AS one\nARG V=v\nENV A=$V\nFROM busybox\nENV B=${V:-none}\nCOPY --from=one /etc/passwd /p\n",
        ..CASE
    },
    Case {
        name: "ARG of a stage is not known to those built on it",
        dockerfile: "FROM busybox AS one\nARG V=v\nENV A=$V\nFROM one\nENV B=${V:-none}\n",
        ..CASE
    },
    Case {
        name: "platform arguments",
        dockerfile: "FROM --platform=$BUILDPLATFORM busybox\nARG TARGETOS\nARG TARGETARCH\nARG BUILDPLATFORM\nENV A=$TARGETOS/$TARGETARCH/$BUILDPLATFORM\nENV B=${TARGETPLATFORM:-undeclared}\n",
        ..CASE
    },
    Case {
        name: "proxies need no ARG and stay nowhere",
        dockerfile: "FROM busybox\nRUN echo $http_proxy > /a\n",
        flags: &["--build-arg", "http_proxy=http://proxy:1"],
        ..CASE
    },
    Case {
        name: "a Dockerfile with a byte order mark",
        dockerfile: "\u{feff}FROM busybox\nENV A=b\n",
        ..CASE
    },
];
