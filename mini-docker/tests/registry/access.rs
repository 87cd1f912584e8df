//! Who may, and by which way: passwords, tokens, certificates, mirrors, proxies.

use std::process::Stdio;

use testkit::registry::{
    Fault, ForwardProxy, Layout, Options, Proxy, Registry, Rule, TokenOptions, TokenServer,
};
use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Ran, finish};
use crate::{command, done, plain, ran, snapshots};

pub const TESTS: &[Test] = &[
    ("a_password_is_asked_for_and_kept", a_password_is_asked_for_and_kept),
    ("a_private_authority_must_be_known", a_private_authority_must_be_known),
    ("a_certificate_of_the_client_is_shown", a_certificate_of_the_client_is_shown),
    ("a_token_server_gives_what_is_needed", a_token_server_gives_what_is_needed),
    ("a_blob_is_mounted_from_another_repository", a_blob_is_mounted_from_another_repository),
    ("the_hub_and_its_mirrors", the_hub_and_its_mirrors),
    ("plain_http_only_where_it_is_allowed", plain_http_only_where_it_is_allowed),
    ("credentials_do_not_follow_a_redirect", credentials_do_not_follow_a_redirect),
];

fn login(
    docker: &Docker,
    sandbox: &Sandbox,
    server: &str,
    user: &str,
    password: &str,
) -> crate::Result<Ran> {
    let mut child = command(docker, sandbox, &["login", "-u", user, "--password-stdin", server])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), password.as_bytes())?;
    let output = child.wait_with_output()?;
    Ok(Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

fn a_password_is_asked_for_and_kept(sandbox: &Sandbox) -> Outcome {
    let options = Options { htpasswd: Some(("alice", "secret")), ..Options::default() };
    let registry = Registry::start(sandbox, options)?;
    let layout = Layout::busybox(sandbox, "busybox")?;
    registry.push_layout(&layout.path, "latest", "app:1", &[])?;
    let docker = Docker::new(sandbox);
    let name = format!("{}/app:1", registry.address());
    let mut text = String::new();
    let mut tell = |what: &str, ran: Ran| {
        text.push_str(&format!("{what}\n{}{}? {}\n", ran.stdout, ran.stderr, ran.code));
    };
    tell("pull before", ran(&docker, sandbox, &["pull", "-q", &name])?);
    tell("wrong password", login(&docker, sandbox, registry.address(), "alice", "wrong")?);
    tell("login", login(&docker, sandbox, registry.address(), "alice", "secret")?);
    tell("pull", ran(&docker, sandbox, &["pull", "-q", &name])?);
    let other = format!("{}/other:2", registry.address());
    done(&docker, sandbox, &["tag", &name, &other])?;
    tell("push", ran(&docker, sandbox, &["push", "-q", &other])?);
    tell("logout", ran(&docker, sandbox, &["logout", registry.address()])?);
    tell("push after", ran(&docker, sandbox, &["push", "-q", &other])?);
    snapshots(|| insta::assert_snapshot!(plain(&text, sandbox)));
    assert!(!text.contains("secret"));
    Ok(())
}

fn a_private_authority_must_be_known(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options { tls: true, ..Options::default() })?;
    let layout = Layout::busybox(sandbox, "busybox")?;
    registry.push_layout(&layout.path, "latest", "app:1", &[])?;
    let docker = Docker::new(sandbox);
    // Loopback may do without certificates: another name may not.
    let proxy = ForwardProxy::start(&[("registry.test:443", registry.address())], None)?;
    let strict = Registry::start(
        sandbox,
        Options { name: "strict", tls: true, names: &["registry.test"], ..Options::default() },
    )?;
    strict.push_layout(&layout.path, "latest", "app:1", &[])?;
    let to_strict = ForwardProxy::start(&[("registry.test:443", strict.address())], None)?;
    let pull = |proxy: &ForwardProxy| {
        let mut pull = command(&docker, sandbox, &["pull", "-q", "registry.test/app:1"]);
        finish(pull.env("HTTPS_PROXY", proxy.url()))
    };
    let mut text = String::new();
    let unknown = pull(&to_strict)?;
    text.push_str(&format!("unknown authority\n{}? {}\n", unknown.stderr, unknown.code));
    let certs = sandbox.path("certs.d/registry.test");
    std::fs::create_dir_all(&certs)?;
    std::fs::copy(registry.ca().unwrap(), certs.join("ca.crt"))?;
    let wrong_name = pull(&proxy)?;
    text.push_str(&format!("another name\n{}? {}\n", wrong_name.stderr, wrong_name.code));
    std::fs::copy(strict.ca().unwrap(), certs.join("ca.crt"))?;
    let good = pull(&to_strict)?;
    text.push_str(&format!("known\n{}{}? {}\n", good.stdout, good.stderr, good.code));
    std::fs::write(certs.join("ca.crt"), "no certificate")?;
    let damaged = pull(&to_strict)?;
    text.push_str(&format!("damaged\n{}? {}\n", damaged.stderr, damaged.code));
    snapshots(|| insta::assert_snapshot!(plain(&text, sandbox)));
    assert!(to_strict.asked().iter().any(|asked| asked.method == "CONNECT"));
    // And on loopback without a word, as Docker does it.
    let local = format!("{}/app:1", registry.address());
    done(&docker, sandbox, &["pull", "-q", &local])?;
    Ok(())
}

fn a_certificate_of_the_client_is_shown(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options { client_tls: true, ..Options::default() })?;
    let layout = Layout::busybox(sandbox, "busybox")?;
    registry.push_layout(&layout.path, "latest", "app:1", &[])?;
    let docker = Docker::new(sandbox);
    let name = format!("{}/app:1", registry.address());
    let without = ran(&docker, sandbox, &["pull", "-q", &name])?;
    assert_eq!(without.code, 1, "{without:?}");
    let certs = sandbox.path("certs.d").join(registry.address());
    std::fs::create_dir_all(&certs)?;
    let client = registry.client().unwrap();
    std::fs::copy(registry.ca().unwrap(), certs.join("ca.crt"))?;
    std::fs::copy(&client.certificate, certs.join("client.cert"))?;
    let half = ran(&docker, sandbox, &["pull", "-q", &name])?;
    assert_eq!(half.code, 1, "{half:?}");
    assert!(half.stderr.contains("client.key"), "{half:?}");
    std::fs::copy(&client.key, certs.join("client.key"))?;
    done(&docker, sandbox, &["pull", "-q", &name])?;
    Ok(())
}

fn a_token_server_gives_what_is_needed(sandbox: &Sandbox) -> Outcome {
    let tokens = TokenServer::start(
        sandbox,
        TokenOptions {
            users: &[("alice", "secret")],
            anonymous_pull: &["library/busybox"],
            ..TokenOptions::default()
        },
    )?;
    let registry =
        Registry::start(sandbox, Options { token: Some(&tokens), ..Options::default() })?;
    let layout = Layout::busybox(sandbox, "busybox")?;
    registry.push_layout(&layout.path, "latest", "library/busybox:1", &[])?;
    registry.push_layout(&layout.path, "latest", "alice/private:1", &[])?;
    let asked = tokens.requests().len();
    let docker = Docker::new(sandbox);
    let public = format!("{}/library/busybox:1", registry.address());
    done(&docker, sandbox, &["pull", "-q", &public])?;
    assert_eq!(tokens.requests().len(), asked + 1, "one token is enough: {:?}", tokens.requests());
    let private = format!("{}/alice/private:1", registry.address());
    let denied = ran(&docker, sandbox, &["pull", "-q", &private])?;
    assert_eq!(denied.code, 1, "{denied:?}");
    let mut text = format!("anonymous\n{}", denied.stderr);
    let wrong = login(&docker, sandbox, registry.address(), "alice", "wrong")?;
    text.push_str(&format!("wrong\n{}? {}\n", wrong.stderr, wrong.code));
    let good = login(&docker, sandbox, registry.address(), "alice", "secret")?;
    assert_eq!(good.code, 0, "{good:?}");
    assert!(good.stdout.ends_with("Login Succeeded\n"), "{good:?}");
    done(&docker, sandbox, &["pull", "-q", &private])?;
    let new = format!("{}/alice/new:1", registry.address());
    done(&docker, sandbox, &["tag", &private, &new])?;
    done(&docker, sandbox, &["push", "-q", &new])?;
    done(&docker, sandbox, &["logout", registry.address()])?;
    let refused = ran(&docker, sandbox, &["push", "-q", &new])?;
    text.push_str(&format!("push without login\n{}? {}\n", refused.stderr, refused.code));
    snapshots(|| insta::assert_snapshot!(plain(&text, sandbox)));
    Ok(())
}

fn a_blob_is_mounted_from_another_repository(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let proxy = Proxy::start(registry.address(), Vec::new())?;
    let layout = Layout::busybox(sandbox, "busybox")?;
    registry.push_layout(&layout.path, "latest", "base:1", &[])?;
    let docker = Docker::new(sandbox);
    let base = format!("{}/base:1", proxy.address());
    let copy = format!("{}/team/copy:1", proxy.address());
    done(&docker, sandbox, &["pull", "-q", &base])?;
    done(&docker, sandbox, &["tag", &base, &copy])?;
    let pushed = done(&docker, sandbox, &["push", &copy])?;
    assert!(pushed.contains(": Mounted from base\n"), "{pushed}");
    let layer = layout.manifest("latest")?["layers"][0]["size"].as_u64().unwrap();
    assert!(proxy.bytes_received() < layer, "the layer was sent all the same");
    assert!(
        pushed.ends_with(&format!(
            "1: digest: {} size: {}\n",
            layout.digest("latest")?,
            layout.manifest("latest")?.to_string().len()
        )),
        "{pushed}"
    );
    let again = done(&docker, sandbox, &["push", &copy])?;
    assert!(again.contains(": Layer already exists\n"), "{again}");
    Ok(())
}

fn the_hub_and_its_mirrors(sandbox: &Sandbox) -> Outcome {
    // Names of the real Docker Hub, all of which lead to a registry of this test.
    let hub = Registry::start(
        sandbox,
        Options { name: "hub", tls: true, names: &["registry-1.docker.io"], ..Options::default() },
    )?;
    let layout = Layout::busybox(sandbox, "busybox")?;
    hub.push_layout(&layout.path, "latest", "library/busybox:latest", &[])?;
    let proxy = ForwardProxy::start(&[("registry-1.docker.io:443", hub.address())], None)?;
    let certs = sandbox.path("certs.d/docker.io");
    std::fs::create_dir_all(&certs)?;
    std::fs::copy(hub.ca().unwrap(), certs.join("ca.crt"))?;
    let pull = |docker: &Docker, name: &str| {
        let mut pull = command(docker, sandbox, &["pull", name]);
        finish(pull.env("https_proxy", proxy.url()))
    };
    let docker = Docker::new(sandbox);
    let pulled = pull(&docker, "busybox")?;
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert!(
        pulled
            .stdout
            .starts_with("Using default tag: latest\nlatest: Pulling from library/busybox\n")
    );
    assert!(pulled.stdout.ends_with("docker.io/library/busybox:latest\n"), "{pulled:?}");
    assert_eq!(done(&docker, sandbox, &["images", "-q"])?.lines().count(), 1);

    // Mirrors: the first is dead, the second does not have it, the third does.
    let asked = proxy.asked().len();
    let empty = Registry::start(sandbox, Options { name: "empty", ..Options::default() })?;
    let mirror = Registry::start(sandbox, Options { name: "mirror", ..Options::default() })?;
    mirror.push_layout(&layout.path, "latest", "library/busybox:latest", &[])?;
    let dead = testkit::registry::free_address()?;
    let list = [format!("http://{dead}"), empty.url(), mirror.url()];
    let settings = serde_json::json!({ "registry-mirrors": list });
    std::fs::write(crate::settings(sandbox), settings.to_string())?;
    let other = Docker { root: sandbox.path("root2"), run_root: sandbox.path("run2") };
    let pulled = pull(&other, "busybox")?;
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert!(pulled.stdout.ends_with("docker.io/library/busybox:latest\n"), "{pulled:?}");
    assert_eq!(proxy.asked().len(), asked, "the hub was not asked");
    // What only the hub has comes from there.
    hub.push_layout(&layout.path, "latest", "alice/own:1", &[])?;
    let pulled = pull(&other, "alice/own:1")?;
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert!(proxy.asked().len() > asked);
    let missing = pull(&other, "nobody/has:this")?;
    assert_eq!(missing.code, 1);
    snapshots(|| insta::assert_snapshot!(plain(&missing.stderr, sandbox)));
    Ok(())
}

fn plain_http_only_where_it_is_allowed(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = Layout::busybox(sandbox, "busybox")?;
    registry.push_layout(&layout.path, "latest", "app:1", &[])?;
    let port = registry.port();
    // An address that is not loopback; only the proxy knows where it leads.
    let public = format!("10.99.0.1:{port}");
    let docker = Docker::new(sandbox);
    let proxy = ForwardProxy::start(&[(public.as_str(), registry.address())], None)?;
    let name = format!("{public}/app:1");
    let pull = || {
        let mut pull = command(&docker, sandbox, &["pull", "-q", &name]);
        finish(pull.env("HTTP_PROXY", proxy.url()).env("HTTPS_PROXY", proxy.url()))
    };
    let refused = pull()?;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("insecure-registries"), "{refused:?}");
    for allowed in [public.clone(), "10.99.0.0/16".to_owned()] {
        let settings = serde_json::json!({ "insecure-registries": [allowed] });
        std::fs::write(crate::settings(sandbox), settings.to_string())?;
        let pulled = pull()?;
        assert_eq!(pulled.code, 0, "{allowed}: {pulled:?}");
    }
    // The proxy wants a password: without it there is one clear line.
    let strict = ForwardProxy::start(&[(public.as_str(), registry.address())], Some(("p", "w")))?;
    let pull = |url: &str| {
        let mut pull = command(&docker, sandbox, &["pull", "-q", &name]);
        finish(pull.env("HTTP_PROXY", url).env("HTTPS_PROXY", url))
    };
    let refused = pull(&strict.url())?;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("proxy"), "{refused:?}");
    let pulled = pull(&strict.url().replace("http://", "http://p:w@"))?;
    assert_eq!(pulled.code, 0, "{pulled:?}");
    // NO_PROXY: nobody listens at that address.
    let mut direct = command(&docker, sandbox, &["pull", "-q", &name]);
    let direct = finish(direct.env("HTTP_PROXY", proxy.url()).env("NO_PROXY", "10.99.0.0/16"))?;
    assert_eq!(direct.code, 1, "{direct:?}");
    Ok(())
}

fn credentials_do_not_follow_a_redirect(sandbox: &Sandbox) -> Outcome {
    let options = Options { htpasswd: Some(("alice", "secret")), ..Options::default() };
    let registry = Registry::start(sandbox, options)?;
    let layout =
        Layout::random(sandbox, "random", 3, 100_000, testkit::registry::Compression::Gzip)?;
    registry.push_layout(&layout.path, "latest", "app:1", &[])?;
    // Blobs lie elsewhere, and whoever brings a password there is sent away.
    let rule = Rule::new("GET", "/blobs/", Fault::Cdn).always();
    let proxy = Proxy::start(registry.address(), vec![rule])?;
    let docker = Docker::new(sandbox);
    let logged_in = login(&docker, sandbox, proxy.address(), "alice", "secret")?;
    assert_eq!(logged_in.code, 0, "{logged_in:?}");
    done(&docker, sandbox, &["pull", "-q", &format!("{}/app:1", proxy.address())])?;
    let there: Vec<_> =
        proxy.requests().into_iter().filter(|request| request.path.starts_with("/cdn/")).collect();
    assert_eq!(there.len(), 4, "{there:?}");
    for request in there {
        assert_eq!((request.header("authorization"), request.status), (None, 200), "{request:?}");
    }
    Ok(())
}
