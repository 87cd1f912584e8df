//! Parts of values: fields of objects, entries of lists and maps.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::Value;

use super::value::{self, Val};

/// An entry of a list or map.
pub(super) fn part<'v, I: serde_json::value::Index>(of: &Cow<'v, Value>, index: I) -> Val<'v> {
    let part = match of {
        Cow::Borrowed(value) => value.get(index).map(Cow::Borrowed),
        Cow::Owned(value) => value.get(index).cloned().map(Cow::Owned),
    };
    part.map_or(Val::Missing, Val::Json)
}

/// What is wrong, and what was probably meant.
type Refusal = (String, Option<String>);

/// One field of a value; `before` is the name of the field that the value stood in.
pub(super) fn get<'v>(
    of: Val<'v>,
    name: &str,
    before: Option<&str>,
    header: bool,
) -> Result<Val<'v>, Refusal> {
    let refusal = |kind: &str| (format!("can't evaluate field {name} in type {kind}"), None);
    let value = match of {
        // A header says the same of every part of its column.
        Val::Json(value) if header && value.is_string() => return Ok(Val::Json(value)),
        Val::Missing | Val::NilMap => return Ok(Val::Missing),
        Val::NilList => return Err(refusal("list")),
        Val::Json(value) => value,
    };
    let Value::Object(map) = &*value else {
        if value.is_null() {
            return Err((format!("nil pointer evaluating interface {{}}.{name}"), None));
        }
        return Err(refusal(value::kind(&value)));
    };
    if map.contains_key(name) {
        return Ok(match part(&value, name) {
            Val::Json(found) => value::field(name, found),
            other => other,
        });
    }
    if value::is_map(map, before) {
        return Ok(Val::Missing);
    }
    if let Some(nothing) = value::omitted(name) {
        return Ok(nothing);
    }
    let mut hint = String::new();
    if let Some(meant) = map.keys().find(|key| key.eq_ignore_ascii_case(name)) {
        write!(hint, "did you mean .{meant}?").ok();
    } else {
        let names: Vec<&str> = map.keys().map(String::as_str).collect();
        write!(hint, "the fields here are {}", names.join(" ")).ok();
    }
    Err((format!("can't evaluate field {name}: there is no such field"), Some(hint)))
}
