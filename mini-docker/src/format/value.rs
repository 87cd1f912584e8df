//! Values of a template, and how Go's `fmt` prints them.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

/// A value while a template is evaluated.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Val<'v> {
    /// A key that a map does not have.
    Missing,
    /// An empty list that JSON writes as `null`: Docker's Go structures know that it is a list.
    NilList,
    /// Likewise an empty map.
    NilMap,
    Json(Cow<'v, Value>),
}

/// Fields of Docker's objects that are lists, also when they are `null`.
const LISTS: [&str; 20] = [
    "Args",
    "Binds",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Layers",
    "OnBuild",
    "RepoDigests",
    "RepoTags",
    "SecurityOpt",
    "VolumesFrom",
];
/// Fields of Docker's objects that are maps, whose keys are the users'.
const MAPS: [&str; 10] = [
    "Data",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

impl Val<'_> {
    pub(super) fn owned(value: impl Into<Value>) -> Self {
        Self::Json(Cow::Owned(value.into()))
    }

    /// As JSON: what `json` prints.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Json(value) => value.clone().into_owned(),
            _ => Value::Null,
        }
    }

    /// Whether `if` takes it for true: no zero, nothing empty.
    pub(super) fn is_true(&self) -> bool {
        let Self::Json(value) = self else { return false };
        match &**value {
            Value::Null => false,
            Value::Bool(flag) => *flag,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(map) => !map.is_empty(),
        }
    }

    /// The name of its type in messages, in Go's words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "nil",
            Self::NilList => "list",
            Self::NilMap => "map",
            Self::Json(value) => kind(value),
        }
    }

    /// As Go's `%v`.
    pub(super) fn print(&self) -> String {
        match self {
            Self::Missing => "<no value>".to_owned(),
            Self::NilList => "[]".to_owned(),
            Self::NilMap => "map[]".to_owned(),
            Self::Json(value) => print(value),
        }
    }
}

/// What stands in a field: `null` in a field that is always a list or a map is an empty one.
pub(super) fn field<'v>(name: &str, value: Cow<'v, Value>) -> Val<'v> {
    match (&*value, LISTS.contains(&name), MAPS.contains(&name)) {
        (Value::Null, true, _) => Val::NilList,
        (Value::Null, _, true) => Val::NilMap,
        _ => Val::Json(value),
    }
}

/// What a field of Docker's objects stands for that JSON leaves out when it is empty.
pub(super) fn omitted<'v>(name: &str) -> Option<Val<'v>> {
    match name {
        "ExposedPorts" => Some(Val::NilMap),
        "Shell" => Some(Val::NilList),
        "MacAddress" | "OsVersion" | "StopSignal" | "Variant" => Some(Val::owned("")),
        "ArgsEscaped" | "NetworkDisabled" => Some(Val::owned(false)),
        "Health" | "Healthcheck" | "SizeRootFs" | "SizeRw" | "StopTimeout" => {
            Some(Val::owned(Value::Null))
        }
        _ => None,
    }
}

/// Whether an object has keys of its own and not the fields of a structure: no wonder then that one is missing.
pub(super) fn is_map(object: &Map<String, Value>, field: Option<&str>) -> bool {
    if field.is_some_and(|name| MAPS.contains(&name)) {
        return true;
    }
    let is_field = |key: &String| {
        key.starts_with(|c: char| c.is_ascii_uppercase())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    !object.keys().all(is_field) || object.is_empty()
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

/// As Go's `%v`: `[a b]`, `map[k:v]` with sorted keys, `<nil>`.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => print_number(number),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(print).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let items: Vec<String> =
                sorted(map).map(|(key, value)| format!("{key}:{}", print(value))).collect();
            format!("map[{}]", items.join(" "))
        }
    }
}

/// The entries of an object in the order of their keys, as Go prints and ranges over maps.
pub(super) fn sorted(map: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries.into_iter()
}

fn print_number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => print_float(float),
        _ => number.to_string(),
    }
}

/// As `%v` of a float64: shortest digits, with an exponent below 1e-4 and from 1e6.
pub(super) fn print_float(float: f64) -> String {
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) || float == 0.0 {
        return float.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}
