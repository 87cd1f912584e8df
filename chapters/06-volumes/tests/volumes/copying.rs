//! The first use of a volume: what the image has, all of it, once.

use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use syscalls::mount::{Attr, FsContext, attach};
use testkit::{Outcome, Sandbox};
use volumes::{populate, settle};

use crate::{child, exit_code, listing, place};

/// An empty image root and an empty volume.
fn image_and_volume(sandbox: &Sandbox) -> std::io::Result<(PathBuf, PathBuf)> {
    let (image, volume) = (sandbox.path("image"), sandbox.path("volume"));
    fs::create_dir(&image)?;
    fs::create_dir(&volume)?;
    Ok((image, volume))
}

fn fill(volume: &Path, image: &Path, target: &str) -> Result<bool, Box<dyn std::error::Error>> {
    Ok(populate(place(volume)?.as_fd(), place(image)?.as_fd(), target.as_ref())?)
}

/// One of each kind of file, with everything a file can have.
fn one_of_each(dir: &Path) -> Outcome {
    fs::create_dir_all(dir.join("sub/empty"))?;
    fs::write(dir.join("file"), "text")?;
    fs::write(dir.join("none"), "")?;
    fs::write(dir.join("sub/large"), vec![7; 300_000])?;
    fs::write(dir.join("sub/program"), "#!/bin/sh\n")?;
    symlink("file", dir.join("link"))?;
    symlink("/etc/shadow", dir.join("sub/absolute"))?;
    symlink("../../../../etc", dir.join("sub/up"))?;
    symlink("nowhere", dir.join("dangling"))?;
    fs::hard_link(dir.join("file"), dir.join("sub/second-name"))?;
    fs::hard_link(dir.join("dangling"), dir.join("sub/second-link"))?;
    mknod(&dir.join("fifo"), SFlag::S_IFIFO, Mode::S_IRUSR, 0)?;
    mknod(&dir.join("null"), SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWGRP, makedev(1, 3))?;
    mknod(&dir.join("disk"), SFlag::S_IFBLK, Mode::S_IRUSR, makedev(7, 200))?;
    // By a relative name: the path of a socket has at most 107 bytes.
    std::env::set_current_dir(dir)?;
    drop(UnixListener::bind("socket")?);
    std::env::set_current_dir("/")?;
    xattr::set(dir.join("file"), "user.color", b"blue")?;
    xattr::set(dir.join("sub"), "user.empty", b"")?;
    xattr::set(dir.join("sub"), "trusted.note", b"\x00\x01")?;
    // A default ACL (posix_acl(5)): version 2, then tag, permissions, id of each entry.
    let acl: Vec<u8> = [(0x01u16, 7u16, u32::MAX), (0x02, 5, 1234), (0x04, 5, u32::MAX)]
        .into_iter()
        .chain([(0x10, 5, u32::MAX), (0x20, 0, u32::MAX)])
        .fold(2u32.to_le_bytes().to_vec(), |mut bytes, (tag, permissions, id)| {
            bytes.extend(u16::to_le_bytes(tag));
            bytes.extend(u16::to_le_bytes(permissions));
            bytes.extend(u32::to_le_bytes(id));
            bytes
        });
    xattr::set(dir.join("sub/empty"), "system.posix_acl_default", &acl)?;
    for (path, uid, gid, mode) in [
        ("file", 1000, 50, 0o604),
        ("sub/program", 0, 12, 0o6755),
        ("sub", 33, 33, 0o2770),
        ("sub/empty", 4_000_000_000, 1, 0o1000),
        ("fifo", 5, 6, 0o622),
        ("null", 0, 9, 0o666),
        ("", 999, 998, 0o3751),
    ] {
        chown(dir.join(path), Some(uid), Some(gid))?;
        fs::set_permissions(dir.join(path), Permissions::from_mode(mode))?;
    }
    lchown(dir.join("link"), Some(77), Some(78))?;
    // File capabilities (capabilities(7)): version 2, effective, cap_net_raw. chown(2) would take
    // them off.
    let mut capability = [0; 20];
    capability[..4].copy_from_slice(&0x0200_0001u32.to_le_bytes());
    capability[4..8].copy_from_slice(&(1u32 << 13).to_le_bytes());
    xattr::set(dir.join("sub/large"), "security.capability", &capability)?;
    let past = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    for path in ["file", "sub/large", "sub/empty", "sub", ""] {
        File::open(dir.join(path))?.set_modified(past)?;
    }
    Ok(())
}

pub(crate) fn a_first_use_copies_everything(sandbox: &Sandbox) -> Outcome {
    let (image, volume) = image_and_volume(sandbox)?;
    one_of_each(&image.join("var/data"))?;
    let expected = listing::of(&image.join("var/data"));
    nix::sys::stat::umask(Mode::from_bits_truncate(0o077));
    assert!(fill(&volume, &image, "/var/data")?);
    assert_eq!(listing::of(&volume), expected);
    assert_eq!(listing::of(&image.join("var/data")), expected, "the image is only read");
    let inode = |path: &str| fs::symlink_metadata(volume.join(path)).unwrap().ino();
    assert_eq!(inode("file"), inode("sub/second-name"));
    assert_eq!(inode("dangling"), inode("sub/second-link"));
    assert!(!fill(&volume, &image, "/var/data")?, "only the first use copies");
    Ok(())
}

/// Detached: an overlay of two layers, the upper one with a whiteout.
fn overlay(sandbox: &Sandbox, lower: &Path) -> Result<OwnedFd, Box<dyn std::error::Error>> {
    let upper = sandbox.path("upper-layer");
    fs::create_dir_all(upper.join("data/sub"))?;
    mknod(&upper.join("data/gone"), SFlag::S_IFCHR, Mode::empty(), makedev(0, 0))?;
    fs::write(upper.join("data/sub/added"), "from the upper layer")?;
    let context = FsContext::open("overlay")?;
    let lowers = format!("{}:{}", upper.display(), lower.display());
    context.set_string("lowerdir", lowers)?;
    Ok(context.mount(Attr::RDONLY)?)
}

pub(crate) fn an_overlay_is_copied_as_it_looks(sandbox: &Sandbox) -> Outcome {
    let (lower, volume) = image_and_volume(sandbox)?;
    one_of_each(&lower.join("data"))?;
    fs::write(lower.join("data/gone"), "deleted by the upper layer")?;
    let image = overlay(sandbox, &lower)?;
    assert!(populate(place(&volume)?.as_fd(), image.as_fd(), "/data".as_ref())?);
    fs::create_dir(sandbox.path("seen"))?;
    attach(image.as_fd(), place(&sandbox.path("seen"))?.as_fd())?;
    assert_eq!(listing::of(&volume), listing::of(&sandbox.path("seen/data")));
    assert!(volume.join("sub/added").exists() && !volume.join("gone").exists());
    Ok(())
}

pub(crate) fn a_volume_in_use_is_not_touched(sandbox: &Sandbox) -> Outcome {
    let (image, volume) = image_and_volume(sandbox)?;
    one_of_each(&image.join("data"))?;
    fs::write(volume.join(".hidden"), "mine")?;
    let before = listing::of(&volume);
    assert!(!fill(&volume, &image, "/data")?);
    assert_eq!(listing::of(&volume), before);
    Ok(())
}

pub(crate) fn an_empty_folder_gives_its_owner(sandbox: &Sandbox) -> Outcome {
    let (image, volume) = image_and_volume(sandbox)?;
    fs::create_dir(image.join("data"))?;
    chown(image.join("data"), Some(70), Some(71))?;
    fs::set_permissions(image.join("data"), Permissions::from_mode(0o700))?;
    assert!(fill(&volume, &image, "/data")?);
    let meta = fs::metadata(&volume)?;
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (70, 71, 0o700));
    Ok(())
}

pub(crate) fn nothing_happens_without_a_folder(sandbox: &Sandbox) -> Outcome {
    let (image, volume) = image_and_volume(sandbox)?;
    fs::write(image.join("file"), "")?;
    symlink("/no/where", image.join("dangling"))?;
    let before = listing::of(&volume);
    for target in ["/missing/data", "/file", "/file/x", "/dangling"] {
        assert!(!fill(&volume, &image, target)?, "{target}");
        assert_eq!(listing::of(&volume), before);
    }
    Ok(())
}

pub(crate) fn links_of_the_image_stay_links(sandbox: &Sandbox) -> Outcome {
    let (image, volume) = image_and_volume(sandbox)?;
    let outside = sandbox.path("outside");
    fs::create_dir_all(outside.join("data"))?;
    fs::write(outside.join("data/secret"), "")?;
    fs::create_dir_all(image.join("data"))?;
    fs::write(image.join("data/public"), "")?;
    // Every way out of the image that a target can take: all of them end inside.
    symlink(&outside, image.join("absolute"))?;
    symlink("../outside", image.join("sideways"))?;
    for target in ["/absolute/data", "/sideways/data", "/../outside/data"] {
        assert!(!fill(&volume, &image, target)?, "{target}");
    }
    symlink("/data", image.join("var"))?;
    symlink(outside.join("data"), image.join("data/folder"))?;
    symlink(outside.join("data/secret"), image.join("data/file"))?;
    assert!(fill(&volume, &image, "/../var")?, "a link to a folder of the image is good");
    assert_eq!(listing::of(&volume), listing::of(&image.join("data")));
    assert_eq!(fs::read_link(volume.join("file"))?, outside.join("data/secret"));
    Ok(())
}

pub(crate) fn holes_stay_holes(sandbox: &Sandbox) -> Outcome {
    let (image, volume) = image_and_volume(sandbox)?;
    fs::create_dir(image.join("data"))?;
    let mut sparse = File::create(image.join("data/sparse"))?;
    sparse.seek(SeekFrom::Start(6 << 20))?;
    sparse.write_all(b"in the middle")?;
    sparse.set_len(20 << 20)?;
    assert!(fill(&volume, &image, "/data")?);
    let copy = fs::metadata(volume.join("sparse"))?;
    assert_eq!(copy.len(), 20 << 20);
    assert!(copy.blocks() * 512 < 1 << 20, "{} blocks", copy.blocks());
    assert_eq!(listing::of(&volume), listing::of(&image.join("data")));
    Ok(())
}

/// Enough files that a copy takes a while.
fn many_files(dir: &Path) -> std::io::Result<()> {
    for folder in 0..20 {
        fs::create_dir_all(dir.join(format!("{folder}")))?;
        for file in 0..100 {
            fs::write(dir.join(format!("{folder}/{file}")), format!("{folder} {file}"))?;
        }
    }
    Ok(())
}

pub(crate) fn of_many_only_one_copies(sandbox: &Sandbox) -> Outcome {
    let (image, volume) = image_and_volume(sandbox)?;
    many_files(&image.join("data"))?;
    let expected = listing::of(&image.join("data"));
    let start = sandbox.path("start");
    let start_ref = &start;
    let processes: Vec<_> = (0..4)
        .map(|_| {
            child(CloneFlags::empty(), || {
                while !start_ref.exists() {}
                let copied = fill(&volume, &image, "/data").unwrap();
                // Whoever comes back sees all of it, whether it copied or waited.
                if listing::of(&volume) == expected { 10 + i32::from(copied) } else { 1 }
            })
            .unwrap()
        })
        .collect();
    fs::write(&start, "")?;
    let mut codes: Vec<i32> = processes.into_iter().map(exit_code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [10, 10, 10, 11]);
    Ok(())
}

const MARKER: &str = "trusted.mini-docker.populating";

/// Starts a copy and kills it when some files are there.
fn killed_copy(sandbox: &Sandbox, image: &Path, volume: &Path) -> Outcome {
    for _ in 0..20 {
        let copy = child(CloneFlags::empty(), || i32::from(fill(volume, image, "/data").is_err()))?;
        while fs::read_dir(volume)?.count() < 3 {}
        kill(copy, Signal::SIGKILL)?;
        if exit_code(copy) == 128 + Signal::SIGKILL as i32 && xattr::get(volume, MARKER)?.is_some()
        {
            return Ok(());
        }
        fs::remove_dir_all(volume)?;
        fs::create_dir(volume)?;
    }
    Err(format!("{}: the copy was too fast to be killed, 20 times", sandbox.name).into())
}

pub(crate) fn a_killed_copy_is_redone(sandbox: &Sandbox) -> Outcome {
    let (image, volume) = image_and_volume(sandbox)?;
    many_files(&image.join("data"))?;
    let expected = listing::of(&image.join("data"));
    killed_copy(sandbox, &image, &volume)?;
    assert_ne!(listing::of(&volume), expected);
    assert!(fill(&volume, &image, "/data")?);
    assert_eq!(listing::of(&volume), expected);
    assert!(!fill(&volume, &image, "/data")?);
    Ok(())
}

pub(crate) fn a_half_copy_is_thrown_away(sandbox: &Sandbox) -> Outcome {
    let (image, volume) = image_and_volume(sandbox)?;
    many_files(&image.join("data"))?;
    killed_copy(sandbox, &image, &volume)?;
    settle(place(&volume)?.as_fd())?;
    assert_eq!(fs::read_dir(&volume)?.count(), 0);
    assert_eq!(xattr::list(&volume)?.count(), 0);
    // Now it is an empty volume; what a container without copy puts there is its own.
    fs::write(volume.join("mine"), "")?;
    settle(place(&volume)?.as_fd())?;
    assert!(volume.join("mine").exists());
    Ok(())
}
