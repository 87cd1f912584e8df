//! HTTPS or HTTP? For registries that may be without TLS it is found out once, as Docker does.

use std::sync::{Arc, PoisonError};
use std::thread;

use ureq::http::StatusCode;

use super::Registry;
use super::error::Error;
use super::request::Request;
use super::retry::backoff;
use super::scope::Scope;
use super::transport::Trouble;
use super::url::Url;

impl Registry {
    /// Where the registry is, with the right scheme.
    pub(super) fn base(&self) -> Result<Url, Error> {
        let url = self.base.clone().map_err(|reason| Error::Settings {
            what: format!("address of registry {}", self.shown),
            reason,
        })?;
        let shared = &self.client.shared;
        if self.fixed || !shared.transport.insecure.covers(&url.origin) {
            return Ok(url);
        }
        let slot = {
            let mut schemes = shared.schemes.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(schemes.entry(self.name.clone()).or_default())
        };
        // Other threads wait here for the first one, so that a registry is asked once.
        let mut known = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let https = match *known {
            Some(https) => https,
            None => *known.insert(self.probe(&url)?),
        };
        if https { Ok(url) } else { plain(&url, &self.name).map_err(|it| self.protocol(&it)) }
    }

    /// Asks for `/v2/` with TLS, then without.
    fn probe(&self, url: &Url) -> Result<bool, Error> {
        let settings = &self.client.shared.settings;
        let plain = plain(url, &self.name).map_err(|reason| self.protocol(&reason))?;
        let ask = |url: &Url| {
            let about = self.about("pull", "");
            self.follow(&Request::get(url.below("/v2/"), Scope::default(), about), None)
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let secure = match ask(url) {
                Ok(_) => return Ok(true),
                Err(trouble) => trouble,
            };
            let trouble = match ask(&plain) {
                // Said by servers that want TLS.
                Ok(answer) if answer.status == StatusCode::BAD_REQUEST => secure,
                Ok(_) => return Ok(false),
                // What a server that speaks TLS says about our certificate is worth more than its silence here.
                Err(trouble) => match secure {
                    Trouble::Final(error) if !matches!(error, Error::PlainHttp { .. }) => {
                        Trouble::Final(error)
                    }
                    _ => trouble,
                },
            };
            let attempts = settings.attempts.max(1);
            match trouble {
                Trouble::Final(error) => return Err(error),
                Trouble::Absent(error) if tries >= attempts.min(2) => return Err(error),
                Trouble::Absent(_) => thread::sleep(settings.backoff),
                Trouble::Broken(reason) if tries >= attempts => {
                    let host = self.shown.clone();
                    return Err(Error::Interrupted { host, reason, attempts: tries });
                }
                Trouble::Broken(_) => thread::sleep(backoff(settings.backoff, tries)),
            }
        }
    }
}

/// The same registry without TLS: another default port.
fn plain(https: &Url, name: &str) -> Result<Url, String> {
    let url = Url::parse(&format!("http://{name}"))?;
    Ok(url.below(https.path.trim_end_matches('/')))
}
