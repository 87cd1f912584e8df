//! Templates and what they print, as Docker's client says it, and where we say it otherwise.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// `docker.json` holds the answers of `docker volume inspect --format TEMPLATE`, version 28.2, for a volume that a
/// stand-in for the engine described. What we answer otherwise is in the snapshot, to be looked at.
#[test]
fn docker_answers_the_same_but_for_these() {
    let file: Value = serde_json::from_str(include_str!("docker.json")).unwrap();
    let mut others = String::new();
    for case in file["answers"].as_array().unwrap() {
        let (template, docker) = (case[0].as_str().unwrap(), case[1].as_str().unwrap());
        let ours = Template::parse(template).and_then(|parsed| parsed.render(&file["value"]));
        let ours = ours.unwrap_or_else(|failure| failure.message);
        if ours != docker {
            let short = |text: &str| {
                text.replace("template parsing error: template: ", "")
                    .replace("executing \"\" at", "..")
            };
            let (docker, ours) = (short(docker), short(&ours));
            others += &format!("{template}\n  docker: {docker}\n  we:     {ours}\n");
        }
    }
    insta::assert_snapshot!(others);
}

#[test]
fn mistakes_show_their_place() {
    let value = json!({ "ID": "1", "Names": "a", "Config": { "Env": null, "Labels": null } });
    let mut text = String::new();
    for template in [
        "{{.ID",
        "a\nb {{.ID}} {{foo .ID}}",
        "{{.Name}}",
        "{{.id}}",
        "{{range .Names}}{{end}}",
        "{{.Config.Env}} {{.Config.Labels}} {{len .Config.Env}} {{json .Config.Env}} {{.Config.Env.X}}",
        "a template that is rather long before it comes to the mistake {{.ID | uper}} and then goes on and on",
    ] {
        let failure =
            Template::parse(template).and_then(|parsed| parsed.render(&value)).unwrap_err();
        text += &format!("{}\n", failure.message);
        failure.hint.iter().for_each(|hint| {
            hint.lines().for_each(|line| text += &format!("hint: {line}\n"));
        });
    }
    insta::assert_snapshot!(text);
}

#[test]
fn labels_are_found_by_key() {
    let value = json!({ "Labels": "a=1,b=x,y,c=3", "Config": { "Labels": { "k": "v" } } });
    for (template, expected) in [
        (r#"{{.Label "a"}}"#, "1"),
        (r#"{{.Label "b"}}|{{.Label "c"}}|{{.Label "d"}}"#, "x,y|3|"),
        (r#"{{.Config.Label "k"}}"#, "v"),
        ("{{with .Config.Labels}}{{.k}}{{.none}}{{end}}", "v<no value>"),
    ] {
        assert_eq!(Template::parse(template).unwrap().render(&value).unwrap(), expected);
    }
}

fn rows() -> Vec<Map<String, Value>> {
    let rows = json!([
        { "Tag": "latest", "Repository": "busybox", "ID": format!("sha256:{}", "a".repeat(64)), "Size": "4.26MB" },
        { "Tag": "<none>", "Repository": "a/very/long/name", "ID": "<missing>", "Size": "" },
    ]);
    rows.as_array().unwrap().iter().map(|row| row.as_object().unwrap().clone()).collect()
}

const IMAGES: Listing<'_> = Listing {
    headers: &[("ID", "IMAGE ID"), ("Repository", "REPOSITORY"), ("Size", "SIZE"), ("Tag", "TAG")],
    table: &["Repository", "Tag", "ID", "Size"],
    quiet: "ID",
    ids: &["ID"],
};

#[test]
fn listings_have_dockers_columns() {
    let mut text = String::new();
    for (format, quiet, no_trunc) in [
        (None, false, false),
        (None, true, false),
        (None, true, true),
        (Some("table"), false, false),
        (Some("table"), true, false),
        (Some("json"), true, false),
        (Some(""), false, false),
        (Some("{{.Tag}}"), true, false),
        (Some(r"table {{.ID}}\t{{upper .Tag}}\t{{json .Size}}"), false, false),
        (Some("table{{.Size}}"), false, false),
        (Some(r#"{{.Tag}}\t{{split .ID "\n"}}\n-"#), false, false),
        (Some(r"table {{if .Size}}{{.Size | truncate 3}}{{end}}"), false, false),
        (Some(r#"table {{.Label "com.me-too"}}\t{{slice .ID 0 3}}"#), false, false),
        (Some("tables"), false, false),
        (Some("table {{.Nope}}"), false, false),
        (Some("{{.Nope"), false, false),
    ] {
        let show = Show { format, quiet, no_trunc };
        text += &format!("--format {format:?} quiet {quiet} no_trunc {no_trunc}\n");
        match IMAGES.render(show, &rows()) {
            Ok(out) => text += &out,
            Err(failure) => text += &format!("{failure}\nhint: {:?}\n", failure.hint),
        }
    }
    insta::assert_snapshot!(text);
    // Nothing to list: only a table says so.
    let empty = |format| IMAGES.render(Show { format, ..Show::default() }, &[]).unwrap();
    assert_eq!(empty(None), "REPOSITORY   TAG       IMAGE ID   SIZE\n");
    assert_eq!(empty(Some("{{.ID}}")), "");
}

#[test]
fn names_match_as_gos_paths() {
    for (pattern, name, expected) in [
        ("busy*", "busybox", Ok(true)),
        ("*", "busybox", Ok(true)),
        ("*", "a/b", Ok(false)),
        ("*/*", "a/b", Ok(true)),
        ("a*b*c", "aXbYbZc", Ok(true)),
        ("a*b*c", "aXbYbZ", Ok(false)),
        ("?", "/", Ok(false)),
        ("a?c", "abc", Ok(true)),
        ("[a-c]x", "bx", Ok(true)),
        ("[^a-c]x", "bx", Ok(false)),
        ("[^a-c]x", "dx", Ok(true)),
        ("[]a]", "]", Err(BadPattern)),
        ("[\\]a]", "]", Ok(true)),
        ("a\\*", "a*", Ok(true)),
        ("[", "a", Err(BadPattern)),
        ("[a", "a", Err(BadPattern)),
        ("[a-]", "a", Err(BadPattern)),
        ("\\", "a", Err(BadPattern)),
        ("", "", Ok(true)),
        ("", "a", Ok(false)),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn what_moves_a_cursor_is_written_out() {
    assert_eq!(sanitized("a\u{1b}[2J\tü\u{202e}"), "a\\u{1b}[2J\\tü\\u{202e}");
}

#[test]
fn depth_is_limited() {
    for template in [
        "(".repeat(100_000),
        format!("{{{{{}1", "(".repeat(100_000)),
        "{{if 1}}".repeat(100_000),
        format!("{{{{if 1}}}}{}", "{{else if 1}}".repeat(100_000)),
    ] {
        // Never mind which mistake: there is an answer.
        let _ = Template::parse(&template).map(|parsed| parsed.render(&Value::Null));
    }
    let deep = format!("{}x{}", "{{if 1}}".repeat(150), "{{end}}".repeat(150));
    let failure = Template::parse(&deep).unwrap_err();
    assert!(failure.message.contains("more than 100 blocks"), "{failure}");
}

proptest! {
    #[test]
    fn any_text_is_answered(text in any::<String>(), name in "[a-z*?\\[\\]^\\\\-]{0,8}") {
        let _ = Template::parse(&text).map(|parsed| parsed.render(&Value::Null));
        let _ = matches(&name, &text);
        let show = Show { format: Some(&text), ..Show::default() };
        let _ = IMAGES.render(show, &rows());
    }

    #[test]
    fn pieces_of_templates_in_any_order_are_answered(
        pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "{{", "}}", "{{-", "-}}", " ", ".", ".A", ".B", ".Labels", "$", "$x", ":=", "=", ",", "|", "(", ")",
                "\"", "`", "'a'", "\"a\"", "1", "-2", "1.5", "if", "else", "end", "range", "with", "break", "nil",
                "true", "index", "slice", "printf", "\"%5d %s %q %x\"", "json", "join", "split", "eq", "lt", "and",
                "len", "pad", "truncate", "title", "print", "\\", "/*", "*/", "ä", "\n", ".Label",
            ]),
            0..24,
        ),
    ) {
        let text = pieces.concat();
        let value = json!({ "A": [1, "ä", null, { "B": true }], "B": { "A": 1.5 }, "Labels": { "a": "b" } });
        if let Ok(parsed) = Template::parse(&text) {
            let _ = parsed.render(&value);
            let _ = parsed.render_header(&value);
        }
    }

    #[test]
    fn text_without_actions_is_itself(text in "[^{]*") {
        let rendered = Template::parse(&text).unwrap().render(&Value::Null).unwrap();
        prop_assert_eq!(rendered, text);
    }

    #[test]
    fn a_quoted_text_is_itself(text in "[^\\p{C}]*") {
        let template = format!("{{{{{}}}}}", printf_quote(&text));
        let rendered = Template::parse(&template).unwrap().render(&Value::Null).unwrap();
        prop_assert_eq!(rendered, text);
    }
}

fn printf_quote(text: &str) -> String {
    let template = Template::parse("{{printf \"%q\" .}}").unwrap();
    template.render(&Value::from(text)).unwrap()
}
