//! A value that outlives the process that wrote it: the runtime so far, with `-v`, `--mount` and
//! `--tmpfs`.
//!
//! ```text
//! keep STORE ROOT [-v VOLUME] [--mount MOUNT] [--tmpfs TMPFS]... -- COMMAND [ARGUMENT]...
//! ```
//!
//! STORE is the folder of all volumes, ROOT a folder with a root file system. The command runs in a
//! mount namespace of its own and sees only ROOT and what was mounted into it.

use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{fchdir, pivot_root};
use syscalls::clone::{CloneArgs, Cloned, clone3};
use syscalls::inroot;
use syscalls::mount::{Propagation, SetAttr, attach, clone_tree, set_attr};
use volumes::{Kind, Spec, Store, parse_mount, parse_tmpfs, parse_volume};

fn main() {
    let code = keep().unwrap_or_else(|error| {
        eprintln!("keep: {error}");
        125
    });
    std::process::exit(code);
}

fn keep() -> Result<i32, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let store = Store::open(Path::new(&arguments.next().ok_or("which store?")?))?;
    let root = arguments.next().ok_or("which root?")?;
    let staging = PathBuf::from(root);
    let root = clone_tree(place(&staging)?.as_fd(), "", true)?;
    // The copy of a shared mount (systemd makes all of them shared) is its peer: what is mounted in
    // it would appear on the host, and pivot_root refuses it (EINVAL).
    let private = SetAttr { propagation: Some(Propagation::Private), ..SetAttr::default() };
    set_attr(root.as_fd(), true, &private)?;

    // Everything that can fail on the host happens before there is a process.
    let mut mounts: Vec<(PathBuf, OwnedFd)> = Vec::new();
    while let Some(flag) = arguments.next().filter(|flag| flag != "--") {
        let value = arguments.next().ok_or("a flag without a value")?;
        let spec = match flag.as_str() {
            "-v" => parse_volume(&value)?,
            "--mount" => parse_mount(&value)?,
            "--tmpfs" => parse_tmpfs(&value)?,
            _ => return Err(format!("unknown flag {flag}").into()),
        };
        mounts.push((spec.target.clone(), detached(&store, &spec, &root)?));
    }

    let container = CloneArgs { namespaces: CloneFlags::CLONE_NEWNS, cgroup: None };
    let pid = match clone3(&container)? {
        Cloned::Child => {
            let error = enter(&root, &staging, &mounts).err().unwrap_or_else(|| {
                Command::new(arguments.next().unwrap_or_default()).args(arguments).exec().into()
            });
            eprintln!("keep: {error}");
            std::process::exit(125);
        }
        Cloned::Parent { pid, .. } => pid,
    };
    // The mounts end with the last descriptor and the last process that has them: nothing to
    // unmount.
    match waitpid(pid, None)? {
        WaitStatus::Exited(_, code) => Ok(code),
        status => Err(format!("{status:?}").into()),
    }
}

/// The mount that a flag asks for, without a place.
fn detached(store: &Store, spec: &Spec, image: &OwnedFd) -> Result<OwnedFd, Box<dyn Error>> {
    let source = match spec.kind {
        Kind::Tmpfs => return Ok(volumes::tmpfs(spec)?),
        Kind::Bind => volumes::open_source(spec)?,
        Kind::Volume => {
            let name = spec.source.as_deref();
            let (volume, _hold) = store.acquire(name, &spec.labels, &spec.driver_opts)?;
            let data = volumes::open_volume(&volume)?;
            if spec.nocopy {
                volumes::settle(data.as_fd())?;
            } else {
                volumes::populate(data.as_fd(), image.as_fd(), &spec.target)?;
            }
            data
        }
    };
    Ok(volumes::detached(source.as_fd(), spec)?)
}

/// Chapter 03 in a few lines: the root, the mounts in it, and nothing else.
fn enter(
    root: &OwnedFd,
    staging: &Path,
    mounts: &[(PathBuf, OwnedFd)],
) -> Result<(), Box<dyn Error>> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    // Opened here and not before: a descriptor of the host's mount namespace names no place in this
    // one.
    attach(root.as_fd(), place(staging)?.as_fd())?;
    for (target, mount) in mounts {
        let target = inroot::create_dir_all(root.as_fd(), target)?;
        attach(mount.as_fd(), target.as_fd())?;
    }
    fchdir(root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    Ok(())
}

fn place(path: &Path) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}
