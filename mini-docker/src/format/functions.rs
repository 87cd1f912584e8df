//! The functions of templates: those of Go's text/template, and those that Docker adds.

use std::borrow::Cow;

use serde_json::Value;

use super::compare;
use super::printf;
use super::value::{Val, print};

const KNOWN: [&str; 23] = [
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "index", "slice", "len", "print",
    "printf", "println", "json", "join", "split", "upper", "lower", "title", "pad", "truncate",
];

/// Whether a function of that name may be called.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Docker's own functions: they say how a value looks, which is nothing for a header.
pub(super) fn is_cosmetic(name: &str) -> bool {
    matches!(name, "json" | "join" | "split" | "upper" | "lower" | "title" | "pad" | "truncate")
}

type Outcome<'v> = Result<Val<'v>, String>;

/// Calls any function but `and` and `or`, which do not look at all of their arguments.
pub(super) fn call<'v>(name: &str, mut arguments: Vec<Val<'v>>) -> Outcome<'v> {
    let count = arguments.len();
    let want = |wanted: usize| {
        if count == wanted {
            return Ok(());
        }
        Err(format!("wrong number of args for {name}: want {wanted} got {count}"))
    };
    let at_least = |wanted: usize| {
        if count >= wanted {
            return Ok(());
        }
        Err(format!("wrong number of args for {name}: want at least {wanted} got {count}"))
    };
    let calling = |message: String| format!("error calling {name}: {message}");
    match name {
        "not" => {
            want(1)?;
            Ok(Val::owned(!arguments[0].is_true()))
        }
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => {
            if name == "eq" { at_least(2) } else { want(2) }?;
            compare::compare(name, &arguments).map(Val::owned).map_err(calling)
        }
        "index" => {
            at_least(1)?;
            let first = arguments.remove(0);
            arguments.iter().try_fold(first, index).map_err(calling)
        }
        "slice" => {
            at_least(1)?;
            slice(&arguments).map_err(calling)
        }
        "len" => {
            want(1)?;
            length(&arguments[0]).map(Val::owned).map_err(calling)
        }
        "print" => Ok(Val::owned(print_all(&arguments))),
        "println" => {
            let words: Vec<String> = arguments.iter().map(Val::print).collect();
            Ok(Val::owned(format!("{}\n", words.join(" "))))
        }
        "printf" => {
            at_least(1)?;
            let format = string(&arguments[0])?.to_owned();
            Ok(Val::owned(printf::printf(&format, &arguments[1..])))
        }
        "json" => {
            want(1)?;
            Ok(Val::owned(arguments[0].to_json().to_string()))
        }
        "upper" | "lower" | "title" => {
            want(1)?;
            let text = string(&arguments[0])?;
            Ok(Val::owned(match name {
                "upper" => text.to_uppercase(),
                "lower" => text.to_lowercase(),
                _ => title(text),
            }))
        }
        "split" => {
            want(2)?;
            Ok(Val::owned(split(string(&arguments[0])?, string(&arguments[1])?)))
        }
        "join" => {
            want(2)?;
            let words = strings(&arguments[0])?;
            Ok(Val::owned(words.join(string(&arguments[1])?)))
        }
        "pad" => {
            want(3)?;
            let (text, before, after) =
                (string(&arguments[0])?, small(&arguments[1])?, small(&arguments[2])?);
            if text.is_empty() {
                return Ok(Val::owned(""));
            }
            Ok(Val::owned(format!("{}{text}{}", " ".repeat(before), " ".repeat(after))))
        }
        "truncate" => {
            want(2)?;
            let length = small(&arguments[1])?;
            Ok(Val::owned(string(&arguments[0])?.chars().take(length).collect::<String>()))
        }
        other => Err(format!("function {other:?} not defined")),
    }
}

fn string<'a>(value: &'a Val<'_>) -> Result<&'a str, String> {
    let text = match value {
        Val::Json(json) => json.as_str(),
        _ => None,
    };
    text.ok_or_else(|| format!("wrong type for value; expected string; got {}", value.kind()))
}

/// A number of characters: wider than a million is a mistake.
fn small(value: &Val<'_>) -> Result<usize, String> {
    let number = match value {
        Val::Json(json) => json.as_i64(),
        _ => None,
    };
    match number {
        Some(number @ 0..=1_000_000) => Ok(usize::try_from(number).unwrap_or_default()),
        Some(number) => Err(format!("a width must be from 0 to 1000000, not {number}")),
        None => Err(format!("wrong type for value; expected int; got {}", value.kind())),
    }
}

fn strings(value: &Val<'_>) -> Result<Vec<String>, String> {
    let wrong = || format!("wrong type for value; expected a list; got {}", value.kind());
    match value {
        Val::NilList => Ok(Vec::new()),
        Val::Json(json) => Ok(json.as_array().ok_or_else(wrong)?.iter().map(print).collect()),
        _ => Err(wrong()),
    }
}

/// As Go's `strings.Split`: an empty separator splits between characters.
fn split(text: &str, separator: &str) -> Vec<String> {
    if separator.is_empty() {
        return text.chars().map(String::from).collect();
    }
    text.split(separator).map(str::to_owned).collect()
}

/// As Go's `strings.Title`: the first letter of each word in upper case.
fn title(text: &str) -> String {
    let mut before = ' ';
    let mut titled = String::with_capacity(text.len());
    for c in text.chars() {
        let within = before.is_alphanumeric() || before == '_';
        if within {
            titled.push(c);
        } else {
            titled.extend(c.to_uppercase());
        }
        before = c;
    }
    titled
}

/// As Go's `fmt.Sprint`: a space between two values that are both no strings.
fn print_all(arguments: &[Val<'_>]) -> String {
    let mut text = String::new();
    let mut last_is_text = true;
    for (number, argument) in arguments.iter().enumerate() {
        let is_text = argument.kind() == "string";
        if number > 0 && !is_text && !last_is_text {
            text.push(' ');
        }
        text.push_str(&argument.print());
        last_is_text = is_text;
    }
    text
}

fn length(value: &Val<'_>) -> Result<usize, String> {
    match value {
        Val::NilList | Val::NilMap => Ok(0),
        Val::Json(json) => match &**json {
            Value::String(text) => Ok(text.len()),
            Value::Array(items) => Ok(items.len()),
            Value::Object(map) => Ok(map.len()),
            _ => Err(format!("len of type {}", value.kind())),
        },
        Val::Missing => Err("len of nil pointer".to_owned()),
    }
}

fn position(value: &Val<'_>, length: usize) -> Result<usize, String> {
    let number = match value {
        Val::Json(json) => json.as_i64(),
        _ => None,
    };
    let number =
        number.ok_or_else(|| format!("cannot index slice/array with type {}", value.kind()))?;
    usize::try_from(number)
        .ok()
        .filter(|index| *index < length)
        .ok_or_else(|| format!("index out of range: {number}"))
}

fn index<'v>(of: Val<'v>, key: &Val<'v>) -> Outcome<'v> {
    let json = match of {
        Val::Missing => return Err("index of untyped nil".to_owned()),
        Val::NilList => return position(key, 0).map(|_| Val::Missing),
        Val::NilMap => return string(key).map(|_| Val::owned("")),
        Val::Json(json) => json,
    };
    match &*json {
        Value::Array(items) => {
            let index = position(key, items.len())?;
            Ok(Val::owned(items[index].clone()))
        }
        Value::Object(map) => {
            let found = map.get(string(key)?).cloned();
            Ok(match found {
                Some(found) => Val::Json(Cow::Owned(found)),
                // A map of texts (labels) gives the empty text, as in Go.
                None if map.values().all(Value::is_string) => Val::owned(""),
                None => Val::Missing,
            })
        }
        Value::String(text) => {
            let index = position(key, text.len())?;
            Ok(Val::owned(text.as_bytes()[index]))
        }
        Value::Null => Err("index of untyped nil".to_owned()),
        other => Err(format!("can't index item of type {}", super::value::kind(other))),
    }
}

fn slice<'v>(arguments: &[Val<'v>]) -> Outcome<'v> {
    let [of, bounds @ ..] = arguments else { return Err("slice of nothing".to_owned()) };
    if bounds.len() > 2 {
        return Err(format!("too many slice indexes: {}", bounds.len()));
    }
    let length = length(of).map_err(|_| format!("can't slice item of type {}", of.kind()))?;
    let from = bounds.first().map_or(Ok(0), |bound| position(bound, length + 1))?;
    let to = bounds.get(1).map_or(Ok(length), |bound| position(bound, length + 1))?;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match &of.to_json() {
        Value::Array(items) => Ok(Val::owned(items[from..to].to_vec())),
        Value::String(text) => {
            Ok(Val::owned(String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned()))
        }
        Value::Null => Ok(of.clone()),
        _ => Err(format!("can't slice item of type {}", of.kind())),
    }
}
