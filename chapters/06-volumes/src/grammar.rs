//! `-v` and `--tmpfs`: text in, [`Spec`] out. `--mount` has its own file and shares the small rules
//! at the end.
//!
//! Nothing is looked up: whether a host path exists is asked later, by
//! [`open_source`](crate::open_source).

use std::path::{Component, Path, PathBuf};

use syscalls::mount::{Attr, Propagation};

pub use crate::mount_flag::parse_mount;
use crate::spec::{Kind, ParseError, Spec};

/// Reads a value of `-v`/`--volume`: `/dst`, `SOURCE:/dst` or `SOURCE:/dst:OPTION,OPTION`.
///
/// A source that begins with `/`, `./`, `../`, or is `.` or `..` is a path of the host, anything
/// else a volume's name. Options: `ro` `rw`, `z` `Z`, `nocopy`, `[r]private` `[r]slave`
/// `[r]shared`, and `consistent` `cached` `delegated`, which mean nothing on Linux. Source: `docker
/// run` reference, "Mount volume".
///
/// # Errors
/// One line and a hint.
pub fn parse_volume(text: &str) -> Result<Spec, ParseError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, None),
        [source, target] => (Some(source), target, None),
        [source, target, options] => (Some(source), target, Some(options)),
        _ => {
            return Err(invalid(text, "at most three parts: SOURCE:TARGET:OPTIONS"));
        }
    };
    if parts.iter().any(|part| part.is_empty()) {
        return Err(invalid(text, "no part may be empty: SOURCE:TARGET:OPTIONS"));
    }
    let kind = match source {
        Some(source) if is_path(source) => Kind::Bind,
        _ => Kind::Volume,
    };
    if parts.len() == 2 && matches!(target, "ro" | "rw" | "z" | "Z" | "nocopy") {
        return Err(invalid(text, "options are the third part: SOURCE:TARGET:OPTIONS"));
    }
    let mut spec = Spec::new(kind, target_path(kind, target)?);
    spec.create_source = kind == Kind::Bind;
    spec.source = match source {
        Some(name) if kind == Kind::Volume => Some(check_name(name)?.to_owned()),
        Some(path) => Some(path.to_owned()),
        None => None,
    };
    if let Some(options) = options {
        volume_options(&mut spec, options)?;
    }
    Ok(spec)
}

fn invalid(text: &str, hint: &str) -> ParseError {
    ParseError::new(format!("invalid volume specification: '{text}'"), hint)
}

/// Whether a source is a path of the host; a volume's name has no slash and does not begin with a
/// dot.
pub(crate) fn is_path(source: &str) -> bool {
    matches!(source, "." | "..") || ["/", "./", "../"].iter().any(|start| source.starts_with(start))
}

/// The third part of `-v`. Each family of options may speak once: `ro,rw` is refused.
fn volume_options(spec: &mut Spec, options: &str) -> Result<(), ParseError> {
    let mut seen: Vec<&str> = Vec::new();
    for option in options.split(',') {
        let family = match option {
            "ro" | "rw" => {
                spec.read_only = option == "ro";
                "ro/rw"
            }
            "z" | "Z" => {
                spec.relabel = option.chars().next();
                "z/Z"
            }
            "nocopy" if spec.kind == Kind::Volume => {
                spec.nocopy = true;
                "nocopy"
            }
            "consistent" | "cached" | "delegated" | "default" => "consistency",
            other => {
                let propagation =
                    parse_propagation(other).filter(|_| spec.kind == Kind::Bind).ok_or_else(|| {
                        ParseError::new(
                            format!("invalid mode: {options}"),
                            match (other, spec.kind) {
                                ("", _) => "an option between commas is empty".to_owned(),
                                ("nocopy", _) => {
                                    "`nocopy` is for volumes: a host folder is never filled".into()
                                }
                                (_, Kind::Volume) if parse_propagation(other).is_some() => {
                                    format!("`{other}` is for host folders, not for volumes")
                                }
                                _ => format!(
                                    "`{other}` is none of ro rw z Z nocopy [r]private [r]slave [r]shared"
                                ),
                            },
                        )
                    })?;
                (spec.propagation, spec.propagation_recursive) =
                    (Some(propagation.0), propagation.1);
                "propagation"
            }
        };
        if seen.contains(&family) {
            return Err(ParseError::new(
                format!("invalid mode: {options}"),
                format!("more than one option of the kind {family}"),
            ));
        }
        seen.push(family);
    }
    Ok(())
}

/// Reads a value of `--tmpfs`: `/dst` or `/dst:OPTION,OPTION`.
///
/// Options: `ro` `rw`, `[no]suid` `[no]dev` `[no]exec`, `[no]atime` `strictatime` `relatime`
/// `nodiratime`, `size` (bytes, with `k` `m` `g` `t`, or a percentage of the memory), `mode`
/// (octal), and `uid` `gid` `nr_inodes` `nr_blocks` `huge` `mpol` as tmpfs(5) has them. Docker's
/// defaults: `nosuid,nodev,noexec`, mode 1777.
///
/// # Errors
/// One line and a hint.
pub fn parse_tmpfs(text: &str) -> Result<Spec, ParseError> {
    let (target, options) = match text.split_once(':') {
        Some((target, options)) => (target, Some(options)),
        None => (text, None),
    };
    let mut spec = Spec::new(Kind::Tmpfs, target_path(Kind::Tmpfs, target)?);
    for option in options.into_iter().flat_map(|options| options.split(',')) {
        tmpfs_option(&mut spec, option)?;
    }
    Ok(spec)
}

fn tmpfs_option(spec: &mut Spec, option: &str) -> Result<(), ParseError> {
    let (key, value) = match option.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (option, None),
    };
    let atime = Attr::NOATIME | Attr::STRICTATIME;
    match (key, value) {
        ("ro", None) => spec.read_only = true,
        ("rw", None) => spec.read_only = false,
        ("suid", None) => spec.attr -= Attr::NOSUID,
        ("nosuid", None) => spec.attr |= Attr::NOSUID,
        ("dev", None) => spec.attr -= Attr::NODEV,
        ("nodev", None) => spec.attr |= Attr::NODEV,
        ("exec", None) => spec.attr -= Attr::NOEXEC,
        ("noexec", None) => spec.attr |= Attr::NOEXEC,
        ("atime" | "relatime", None) => spec.attr -= atime,
        ("noatime", None) => spec.attr = (spec.attr - atime) | Attr::NOATIME,
        ("strictatime", None) => spec.attr = (spec.attr - atime) | Attr::STRICTATIME,
        ("diratime", None) => spec.attr -= Attr::NODIRATIME,
        ("nodiratime", None) => spec.attr |= Attr::NODIRATIME,
        ("size", Some(percent)) if is_percentage(percent) => {
            spec.tmpfs_size = None;
            spec.tmpfs_options.retain(|(key, _)| key != "size");
            spec.tmpfs_options.push(("size".into(), percent.to_owned()));
        }
        ("size", Some(size)) => {
            spec.tmpfs_options.retain(|(key, _)| key != "size");
            spec.tmpfs_size = Some(parse_size("size", size)?);
        }
        ("mode", Some(mode)) => spec.tmpfs_mode = Some(parse_mode("mode", mode)?),
        ("uid" | "gid" | "nr_inodes" | "nr_blocks" | "huge" | "mpol", Some(value)) => {
            spec.tmpfs_options.push((key.to_owned(), value.to_owned()));
        }
        _ => {
            return Err(ParseError::new(
                format!("invalid tmpfs option \"{option}\""),
                "one of size= mode= uid= gid= nr_inodes= ro rw [no]exec [no]suid [no]dev [no]atime",
            ));
        }
    }
    Ok(())
}

fn is_percentage(text: &str) -> bool {
    text.strip_suffix('%').is_some_and(|digits| {
        !digits.is_empty() && digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Checks where a mount goes and takes `.`, `..` and doubled slashes out of it, as Docker does
/// before it looks.
pub(crate) fn target_path(kind: Kind, text: &str) -> Result<PathBuf, ParseError> {
    let wrong = |what: &str, hint: &str| {
        ParseError::new(format!("invalid mount config for type \"{kind}\": {what}"), hint)
    };
    if text.is_empty() {
        return Err(wrong("field Target must not be empty", "say where the container sees it"));
    }
    if text.contains('\0') {
        return Err(wrong("invalid mount path: a NUL in it", "no path of Linux contains a NUL"));
    }
    if !text.starts_with('/') {
        return Err(wrong(
            &format!("invalid mount path: '{text}' mount path must be absolute"),
            "the path inside the container begins with '/'",
        ));
    }
    let path = clean(Path::new(text));
    if path == Path::new("/") {
        return Err(wrong(
            "invalid specification: destination can't be '/'",
            "mount at a folder below it; `run --rootfs DIR` takes a whole root",
        ));
    }
    Ok(path)
}

/// An absolute path without `.`, `..` and doubled slashes; `..` at the top stays at the top.
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

/// Checks a volume's name: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, at most 255 bytes.
///
/// # Errors
/// Docker's words and a hint.
pub fn check_name(name: &str) -> Result<&str, ParseError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if name.len() == 1 && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(ParseError::new(
            "volume name is too short, names should be at least two alphanumeric characters",
            "choose a longer name",
        ));
    }
    if name.len() > 255 {
        return Err(ParseError::new("volume name is too long", "at most 255 characters"));
    }
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.bytes().all(allowed) {
        return Ok(name);
    }
    Err(ParseError::new(
        format!(
            "{name:?} includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed"
        ),
        "if you intended to pass a host directory, use an absolute path, or one that begins with ./",
    ))
}

/// `rslave` is (`Slave`, true), `slave` is (`Slave`, false).
pub(crate) fn parse_propagation(text: &str) -> Option<(Propagation, bool)> {
    Some(match text {
        "private" => (Propagation::Private, false),
        "rprivate" => (Propagation::Private, true),
        "slave" => (Propagation::Slave, false),
        "rslave" => (Propagation::Slave, true),
        "shared" => (Propagation::Shared, false),
        "rshared" => (Propagation::Shared, true),
        _ => return None,
    })
}

/// Bytes from `65536`, `64k`, `64m`, `64MB`, `64MiB`, `1.5g`; a unit is always a power of 1024.
pub(crate) fn parse_size(key: &str, text: &str) -> Result<u64, ParseError> {
    let wrong = || {
        ParseError::new(
            format!("invalid value for {key}: {text}"),
            "a number of bytes, or one with a unit: 64m, 1.5g",
        )
    };
    let end = text.bytes().position(|byte| !matches!(byte, b'0'..=b'9' | b'.'));
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(wrong);
    }
    let bytes = number.parse::<f64>().map_err(|_| wrong())? * (1u64 << shift) as f64;
    // Above 2^63 a float no longer tells neighbours apart, and no tmpfs is that large.
    if bytes.is_finite() && bytes < (1u64 << 63) as f64 { Ok(bytes as u64) } else { Err(wrong()) }
}

/// An octal mode of at most four digits' worth: `1777`, `0700`.
pub(crate) fn parse_mode(key: &str, text: &str) -> Result<u32, ParseError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if digits && mode <= 0o7777 => Ok(mode),
        _ => Err(ParseError::new(
            format!("invalid value for {key}: {text}"),
            "a mode in octal: 1777, 0700",
        )),
    }
}

#[cfg(test)]
mod tests;
