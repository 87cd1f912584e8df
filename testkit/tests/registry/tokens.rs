//! Token servers, with docker-registry as judge of the tokens.

use serde_json::Value;
use testkit::registry::{
    Compression, Layout, Options, Registry, TokenField, TokenOptions, TokenServer,
};
use testkit::{Outcome, Sandbox};

use crate::{curl, expect, status};

const PULL: &str = "scope=repository:library/open:pull";
const SERVICE: &str = "service=testkit registry";

fn get(tokens: &TokenServer, args: &[&str]) -> Result<Value, Box<dyn std::error::Error>> {
    let realm = tokens.realm();
    let (body, _) = curl(&[&["--get", "--data-urlencode", SERVICE], args, &[&realm]].concat())?;
    Ok(serde_json::from_slice(&body)?)
}

fn post(tokens: &TokenServer, args: &[&str]) -> Result<Value, Box<dyn std::error::Error>> {
    let realm = tokens.realm();
    let mut all = vec!["--data-urlencode", SERVICE, "--data", "client_id=test"];
    for arg in args {
        all.extend(["--data-urlencode", arg]);
    }
    let (body, _) = curl(&[&all[..], &[&realm]].concat())?;
    Ok(serde_json::from_slice(&body)?)
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_default()
}

fn with_token(url: &str, token: &str) -> Result<String, Box<dyn std::error::Error>> {
    let oci = "Accept: application/vnd.oci.image.manifest.v1+json";
    status(&["--header", &format!("Authorization: Bearer {token}"), "--header", oci, url])
}

pub(crate) fn users_and_anonymous(sandbox: &Sandbox) -> Outcome {
    let users = &[("alice", "secret"), ("bob", "hidden")];
    let anonymous_pull = &["library/open"];
    let options = TokenOptions { users, anonymous_pull, ..TokenOptions::default() };
    let tokens = TokenServer::start(sandbox, options)?;
    let token = Some(&tokens);
    let registry = Registry::start(sandbox, Options { token, ..Options::default() })?;

    // skopeo asks for the tokens itself.
    let layout = Layout::random(sandbox, "image", 1, 1000, Compression::Gzip)?;
    for name in ["library/open:1", "alice/closed:1"] {
        registry.push_layout(&layout.path, "latest", name, &[])?;
    }
    let first = &tokens.requests()[0];
    assert_eq!((first.user.as_deref(), first.status), (Some("alice"), 200));
    assert_eq!(first.scopes(), ["repository:library/open:pull,push"]);
    tokens.reset();

    let open = format!("{}/v2/library/open/manifests/1", registry.url());
    let closed = format!("{}/v2/alice/closed/manifests/1", registry.url());
    let (head, _) = curl(&["--include", &open])?;
    let challenge = format!("Bearer realm=\"{}\",service=\"testkit registry\"", tokens.realm());
    expect(String::from_utf8(head)?.contains(&challenge), "the registry names the token server")?;

    // Both repositories in one token: anonymous gets what is open.
    let both = "scope=repository:alice/closed:pull,push";
    let answer = get(&tokens, &["--data-urlencode", PULL, "--data-urlencode", both])?;
    assert_eq!(answer["expires_in"], 300);
    assert_eq!(answer["token"], answer["access_token"]);
    let anonymous = text(&answer, "token");
    assert_eq!(with_token(&open, anonymous)?, "200");
    assert_eq!(with_token(&closed, anonymous)?, "401");
    assert_eq!(with_token(&open, &anonymous.replace('.', "x."))?, "401");
    let request = &tokens.requests()[0];
    assert_eq!(request.scopes().len(), 2);
    assert_eq!((request.user.as_deref(), &request.authorization), (Some(""), &None));

    let user = ["--user", "bob:hidden", "--data-urlencode", both];
    let answer = get(&tokens, &user)?;
    assert_eq!(with_token(&closed, text(&answer, "token"))?, "200");
    let answer = get(&tokens, &["--user", "bob:wrong", "--data-urlencode", both])?;
    assert_eq!(answer["errors"][0]["code"], "UNAUTHORIZED");
    assert_eq!(tokens.requests().last().unwrap().status, 401);
    assert_eq!(tokens.requests().last().unwrap().user, None);
    Ok(())
}

pub(crate) fn refresh_tokens(sandbox: &Sandbox) -> Outcome {
    let users = &[("alice", "secret")];
    let tokens = TokenServer::start(sandbox, TokenOptions { users, ..TokenOptions::default() })?;
    let token = Some(&tokens);
    let registry = Registry::start(sandbox, Options { token, ..Options::default() })?;
    let catalog = format!("{}/v2/_catalog", registry.url());

    let password = ["grant_type=password", "username=alice", "password=secret"];
    let plain = post(&tokens, &password)?;
    assert_eq!(plain.get("refresh_token"), None);
    let wrong = post(&tokens, &["grant_type=password", "username=alice", "password=x"])?;
    assert_eq!(wrong["errors"][0]["code"], "UNAUTHORIZED");
    let offline = post(&tokens, &[&password[..], &["access_type=offline"]].concat())?;
    let by_get = get(&tokens, &["--user", "alice:secret", "--data", "offline_token=true"])?;

    let made = tokens.identity_token("alice")?;
    for refresh in [text(&offline, "refresh_token"), text(&by_get, "refresh_token"), &made] {
        let refresh = format!("refresh_token={refresh}");
        let scope = "scope=registry:catalog:*";
        let answer = post(&tokens, &["grant_type=refresh_token", &refresh, scope])?;
        assert_eq!(answer.get("token"), None, "OAuth2 has access_token");
        assert_eq!(text(&answer, "scope"), "registry:catalog:*");
        assert_eq!(with_token(&catalog, text(&answer, "access_token"))?, "200");
    }
    tokens.revoke();
    let refresh = format!("refresh_token={made}");
    let answer = post(&tokens, &["grant_type=refresh_token", &refresh])?;
    assert_eq!(answer["errors"][0]["message"], "unknown refresh token");
    Ok(())
}

pub(crate) fn variants(sandbox: &Sandbox) -> Outcome {
    let server = |field, oauth, expires_in, stale| {
        let anonymous_pull = &["*"];
        let options =
            TokenOptions { anonymous_pull, field, oauth, expires_in, stale, ..Default::default() };
        TokenServer::start(sandbox, options)
    };
    let tokens = server(TokenField::AccessToken, false, None, 1)?;
    let answer = get(&tokens, &[])?;
    assert_eq!((answer.get("token"), answer.get("expires_in")), (None, None));
    let realm = tokens.realm();
    assert_eq!(status(&["--data", "x=y", &realm])?, "404");
    let tokens = server(TokenField::Token, true, Some(5), 1)?;

    // The first token is over for the registry, whatever the answer says; the second is good.
    let token = Some(&tokens);
    let registry = Registry::start(sandbox, Options { token, ..Options::default() })?;
    let url = format!("{}/v2/", registry.url());
    for expected in ["401", "200"] {
        let answer = get(&tokens, &["--data-urlencode", PULL])?;
        assert_eq!((answer.get("access_token"), answer["expires_in"].as_u64()), (None, Some(5)));
        assert_eq!(with_token(&url, text(&answer, "token"))?, expected);
    }
    Ok(())
}
