use super::*;
use crate::instruction::Word;

fn fields(text: &str) -> Vec<(String, Option<String>)> {
    let word = Word { text: text.to_owned(), span: 0..text.len(), json: false };
    let fields = split(&word).expect("correct CSV");
    fields.into_iter().map(|(key, value)| (key, value.map(|word| word.text))).collect()
}

#[test]
fn what_fields_mean() {
    let text = |text: &str| Some(text.to_owned());
    let read_only = Options { read_only: true, ..Options::default() };
    for (written, expected) in [
        ("target=/x", Options { target: text("/x"), ..read_only.clone() }),
        (
            "TYPE=Bind,src=a,dst=/x,from=b,rw",
            Options {
                source: text("a"),
                target: text("/x"),
                from: text("b"),
                ..Options::default()
            },
        ),
        (
            "sharing=LOCKED,id=a,type=cache,mode=0700,uid=1,gid=2,destination=b",
            Options {
                kind: Type::Cache,
                id: text("a"),
                target: text("b"),
                sharing: Sharing::Locked,
                mode: Some(0o700),
                uid: Some(1),
                gid: Some(2),
                ..Options::default()
            },
        ),
        ("type=cache,ro", Options { kind: Type::Cache, ..read_only.clone() }),
        (
            "type=tmpfs,size=1.5k",
            Options { kind: Type::Tmpfs, size: Some(1536), ..Options::default() },
        ),
        (
            "type=secret,required=1,id=a,env=B",
            Options {
                kind: Type::Secret,
                id: text("a"),
                env: text("B"),
                required: true,
                ..read_only.clone()
            },
        ),
        (
            "type=ssh,required,ro=false",
            Options { kind: Type::Ssh, required: true, ..Options::default() },
        ),
        (
            "\"target=/a,b\",\"source=\"\"\"",
            Options { target: text("/a,b"), source: text("\""), ..read_only },
        ),
    ] {
        assert_eq!(read(&fields(written)), Ok(expected), "{written}");
    }
}

#[test]
fn what_is_checked_before_variables_have_values() {
    for (written, right) in [
        ("type=$a,sharing=locked,size=1g", true),
        ("type=cache,mode=$a,required", true),
        ("type=cache,target=$a,sharing=b", false),
        ("type=cash,target=$a", false),
        ("tagret=$a", false),
        ("target=$a,b", false),
        ("type=cache,required", false),
        ("type=tmpfs,env=a", false),
    ] {
        assert_eq!(check(&fields(written)).is_ok(), right, "{written}");
    }
    let error = read(&fields("type=bind,target=a,uid=1")).expect_err("no uid");
    assert_eq!(error.field, Some(2));
}

#[test]
fn sizes() {
    for (text, size) in [
        ("0", Some(0)),
        ("512", Some(512)),
        ("64k", Some(65_536)),
        ("64kb", Some(65_536)),
        ("1 gib", Some(1 << 30)),
        ("2m", Some(2 << 20)),
        ("k", None),
        ("-1", None),
        ("1x", None),
        ("1e400p", None),
        ("99999999999p", None),
    ] {
        assert_eq!(bytes(text), size, "{text}");
    }
}
