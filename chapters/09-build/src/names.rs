//! Names of files as bytes: the kernel knows no other kind.

use std::fmt;

/// A name as text for people, and as a key that two different names never share: control
/// characters, backslashes and what is not UTF-8 are written `\xNN`.
pub fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || character == '\\' {
                let mut bytes = [0; 4];
                escape(character.encode_utf8(&mut bytes).as_bytes(), &mut text);
            } else {
                text.push(character);
            }
        }
        escape(chunk.invalid(), &mut text);
    }
    text
}

/// A name that becomes text only when it is printed: most steps succeed, and nobody asks what they were about.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.0))
    }
}

fn escape(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        text.push_str(&format!("\\x{byte:02x}"));
    }
}

/// The shortest path with the same meaning: no empty part, no `.`, and no `..` but at the beginning
/// of a relative one. Nothing is looked up, so `link/..` is the directory in which the link is. An
/// empty path is `.`.
pub(crate) fn clean(path: &[u8]) -> Vec<u8> {
    let absolute = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => drop(parts.pop()),
            b".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (absolute, joined.is_empty()) {
        (true, _) => [b"/", &joined[..]].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

/// A path from a root, without a slash at the beginning: `..` ends at the root. The root itself is
/// empty.
pub(crate) fn from_root(path: &[u8]) -> Vec<u8> {
    clean(&[b"/", path].concat())[1..].to_vec()
}

/// `name` in the directory `parent`; the root is an empty path.
pub(crate) fn joined(parent: &[u8], name: &[u8]) -> Vec<u8> {
    match (parent, name) {
        (b"", name) => name.to_vec(),
        (parent, b"") => parent.to_vec(),
        (parent, name) => [parent, b"/", name].concat(),
    }
}

/// The directory and the last name of a path from a root.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Whether `path` is somewhere below the directory `parent`.
pub(crate) fn is_below(path: &[u8], parent: &[u8]) -> bool {
    match path.strip_prefix(parent) {
        Some(rest) => parent.is_empty() && !rest.is_empty() || rest.starts_with(b"/"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        let cases = [
            ("", "."),
            (".", "."),
            ("./", "."),
            ("/", "/"),
            ("//a//b/", "/a/b"),
            ("./a/../b", "b"),
            ("a/..", "."),
            ("../a", "../a"),
            ("../../a", "../../a"),
            ("a/../../b", "../b"),
            ("/../a", "/a"),
            ("/a/./b/..", "/a"),
            ("a/b/../../c", "c"),
        ];
        for (path, expected) in cases {
            assert_eq!(clean(path.as_bytes()), expected.as_bytes(), "{path}");
        }
        let cases =
            [("", ""), (".", ""), ("/", ""), ("../x", "x"), ("/a/", "a"), ("a/../../b", "b")];
        for (path, expected) in cases {
            assert_eq!(from_root(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn shown_names_are_printable_and_differ() {
        assert_eq!(shown(b"src/main.c"), "src/main.c");
        assert_eq!(shown("größe".as_bytes()), "größe");
        assert_eq!(shown(b"a\nb\x1b[1m"), "a\\x0ab\\x1b[1m");
        assert_eq!(shown(b"\xff\xfe"), "\\xff\\xfe");
        assert_eq!(shown(b"\\xff"), "\\x5cxff");
        assert_eq!(shown("\u{85}".as_bytes()), "\\xc2\\x85");
    }

    #[test]
    fn below_is_about_whole_names() {
        assert!(is_below(b"a/b", b"a") && is_below(b"a", b"") && is_below(b"a/b/c", b"a/b"));
        assert!(!is_below(b"ab", b"a") && !is_below(b"a", b"a") && !is_below(b"", b""));
    }
}
