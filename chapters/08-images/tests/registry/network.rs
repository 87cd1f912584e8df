//! Names, certificates and proxies on the way to a registry.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use images::registry::{Anonymous, Client, Error, Settings};
use testkit::{Outcome, Sandbox};

use crate::real::Registry;
use crate::server::*;

/// Gives names to 127.0.0.1 that do not look like this machine.
fn name_hosts(sandbox: &Sandbox) -> Outcome {
    let hosts = sandbox.path("hosts");
    fs::write(&hosts, "127.0.0.1 localhost registry.test other.test\n")?;
    let none: Option<&str> = None;
    nix::mount::mount(Some(&hosts), "/etc/hosts", none, nix::mount::MsFlags::MS_BIND, none)?;
    Ok(())
}

fn with(settings: Settings) -> Client {
    Client::new(settings, Box::new(Anonymous))
}

pub(crate) fn plain_http_needs_permission(sandbox: &Sandbox) -> Outcome {
    name_hosts(sandbox)?;
    let server = Server::start(|_| reply(200, r#"{"tags":["t"]}"#));
    let host = format!("registry.test:{}", server.port);
    let error = with(settings()).registry(&host).tags("a").unwrap_err();
    assert_eq!(error, Error::PlainHttp { host: host.clone() });
    assert!(server.seen().is_empty());
    for rule in [host.clone(), "registry.test".to_owned()] {
        let client = with(Settings { insecure: vec![rule], ..settings() });
        assert_eq!(client.registry(&host).tags("a")?, ["t"]);
    }
    // A mirror says itself how it is reached.
    let mirrors = vec![format!("http://{host}/")];
    let client = with(Settings { mirrors, ..settings() });
    assert_eq!(client.sources(&"busybox".parse()?)[0].tags("a")?, ["t"]);
    Ok(())
}

fn openssl(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    let output = Command::new("openssl").args(arguments).current_dir(&sandbox.dir).output();
    let output = output.or_else(|_| testkit::skip("needs openssl"))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A certificate as Docker's manual says to make one; the lines of the registry's configuration for it.
fn certificate(
    sandbox: &Sandbox,
    name: &str,
    more: &[&str],
) -> Result<String, Box<dyn std::error::Error>> {
    let (key, own) = (format!("{name}.key"), format!("{name}.crt"));
    let names = format!("subjectAltName=DNS:{name}");
    let mut arguments = vec![
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &own, "-subj",
        "/CN=x", "-addext", &names,
    ];
    arguments.extend(more);
    openssl(sandbox, &arguments)?;
    let dir = sandbox.dir.display();
    Ok(format!("  tls:\n    certificate: {dir}/{own}\n    key: {dir}/{key}\n"))
}

pub(crate) fn certificates_are_checked(sandbox: &Sandbox) -> Outcome {
    name_hosts(sandbox)?;
    let tls = certificate(sandbox, "registry.test", &[])?;
    let registry = Registry::start(sandbox, "tls", &tls)?;
    let (host, other) = (registry.host("registry.test"), registry.host("other.test"));
    let folder = sandbox.path("certs.d");
    let settings = || Settings { certificates: vec![folder.clone()], ..settings() };
    let catalog = |host: &str| with(settings()).registry(host).catalog();
    let mut lines = String::new();
    let mut line = |what: &str, error: Error| {
        let error = error.to_string().replace(&registry.port.to_string(), "PORT");
        let error = error.replace(&sandbox.dir.display().to_string(), "DIR");
        lines += &format!("{what}: {error}\n");
    };
    line("unknown", catalog(&host).unwrap_err());
    // Insecure and loopback: not looked at.
    let insecure = Settings { insecure: vec!["registry.test".into()], ..settings() };
    assert!(with(insecure).registry(&host).catalog()?.is_empty());
    assert!(catalog(&registry.host("localhost"))?.is_empty());

    let put = |host: &str, from: &str, to: &str| -> Outcome {
        fs::create_dir_all(folder.join(host))?;
        fs::copy(sandbox.path(from), folder.join(host).join(to))?;
        Ok(())
    };
    put(&host, "registry.test.crt", "ca.crt")?;
    assert!(catalog(&host)?.is_empty(), "a certificate that is its own authority");
    put(&other, "registry.test.crt", "ca.crt")?;
    line("other name", catalog(&other).unwrap_err());

    // A real authority, and a certificate that has expired.
    certificate(sandbox, "authority", &[])?;
    let sign = |name: &str, days: &str| -> Outcome {
        let (request, out, key) =
            (format!("{name}.csr"), format!("{name}.crt"), format!("{name}.key"));
        fs::write(sandbox.path("ext"), format!("subjectAltName=DNS:{name}\n"))?;
        let new = [
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &request, "-subj",
            "/CN=x",
        ];
        openssl(sandbox, &new)?;
        let sign = [
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "authority.crt",
            "-CAkey",
            "authority.key",
            "-CAcreateserial",
            "-days",
            days,
            "-extfile",
            "ext",
            "-out",
            &out,
        ];
        openssl(sandbox, &sign)
    };
    sign("other.test", "1")?;
    let dir = sandbox.dir.display();
    let configuration = |name: &str, more: &str| {
        format!("  tls:\n    certificate: {dir}/{name}.crt\n    key: {dir}/{name}.key\n{more}")
    };
    let clients = format!("    clientcas: [{dir}/authority.crt]\n");
    let signed = Registry::start(sandbox, "signed", &configuration("other.test", &clients))?;
    let host = signed.host("other.test");
    put(&host, "authority.crt", "ca.crt")?;
    let error = catalog(&host).unwrap_err();
    assert!(matches!(&error, Error::Tls { hint, .. } if hint.contains("client.cert")), "{error}");
    sign("me", "1")?;
    put(&host, "me.crt", "client.cert")?;
    put(&host, "registry.test.key", "client.key")?;
    let error = catalog(&host).unwrap_err();
    assert!(
        matches!(&error, Error::Settings { reason, .. } if reason.contains("does not fit")),
        "{error}"
    );
    put(&host, "me.key", "client.key")?;
    assert!(catalog(&host)?.is_empty());

    sign("registry.test", "-1")?;
    let expired = Registry::start(sandbox, "expired", &configuration("registry.test", ""))?;
    let host = expired.host("registry.test");
    put(&host, "authority.crt", "ca.crt")?;
    let error = catalog(&host).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
    insta::assert_snapshot!(lines);
    Ok(())
}

pub(crate) fn https_is_not_left(sandbox: &Sandbox) -> Outcome {
    name_hosts(sandbox)?;
    let tls = certificate(sandbox, "registry.test", &[])?;
    let folder = sandbox.path("certs.d");
    let refused = |registry: &Registry| -> Result<String, Box<dyn std::error::Error>> {
        let host = registry.host("registry.test");
        fs::create_dir_all(folder.join(&host))?;
        fs::copy(sandbox.path("registry.test.crt"), folder.join(&host).join("ca.crt"))?;
        let client = with(Settings { certificates: vec![folder.clone()], ..settings() });
        let error = crate::real::push(&client.registry(&host), "a", b"x", &[]).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
        Ok(error.to_string().replace(&registry.port.to_string(), "PORT"))
    };
    // As behind a proxy that ends TLS and does not say so.
    let uploads = format!("  host: http://registry.test:1\n{tls}");
    assert_eq!(
        refused(&Registry::start(sandbox, "uploads", &uploads)?)?,
        "registry registry.test:PORT: it sends us to registry.test:1 without https, refused"
    );
    let bundle = sandbox.path("registry.test.crt");
    let tokens = format!(
        "{tls}auth:\n  token: {{realm: 'http://other.test:1/token', service: s, issuer: i, rootcertbundle: {}}}\n",
        bundle.display()
    );
    assert_eq!(
        refused(&Registry::start(sandbox, "tokens", &tokens)?)?,
        "registry registry.test:PORT: its token server other.test:1 is without https, refused"
    );
    Ok(())
}

/// Leads each connection where it asks to, and says how often.
fn proxy(listener: &TcpListener, to: u16) -> std::io::Result<String> {
    let (mut near, _) = listener.accept()?;
    let mut head = BufReader::new(near.try_clone()?).lines();
    let first = head.next().unwrap_or(Ok(String::new()))?;
    while head.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let mut far = TcpStream::connect(("127.0.0.1", to))?;
    let (mut back_from, mut back_to) = (far.try_clone()?, near.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
    std::thread::spawn(move || std::io::copy(&mut near, &mut far));
    Ok(first)
}

/// The environment is read once and cannot be changed safely, so the test runs itself once more with the variables.
pub(crate) fn through_a_proxy(_sandbox: &Sandbox) -> Outcome {
    const PROXY: &str = "127.0.0.1:3128";
    if std::env::var_os("HTTP_PROXY").is_none() {
        let own = std::env::current_exe()?;
        let output = Command::new(own)
            .args(["--exact", "through_a_proxy"])
            .env("HTTP_PROXY", format!("http://user:hidden@{PROXY}"))
            .env("NO_PROXY", "direct.test")
            .env_remove("http_proxy")
            .env_remove("no_proxy")
            .output()?;
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return Ok(());
    }
    let server = Server::start(|_| reply(200, r#"{"tags":["t"]}"#));
    let mirrors =
        ["http://far.test:80", "http://direct.test", &format!("http://{}", server.host())];
    let mirrors = mirrors.map(str::to_owned).to_vec();
    let sources = with(Settings { mirrors, ..settings() }).sources(&"busybox".parse()?);
    let error = sources[0].tags("a").unwrap_err();
    let expected = "proxy 127.0.0.1:3128 on the way to far.test: connection refused \
        (hint: see HTTPS_PROXY and NO_PROXY)";
    assert_eq!(error.to_string(), expected);
    let listener = TcpListener::bind(PROXY)?;
    let port = server.port;
    let asked = std::thread::spawn(move || proxy(&listener, port));
    assert_eq!(sources[0].tags("a")?, ["t"], "the proxy looks the name up");
    assert_eq!(asked.join().unwrap()?, "CONNECT far.test:80 HTTP/1.1");
    assert!(matches!(sources[1].tags("a"), Err(Error::Unreachable { .. })), "not by the proxy");
    assert_eq!(sources[2].tags("a")?, ["t"], "loopback never by a proxy");
    Ok(())
}
