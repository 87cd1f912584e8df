//! What a detached mount does once it has a place.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::sys::statvfs::{FsFlags, statvfs};
use syscalls::inroot;
use syscalls::mount::{Attr, FsContext, attach};
use testkit::{Outcome, Sandbox};
use volumes::{Error, Kind, Spec, Store};
use volumes::{detached, open_source, open_volume, parse_mount, parse_tmpfs, parse_volume, tmpfs};

use crate::{child, errno, exit_code, place};

/// Attaches the mount of a `-v` or `--mount` value at `at`.
fn attach_spec(spec: &Spec, at: &Path) -> Outcome {
    let source = open_source(spec)?;
    attach(detached(source.as_fd(), spec)?.as_fd(), place(at)?.as_fd())?;
    Ok(())
}

fn mkdirs(sandbox: &Sandbox, names: &[&str]) -> std::io::Result<()> {
    names.iter().try_for_each(|name| fs::create_dir_all(sandbox.path(name)))
}

/// Mounts an empty tmpfs at `path`: what a submount is.
fn submount(path: &Path) -> Outcome {
    fs::create_dir_all(path)?;
    attach(FsContext::open("tmpfs")?.mount(Attr::empty())?.as_fd(), place(path)?.as_fd())?;
    Ok(())
}

pub(crate) fn a_write_is_seen_on_the_host(sandbox: &Sandbox) -> Outcome {
    mkdirs(sandbox, &["host", "inside"])?;
    let (host, inside) = (sandbox.path("host"), sandbox.path("inside"));
    attach_spec(&parse_volume(&format!("{}:/x", host.display()))?, &inside)?;
    fs::write(inside.join("from-inside"), &sandbox.name)?;
    fs::write(host.join("from-outside"), &sandbox.name)?;
    assert_eq!(fs::read_to_string(host.join("from-inside"))?, sandbox.name);
    assert_eq!(fs::read_to_string(inside.join("from-outside"))?, sandbox.name);
    Ok(())
}

pub(crate) fn a_file_can_be_bound_too(sandbox: &Sandbox) -> Outcome {
    let (host, inside) = (sandbox.path("host"), sandbox.path("inside"));
    fs::write(&host, "host")?;
    fs::write(&inside, "image")?;
    attach_spec(&parse_volume(&format!("{}:/x:ro", host.display()))?, &inside)?;
    assert_eq!(fs::read_to_string(&inside)?, "host");
    assert_eq!(errno(fs::write(&inside, "no")), Errno::EROFS);
    fs::write(&host, "new")?;
    assert_eq!(fs::read_to_string(&inside)?, "new");
    Ok(())
}

pub(crate) fn read_only_means_erofs_below_too(sandbox: &Sandbox) -> Outcome {
    mkdirs(sandbox, &["host", "v", "mount"])?;
    let host = sandbox.path("host");
    submount(&host.join("sub"))?;
    submount(&host.join("sub/deeper"))?;
    let v = format!("{}:/x:ro", host.display());
    attach_spec(&parse_volume(&v)?, &sandbox.path("v"))?;
    let text = format!(
        "type=bind,src={},dst=/x,readonly,bind-recursive=readonly,bind-propagation=rprivate",
        host.display()
    );
    attach_spec(&parse_mount(&text)?, &sandbox.path("mount"))?;
    for file in ["file", "sub/file", "sub/deeper/file"] {
        for inside in ["v", "mount"] {
            assert_eq!(
                errno(fs::write(sandbox.path(inside).join(file), "")),
                Errno::EROFS,
                "{file}"
            );
        }
        fs::write(host.join(file), "the host's own mounts are as writable as before")?;
        assert!(sandbox.path("v").join(file).exists());
    }
    Ok(())
}

pub(crate) fn writable_and_nonrecursive_are_obeyed(sandbox: &Sandbox) -> Outcome {
    mkdirs(sandbox, &["host", "writable", "alone", "shallow"])?;
    let host = sandbox.path("host");
    submount(&host.join("sub"))?;
    fs::write(host.join("sub/there"), "")?;
    let bind = format!("type=bind,src={},dst=/x,readonly", host.display());
    for (more, inside) in [
        ("bind-recursive=writable", "writable"),
        ("bind-nonrecursive", "alone"),
        // The top alone gets another propagation than the rest: two calls instead of one.
        ("bind-propagation=private", "shallow"),
    ] {
        attach_spec(&parse_mount(&format!("{bind},{more}"))?, &sandbox.path(inside))?;
        assert_eq!(errno(fs::write(sandbox.path(inside).join("file"), "")), Errno::EROFS);
    }
    fs::write(sandbox.path("writable/sub/file"), "")?;
    assert!(host.join("sub/file").exists());
    assert!(!sandbox.path("alone/sub/there").exists());
    assert_eq!(errno(fs::write(sandbox.path("shallow/sub/file"), "")), Errno::EROFS);
    Ok(())
}

/// Lines of mountinfo that name the sandbox's folder.
fn mounts_of(sandbox: &Sandbox) -> usize {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().filter(|line| line.contains(&*sandbox.dir.to_string_lossy())).count()
}

pub(crate) fn nothing_stays_mounted_on_the_host(sandbox: &Sandbox) -> Outcome {
    mkdirs(sandbox, &["host", "inside"])?;
    let (host, inside) = (sandbox.path("host"), sandbox.path("inside"));
    submount(&host.join("sub"))?;
    let before = mounts_of(sandbox);
    let spec = parse_volume(&format!("{}:/x", host.display()))?;
    let tree = detached(open_source(&spec)?.as_fd(), &spec)?;
    assert_eq!(mounts_of(sandbox), before, "a detached mount has no place");
    // The container: a mount namespace of its own, that ends with its only process.
    let container = child(CloneFlags::CLONE_NEWNS, || {
        attach(tree.as_fd(), place(&inside).unwrap().as_fd()).unwrap();
        fs::write(inside.join("sub/value"), "kept").unwrap();
        i32::from(mounts_of(sandbox) != before + 2)
    })?;
    assert_eq!(exit_code(container), 0, "inside, both mounts are seen");
    drop(tree);
    assert_eq!(mounts_of(sandbox), before);
    assert_eq!(fs::read_to_string(host.join("sub/value"))?, "kept");
    fs::remove_dir(&inside)?;
    // Nobody uses the submount either: no copy of it is left anywhere.
    nix::mount::umount(&host.join("sub"))?;
    Ok(())
}

pub(crate) fn propagation_is_what_was_asked(sandbox: &Sandbox) -> Outcome {
    for (kind, host_to_container, container_to_host) in [
        ("private", false, false),
        ("rprivate", false, false),
        ("slave", true, false),
        ("rslave", true, false),
        ("shared", true, true),
        ("rshared", true, true),
        ("default", false, false),
    ] {
        let (host, inside) = (sandbox.path(format!("host-{kind}")), sandbox.path(kind));
        fs::create_dir(&inside)?;
        submount(&host)?;
        let none: Option<&str> = None;
        mount(none, &host, none, MsFlags::MS_SHARED, none)?;
        fs::create_dir(host.join("a"))?;
        fs::create_dir(host.join("b"))?;
        attach_spec(&parse_volume(&format!("{}:/x:{kind}", host.display()))?, &inside)?;
        submount(&host.join("a"))?;
        fs::write(host.join("a/event"), "")?;
        assert_eq!(inside.join("a/event").exists(), host_to_container, "{kind}: host to container");
        submount(&inside.join("b"))?;
        fs::write(inside.join("b/event"), "")?;
        assert_eq!(host.join("b/event").exists(), container_to_host, "{kind}: container to host");
    }
    Ok(())
}

pub(crate) fn propagation_needs_a_peer(sandbox: &Sandbox) -> Outcome {
    let host = sandbox.path("host");
    submount(&host)?;
    for (kind, words) in [("rshared", "a shared mount"), ("slave", "a shared or slave mount")] {
        let spec = parse_volume(&format!("{}:/x:{kind}", host.display()))?;
        let error = detached(open_source(&spec)?.as_fd(), &spec).unwrap_err();
        let text = format!("path {0} is mounted on {0} but it is not {words}", host.display());
        assert_eq!((error.errno, error.detail), (Errno::EINVAL, text));
    }
    Ok(())
}

pub(crate) fn a_target_through_a_link_stays_inside(sandbox: &Sandbox) -> Outcome {
    mkdirs(sandbox, &["host", "outside", "root/real"])?;
    let (root, outside) = (sandbox.path("root"), sandbox.path("outside"));
    symlink(&outside, root.join("absolute"))?;
    symlink("../../../../../../../../..", root.join("up"))?;
    symlink("../outside", root.join("sideways"))?;
    fs::write(sandbox.path("host/value"), "")?;
    let spec = parse_volume(&format!("{}:/x", sandbox.path("host").display()))?;
    let up = format!("/up{}/deep", outside.display());
    for target in ["/absolute", "/sideways", "/absolute/new", &up, "/real/../../outside/x"] {
        let mount = detached(open_source(&spec)?.as_fd(), &spec)?;
        let at = inroot::create_dir_all(place(&root)?.as_fd(), target.as_ref())?;
        attach(mount.as_fd(), at.as_fd())?;
        assert!(inroot::open_path(place(&root)?.as_fd(), &Path::new(target).join("value")).is_ok());
        assert_eq!(fs::read_dir(&outside)?.count(), 0, "{target} came out");
    }
    Ok(())
}

pub(crate) fn a_subpath_cannot_leave_the_volume(sandbox: &Sandbox) -> Outcome {
    mkdirs(sandbox, &["inside", "outside"])?;
    fs::write(sandbox.path("outside/secret"), "")?;
    let volume = Store::open(&sandbox.path("volumes"))?.create(Some("data"), &[], &[])?;
    fs::create_dir_all(volume.mountpoint.join("sub/folder"))?;
    fs::write(volume.mountpoint.join("sub/folder/value"), "")?;
    symlink(sandbox.path("outside"), volume.mountpoint.join("trap"))?;
    let data = open_volume(&volume)?;
    let mount = |subpath: &str| -> Result<OwnedFd, syscalls::KernelError> {
        let text = format!("src=data,dst=/x,volume-subpath={subpath}");
        detached(data.as_fd(), &parse_mount(&text).unwrap())
    };
    attach(mount("sub/folder")?.as_fd(), place(&sandbox.path("inside"))?.as_fd())?;
    assert!(sandbox.path("inside/value").exists());
    assert_eq!(mount("trap").unwrap_err().errno, Errno::ENOENT);
    assert_eq!(mount("missing").unwrap_err().errno, Errno::ENOENT);
    Ok(())
}

pub(crate) fn a_missing_source_is_made_or_refused(sandbox: &Sandbox) -> Outcome {
    let missing = sandbox.path("a/b/c");
    let text = format!("type=bind,source={},target=/x", missing.display());
    let error = open_source(&parse_mount(&text)?).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)));
    let expected = format!(
        "invalid mount config for type \"bind\": bind source path does not exist: {0}\n\
         hint: create it, or let -v create it: -v {0}:/x",
        missing.display()
    );
    assert_eq!(error.to_string(), expected);
    assert!(!sandbox.path("a").exists());
    open_source(&parse_volume(&format!("{}:/x", missing.display()))?)?;
    assert!(missing.is_dir());
    fs::write(sandbox.path("file"), "")?;
    let below_a_file = parse_volume(&format!("{}:/x", sandbox.path("file/x").display()))?;
    let error = open_source(&below_a_file).unwrap_err();
    assert!(matches!(error, Error::Kernel(error) if error.errno == Errno::ENOTDIR));
    Ok(())
}

pub(crate) fn a_tmpfs_has_size_mode_and_attributes(sandbox: &Sandbox) -> Outcome {
    mkdirs(sandbox, &["a", "b"])?;
    let (a, b) = (sandbox.path("a"), sandbox.path("b"));
    attach(tmpfs(&parse_tmpfs("/x:size=64k,mode=0710,uid=7,exec")?)?.as_fd(), place(&a)?.as_fd())?;
    assert_eq!(errno(fs::write(a.join("big"), vec![0; 100_000])), Errno::ENOSPC);
    let meta = fs::metadata(&a)?;
    assert_eq!(meta.permissions().mode() & 0o7777, 0o710);
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), 7);
    let flags = statvfs(&a)?.flags();
    assert!(flags.contains(FsFlags::ST_NOSUID | FsFlags::ST_NODEV), "{flags:?}");
    assert!(!flags.contains(FsFlags::ST_NOEXEC), "{flags:?}");
    let text = "type=tmpfs,dst=/x,tmpfs-size=1m,readonly";
    attach(tmpfs(&parse_mount(text)?)?.as_fd(), place(&b)?.as_fd())?;
    assert_eq!(errno(fs::write(b.join("x"), "")), Errno::EROFS);
    assert!(statvfs(&b)?.flags().contains(FsFlags::ST_NOEXEC));
    assert_eq!(fs::metadata(&b)?.permissions().mode() & 0o7777, 0o1777);
    let error = tmpfs(&parse_tmpfs("/x:huge=maybe")?).unwrap_err();
    assert!(error.to_string().contains("huge"), "{error}");
    Ok(())
}

pub(crate) fn a_volume_can_stand_for_another_folder(sandbox: &Sandbox) -> Outcome {
    mkdirs(sandbox, &["device", "inside"])?;
    let device = sandbox.path("device").display().to_string();
    let options: Vec<(String, String)> =
        [("type", "none"), ("o", "bind"), ("device", device.as_str())]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    let store = Store::open(&sandbox.path("volumes"))?;
    let volume = store.create(Some("data"), &[], &options)?;
    let spec = Spec { source: Some("data".into()), ..Spec::new(Kind::Volume, "/x") };
    let mount = detached(open_volume(&volume)?.as_fd(), &spec)?;
    attach(mount.as_fd(), place(&sandbox.path("inside"))?.as_fd())?;
    fs::write(sandbox.path("inside/value"), "")?;
    assert!(sandbox.path("device/value").exists());
    store.remove("data", &|_| Vec::new(), false)?;
    assert!(sandbox.path("device/value").exists(), "the folder was never ours");
    Ok(())
}
