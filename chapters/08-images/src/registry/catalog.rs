//! Lists: tags, repositories, search.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use ureq::http::header::LINK;

use super::answer::About;
use super::error::Error;
use super::request::Request;
use super::scope::Scope;
use super::url::{Origin, Url};
use super::{Found, HUB, Registry};
use crate::error::printable;

const PAGE: &str = "1000";
/// More pages are taken for a registry that goes round in circles.
const MAX_PAGES: usize = 1_000;
/// Names that are kept in memory at once.
const MAX_NAMES: usize = 200_000;

impl Registry {
    /// All tags of a repository (`GET /v2/<repository>/tags/list`, page by page), in the registry's order.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such repository.
    pub fn tags(&self, repository: &str) -> Result<Vec<String>, Error> {
        let url = self.base()?.below(&format!("/v2/{repository}/tags/list"));
        self.pages(url, Scope::pull(repository), self.about("pull", repository), "tags")
    }

    /// All repositories (`GET /v2/_catalog`, page by page).
    ///
    /// # Errors
    /// Many registries have no catalog, or not for everybody.
    pub fn catalog(&self) -> Result<Vec<String>, Error> {
        let mut about = self.about("catalog", "");
        about.what = format!("catalog of registry {}", self.host());
        let url = self.base()?.below("/v2/_catalog");
        self.pages(url, Scope::catalog(), about, "repositories")
    }

    fn pages(&self, url: Url, scope: Scope, about: About, key: &str) -> Result<Vec<String>, Error> {
        let origin = url.origin.clone();
        let mut next = Some(url.with("n", PAGE));
        let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
        while let Some(url) = next.take() {
            if seen.len() >= MAX_PAGES || !seen.insert(url.to_string()) {
                return Err(self.protocol("its list has no end"));
            }
            let request = Request::get(url, scope.clone(), about.clone());
            let (value, link) = self.json(&request)?;
            // A repository without tags has null for a list.
            let page = value.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            names.extend(page.iter().filter_map(Value::as_str).map(printable));
            if names.len() > MAX_NAMES {
                return Err(self.protocol(&format!("its list has more than {MAX_NAMES} names")));
            }
            next = link.map(|link| self.same_origin(&origin, link)).transpose()?;
        }
        Ok(names)
    }

    fn same_origin(&self, origin: &Origin, link: Url) -> Result<Url, Error> {
        if link.origin == *origin {
            return Ok(link);
        }
        let to = link.origin.authority();
        Err(self.protocol(&format!("its list goes on at {to}, which is another server")))
    }

    /// A JSON document, and where its list goes on.
    fn json(&self, request: &Request<'_>) -> Result<(Value, Option<Url>), Error> {
        let mut tries = 0;
        loop {
            let answer = self.expect(request, &[200])?.plain(&request.about.host)?;
            let link = answer.header(LINK).and_then(next_link).map(str::to_owned);
            let link = link.map(|link| answer.url.join(&link)).transpose();
            let link = link.map_err(|reason| self.protocol(&format!("its list: {reason}")))?;
            match self.body(answer, &request.about.what)? {
                Ok(bytes) => {
                    let value = serde_json::from_slice(&bytes);
                    let value = value.map_err(|_| self.protocol("its list is no JSON document"))?;
                    return Ok((value, link));
                }
                Err(reason) => {
                    tries += 1;
                    self.pause(tries, reason)?;
                }
            }
        }
    }

    /// `GET /v1/search` of Docker Hub's index, and of registries that have it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the registry has no search.
    pub fn search(&self, term: &str, limit: u32) -> Result<Vec<Found>, Error> {
        let base = match self.name.as_str() {
            HUB => Url::parse("https://index.docker.io").map_err(|it| self.protocol(&it))?,
            _ => self.base()?,
        };
        let url = base.below("/v1/search").with("q", term).with("n", &limit.to_string());
        let request = Request::get(url, Scope::default(), self.about("search", ""));
        let (value, _) = match self.json(&request) {
            Err(Error::NotFound { .. } | Error::Refused { status: 404, .. }) => {
                return Err(Error::Unsupported(format!(
                    "registry {} has no search (hint: Docker Hub has one)",
                    self.host()
                )));
            }
            other => other?,
        };
        let results = value.get("results").cloned().unwrap_or_default();
        let mut found: Vec<Found> = serde_json::from_value(results)
            .map_err(|_| self.protocol("its search results are not what they should be"))?;
        for one in &mut found {
            one.name = printable(&one.name);
            one.description = printable(&one.description);
        }
        Ok(found)
    }
}

/// Accepts null where a value is missing.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The target with `rel="next"` of a `Link` header (RFC 8288).
fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, behind)) = rest.split_once('<') {
        let (target, behind) = behind.split_once('>')?;
        // Parameters go on to the comma before the next target.
        let (parameters, next) = match behind.find(",").filter(|at| behind[*at..].contains('<')) {
            Some(at) => behind.split_at(at),
            None => (behind, ""),
        };
        let is_next = parameters.split(';').any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return false };
            let value = value.trim().trim_matches('"').to_ascii_lowercase();
            name.trim().eq_ignore_ascii_case("rel") && value.split(' ').any(|one| one == "next")
        });
        if is_next {
            return Some(target);
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn links() {
        for (header, target) in [
            (r#"</v2/_catalog?last=b&n=2>; rel="next""#, Some("/v2/_catalog?last=b&n=2")),
            ("<x>; title=y; REL=next", Some("x")),
            (r#"<a,b>; rel="prev", <c>; rel="last next""#, Some("c")),
            (r#"<a>; rel="prev""#, None),
            ("<a>", None),
            ("<a; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_link(header), target, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_link_is_answered(text in "[<>;,=\"a rel=next]{0,40}|\\PC*") {
            next_link(&text);
        }
    }
}
