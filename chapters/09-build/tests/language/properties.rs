//! What holds for every text.

use build::parse::parse;
use build::source::Source;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::dump::dump;
use crate::harmless::harmless;
use crate::made;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Text made of what means something.
    #[test]
    fn nothing_breaks_the_parser(parts in vec(part(), 0..40)) {
        harmless(&parts.concat());
    }

    /// Any text at all.
    #[test]
    fn nor_does_any_text(text in "(?s).{0,60}", head in "|FROM a\n|FROM a\n[A-Z]{3,5} ") {
        harmless(&(head + &text));
    }

    #[test]
    fn what_is_printed_is_read((file, choices) in made::dockerfile()) {
        let text = made::print(&file, &choices);
        let source = Source::new("made", &text[..]);
        let parsed = match parse(&source) {
            Ok(parsed) => parsed,
            Err(error) => panic!("{error}\n{text}"),
        };
        prop_assert_eq!(dump(&parsed.dockerfile), dump(&file), "{}", text);
        harmless(&text);
    }
}

fn part() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "FROM a\n",
        "FROM a AS b\n",
        "FROM b\n",
        "RUN ",
        "COPY ",
        "ADD ",
        "ENV ",
        "ARG ",
        "LABEL ",
        "CMD ",
        "VOLUME ",
        "HEALTHCHECK ",
        "ONBUILD ",
        "EXPOSE ",
        "SHELL ",
        "USER ",
        "\n",
        "\r\n",
        "\\\n",
        "`\n",
        "\\",
        "`",
        " ",
        "\t",
        "\u{a0}",
        "# escape=`\n",
        "# x\n",
        "#",
        "\u{feff}",
        "\0",
        "<<EOF",
        "<<-EOF",
        "<<\"E F\"",
        "<< EOF",
        "\nEOF\n",
        "\n\tEOF\n",
        "<",
        "\"",
        "'",
        "[",
        "]",
        "[\"a\", \"b\"]",
        "[\"\\u00e9\"",
        ",",
        "=",
        "--",
        "--from=",
        "--from=b ",
        "--link ",
        "--mount=",
        "type=cache,",
        "target=/x",
        "\\\"",
        "--interval=",
        "1m30s ",
        "CMD",
        "NONE",
        "$",
        "${",
        "}",
        ":-",
        "#",
        "%",
        "/",
        "*",
        "?",
        "a",
        "b=c",
        "é",
        "日本",
        "\u{202e}",
        "\x1b[2J",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "[^\n]{0,4}"]
}
