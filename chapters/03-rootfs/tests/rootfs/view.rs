//! What the container sees: devices, file systems, masks, its working directory.

use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

use nix::fcntl::AT_FDCWD;
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, SFlag, makedev, mknodat};
use rootfs::{Attr, Device, Mount, Plan, Source};
use syscalls::mount::{FsContext, attach};
use testkit::{Outcome, Sandbox};

use crate::support::{self, NAMESPACES, SETUP_FAILED, directory, observed, random, shell};

pub(crate) fn devices_work(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    let size = 1 + random() % 64;
    let mounts = rootfs::default_mounts(size << 20);
    let mut plan = Plan { mounts, ..Plan::default() };
    plan.devices.push(Device {
        path: "/dev/net/tun".into(),
        minor: 200,
        major: 10,
        mode: 0o640,
        uid: 7,
        gid: 8,
        kind: 'c',
    });
    plan.devices.push(Device {
        path: "/odd/loop".into(),
        minor: 0,
        major: 7,
        mode: 0o600,
        uid: 0,
        gid: 0,
        kind: 'b',
    });
    let script = r#"
        echo lost > /dev/null && cat /dev/null
        head -c 3 /dev/zero | od -An -tx1
        echo x > /dev/full || echo full
        head -c 8 /dev/urandom | wc -c
        head -c 8 /dev/random | wc -c
        cd /dev
        stat -c '%n %A %t:%T %u:%g' null zero full random urandom tty net/tun /odd/loop
        ls -l fd stdin stdout stderr core ptmx | sed 's/.* \([^ ]* -> \)/\1/'
        ls
        stat -f -c '%T' shm mqueue pts /proc /sys
        df -m shm | tail -1 | awk '{print "shm", $2}'
        echo shared > shm/x && cat shm/x
        echo to stdout > /dev/stdout
    "#;
    let expected = format!(
        " 00 00 00\nsh: write error: No space left on device\nfull\n8\n8\n\
         null crw-rw-rw- 1:3 0:0\nzero crw-rw-rw- 1:5 0:0\nfull crw-rw-rw- 1:7 0:0\n\
         random crw-rw-rw- 1:8 0:0\nurandom crw-rw-rw- 1:9 0:0\ntty crw-rw-rw- 5:0 0:0\n\
         net/tun crw-r----- a:c8 7:8\n/odd/loop brw------- 7:0 0:0\n\
         core -> /proc/kcore\nfd -> /proc/self/fd\nptmx -> pts/ptmx\n\
         stderr -> /proc/self/fd/2\nstdin -> /proc/self/fd/0\nstdout -> /proc/self/fd/1\n\
         core\nfd\nfull\nmqueue\nnet\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n\
         tmpfs\nUNKNOWN\ndevpts\nproc\nsysfs\n\
         shm {size}\nshared\nto stdout\n"
    );
    assert_eq!(shell(&root, &mut plan, script)?.ok()?, expected);
    Ok(())
}

pub(crate) fn only_its_own_mounts(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    let script = "sed 's/^[^/]*[^ ]* //; s/ - / /' /proc/self/mountinfo | cut -d' ' -f1-4";
    let mut plan = Plan {
        masked: vec!["/proc/version".into(), "/proc/fs".into()],
        readonly: vec!["/proc/sys".into()],
        ..Plan::default()
    };
    let listed = shell(&root, &mut plan, script)?.ok()?;
    let expected = "\
        /proc rw,nosuid,nodev,noexec,relatime proc proc\n\
        /dev rw,nosuid tmpfs tmpfs\n\
        /dev/pts rw,nosuid,noexec,relatime devpts devpts\n\
        /sys ro,nosuid,nodev,noexec,relatime sysfs sysfs\n\
        /dev/mqueue rw,nosuid,nodev,noexec,relatime mqueue mqueue\n\
        /dev/shm rw,nosuid,nodev,noexec,relatime tmpfs tmpfs\n\
        /proc/version ro,nosuid,noexec tmpfs tmpfs\n\
        /proc/fs ro,nosuid,nodev,noexec,relatime tmpfs tmpfs\n\
        /proc/sys ro,nosuid,nodev,noexec,relatime proc proc\n";
    // The disk of the temporary folder differs between machines.
    let (first, rest) = listed.split_once('\n').unwrap();
    assert!(first.starts_with("/ rw,"), "{first}");
    assert_eq!(rest, expected);
    Ok(())
}

pub(crate) fn masks_hide_and_read_only_refuses(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    for dir in ["srv/keys/deep", "srv/more"] {
        std::fs::create_dir_all(root.join(dir))?;
    }
    for file in ["srv/keys/key", "srv/more/key", "etc/secret", "etc/fixed"] {
        std::fs::write(root.join(file), "told")?;
    }
    std::os::unix::fs::symlink("/etc/secret", root.join("etc/alias"))?;
    let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
    let mut plan = Plan::default();
    plan.masked.extend(paths(&[
        "/proc/version",
        "/srv/keys",
        "/srv/more",
        "/etc/alias",
        "/no/such",
        "/etc/passwd/x",
    ]));
    plan.readonly.extend(paths(&["/etc/fixed", "/no/such"]));
    let script = r#"
        wc -c < /proc/version
        for f in /proc/kcore /proc/interrupts /proc/keys /proc/timer_list; do
            [ -e $f ] && wc -c < $f
        done | uniq
        ls /srv/keys /srv/more
        ls /sys/firmware
        cat /etc/secret
        exec 2>&1
        chmod 600 /etc/secret
        touch /srv/keys/new
        # The value it has: a test that fails must not harm the host.
        panic=$(cat /proc/sys/kernel/panic)
        echo $panic > /proc/sys/kernel/panic
        echo x > /etc/fixed
        rm /etc/fixed
        touch /sys/x
        cat /etc/fixed
    "#;
    let expected = "0\n0\n\
        /srv/keys:\n\n/srv/more:\n\
        chmod: /etc/secret: Read-only file system\n\
        touch: /srv/keys/new: Read-only file system\n\
        sh: can't create /proc/sys/kernel/panic: Read-only file system\n\
        sh: can't create /etc/fixed: Read-only file system\n\
        rm: can't remove '/etc/fixed': Device or resource busy\n\
        touch: /sys/x: Read-only file system\n\
        told";
    assert_eq!(shell(&root, &mut plan, script)?.output, expected);
    assert_eq!(std::fs::read_to_string(root.join("etc/secret"))?, "told");
    assert_eq!(std::fs::metadata("/dev/null")?.mode() & 0o777, 0o666);
    Ok(())
}

pub(crate) fn a_read_only_root_keeps_volumes_writable(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    let (volume, deep) = (sandbox.path("volume"), sandbox.path("volume/deep"));
    std::fs::create_dir_all(&deep)?;
    let inner = FsContext::open("tmpfs")?.mount(Attr::empty())?;
    attach(inner.as_fd(), directory(&deep)?.as_fd())?;
    let mut plan = Plan { read_only_root: true, workdir: "/new/work".into(), ..Plan::default() };
    for (target, read_only_recursive) in [("/rw", false), ("/ro", true)] {
        let fd = rootfs::bind(directory(&volume)?.as_fd(), true)?;
        let mount = Mount { read_only_recursive, ..Mount::detached(target, fd, false) };
        plan.mounts.push(mount);
    }
    let fd = rootfs::bind(directory(&volume)?.as_fd(), true)?;
    plan.mounts.push(Mount { attr: Attr::RDONLY, ..Mount::detached("/top", fd, false) });
    let script = r#"
        pwd; umask
        exec 2>&1
        for dir in / /etc /new/work /ro /ro/deep /top; do touch $dir/x; done
        for dir in /rw /rw/deep /top/deep /dev /dev/shm; do touch $dir/y && echo $dir; done
    "#;
    let expected = "/new/work\n0022\n\
        touch: //x: Read-only file system\n\
        touch: /etc/x: Read-only file system\n\
        touch: /new/work/x: Read-only file system\n\
        touch: /ro/x: Read-only file system\n\
        touch: /ro/deep/x: Read-only file system\n\
        touch: /top/x: Read-only file system\n\
        /rw\n/rw/deep\n/top/deep\n/dev\n/dev/shm\n";
    assert_eq!(shell(&root, &mut plan, script)?.ok()?, expected);
    assert!(volume.join("y").exists() && deep.join("y").exists());
    assert_eq!(std::fs::metadata(root.join("new/work"))?.permissions().mode() & 0o7777, 0o755);
    Ok(())
}

pub(crate) fn missing_targets_are_created(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    for dir in ["proc", "sys", "dev"] {
        std::fs::remove_dir(root.join(dir))?;
    }
    let file = sandbox.path("hosts");
    std::fs::write(&file, "127.0.0.1 localhost\n")?;
    let place = nix::fcntl::open(&file, nix::fcntl::OFlag::O_PATH, Mode::empty())?;
    let mut plan = Plan::default();
    for target in ["/etc/hosts", "/a/b/c"] {
        plan.mounts.push(Mount::detached(target, rootfs::bind(place.as_fd(), false)?, true));
    }
    let ran = shell(&root, &mut plan, "cat /etc/hosts /a/b/c; test -d /proc/self && echo proc")?;
    assert_eq!(ran.ok()?, "127.0.0.1 localhost\n127.0.0.1 localhost\nproc\n");
    // The places stay in the image's folder, empty.
    assert_eq!(std::fs::metadata(root.join("a/b/c"))?.len(), 0);

    let mut plan = Plan::default();
    plan.mounts.push(Mount::detached("/etc", rootfs::bind(place.as_fd(), false)?, true));
    let ran = shell(&root, &mut plan, "true")?;
    assert_eq!(
        (ran.status, ran.output.trim()),
        (
            SETUP_FAILED,
            "attach mount `/etc`: Invalid argument (EINVAL): \
             the source is a file and the target is a directory"
        )
    );
    Ok(())
}

pub(crate) fn a_tmpfs_takes_over_what_is_there(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    let var = root.join("var");
    std::fs::create_dir_all(var.join("deep/er"))?;
    std::fs::write(var.join("deep/tool"), "text")?;
    chown(var.join("deep/tool"), Some(12), Some(34))?;
    std::fs::set_permissions(var.join("deep/tool"), PermissionsExt::from_mode(0o4711))?;
    std::fs::set_permissions(&var, PermissionsExt::from_mode(0o1750))?;
    let times = std::fs::FileTimes::new()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000));
    std::fs::File::open(var.join("deep"))?.set_times(times)?;
    // A link out of the tree must come over as a link, not as what it names on the host.
    std::os::unix::fs::symlink("/etc/shadow", var.join("link"))?;
    mknodat(AT_FDCWD, &var.join("pipe"), SFlag::S_IFIFO, Mode::S_IRWXU, 0)?;
    mknodat(AT_FDCWD, &var.join("null"), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3))?;

    let tmpfs = |target: &str, copy_up| Mount {
        copy_up,
        ..Mount::filesystem(target, "tmpfs", &[("size", "1m")], Attr::NOSUID)
    };
    let mut plan = Plan::default();
    plan.mounts.extend([tmpfs("/var", true), tmpfs("/etc", false), tmpfs("/fresh", true)]);
    let script = r#"
        cd /var
        stat -c '%n %A %u:%g %Y' . deep/tool | sed 's/^\(\. .*\) .*/\1/'
        stat -c '%n %A %Y' deep
        stat -c '%N %F %t:%T' link pipe null
        cat deep/tool; echo; ls deep; ls -A /etc /fresh; echo new > deep/tool
        stat -c '%n %a' /fresh
    "#;
    let expected = ". drwxr-x--T 0:0\ndeep/tool -rws--x--x 12:34 [..]\n\
        deep drwxr-xr-x 1000000\n\
        'link' -> '/etc/shadow' symbolic link 0:0\npipe fifo 0:0\nnull character special file 1:3\n\
        text\ner\ntool\n/etc:\n\n/fresh:\n/fresh 1777\n";
    let seen = shell(&root, &mut plan, script)?.ok()?;
    let seen: Vec<_> = seen.lines().collect();
    for (seen, expected) in seen.iter().zip(expected.lines()) {
        match expected.strip_suffix("[..]") {
            Some(beginning) => assert!(seen.starts_with(beginning), "{seen}"),
            None => assert_eq!(*seen, expected, "{seen}"),
        }
    }
    assert_eq!(seen.len(), expected.lines().count());
    assert_eq!(std::fs::read_to_string(var.join("deep/tool"))?, "text");
    Ok(())
}

pub(crate) fn the_options_of_a_filesystem_are_named_when_wrong(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    let mut plan = Plan::default();
    plan.mounts.push(Mount::filesystem("/tmp", "tmpfs", &[("sise", "1m")], Attr::empty()));
    let ran = shell(&root, &mut plan, "true")?;
    assert_eq!(
        ran.output.trim(),
        "set mount option `/tmp (tmpfs: sise)`: Invalid argument (EINVAL): tmpfs: Unknown parameter 'sise'"
    );
    Ok(())
}

/// In a user namespace the kernel refuses mknod: the host's nodes are bound. Root inside is the owner of these nodes
/// here (it is mapped to the host's root), and still may not change them.
pub(crate) fn a_user_namespace_binds_the_hosts_devices(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    // The mode it has already: a test that fails must not harm the host.
    let script = "echo x > /dev/null && stat -c '%n %t:%T' /dev/null && \
                  head -c 2 /dev/zero | wc -c && wc -c < /proc/version && id -u; \
                  chmod 666 /dev/null /proc/version 2>&1";
    for private_devices in [false, true] {
        let masked = vec!["/proc/version".into()];
        let mut plan = Plan { private_devices, masked, ..Plan::default() };
        let detached = rootfs::bind(directory(&root)?.as_fd(), false)?;
        let ran = observed(
            NAMESPACES | CloneFlags::CLONE_NEWUSER,
            |pause| {
                pause.wait()?;
                support::enter(detached, &mut plan)?;
                Err(support::exec(script))
            },
            |pid| {
                for map in ["uid_map", "gid_map"] {
                    std::fs::write(format!("/proc/{pid}/{map}"), "0 0 1\n")?;
                }
                Ok(())
            },
        )?;
        let refused = "chmod: /dev/null: Read-only file system\n\
                       chmod: /proc/version: Read-only file system\n";
        assert_eq!(ran.output, format!("/dev/null 1:3\n2\n0\n0\n{refused}"));
    }
    Ok(())
}

pub(crate) fn sources_are_what_they_say(_: &Sandbox) -> Outcome {
    let kinds: Vec<_> = rootfs::default_mounts(0)
        .into_iter()
        .map(|mount| match mount.source {
            Source::Filesystem { kind, .. } => format!("{} {kind}", mount.target.display()),
            Source::Detached(_) => unreachable!("the defaults need nothing of the host"),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "/proc proc",
            "/dev tmpfs",
            "/dev/pts devpts",
            "/sys sysfs",
            "/dev/mqueue mqueue",
            "/dev/shm tmpfs"
        ]
    );
    Ok(())
}
