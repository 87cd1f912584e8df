//! Blobs on connections that break, and lists in pages.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use images::Digest;
use images::registry::{Anonymous, Error, Pushed, Registry};
use testkit::{Outcome, Sandbox};

use crate::server::*;

const BLOB: &[u8] = b"0123456789";

fn registry(server: &Server) -> Registry {
    client(Anonymous).registry(&server.host())
}

fn read(registry: &Registry, repository: &str, from: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut download = registry.blob(repository, &Digest::of(BLOB), BLOB.len() as u64, from)?;
    match download.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => match error.get_ref().and_then(|it| it.downcast_ref::<images::Error>()) {
            Some(images::Error::Registry(error)) => Err(error.clone()),
            _ => panic!("{error}"),
        },
    }
}

/// The first byte of a `Range` header.
fn wanted(seen: &Seen) -> usize {
    let range = seen.header("range").strip_prefix("bytes=").unwrap_or("0-");
    range.trim_end_matches('-').parse().unwrap()
}

fn partial(from: usize) -> Reply {
    reply(206, &BLOB[from..]).with("Content-Range", format!("bytes {from}-9/10"))
}

pub(crate) fn downloads_go_on_where_they_broke(_sandbox: &Sandbox) -> Outcome {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |seen| {
        let nth = count.fetch_add(1, Ordering::Relaxed);
        let (from, repository) = (wanted(seen), seen.path.split('/').nth(2).unwrap());
        match repository {
            // Three bytes for each connection, so more breaks than attempts, but each with progress.
            "cuts" if from == 0 => reply(200, &BLOB[..3]).cut(10),
            "cuts" => {
                let end = 10.min(from + 3);
                reply(206, &BLOB[from..end])
                    .with("Content-Range", format!("bytes {from}-9/10"))
                    .cut(10 - from)
            }
            "stalls" if from == 0 => reply(200, &BLOB[..4]).stall(10),
            "no-ranges" if nth.is_multiple_of(2) => reply(200, &BLOB[..6]).cut(10),
            "no-ranges" => reply(200, BLOB),
            _ if from == 0 => reply(200, BLOB),
            _ => partial(from),
        }
    });
    let registry = registry(&server);
    assert_eq!(read(&registry, "cuts", 0)?, BLOB);
    let ranges: Vec<_> = server.seen().iter().map(|it| it.header("range").to_owned()).collect();
    assert_eq!(ranges, ["", "bytes=3-", "bytes=6-", "bytes=9-"]);
    assert_eq!(read(&registry, "stalls", 0)?, BLOB);
    assert_eq!(server.seen()[1].header("range"), "bytes=4-");
    assert_eq!(read(&registry, "good", 7)?, b"789");
    assert_eq!(server.seen().len(), 1);
    assert_eq!(read(&registry, "no-ranges", 0)?, BLOB);
    assert_eq!(server.seen().len(), 2);
    assert_eq!(read(&registry, "good", 10)?, b"", "nothing is left to ask for");
    assert_eq!(server.seen().len(), 0);
    Ok(())
}

pub(crate) fn downloads_that_cannot_go_on(_sandbox: &Sandbox) -> Outcome {
    let server = Server::start(|seen| match seen.path.split('/').nth(2).unwrap() {
        "ends" => reply(200, "").cut(10),
        "wrong-place" if wanted(seen) == 5 => partial(4),
        "grown" => reply(206, "56789x").with("Content-Range", "bytes 5-10/11"),
        "other" => reply(200, "01234567890"),
        "gone" => reply(416, ""),
        "packed" => reply(200, BLOB).with("Content-Encoding", "gzip"),
        _ => reply(
            404,
            r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#,
        ),
    });
    let registry = registry(&server);
    let error = read(&registry, "ends", 0).unwrap_err();
    assert!(matches!(error, Error::Interrupted { attempts: 3, .. }), "{error}");
    assert_eq!(server.seen().len(), 3);
    for (repository, from) in
        [("wrong-place", 5), ("grown", 5), ("other", 0), ("gone", 5), ("packed", 0)]
    {
        let error = read(&registry, repository, from).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{repository}: {error}");
    }
    assert!(matches!(read(&registry, "none", 0), Err(Error::NotFound { .. })));
    assert!(!registry.has_blob("none", &Digest::of(BLOB))?);
    Ok(())
}

pub(crate) fn busy_servers_are_asked_again(_sandbox: &Sandbox) -> Outcome {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |seen| {
        if seen.path == "/v2/" {
            return reply(200, "");
        }
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        match seen.path.split('/').nth(2).unwrap() {
            "busy" if first => reply(503, ""),
            "limit" if first => reply(429, "").with("Retry-After", "1"),
            "cut" if first => reply(200, r#"{"tags":"#).cut(99),
            "always" => reply(503, "come back later"),
            "tomorrow" => reply(429, "").with("Retry-After", "86400"),
            "angry" => reply(429, ""),
            _ => {
                count.store(0, Ordering::Relaxed);
                reply(200, r#"{"tags":["t"]}"#)
            }
        }
    });
    let registry = registry(&server);
    for repository in ["busy", "limit", "cut"] {
        assert_eq!(registry.tags(repository)?, ["t"], "{repository}");
        assert_eq!(server.seen().len(), 2, "{repository}");
    }
    let error = registry.tags("always").unwrap_err();
    assert!(matches!(error, Error::Interrupted { attempts: 3, .. }), "{error}");
    assert_eq!(server.seen().len(), 3);
    let error = registry.tags("tomorrow").unwrap_err();
    let day = Some(Duration::from_secs(86_400));
    assert!(matches!(error, Error::RateLimited { retry_after, .. } if retry_after == day));
    assert_eq!(server.seen().len(), 1);
    let error = registry.tags("angry").unwrap_err();
    assert!(matches!(error, Error::RateLimited { retry_after: None, .. }));
    assert_eq!(server.seen().len(), 3);
    Ok(())
}

/// A registry for uploads: keeps what arrives.
fn receiver(data: &Arc<Mutex<Vec<u8>>>) -> Server {
    let (data, forgotten) = (Arc::clone(data), AtomicUsize::new(0));
    Server::start(move |seen| {
        let mut data = data.lock().unwrap();
        let range = |data: &[u8]| format!("0-{}", data.len().saturating_sub(1));
        let path = seen.path.split('?').next().unwrap();
        let name = path.split('/').nth(2).unwrap_or_default();
        match (seen.method.as_str(), path.rsplit('/').next().unwrap()) {
            ("GET", "") if path == "/v2/" => reply(200, ""),
            ("POST", _) if seen.path.contains("mount=") && seen.path.ends_with("from=near") => {
                reply(201, "")
            }
            ("POST", _) if seen.path.ends_with("from=private") => {
                reply(403, r#"{"errors":[{"code":"DENIED"}]}"#)
            }
            ("POST", _) => {
                data.clear();
                reply(202, "").with("Location", format!("/v2/{name}/blobs/uploads/u?_state=0"))
            }
            ("PATCH", "u") => {
                let start = seen.header("content-range").split('-').next().unwrap();
                if start != data.len().to_string() {
                    return reply(416, "").with("Range", range(&data));
                }
                data.extend(&seen.body);
                reply(202, "").with("Location", "u?_state=1").with("Range", range(&data))
            }
            ("GET", "u") if name == "forgets" && forgotten.fetch_add(1, Ordering::Relaxed) == 0 => {
                reply(404, r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#)
            }
            ("GET", "u") => {
                reply(204, "").with("Range", range(&data)).with("Location", "u?_state=2")
            }
            ("PUT", "u") => {
                data.extend(&seen.body);
                let right =
                    seen.path.ends_with(&format!("digest=sha256%3A{}", Digest::of(&data).hex()));
                reply(if right { 201 } else { 400 }, "")
            }
            ("HEAD", last) => {
                reply(if last == Digest::of(&data).to_string() { 200 } else { 404 }, "")
            }
            _ => reply(204, ""),
        }
    })
}

fn push(
    registry: &Registry,
    repository: &str,
    bytes: &'static [u8],
    mounts: &[&str],
) -> Result<Pushed, Error> {
    let open = |from: u64| -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(&bytes[usize::try_from(from).unwrap()..]))
    };
    let mounts: Vec<_> = mounts.iter().map(ToString::to_string).collect();
    let last = AtomicUsize::new(usize::MAX);
    let sent = |sent: u64| last.store(usize::try_from(sent).unwrap(), Ordering::Relaxed);
    let digest = Digest::of(bytes);
    let pushed =
        registry.push_blob(repository, &digest, bytes.len() as u64, &mounts, &open, &sent)?;
    if pushed == Pushed::Uploaded {
        assert_eq!(last.load(Ordering::Relaxed), bytes.len());
    }
    Ok(pushed)
}

fn large() -> &'static [u8] {
    let bytes: Vec<u8> = (0..40 << 20).map(|at: u32| (at ^ (at >> 9)).to_le_bytes()[0]).collect();
    bytes.leak()
}

pub(crate) fn uploads_go_on_where_they_broke(_sandbox: &Sandbox) -> Outcome {
    let data = Arc::default();
    let server = receiver(&data);
    let registry = registry(&server);
    let large = large();
    *server.breaks.lock().unwrap() = Some(("PATCH", 1 << 20));
    // What the server has of the broken chunk, it says itself.
    assert_eq!(push(&registry, "a", large, &[])?, Pushed::Uploaded);
    assert!(*data.lock().unwrap() == large);
    let seen = server.seen();
    let lines: Vec<_> =
        seen.iter().map(|it| format!("{} {}", it.method, it.header("content-range"))).collect();
    assert_eq!(
        lines,
        [
            "HEAD ",
            "POST ",
            "PATCH 0-16777215",
            "GET ",
            "PATCH 1048576-17825791",
            "PATCH 17825792-34603007",
            "PATCH 34603008-41943039",
            "PUT "
        ]
    );
    assert_eq!(seen[4].path, "/v2/a/blobs/uploads/u?_state=2", "where the registry says");

    data.lock().unwrap().clear();
    *server.breaks.lock().unwrap() = Some(("PATCH", 1 << 20));
    assert_eq!(push(&registry, "forgets", large, &[])?, Pushed::Uploaded);
    let starts = server.lines().iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(starts, 2, "an upload that the registry forgot begins again");

    data.lock().unwrap().clear();
    *server.breaks.lock().unwrap() = Some(("PUT", 3));
    assert_eq!(push(&registry, "a", BLOB, &[])?, Pushed::Uploaded);
    assert_eq!(*data.lock().unwrap(), BLOB);

    // The file is shorter than it should be: that is no fault of the network.
    let open = |_| -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(&BLOB[..3])) };
    server.seen();
    let error = registry.push_blob("a", &Digest::of(b"x"), 10, &[], &open, &|_| {}).unwrap_err();
    assert_eq!(error, Error::Local("it ends too early".into()));
    Ok(())
}

pub(crate) fn blobs_are_mounted_or_uploaded(_sandbox: &Sandbox) -> Outcome {
    let data = Arc::default();
    let server = receiver(&data);
    let registry = registry(&server);
    let mounted = push(&registry, "a", BLOB, &["a", "private", "far", "near"])?;
    assert_eq!(mounted, Pushed::Mounted("near".into()));
    let digest = Digest::of(BLOB).hex();
    let post =
        |from: &str| format!("POST /v2/a/blobs/uploads/?mount=sha256%3A{digest}&from={from}");
    assert_eq!(
        server.lines()[1..],
        [
            post("private"),
            post("far"),
            "DELETE /v2/a/blobs/uploads/u?_state=0".to_owned(),
            post("near")
        ]
    );
    assert_eq!(push(&registry, "a", BLOB, &["far"])?, Pushed::Uploaded);
    assert_eq!(
        server.lines()[1..],
        [post("far"), format!("PUT /v2/a/blobs/uploads/u?_state=0&digest=sha256%3A{digest}")]
    );
    assert_eq!(push(&registry, "a", BLOB, &["far"])?, Pushed::Exists);
    assert_eq!(server.lines().len(), 1);
    data.lock().unwrap().push(b'x');
    assert_eq!(push(&registry, "a", b"", &[])?, Pushed::Uploaded, "an empty blob");
    Ok(())
}

pub(crate) fn lists_have_pages(_sandbox: &Sandbox) -> Outcome {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/v2/a/tags/list?n=1000" => reply(200, r#"{"tags":["1","2"]}"#)
            .with("Link", r#"</v2/a/tags/list?last=2>; rel="next""#),
        "/v2/a/tags/list?last=2" => reply(200, r#"{"tags":["3"]}"#),
        "/v2/none/tags/list?n=1000" => reply(200, r#"{"name":"none","tags":null}"#),
        "/v2/_catalog?n=1000" => {
            reply(200, r#"{"repositories":["a\u001b[31m"]}"#).with("Link", "<?n=7>; rel=next")
        }
        "/v2/_catalog?n=7" => reply(200, r#"{"repositories":["b"]}"#),
        "/v2/away/tags/list?n=1000" => {
            reply(200, r#"{"tags":[]}"#).with("Link", r#"<http://127.0.0.1:1/>; rel="next""#)
        }
        "/v1/search?q=a%20b&n=5" => reply(
            200,
            r#"{"results":[{"name":"a/b","description":null,"star_count":7,"is_official":true},{"name":"c"}]}"#,
        ),
        path => reply(200, r#"{"tags":[]}"#).with("Link", format!("<{path}>; rel=next")),
    });
    let registry = registry(&server);
    assert_eq!(registry.tags("a")?, ["1", "2", "3"]);
    assert!(registry.tags("none")?.is_empty());
    assert_eq!(registry.catalog()?, ["a\\u{1b}[31m", "b"]);
    let found = registry.search("a b", 5)?;
    let found: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.stars, it.official)).collect();
    assert_eq!(found, [("a/b", 7, true), ("c", 0, false)]);
    for repository in ["away", "circle"] {
        assert!(matches!(registry.tags(repository), Err(Error::Protocol { .. })), "{repository}");
    }
    Ok(())
}
