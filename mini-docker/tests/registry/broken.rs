//! A network that breaks: what comes in the end is right, or nothing does.

use std::time::Duration;

use testkit::registry::{Compression, Fault, Layout, Options, Proxy, Registry, Rule};
use testkit::{Outcome, Sandbox, Test};

use crate::support::Docker;
use crate::{done, leftovers, plain, ran, snapshots};

pub const TESTS: &[Test] = &[
    ("a_cut_connection_is_taken_up_where_it_broke", a_cut_connection_is_taken_up_where_it_broke),
    ("ranges_may_be_ignored", ranges_may_be_ignored),
    ("passing_failures_pass", passing_failures_pass),
    ("wrong_bytes_are_never_kept", wrong_bytes_are_never_kept),
    ("limits_of_the_registry_are_told", limits_of_the_registry_are_told),
    ("a_dead_registry_is_one_line", a_dead_registry_is_one_line),
    ("a_line_that_stays_broken_is_told", a_line_that_stays_broken_is_told),
    ("an_upload_that_breaks_goes_on", an_upload_that_breaks_goes_on),
];

const SIZE: u64 = 1_000_000;

/// A registry with an image of three layers of random bytes, and a proxy before it.
fn behind(sandbox: &Sandbox, rules: Vec<Rule>) -> crate::Result<(Registry, Proxy, Layout)> {
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = Layout::random(sandbox, "random", 3, SIZE, Compression::None)?;
    registry.push_layout(&layout.path, "latest", "app:1", &[])?;
    let proxy = Proxy::start(registry.address(), rules)?;
    Ok((registry, proxy, layout))
}

/// The blob of a layer, as part of a path.
fn layer(layout: &Layout, at: usize) -> crate::Result<String> {
    Ok(layout.manifest("latest")?["layers"][at]["digest"].as_str().unwrap().to_owned())
}

/// Checks the three files in the unpacked layers.
fn check(docker: &Docker, sandbox: &Sandbox, name: &str) -> Outcome {
    let listed = done(docker, sandbox, &["images", "-q", name])?;
    assert_eq!(listed.lines().count(), 1);
    let mut sizes = Vec::new();
    for entry in std::fs::read_dir(docker.root.join("layers"))?.flatten() {
        sizes.extend(crate::files(&entry.path().join("diff")));
    }
    sizes.sort();
    let expected: Vec<_> = (0..3).map(|at| (format!("layer-{at}"), SIZE)).collect();
    assert_eq!(sizes, expected);
    Ok(())
}

fn a_cut_connection_is_taken_up_where_it_broke(sandbox: &Sandbox) -> Outcome {
    let (_registry, proxy, layout) = behind(sandbox, Vec::new())?;
    for at in 0..3 {
        let blob = layer(&layout, at)?;
        proxy.add(Rule::new("GET", &blob, Fault::Cut { after: 700_000 }));
        proxy.add(Rule::new("GET", &blob, Fault::Cut { after: 1000 }));
    }
    let docker = Docker::new(sandbox);
    let name = format!("{}/app:1", proxy.address());
    done(&docker, sandbox, &["pull", "-q", &name])?;
    check(&docker, sandbox, &name)?;
    let ranges: Vec<String> = proxy
        .requests()
        .iter()
        .filter_map(|request| request.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges.len(), 6, "{ranges:?}");
    assert!(ranges.iter().all(|range| range.starts_with("bytes=70")), "{ranges:?}");
    let all = 3 * SIZE + 100_000;
    assert!(proxy.bytes_sent() < all, "{} bytes: something came twice", proxy.bytes_sent());
    Ok(())
}

fn ranges_may_be_ignored(sandbox: &Sandbox) -> Outcome {
    let (_registry, proxy, layout) = behind(sandbox, Vec::new())?;
    let blob = layer(&layout, 0)?;
    proxy.add(Rule::new("GET", &blob, Fault::Cut { after: 500_000 }));
    proxy.add(Rule::new("GET", &blob, Fault::IgnoreRange).always());
    let docker = Docker::new(sandbox);
    let name = format!("{}/app:1", proxy.address());
    done(&docker, sandbox, &["pull", "-q", &name])?;
    check(&docker, sandbox, &name)
}

fn passing_failures_pass(sandbox: &Sandbox) -> Outcome {
    let (_registry, proxy, layout) = behind(sandbox, Vec::new())?;
    let docker = Docker::new(sandbox);
    let name = format!("{}/app:1", proxy.address());
    proxy.add(Rule::new("GET", "/manifests/", Fault::status(503)));
    proxy.add(Rule::new("GET", "/manifests/", Fault::Drop));
    proxy.add(Rule::new("GET", "/manifests/", Fault::Delay(Duration::from_millis(300))));
    proxy.add(Rule::new("GET", &layer(&layout, 0)?, Fault::status(500)).times(2));
    proxy.add(Rule::new("GET", &layer(&layout, 1)?, Fault::Drop).times(2));
    proxy.add(Rule::new("GET", &layer(&layout, 1)?, Fault::Truncate { after: 10 }));
    let slow = Fault::answer(429, &[("Retry-After", "1")], "slow down");
    proxy.add(Rule::new("GET", &layer(&layout, 2)?, slow));
    let stall = Fault::Stall { after: 1000, pause: Duration::from_millis(500) };
    proxy.add(Rule::new("GET", &layer(&layout, 2)?, stall));
    done(&docker, sandbox, &["pull", "-q", &name])?;
    check(&docker, sandbox, &name)
}

fn wrong_bytes_are_never_kept(sandbox: &Sandbox) -> Outcome {
    let (_registry, proxy, layout) = behind(sandbox, Vec::new())?;
    let docker = Docker::new(sandbox);
    let name = format!("{}/app:1", proxy.address());
    assert_eq!(ran(&docker, sandbox, &["images", "-q"])?.code, 0);
    // Once is an accident: the blob is fetched again.
    proxy.add(Rule::new("GET", &layer(&layout, 1)?, Fault::Corrupt { at: 500_000 }));
    done(&docker, sandbox, &["pull", "-q", &name])?;
    check(&docker, sandbox, &name)?;
    done(&docker, sandbox, &["rmi", &name])?;
    assert!(leftovers(&docker).is_empty(), "{:?}", leftovers(&docker));
    let mut text = String::new();
    let config = layout.manifest("latest")?["config"]["digest"].as_str().unwrap().to_owned();
    let manifest = layout.digest("latest")?;
    let by_digest = format!("{}/app@{manifest}", proxy.address());
    for (what, part, at, name) in [
        ("layer", layer(&layout, 1)?, 500_000, &name),
        ("config", config, 10, &name),
        // In a number, so that it still is JSON.
        ("manifest", format!("manifests/{manifest}"), 20, &by_digest),
    ] {
        proxy.reset();
        proxy.add(Rule::new("GET", &part, Fault::Corrupt { at }).always());
        let ran = ran(&docker, sandbox, &["pull", "-q", name])?;
        text.push_str(&format!("{what}\n{}{}? {}\n", ran.stdout, ran.stderr, ran.code));
        assert_eq!(done(&docker, sandbox, &["images", "-q"])?, "");
        done(&docker, sandbox, &["image", "prune", "-f"])?;
        assert!(leftovers(&docker).is_empty(), "{what}: {:?}", leftovers(&docker));
    }
    snapshots(|| insta::assert_snapshot!(plain(&text, sandbox)));
    Ok(())
}

fn limits_of_the_registry_are_told(sandbox: &Sandbox) -> Outcome {
    let (_registry, proxy, _layout) = behind(sandbox, Vec::new())?;
    let docker = Docker::new(sandbox);
    let name = format!("{}/app:1", proxy.address());
    let mut text = String::new();
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    for (what, fault) in [
        ("long limit", Fault::answer(429, &[("Retry-After", "3600")], body)),
        ("html", Fault::answer(403, &[("Content-Type", "text/html")], "<html><h1>No</h1></html>")),
        ("teapot", Fault::answer(418, &[], "\u{1b}[31mred")),
        (
            "server error",
            Fault::answer(500, &[], r#"{"errors":[{"code":"UNKNOWN","message":"disk"}]}"#),
        ),
        ("loop", Fault::Redirect(format!("http://{}/v2/app/manifests/1", proxy.address()))),
    ] {
        proxy.reset();
        proxy.add(Rule::new("GET", "/manifests/", fault).always());
        let settings = serde_json::json!({ "max-download-attempts": 2 });
        std::fs::write(crate::settings(sandbox), settings.to_string())?;
        let ran = ran(&docker, sandbox, &["pull", "-q", &name])?;
        text.push_str(&format!("{what}\n{}{}? {}\n", ran.stdout, ran.stderr, ran.code));
    }
    snapshots(|| insta::assert_snapshot!(plain(&text, sandbox)));
    assert!(!text.contains('\u{1b}'));
    Ok(())
}

fn a_dead_registry_is_one_line(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::new(sandbox);
    let mut registry = Registry::start(sandbox, Options::default())?;
    registry.stop();
    let dead = format!("{}/app:1", registry.address());
    let mut text = String::new();
    for name in [dead.as_str(), "no-such-host.invalid/app:1"] {
        let ran = ran(&docker, sandbox, &["pull", "-q", name])?;
        text.push_str(&format!("{}{}? {}\n", ran.stdout, ran.stderr, ran.code));
    }
    snapshots(|| insta::assert_snapshot!(plain(&text, sandbox)));
    Ok(())
}

fn a_line_that_stays_broken_is_told(sandbox: &Sandbox) -> Outcome {
    let (_registry, proxy, layout) = behind(sandbox, Vec::new())?;
    let docker = Docker::new(sandbox);
    let name = format!("{}/app:1", proxy.address());
    std::fs::write(crate::settings(sandbox), r#"{"max-download-attempts": 2}"#)?;
    let blob = layer(&layout, 1)?;
    proxy.add(Rule::new("GET", &blob, Fault::Cut { after: 700_000 }));
    proxy.add(Rule::new("GET", &blob, Fault::Drop).always());
    let broken = ran(&docker, sandbox, &["pull", "-q", &name])?;
    snapshots(|| insta::assert_snapshot!(plain(&broken.stderr, sandbox)));
    assert_eq!(done(&docker, sandbox, &["images", "-q"])?, "");
    // What has arrived is not asked for again.
    proxy.reset();
    done(&docker, sandbox, &["pull", "-q", &name])?;
    let requests = proxy.requests();
    let again: Vec<_> = requests.iter().filter(|request| request.is("GET", &blob)).collect();
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(again[0].header("range"), Some("bytes=700000-"), "{again:?}");
    check(&docker, sandbox, &name)
}

fn an_upload_that_breaks_goes_on(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = Layout::random(sandbox, "random", 2, 40_000_000, Compression::None)?;
    let proxy = Proxy::start(registry.address(), Vec::new())?;
    let docker = Docker::new(sandbox);
    let path = layout.path.to_string_lossy().into_owned();
    let name = format!("{}/app:1", proxy.address());
    done(&docker, sandbox, &["load", "-i", &path, "--name", &name])?;
    proxy.add(Rule::new("PATCH", "/uploads/", Fault::CutRequest { after: 5_000_000 }).times(2));
    proxy.add(Rule::new("POST", "/uploads/", Fault::status(503)));
    proxy.add(Rule::new("PUT", "/manifests/", Fault::status(502)));
    let pushed = done(&docker, sandbox, &["push", &name])?;
    // The layers were plain; there they are gzip, and here now too.
    let there = String::from_utf8(registry.manifest("app:1")?)?;
    assert!(there.contains("tar+gzip"), "{there}");
    let digest = pushed.lines().last().unwrap().split(' ').nth(2).unwrap();
    let here = done(&docker, sandbox, &["images", "--digests"])?;
    assert!(here.contains(digest), "{here} {digest}");
    // It can be pulled again by somebody else.
    let other = Docker { root: sandbox.path("root2"), run_root: sandbox.path("run2") };
    let clean = format!("{}/app:1", registry.address());
    done(&other, sandbox, &["pull", "-q", &clean])?;
    Ok(())
}
