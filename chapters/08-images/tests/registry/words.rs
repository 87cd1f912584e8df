//! The errors that people read.

use images::Digest;
use images::registry::{Anonymous, Client};
use testkit::{Outcome, Sandbox};

use crate::server::*;

const OLD: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

fn answer(repository: &str) -> Reply {
    let error = |code: &str, message: &str| {
        format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#)
    };
    let html = |status| reply(status, "<html>Welcome!</html>").with("Content-Type", "text/html");
    match repository {
        "no-tag" => reply(404, error("MANIFEST_UNKNOWN", "manifest unknown")),
        "no-name" => reply(404, error("NAME_UNKNOWN", "repository name not known to registry")),
        "denied" => reply(403, error("DENIED", "requested access to the resource is denied")),
        "asks" => reply(401, error("UNAUTHORIZED", "authentication required")),
        "basic" => reply(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
        "limit" => reply(429, error("TOOMANYREQUESTS", "You have reached your pull rate limit"))
            .with("Retry-After", "3600"),
        "unsupported" => reply(405, error("UNSUPPORTED", "The operation is unsupported.")),
        "invalid" => reply(400, error("NAME_INVALID", "evil \\u001b[2Jname")),
        "teapot" => reply(418, "I am\na teapot"),
        "page" => html(404),
        "portal" => html(200),
        "down" => html(503),
        "old" => reply(200, r#"{"schemaVersion":1}"#).with("Content-Type", OLD),
        "older" => reply(200, r#"{"schemaVersion":1}"#),
        "list" => reply(200, "[]"),
        "lies" => {
            reply(200, r#"{"config":{}}"#).with("Docker-Content-Digest", Digest::of(b"other"))
        }
        "huge" => reply(200, vec![b' '; (4 << 20) + 1]),
        "loop" => reply(302, "").with("Location", "/v2/loop/manifests/1"),
        "ftp" => reply(302, "").with("Location", "ftp://elsewhere/"),
        "garbage" => reply(200, "").with("Broken Header", "x"),
        "token" => reply(401, "").with("WWW-Authenticate", r#"Bearer realm="nowhere",service="s""#),
        _ => reply(200, "").cut(10),
    }
}

pub(crate) fn what_people_read(_sandbox: &Sandbox) -> Outcome {
    let server = Server::start(|seen| match seen.path.split('/').nth(2) {
        Some("") => reply(200, ""),
        Some(path) if path.starts_with("search") => reply(404, "404 page not found"),
        Some(repository) => answer(repository),
        None => reply(404, ""),
    });
    let registry = client(Anonymous).registry(&server.host());
    let mut lines = String::new();
    let mut line = |what: &str, error: String| {
        assert!(!error.contains(|c: char| c.is_control()), "{error:?}");
        let error = error.replace(&server.port.to_string(), "PORT");
        lines += &format!("{what}: {error}\n");
    };
    for repository in [
        "no-tag",
        "no-name",
        "denied",
        "asks",
        "basic",
        "limit",
        "unsupported",
        "invalid",
        "teapot",
        "page",
        "portal",
        "down",
        "old",
        "older",
        "list",
        "lies",
        "huge",
        "loop",
        "ftp",
        "garbage",
        "token",
        "cut",
    ] {
        // A client of its own: what it learns about authentication from one is nothing for the next.
        let registry = client(Anonymous).registry(&server.host());
        line(repository, registry.manifest(repository, "1").unwrap_err().to_string());
    }
    let digest = Digest::of(b"blob");
    let by_digest = registry.manifest("no-tag", &digest.to_string()).unwrap_err();
    line("by digest", by_digest.to_string());
    line("push", registry.push_manifest("denied", "1", "x/y", b"{}").unwrap_err().to_string());
    line("blob", registry.blob("no-tag", &digest, 9, 0).map(drop).unwrap_err().to_string());
    line("document", registry.document("portal", &digest, 21).unwrap_err().to_string());
    line("large document", registry.document("a", &digest, 5 << 20).unwrap_err().to_string());
    line("search", registry.search("x", 5).unwrap_err().to_string());
    line("catalog", registry.catalog().unwrap_err().to_string());
    for host in ["127.0.0.1:1", "nowhere.invalid", "[", "a b"] {
        line(host, client(Anonymous).registry(host).tags("a").unwrap_err().to_string());
    }
    let mirrors = vec!["hub.example".to_owned(), "http://127.0.0.1:1/".to_owned()];
    let settings = images::registry::Settings { mirrors, ..settings() };
    let sources = Client::new(settings, Box::new(Anonymous)).sources(&"busybox".parse()?);
    assert_eq!(sources.len(), 3);
    for mirror in &sources[..2] {
        let error = mirror.manifest("library/busybox", "latest").unwrap_err();
        line(mirror.host(), error.to_string());
    }
    assert_eq!(sources[2].host(), "docker.io");
    insta::assert_snapshot!(lines);
    Ok(())
}
