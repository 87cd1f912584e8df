use proptest::prelude::*;

use super::*;
use crate::names::joined;

fn matches(pattern: &str, path: &str) -> bool {
    Pattern::parse(pattern.as_bytes()).unwrap().matches(path.as_bytes())
}

#[test]
fn patterns_mean_what_docker_says() {
    // pattern, paths that it means, paths that it does not
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("a", &["a"], &["b", "aa", "a/b", "A", ""]),
        ("a/b", &["a/b"], &["a", "b", "a/b/c", "x/a/b"]),
        ("/a", &["a"], &["/a", "b"]),
        ("//a", &["a"], &["/a"]),
        ("./a", &["a"], &["./a"]),
        ("a/", &["a"], &["a/"]),
        ("a//b", &["a/b"], &["a//b"]),
        ("x/../a", &["a"], &["x/a"]),
        ("./x/../a/.", &["a"], &["x"]),
        ("../a", &["../a"], &["a"]),
        ("/../a", &["a"], &[]),
        ("*", &["a", "ab", ".a", "*"], &["a/b", "a/"]),
        ("*.go", &["x.go", ".go", "x.y.go"], &["x.c", "d/x.go", "x.gox"]),
        ("a*", &["a", "abc"], &["ba", "a/b"]),
        ("a*c", &["ac", "abc", "acc"], &["ab", "a/c"]),
        ("*a*", &["a", "bab"], &["b", "b/a"]),
        ("a*b*c", &["abc", "axbxc", "abbcc"], &["acb", "ab/c"]),
        ("*/a", &["x/a"], &["a", "x/y/a", "/"]),
        ("*/*", &["a/b"], &["a", "a/b/c"]),
        ("a/*/c", &["a/b/c"], &["a/c", "a/b/b/c"]),
        ("?", &["a", "ä", "*"], &["", "ab", "/"]),
        ("??", &["ab", "äö"], &["a", "abc"]),
        ("a?c", &["abc", "aäc"], &["ac", "a/c"]),
        ("temp?", &["tempa", "temp1"], &["temp", "temp12"]),
        ("*/temp*", &["x/temp", "x/temporary.txt"], &["temp", "x/y/temp"]),
        ("*/*/temp*", &["x/y/temporary.txt"], &["x/temp"]),
        ("[ab]", &["a", "b"], &["c", "ab", ""]),
        ("[a-c]x", &["ax", "bx", "cx"], &["dx", "Ax"]),
        ("[^a]", &["b", "ä", "^"], &["a", "", "/"]),
        ("[^a-c]x", &["dx"], &["ax", "cx", "x"]),
        ("a[^x]c", &["abc"], &["axc", "a/c"]),
        ("[a-zA-Z0-9]", &["q", "Q", "5"], &["-", "_"]),
        ("[ä-ü]", &["ö"], &["a", "o"]),
        ("[a\\]b]", &["]", "a", "b"], &["\\", "c"]),
        ("[\\-x]", &["-", "x"], &["\\", "y"]),
        ("[\\^a]", &["^", "a"], &["b"]),
        ("[x^]", &["^", "x"], &["a"]),
        ("[!a]", &["!", "a"], &["b"]),
        ("[*?]", &["*", "?"], &["a"]),
        ("[.]x", &[".x"], &["ax"]),
        ("[[]0]", &["[0]"], &["0", "[0"]),
        ("arr[[]0].txt", &["arr[0].txt"], &["arr0.txt"]),
        ("a]", &["a]"], &["a"]),
        ("\\*", &["*"], &["a", "\\*"]),
        ("\\?x", &["?x"], &["ax"]),
        ("\\[a]", &["[a]"], &["a"]),
        ("a\\b", &["ab"], &["a\\b"]),
        ("\\\\", &["\\"], &["a"]),
        ("a.b", &["a.b"], &["axb"]),
        ("a+b", &["a+b"], &["aab"]),
        ("a(b)|c$", &["a(b)|c$"], &["ab", "c"]),
        ("{a,b}", &["{a,b}"], &["a"]),
        ("^a", &["^a"], &["a"]),
        ("**", &["a", "a/b", "a/b/c", ".x"], &[]),
        ("**/", &["a", "a/b"], &[]),
        ("**/a", &["a", "x/a", "x/y/a"], &["xa", "a/b", "x/ab"]),
        ("**/*.go", &["a.go", "x/a.go", "x/y/a.go"], &["a.c", "x/a.c"]),
        ("**/a/b", &["a/b", "x/a/b"], &["xa/b", "a/x/b"]),
        ("**/a/**", &["a/x", "x/a/y", "x/a/y/z"], &["a", "x/a", "xa/y"]),
        ("**/**/a", &["a", "x/a", "x/y/a"], &["xa"]),
        ("a/**", &["a/b", "a/b/c"], &["a", "ab", "x/a/b"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb", "b"]),
        ("a/**/*.txt", &["a/f.txt", "a/b/f.txt", "a/b/c/f.txt"], &["f.txt", "a/f.md"]),
        ("a**", &["a", "ab", "a/b", "ab/c"], &["b", "ba"]),
        ("a**/b", &["ab", "a/b", "ax/b", "a/x/b"], &["b", "axb"]),
        ("a/**b", &["a/b", "a/x/b"], &["a/xb"]),
        ("**.log", &["x.log", "d/x.log", ".log"], &["x.txt", "x.log/y"]),
        ("**a", &["a", "ba", "x/ba"], &["ab"]),
        ("**a*", &["a", "ab", "x/ab"], &["ba", "x/ba"]),
        ("***", &["a", "a/b"], &[]),
        ("**/*", &["a", "a/b", "a/b/c"], &[]),
        ("*/**", &["a/b", "a/b/c"], &["a"]),
        ("**/node_modules", &["node_modules", "a/b/node_modules"], &["node_modules/x"]),
        ("**/.git", &[".git", "a/.git"], &["x.git", ".gitignore"]),
        ("**/[ab]/*", &["a/x", "q/b/x"], &["c/x", "a"]),
        ("*.md", &["README.md"], &["doc/README.md"]),
        ("README*.md", &["README.md", "README-secret.md"], &["READ.md"]),
        (" a", &[" a"], &["a"]),
        ("a b", &["a b"], &["ab"]),
        (".", &["."], &["a"]),
        ("", &["."], &["a"]),
        ("/", &["/"], &["a"]),
        ("größe?", &["größe1"], &["größe"]),
        ("日*", &["日本"], &["本日"]),
        ("*\n*", &["a\nb"], &["ab"]),
        ("a/b*/c?d/[e-g]", &["a/bx/cyd/f"], &["a/bx/cyd/h", "a/bx/cd/f"]),
    ];
    assert!(cases.len() >= 80, "{} cases", cases.len());
    for (pattern, means, does_not) in cases {
        means.iter().for_each(|path| assert!(matches(pattern, path), "`{pattern}` is `{path}`"));
        does_not
            .iter()
            .for_each(|path| assert!(!matches(pattern, path), "`{pattern}` is not `{path}`"));
    }
}

#[test]
fn names_are_bytes() {
    let parse = |text: &[u8]| Pattern::parse(text).unwrap();
    assert!(parse(b"*.o").matches(b"\xff\xfe.o"));
    assert!(parse(b"?.o").matches(b"\xff.o"));
    assert!(!parse(b"?.o").matches(b"\xff\xfe.o"));
    assert!(parse(b"\xff*").matches(b"\xffa"));
    assert!(!parse(b"\xff*").matches(b"\xfea"));
    assert!(parse(b"[^a]").matches(b"\xff"));
    assert!(!parse("?".as_bytes()).matches(b"\xc3\xc3"));
}

#[test]
fn in_the_source_of_a_copy_two_stars_are_one() {
    let name = |text: &str| Pattern::name(text.as_bytes()).unwrap();
    assert!(name("**").matches(b"abc"));
    assert!(!name("**").matches(b"a/b"));
    assert!(name("**.c").matches(b"x.c"));
    assert!(!name("**.c").matches(b"d/x.c"));
}

#[test]
fn bad_patterns_are_told_with_words() {
    let cases = [
        ("[", "bad pattern `[`: `[` without `]`"),
        ("a[b", "bad pattern `a[b`: `[` without `]`"),
        ("[a-", "bad pattern `[a-`: `[` without `]`"),
        ("[\\", "bad pattern `[\\x5c`: `[` without `]`"),
        ("[]", "bad pattern `[]`: nothing between `[` and `]`"),
        ("[^]", "bad pattern `[^]`: nothing between `[` and `]`"),
        ("[]a]", "bad pattern `[]a]`: nothing between `[` and `]`"),
        ("[-a]", "bad pattern `[-a]`: a `-` without its range; write `\\-`"),
        ("[a-]", "bad pattern `[a-]`: a range without its end"),
        ("[z-a]", "bad pattern `[z-a]`: a range the wrong way round"),
        ("a\\", "bad pattern `a\\x5c`: nothing follows the backslash"),
    ];
    for (pattern, expected) in cases {
        assert_eq!(Pattern::parse(pattern.as_bytes()).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_walk_knows_what_it_need_not_enter() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("a", &[""], &["a", "b"]),
        ("a/b/c", &["", "a", "a/b"], &["b", "a/c", "a/b/c"]),
        ("*.go", &[""], &["a", "a.go"]),
        ("a/*", &["", "a"], &["b", "a/b"]),
        ("**/x", &["", "a", "a/b"], &[]),
        ("a/**", &["a", "a/b", "a/b/c"], &["b"]),
        ("a**", &["a", "ab", "ab/c"], &["b"]),
        ("**.log", &["a", "a/b"], &[]),
        ("[ab]/c", &["a", "b"], &["c", "a/c"]),
    ];
    for (pattern, enter, leave) in cases {
        let pattern = Pattern::parse(pattern.as_bytes()).unwrap();
        enter
            .iter()
            .for_each(|dir| assert!(pattern.may_match_below(dir.as_bytes()), "{pattern} {dir}"));
        leave
            .iter()
            .for_each(|dir| assert!(!pattern.may_match_below(dir.as_bytes()), "{pattern} {dir}"));
    }
}

#[test]
fn many_stars_are_no_trap() {
    let pattern = Pattern::parse("*a".repeat(200).as_bytes()).unwrap();
    assert!(!pattern.matches(&[b'a'; 199]));
    assert!(pattern.matches(&[b'a'; 250]));
    assert!(!pattern.matches(&[&[b'a'; 250][..], b"b"].concat()));
}

/// The rules once more, as they are told: what can a star stand for? Try all of it.
fn slow(pattern: &[char], text: &[char], first: bool) -> bool {
    let special = |rest: &[char]| rest.iter().any(|each| "*?[]\\".contains(*each));
    let taken = |ok: fn(char) -> bool| text.first().is_some_and(|each| ok(*each));
    match pattern {
        [] => text.is_empty(),
        ['*', '*', '/'] | ['*', '*'] => true,
        ['*', '*', '/', rest @ ..] => after_a_directory(rest, text),
        ['*', '*', rest @ ..] if first && !special(rest) => {
            (0..=text.len()).any(|at| slow(rest, &text[at..], false))
        }
        ['*', '*', rest @ ..] => after_a_directory(rest, text),
        ['*', rest @ ..] => (0..=text.len())
            .take_while(|at| !text[..*at].contains(&'/'))
            .any(|at| slow(rest, &text[at..], false)),
        ['?', rest @ ..] => taken(|each| each != '/') && slow(rest, &text[1..], false),
        ['[', '^', 'a', ']', rest @ ..] => {
            taken(|each| each != 'a' && each != '/') && slow(rest, &text[1..], false)
        }
        ['[', 'a', '-', 'b', ']', rest @ ..] => {
            taken(|each| "ab".contains(each)) && slow(rest, &text[1..], false)
        }
        ['\\', each, rest @ ..] | [each, rest @ ..] => {
            text.first() == Some(each) && slow(rest, &text[1..], false)
        }
    }
}

fn after_a_directory(pattern: &[char], text: &[char]) -> bool {
    let slashes = text.iter().enumerate().filter(|(_, each)| **each == '/');
    slow(pattern, text, false)
        || slashes.into_iter().any(|(at, _)| slow(pattern, &text[at + 1..], false))
}

fn pieces(of: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(of), 0..most).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_machine_agrees_with_the_slow_matcher(
        pattern in pieces(&["a", "b", ".", "/", "*", "**", "**/", "?", "[^a]", "[a-b]", "\\*", "ä"], 8),
        path in pieces(&["a", "b", "c", ".", "/", "*", "ä"], 10),
    ) {
        let path = String::from_utf8(crate::names::from_root(path.as_bytes())).unwrap();
        let parsed = Pattern::parse(pattern.as_bytes()).unwrap();
        let cleaned: Vec<char> = String::from_utf8(parsed.text.clone()).unwrap().chars().collect();
        let text: Vec<char> = path.chars().collect();
        prop_assert_eq!(parsed.matches(path.as_bytes()), slow(&cleaned, &text, true));
    }

    #[test]
    fn what_matches_is_never_missed_by_a_walk(
        pattern in pieces(&["a", "b", "/", "*", "**", "**/", "?", "[^a]"], 7),
        directory in pieces(&["a", "b", "/"], 6),
        rest in pieces(&["a", "b", "/"], 6),
    ) {
        let directory = crate::names::from_root(directory.as_bytes());
        let rest = crate::names::from_root(rest.as_bytes());
        let parsed = Pattern::parse(pattern.as_bytes()).unwrap();
        if !rest.is_empty() && parsed.matches(&joined(&directory, &rest)) {
            prop_assert!(parsed.may_match_below(&directory));
        }
    }
}
