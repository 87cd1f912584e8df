//! `login`: is a credential right, and is there something better to keep than a password?

use ureq::http::header::WWW_AUTHENTICATE;

use super::auth::{Authorization, token};
use super::challenge;
use super::error::Error;
use super::request::Request;
use super::scope::Scope;
use super::{Credential, Registry};

impl Registry {
    /// Whether a credential is right; the identity token, if the token server gives one for it.
    ///
    /// A registry that asks nobody who they are lets everybody log in, as with Docker.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] if it is wrong.
    pub fn login(&self, credential: &Credential) -> Result<Option<String>, Error> {
        let about = self.about("login", "");
        let request = Request::get(self.base()?.below("/v2/"), Scope::default(), about.clone());
        let answer = self.exchange(&request, None)?;
        if answer.status.is_success() {
            return Ok(None);
        }
        let challenges = answer.headers.get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<_> =
            challenges.filter_map(|it| it.to_str().ok()).flat_map(challenge::parse).collect();
        let challenge = match self.learn(challenges) {
            Some(challenge) if answer.status == 401 => challenge,
            _ => return Err(answer.refusal(&about)),
        };
        let (authorization, identity) = match (challenge.scheme.as_str(), credential) {
            ("basic", Credential::Password { username, password }) => {
                (Authorization::basic(username, password), None)
            }
            ("basic", Credential::IdentityToken(_)) => {
                return Err(
                    self.unauthorized("it wants a user and password, not an identity token")
                );
            }
            _ => {
                let scope = Scope::default().and(challenge.get("scope").unwrap_or_default());
                let given = self.ask(&challenge, &scope, Some(credential), &about, true).map_err(
                    |error| match error {
                        Error::Denied { .. } => self.wrong_credentials(error),
                        other => other,
                    },
                )?;
                let token =
                    token(&given).ok_or_else(|| self.protocol("its token server gave no token"))?;
                let key = (self.name.clone(), String::new(), String::new(), scope);
                (Authorization::Bearer(key, token), given.refresh_token)
            }
        };
        let answer = self.exchange(&request, Some(&authorization))?;
        match answer.status.as_u16() {
            200..300 => Ok(identity.filter(|token| !token.is_empty())),
            401 | 403 => Err(self.wrong_credentials(answer.refusal(&about))),
            _ => Err(answer.refusal(&about)),
        }
    }
}
