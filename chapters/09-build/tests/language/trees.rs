//! What is understood: snapshots of parse trees, and of the warnings about them.

use build::instruction::Kind;
use build::parse::{parse, parse_trigger};
use build::source::Source;

use crate::dump::{dump, line};

/// The tree, and below it the warnings, against a snapshot.
fn shown(name: &str, text: &str) {
    let source = Source::new("Dockerfile", text);
    let parsed = parse(&source).unwrap_or_else(|error| panic!("{error}"));
    let mut shown = dump(&parsed.dockerfile);
    for warning in &parsed.warnings {
        shown += &format!("! {warning}\n");
    }
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(name, shown) });
}

#[test]
fn each_instruction() {
    shown(
        "each_instruction",
        r#"# syntax=docker/dockerfile:1
ARG VERSION=12 NAME
FROM --platform=$BUILDPLATFORM debian:${VERSION} AS build
ADD --checksum=sha256:00 --keep-git-dir=true --unpack=false https://example.com/a.git /a
ADD a b c/
ARG one two=2 three="3 4" four=
CMD ["nginx", "-g", "daemon off;"]
COPY --from=other --chown=a:b --chmod=0644 --link --parents --exclude=*.md --exclude=x a b /c
COPY ["a b", "/c d"]
ENTRYPOINT ["/bin/app"]
ENV a=1 b="2 3" c=4\ 5 d='6'
EXPOSE 80 443/tcp 8000-8010/udp $PORT
HEALTHCHECK --interval=1m30s --timeout=100ms --start-period=5s --start-interval=1s --retries=3 CMD curl -f http://localhost/ || exit 1
LABEL a=1 "b c"="d e"
ONBUILD COPY . /src
RUN apt-get update && apt-get install -y x
RUN ["/bin/true"]
RUN --mount=type=cache,target=/root/.cache,sharing=locked --mount=type=secret,id=a,required --network=none --security=sandbox make
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
STOPSIGNAL SIGKILL
USER a:b
VOLUME /data /log
VOLUME ["/a b", "/c"]
WORKDIR /a path
from scratch
"#,
    );
}

#[test]
fn how_people_write() {
    shown(
        "how_people_write",
        "\u{feff}# check=skip=all\r\n\r\n  # a comment\r\n  FROM\tdebian  \r\n\
         RUN set -e; \\\r\n# not for the shell\r\n\r\n    echo '# for the shell' \\  \r\n  && true\r\n\
         \t env a=1 \\\r\n   b=2\r\nRUN echo C:\\\\\r\nUSER x",
    );
}

#[test]
fn the_escape_character_of_windows() {
    shown(
        "the_escape_character_of_windows",
        "# escape=`\nFROM a\nCOPY testfile.txt c:\\\nRUN dir c:\\ `\n  && true\nENV a=b` c d=e\\ f=g",
    );
}

#[test]
fn heredocs() {
    shown(
        "heredocs",
        r#"FROM a
RUN <<EOF
echo $HOME \
# no comment
EOF
RUN <<-"end of it"
	#!/usr/bin/python
		print(1)
	end of it
RUN cat <<A >a && cat 3<<-'B' >b
1
A
	2
	B
COPY --chmod=755 <<x y <<"z" /d/
$a
x
$b
z
ADD <<-EOF /e
	no	tabs	before
	EOF
ONBUILD RUN <<EOF
make
EOF
RUN cat << EOF
white space
EOF
RUN ["echo", "<<EOF"]
RUN echo $((1 << 2)) <<<EOF "<<EOF"
RUN <<EOF
EOF
"#,
    );
}

#[test]
fn old_forms() {
    shown(
        "old_forms",
        "FROM a as X\nMAINTAINER somebody <a@b>\nENV a b  c=d\nLABEL a b\nCMD echo $HOME\n\
         ENTRYPOINT ['a', 'b']\nRUN a \\\n\n b\nrun c\nCMD []\nFROM $none AS x\nHEALTHCHECK none\n\
         SHELL [\"a\"]\nCMD b\nFROM b AS scratch\nRUN [ -f x ]\n\
         ENV API_KEY=a PUBLIC_KEY=b MONKEY=c\nARG Token",
    );
}

#[test]
fn quotes_and_brackets() {
    shown(
        "quotes_and_brackets",
        r#"FROM "a"
COPY "a b" 'c
ENV a="b\"c d" e=f\"g
RUN --mount=type=bind,\"source=a,b\",target=/x --mount="type=cache,target=/y z" x
RUN --mount=target=$a,rw --mount=from=b,src=c,dst=d,ro=false x
RUN -- --x
CMD [ "a", "\u00e9\n" ]   
CMD ["a", "b"] && c
CMD "a"
VOLUME [ ]x
"#,
    );
}

#[test]
fn triggers() {
    let text = "FROM a\nONBUILD RUN a \\\n  b\nONBUILD COPY <<-EOF <<'X' /c\n\t1\n\tEOF\nX\n\
                ONBUILD RUN <<EOF\nx\nEOF\nONBUILD RUN cat <<A <<B\n1\nA\nB\nONBUILD WORKDIR /d";
    let file = parse(&Source::new("Dockerfile", text)).expect("correct").dockerfile;
    let mut count = 0;
    for instruction in &file.stages[0].instructions {
        let Kind::Onbuild(inner) = &instruction.kind else { panic!("ONBUILD") };
        let trigger = inner.trigger();
        let again = parse_trigger(&Source::new("ONBUILD", &trigger[..])).expect("correct");
        assert_eq!(line(&again), line(inner), "{trigger}");
        assert_eq!(instruction.span.end, inner.span.end);
        count += 1;
    }
    assert_eq!(count, 5);
    for wrong in ["", "FROM a", "onbuild RUN a", "MAINTAINER a", "RUN a\nRUN b", "XRUN a"] {
        assert!(parse_trigger(&Source::new("ONBUILD", wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn each_instruction_reaches_to_its_end() {
    let text = "# x\nFROM a  \n  RUN a \\\n # y\n  b \r\n\nRUN <<A <<B\n1\nA\n2\nB\n\nCOPY <<X /x\nX\n\
                ONBUILD RUN <<C\n3\nC\r\n\nUSER u";
    let file = parse(&Source::new("Dockerfile", text)).expect("correct").dockerfile;
    assert_eq!(&text[file.stages[0].span.clone()], "FROM a");
    let texts: Vec<_> = file.stages[0]
        .instructions
        .iter()
        .map(|at| (&at.text[..], &text[at.span.clone()]))
        .collect();
    let expected = [
        ("RUN a   b", "RUN a \\\n # y\n  b"),
        ("RUN <<A <<B", "RUN <<A <<B\n1\nA\n2\nB"),
        ("COPY <<X /x", "COPY <<X /x\nX"),
        ("ONBUILD RUN <<C", "ONBUILD RUN <<C\n3\nC"),
        ("USER u", "USER u"),
    ];
    assert_eq!(texts, expected);
}

#[test]
fn of_two_heredocs_with_one_name_the_last_content_counts() {
    let text = "FROM a\nCOPY <<X <<X /x\n1\nX\n2\nX\n";
    let file = parse(&Source::new("Dockerfile", text)).expect("correct").dockerfile;
    let Kind::Copy(copy) = &file.stages[0].instructions[0].kind else { panic!("COPY") };
    let contents: Vec<_> = copy.heredocs.iter().map(|heredoc| &heredoc.content[..]).collect();
    assert_eq!(contents, ["2\n", "2\n"]);
}
