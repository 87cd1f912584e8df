//! The store: made once, removed once, whole whatever happens.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use testkit::{Outcome, Sandbox};
use volumes::{Error, Store};

use crate::{child, exit_code};

fn unused(_: &str) -> Vec<String> {
    Vec::new()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Everything in the store's folder but the lock.
fn entries(sandbox: &Sandbox) -> BTreeSet<String> {
    fs::read_dir(sandbox.path("volumes"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".lock")
        .collect()
}

pub(crate) fn a_volume_lives_and_dies(sandbox: &Sandbox) -> Outcome {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let store = Store::open(&sandbox.path("volumes"))?;
    let made = store.create(Some("data"), &pairs(&[("a", "b")]), &[])?;
    assert_eq!(made.mountpoint, sandbox.path("volumes/data/_data"));
    assert_eq!(fs::metadata(&made.mountpoint)?.permissions().mode() & 0o7777, 0o755);
    assert!(!made.anonymous);
    let anonymous = store.create(None, &[], &[])?;
    assert!(anonymous.anonymous && anonymous.name.len() == 64);
    assert!(anonymous.name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    // Another process, another time: all is on disk.
    let store = Store::open(&sandbox.path("volumes"))?;
    assert_eq!(store.get("data")?, made);
    assert_eq!(store.get("data")?.labels["a"], "b");
    let mut names: Vec<String> = store.list()?.into_iter().map(|volume| volume.name).collect();
    names.retain(|name| *name != anonymous.name);
    assert_eq!(names, ["data"]);
    fs::create_dir_all(made.mountpoint.join("x/y"))?;
    fs::write(made.mountpoint.join("x/y/z"), "")?;
    store.remove("data", &unused, false)?;
    store.remove(&anonymous.name, &unused, false)?;
    assert_eq!(entries(sandbox), BTreeSet::new());
    assert!(matches!(store.remove("data", &unused, false), Err(Error::NotFound { .. })));
    store.remove("data", &unused, true)?;
    for name in ["../data", "", ".", "..", ".lock", "a/b"] {
        assert!(matches!(store.get(name), Err(Error::NotFound { .. })), "{name}");
        assert!(matches!(store.create(Some(name), &[], &[]), Err(Error::Invalid(_))), "{name}");
    }
    Ok(())
}

pub(crate) fn a_volume_is_made_once(sandbox: &Sandbox) -> Outcome {
    let dir = sandbox.path("volumes");
    let store = Store::open(&dir)?;
    let makers: Vec<_> = (0..4)
        .map(|_| {
            child(CloneFlags::empty(), || {
                let volume = Store::open(&dir).unwrap().create(Some("data"), &[], &[]).unwrap();
                let file = volume.mountpoint.join(std::process::id().to_string());
                fs::write(file, "").map_or(1, |()| 0)
            })
            .unwrap()
        })
        .collect();
    for maker in makers {
        assert_eq!(exit_code(maker), 0);
    }
    let volume = store.get("data")?;
    assert_eq!(fs::read_dir(&volume.mountpoint)?.count(), 4, "all four got the same folder");
    let options = pairs(&[("o", "bind"), ("device", "/srv")]);
    let conflict = store.create(Some("data"), &[], &options);
    assert!(matches!(conflict, Err(Error::Conflict { .. })));
    Ok(())
}

pub(crate) fn a_volume_in_use_stays(sandbox: &Sandbox) -> Outcome {
    let store = Store::open(&sandbox.path("volumes"))?;
    let (volume, hold) = store.acquire(Some("data"), &[], &[])?;
    fs::write(volume.mountpoint.join("value"), "kept")?;
    // One container has it in its record, another is only being made and has a hold.
    let containers = |name: &str| -> Vec<String> {
        if name == "data" { vec!["c0ffee".into()] } else { Vec::new() }
    };
    match store.remove("data", &containers, true) {
        Err(Error::InUse { containers, .. }) => assert_eq!(containers, ["c0ffee"]),
        other => panic!("{other:?}"),
    }
    assert!(matches!(store.remove("data", &unused, true), Err(Error::InUse { .. })));
    let (_, second) = store.acquire(Some("data"), &[], &[])?;
    drop(hold);
    assert!(matches!(store.remove("data", &unused, true), Err(Error::InUse { .. })));
    assert_eq!(fs::read_to_string(volume.mountpoint.join("value"))?, "kept");
    drop(second);
    store.remove("data", &unused, false)?;
    assert_eq!(entries(sandbox), BTreeSet::new());
    Ok(())
}

pub(crate) fn prune_takes_what_nobody_uses(sandbox: &Sandbox) -> Outcome {
    let store = Store::open(&sandbox.path("volumes"))?;
    let loose = store.create(None, &[], &[])?;
    let used = store.create(None, &[], &[])?;
    store.create(Some("named"), &[], &[])?;
    store.create(Some("spared"), &pairs(&[("keep", "yes")]), &[])?;
    fs::write(loose.mountpoint.join("big"), vec![1; 1 << 20])?;
    let in_use = |name: &str| -> Vec<String> {
        if name == used.name { vec!["c0ffee".into()] } else { Vec::new() }
    };
    let pruned = store.prune(false, &|_| true, &in_use)?;
    assert_eq!(pruned.removed, [loose.name]);
    assert!((1 << 20..2 << 20).contains(&pruned.reclaimed), "{}", pruned.reclaimed);
    let pruned = store.prune(true, &|volume| !volume.labels.contains_key("keep"), &in_use)?;
    assert_eq!(pruned.removed, ["named"]);
    assert_eq!(entries(sandbox), BTreeSet::from([used.name, "spared".into()]));
    Ok(())
}

pub(crate) fn a_killed_command_leaves_a_whole_store(sandbox: &Sandbox) -> Outcome {
    let dir = sandbox.path("volumes");
    let store = Store::open(&dir)?;
    // What a power cut may leave, too.
    fs::create_dir_all(dir.join(".trash-0/_data/deep/deeper"))?;
    fs::create_dir_all(dir.join(".tmp-0"))?;
    fs::write(dir.join(".tmp-0/volume.json"), "{")?;
    store.reclaim()?;
    assert_eq!(entries(sandbox), BTreeSet::new());
    for round in 0..40 {
        let busy = child(CloneFlags::empty(), || {
            for number in 0.. {
                let name = format!("volume-{round}-{number}");
                let volume = store.create(Some(&name), &[], &[]).unwrap();
                fs::create_dir_all(volume.mountpoint.join("a/b/c")).unwrap();
                store.remove(&name, &unused, false).unwrap();
            }
            0
        })?;
        std::thread::sleep(Duration::from_millis(3 + round % 11));
        kill(busy, Signal::SIGKILL)?;
        assert_eq!(exit_code(busy), 128 + Signal::SIGKILL as i32);
        for volume in store.list()? {
            assert!(volume.mountpoint.is_dir(), "{}", volume.name);
        }
        // The next command, whatever it is, is not blocked and reclaims.
        store.create(Some("next"), &[], &[])?;
        let leftovers: Vec<String> =
            entries(sandbox).into_iter().filter(|name| name.starts_with('.')).collect();
        assert_eq!(leftovers, Vec::<String>::new());
    }
    store.prune(true, &|_| true, &unused)?;
    assert_eq!(entries(sandbox), BTreeSet::new());
    Ok(())
}

pub(crate) fn errors_read_well(sandbox: &Sandbox) -> Outcome {
    let store = Store::open(&sandbox.path("volumes"))?;
    store.create(Some("data"), &[], &[])?;
    let mut text = String::new();
    let mut tell = |error: Error| text += &format!("{error}\n\n");
    tell(store.get("missing").unwrap_err());
    tell(store.remove("data", &|_| vec!["c0ffee".into(), "deed".into()], false).unwrap_err());
    for options in [
        pairs(&[("type", "tmpfs"), ("device", "tmpfs")]),
        pairs(&[("type", "nfs"), ("o", "addr=10.0.0.1"), ("device", ":/export")]),
        pairs(&[("o", "bind"), ("device", "srv")]),
        pairs(&[("size", "10m")]),
    ] {
        tell(store.create(Some("other"), &[], &options).unwrap_err());
    }
    let options = pairs(&[("o", "bind"), ("device", "/srv")]);
    tell(store.create(Some("data"), &[], &options).unwrap_err());
    fs::write(sandbox.path("volumes/data/volume.json"), "{\"name\": ")?;
    tell(store.get("data").unwrap_err());
    store.remove("data", &unused, false)?;
    let text = text.replace(&*sandbox.dir.to_string_lossy(), "[dir]");
    insta::with_settings!({ prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("store_errors", text);
    });
    Ok(())
}
