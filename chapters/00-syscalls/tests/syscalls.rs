//! The calls of chapter 00 against the real kernel.

#![allow(clippy::unwrap_used)]

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use syscalls::clone::{CloneArgs, Cloned, clone3};
use syscalls::mount::{Attr, FsContext, SetAttr, attach, clone_tree, set_attr};
use syscalls::{inroot, tty};
use testkit::{Outcome, Sandbox};

fn main() {
    testkit::main(&[
        ("clone3_makes_namespaces_and_a_pidfd", clone3_makes_namespaces_and_a_pidfd),
        ("clone3_refuses_threads_and_sharing", clone3_refuses_threads_and_sharing),
        ("a_mount_exists_before_it_has_a_place", a_mount_exists_before_it_has_a_place),
        ("the_kernels_own_sentence_is_quoted", the_kernels_own_sentence_is_quoted),
        ("read_only_reaches_submounts", read_only_reaches_submounts),
        ("paths_stay_in_the_root", paths_stay_in_the_root),
        ("a_terminal_pair_has_a_size", a_terminal_pair_has_a_size),
        ("the_lesson_is_true", the_lesson_is_true),
    ]);
}

fn directory(path: &std::path::Path) -> nix::Result<std::os::fd::OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

fn clone3_makes_namespaces_and_a_pidfd(_: &Sandbox) -> Outcome {
    let namespaces = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWUTS;
    match clone3(&CloneArgs { namespaces, cgroup: None })? {
        Cloned::Child => {
            std::process::exit(if nix::unistd::getpid().as_raw() == 1 { 42 } else { 1 })
        }
        Cloned::Parent { pid, pidfd } => {
            assert_eq!(waitpid(pid, None)?, WaitStatus::Exited(pid, 42));
            let signal = nix::sys::signal::Signal::SIGTERM;
            assert_eq!(syscalls::pidfd::send_signal(pidfd.as_fd(), signal), Err(Errno::ESRCH));
        }
    }
    Ok(())
}

fn clone3_refuses_threads_and_sharing(_: &Sandbox) -> Outcome {
    let sharing = CloneArgs { namespaces: CloneFlags::CLONE_VM, cgroup: None };
    assert_eq!(clone3(&sharing).map(drop), Err(Errno::EINVAL));
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    let plain = CloneArgs { namespaces: CloneFlags::empty(), cgroup: None };
    assert_eq!(clone3(&plain).map(drop), Err(Errno::EDEADLK));
    drop(end);
    thread.join().expect("the thread only waits").unwrap_err();
    Ok(())
}

fn a_mount_exists_before_it_has_a_place(sandbox: &Sandbox) -> Outcome {
    let place = sandbox.path("place");
    std::fs::create_dir(&place)?;
    let tmpfs = FsContext::open("tmpfs")?;
    tmpfs.set_string("size", "64k")?;
    let mount = tmpfs.mount(Attr::NOSUID)?;
    let file = inroot::create_file(mount.as_fd(), "a/b".as_ref())?;
    drop(file);
    assert!(!place.join("a").exists());
    attach(mount.as_fd(), directory(&place)?.as_fd())?;
    assert!(place.join("a/b").exists());
    let full = std::fs::write(place.join("big"), vec![0; 100_000]).unwrap_err();
    assert_eq!(full.raw_os_error(), Some(Errno::ENOSPC as i32));
    Ok(())
}

fn the_kernels_own_sentence_is_quoted(_: &Sandbox) -> Outcome {
    let error = FsContext::open("tmpfs")?.set_string("sise", "1").unwrap_err();
    assert_eq!(error.errno, Errno::EINVAL);
    assert!(error.detail.contains("Unknown parameter 'sise'"), "{error}");
    Ok(())
}

fn read_only_reaches_submounts(sandbox: &Sandbox) -> Outcome {
    let outer = sandbox.path("outer");
    std::fs::create_dir_all(outer.join("inner"))?;
    let inner = FsContext::open("tmpfs")?.mount(Attr::empty())?;
    attach(inner.as_fd(), directory(&outer.join("inner"))?.as_fd())?;
    let copy = clone_tree(directory(&outer)?.as_fd(), "", true)?;
    set_attr(copy.as_fd(), true, &SetAttr { set: Attr::RDONLY, ..SetAttr::default() })?;
    for path in ["file", "inner/file"] {
        assert_eq!(inroot::create_file(copy.as_fd(), path.as_ref()).map(drop), Err(Errno::EROFS));
        std::fs::write(outer.join(path), "the original is as writable as before")?;
    }
    Ok(())
}

fn paths_stay_in_the_root(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.path("root");
    std::fs::create_dir_all(root.join("etc"))?;
    std::os::unix::fs::symlink("/../../../etc", root.join("dev"))?;
    std::os::unix::fs::symlink("/proc/self/root", root.join("magic"))?;
    std::os::unix::fs::symlink("/no/where", root.join("dangling"))?;
    let fd = directory(&root)?;
    inroot::create_file(fd.as_fd(), "/dev/../dev/x/made".as_ref())?;
    assert!(root.join("etc/x/made").exists());
    assert!(!std::path::Path::new("/etc/x").exists());
    inroot::create_dir_all(fd.as_fd(), "../../up/./here".as_ref())?;
    assert!(root.join("up/here").is_dir());
    inroot::create_dir_all(fd.as_fd(), "dangling/x".as_ref())?;
    assert!(root.join("no/where/x").is_dir());
    std::os::unix::fs::symlink("loop", root.join("loop"))?;
    assert_eq!(inroot::create_dir_all(fd.as_fd(), "loop/x".as_ref()).map(drop), Err(Errno::ELOOP));
    let proc = directory("/proc".as_ref())?;
    assert_eq!(
        inroot::open_path(proc.as_fd(), "self/root/etc".as_ref()).map(drop),
        Err(Errno::ELOOP)
    );
    Ok(())
}

fn a_terminal_pair_has_a_size(_: &Sandbox) -> Outcome {
    let master = nix::pty::posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY)?;
    assert_eq!(tty::open_peer(master.as_fd()).map(drop), Err(Errno::EIO));
    tty::unlock(master.as_fd())?;
    let peer = tty::open_peer(master.as_fd())?;
    let size = tty::Size { rows: 43, cols: 132 };
    tty::set_size(master.as_fd(), size)?;
    assert_eq!(tty::size(peer.as_fd())?, size);
    assert_eq!(tty::size(directory("/".as_ref())?.as_fd()), Err(Errno::EBADF));
    Ok(())
}

fn the_lesson_is_true(sandbox: &Sandbox) -> Outcome {
    let lesson = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    testkit::console::check(&lesson, &sandbox.dir)
}
