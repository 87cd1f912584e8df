//! Instructions that change an image's config without a build: `--change 'CMD ["sh"]'` of `import` and `commit`.
//!
//! The grammar is that of the Dockerfile, for the instructions that only change the config. Variables are not
//! expanded here.

use std::str::FromStr;

use nix::sys::signal::Signal;
use serde_json::{Map, Value, json};

use crate::error::Error;

const KNOWN: &str =
    "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR are known";

/// Applies instructions to the `config` object of an image's config, in order. Fields that are not changed stay.
///
/// # Errors
/// [`Error::Change`] with the instruction and what is wrong with it.
pub fn apply(config: &mut Map<String, Value>, changes: &[String]) -> Result<(), Error> {
    let mut cmd_given = false;
    for change in changes {
        let text = change.trim();
        let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let keyword = keyword.to_ascii_uppercase();
        one(config, &keyword, rest.trim(), &mut cmd_given).map_err(|reason| Error::Change {
            instruction: change.chars().take(200).collect(),
            reason,
        })?;
    }
    Ok(())
}

fn one(
    config: &mut Map<String, Value>,
    keyword: &str,
    rest: &str,
    cmd_given: &mut bool,
) -> Result<(), String> {
    if rest.is_empty() {
        let known = KNOWN.split([',', ' ']).any(|word| word == keyword);
        return Err(if known { "it needs a value".to_owned() } else { KNOWN.to_owned() });
    }
    match keyword {
        "CMD" => {
            *cmd_given = true;
            config.insert("Cmd".into(), command(rest).into());
        }
        "ENTRYPOINT" => {
            config.insert("Entrypoint".into(), command(rest).into());
            // A command of the base image was meant for the old entry point.
            if !*cmd_given {
                config.shift_remove("Cmd");
            }
        }
        "ENV" => {
            for (key, value) in pairs(rest)? {
                set_env(config, &key, &value);
            }
        }
        "LABEL" => {
            let labels = object(config, "Labels");
            for (key, value) in pairs(rest)? {
                labels.insert(key, value.into());
            }
        }
        "EXPOSE" => {
            let ports =
                words(rest)?.iter().map(|word| ports(word)).collect::<Result<Vec<_>, _>>()?;
            let exposed = object(config, "ExposedPorts");
            exposed.extend(ports.concat().into_iter().map(|port| (port, json!({}))));
            exposed.sort_keys();
        }
        "VOLUME" => {
            let paths = match exec_form(rest) {
                Some(paths) => paths,
                None => words(rest)?,
            };
            if paths.iter().any(String::is_empty) {
                return Err("a path is empty".to_owned());
            }
            let volumes = object(config, "Volumes");
            volumes.extend(paths.into_iter().map(|path| (path, json!({}))));
            volumes.sort_keys();
        }
        "USER" => drop(config.insert("User".into(), single(rest)?.into())),
        "WORKDIR" => {
            let before = config.get("WorkingDir").and_then(Value::as_str).unwrap_or("/");
            let path = join(before, &single(rest)?);
            config.insert("WorkingDir".into(), path.into());
        }
        "STOPSIGNAL" => drop(config.insert("StopSignal".into(), signal(rest)?.into())),
        _ => return Err(KNOWN.to_owned()),
    }
    Ok(())
}

/// `["program", "argument"]`, or a line for the shell.
fn command(rest: &str) -> Vec<String> {
    exec_form(rest).unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), rest.to_owned()])
}

/// The JSON form. Anything else that begins with a bracket is a line for the shell, as in Docker.
fn exec_form(rest: &str) -> Option<Vec<String>> {
    if rest.starts_with('[') { serde_json::from_str(rest).ok() } else { None }
}

fn object<'c>(config: &'c mut Map<String, Value>, key: &str) -> &'c mut Map<String, Value> {
    let value = config.entry(key).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("it was made an object above"),
    }
}

fn set_env(config: &mut Map<String, Value>, key: &str, value: &str) {
    let line = Value::from(format!("{key}={value}"));
    let env = config.entry("Env").or_insert_with(|| json!([]));
    let Value::Array(lines) = env else {
        *env = json!([line]);
        return;
    };
    let same =
        |old: &Value| old.as_str().and_then(|old| old.split_once('=')).map(|o| o.0) == Some(key);
    match lines.iter_mut().find(|old| same(old)) {
        Some(old) => *old = line,
        None => lines.push(line),
    }
}

/// `key=value key="a b"`, or the old form `key all the rest`.
fn pairs(rest: &str) -> Result<Vec<(String, String)>, String> {
    let words = words(rest)?;
    if !words.first().is_some_and(|word| word.contains('=')) {
        let (key, value) =
            rest.split_once(char::is_whitespace).ok_or("expected key=value".to_owned())?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) | None => Err(format!("`{word}` is not key=value")),
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        })
        .collect()
}

/// Words with shell quotes: `'as it is'`, `"with \" escapes"`, `\ ` for one character.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => {
                let escaped = chars.next().ok_or("it ends in a backslash".to_owned())?;
                let word = word.get_or_insert_default();
                // Within double quotes a backslash only escapes what means something there.
                if quote.is_some() && !matches!(escaped, '"' | '\\' | '$') {
                    word.push('\\');
                }
                word.push(escaped);
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(quote) = quote {
        return Err(format!("the quote {quote} is not closed"));
    }
    words.extend(word);
    Ok(words)
}

fn single(rest: &str) -> Result<String, String> {
    match words(rest)?.as_slice() {
        [word] if !word.is_empty() => Ok(word.clone()),
        _ => Err("expected one value".to_owned()),
    }
}

/// `80`, `53/udp`, `8000-8010`.
fn ports(word: &str) -> Result<Vec<String>, String> {
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("`{word}`: the protocol is none of tcp, udp, sctp"));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => {
            Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
        }
        _ => Err(format!("`{word}` is no port and no range of ports")),
    }
}

/// A relative folder continues the one before it.
fn join(before: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{before}/{path}") };
    let mut parts = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// A number, `SIGTERM`, `TERM`, or `SIGRTMIN+3`.
fn signal(rest: &str) -> Result<String, String> {
    let text = single(rest)?;
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = || {
        let offset = name.strip_prefix("RTMIN+").or_else(|| name.strip_prefix("RTMAX-"))?;
        offset.parse::<u8>().ok().filter(|offset| *offset <= 30)
    };
    let known = matches!(text.parse::<u8>(), Ok(1..=64))
        || Signal::from_str(&format!("SIG{name}")).is_ok()
        || matches!(name, "RTMIN" | "RTMAX")
        || real_time().is_some();
    if known { Ok(text) } else { Err(format!("there is no signal `{text}`")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(base: Value, changes: &[&str]) -> Result<Value, Error> {
        let Value::Object(mut config) = base else { panic!("an object") };
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        apply(&mut config, &changes)?;
        Ok(Value::Object(config))
    }

    #[test]
    fn instructions() {
        for (changes, expected) in [
            (&["CMD [\"sh\", \"-l\"]"][..], json!({"Cmd": ["sh", "-l"]})),
            (&["cmd echo  $HOME"], json!({"Cmd": ["/bin/sh", "-c", "echo  $HOME"]})),
            (&["CMD [not json"], json!({"Cmd": ["/bin/sh", "-c", "[not json"]})),
            (&["ENTRYPOINT [\"/i\"]"], json!({"Entrypoint": ["/i"]})),
            (
                &["CMD [\"a\"]", "ENTRYPOINT b"],
                json!({"Cmd": ["a"], "Entrypoint": ["/bin/sh", "-c", "b"]}),
            ),
            (
                &["ENV A=1 B='x y' C=\"q\\\"\\n\" D=a\\ b"],
                json!({"Env": ["A=1", "B=x y", "C=q\"\\n", "D=a b"]}),
            ),
            (&["ENV A all the rest", "ENV A=2"], json!({"Env": ["A=2"]})),
            (&["LABEL a.b=\"1 2\" c="], json!({"Labels": {"a.b": "1 2", "c": ""}})),
            (
                &["EXPOSE 80 53/UDP 9-11"],
                json!({"ExposedPorts":
             {"10/tcp": {}, "11/tcp": {}, "53/udp": {}, "80/tcp": {}, "9/tcp": {}}}),
            ),
            (
                &["VOLUME /b /a", "VOLUME [\"/c d\"]"],
                json!({"Volumes": {"/a": {}, "/b": {}, "/c d": {}}}),
            ),
            (&["USER nobody:nogroup"], json!({"User": "nobody:nogroup"})),
            (&["WORKDIR /a/./b", "WORKDIR ../c"], json!({"WorkingDir": "/a/c"})),
            (&["STOPSIGNAL SIGRTMIN+3"], json!({"StopSignal": "SIGRTMIN+3"})),
            (&["STOPSIGNAL 9"], json!({"StopSignal": "9"})),
        ] {
            assert_eq!(applied(json!({}), changes).unwrap(), expected, "{changes:?}");
        }
    }

    #[test]
    fn a_base_is_changed_and_the_rest_of_it_stays() {
        let base =
            json!({"Cmd": ["old"], "Env": ["PATH=/bin", "A=0"], "Healthcheck": {"Test": []}});
        let changed = applied(base, &["ENTRYPOINT [\"/i\"]", "ENV A=1"]).unwrap();
        let expected =
            json!({"Env": ["PATH=/bin", "A=1"], "Healthcheck": {"Test": []}, "Entrypoint": ["/i"]});
        assert_eq!(changed, expected);
    }

    #[test]
    fn mistakes() {
        let mut lines = String::new();
        for change in [
            "",
            "CMD",
            "RUN rm -rf /",
            "ENV novalue",
            "ENV A=1 B",
            "ENV =x",
            "ENV A='x",
            "LABEL a=1 \\",
            "EXPOSE 0",
            "EXPOSE 70000",
            "EXPOSE 9-8",
            "EXPOSE 80/icmp",
            "USER a b",
            "WORKDIR \"\"",
            "STOPSIGNAL SIGNOPE",
            "STOPSIGNAL 65",
            "VOLUME [\"\"]",
        ] {
            lines += &format!("{}\n", applied(json!({}), &[change]).unwrap_err());
        }
        insta::assert_snapshot!(lines);
    }
}
