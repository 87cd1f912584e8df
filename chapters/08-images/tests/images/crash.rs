//! Killed in the middle, and not alone.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use images::{Source, Store};
use testkit::{Outcome, Sandbox};

use crate::make::*;

/// An archive whose layer takes a while to spool.
fn slow_archive(path: &Path, name: &str, fill: u8) -> Outcome {
    let layer = tar(&[("big", Is::File(vec![fill; 24 << 20])), ("name", Is::File(name.into()))]);
    let mut layout = Layout::default();
    let mut manifest = layout.image(&config(&[&layer]), &[layer]);
    manifest["annotations"] = serde_json::json!({"io.containerd.image.name": name});
    layout.index.push(manifest);
    std::fs::write(path, layout.tar())?;
    Ok(())
}

fn load(sandbox: &Sandbox, archive: &str) -> Result<Child, Box<dyn std::error::Error>> {
    let mut command = Command::new(testkit::example("inside-an-image")?);
    command.args(["store", "load", archive]).current_dir(&sandbox.dir).stdout(Stdio::null());
    Ok(command.spawn()?)
}

/// Everything that the index names is there and right.
fn check(store: &Store) -> Outcome {
    assert_eq!(store.damaged()?, []);
    for image in store.list()? {
        for layer in &image.layers {
            std::io::copy(&mut store.open_layer(layer)?, &mut std::io::sink())?;
        }
    }
    Ok(())
}

pub(crate) fn a_kill_at_any_time(sandbox: &Sandbox) -> Outcome {
    slow_archive(&sandbox.path("old.tar"), "docker.io/library/x:1", 1)?;
    slow_archive(&sandbox.path("new.tar"), "docker.io/library/x:1", 2)?;
    let root = sandbox.path("store");
    let store = Store::open(&root)?;
    store.load(Source::open(&sandbox.path("old.tar"))?, None)?;
    let old = store.resolve("x:1")?.id;
    let begun = Instant::now();
    assert!(load(sandbox, "new.tar")?.wait()?.success());
    let whole = begun.elapsed();
    let new = store.resolve("x:1")?.id;

    let mut seen = (0, 0);
    for at in 0..16 {
        store.load(Source::open(&sandbox.path("old.tar"))?, None)?;
        // None of the new image's blobs may be there from before, or a name without its blobs would not show.
        store.remove(&new, true, &|_| Vec::new())?;
        let mut child = load(sandbox, "new.tar")?;
        std::thread::sleep(whole.mul_f64(f64::from(at) / 13.0));
        child.kill()?;
        child.wait()?;
        check(&store)?;
        match store.resolve("x:1")?.id {
            id if id == old => {
                seen.0 += 1;
                store.load(Source::open(&sandbox.path("new.tar"))?, None)?;
            }
            id if id == new => seen.1 += 1,
            id => panic!("{id} is neither the old nor the new image"),
        }
    }
    assert!(seen.0 > 0, "no kill came before the end: {seen:?} in {whole:?}");
    store.gc()?;
    assert_eq!(std::fs::read_dir(root.join("tmp"))?.count(), 0, "leftovers are reclaimed");
    check(&store)
}

pub(crate) fn two_loads_at_the_same_time(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("store");
    for (at, name) in ["a", "b", "c"].iter().enumerate() {
        slow_archive(
            &sandbox.path(format!("{name}.tar")),
            &format!("docker.io/library/{name}:1"),
            at as u8,
        )?;
    }
    // The same archive twice, others beside it, and somebody who sweeps all the time. Even the store is new.
    let mut loads = Vec::new();
    for name in ["a", "b", "a", "c"] {
        loads.push(load(sandbox, &format!("{name}.tar"))?);
    }
    let store = Store::open(&root)?;
    let patience = Instant::now() + Duration::from_secs(60);
    while !loads.is_empty() {
        store.gc()?;
        check(&store)?;
        let mut failed = Vec::new();
        loads.retain_mut(|load| match load.try_wait().unwrap() {
            Some(status) => {
                failed.extend((!status.success()).then_some(status));
                false
            }
            None => true,
        });
        assert_eq!(failed, []);
        assert!(Instant::now() < patience, "a load waits for ever");
    }
    assert_eq!(store.list()?.len(), 3);
    check(&store)?;
    let mut bytes = Vec::new();
    store.open_layer(&store.resolve("b:1")?.layers[0])?.take(512).read_to_end(&mut bytes)?;
    assert!(bytes.starts_with(b"big"));
    assert_eq!(std::fs::read_dir(root.join("tmp"))?.count(), 0);
    Ok(())
}
