//! Where a request goes: scheme, host, port, path. Redirects and the addresses of uploads are relative to it.

use std::fmt;

use ureq::http::Uri;

/// Scheme, host and port: what credentials are bound to (RFC 6454).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) https: bool,
    /// Lower case; an IPv6 address in brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Origin {
    pub(super) fn default_port(&self) -> u16 {
        if self.https { 443 } else { 80 }
    }

    /// `host`, or `host:port` if the port is not the scheme's own.
    pub(super) fn authority(&self) -> String {
        if self.port == self.default_port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The host without the brackets of an IPv6 address.
    pub(super) fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// An `http` or `https` URL without user and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) origin: Origin,
    /// Path and query; begins with `/`.
    pub(super) path: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.origin.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.origin.authority(), self.path)
    }
}

impl Url {
    /// Reads an absolute URL.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refuse = |why: &str| format!("`{}` {why}", crate::error::printable(text));
        let plain = tidy(text.split('#').next().unwrap_or_default());
        let uri: Uri = plain.parse().map_err(|_| refuse("is no URL"))?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refuse("is no URL that begins with https:// or http://")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(format!(
                "the URL of host {} holds a user or password",
                crate::error::printable(authority.host())
            ));
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err(refuse("names no host"));
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str().len() > authority.host().len() => {
                return Err(refuse("has a port that is no number"));
            }
            None if https => 443,
            None => 80,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { origin: Origin { https, host, port }, path })
    }

    /// What a `Location` or `Link` means that was found at this URL (RFC 3986, section 5).
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub(super) fn join(&self, location: &str) -> Result<Self, String> {
        let scheme = if self.origin.https { "https" } else { "http" };
        let before_path = location.split(['/', '?', '#']).next().unwrap_or_default();
        if before_path.contains(':') {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let path = self.path.split('?').next().unwrap_or("/");
        let path = match location.as_bytes().first() {
            Some(b'/') => location.to_owned(),
            Some(b'?') => format!("{path}{location}"),
            Some(b'#') | None => self.path.clone(),
            Some(_) => {
                let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
                format!("{folder}{location}")
            }
        };
        let path = tidy(path.split('#').next().unwrap_or_default());
        Ok(Self { origin: self.origin.clone(), path })
    }

    /// The same place with another path, below the path of this one.
    pub(super) fn below(&self, path: &str) -> Self {
        let path = format!("{}{path}", self.path.trim_end_matches('/'));
        Self { origin: self.origin.clone(), path }
    }

    /// With one more parameter in the query.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path += &format!("{name}={}", encode(value));
        self
    }
}

/// Percent-encodes what may not stand in a URL at all; what is encoded already stays.
fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    for byte in text.trim().bytes() {
        match byte {
            b'!'..=b'~' if !b"\"<>\\^`{|}".contains(&byte) => tidy.push(char::from(byte)),
            _ => tidy += &format!("%{byte:02X}"),
        }
    }
    tidy
}

/// Percent-encodes a value for a query or a form (RFC 3986: all but unreserved characters).
pub(super) fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn locations() {
        let base = Url::parse("https://R.example:5000/v2/a/blobs/uploads/?x=1").unwrap();
        assert_eq!(base.to_string(), "https://r.example:5000/v2/a/blobs/uploads/?x=1");
        for (location, expected) in [
            ("/v2/b?s=%2F#f", "https://r.example:5000/v2/b?s=%2F"),
            ("uuid?_state=a b", "https://r.example:5000/v2/a/blobs/uploads/uuid?_state=a%20b"),
            ("?y", "https://r.example:5000/v2/a/blobs/uploads/?y"),
            ("", "https://r.example:5000/v2/a/blobs/uploads/?x=1"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("http://cdn.example:80/x?u=http://y", "http://cdn.example/x?u=http://y"),
            ("https://[2001:db8::1]:443/", "https://[2001:db8::1]/"),
            ("https://cdn.example", "https://cdn.example/"),
            ("https://cdn.example?q", "https://cdn.example/?q"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), expected, "{location}");
        }
        for wrong in
            ["ftp://x/", "https://", "file:///etc/passwd", "https://u:p@x/", "https://x:y/"]
        {
            let error = base.join(wrong).unwrap_err();
            assert!(!error.contains("u:p"), "{error}");
        }
    }

    #[test]
    fn queries() {
        let url = Url::parse("http://h/t").unwrap().with("scope", "repository:a/b:pull,push");
        assert_eq!(
            url.with("a", "ü&").to_string(),
            "http://h/t?scope=repository%3Aa%2Fb%3Apull%2Cpush&a=%C3%BC%26"
        );
    }

    proptest! {
        #[test]
        fn any_location_is_answered(text in any::<String>()) {
            let base = Url::parse("https://h/a").unwrap();
            if let Ok(url) = base.join(&text) {
                // Whatever a registry says, it makes a request line of one line.
                prop_assert!(url.path.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(Url::parse(&url.to_string()), Ok(url));
            }
        }
    }
}
