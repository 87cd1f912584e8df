//! Room: bounded memory whatever the size, and a disk that is full.

use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use testkit::registry::{Compression, Image, Layout, Options, Registry};
use testkit::{Outcome, Sandbox, Test};

use crate::support::Docker;
use crate::{command, done, leftovers, plain, ran, snapshots};

pub const TESTS: &[Test] = &[
    ("two_gigabytes_need_little_memory", two_gigabytes_need_little_memory),
    ("a_full_disk_is_told_and_left_tidy", a_full_disk_is_told_and_left_tidy),
    ("a_bomb_does_not_fill_the_disk", a_bomb_does_not_fill_the_disk),
];

/// A layout whose one layer is a file of `size` zeros, written without ever being on the disk unpacked.
fn zeros(
    sandbox: &Sandbox,
    name: &str,
    size: u64,
    compression: Compression,
) -> crate::Result<Layout> {
    let layout = Layout::new(sandbox.path(name))?;
    let dir = sandbox.path(format!("{name}-dir"));
    std::fs::create_dir_all(&dir)?;
    let file = std::fs::File::create(dir.join("zeros"))?;
    file.set_len(size)?;
    layout.add(
        "latest",
        &Image { layers: std::slice::from_ref(&dir), compression, ..Image::default() },
    )?;
    std::fs::remove_dir_all(dir)?;
    Ok(layout)
}

fn two_gigabytes_need_little_memory(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = zeros(sandbox, "large", 2 << 30, Compression::Zstd)?;
    registry.push_layout(&layout.path, "latest", "large:1", &[])?;
    let docker = Docker::new(sandbox);
    let name = format!("{}/large:1", registry.address());
    let mut pull = command(&docker, sandbox, &["pull", "-q", &name]);
    let child = pull.stdout(Stdio::null()).spawn()?;
    let peak = peak_memory(child)?;
    assert!(peak < 64 << 10, "{peak} KiB");
    assert_eq!(done(&docker, sandbox, &["images", "-q"])?.lines().count(), 1);
    Ok(())
}

/// Waits for a child and returns the largest resident size, in KiB, of all children waited for so far. The other ones
/// of this test are small.
fn peak_memory(mut child: std::process::Child) -> crate::Result<i64> {
    let status = child.wait()?;
    assert!(status.success(), "{status}");
    Ok(nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN)?.max_rss())
}

fn a_full_disk_is_told_and_left_tidy(sandbox: &Sandbox) -> Outcome {
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = Layout::random(sandbox, "random", 4, 4 << 20, Compression::None)?;
    registry.push_layout(&layout.path, "latest", "app:1", &[])?;
    let small = Layout::busybox(sandbox, "busybox")?;
    registry.push_layout(&small.path, "latest", "small:1", &[])?;
    let docker = Docker::new(sandbox);
    std::fs::create_dir_all(&docker.root)?;
    let none: Option<&str> = None;
    mount(Some("tmpfs"), &docker.root, Some("tmpfs"), MsFlags::empty(), Some("size=20m"))?;
    let name = format!("{}/app:1", registry.address());
    let result = (|| -> Outcome {
        done(&docker, sandbox, &["images", "-q"])?;
        let full = ran(&docker, sandbox, &["pull", "-q", &name])?;
        assert_eq!((full.code, full.stdout.as_str()), (1, ""), "{full:?}");
        assert!(full.stderr.contains("hint:"), "{full:?}");
        assert!(full.stderr.contains("space") || full.stderr.contains("room"), "{full:?}");
        assert_eq!(done(&docker, sandbox, &["images", "-q"])?, "");
        assert!(leftovers(&docker).is_empty(), "{:?}", leftovers(&docker));
        // What is small enough still goes.
        let name = format!("{}/small:1", registry.address());
        done(&docker, sandbox, &["pull", "-q", &name])?;
        let text = full.stderr.lines().last().unwrap().to_owned();
        snapshots(|| insta::assert_snapshot!(plain(&text, sandbox)));
        Ok(())
    })();
    mount(none, &docker.root, none, MsFlags::MS_PRIVATE, none)?;
    umount2(&docker.root, MntFlags::MNT_DETACH)?;
    result
}

fn a_bomb_does_not_fill_the_disk(sandbox: &Sandbox) -> Outcome {
    // 256 KB on the wire, 256 MB of zeros in it: more than this disk has.
    let registry = Registry::start(sandbox, Options::default())?;
    let layout = zeros(sandbox, "bomb", 256 << 20, Compression::Gzip)?;
    registry.push_layout(&layout.path, "latest", "bomb:1", &[])?;
    let docker = Docker::new(sandbox);
    std::fs::create_dir_all(&docker.root)?;
    mount(Some("tmpfs"), &docker.root, Some("tmpfs"), MsFlags::empty(), Some("size=64m"))?;
    let name = format!("{}/bomb:1", registry.address());
    let result = (|| -> Outcome {
        done(&docker, sandbox, &["images", "-q"])?;
        let bomb = ran(&docker, sandbox, &["pull", "-q", &name])?;
        assert_eq!((bomb.code, bomb.stdout.as_str()), (1, ""), "{bomb:?}");
        assert!(bomb.stderr.contains("too much in the archive"), "{bomb:?}");
        assert!(bomb.stderr.contains("hint: that is what the disk has free"), "{bomb:?}");
        assert!(leftovers(&docker).is_empty(), "{:?}", leftovers(&docker));
        let free = stdout(Command::new("df").args(["--output=pcent"]).arg(&docker.root))?;
        assert!(free.contains(" 1%") || free.contains(" 0%"), "{free}");
        Ok(())
    })();
    umount2(&docker.root, MntFlags::MNT_DETACH)?;
    result
}

fn stdout(command: &mut Command) -> crate::Result<String> {
    crate::support::stdout(command)
}
