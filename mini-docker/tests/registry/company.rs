//! Two at the same time, and one that was killed.

use std::process::Stdio;
use std::time::Duration;

use testkit::registry::{Compression, Fault, Layout, Options, Proxy, Registry, Rule};
use testkit::{Outcome, Sandbox, Test};

use crate::support::Docker;
use crate::{command, done, leftovers};

pub const TESTS: &[Test] = &[
    ("two_pulls_share_the_work", two_pulls_share_the_work),
    ("a_killed_pull_is_completed_by_the_next", a_killed_pull_is_completed_by_the_next),
    ("a_kill_at_any_time_harms_nothing", a_kill_at_any_time_harms_nothing),
    ("prune_takes_what_a_killed_pull_left", prune_takes_what_a_killed_pull_left),
];

const LAYERS: usize = 6;
const SIZE: u64 = 2_000_000;

fn slow(sandbox: &Sandbox, rate: u64) -> crate::Result<(Registry, Proxy, Layout)> {
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = Layout::random(sandbox, "random", LAYERS, SIZE, Compression::None)?;
    registry.push_layout(&layout.path, "latest", "app:1", &[])?;
    let rules = vec![Rule::new("GET", "/blobs/", Fault::Throttle(rate)).always()];
    let proxy = Proxy::start(registry.address(), rules)?;
    Ok((registry, proxy, layout))
}

fn two_pulls_share_the_work(sandbox: &Sandbox) -> Outcome {
    let (_registry, proxy, layout) = slow(sandbox, 2_000_000)?;
    let docker = Docker::new(sandbox);
    let name = format!("{}/app:1", proxy.address());
    done(&docker, sandbox, &["images"])?;
    let pulls: Vec<_> = (0..3)
        .map(|_| {
            let mut pull = command(&docker, sandbox, &["pull", &name]);
            pull.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
        })
        .collect::<Result<_, _>>()?;
    for pull in pulls {
        let output = pull.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
        assert!(text.ends_with(&format!("{name}\n")), "{text}");
    }
    for layer in layout.manifest("latest")?["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap();
        assert_eq!(proxy.count("GET", digest), 1, "{digest} was fetched more than once");
    }
    assert_eq!(done(&docker, sandbox, &["images", "-q"])?.lines().count(), 1);
    assert_eq!(crate::files(&docker.root.join("images/incoming")), []);
    Ok(())
}

fn a_killed_pull_is_completed_by_the_next(sandbox: &Sandbox) -> Outcome {
    let (_registry, proxy, layout) = slow(sandbox, 4_000_000)?;
    let docker = Docker::new(sandbox);
    // One layer after the other, so that some are complete when it is killed.
    std::fs::write(crate::settings(sandbox), r#"{"max-concurrent-downloads": 1}"#)?;
    let name = format!("{}/app:1", proxy.address());
    let mut pull = command(&docker, sandbox, &["pull", "-q", &name]).spawn()?;
    let third = layout.manifest("latest")?["layers"][2]["digest"].as_str().unwrap().to_owned();
    proxy.wait_until(|requests| requests.iter().any(|request| request.is("GET", &third)))?;
    std::thread::sleep(Duration::from_millis(200));
    pull.kill()?;
    pull.wait()?;
    assert_eq!(done(&docker, sandbox, &["images", "-q"])?, "", "no half image is listed");
    let partial = crate::files(&docker.root.join("images/incoming"));
    assert_eq!(partial.len(), 1, "{partial:?}");
    assert!(partial[0].1 > 0, "{partial:?}");
    let before = proxy.bytes_sent();
    proxy.reset();
    done(&docker, sandbox, &["pull", "-q", &name])?;
    for (at, layer) in layout.manifest("latest")?["layers"].as_array().unwrap().iter().enumerate() {
        let digest = layer["digest"].as_str().unwrap();
        let requests = proxy.requests();
        let asked: Vec<_> = requests.iter().filter(|request| request.is("GET", digest)).collect();
        match at {
            0 | 1 => assert!(asked.is_empty(), "a verified layer came again: {asked:?}"),
            2 => {
                let range = asked[0].header("range").unwrap_or_default();
                assert_eq!(range, format!("bytes={}-", partial[0].1), "{asked:?}");
            }
            _ => assert_eq!(asked.len(), 1, "{asked:?}"),
        }
    }
    assert!(before > 0);
    assert_eq!(crate::files(&docker.root.join("images/incoming")), []);
    Ok(())
}

fn a_kill_at_any_time_harms_nothing(sandbox: &Sandbox) -> Outcome {
    let (_registry, proxy, layout) = slow(sandbox, 6_000_000)?;
    let docker = Docker::new(sandbox);
    let name = format!("{}/app:1", proxy.address());
    // The hosts' times differ, so moments are spread by what was asked for and a little more.
    for round in 0..12_u64 {
        let mut pull = command(&docker, sandbox, &["pull", "-q", &name]).spawn()?;
        std::thread::sleep(Duration::from_millis(5 + round * round * 4));
        pull.kill()?;
        pull.wait()?;
        let listed = done(&docker, sandbox, &["images", "-q"])?;
        if !listed.is_empty() {
            done(&docker, sandbox, &["rmi", &name])?;
        }
    }
    done(&docker, sandbox, &["pull", "-q", &name])?;
    let layers = std::fs::read_dir(docker.root.join("layers"))?.flatten();
    let layers = layers.filter(|entry| entry.path().join("diff").exists()).count();
    assert_eq!(layers, layout.manifest("latest")?["layers"].as_array().unwrap().len());
    done(&docker, sandbox, &["rmi", &name])?;
    done(&docker, sandbox, &["image", "prune", "-f"])?;
    assert!(leftovers(&docker).is_empty(), "{:?}", leftovers(&docker));
    Ok(())
}

fn prune_takes_what_a_killed_pull_left(sandbox: &Sandbox) -> Outcome {
    let (_registry, proxy, layout) = slow(sandbox, 4_000_000)?;
    let docker = Docker::new(sandbox);
    std::fs::write(crate::settings(sandbox), r#"{"max-concurrent-downloads": 2}"#)?;
    let name = format!("{}/app:1", proxy.address());
    let mut pull = command(&docker, sandbox, &["pull", "-q", &name]).spawn()?;
    let fourth = layout.manifest("latest")?["layers"][3]["digest"].as_str().unwrap().to_owned();
    proxy.wait_until(|requests| requests.iter().any(|request| request.is("GET", &fourth)))?;
    pull.kill()?;
    pull.wait()?;
    assert!(leftovers(&docker).len() > 3, "{:?}", leftovers(&docker));
    let pruned = done(&docker, sandbox, &["image", "prune", "-f"])?;
    let space = pruned.lines().last().unwrap().to_owned();
    assert!(space.starts_with("Total reclaimed space: ") && !space.ends_with(" 0B"), "{pruned}");
    assert!(leftovers(&docker).is_empty(), "{:?}", leftovers(&docker));
    Ok(())
}
