//! `printf`: the verbs of Go's `fmt` that make sense for JSON values.

use serde_json::Value;

use super::value::{self, Val};

/// Wider than this is no width any more, as in Go.
const MAX_WIDTH: usize = 1_000_000;

#[derive(Debug, Default, Clone)]
struct Flags {
    minus: bool,
    plus: bool,
    zero: bool,
    space: bool,
    sharp: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Formats as Go's `fmt.Sprintf`. What does not fit is said in the text, as Go does: `%!d(string=x)`.
pub(super) fn printf(format: &str, arguments: &[Val<'_>]) -> String {
    let mut out = String::new();
    let mut next = 0;
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut flags = Flags::default();
        while let Some(c) = chars.peek() {
            match c {
                '-' => flags.minus = true,
                '+' => flags.plus = true,
                '0' => flags.zero = true,
                ' ' => flags.space = true,
                '#' => flags.sharp = true,
                _ => break,
            }
            chars.next();
        }
        let mut number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            if chars.next_if_eq(&'*').is_some() {
                let argument = arguments.get(next).map(Val::to_json);
                next += 1;
                return argument.and_then(|value| value.as_i64());
            }
            let mut number = None;
            while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                chars.next();
                number = Some((number.unwrap_or(0) * 10 + i64::from(digit)).min(1 << 40));
            }
            number
        };
        if let Some(width) = number(&mut chars) {
            flags.minus |= width < 0;
            flags.width = usize::try_from(width.unsigned_abs()).ok().filter(|w| *w <= MAX_WIDTH);
        }
        if chars.next_if_eq(&'.').is_some() {
            let precision = number(&mut chars).unwrap_or(0);
            flags.precision = usize::try_from(precision).ok().filter(|p| *p <= MAX_WIDTH);
        }
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        match arguments.get(next) {
            None => out.push_str(&format!("%!{verb}(MISSING)")),
            Some(argument) => out.push_str(&one(&flags, verb, argument)),
        }
        next += 1;
    }
    if let Some(extra) = arguments.get(next..).filter(|extra| !extra.is_empty()) {
        let extra: Vec<String> =
            extra.iter().map(|value| format!("{}={}", value.kind(), value.print())).collect();
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn one(flags: &Flags, verb: char, argument: &Val<'_>) -> String {
    match argument {
        Val::Json(json) => formatted(flags, verb, json),
        other => pad(flags, other.print()),
    }
}

fn formatted(flags: &Flags, verb: char, json: &Value) -> String {
    let bad = || format!("%!{verb}({}={})", value::kind(json), value::print(json));
    match (verb, json) {
        ('v', Value::String(text)) if flags.sharp => pad(flags, quote(text)),
        // Each element for itself, as in Go.
        (_, Value::Array(items)) => {
            let items: Vec<String> =
                items.iter().map(|item| formatted(flags, verb, item)).collect();
            format!("[{}]", items.join(" "))
        }
        (_, Value::Object(map)) => {
            let plain = Flags::default();
            let items: Vec<String> = value::sorted(map)
                .map(|(key, item)| format!("{key}:{}", formatted(&plain, verb, item)))
                .collect();
            format!("map[{}]", items.join(" "))
        }
        ('v', Value::Number(number)) => formatted(flags, verb_of(number), json),
        ('v', _) | ('s', Value::String(_)) | ('t', Value::Bool(_)) => {
            let text = value::print(json);
            let cut = flags.precision.filter(|_| json.is_string());
            pad(flags, cut.map_or(text.clone(), |most| text.chars().take(most).collect()))
        }
        ('q', Value::String(text)) => pad(flags, quote(text)),
        ('x' | 'X', Value::String(text)) => {
            let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            pad(flags, if verb == 'X' { hex.to_uppercase() } else { hex })
        }
        ('d' | 'x' | 'X' | 'o' | 'O' | 'b' | 'c' | 'U' | 'q', Value::Number(number)) => {
            match number.as_i64().map(i128::from).or(number.as_u64().map(i128::from)) {
                Some(whole) if !number.is_f64() => integer(flags, verb, whole),
                _ => bad(),
            }
        }
        ('f' | 'F' | 'e' | 'E' | 'g' | 'G', Value::Number(number)) if number.is_f64() => {
            float(flags, verb, number.as_f64().unwrap_or_default())
        }
        ('T', _) => pad(flags, value::kind(json).to_owned()),
        _ => bad(),
    }
}

fn verb_of(number: &serde_json::Number) -> char {
    if number.is_f64() { 'g' } else { 'd' }
}

fn integer(flags: &Flags, verb: char, whole: i128) -> String {
    let as_char = || u32::try_from(whole).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
    let size = whole.unsigned_abs();
    let digits = match verb {
        'c' => return pad(flags, as_char().to_string()),
        'q' => return pad(flags, format!("'{}'", as_char().escape_default())),
        'U' => return pad(flags, format!("U+{size:04X}")),
        'x' => format!("{}{size:x}", if flags.sharp { "0x" } else { "" }),
        'X' => format!("{}{size:X}", if flags.sharp { "0X" } else { "" }),
        'o' => format!("{}{size:o}", if flags.sharp { "0" } else { "" }),
        'O' => format!("0o{size:o}"),
        'b' => format!("{size:b}"),
        _ => size.to_string(),
    };
    let least = flags.precision.unwrap_or(0);
    let digits = format!("{}{digits}", "0".repeat(least.saturating_sub(digits.len())));
    signed(flags, whole < 0, digits, flags.precision.is_none())
}

fn float(flags: &Flags, verb: char, float: f64) -> String {
    let size = float.abs();
    let precision = flags.precision;
    let digits = match verb {
        'f' | 'F' => format!("{size:.*}", precision.unwrap_or(6)),
        'e' | 'E' => exponent(&format!("{size:.*e}", precision.unwrap_or(6))),
        _ => match precision {
            None => value::print_float(size),
            Some(most) => significant(size, most.max(1)),
        },
    };
    let digits = if verb.is_ascii_uppercase() { digits.to_uppercase() } else { digits };
    signed(flags, float.is_sign_negative(), digits, true)
}

/// `%.3g`: so many significant digits, no zeros at the end.
fn significant(size: f64, digits: usize) -> String {
    let scientific = format!("{size:.*e}", digits - 1);
    let power: i64 =
        scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or_default();
    let strip = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let most = i64::try_from(digits).unwrap_or(i64::MAX);
    if power < -4 || power >= most {
        let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return exponent(&format!("{}e{power}", strip(mantissa)));
    }
    let decimals = usize::try_from(most - 1 - power).unwrap_or_default();
    strip(&format!("{size:.decimals$}"))
}

/// Rust's `1e5` in C's form, `1e+05`.
fn exponent(text: &str) -> String {
    let (mantissa, power) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, power) = power.strip_prefix('-').map_or(('+', power), |power| ('-', power));
    format!("{mantissa}e{sign}{power:0>2}")
}

fn signed(flags: &Flags, negative: bool, digits: String, zeros: bool) -> String {
    let sign = match (negative, flags.plus, flags.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    if flags.zero && zeros && !flags.minus {
        let width = flags.width.unwrap_or(0).saturating_sub(sign.len());
        return format!("{sign}{digits:0>width$}");
    }
    pad(flags, format!("{sign}{digits}"))
}

fn pad(flags: &Flags, text: String) -> String {
    let missing = flags.width.unwrap_or(0).saturating_sub(text.chars().count());
    match (flags.minus, flags.zero) {
        _ if missing == 0 => text,
        (true, _) => text + &" ".repeat(missing),
        (false, true) => "0".repeat(missing) + &text,
        (false, false) => " ".repeat(missing) + &text,
    }
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() && u32::from(c) < 0x80 => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
