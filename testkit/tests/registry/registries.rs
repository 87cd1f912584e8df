//! docker-registry in each of its modes.

use testkit::registry::{Layout, Options, Registry};
use testkit::{Outcome, Sandbox};

use crate::{curl, expect, output, status};

pub(crate) fn plain(sandbox: &Sandbox) -> Outcome {
    let mut registry = Registry::start(sandbox, Options::default())?;
    let other = Registry::start(sandbox, Options { name: "other", ..Options::default() })?;
    assert_eq!(registry.host(), "127.0.0.1");
    assert_eq!(registry.address(), format!("127.0.0.1:{}", registry.port()));
    assert_eq!(status(&[&format!("{}/v2/", registry.url())])?, "200");
    assert_eq!(registry.blobs(), [""; 0]);

    let layout = Layout::busybox(sandbox, "busybox")?;
    registry.push_layout(&layout.path, "latest", "library/busybox:1", &[])?;
    let digest = layout.digest("latest")?;
    let manifest = layout.manifest("latest")?;
    let mut expected = vec![
        digest.clone(),
        manifest["config"]["digest"].as_str().unwrap().to_owned(),
        manifest["layers"][0]["digest"].as_str().unwrap().to_owned(),
    ];
    expected.sort();
    assert_eq!(registry.blobs(), expected);
    assert_eq!(registry.manifest("library/busybox:1")?, std::fs::read(layout.blob_path(&digest))?);
    assert_eq!(
        std::fs::read(registry.blob_file(&digest))?,
        registry.manifest("library/busybox:1")?
    );
    expect(registry.log().contains("GET /v2/"), "the log has the requests")?;
    assert_eq!(other.blobs(), [""; 0]);

    let back = Layout::new(sandbox.path("back"))?;
    registry.pull_layout("library/busybox:1", &back.path, "here", &[])?;
    assert_eq!(back.digest("here")?, digest);

    registry.stop();
    registry.stop();
    assert_eq!(status(&[&format!("{}/v2/", registry.url())])?, "000");
    assert_eq!(status(&[&format!("{}/v2/", other.url())])?, "200");
    Ok(())
}

pub(crate) fn passwords(sandbox: &Sandbox) -> Outcome {
    let htpasswd = Some(("alice", "secret"));
    let registry = Registry::start(sandbox, Options { htpasswd, ..Options::default() })?;
    let url = format!("{}/v2/", registry.url());
    assert_eq!(status(&[&url])?, "401");
    assert_eq!(status(&["--user", "alice:wrong", &url])?, "401");
    assert_eq!(status(&["--user", "alice:secret", &url])?, "200");
    let layout = Layout::random(sandbox, "image", 1, 100, Default::default())?;
    registry.push_layout(&layout.path, "latest", "alice/image:1", &[])?;
    assert_eq!(registry.blobs().len(), 3);
    Ok(())
}

pub(crate) fn tls(sandbox: &Sandbox) -> Outcome {
    let names = &["registry.example"];
    let registry = Registry::start(sandbox, Options { tls: true, names, ..Options::default() })?;
    let ca = registry.ca().ok_or("no CA")?.display().to_string();
    let url = format!("{}/v2/", registry.url());
    expect(url.starts_with("https://127.0.0.1:"), "the URL is of HTTPS")?;
    // curl(1): 60 is a certificate that cannot be authenticated with known CAs.
    assert_eq!(curl(&[&url])?.1, 60);
    assert_eq!(status(&["--cacert", &ca, &url])?, "200");
    assert_eq!(status(&["--cacert", &ca, &url.replace("127.0.0.1", "localhost")])?, "200");
    let port = registry.port();
    for (name, code) in [("registry.example", 0), ("another.example", 60)] {
        let resolve = format!("{name}:{port}:127.0.0.1");
        let url = format!("https://{name}:{port}/v2/");
        assert_eq!(curl(&["--cacert", &ca, "--resolve", &resolve, &url])?.1, code, "{name}");
    }
    let layout = Layout::random(sandbox, "image", 1, 100, Default::default())?;
    registry.push_layout(&layout.path, "latest", "image:1", &[])?;
    Ok(())
}

pub(crate) fn client_certificates(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options { client_tls: true, ..Options::default() })?;
    let ca = registry.ca().ok_or("no CA")?.display().to_string();
    let url = format!("{}/v2/", registry.url());
    expect(status(&["--cacert", &ca, &url])? != "200", "without a certificate it is refused")?;
    let (body, code) = output(&mut registry.curl("/v2/"))?;
    assert_eq!((body.as_slice(), code), (&b"{}"[..], 0));
    let layout = Layout::random(sandbox, "image", 1, 100, Default::default())?;
    registry.push_layout(&layout.path, "latest", "image:1", &[])?;
    Ok(())
}

pub(crate) fn mirror(sandbox: &Sandbox) -> Outcome {
    let origin = Registry::start(sandbox, Options::default())?;
    let layout = Layout::random(sandbox, "image", 1, 100, Default::default())?;
    origin.push_layout(&layout.path, "latest", "library/image:1", &[])?;
    let url = origin.url();
    let mirror_of = Some(url.as_str());
    let options = Options { name: "mirror", mirror_of, ..Options::default() };
    let mirror = Registry::start(sandbox, options)?;
    assert_eq!(mirror.manifest("library/image:1")?, origin.manifest("library/image:1")?);
    expect(mirror.push_layout(&layout.path, "latest", "a:1", &[]).is_err(), "it is read-only")
}

pub(crate) fn a_bad_configuration_is_told(sandbox: &Sandbox) -> Outcome {
    let first = Registry::start(sandbox, Options::default())?;
    let options = Options { name: "second", port: first.port(), ..Options::default() };
    // Somebody listens there: the port answers, but it is not this one.
    let error = Registry::start(sandbox, options).err().ok_or("two on one port")?.to_string();
    expect(error.contains("address already in use"), &error)
}
