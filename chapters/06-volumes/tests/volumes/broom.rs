//! Emptying and measuring what strangers have filled.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use syscalls::mount::{Attr, FsContext, attach};
use testkit::{Outcome, Sandbox};
use volumes::{Error, Store};

use crate::place;

pub(crate) fn a_deep_tree_can_be_removed(sandbox: &Sandbox) -> Outcome {
    let store = Store::open(&sandbox.path("volumes"))?;
    let volume = store.create(Some("data"), &[], &[])?;
    // Deeper than any path and than the table of open files.
    let mut here: OwnedFd = place(&volume.mountpoint)?;
    for level in 0..1200 {
        mkdirat(&here, "d", Mode::S_IRWXU)?;
        mkdirat(&here, ".moved-1", Mode::S_IRWXU)?;
        mkdirat(&here, ".moved-1/d", Mode::S_IRWXU)?;
        drop(openat(&here, "file", OFlag::O_CREAT | OFlag::O_WRONLY, Mode::S_IRUSR)?);
        here = openat(&here, "d", OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())
            .map_err(|errno| format!("level {level}: {errno}"))?;
    }
    drop(here);
    store.size(&volume)?;
    store.remove("data", &|_| Vec::new(), false)?;
    assert_eq!(fs::read_dir(sandbox.path("volumes"))?.count(), 1, "only the lock is left");
    Ok(())
}

pub(crate) fn a_mount_in_a_volume_is_not_emptied(sandbox: &Sandbox) -> Outcome {
    let store = Store::open(&sandbox.path("volumes"))?;
    for (name, below) in [("over-data", ""), ("below-data", "a/b")] {
        let volume = store.create(Some(name), &[], &[])?;
        let point = volume.mountpoint.join(below);
        fs::create_dir_all(&point)?;
        let foreign = FsContext::open("tmpfs")?.mount(Attr::empty())?;
        attach(foreign.as_fd(), place(&point)?.as_fd())?;
        fs::write(point.join("precious"), "")?;
        let error = store.remove(name, &|_| Vec::new(), false).unwrap_err();
        let Error::Kernel(error) = error else { panic!("{error}") };
        assert!(matches!(error.errno, Errno::EXDEV | Errno::EBUSY), "{error}");
        syscalls::inroot::open_path(foreign.as_fd(), "precious".as_ref())?;
    }
    assert!(store.get("over-data").is_ok(), "found before anything was touched");
    // What could not be removed does not stop the others, and is said.
    store.create(Some("next"), &[], &[])?;
    assert!(store.reclaim().is_err());
    Ok(())
}

pub(crate) fn size_is_what_du_says(sandbox: &Sandbox) -> Outcome {
    let store = Store::open(&sandbox.path("volumes"))?;
    let volume = store.create(Some("data"), &[], &[])?;
    fs::create_dir_all(volume.mountpoint.join("a/b"))?;
    for (name, bytes) in [("one", 100_000), ("a/two", 5), ("a/b/three", 0)] {
        fs::write(volume.mountpoint.join(name), vec![1; bytes])?;
    }
    fs::hard_link(volume.mountpoint.join("one"), volume.mountpoint.join("a/again"))?;
    fs::File::create(volume.mountpoint.join("sparse"))?.set_len(1 << 30)?;
    nix::unistd::sync();
    let du =
        std::process::Command::new("du").args(["-s", "-B1"]).arg(&volume.mountpoint).output()?;
    let du: u64 = String::from_utf8(du.stdout)?.split('\t').next().unwrap().parse()?;
    // du counts the folder itself, too.
    let own = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&volume.mountpoint)?) * 512;
    assert_eq!(store.size(&volume)?, du - own);
    Ok(())
}
