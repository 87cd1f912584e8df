//! `--mount`: one line of comma-separated values, each `key=value`.

use std::path::{Component, Path, PathBuf};

use syscalls::mount::Propagation;

use crate::grammar::{check_name, is_path, parse_mode, parse_propagation, parse_size, target_path};
use crate::spec::{Kind, ParseError, Spec};

/// Reads a value of `--mount`: `type=volume,source=data,target=/data,readonly`.
///
/// Fields are comma-separated; one with a comma in it stands in double quotes (RFC 4180). Keys:
/// `type` (bind, volume, tmpfs; default volume), `source`/`src`, `target`/`dst`/`destination`,
/// `readonly`/`ro`, `consistency` (ignored); `bind-propagation`, `bind-nonrecursive`,
/// `bind-recursive` (enabled, disabled, writable, readonly); `volume-nocopy`, `volume-label`,
/// `volume-driver` (local), `volume-opt`, `volume-subpath`; `tmpfs-size`, `tmpfs-mode`. Source:
/// Docker documentation, "Bind mounts", "Volumes", "tmpfs mounts".
///
/// # Errors
/// One line, in Docker's words where it has some, and a hint.
pub fn parse_mount(text: &str) -> Result<Spec, ParseError> {
    let mut request = Request::default();
    for field in fields(text)? {
        request.field(&field)?;
    }
    request.finish()
}

/// What the fields have said so far. Only together can they be judged: `type` may come last.
#[derive(Default)]
struct Request {
    kind: Option<Kind>,
    source: Option<String>,
    target: Option<String>,
    read_only: bool,
    recursive: Recursive,
    nonrecursive: bool,
    propagation: Option<(Propagation, bool)>,
    nocopy: bool,
    subpath: Option<PathBuf>,
    labels: Vec<(String, String)>,
    driver_opts: Vec<(String, String)>,
    tmpfs_size: Option<u64>,
    tmpfs_mode: Option<u32>,
    /// The first key of each family, to name it if the family does not fit the type.
    families: Vec<(Kind, String)>,
}

/// `bind-recursive`.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Recursive {
    /// Mounts below come along, read-only with the top.
    #[default]
    Enabled,
    /// They do not come along.
    Disabled,
    /// They come along and stay writable.
    Writable,
    /// As enabled, said aloud: `readonly` and a private propagation must be said too.
    ReadOnly,
}

impl Request {
    fn field(&mut self, field: &str) -> Result<(), ParseError> {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        for (prefix, kind) in
            [("bind-", Kind::Bind), ("volume-", Kind::Volume), ("tmpfs-", Kind::Tmpfs)]
        {
            if key.starts_with(prefix) && !self.families.iter().any(|(known, _)| *known == kind) {
                self.families.push((kind, key.clone()));
            }
        }
        // The keys that may stand alone.
        match key.as_str() {
            "readonly" | "ro" => {
                self.read_only = boolean(&key, value)?;
                return Ok(());
            }
            "bind-nonrecursive" => {
                self.nonrecursive = boolean(&key, value)?;
                return Ok(());
            }
            "volume-nocopy" => {
                self.nocopy = boolean(&key, value)?;
                return Ok(());
            }
            _ => {}
        }
        let Some(value) = value else {
            return Err(ParseError::new(
                format!("invalid field '{field}' must be a key=value pair"),
                "--mount type=TYPE,source=SOURCE,target=TARGET",
            ));
        };
        match key.as_str() {
            "type" => self.kind = Some(kind(value)?),
            "source" | "src" => self.source = Some(value.to_owned()),
            "target" | "dst" | "destination" => self.target = Some(value.to_owned()),
            "consistency" => {}
            "bind-propagation" => {
                let known = parse_propagation(value);
                let hint = "one of private rprivate slave rslave shared rshared";
                self.propagation = Some(known.ok_or_else(|| invalid(&key, value, hint))?);
            }
            "bind-recursive" => {
                self.recursive = match value {
                    "enabled" => Recursive::Enabled,
                    "disabled" => Recursive::Disabled,
                    "writable" => Recursive::Writable,
                    "readonly" => Recursive::ReadOnly,
                    _ => {
                        let hint = "one of enabled disabled writable readonly";
                        return Err(invalid(&key, value, hint));
                    }
                }
            }
            "volume-driver" if value == "local" => {}
            "volume-driver" => {
                return Err(ParseError::new(
                    format!("error looking up volume plugin {value}: plugin \"{value}\" not found"),
                    "the only driver is `local`: leave volume-driver out",
                ));
            }
            "volume-label" => self.labels.push(pair(value)),
            "volume-opt" => self.driver_opts.push(pair(value)),
            "volume-subpath" => self.subpath = Some(subpath(value)?),
            "tmpfs-size" => self.tmpfs_size = Some(parse_size(&key, value)?),
            "tmpfs-mode" => self.tmpfs_mode = Some(parse_mode(&key, value)?),
            _ => {
                return Err(ParseError::new(
                    format!("unexpected key '{key}' in '{field}'"),
                    "keys: type source target readonly bind-* volume-* tmpfs-*",
                ));
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Spec, ParseError> {
        let kind = self.kind.unwrap_or(Kind::Volume);
        let config = |what: &str, hint: &str| {
            ParseError::new(format!("invalid mount config for type \"{kind}\": {what}"), hint)
        };
        if let Some((family, key)) = self.families.iter().find(|(family, _)| *family != kind) {
            return Err(ParseError::new(
                format!("cannot mix '{family}-*' options with mount type '{kind}'"),
                format!("take {key} out, or say type={family}"),
            ));
        }
        let target = self.target.as_deref().unwrap_or_default();
        let mut spec = Spec::new(kind, target_path(kind, target)?);
        spec.source = match (kind, self.source.as_deref().unwrap_or_default()) {
            (Kind::Bind, "") => {
                let hint = "say which file or folder of the host: source=/path";
                return Err(config("field Source must not be empty", hint));
            }
            (Kind::Bind, path) if !is_path(path) || path.contains('\0') => {
                return Err(config(
                    &format!("invalid mount path: '{path}' mount path must be absolute"),
                    "a host path begins with '/' or './'; for a volume say type=volume",
                ));
            }
            (Kind::Tmpfs, source) if !source.is_empty() => {
                return Err(config("field Source must not be specified", "a tmpfs has none"));
            }
            (_, "") => None,
            (Kind::Volume, name) => Some(check_name(name)?.to_owned()),
            (_, path) => Some(path.to_owned()),
        };
        if self.recursive == Recursive::ReadOnly {
            let private = matches!(self.propagation, Some((Propagation::Private, true)));
            if !self.read_only {
                return Err(ParseError::new(
                    "option 'bind-recursive=readonly' requires 'readonly' to be specified",
                    "add readonly",
                ));
            } else if !private {
                return Err(ParseError::new(
                    "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate'",
                    "add bind-propagation=rprivate",
                ));
            }
        }
        spec.read_only = self.read_only;
        spec.recursive = self.recursive != Recursive::Disabled && !self.nonrecursive;
        // Without submounts there is nothing that could stay writable.
        spec.read_only_recursive = self.recursive != Recursive::Writable || !spec.recursive;
        if let Some((propagation, recursive)) = self.propagation {
            (spec.propagation, spec.propagation_recursive) = (Some(propagation), recursive);
        }
        spec.nocopy = self.nocopy;
        spec.subpath = self.subpath;
        spec.labels = self.labels;
        spec.driver_opts = self.driver_opts;
        spec.tmpfs_size = self.tmpfs_size;
        spec.tmpfs_mode = self.tmpfs_mode;
        Ok(spec)
    }
}

fn kind(value: &str) -> Result<Kind, ParseError> {
    match value.to_ascii_lowercase().as_str() {
        "bind" => Ok(Kind::Bind),
        "volume" => Ok(Kind::Volume),
        "tmpfs" => Ok(Kind::Tmpfs),
        _ => Err(ParseError::new(
            format!("mount type unknown: \"{value}\""),
            "one of bind volume tmpfs",
        )),
    }
}

fn invalid(key: &str, value: &str, hint: &str) -> ParseError {
    ParseError::new(format!("invalid value for {key}: {value}"), hint)
}

/// A key that stands alone means true; the words are those of Go's `strconv.ParseBool`.
fn boolean(key: &str, value: Option<&str>) -> Result<bool, ParseError> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(value) => Err(invalid(key, value, "true or false")),
    }
}

/// `key=value`; without `=` the value is empty.
fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

fn subpath(value: &str) -> Result<PathBuf, ParseError> {
    let path = Path::new(value);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    if value.is_empty() || !inside || value.contains('\0') {
        let hint = "a relative path inside the volume, without ..";
        return Err(invalid("volume-subpath", value, hint));
    }
    Ok(path.components().collect())
}

/// Splits a line of comma-separated values. A field that begins with `"` ends with `"` and has `""`
/// for each quote.
fn fields(text: &str) -> Result<Vec<String>, ParseError> {
    let wrong = |what: &str| {
        ParseError::new(
            format!("invalid argument {text:?} for \"--mount\": {what}"),
            "quote a whole field, \"source=/a,b\", and write \"\" for a quote in it",
        )
    };
    if text.is_empty() {
        return Err(ParseError::new(
            "invalid argument \"\" for \"--mount\": value is empty",
            "--mount type=TYPE,source=SOURCE,target=TARGET",
        ));
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let mut field = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let (part, after) =
                    quoted.split_once('"').ok_or_else(|| wrong("extraneous or missing \""))?;
                field.push_str(part);
                match after.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        quoted = more;
                    }
                    None => {
                        rest = after;
                        break;
                    }
                }
            }
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err(wrong("extraneous or missing \""));
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            field.push_str(&rest[..end]);
            rest = &rest[end..];
            if field.contains('"') {
                return Err(wrong("bare \" in a field without quotes"));
            }
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}
