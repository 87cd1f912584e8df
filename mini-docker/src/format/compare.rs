//! `eq ne lt le gt ge`, with Go's rules of what can be compared.

use std::cmp::Ordering;

use serde_json::Value;

use super::value::Val;

/// Two or more arguments; only `eq` has more, and is true if any of them is the first.
pub(super) fn compare(name: &str, arguments: &[Val<'_>]) -> Result<bool, String> {
    let [first, rest @ ..] = arguments else { return Ok(false) };
    match name {
        "eq" | "ne" => {
            let mut any = false;
            for other in rest {
                any |= equal(first, other)?;
            }
            Ok(any == (name == "eq"))
        }
        _ => {
            let [second, ..] = rest else { return Ok(false) };
            let order = order(first, second)?;
            Ok(match name {
                "lt" => order == Ordering::Less,
                "le" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            })
        }
    }
}

fn is_nil(value: &Val<'_>) -> bool {
    match value {
        Val::Json(json) => json.is_null(),
        _ => true,
    }
}

fn equal(a: &Val<'_>, b: &Val<'_>) -> Result<bool, String> {
    if is_nil(a) || is_nil(b) {
        return Ok(is_nil(a) && is_nil(b));
    }
    let (a_json, b_json) = (a.to_json(), b.to_json());
    match (&a_json, &b_json) {
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
            Err("non-comparable type: a list or map".to_owned())
        }
        (Value::Number(_), Value::Number(_)) => Ok(order(a, b)? == Ordering::Equal),
        _ if a.kind() == b.kind() => Ok(a_json == b_json),
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

fn order(a: &Val<'_>, b: &Val<'_>) -> Result<Ordering, String> {
    let incompatible = "incompatible types for comparison".to_owned();
    match (a.to_json(), b.to_json()) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(&b)),
        (Value::Number(a_number), Value::Number(b_number)) if a.kind() == b.kind() => {
            let whole = |number: &serde_json::Number| {
                number.as_i64().map(i128::from).or(number.as_u64().map(i128::from))
            };
            match (whole(&a_number), whole(&b_number)) {
                (Some(a), Some(b)) => Ok(a.cmp(&b)),
                _ => a_number
                    .as_f64()
                    .zip(b_number.as_f64())
                    .and_then(|(a, b)| a.partial_cmp(&b))
                    .ok_or(incompatible),
            }
        }
        (a, b) if super::value::kind(&a) == super::value::kind(&b) => {
            Err("invalid type for comparison".to_owned())
        }
        _ => Err(incompatible),
    }
}
