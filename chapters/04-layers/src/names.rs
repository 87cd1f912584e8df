//! What a name in a layer means.
//!
//! A layer is unpacked alone, not on top of the layers below it; so what it deletes must be written
//! down. In the archive an empty file `.wh.NAME` says "NAME of the lower layers is gone" (a
//! *whiteout*), and `.wh..wh..opq` says "nothing of the lower layers is left in this directory"
//! (*opaque*). Names that begin with `.wh.` are reserved for that (OCI image specification,
//! `layer.md`).

use crate::error::{UnpackError, shown};

/// What every whiteout begins with.
pub const WHITEOUT: &[u8] = b".wh.";
/// Marks its directory as opaque.
pub const OPAQUE: &[u8] = b".wh..wh..opq";
/// AUFS kept its own bookkeeping under names that begin so; layers of old Docker hosts still carry
/// it.
pub const RESERVED: &[u8] = b".wh..wh.";

/// Longest name of one file, in bytes (`NAME_MAX`).
pub const NAME_MAX: usize = 255;
/// Longest path, in bytes (`PATH_MAX` without its NUL).
pub const PATH_MAX: usize = 4095;

/// Where an entry belongs, relative to the root: no `..`, no `.`, no empty name, no slash at either
/// end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The root itself.
    Root,
    /// A file, a directory, a link: `name` in the directory `parent` (empty: the root).
    Name {
        /// Directory, `usr/bin`.
        parent: Vec<u8>,
        /// Last name.
        name: Vec<u8>,
    },
    /// `name` of the lower layers is gone.
    Whiteout {
        /// Directory.
        parent: Vec<u8>,
        /// The name that is gone.
        name: Vec<u8>,
    },
    /// Nothing of the lower layers is left in this directory.
    Opaque(Vec<u8>),
    /// Bookkeeping of AUFS.
    Ignored,
}

/// Reads the name of an entry.
///
/// Absolute names are taken relative to the root, `a/../b` is `b`.
///
/// # Errors [`UnpackError::Refused`] for a name that climbs above the root, is longer than the
/// kernel allows, or is reserved and means nothing.
pub fn place(entry: &[u8]) -> Result<Place, UnpackError> {
    let refused =
        |reason: &str| Err(UnpackError::Refused { entry: shown(entry), reason: reason.to_owned() });
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in entry.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if parts.pop().is_none() {
                    return refused("it lies above the root");
                }
            }
            part if part.contains(&0) => return refused("its name contains a NUL byte"),
            // A whiteout may be longer by its prefix: it stands for a name, it never is one.
            part if part.strip_prefix(WHITEOUT).unwrap_or(part).len() > NAME_MAX => {
                return refused(&format!(
                    "a name of {} bytes is in it, the kernel allows {NAME_MAX}",
                    part.len()
                ));
            }
            part => parts.push(part),
        }
    }
    let Some((name, parents)) = parts.split_last() else { return Ok(Place::Root) };
    let parent = parents.join(&b'/');
    if parent.len() + 1 + name.len() > PATH_MAX {
        return refused(&format!("its path is longer than {PATH_MAX} bytes"));
    }
    let aufs = |part: &&[u8]| part.starts_with(RESERVED) && **part != *OPAQUE;
    if parts.iter().any(aufs) {
        return Ok(Place::Ignored);
    }
    if parents.iter().any(|part| part.starts_with(WHITEOUT)) {
        return refused("a whiteout is no directory");
    }
    if *name == OPAQUE {
        return Ok(Place::Opaque(parent));
    }
    match name.strip_prefix(WHITEOUT) {
        None => Ok(Place::Name { parent, name: name.to_vec() }),
        Some(b"" | b"." | b"..") => refused("a whiteout must name a file"),
        Some(hidden) => Ok(Place::Whiteout { parent, name: hidden.to_vec() }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(parent: &str, name: &str) -> Place {
        Place::Name { parent: parent.into(), name: name.into() }
    }

    /// Found by the fuzz target: what `diff` writes about the longest name must be read again.
    #[test]
    fn the_longest_name_can_be_whited_out() {
        let longest = "n".repeat(NAME_MAX);
        let hidden = Place::Whiteout { parent: b"d".to_vec(), name: longest.clone().into_bytes() };
        assert_eq!(place(format!("d/.wh.{longest}").as_bytes()).unwrap(), hidden);
        place(format!("d/.wh.{longest}n").as_bytes()).unwrap_err();
        place(format!("d/{longest}n").as_bytes()).unwrap_err();
    }

    #[test]
    fn names_are_read() {
        let gone =
            |parent: &str, name: &str| Place::Whiteout { parent: parent.into(), name: name.into() };
        let table: &[(&str, Place)] = &[
            ("", Place::Root),
            ("./", Place::Root),
            ("/", Place::Root),
            ("a/..", Place::Root),
            ("a", name("", "a")),
            ("/etc/passwd", name("etc", "passwd")),
            ("./usr//bin/", name("usr", "bin")),
            ("a/../b/./c", name("b", "c")),
            ("...", name("", "...")),
            (".wh.a", gone("", "a")),
            ("d/.wh..hidden", gone("d", ".hidden")),
            ("d/.wh....", gone("d", "...")),
            ("d/.wh..wh..opq", Place::Opaque("d".into())),
            (".wh..wh..opq", Place::Opaque("".into())),
            (".wh..wh.plnk/12.34", Place::Ignored),
            (".wh..wh.aufs", Place::Ignored),
            (".white", name("", ".white")),
        ];
        for (text, expected) in table {
            assert_eq!(&place(text.as_bytes()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn names_are_refused() {
        let long = "n".repeat(256);
        let deep = "d/".repeat(2048) + "f";
        let table = [
            ("..", "above the root"),
            ("a/../../b", "above the root"),
            ("/../etc/passwd", "above the root"),
            (".wh.", "must name a file"),
            (".wh..", "must name a file"),
            ("d/.wh...", "must name a file"),
            (".wh.d/f", "no directory"),
            ("a\0b", "NUL"),
            (long.as_str(), "256 bytes"),
            (deep.as_str(), "4095"),
        ];
        for (text, expected) in table {
            let error = place(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
