//! A registry's answer, and the words in one that says no.

use std::io::Read;

use serde_json::Value;
use ureq::Body;
use ureq::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use ureq::http::{HeaderMap, HeaderName, StatusCode};

use super::error::Error;
use super::retry::retry_after;
use super::url::Url;
use crate::error::printable;

/// An error that is longer is cut: no registry explains itself in so many words.
const MAX_EXCUSE: u64 = 64 << 10;

/// What a web page says.
const PAGE: &str = "a web page";

/// What a request is about, for the words of its failure.
#[derive(Debug, Clone)]
pub(super) struct About {
    /// `pull`, `push`, `catalog`.
    pub(super) access: &'static str,
    /// What is not there if the answer is 404: `manifest for localhost:5000/web:v1`.
    pub(super) what: String,
    /// What access is denied to: `localhost:5000/web`.
    pub(super) image: String,
    /// Who answers: `localhost:5000`.
    pub(super) host: String,
    /// How to log in there.
    pub(super) login: String,
}

/// An answer whose body was not read yet.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Where it came from, after redirects.
    pub(super) url: Url,
    /// How many times it was asked for.
    pub(super) tries: u32,
    pub(super) body: Body,
}

impl Answer {
    pub(super) fn header(&self, name: impl Into<Name>) -> Option<&str> {
        self.headers.get(&name.into().0)?.to_str().ok()
    }

    /// `Content-Type` without its parameters, lower case.
    pub(super) fn content_type(&self) -> String {
        let whole = self.header(CONTENT_TYPE).unwrap_or_default();
        whole.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Digests and ranges are of the bytes as they are, so a body that was packed for the way is useless. (ureq is built
    /// without decompression and says `Accept-Encoding: identity`.)
    pub(super) fn plain(self, host: &str) -> Result<Self, Error> {
        match self.header(CONTENT_ENCODING) {
            None | Some("" | "identity") => Ok(self),
            Some(other) => {
                let reason = format!("its answer is packed as {}, unasked", printable(other));
                Err(Error::Protocol { host: host.to_owned(), reason })
            }
        }
    }

    /// Turns an answer that is none into an error.
    pub(super) fn refusal(self, about: &About) -> Error {
        let (status, tries) = (self.status, self.tries);
        let wait = retry_after(&self.headers, jiff::Timestamp::now());
        let kind = self.content_type();
        let mut bytes = Vec::new();
        // What of it arrives is enough: the status alone is an answer.
        self.body.into_reader().take(MAX_EXCUSE).read_to_end(&mut bytes).ok();
        let Said { codes, text: said } = words(&kind, &bytes);
        let has = |wanted: &[&str]| codes.iter().any(|code| wanted.contains(&code.as_str()));
        let (host, login) = (about.host.clone(), about.login.clone());
        let page = codes.is_empty() && said == PAGE;
        match status.as_u16() {
            code if code == 429 || has(&["TOOMANYREQUESTS"]) => {
                Error::RateLimited { host, said, retry_after: wait, login }
            }
            408 | 500 | 502..=504 => {
                let reason = format!("it answered {}{}", phrase(status), after(&said));
                Error::Interrupted { host, reason, attempts: tries }
            }
            status if page => {
                let hint =
                    "(hint: is there a registry at this address, or does something else answer?)";
                Error::Refused { host, status, said: format!("{said} {hint}") }
            }
            code if matches!(code, 401 | 403) || has(&["DENIED", "UNAUTHORIZED"]) => {
                let (access, image) = (about.access, about.image.clone());
                Error::Denied { access, image, login, said }
            }
            405 => unsupported(about, &said),
            _ if has(&["UNSUPPORTED"]) => unsupported(about, &said),
            404 => Error::NotFound { what: about.what.clone(), said },
            code => Error::Refused { host, status: code, said },
        }
    }
}

/// A header's name, typed or as text.
pub(super) struct Name(HeaderName);

impl From<HeaderName> for Name {
    fn from(name: HeaderName) -> Self {
        Self(name)
    }
}

impl From<&'static str> for Name {
    fn from(name: &'static str) -> Self {
        Self(HeaderName::from_static(name))
    }
}

fn unsupported(about: &About, said: &str) -> Error {
    Error::Unsupported(format!("registry {} does not support this{}", about.host, after(said)))
}

fn after(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// `404 Not Found`.
pub(super) fn phrase(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// What an error answer says.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    /// `MANIFEST_UNKNOWN` and the like, upper case.
    codes: Vec<String>,
    /// One printable line.
    text: String,
}

/// Reads the body of an error: the list of the specification (`{"errors": [{"code", "message"}]}`), what token servers
/// and others say instead, a line of text, or a web page.
fn words(content_type: &str, body: &[u8]) -> Said {
    let text = String::from_utf8_lossy(body);
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        let string = |value: &Value, key: &str| value.get(key)?.as_str().map(str::to_owned);
        let mut codes = Vec::new();
        let mut lines: Vec<String> = Vec::new();
        for error in value.get("errors").and_then(Value::as_array).into_iter().flatten() {
            let code = string(error, "code").unwrap_or_default().to_ascii_uppercase();
            let message = string(error, "message").filter(|message| !message.is_empty());
            let line = message.unwrap_or_else(|| code.to_lowercase().replace('_', " "));
            if !line.is_empty() && !lines.contains(&line) {
                lines.push(line);
            }
            codes.push(code);
        }
        if lines.is_empty() {
            let keys = ["details", "error_description", "message", "detail", "error"];
            lines.extend(keys.iter().find_map(|key| string(&value, key)));
        }
        return Said { codes, text: line(&lines.join("; ")) };
    }
    if content_type == "text/html" || text.trim_start().starts_with('<') {
        return Said { codes: Vec::new(), text: PAGE.to_owned() };
    }
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    Said { codes: Vec::new(), text: line(first.unwrap_or_default()) }
}

fn line(text: &str) -> String {
    printable(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_registries_say() {
        for (body, codes, text) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#,
                &["MANIFEST_UNKNOWN"][..],
                "manifest unknown",
            ),
            (
                r#"{"errors":[{"code":"denied"},{"code":"X","message":"no\u001b[31m\nway"}]}"#,
                &["DENIED", "X"],
                "denied; no\\u{1b}[31m way",
            ),
            (
                r#"{"details":"incorrect username or password"}"#,
                &[],
                "incorrect username or password",
            ),
            (r#"{"error":"invalid_grant","error_description":"gone"}"#, &[], "gone"),
            (r#"{"errors":"x","message":7}"#, &[], ""),
            ("\n 404 page not found\nmore", &[], "404 page not found"),
            ("", &[], ""),
        ] {
            assert_eq!(
                words("application/json", body.as_bytes()),
                Said { codes: codes.iter().map(ToString::to_string).collect(), text: text.into() }
            );
        }
        assert_eq!(words("text/html", b"<h1>no").text, PAGE);
    }

    proptest! {
        #[test]
        fn any_error_is_one_printable_line(body in any::<Vec<u8>>(), text in any::<String>()) {
            for body in [body, text.clone().into_bytes(), serde_json::json!({"message": text}).to_string().into_bytes()] {
                let said = words("", &body);
                prop_assert!(!said.text.contains(char::is_control), "{:?}", said.text);
            }
        }
    }
}
