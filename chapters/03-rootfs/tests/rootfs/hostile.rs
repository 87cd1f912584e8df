//! Images that are made to reach the host, and the host before, during and after.

use std::error::Error;
use std::fs::read_to_string;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use rootfs::{Attr, Device, Mount, Plan, Propagation};
use syscalls::inroot;
use syscalls::mount::{FsContext, attach};
use testkit::{Outcome, Sandbox};

use crate::support::{self, NAMESPACES, SETUP_FAILED, directory, observed, random, shell};

/// A folder of the host in which nothing may change.
fn victim(sandbox: &Sandbox) -> Result<PathBuf, Box<dyn Error>> {
    let victim = sandbox.path("victim");
    std::fs::create_dir_all(victim.join("kept"))?;
    std::fs::write(victim.join("file"), "untouched")?;
    Ok(victim)
}

fn state(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        seen.push(format!("{:?} {:?}", entry.path(), entry.metadata()?));
    }
    seen.sort();
    seen.push(format!("{:?}", std::fs::metadata(folder)?.modified()?));
    Ok(seen)
}

/// Every place that we mount or make something on is a link to the host (CVE-2026-41579, CVE-2026-47766 and older).
pub(crate) fn links_stay_inside(sandbox: &Sandbox) -> Outcome {
    let victim = victim(sandbox)?;
    let up = format!("{}{}", "../".repeat(32), victim.strip_prefix("/")?.display());
    for (number, target) in [victim.display().to_string(), up].into_iter().enumerate() {
        let before = state(&victim)?;
        let root = sandbox.busybox_rootfs(&format!("root{number}"))?;
        for name in ["proc", "sys", "dev"] {
            std::fs::remove_dir(root.join(name))?;
            symlink(format!("{target}/kept/{name}"), root.join(name))?;
        }
        for name in ["data", "work", "disk", "scratch"] {
            symlink(&target, root.join(name))?;
        }
        symlink(format!("{target}/file"), root.join("etc/hosts"))?;
        symlink(format!("{target}/new"), root.join("etc/secret"))?;
        let mut plan = Plan { workdir: "/work/dir".into(), ..Plan::default() };
        let volume = rootfs::bind(directory(&root.join("etc"))?.as_fd(), false)?;
        plan.mounts.push(Mount::detached("/data/volume", volume, false));
        let file = nix::fcntl::open(
            &root.join("etc/passwd"),
            nix::fcntl::OFlag::O_PATH,
            nix::sys::stat::Mode::empty(),
        )?;
        let file = rootfs::bind(file.as_fd(), false)?;
        plan.mounts.push(Mount::detached("/etc/hosts", file, true));
        let tmpfs = Mount::filesystem("/scratch/tmp", "tmpfs", &[], Attr::empty());
        plan.mounts.push(Mount { copy_up: true, ..tmpfs });
        plan.devices.push(Device {
            path: "/disk/a/node".into(),
            kind: 'c',
            major: 1,
            minor: 5,
            mode: 0o600,
            uid: 0,
            gid: 0,
        });
        plan.masked.push("/etc/secret".into());
        plan.readonly.push("/data/volume".into());
        let script = "echo x > /dev/null && test -c /dev/zero && test -e /proc/self/ns/mnt && \
                      test -d /sys/class && cat /etc/hosts && pwd && head -c 1 /disk/a/node | wc -c";
        let seen = shell(&root, &mut plan, script)?.ok()?;
        assert_eq!(seen, format!("root:x:0:0:root:/root:/bin/sh\n{}/dir\n1\n", victim.display()));
        assert_eq!(state(&victim)?, before);
        // What was created lies in the image's own folder, below the same path.
        assert!(root.join(victim.strip_prefix("/")?).join("kept/dev").is_dir());
    }
    Ok(())
}

/// A mount over the root itself would come between old and new root.
pub(crate) fn links_to_the_root_are_refused(sandbox: &Sandbox) -> Outcome {
    for target in ["/", ".", "..", "/proc/../..", "/dev/.."] {
        let root = sandbox.busybox_rootfs("root")?;
        std::fs::remove_dir(root.join("sys"))?;
        symlink(target, root.join("sys"))?;
        let ran = shell(&root, &mut Plan::default(), "true")?;
        assert_eq!(ran.status, SETUP_FAILED, "{target}");
        let expected = "find mount target `/sys`: Invalid argument (EINVAL): \
                        it leads to the root of the container itself";
        assert_eq!(ran.output.trim(), expected);
        std::fs::remove_dir_all(&root)?;
    }
    Ok(())
}

/// /dev/null of the image is a file or a link to one: the cover of a masked file is not taken from there
/// (CVE-2025-31133), with our /dev or without one.
pub(crate) fn the_cover_is_never_the_images(sandbox: &Sandbox) -> Outcome {
    for own_dev in [true, false] {
        let root = sandbox.busybox_rootfs(&format!("root{own_dev}"))?;
        std::fs::write(root.join("etc/secret"), "told")?;
        std::fs::write(root.join("etc/bait"), "bait")?;
        symlink("/etc/bait", root.join("dev/null"))?;
        let mut plan = Plan { masked: vec!["/etc/secret".into()], ..Plan::default() };
        if !own_dev {
            plan.mounts.retain(|mount| !mount.target.starts_with("/dev"));
            plan.devices.clear();
        }
        let script = "cat /etc/secret; stat -c %t:%T /etc/secret; chmod 666 /etc/secret 2>&1";
        let seen = shell(&root, &mut plan, script)?;
        assert_eq!(seen.output, "1:3\nchmod: /etc/secret: Read-only file system\n");
    }
    // A volume over our own /dev/null does not become the cover either.
    let root = sandbox.busybox_rootfs("root")?;
    std::fs::write(root.join("etc/secret"), "told")?;
    let mut plan = Plan { masked: vec!["/etc/secret".into()], ..Plan::default() };
    let bait = sandbox.path("bait");
    std::fs::write(&bait, "bait")?;
    let bait = nix::fcntl::open(&bait, nix::fcntl::OFlag::O_PATH, nix::sys::stat::Mode::empty())?;
    plan.mounts.push(Mount::detached("/dev/null", rootfs::bind(bait.as_fd(), false)?, true));
    let seen = shell(&root, &mut plan, "cat /etc/secret /dev/null")?.ok()?;
    assert_eq!(seen, "bait");
    Ok(())
}

/// The host's mount table is the same before, during and after, even if `/` is shared as systemd makes it and the root
/// is a folder on that shared mount.
pub(crate) fn the_hosts_mounts_do_not_change(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none)?;
    let table = || read_to_string("/proc/self/mountinfo");
    let before = table()?;
    for propagation in [None, Some(Propagation::Slave), Some(Propagation::Shared)] {
        let detached = rootfs::bind(directory(&root)?.as_fd(), true)?;
        let mut plan = Plan { root_propagation: propagation, ..Plan::default() };
        let (mut during, mut inside) = (String::new(), String::new());
        let ran = observed(
            NAMESPACES,
            |pause| {
                support::enter(detached, &mut plan)?;
                // A mount made later, inside.
                mount(Some("late"), "/tmp", Some("tmpfs"), MsFlags::empty(), none)?;
                pause.wait()?;
                Ok(0)
            },
            |pid| {
                during = table()?;
                inside = read_to_string(format!("/proc/{pid}/mountinfo"))?;
                Ok(())
            },
        )?;
        ran.ok()?;
        assert_eq!(during, before, "{propagation:?}");
        assert_eq!(table()?, before);
        // Of the host's file systems only the folder of the root is there.
        assert!(!inside.contains(" / / "), "{inside}");
        let first = inside.lines().next().unwrap();
        assert!(first.contains(&format!("{} / ", root.display())), "{first}");
        let (shared, master) = match propagation {
            None => (false, false),
            Some(Propagation::Slave) => (false, true),
            _ => (true, true),
        };
        assert_eq!(first.contains("shared:"), shared, "{propagation:?}: {first}");
        assert_eq!(first.contains("master:"), master, "{propagation:?}: {first}");
    }
    Ok(())
}

/// What is mounted below a volume's source later appears in the container if it is a slave, not if it is private.
pub(crate) fn a_slave_volume_follows_the_host(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    let source = sandbox.path("source");
    std::fs::create_dir(&source)?;
    let none: Option<&str> = None;
    let tmpfs = FsContext::open("tmpfs")?.mount(Attr::empty())?;
    attach(tmpfs.as_fd(), directory(&source)?.as_fd())?;
    let later = source.join("later");
    std::fs::create_dir(&later)?;
    mount(none, &source, none, MsFlags::MS_SHARED, none)?;
    for (propagation, seen) in [(Propagation::Slave, "arrived"), (Propagation::Private, "")] {
        let volume = rootfs::bind(directory(&source)?.as_fd(), true)?;
        let mut plan = Plan::default();
        plan.mounts.push(Mount {
            propagation: Some(propagation),
            ..Mount::detached("/volume", volume, false)
        });
        let detached = rootfs::bind(directory(&root)?.as_fd(), false)?;
        let ran = observed(
            NAMESPACES,
            |pause| {
                support::enter(detached, &mut plan)?;
                pause.wait()?;
                Err(support::exec("ls /volume/later"))
            },
            |_| {
                let late = FsContext::open("tmpfs")?.mount(Attr::empty())?;
                inroot::create_file(late.as_fd(), "arrived".as_ref())?;
                Ok(attach(late.as_fd(), directory(&later)?.as_fd())?)
            },
        )?;
        assert_eq!(ran.ok()?.trim(), seen, "{propagation:?}");
        nix::mount::umount(&later)?;
    }
    Ok(())
}

pub(crate) fn parameters_of_the_namespace_only(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    let max = 100_000 + random() % 100_000;
    let domain = format!("d{}.example", random() % 1000);
    let host = |name: &str| read_to_string(format!("/proc/sys/{name}"));
    let names = ["kernel/shmmax", "kernel/domainname", "kernel/core_pattern"];
    let before = names.map(|name| host(name).unwrap());
    // A /proc of the image's own that a naive runtime would write to.
    std::fs::create_dir_all(root.join("proc/sys/kernel"))?;
    std::fs::write(root.join("proc/sys/kernel/shmmax"), "fake")?;
    let set = |name: &str, value: String| (name.to_owned(), value);
    let mut plan = Plan {
        sysctls: vec![
            set("kernel.shmmax", max.to_string()),
            set("net/ipv4/conf/all/forwarding", "1".into()),
            set("fs.mqueue.msg_max", "17".into()),
            set("kernel.domainname", domain.clone()),
        ],
        ..Plan::default()
    };
    let script =
        "cd /proc/sys; cat kernel/shmmax net/ipv4/ip_forward fs/mqueue/msg_max kernel/domainname";
    assert_eq!(shell(&root, &mut plan, script)?.ok()?, format!("{max}\n1\n17\n{domain}\n"));
    assert_eq!(read_to_string(root.join("proc/sys/kernel/shmmax"))?, "fake");
    for (name, value, expected) in [
        (
            // The value it has: a test that fails must not harm the host.
            "kernel.core_pattern",
            before[2].as_str(),
            "set kernel parameter `kernel.core_pattern`: Invalid argument (EINVAL): \
             it belongs to the whole machine, not to one container",
        ),
        (
            "net.no.such",
            "1",
            "set kernel parameter `net.no.such`: No such file or directory (ENOENT)",
        ),
        (
            "kernel.shmmax",
            "many",
            "set kernel parameter `kernel.shmmax=many`: Invalid argument (EINVAL)",
        ),
    ] {
        plan = Plan { sysctls: vec![set(name, value.into())], ..Plan::default() };
        let ran = shell(&root, &mut plan, "true")?;
        assert_eq!((ran.status, ran.output.trim()), (SETUP_FAILED, expected));
    }
    assert_eq!(names.map(|name| host(name).unwrap()), before);
    Ok(())
}
