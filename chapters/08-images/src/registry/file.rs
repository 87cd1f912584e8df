//! A file from anywhere, by its URL: what `ADD https://...` of a build asks for. Connections, proxies, certificates and
//! patience are those of registries; nobody is told who we are.

use std::io::Read;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use ureq::http::header::{CONTENT_DISPOSITION, LAST_MODIFIED};

use super::Client;
use super::answer::About;
use super::error::Error;
use super::request::Request;
use super::scope::Scope;
use super::url::Url;
use crate::error::printable;

/// A file that is being downloaded.
pub struct RemoteFile {
    /// The name that the server gives it, if it does: one part of a path.
    pub name: Option<String>,
    /// When it was changed last, if the server says so.
    pub modified: Option<Timestamp>,
    /// Its bytes, as they are on the server. A connection that breaks is an error.
    pub body: Box<dyn Read + Send>,
}

impl Client {
    /// `GET`, with redirects and repetitions, but not from https to http.
    ///
    /// # Errors
    /// If it is no URL, cannot be reached, or is not there.
    pub fn download(&self, url: &str) -> Result<RemoteFile, Error> {
        let host = printable(url);
        let parsed = Url::parse(url)
            .map_err(|reason| Error::Protocol { host, reason: format!("the URL: {reason}") })?;
        let host = parsed.origin.authority();
        let shown = printable(url);
        let about = About {
            access: "download",
            what: shown.clone(),
            image: shown,
            host: host.clone(),
            login: String::new(),
        };
        let registry = self.registry(&host);
        let request = Request::get(parsed, Scope::default(), about);
        let answer = registry.exchange(&request, None)?;
        if answer.status.as_u16() != 200 {
            let (status, what) = (answer.status, request.about.what);
            return Err(Error::Protocol { host, reason: format!("{what}: {status}") });
        }
        let answer = answer.plain(&host)?;
        let name = answer.header(CONTENT_DISPOSITION.as_str()).and_then(file_name);
        let modified = answer.header(LAST_MODIFIED.as_str());
        let modified = modified.and_then(|text| rfc2822::parse(text).ok());
        let modified = modified.map(|time| time.timestamp());
        Ok(RemoteFile { name, modified, body: Box::new(answer.body.into_reader()) })
    }
}

/// `attachment; filename="a.tar"` (RFC 6266).
fn file_name(disposition: &str) -> Option<String> {
    let (_, value) = disposition
        .split(';')
        .filter_map(|part| part.trim().split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("filename"))?;
    let name = value.trim().trim_matches('"').rsplit(['/', '\\']).next()?;
    let usable = !matches!(name, "" | "." | "..") && !name.contains(char::is_control);
    usable.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn names_from_servers_are_one_part_of_a_path() {
        for (header, name) in [
            ("attachment; filename=\"a b.tar\"", Some("a b.tar")),
            ("attachment; FileName = x", Some("x")),
            ("attachment; filename=../../etc/passwd", Some("passwd")),
            ("attachment; filename=..", None),
            ("attachment; filename=\"\"", None),
            ("inline", None),
        ] {
            assert_eq!(file_name(header).as_deref(), name, "{header}");
        }
    }
}
