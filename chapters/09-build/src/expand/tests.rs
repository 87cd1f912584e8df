use super::*;

fn word(text: &str, json: bool) -> Word {
    Word { text: text.to_owned(), span: 3..3 + text.len(), json }
}

/// `a` is 1, `b` has white space, `e` is empty, `p` is a path, `i` an image.
fn value(name: &str) -> Option<String> {
    let value = match name {
        "a" => "1",
        "b" => "x  y",
        "e" => "",
        "p" => "/usr/lib/a.tar.gz",
        "i" => "debian:12",
        "ü1_" => "letters",
        _ => return None,
    };
    Some(value.to_owned())
}

fn expand(text: &str) -> Result<String, String> {
    let expander = Expander { escape: '\\' };
    expander.expand(&word(text, false), &mut value).map_err(|error| error.message)
}

#[test]
fn one_string() {
    for (text, expected) in [
        ("", ""),
        ("plain text", "plain text"),
        ("$a${a}x$a-$a.", "11x1-1."),
        ("$b", "x  y"),
        ("$none|${none}|$e|", "|||"),
        ("$ü1_$a_", "letters"),
        // A name that begins with a digit is a number; what no name can begin with leaves the dollar.
        ("$1a$12", "a"),
        ("$ $. ${a}$", "$ $. 1$"),
        ("$$a$@b$*$#$?$!$-", "ab"),
        // Quotes.
        (r#"'$a "x" \' "$a 'x'""#, r#"$a "x" \ 1 'x'"#),
        (r#""a\"b\$a\\c\d""#, r#"a"b$a\c\d"#),
        (r#"a\ b\$a\\c\'\""#, r#"a b$a\c'""#),
        (r#"x""y''"#, "xy"),
        ("a\\", "a"),
        (r#""${a:-"x y"}""#, "1"),
        // Choices: no value, an empty one, one.
        ("${none:-w}${e:-w}${a:-w}", "ww1"),
        ("${none-w}${e-w}${a-w}", "w1"),
        ("${none:+w}${e:+w}${a:+w}", "w"),
        ("${none+w}${e+w}${a+w}", "ww"),
        ("${a?no}${e?no}${a:?no}", "11"),
        ("${none:-$a${e:-\"}\"}}", "1}"),
        ("${none:-a\\}b}", "a}b"),
        ("${none:-'${a}'}", "${a}"),
        ("${none:-}", ""),
        // Patterns.
        ("${p#/}|${p#*/}|${p##*/}", "usr/lib/a.tar.gz|usr/lib/a.tar.gz|a.tar.gz"),
        ("${p%.*}|${p%%.*}|${p%/*}", "/usr/lib/a.tar|/usr/lib/a|/usr/lib"),
        ("${i%%:*}|${i#*:}|${i#*x}|${i%?}", "debian|12|debian:12|debian:1"),
        ("${i##*}|${i%%*}|${i#}|${none#x}", "||debian:12|"),
        ("${i#d\\*}|${i#$a}|${p#\\/}", "debian:12|debian:12|usr/lib/a.tar.gz"),
        ("${i/deb/ub}|${p//\\//-}|${i/?/X}", "ubian:12|-usr-lib-a.tar.gz|Xebian:12"),
        ("${i//[0-9]/x}|${i/:*/}|${i//x/y}|${i///y}", "debian:12|debian|debian:12|debian:12"),
        ("${b//x/$a}", "1  y"),
    ] {
        assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_wrong() {
    let single = "unexpected end of statement while looking for matching single-quote";
    let double = "unexpected end of statement while looking for matching double-quote";
    for (text, expected) in [
        ("'a", single),
        ("it's", single),
        ("\"a", double),
        ("\"a\\\"", double),
        ("${a", "syntax error: missing '}'"),
        ("${", "syntax error: missing '}'"),
        ("${a:", "syntax error: missing '}'"),
        ("${a:-b", "syntax error: missing '}'"),
        ("${a#b", "syntax error: missing '}'"),
        ("${a/b}", "syntax error: missing '/' in ${}"),
        ("${a/b/c", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${:-a}", "syntax error: bad substitution"),
        ("${{a}}", "syntax error: bad substitution"),
        ("${a^^}", "unsupported modifier (^) in substitution"),
        ("${a:0:1}", "unsupported modifier (:0) in substitution"),
        ("${a:}", "unsupported modifier (:}) in substitution"),
        ("${none?}", "none: is not allowed to be unset"),
        ("${e:?}", "e: is not allowed to be empty"),
        ("${none:?give a $a}", "none: give a 1"),
        ("${i#\\d}", "invalid pattern (\\d) in substitution: invalid escape '\\d'"),
    ] {
        assert_eq!(expand(text), Err(expected.to_owned()), "{text}");
    }
    let deep = "${x:-".repeat(200_000);
    assert!(expand(&deep).expect_err("deep").contains("too deeply"));
    let error = Expander { escape: '\\' }.expand(&word("'", false), &mut value);
    assert_eq!(error.expect_err("a quote").span, 3..4);
}

#[test]
fn several_words() {
    let expander = Expander { escape: '\\' };
    for (text, expected) in [
        ("a b", &["a", "b"][..]),
        ("  $b  ", &["x", "y"]),
        ("\"$b\" 'c d'\\ e", &["x  y", "c d e"]),
        ("$a$b$a", &["1x", "y1"]),
        ("$e \"\" ''", &[]),
        ("80/tcp", &["80/tcp"]),
    ] {
        let words = expander.expand_words(&word(text, false), &mut value);
        assert_eq!(
            words.as_deref(),
            Ok(&expected.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()[..]),
            "{text}"
        );
    }
}

#[test]
fn the_other_escape_character() {
    let expander = Expander { escape: '`' };
    for (text, expected) in [
        ("C:\\x`$a`\"", "C:\\x$a\""),
        ("\"`$a`x\\\"", "$a`x\\"),
        ("${none:-a`}b}", "a}b"),
        ("${p//`//-}", "-usr-lib-a.tar.gz"),
    ] {
        let text = word(text, false);
        assert_eq!(expander.expand(&text, &mut value).as_deref(), Ok(expected), "{}", text.text);
    }
}

#[test]
fn json_has_taken_the_quotes_already() {
    let expander = Expander { escape: '\\' };
    let text = word("it's $a \"${b}\" \\$a", true);
    assert_eq!(expander.expand(&text, &mut value).as_deref(), Ok("it's 1 \"x  y\" $a"));
}

#[test]
fn in_a_heredoc_quotes_are_text() {
    let mut heredoc = Heredoc {
        name: "EOF".to_owned(),
        expand: true,
        content: "it's $a\n'$a' \"${none:-'x'}\"\\$a\n".to_owned(),
        span: 0..1,
    };
    let text = expand_heredoc(&heredoc, &mut value);
    assert_eq!(text.as_deref(), Ok("it's 1\n'1' \"'x'\"$a\n"));
    heredoc.expand = false;
    let text = expand_heredoc(&heredoc, &mut value);
    assert_eq!(text.as_deref(), Ok("it's $a\n'$a' \"${none:-'x'}\"\\$a\n"));
}

#[test]
fn the_lookup_sees_all_names() {
    let mut seen = Vec::new();
    let mut lookup = |name: &str| {
        seen.push(name.to_owned());
        None
    };
    let text = word("$a ${b:-$c} '$d' \\$e ${f#$g} ${h/$i/$j}", false);
    Expander { escape: '\\' }.expand(&text, &mut lookup).expect("no error");
    assert_eq!(seen, ["a", "c", "b", "g", "f", "i", "j", "h"]);
}
