//! What a user types after `cp`: which side is a container, and what a path says by its end.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// One of the two arguments of `cp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// `-`: a tar stream.
    Stream,
    /// A path of this machine.
    Local(String),
    /// `CONTAINER:PATH`.
    Container {
        /// Name or id.
        container: String,
        /// Path in it; relative ones begin at its root.
        path: String,
    },
}

impl Argument {
    /// Reads an argument as Docker does: what begins with `/` or `.` is local, so that a local name with a colon can be
    /// written `./a:b`.
    pub fn parse(text: &str) -> Self {
        if text == "-" {
            return Self::Stream;
        }
        match text.split_once(':') {
            Some((container, path)) if !text.starts_with(['/', '.']) => {
                Self::Container { container: container.to_owned(), path: path.to_owned() }
            }
            _ => Self::Local(text.to_owned()),
        }
    }
}

/// How a path ends, which changes what is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With a name.
    Name,
    /// With `/`: it must be a directory.
    Slash,
    /// With `/.`: what is in the directory.
    Dot,
}

/// A path, cleaned: absolute, without `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) path: PathBuf,
    pub(super) end: End,
}

impl Wanted {
    /// A path of a container. `..` at the root stays there.
    pub(super) fn inside(text: &str) -> Self {
        Self { path: clean(&Path::new("/").join(text)), end: end(text) }
    }

    /// A path of this machine.
    pub(super) fn local(text: &str) -> io::Result<Self> {
        Ok(Self { path: clean(&std::path::absolute(text)?), end: end(text) })
    }

    /// Its last name; none for `/`.
    pub(super) fn name(&self) -> Option<OsString> {
        self.path.file_name().map(ToOwned::to_owned)
    }

    /// Whether what is in it is copied, and not it.
    pub(super) fn means_contents(&self) -> bool {
        self.end == End::Dot || self.path == Path::new("/")
    }
}

fn end(text: &str) -> End {
    let bare = text.trim_end_matches('/');
    if bare == "." || bare.ends_with("/.") {
        End::Dot
    } else if bare.len() < text.len() {
        End::Slash
    } else {
        End::Name
    }
}

/// Takes `.` away, and `..` with the name before it, by the text alone as Docker does.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => drop(cleaned.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_told_apart() {
        let inside = |container: &str, path: &str| Argument::Container {
            container: container.to_owned(),
            path: path.to_owned(),
        };
        let local = |path: &str| Argument::Local(path.to_owned());
        for (text, expected) in [
            ("-", Argument::Stream),
            ("c:/etc", inside("c", "/etc")),
            ("c:etc", inside("c", "etc")),
            ("c:a:b", inside("c", "a:b")),
            ("c:", inside("c", "")),
            ("file", local("file")),
            ("/a:b", local("/a:b")),
            ("./a:b", local("./a:b")),
            ("../a:b", local("../a:b")),
            (".", local(".")),
        ] {
            assert_eq!(Argument::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn ends_are_read() {
        for (text, path, wanted) in [
            ("etc", "/etc", End::Name),
            ("/etc/", "/etc", End::Slash),
            ("/etc//", "/etc", End::Slash),
            ("/etc/.", "/etc", End::Dot),
            ("/etc/./", "/etc", End::Dot),
            (".", "/", End::Dot),
            ("..", "/", End::Name),
            ("../../x", "/x", End::Name),
            ("/a/../b/.hidden", "/b/.hidden", End::Name),
            ("/a/x.", "/a/x.", End::Name),
            ("/", "/", End::Slash),
        ] {
            assert_eq!(Wanted::inside(text), Wanted { path: path.into(), end: wanted }, "{text}");
        }
        let here = std::env::current_dir().unwrap();
        assert_eq!(Wanted::local("x/").unwrap(), Wanted { path: here.join("x"), end: End::Slash });
        assert!(Wanted::inside("/").means_contents());
    }
}
