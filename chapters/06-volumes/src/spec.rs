//! What can be asked for: one mount of a container.

use std::fmt;
use std::path::PathBuf;

use syscalls::mount::{Attr, Propagation};

/// Where the data of a mount lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file or folder of the host.
    Bind,
    /// A folder of the volume store.
    Volume,
    /// Memory, gone with the container.
    Tmpfs,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
        })
    }
}

/// One mount that a user asked for, whichever of the three flags said it.
///
/// Prints as a `--mount` value, which [`parse_mount`](crate::parse_mount) reads back to the same
/// `Spec` (but for [`create_source`](Self::create_source) and [`relabel`](Self::relabel), which
/// only `-v` can say).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Where the data lives.
    pub kind: Kind,
    /// A host path ([`Kind::Bind`]) or a volume's name; `None` is a volume without a name, or a
    /// tmpfs.
    pub source: Option<String>,
    /// Where the container sees it: absolute, without `.` and `..`, never `/`.
    pub target: PathBuf,
    /// Writes through this mount fail with `EROFS`.
    pub read_only: bool,
    /// Whether `read_only` reaches the mounts below the source too (`bind-recursive=writable` turns
    /// it off).
    pub read_only_recursive: bool,
    /// How mount events pass between host and container; `None` is Docker's default, private.
    pub propagation: Option<Propagation>,
    /// Whether the propagation is meant for the mounts below too: `rslave`, not `slave`.
    pub propagation_recursive: bool,
    /// Whether the mounts below the source come along (`bind-nonrecursive` turns it off).
    pub recursive: bool,
    /// A new volume is not filled with what the image has at the target.
    pub nocopy: bool,
    /// A missing host folder is made (`-v`) instead of refused (`--mount`).
    pub create_source: bool,
    /// `z` or `Z` of `-v`, a wish about SELinux labels. Noted and not acted upon.
    pub relabel: Option<char>,
    /// A folder inside the volume to mount instead of the whole: relative, without `..`.
    pub subpath: Option<PathBuf>,
    /// Labels for a volume that is made by this mount.
    pub labels: Vec<(String, String)>,
    /// Options of the `local` driver for a volume that is made by this mount: `type`, `o`,
    /// `device`.
    pub driver_opts: Vec<(String, String)>,
    /// Limit of a tmpfs in bytes; `None` is the kernel's default, half of the memory.
    pub tmpfs_size: Option<u64>,
    /// Mode of a tmpfs's root; `None` is 1777, as for /tmp.
    pub tmpfs_mode: Option<u32>,
    /// More options of `--tmpfs` that the filesystem itself understands: `uid`, `gid`, `nr_inodes`,
    /// `huge`.
    pub tmpfs_options: Vec<(String, String)>,
    /// Attributes of the mount: for a tmpfs `nosuid,nodev,noexec` unless `--tmpfs` said otherwise,
    /// else none.
    pub attr: Attr,
}

impl Spec {
    /// A mount of this kind at `target` with Docker's defaults.
    pub fn new(kind: Kind, target: impl Into<PathBuf>) -> Self {
        let attr = match kind {
            Kind::Tmpfs => Attr::NOSUID | Attr::NODEV | Attr::NOEXEC,
            Kind::Bind | Kind::Volume => Attr::empty(),
        };
        Self {
            kind,
            source: None,
            target: target.into(),
            read_only: false,
            read_only_recursive: true,
            propagation: None,
            propagation_recursive: true,
            recursive: true,
            nocopy: false,
            create_source: false,
            relabel: None,
            subpath: None,
            labels: Vec::new(),
            driver_opts: Vec::new(),
            tmpfs_size: None,
            tmpfs_mode: None,
            tmpfs_options: Vec::new(),
            attr,
        }
    }
}

/// The name of a propagation as the flags spell it: `rshared`, `slave`.
pub(crate) fn propagation_name(propagation: Propagation, recursive: bool) -> String {
    let name = match propagation {
        Propagation::Private => "private",
        Propagation::Slave => "slave",
        Propagation::Shared => "shared",
        Propagation::Unbindable => "unbindable",
    };
    if recursive { format!("r{name}") } else { name.to_owned() }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type={}", self.kind)?;
        let mut field = |key: &str, value: &str| {
            // A field with a comma, a quote or a line break is quoted, quotes in it doubled (RFC
            // 4180).
            if value.contains([',', '"', '\n', '\r']) {
                write!(f, ",\"{key}={}\"", value.replace('"', "\"\""))
            } else {
                write!(f, ",{key}={value}")
            }
        };
        if let Some(source) = &self.source {
            field("source", source)?;
        }
        field("target", &self.target.to_string_lossy())?;
        if self.read_only {
            field("readonly", "true")?;
        }
        if let Some(propagation) = self.propagation {
            field("bind-propagation", &propagation_name(propagation, self.propagation_recursive))?;
        }
        match (self.recursive, self.read_only_recursive) {
            (false, _) => field("bind-recursive", "disabled")?,
            (true, false) => field("bind-recursive", "writable")?,
            (true, true) => {}
        }
        if self.nocopy {
            field("volume-nocopy", "true")?;
        }
        if let Some(subpath) = &self.subpath {
            field("volume-subpath", &subpath.to_string_lossy())?;
        }
        for (key, value) in &self.labels {
            field("volume-label", &format!("{key}={value}"))?;
        }
        for (key, value) in &self.driver_opts {
            field("volume-opt", &format!("{key}={value}"))?;
        }
        if let Some(bytes) = self.tmpfs_size {
            field("tmpfs-size", &bytes.to_string())?;
        }
        if let Some(mode) = self.tmpfs_mode {
            field("tmpfs-mode", &format!("{mode:o}"))?;
        }
        Ok(())
    }
}

/// A flag's value that cannot be understood: what is wrong, and what to write instead.
///
/// Prints as two lines, the second beginning with `hint: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}\nhint: {hint}")]
pub struct ParseError {
    /// One line, in Docker's words where it has some.
    pub message: String,
    /// One line that says what to do.
    pub hint: String,
}

impl ParseError {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: one_line(message.into()), hint: one_line(hint.into()) }
    }
}

/// What users type may hold line breaks and terminal escapes; a message does not.
fn one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars().fold(String::new(), |mut line, letter| {
        if letter.is_control() {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
        line
    })
}
