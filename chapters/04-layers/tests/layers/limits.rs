//! Archives that are too much.

use std::io::Read;
use std::os::fd::AsFd;

use layers::{DiffId, Error, Limits, Stats, Store, UnpackError};
use testkit::{Outcome, Sandbox};

use crate::support::{Tar, directory};

/// Unpacks within limits into a new folder.
fn unpack(sandbox: &Sandbox, what: &str, tar: &[u8], limits: Limits) -> Result<Stats, UnpackError> {
    let root = sandbox.path(what.replace(' ', "-"));
    std::fs::create_dir(&root).unwrap();
    layers::unpack_within(tar, directory(&root).as_fd(), &limits)
}

pub(crate) fn limits_are_kept_to_the_last_byte(sandbox: &Sandbox) -> Outcome {
    let bytes = |bytes| Limits { bytes, ..Limits::default() };
    let entries = |entries| Limits { entries, ..Limits::default() };
    // 5 bytes in a file, 3 in the target of a link, 6 + 4 in an attribute; 2 MiB of holes.
    let tar = Tar::new()
        .file("f", "12345")
        .symlink("l", "abc")
        .pax(&[("SCHILY.xattr.user.x", b"1234")])
        .dir("d")
        .pax(&[("GNU.sparse.size", b"2097152"), ("GNU.sparse.map", b"")])
        .file("holes", "")
        // Two directories that no entry describes.
        .file("a/b/c", "")
        .end();
    for (what, limits, refused) in [
        ("all bytes", bytes(18), None),
        ("a byte too few", bytes(17), Some("with `d` it unpacks to more than 17 bytes")),
        ("no bytes", bytes(4), Some("with `f` it unpacks to more than 4 bytes")),
        ("all entries", entries(7), None),
        ("an entry too few", entries(6), Some("with `a/b` it unpacks to more than 6 files")),
        ("no entries", entries(0), Some("with `f` it unpacks to more than 0 files")),
        ("all of it", Limits { archive: tar.len() as u64, ..Limits::default() }, None),
        (
            "a block too few",
            Limits { archive: 1024, ..Limits::default() },
            Some("the archive has more than the 1024 bytes that are allowed"),
        ),
    ] {
        match (unpack(sandbox, what, &tar, limits), refused) {
            (Ok(_), None) => {}
            (Err(error), Some(words)) if error.to_string().contains(words) => {}
            (other, _) => panic!("{what}: {other:?}"),
        }
    }
    // What is too large is not even begun.
    let claims = Tar::new().entry(b'0', "x", b"", |header| header.set_size(1 << 40)).end();
    match unpack(sandbox, "a claim", &claims, bytes(1 << 30)) {
        Err(UnpackError::Limit { allowed, .. }) => assert_eq!(allowed, 1 << 30),
        other => panic!("{other:?}"),
    }
    assert!(!sandbox.path("a-claim/x").exists());
    Ok(())
}

/// 256 MiB of zeros are 260 KiB of gzip. The quota ends it before anything is written, in the
/// middle of the stream, and nothing is left.
pub(crate) fn a_bomb_meets_a_quota(sandbox: &Sandbox) -> Outcome {
    const SIZE: u64 = 256 << 20;
    let header = Tar::new().entry(b'0', "zeros", b"", |header| header.set_size(SIZE)).end();
    let tar = (&header[..512]).chain(std::io::repeat(0).take(SIZE + 1024));
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut { tar }, &mut bomb)?;
    let bomb = bomb.finish()?;
    assert!(bomb.len() < SIZE as usize / 900, "{} bytes", bomb.len());
    let store = Store::open(&sandbox.path("store"))?;
    let limits = Limits { bytes: 10 << 20, ..Limits::default() };
    let mut left = &bomb[..];
    let inflated = flate2::bufread::GzDecoder::new(&mut left);
    match store.add_within(&DiffId::of(b"whatever"), inflated, &limits) {
        Err(Error::Unpack { source: UnpackError::Limit { entry, allowed, .. }, .. }) => {
            assert_eq!((entry.as_str(), allowed), ("zeros", 10 << 20));
        }
        other => panic!("{other:?}"),
    }
    assert!(left.len() > bomb.len() / 2, "the rest was inflated: {} left", left.len());
    // Many small files come as far as the quota.
    let one = Tar::new().file("d/f", &"x".repeat(100_000)).end();
    let stream = one[..one.len() - 1024].repeat(20);
    let limits = Limits { bytes: 1_000_000, ..Limits::default() };
    match store.add_within(&DiffId::of(&stream), &stream[..], &limits) {
        Err(Error::Unpack { source: UnpackError::Limit { .. }, .. }) => {}
        other => panic!("{other:?}"),
    }
    // Padding without end behind the archive.
    let endless = (&one[..]).chain(std::io::repeat(0));
    let limits = Limits { archive: 10_000_000, ..Limits::default() };
    match store.add_within(&DiffId::of(b"whatever"), endless, &limits) {
        Err(error @ Error::Unpack { source: UnpackError::Read { .. }, .. }) => {
            let text = whole(&error);
            assert!(text.contains("more than the 10000000 bytes"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.ids()?, []);
    assert_eq!(std::fs::read_dir(sandbox.path("store/tmp"))?.count(), 0);
    Ok(())
}

/// The error with its causes.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += ": ";
        text += &error.to_string();
        source = error.source();
    }
    text
}

/// An archive of a million entries, made while it is read, eight at a time: a file, a whiteout, and
/// six times bookkeeping of AUFS, so that the test is not about the disk.
struct Million {
    eights: u32,
    block: Vec<u8>,
    used: usize,
}

impl Million {
    fn new() -> Self {
        let two = Tar::new().file("", "").file(".wh.gone", "");
        let eight = (0..6).fold(two, |tar, _| tar.file(".wh..wh.aufs", "")).end();
        Self { eights: 0, block: eight[..4096].to_vec(), used: 4096 }
    }
}

impl Read for Million {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.used == self.block.len() {
            if self.eights == 125_000 {
                return Ok(0);
            }
            self.eights += 1;
            self.used = 0;
            let file = Tar::new().file(&format!("file{}", self.eights), "").end();
            self.block[..512].copy_from_slice(&file[..512]);
        }
        let length = (&self.block[self.used..]).read(into)?;
        self.used += length;
        Ok(length)
    }
}

/// Peak of this process's memory, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

pub(crate) fn memory_does_not_grow_with_the_archive(sandbox: &Sandbox) -> Outcome {
    // Not the disk: ext4 is slow to make files where many were removed a moment ago.
    let dir = sandbox.path("store");
    std::fs::create_dir(&dir)?;
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("tmpfs"), &dir, Some("tmpfs"), flags, None::<&str>)?;
    let store = Store::open(&dir)?;
    let small = Tar::new().file("f", &"x".repeat(600_000)).end();
    store.add(&DiffId::of(&small), &small[..])?;
    drop(small);
    let before = peak();
    // All of it is unpacked, and then removed, as the digest is wrong: neither keeps a list.
    match store.add(&DiffId::of(b"another"), Million::new()) {
        Err(Error::Digest { .. }) => {}
        other => panic!("{other:?}"),
    }
    let grown = peak() - before;
    assert!(grown < 2048, "{grown} KiB more than for a small layer");
    assert_eq!(std::fs::read_dir(dir.join("tmp"))?.count(), 0);
    drop(store);
    nix::mount::umount(&dir)?;
    Ok(())
}
