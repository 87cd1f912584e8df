//! What is wrong, as people see it: snapshots of wrong Dockerfiles and what is said about them.

use std::fmt::Write;

use build::expand::Expander;
use build::graph::Graph;
use build::parse::parse;
use build::source::Source;

/// Parses and connects each; all must fail.
fn shown(name: &str, texts: &[&str]) {
    let mut shown = String::new();
    for text in texts {
        let error = error(text);
        writeln!(shown, "{error}\n").expect("a string");
        assert!(!error.contains(|char: char| char.is_control() && char != '\n'), "{error:?}");
    }
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(name, shown) });
}

fn error(text: &str) -> String {
    let source = match Source::from_bytes("Dockerfile", text.into()) {
        Ok(source) => source,
        Err(error) => return error.to_string(),
    };
    let file = match parse(&source) {
        Ok(parsed) => parsed.dockerfile,
        Err(error) => return error.to_string(),
    };
    let expander = Expander { escape: file.escape };
    let mut expand = |word: &_| expander.expand(word, &mut |_| None);
    match Graph::new(&source, &file, &mut expand) {
        Ok(_) => panic!("nothing is wrong with {text:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_file() {
    shown(
        "the_file",
        &[
            "",
            " \n\t\n",
            "# only\n# comments\n",
            "ARG a\n",
            "RUN a\nFROM b\n",
            "# escape=x\nFROM a",
            "# escape=`\n# escape=`\nFROM a",
            "FROM a\nRUN a\0b\n",
            "F\0R\0O\0M\0",
        ],
    );
}

#[test]
fn instructions() {
    shown(
        "instructions",
        &[
            "FROM debian\nRUM apt-get update\n",
            "FORM debian",
            "FROM debian\nRUN apt-get update\n  apt-get install -y curl\n",
            "FROM debian\n\tENTRYPONT [\"a\"]",
            "FROM a\n\x1b[31mRUN\u{202e} b",
            "FROM a\nEXPOSE",
            "FROM a\nUSER   ",
            "FROM a\nWORKDIR",
            "FROM a\nSTOPSIGNAL --x 9",
            "FROM a\nVOLUME",
            "FROM a\nVOLUME []",
            "FROM a\nVOLUME [\"/a\", \" \"]",
            "FROM a\nMAINTAINER",
            "FROM a\nRUN",
            "FROM a\nRUN []",
            "FROM a\nRUN [\"a\", 1]",
            "FROM a\nSHELL",
            "FROM a\nSHELL /bin/bash -c",
            "FROM a\nSHELL []",
            "FROM a\nCMD --verbose x",
        ],
    );
}

#[test]
fn stages() {
    shown(
        "stages",
        &[
            "FROM",
            "FROM a b",
            "FROM a AS",
            "FROM a AS b c",
            "FROM a ASS b",
            "FROM a AS 1b",
            "FROM a AS b/c",
            "FROM --platfrom=linux/amd64 a",
            "FROM --platform a",
            "FROM $none",
            "FROM ${a",
            "FROM a AS x\nCOPY --from=x b c",
            "FROM a AS x\nCOPY --from=z b c\nFROM a AS y\nRUN --mount=from=x,target=/x b\nFROM y AS z",
            "FROM a\nCOPY --from=1 b c",
            "FROM a\nCOPY --from=$none b c",
        ],
    );
}

#[test]
fn copying() {
    shown(
        "copying",
        &[
            "FROM a\nCOPY",
            "FROM a\nCOPY b",
            "FROM a\nADD [\"b\"]",
            "FROM a\nCOPY --form=build b c",
            "FROM a\nCOPY --chown user:group b c",
            "FROM a\nCOPY --from= --from=b c d",
            "FROM a\nCOPY --link=yes b c",
            "FROM a\nCOPY --link= b c",
            "FROM a\nCOPY --checksum=sha256:00 b c",
            "FROM a\nADD --from=b c d",
            "FROM a\nCOPY b <<EOF\nEOF",
            "FROM a\nCOPY <<EOF /b\ntext\n",
            "FROM a\nCOPY <<EOF;x /b\ntext\nEOF\n",
        ],
    );
}

#[test]
fn running() {
    shown(
        "running",
        &[
            "FROM a\nRUN cat \\\n   <<EOF | sh\ntext\n EOF\n",
            "FROM a\nRUN cat <<EOF>x\ntext\nEOF\n",
            "FROM a\nRUN --network=hots b",
            "FROM a\nRUN --security=x b",
            "FROM a\nRUN --mounts=type=cache b",
            "FROM a\nRUN --mount=type=cash,target=/x b",
            "FROM a\nRUN --mount=type=cache,tagret=/x b",
            "FROM a\nRUN --mount=target b",
            "FROM a\nRUN --mount=type=bind,target=/x,sharing=shared b",
            "FROM a\nRUN --mount=type=cache,target=/x,sharing=locke b",
            "FROM a\nRUN --mount=type=cache,mode=999 b",
            "FROM a\nRUN --mount=type=cache,uid=root b",
            "FROM a\nRUN --mount=type=tmpfs,target=/x,size=big b",
            "FROM a\nRUN --mount=type=tmpfs,target=/x,mode=755 b",
            "FROM a\nRUN --mount=type=secret b",
            "FROM a\nRUN --mount=type=secret,id=a,source=b c",
            "FROM a\nRUN --mount=type=secret,id=a,from=b c",
            "FROM a\nRUN --mount=type=cache,target=/x,required b",
            "FROM a\nRUN --mount=type=bind,ro=maybe b",
            "FROM a\nRUN --mount=target=$a,ro=maybe b",
            "FROM a\nRUN --mount=type=bind,\\\"target=/x b",
        ],
    );
}

#[test]
fn names_and_values() {
    shown(
        "names_and_values",
        &[
            "FROM a\nENV",
            "FROM a\nENV a",
            "FROM a\nENV a=b c",
            "FROM a\nENV a=b \\\n    c=d \\\n    e\n",
            "FROM a\nENV =b",
            "FROM a\nLABEL",
            "FROM a\nLABEL a",
            "FROM a\nARG",
            "FROM a\nARG =b",
            "FROM a\nARG --x a",
        ],
    );
}

#[test]
fn health_and_triggers() {
    shown(
        "health_and_triggers",
        &[
            "FROM a\nHEALTHCHECK",
            "FROM a\nHEALTHCHECK NONE a",
            "FROM a\nHEALTHCHECK curl localhost",
            "FROM a\nHEALTHCHECK CMD",
            "FROM a\nHEALTHCHECK CMD []",
            "FROM a\nHEALTHCHECK --interval=10 CMD a",
            "FROM a\nHEALTHCHECK --interval=1d CMD a",
            "FROM a\nHEALTHCHECK --timeout=1us CMD a",
            "FROM a\nHEALTHCHECK --timeout=-1s CMD a",
            "FROM a\nHEALTHCHECK --retries=-1 CMD a",
            "FROM a\nHEALTHCHECK --retries=many CMD a",
            "FROM a\nHEALTHCHECK --intervall=1s CMD a",
            "FROM a\nONBUILD",
            "FROM a\nONBUILD ONBUILD RUN b",
            "FROM a\nONBUILD FROM b",
            "FROM a\nonbuild maintainer b",
            "FROM a\nONBUILD RUNN b",
            "FROM a\nONBUILD COPY b",
        ],
    );
}
