//! Proxies: curl sees each fault as a person on a bad network would.

use std::io::{Read, Write};
use std::time::Duration;

use testkit::registry::{
    Compression, Fault, ForwardProxy, Layout, Options, Proxy, Registry, Rule, TokenOptions,
    TokenServer,
};
use testkit::{Outcome, Sandbox};

use crate::{curl, expect, output, status};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A registry with one image `image:1`, a proxy before it, the URL of its layer there, and the layer's bytes.
fn fixture(sandbox: &Sandbox) -> Result<(Registry, Proxy, String, Vec<u8>)> {
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = Layout::random(sandbox, "image", 1, 200_000, Compression::None)?;
    registry.push_layout(&layout.path, "latest", "image:1", &[])?;
    let digest = layout.manifest("latest")?["layers"][0]["digest"].as_str().unwrap().to_owned();
    let bytes = std::fs::read(layout.blob_path(&digest))?;
    let proxy = Proxy::start(registry.address(), Vec::new())?;
    let url = format!("{}/v2/image/blobs/{digest}", proxy.url());
    Ok((registry, proxy, url, bytes))
}

/// Fails unless curl gets these bytes and ends with this status. A difference in many bytes is not worth reading.
fn gives(args: &[&str], bytes: &[u8], code: i32) -> Outcome {
    let (got, ended) = curl(args)?;
    let (length, wanted) = (got.len(), bytes.len());
    let what = format!("{args:?}: curl {ended} with {length} bytes, not {code} with {wanted}");
    expect(ended == code && got == bytes, &what)
}

pub(crate) fn passes_everything_on(sandbox: &Sandbox) -> Outcome {
    let (registry, proxy, url, bytes) = fixture(sandbox)?;
    gives(&[&url], &bytes, 0)?;
    gives(&["--range", "100-199", &url], &bytes[100..200], 0)?;
    let seen = proxy.requests();
    assert_eq!((seen[0].status, seen[0].sent, seen[0].complete), (200, bytes.len() as u64, true));
    assert_eq!((seen[1].status, seen[1].sent), (206, 100));
    assert_eq!(seen[1].header("Range"), Some("bytes=100-199"));
    assert_eq!(proxy.bytes_sent(), bytes.len() as u64 + 100);
    // Two requests on one connection.
    let (out, _) = curl(&["--head", &url, &url, "--write-out", "%{num_connects}\n"])?;
    let connects: Vec<_> = std::str::from_utf8(&out)?
        .lines()
        .filter(|line| line.len() == 1)
        .map(str::to_owned)
        .collect();
    assert_eq!(connects, ["1", "0"]);
    assert_eq!(proxy.count("HEAD", "/blobs/"), 2);

    // An upload: Location stays with the proxy; bodies in chunks and with a length, with and without "Expect".
    let uploads = format!("{}/v2/new/blobs/uploads/", proxy.url());
    for (number, encoding) in
        ["X-None: 1", "Transfer-Encoding: chunked", "Expect: 100-continue"].iter().enumerate()
    {
        let args = ["--request", "POST", "--output", "/dev/null", "--write-out"];
        let (out, _) = curl(&[&args[..], &["%header{location}", &uploads]].concat())?;
        let location = String::from_utf8(out)?;
        expect(location.starts_with(&proxy.url()), &location)?;
        let file = sandbox.path(format!("body-{number}"));
        let body = [&bytes[..], number.to_string().as_bytes()].concat();
        std::fs::write(&file, &body)?;
        let out = std::process::Command::new("sha256sum").arg(&file).output()?;
        let digest = format!("sha256:{}", &String::from_utf8(out.stdout)?[..64]);
        let put = format!("{location}&digest={digest}");
        let file = file.display().to_string();
        let code = status(&["--upload-file", &file, "--header", encoding, &put])?;
        assert_eq!(code, "201", "{encoding}");
        assert_eq!(std::fs::read(registry.blob_file(&digest))?, body);
    }
    let put = proxy.requests().into_iter().find(|request| request.is("PUT", "/uploads/"));
    assert_eq!(put.ok_or("no PUT")?.received, bytes.len() as u64 + 1);
    expect(proxy.bytes_received() > 3 * bytes.len() as u64, "uploads are counted")
}

pub(crate) fn breaks_answers(sandbox: &Sandbox) -> Outcome {
    let (_registry, proxy, url, bytes) = fixture(sandbox)?;
    let blobs = |fault| proxy.add(Rule::new("GET", "/blobs/", fault));
    // curl(1): 18 is a transfer that ended early, 52 an answer without a byte.
    blobs(Fault::Cut { after: 70_000 });
    gives(&[&url], &bytes[..70_000], 18)?;
    let seen = proxy.requests().remove(0);
    assert_eq!((seen.status, seen.sent, seen.complete), (200, 70_000, false));

    blobs(Fault::Drop);
    gives(&[&url], &[], 52)?;

    blobs(Fault::Truncate { after: 50_000 });
    gives(&[&url], &bytes[..50_000], 0)?;

    blobs(Fault::Corrupt { at: 40_000 });
    let (mut wrong, code) = curl(&[&url])?;
    assert_eq!((wrong.len(), code), (bytes.len(), 0));
    assert_eq!(wrong[40_000], !bytes[40_000]);
    wrong[40_000] = bytes[40_000];
    expect(wrong == bytes, "one byte alone was wrong")?;

    blobs(Fault::IgnoreRange);
    gives(&["--range", "100-", &url], &bytes, 0)?;
    gives(&["--range", "100-", &url], &bytes[100..], 0)?;
    Ok(())
}

/// docker-registry says the length of nearly everything; other servers do not.
pub(crate) fn answers_without_length(sandbox: &Sandbox) -> Outcome {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let answers = [
        ("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n".to_owned() + chunked, "abcde", 0),
        ("HTTP/1.1 200 OK\r\n\r\nabcde".to_owned(), "abcde", 0),
        (chunked.to_owned(), "abc", 18),
        (chunked.to_owned(), "abcd", 0),
        // The server breaks by itself.
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcde".to_owned(), "abcde", 18),
    ];
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let rules = vec![
        Rule::new("GET", "/2", Fault::Cut { after: 3 }),
        Rule::new("GET", "/3", Fault::Truncate { after: 4 }),
    ];
    let proxy = Proxy::start(&listener.local_addr()?.to_string(), rules)?;
    for (number, (answer, body, code)) in answers.into_iter().enumerate() {
        let (url, file) = (format!("{}/{number}", proxy.url()), sandbox.path("body"));
        let mut child = std::process::Command::new("curl")
            .args(["--silent", "--noproxy", "*", &url, "--output"])
            .arg(&file)
            .spawn()?;
        let (mut stream, _) = listener.accept()?;
        stream.write_all(answer.as_bytes())?;
        stream.shutdown(std::net::Shutdown::Write)?;
        // Closed with the request unread, it would be reset.
        stream.read_to_end(&mut Vec::new())?;
        assert_eq!(child.wait()?.code(), Some(code), "{number}");
        assert_eq!(std::fs::read_to_string(&file)?, body, "{number}");
    }
    Ok(())
}

pub(crate) fn breaks_requests(sandbox: &Sandbox) -> Outcome {
    let (registry, proxy, _url, bytes) = fixture(sandbox)?;
    let uploads = format!("{}/v2/new/blobs/uploads/", proxy.url());
    let args = ["--request", "POST", "--output", "/dev/null", "--write-out"];
    let (out, _) = curl(&[&args[..], &["%header{location}", &uploads]].concat())?;
    let location = String::from_utf8(out)?;
    let file = sandbox.path("body");
    std::fs::write(&file, &bytes)?;
    let file = file.display().to_string();
    proxy.add(Rule::new("PATCH", "/uploads/", Fault::CutRequest { after: 60_000 }));
    let patch = ["--request", "PATCH", "--upload-file", &file, "--header", "Expect:", &location];
    let (_, code) = curl(&patch)?;
    // The connection ends without an answer, or while curl still sends.
    expect([52, 55, 56].contains(&code), &format!("curl {code}"))?;
    let seen = proxy.requests().pop().ok_or("no request")?;
    assert_eq!((seen.received, seen.status, seen.complete), (60_000, 0, false));
    // The registry has got as much as the proxy took.
    for _ in 0..500 {
        if registry.log().contains("copied=60000") {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(registry.log().into())
}

pub(crate) fn answers_itself(sandbox: &Sandbox) -> Outcome {
    let (_registry, proxy, url, bytes) = fixture(sandbox)?;
    let answer = Fault::answer(429, &[("Retry-After", "7")], "slowly");
    proxy.add(Rule::new("GET", "/blobs/", answer).times(2));
    let args = ["--write-out", " %{http_code} %header{retry-after}"];
    for _ in 0..2 {
        assert_eq!(curl(&[&args[..], &[&url]].concat())?.0, b"slowly 429 7");
    }
    assert_eq!(status(&[&url])?, "200");
    proxy.reset();
    assert_eq!(proxy.requests(), []);
    // A rule for others does not matter; HEAD gets no body; the body of an upload is read before it is refused.
    proxy.add(Rule::new("DELETE", "", Fault::Drop).always());
    proxy.add(Rule::new("*", "", Fault::answer(503, &[], "text")).after(1).always());
    assert_eq!(status(&[&url])?, "200");
    assert_eq!(status(&["--head", &url])?, "503");
    assert_eq!(status(&["--data", "abc", &url])?, "503");
    assert_eq!(proxy.requests().last().ok_or("no request")?.received, 3);

    proxy.reset();
    proxy.add(Rule::new("GET", "/elsewhere", Fault::Redirect(url.clone())));
    let elsewhere = format!("{}/elsewhere", proxy.url());
    gives(&["--location", &elsewhere], &bytes, 0)?;
    assert_eq!(proxy.requests()[0].status, 307);
    Ok(())
}

pub(crate) fn pauses(sandbox: &Sandbox) -> Outcome {
    let (_registry, proxy, url, bytes) = fixture(sandbox)?;
    let blobs = |fault| proxy.add(Rule::new("GET", "/blobs/", fault));
    let minute = Duration::from_secs(60);
    // curl(1): 28 is a time that is over.
    blobs(Fault::Stall { after: 70_000, pause: minute });
    let (some, code) = curl(&["--max-time", "1", &url])?;
    assert_eq!(code, 28);
    expect(some.len() <= 70_000, "nothing comes after the pause began")?;
    blobs(Fault::Delay(minute));
    gives(&["--max-time", "1", &url], &[], 28)?;
    blobs(Fault::Throttle(50_000));
    let (some, code) = curl(&["--max-time", "1", &url])?;
    assert_eq!(code, 28);
    expect(some.len() < 100_000, "at 50 kB/s")?;
    // Short ones lose nothing.
    let moment = Duration::from_millis(20);
    for fault in [
        Fault::Stall { after: 70_000, pause: moment },
        Fault::Delay(moment),
        Fault::Throttle(2_000_000),
    ] {
        blobs(fault);
        gives(&[&url], &bytes, 0)?;
    }
    Ok(())
}

pub(crate) fn cdn_refuses_authorization(sandbox: &Sandbox) -> Outcome {
    let users = &[("alice", "secret")];
    let tokens = TokenServer::start(sandbox, TokenOptions { users, ..TokenOptions::default() })?;
    let token = Some(&tokens);
    let registry = Registry::start(sandbox, Options { token, ..Options::default() })?;
    let layout = Layout::random(sandbox, "image", 1, 100_000, Compression::Gzip)?;
    registry.push_layout(&layout.path, "latest", "image:1", &[])?;
    let digest = layout.manifest("latest")?["layers"][0]["digest"].as_str().unwrap().to_owned();
    let bytes = std::fs::read(layout.blob_path(&digest))?;
    let proxy = Proxy::start(
        registry.address(),
        vec![
            Rule::new("GET", "/blobs/", Fault::Cdn).always(),
            Rule::new("GET", "/cdn/", Fault::Cut { after: 1000 }).after(3),
        ],
    )?;
    let url = format!("{}/v2/image/blobs/{digest}", proxy.url());
    let realm = tokens.realm();
    let args = ["--user", "alice:secret", "--get", "--data-urlencode", "service=testkit registry"];
    let scope = ["--data-urlencode", "scope=repository:image:pull", &realm];
    let answer: serde_json::Value =
        serde_json::from_slice(&curl(&[&args[..], &scope].concat())?.0)?;
    let bearer = format!("Authorization: Bearer {}", answer["token"].as_str().unwrap());
    // curl forgets Authorization for another host, unless the header is its own to send everywhere.
    let location = ["--output", "/dev/null", "--write-out", "%header{location}"];
    let (out, _) = curl(&[&["--header", &bearer, &url], &location[..]].concat())?;
    let signed = String::from_utf8(out)?;
    expect(signed.starts_with("http://127.0.0.2:"), &signed)?;
    assert_eq!(status(&["--header", &bearer, &signed])?, "400");
    gives(&[&signed], &bytes, 0)?;
    gives(&["--location", "--header", &bearer, &url], &bytes, 0)?;
    // Rules can be for the CDN alone.
    assert_eq!(curl(&["--location", "--header", &bearer, &url])?.1, 18);
    // skopeo does as it is told, and does not send the token to another host.
    let back = format!("oci:{}:1", sandbox.path("back").display());
    let mut skopeo = std::process::Command::new("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--src-tls-verify=false"]);
    skopeo.args(["--src-creds", "alice:secret"]);
    let image = format!("docker://{}/image:1", proxy.address());
    assert_eq!(output(skopeo.args([&image, &back]))?.1, 0);
    let unsigned = signed.split('?').next().unwrap_or_default();
    assert_eq!(status(&[unsigned])?, "403");
    let at_cdn: Vec<_> = proxy.requests().into_iter().filter(|r| r.is("*", "/cdn/")).collect();
    // Four of curl, config and layer of skopeo, and one without signature.
    assert_eq!(at_cdn.len(), 7);
    expect(at_cdn[1].header("authorization").is_none(), "nothing was sent")
}

pub(crate) fn holds_no_blob_in_memory(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = Layout::random(sandbox, "large", 1, 300_000_000, Compression::None)?;
    let proxy = Proxy::start(registry.address(), Vec::new())?;
    let before = peak()?;
    let digest = layout.manifest("latest")?["layers"][0]["digest"].as_str().unwrap().to_owned();
    // Up and down through the proxy.
    let args = ["--request", "POST", "--output", "/dev/null", "--write-out", "%header{location}"];
    let uploads = format!("{}/v2/large/blobs/uploads/", proxy.url());
    let location = String::from_utf8(curl(&[&args[..], &[&uploads]].concat())?.0)?;
    let file = layout.blob_path(&digest).display().to_string();
    let put = format!("{location}&digest={digest}");
    assert_eq!(status(&["--upload-file", &file, &put])?, "201");
    let url = format!("{}/v2/large/blobs/{digest}", proxy.url());
    assert_eq!(status(&[&url])?, "200");
    let size = std::fs::metadata(&file)?.len();
    assert_eq!((proxy.bytes_sent() >= size, proxy.bytes_received()), (true, size));
    let grown = peak()? - before;
    expect(grown < 20_000, &format!("{grown} KiB more than before"))
}

/// Most memory that this process has had: KiB.
fn peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.ok_or("no VmHWM")?.trim().trim_end_matches(" kB").parse()?)
}

pub(crate) fn ends_in_the_middle(sandbox: &Sandbox) -> Outcome {
    let (_registry, proxy, url, _) = fixture(sandbox)?;
    let pause = Duration::from_secs(3600);
    proxy.add(Rule::new("GET", "/blobs/", Fault::Stall { after: 1000, pause }));
    let mut curl = std::process::Command::new("curl");
    let mut child =
        curl.args(["--silent", "--output", "/dev/null", "--noproxy", "*", &url]).spawn()?;
    proxy.wait_until(|requests| requests.iter().any(|request| request.sent == 1000))?;
    drop(proxy);
    assert_eq!(child.wait()?.code(), Some(18));
    assert_eq!(status(&[&url])?, "000");
    Ok(())
}

pub(crate) fn forward(sandbox: &Sandbox) -> Outcome {
    let plain = Registry::start(sandbox, Options::default())?;
    let names = &["registry-1.docker.io"];
    let options = Options { name: "tls", tls: true, names, ..Options::default() };
    let hub = Registry::start(sandbox, options)?;
    let ca = hub.ca().ok_or("no CA")?.display().to_string();
    let lead = [
        ("registry-1.docker.io:443", hub.address()),
        ("plain.example:80", plain.address()),
        ("closed.example:443", "127.0.0.1:1"),
    ];
    let proxy = ForwardProxy::start(&lead, Some(("carol", "word")))?;
    let through = |user: &str, url: &str| {
        let mut curl = std::process::Command::new("curl");
        curl.args(["--silent", "--cacert", &ca, "--proxy", &proxy.url(), "--proxy-user", user]);
        curl.args(["--write-out", " %{http_code} %{http_connect}", url]);
        output(&mut curl).map(|(out, _)| String::from_utf8_lossy(&out).into_owned())
    };
    assert_eq!(through("carol:word", "https://registry-1.docker.io/v2/")?, "{} 200 200");
    assert_eq!(through("carol:word", "http://plain.example/v2/")?, "{} 200 000");
    assert_eq!(through("carol:word", &format!("{}/v2/", plain.url()))?, "{} 200 000");
    assert_eq!(through("carol:wrong", "https://registry-1.docker.io/v2/")?, " 000 407");
    assert_eq!(through("carol:wrong", "http://plain.example/v2/")?, " 407 000");
    assert_eq!(through("carol:word", "https://closed.example/v2/")?, " 000 502");
    let asked: Vec<_> = proxy
        .asked()
        .into_iter()
        .map(|asked| format!("{} {} {}", asked.method, asked.target, asked.allowed))
        .collect();
    assert_eq!(
        asked,
        [
            "CONNECT registry-1.docker.io:443 true",
            "GET http://plain.example/v2/ true",
            &format!("GET {}/v2/ true", plain.url()),
            "CONNECT registry-1.docker.io:443 false",
            "GET http://plain.example/v2/ false",
            "CONNECT closed.example:443 true",
        ]
    );
    Ok(())
}
