//! The store, also when processes die or race.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use layers::{Added, DiffId, Error, Store};
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use syscalls::clone::{CloneArgs, Cloned, clone3};
use testkit::{Outcome, Sandbox};

use crate::support::Tar;

fn layer() -> Vec<u8> {
    let tar = Tar::new().dir("d").file("d/a", "aaa").symlink("l", "d");
    tar.file("big", &"x".repeat(3_000_000)).file("last", "z").end()
}

fn leftovers(store: &Path) -> usize {
    std::fs::read_dir(store.join("tmp")).map_or(0, Iterator::count)
}

pub(crate) fn a_layer_is_kept_once(sandbox: &Sandbox) -> Outcome {
    let dir = sandbox.path("deep/store");
    let store = Store::open(&dir)?;
    let tar = layer();
    let id = DiffId::of(&tar);
    assert!(!store.has(&id));
    assert!(matches!(store.size(&id), Err(Error::Missing(_))));
    assert!(matches!(store.remove(&id), Err(Error::Missing(_))));
    let added = store.add(&id, &tar[..])?;
    assert_eq!(added, Added { size: 3_000_004, files: 3 });
    assert!(store.has(&id) && store.path(&id).join("d/a").exists());
    struct Untouched;
    impl Read for Untouched {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("the layer is there: nothing must be read")
        }
    }
    assert_eq!(store.add(&id, Untouched)?, added);
    // What follows the end of the archive belongs to the digest: some writers pad to 10 KiB.
    let padded = [&tar[..], &[0; 7168]].concat();
    let padded_id = DiffId::of(&padded);
    store.add(&padded_id, &padded[..])?;
    let mut both = [id.clone(), padded_id.clone()];
    both.sort();
    assert_eq!(store.ids()?, both);
    assert_eq!(store.size(&padded_id)?, 3_000_004);
    store.remove(&id)?;
    assert_eq!(Store::open(&dir)?.ids()?, [padded_id]);
    assert_eq!(leftovers(&dir), 0);
    Ok(())
}

pub(crate) fn a_tampered_layer_leaves_nothing(sandbox: &Sandbox) -> Outcome {
    let dir = sandbox.path("store");
    let store = Store::open(&dir)?;
    let tar = layer();
    let id = DiffId::of(&tar);
    let content = tar.windows(3).position(|bytes| bytes == b"aaa").unwrap();
    // In a file's content, in a header (then the archive is malformed as well), behind the end.
    for place in [content, 600, tar.len() - 1] {
        let mut tampered = tar.clone();
        tampered[place] ^= 1;
        match store.add(&id, &tampered[..]) {
            Err(Error::Digest { expected, actual }) => {
                assert_eq!((expected, actual), (id.clone(), DiffId::of(&tampered)));
            }
            other => panic!("byte {place}: {other:?}"),
        }
    }
    match store.add(&id, &tar[..tar.len() / 2]) {
        Err(Error::Digest { .. }) => {}
        other => panic!("half of it: {other:?}"),
    }
    // The right bytes of a bad layer.
    let bad = Tar::new().file("f", "").file("../f", "").end();
    match store.add(&DiffId::of(&bad), &bad[..]) {
        Err(Error::Unpack { source, .. }) => {
            assert_eq!(source.to_string(), "refused entry `../f`: it lies above the root");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.ids()?, []);
    assert_eq!(leftovers(&dir), 0);
    Ok(())
}

/// A process that adds a layer from a pipe. Exits with 0 if that succeeds.
fn adder(store: &Path, id: &DiffId) -> Result<(Pid, File), Box<dyn std::error::Error>> {
    let (read, write): (OwnedFd, OwnedFd) = nix::unistd::pipe()?;
    match clone3(&CloneArgs { namespaces: CloneFlags::empty(), cgroup: None })? {
        Cloned::Child => {
            drop(write);
            let added = Store::open(store).and_then(|store| store.add(id, File::from(read)));
            std::process::exit(i32::from(added.is_err()));
        }
        Cloned::Parent { pid, .. } => Ok((pid, File::from(write))),
    }
}

/// Waits until the process has unpacked so much that its file `big` is there.
fn wait_for_big(store: &Path) {
    for _ in 0..2000 {
        let folders = std::fs::read_dir(store.join("tmp")).into_iter().flatten();
        if folders.flatten().any(|folder| folder.path().join("diff/big").exists()) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("the adder did not begin");
}

pub(crate) fn a_killed_add_is_completed_by_the_next(sandbox: &Sandbox) -> Outcome {
    let dir = sandbox.path("store");
    let store = Store::open(&dir)?;
    let tar = layer();
    let id = DiffId::of(&tar);
    let (pid, mut pipe) = adder(&dir, &id)?;
    pipe.write_all(&tar[..1_000_000])?;
    wait_for_big(&dir);
    assert_eq!(store.reclaim()?.folders, 0, "the adder is alive");
    assert_eq!(leftovers(&dir), 1);
    kill(pid, Signal::SIGKILL)?;
    assert!(matches!(waitpid(pid, None)?, WaitStatus::Signaled(_, Signal::SIGKILL, _)));
    assert!(!store.has(&id), "half a layer is no layer");
    assert_eq!(leftovers(&dir), 1);
    store.add(&id, &tar[..])?;
    assert_eq!(leftovers(&dir), 0);
    assert_eq!(std::fs::read(store.path(&id).join("last"))?, b"z");
    Ok(())
}

pub(crate) fn two_processes_add_the_same_layer(sandbox: &Sandbox) -> Outcome {
    let dir = sandbox.path("store");
    let store = Store::open(&dir)?;
    let tar = layer();
    let id = DiffId::of(&tar);
    let (first, mut first_pipe) = adder(&dir, &id)?;
    first_pipe.write_all(&tar[..1_000_000])?;
    wait_for_big(&dir);
    // The second one finds the first at work, and neither waits for it nor takes its folder away.
    let (second, mut second_pipe) = adder(&dir, &id)?;
    second_pipe.write_all(&tar)?;
    drop(second_pipe);
    // The first one's pipe is open in the second process too: it has ended by now, or ends with it.
    assert_eq!(waitpid(second, None)?, WaitStatus::Exited(second, 0));
    assert!(store.has(&id));
    first_pipe.write_all(&tar[1_000_000..])?;
    drop(first_pipe);
    assert_eq!(waitpid(first, None)?, WaitStatus::Exited(first, 0));
    assert_eq!(store.ids()?, [id]);
    assert_eq!(leftovers(&dir), 0);
    Ok(())
}

/// Many refuse collectors in one store: what one of them has moved out of its way, another one takes for refuse.
pub(crate) fn leftovers_are_removed_by_many_at_once(sandbox: &Sandbox) -> Outcome {
    let dir = sandbox.path("store");
    let store = Store::open(&dir)?;
    for round in 0..20 {
        for number in 0..4 {
            for branch in 0..8 {
                std::fs::create_dir_all(
                    dir.join(format!("tmp/left.{round}.{number}/diff/{branch}/a/b/c")),
                )?;
            }
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| store.reclaim().map(drop))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap())
        })?;
        store.reclaim()?;
        assert_eq!(leftovers(&dir), 0, "round {round}");
    }
    Ok(())
}

/// What a new layer says about its boot, and what happens to it when that has ended.
pub(crate) fn a_power_cut_takes_what_was_not_synced(sandbox: &Sandbox) -> Outcome {
    let dir = sandbox.path("store");
    let store = Store::open(&dir)?;
    let (tar, other) = (layer(), Tar::new().file("other", "1").end());
    let (id, other_id) = (DiffId::of(&tar), DiffId::of(&other));
    let mark = dir.join(id.hex()).join("unsynced");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    store.add(&id, &tar[..])?;
    assert_eq!(std::fs::read_link(&mark)?.to_str(), Some(boot.trim()));
    assert!(Store::open(&dir)?.has(&id), "for another process it is there too");
    // The machine went down and is up again, and a file is empty, as after a power cut.
    let power_cut = || {
        std::fs::remove_file(&mark).unwrap();
        std::os::unix::fs::symlink("11111111-2222-3333-4444-555555555555", &mark).unwrap();
        File::create(store.path(&id).join("d/a")).unwrap();
    };
    power_cut();
    assert!(!store.has(&id));
    assert!(matches!(store.size(&id), Err(Error::Missing(_))));
    assert_eq!(store.ids()?, std::slice::from_ref(&id), "it takes space");
    assert_eq!(
        store.settle(std::time::Duration::ZERO)?,
        0,
        "nobody knows what it holds, so a sync does not help"
    );
    assert!(!store.has(&id));
    // It is made again from its archive.
    store.add(&id, &tar[..])?;
    assert!(store.has(&id));
    assert_eq!(std::fs::read_to_string(store.path(&id).join("d/a"))?, "aaa");
    // If that fails, it stays away.
    power_cut();
    store.add(&id, &other[..]).unwrap_err();
    assert!(!store.has(&id) && store.ids()?.is_empty());
    // What is settled needs no mark.
    store.add(&id, &tar[..])?;
    store.add(&other_id, &other[..])?;
    assert_eq!(store.settle(std::time::Duration::ZERO)?, 2);
    assert!(!mark.is_symlink() && store.has(&id) && store.has(&other_id));
    assert_eq!(store.settle(std::time::Duration::ZERO)?, 0);
    assert_eq!(leftovers(&dir), 0);
    Ok(())
}

/// `clone3` refuses a process with two threads, also if the second is only about to end.
pub(crate) fn no_thread_is_left(sandbox: &Sandbox) -> Outcome {
    let store = Store::open(&sandbox.path("store"))?;
    // With so much behind the end the reader is the last to be ready, and has just ended then.
    let tar = [layer(), vec![0; 4 << 20]].concat();
    let id = DiffId::of(&tar);
    for _ in 0..30 {
        store.add(&id, &tar[..])?;
        match clone3(&CloneArgs { namespaces: CloneFlags::empty(), cgroup: None })? {
            Cloned::Child => std::process::exit(0),
            Cloned::Parent { pid, .. } => {
                assert_eq!(waitpid(pid, None)?, WaitStatus::Exited(pid, 0));
            }
        }
        store.remove(&id)?;
    }
    Ok(())
}

/// Where unpacking cannot go on, nobody waits for the end of the stream: this one has none.
pub(crate) fn a_disk_error_ends_the_reader(sandbox: &Sandbox) -> Outcome {
    let dir = sandbox.path("store");
    let store = Store::open(&dir)?;
    let large = Tar::new().file("f", "").symlink("l", "").end();
    let endless = (&large[..]).chain(std::io::repeat(0));
    match store.add(&DiffId::of(b"whatever"), endless) {
        Err(Error::Unpack { source: layers::UnpackError::Kernel(error), .. }) => {
            assert_eq!(error.step, "make symbolic link");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(leftovers(&dir), 0);
    Ok(())
}
