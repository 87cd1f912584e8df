//! `RUN --mount=`: what its fields mean. Dockerfile reference, section "RUN --mount"; BuildKit:
//! `instructions/commands_runmount.go`.
//!
//! A field's value may contain variables. So the parser checks what is written out ([`check`]), and whoever runs the
//! instruction expands the values and reads them ([`read`]).
//!
//! | type | fields |
//! |---|---|
//! | `bind` (the default) | `target`, `source`, `from`, `rw` |
//! | `cache` | `id`, `target`, `ro`, `sharing`, `from`, `source`, `mode`, `uid`, `gid` |
//! | `tmpfs` | `target`, `size` |
//! | `secret` | `id`, `target`, `env`, `required`, `mode`, `uid`, `gid` |
//! | `ssh` | `id`, `target`, `required`, `mode`, `uid`, `gid` |

mod fields;

use crate::error::nearest;
pub use fields::split;

/// What is mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Type {
    /// A folder or file of the context, a stage, or an image.
    #[default]
    Bind,
    /// A folder that stays between builds.
    Cache,
    /// Memory.
    Tmpfs,
    /// A file, or a variable, that is in no layer.
    Secret,
    /// The socket of an agent.
    Ssh,
}

/// Who may use a cache at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody.
    #[default]
    Shared,
    /// Each gets another one.
    Private,
    /// The second waits.
    Locked,
}

/// A mount with expanded values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `type=`.
    pub kind: Type,
    /// `id=`: of a cache, its target if there is none; of a secret, the last part of its target.
    pub id: Option<String>,
    /// `target=`, `dst=`, `destination=`: against the working directory, which it is if not given; of a secret
    /// `/run/secrets/ID`.
    pub target: Option<String>,
    /// `source=`, `src=`: in `from`, or in the context; of a secret another name for `id`.
    pub source: Option<String>,
    /// `from=`.
    pub from: Option<String>,
    /// `readonly`, `ro`, `rw=false`; caches and memory can be written unless told otherwise, the rest cannot.
    pub read_only: bool,
    /// `required`: without it, a secret that nobody has given is just not there.
    pub required: bool,
    /// `sharing=`.
    pub sharing: Sharing,
    /// `mode=`, octal.
    pub mode: Option<u32>,
    /// `uid=`.
    pub uid: Option<u32>,
    /// `gid=`.
    pub gid: Option<u32>,
    /// `size=`, in bytes.
    pub size: Option<u64>,
    /// `env=`: the variable that holds a secret.
    pub env: Option<String>,
}

/// A field that cannot be, or two that do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FieldError {
    /// Which one, by number.
    pub field: Option<usize>,
    /// One line.
    pub message: String,
    /// What to write.
    pub hint: Option<String>,
}

impl FieldError {
    fn new(message: impl Into<String>) -> Self {
        Self { field: None, message: message.into(), hint: None }
    }

    fn near(mut self, word: &str, known: &[&str]) -> Self {
        self.hint = match nearest(word, known.iter().copied()) {
            Some(near) => Some(format!("did you mean {near}?")),
            None => Some(format!("one of {}", known.join(", "))),
        };
        self
    }
}

const TYPES: [(&str, Type); 5] = [
    ("bind", Type::Bind),
    ("cache", Type::Cache),
    ("tmpfs", Type::Tmpfs),
    ("secret", Type::Secret),
    ("ssh", Type::Ssh),
];

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "mode",
    "uid",
    "gid",
    "size",
    "env",
];

/// Reads fields whose variables have been expanded. Keys are in small letters, as [`split`] gives them.
///
/// # Errors
/// For a field that nobody knows, a value that it cannot have, and a field that this type has not.
pub fn read(fields: &[(String, Option<String>)]) -> Result<Options, FieldError> {
    let mut options = Options::default();
    let mut read_only = None;
    for (index, (key, value)) in fields.iter().enumerate() {
        let set = field(&mut options, &mut read_only, key, value.as_deref());
        set.map_err(|error| FieldError { field: Some(index), ..error })?;
    }
    let memory = matches!(options.kind, Type::Cache | Type::Tmpfs);
    options.read_only = read_only.unwrap_or(!memory);
    fits(&options, fields)?;
    Ok(options)
}

/// Checks what is written out: everything if no value has a `$`, else field by field what has none.
///
/// # Errors
/// As [`read`].
pub fn check(fields: &[(String, Option<String>)]) -> Result<(), FieldError> {
    let variable = |value: &Option<String>| value.as_ref().is_some_and(|text| text.contains('$'));
    if !fields.iter().any(|(_, value)| variable(value)) {
        return read(fields).map(drop);
    }
    for (index, (key, value)) in fields.iter().enumerate() {
        let (mut options, mut read_only) = (Options::default(), None);
        let known = KEYS.contains(&&key[..]);
        if known && variable(value) {
            continue;
        }
        field(&mut options, &mut read_only, key, value.as_deref())
            .map_err(|error| FieldError { field: Some(index), ..error })?;
    }
    Ok(())
}

fn field(
    options: &mut Options,
    read_only: &mut Option<bool>,
    key: &str,
    value: Option<&str>,
) -> Result<(), FieldError> {
    if !KEYS.contains(&key) {
        return Err(FieldError::new(format!("unexpected key '{key}' in mount")).near(key, &KEYS));
    }
    let Some(value) = value else {
        match key {
            "readonly" | "ro" => *read_only = Some(true),
            "readwrite" | "rw" => *read_only = Some(false),
            "required" => options.required = true,
            _ => {
                let message = format!("invalid field '{key}' must be a key=value pair");
                return Err(FieldError::new(message));
            }
        }
        return Ok(());
    };
    let lower = value.to_ascii_lowercase();
    let wrong = || FieldError::new(format!("invalid value for {key}: {value}"));
    let owned = || Some(value.to_owned());
    match key {
        "type" => {
            let known = TYPES.iter().find(|(name, _)| *name == lower);
            let (_, kind) = known.ok_or_else(|| {
                FieldError::new(format!("unsupported mount type \"{value}\""))
                    .near(value, &TYPES.map(|(name, _)| name))
            })?;
            options.kind = *kind;
        }
        "sharing" => {
            options.sharing = match &lower[..] {
                "shared" => Sharing::Shared,
                "private" => Sharing::Private,
                "locked" => Sharing::Locked,
                _ => {
                    let message = format!("unsupported sharing value \"{value}\"");
                    let known = ["shared", "private", "locked"];
                    return Err(FieldError::new(message).near(value, &known));
                }
            }
        }
        "from" => options.from = owned(),
        "source" | "src" => options.source = owned(),
        "target" | "dst" | "destination" => options.target = owned(),
        "id" => options.id = owned(),
        "env" => options.env = owned(),
        "readonly" | "ro" => *read_only = Some(truth(value).ok_or_else(wrong)?),
        "readwrite" | "rw" => *read_only = Some(!truth(value).ok_or_else(wrong)?),
        "required" => options.required = truth(value).ok_or_else(wrong)?,
        "size" => options.size = Some(bytes(&lower).ok_or_else(wrong)?),
        "mode" => {
            options.mode = Some(
                u32::from_str_radix(value, 8)
                    .map_err(|_| FieldError::new(format!("invalid value {value} for mode")))?,
            );
        }
        _ => {
            let number = value
                .parse()
                .map_err(|_| FieldError::new(format!("invalid value {value} for {key}")))?;
            match key {
                "uid" => options.uid = Some(number),
                _ => options.gid = Some(number),
            }
        }
    }
    Ok(())
}

/// Whether the type has all the fields.
fn fits(options: &Options, fields: &[(String, Option<String>)]) -> Result<(), FieldError> {
    let given = |key: &str| fields.iter().position(|(name, _)| name == key);
    let name = TYPES.iter().find(|(_, kind)| *kind == options.kind).map_or("", |(name, _)| name);
    for (key, types) in [
        ("mode", &[Type::Cache, Type::Secret, Type::Ssh][..]),
        ("uid", &[Type::Cache, Type::Secret, Type::Ssh]),
        ("gid", &[Type::Cache, Type::Secret, Type::Ssh]),
        ("required", &[Type::Secret, Type::Ssh]),
        ("size", &[Type::Tmpfs]),
        ("sharing", &[Type::Cache]),
        ("env", &[Type::Secret]),
    ] {
        if let Some(index) = given(key)
            && !types.contains(&options.kind)
        {
            let message = format!("unexpected key '{key}' for mount type '{name}'");
            let has: Vec<_> = TYPES.iter().filter(|(_, kind)| types.contains(kind)).collect();
            let has: Vec<_> = has.iter().map(|(name, _)| format!("type={name}")).collect();
            let hint = Some(format!("only {} has it", has.join(", ")));
            return Err(FieldError { field: Some(index), message, hint });
        }
    }
    if options.kind == Type::Secret {
        if options.from.is_some() {
            return Err(FieldError::new("secret mount should not have a from"));
        }
        if options.source.is_some() && options.id.is_some() {
            return Err(FieldError::new("both source and id can't be set"));
        }
        if options.source.is_none() && options.target.is_none() && options.id.is_none() {
            let message = "invalid secret mount. one of source, target required";
            let hint = Some("--mount=type=secret,id=name".to_owned());
            return Err(FieldError { field: None, message: message.to_owned(), hint });
        }
    }
    Ok(())
}

/// As Go's `strconv.ParseBool`.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// `512`, `64k`, `1.5GiB`: powers of 1024, as go-units' `RAMInBytes`.
fn bytes(lower: &str) -> Option<u64> {
    let end = lower.find(|char: char| !char.is_ascii_digit() && char != '.');
    let (number, unit) = lower.split_at(end.unwrap_or(lower.len()));
    let unit = unit.trim_start();
    let power = match unit.strip_suffix('b').unwrap_or(unit) {
        "" => 0,
        "k" | "ki" => 1,
        "m" | "mi" => 2,
        "g" | "gi" => 3,
        "t" | "ti" => 4,
        "p" | "pi" => 5,
        _ => return None,
    };
    let size = number.parse::<f64>().ok()? * 1024_f64.powi(power);
    (size >= 0.0 && size < u64::MAX as f64).then_some(size as u64)
}

#[cfg(test)]
mod tests;
