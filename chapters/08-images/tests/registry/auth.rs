//! Tokens, passwords, and who gets to see them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use images::registry::{Anonymous, Credential, Error, Registry};
use testkit::{Outcome, Sandbox};

use crate::server::*;

const EMPTY: &str = "{}";
const MANIFEST: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{}}"#;

/// A registry that wants the token `good`, with a token server that gives what `give` says.
fn guarded(
    good: &Arc<Mutex<String>>,
    give: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> Server {
    let good = Arc::clone(good);
    let port = Arc::new(Mutex::new(0));
    let own = Arc::clone(&port);
    let server = Server::start(move |seen| {
        if seen.path.starts_with("/token") {
            return give(seen);
        }
        if seen.header("authorization") == format!("Bearer {}", good.lock().unwrap()) {
            return match seen.path.contains("/manifests/") {
                true => reply(200, MANIFEST),
                false => reply(200, r#"{"tags":["a"]}"#),
            };
        }
        let challenge = format!(
            r#"Negotiate, Bearer realm="http://127.0.0.1:{}/token",service="s",scope="repository:a:pull""#,
            own.lock().unwrap()
        );
        reply(401, EMPTY).with("WWW-Authenticate", challenge)
    });
    *port.lock().unwrap() = server.port;
    server
}

fn token(text: &str, seconds: u64) -> Reply {
    reply(200, format!(r#"{{"token":"{text}","expires_in":{seconds}}}"#))
}

fn registry(server: &Server) -> Registry {
    client(alice()).registry(&server.host())
}

pub(crate) fn a_token_is_fetched_kept_and_renewed(_sandbox: &Sandbox) -> Outcome {
    let good = Arc::new(Mutex::new("t1".to_owned()));
    let given = Arc::clone(&good);
    let server = guarded(&good, move |_| token(&given.lock().unwrap(), 300));
    let registry = registry(&server);
    registry.manifest("a", "1")?;
    let seen = server.seen();
    let lines: Vec<_> = seen.iter().map(Seen::line).collect();
    let ask = "GET /token?service=s&scope=repository%3Aa%3Apull&account=alice";
    assert_eq!(lines, ["GET /v2/a/manifests/1", ask, "GET /v2/a/manifests/1"]);
    // alice:secret for the token server, only the token for the registry.
    let sent: Vec<_> = seen.iter().map(|seen| seen.header("authorization")).collect();
    assert_eq!(sent, ["", "Basic YWxpY2U6c2VjcmV0", "Bearer t1"]);

    registry.manifest("a", "2")?;
    assert_eq!(server.lines(), ["GET /v2/a/manifests/2"], "the token is kept");
    // Once it is known how the registry asks, a token for another scope is fetched ahead.
    registry.tags("b")?;
    let lines = server.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("scope=repository%3Ab%3Apull"), "{lines:?}");

    // The registry forgot the token before its time.
    *good.lock().unwrap() = "t2".to_owned();
    registry.manifest("a", "3")?;
    assert_eq!(server.lines(), ["GET /v2/a/manifests/3", ask, "GET /v2/a/manifests/3"]);

    let good = Arc::new(Mutex::new("short".to_owned()));
    let server = guarded(&good, |_| token("short", 1));
    let registry = self::registry(&server);
    registry.manifest("a", "1")?;
    server.seen();
    sleep(Duration::from_secs(1));
    registry.manifest("a", "2")?;
    assert_eq!(server.lines(), [ask, "GET /v2/a/manifests/2"], "it had ended");
    Ok(())
}

pub(crate) fn a_token_is_widened_once(_sandbox: &Sandbox) -> Outcome {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let good = Arc::new(Mutex::new("never".to_owned()));
    let server = guarded(&good, move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        token("useless", 300)
    });
    let registry = client(Anonymous).registry(&server.host());
    let error = registry.manifest("b", "1").unwrap_err();
    assert!(matches!(&error, Error::Denied { access: "pull", .. }), "{error}");
    assert_eq!(asked.load(Ordering::Relaxed), 1, "the same would be asked for again");
    let lines = server.lines();
    assert!(
        lines[1].ends_with("scope=repository%3Aa%3Apull&scope=repository%3Ab%3Apull"),
        "{lines:?}"
    );

    // The challenge is known now; a new one that asks for more is answered once.
    let error = registry.manifest("c", "1").unwrap_err();
    assert!(matches!(error, Error::Denied { .. }));
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    Ok(())
}

pub(crate) fn identity_tokens_are_posted(_sandbox: &Sandbox) -> Outcome {
    for fallback in [false, true] {
        let good = Arc::new(Mutex::new("t".to_owned()));
        let server = guarded(&good, move |seen| match seen.method.as_str() {
            "POST" if fallback => reply(404, "404 page not found"),
            "POST" => reply(200, r#"{"access_token":"t","expires_in":300}"#),
            _ => token("t", 300),
        });
        let identity = Credential::IdentityToken("re/fresh".into());
        assert_eq!(format!("{identity:?}"), "IdentityToken(..)");
        client(Always(identity)).registry(&server.host()).manifest("a", "1")?;
        let seen = server.seen();
        assert_eq!(
            String::from_utf8_lossy(&seen[1].body),
            "grant_type=refresh_token&refresh_token=re%2Ffresh&service=s&\
             scope=repository%3Aa%3Apull&client_id=mini-docker"
        );
        assert_eq!(seen[1].header("content-type"), "application/x-www-form-urlencoded");
        assert_eq!(seen.len(), if fallback { 4 } else { 3 });
    }
    Ok(())
}

pub(crate) fn login_tells_right_from_wrong(_sandbox: &Sandbox) -> Outcome {
    let password = |password: &str| Credential::Password {
        username: "alice".into(),
        password: password.into(),
    };
    assert!(!format!("{:?}", password("secret")).contains("secret"));
    let good = Arc::new(Mutex::new("t".to_owned()));
    let server = guarded(&good, |seen| match seen.header("authorization") {
        "Basic YWxpY2U6c2VjcmV0" => reply(200, r#"{"token":"t","refresh_token":"r"}"#),
        _ => reply(401, r#"{"details":"incorrect username or password"}"#),
    });
    let registry = client(Anonymous).registry(&server.host());
    assert_eq!(registry.login(&password("secret"))?.as_deref(), Some("r"));
    assert!(server.lines()[0].ends_with("&offline_token=true&client_id=mini-docker&account=alice"));
    let error = registry.login(&password("wrong")).unwrap_err();
    assert!(
        matches!(&error, Error::Unauthorized { reason, .. } if reason == "incorrect username or password")
    );

    let basic = Server::start(|seen| match seen.header("authorization") {
        "Basic YWxpY2U6c2VjcmV0" => reply(200, r#"{"tags":[]}"#),
        _ if seen.path.contains("/public/") => reply(200, r#"{"tags":["t"]}"#),
        _ => reply(401, EMPTY).with("WWW-Authenticate", "Basic realm=\"r\""),
    });
    let registry = client(Anonymous).registry(&basic.host());
    assert_eq!(registry.login(&password("secret"))?, None);
    assert!(matches!(registry.login(&password("wrong")), Err(Error::Unauthorized { .. })));
    assert!(matches!(registry.tags("a"), Err(Error::Unauthorized { .. })), "anonymous");
    assert_eq!(registry.tags("public")?, ["t"], "what was refused before does not matter here");
    client(alice()).registry(&basic.host()).tags("a")?;
    let mallory = Always(password("wrong"));
    let error = client(mallory).registry(&basic.host()).tags("a").unwrap_err();
    assert!(error.to_string().contains("incorrect username or password"), "{error}");
    Ok(())
}

pub(crate) fn credentials_stay_with_their_origin(_sandbox: &Sandbox) -> Outcome {
    let blob = images::Digest::of(b"blob");
    let store = Server::start(|seen| match seen.path.as_str() {
        // Asks for a password, as a thief would.
        "/thief" => reply(401, "").with("WWW-Authenticate", "Basic realm=\"r\""),
        _ => reply(200, "blob"),
    });
    let port = store.port;
    let server = Server::start(move |seen| {
        if seen.header("authorization").is_empty() {
            return reply(401, "").with("WWW-Authenticate", "Basic realm=\"r\"");
        }
        let to = match seen.path.as_str() {
            "/v2/near/tags/list?n=1000" => "/moved?x".to_owned(),
            "/moved?x" => return reply(200, r#"{"tags":["t"]}"#),
            path if path.contains("/thief/") => format!("http://127.0.0.1:{port}/thief"),
            path if path.contains("/round/") => path.to_owned(),
            _ => format!("http://127.0.0.1:{port}/data"),
        };
        reply(307, "elsewhere").with("Location", to)
    });
    let registry = client(alice()).registry(&server.host());
    assert_eq!(registry.tags("near")?, ["t"], "the same origin");
    assert_eq!(registry.document("far", &blob, 4)?, b"blob");
    let error = registry.document("thief", &blob, 4).unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    let seen = store.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| seen.header("authorization").is_empty()), "{seen:?}");
    assert_eq!(seen[0].header("accept-encoding"), "identity");
    assert!(seen[0].header("user-agent").starts_with("mini-docker/"));
    server.seen();
    let error = registry.tags("round").unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error}");
    assert_eq!(server.seen().len(), 11);
    Ok(())
}
