//! Four ways out of a chroot, tried by a root with every capability: first against `chroot`, to see that they work,
//! then against the container.

use std::error::Error;
use std::fs::read_to_string;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, fchdir, mkdir};
use rootfs::Plan;
use syscalls::KernelError;
use testkit::{Outcome, Sandbox};

use crate::support::{self, NAMESPACES, Ran, directory, exec, process, random};

/// Makes the attempt; true if the host's secret could be read.
type Attempt = fn(&Attack) -> nix::Result<()>;

struct Attack {
    /// A host path with a text that exists nowhere else.
    secret: PathBuf,
    text: String,
    /// A descriptor of a host folder that somebody forgot.
    leaked: OwnedFd,
}

impl Attack {
    fn new(sandbox: &Sandbox) -> Result<Self, Box<dyn Error>> {
        let (secret, text) = (sandbox.path("secret"), format!("secret {}", random()));
        std::fs::write(&secret, &text)?;
        Ok(Self { secret, text, leaked: directory(Path::new("/"))? })
    }

    /// Whether the host is in sight as `/`.
    fn succeeded(&self) -> bool {
        read_to_string(&self.secret).is_ok_and(|text| text == self.text)
    }
}

/// The working directory is left outside of a second chroot, and `..` stops only at the root it is inside of.
fn chroot_dance(_: &Attack) -> nix::Result<()> {
    chdir("/")?;
    mkdir("dance", Mode::S_IRWXU)?;
    chroot("dance")?;
    climb()
}

/// Joining a mount namespace sets `/` to the root of that namespace, whatever chroot had said; and to whatever lies
/// on top of that root, so an old root that was not detached is found as well.
fn old_root(_: &Attack) -> nix::Result<()> {
    let none: Option<&str> = None;
    mkdir("/proc", Mode::S_IRWXU).ok();
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none)?;
    let own = open("/proc/self/ns/mnt", OFlag::O_RDONLY, Mode::empty())?;
    setns(own, CloneFlags::CLONE_NEWNS)
}

fn leaked_descriptor(attack: &Attack) -> nix::Result<()> {
    fchdir(&attack.leaked)?;
    chroot(".")
}

/// chroot(2) does not change the working directory.
fn dot_dot(_: &Attack) -> nix::Result<()> {
    climb()
}

fn climb() -> nix::Result<()> {
    for _ in 0..64 {
        chdir("..")?;
    }
    chroot(".")
}

const ESCAPED: i32 = 42;

fn attempt(
    attack: Attack,
    how: Attempt,
    confine: impl FnOnce() -> Result<(), KernelError>,
) -> Result<Ran, Box<dyn Error>> {
    process(NAMESPACES, move || {
        confine()?;
        assert!(!attack.succeeded(), "the host is in sight before the attempt");
        let result = how(&attack);
        Ok(if attack.succeeded() {
            ESCAPED
        } else {
            println!("{result:?}");
            0
        })
    })
}

/// The same attempt against both: out of chroot, not out of the container.
fn check(sandbox: &Sandbox, how: Attempt) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    let confined = root.clone();
    let ran = attempt(Attack::new(sandbox)?, how, move || {
        // What /proc tells is the attacker's own in both cases: make_private as `unshare -m` does.
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .and_then(|()| chroot(&confined))
            .map_err(|errno| KernelError::new("chroot", "", errno))
    })?;
    assert_eq!(ran.status, ESCAPED, "chroot should not have held: {}", ran.output);

    let detached = rootfs::bind(directory(&root)?.as_fd(), false)?;
    let ran = attempt(Attack::new(sandbox)?, how, move || {
        support::enter(detached, &mut Plan::default()).map(drop)
    })?;
    assert_eq!(ran.status, 0, "escaped, or failed otherwise: {}", ran.output);
    Ok(())
}

pub(crate) fn the_chroot_dance(sandbox: &Sandbox) -> Outcome {
    check(sandbox, chroot_dance)
}

pub(crate) fn the_old_root(sandbox: &Sandbox) -> Outcome {
    check(sandbox, old_root)
}

pub(crate) fn dot_dot_from_outside(sandbox: &Sandbox) -> Outcome {
    check(sandbox, dot_dot)
}

/// A mount that is detached still works for who has it open: a leaked descriptor defeats pivot_root as well. What
/// helps is that none survives exec; ours never do, and those of others are closed by the caller just before.
pub(crate) fn a_leaked_descriptor(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    let confined = root.clone();
    let ran = attempt(Attack::new(sandbox)?, leaked_descriptor, move || {
        chroot(&confined).map_err(|errno| KernelError::new("chroot", "", errno))
    })?;
    assert_eq!(ran.status, ESCAPED, "{}", ran.output);

    let attack = Attack::new(sandbox)?;
    // Without O_CLOEXEC, as in CVE-2024-21626.
    let leaked = open("/", OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())?;
    let script = format!(
        "for fd in /proc/self/fd/*; do cat $fd{} 2>&-; done; true",
        attack.secret.display()
    );
    for close in [false, true] {
        let detached = rootfs::bind(directory(&root)?.as_fd(), false)?;
        let (leaked, script) = (leaked.try_clone()?, script.clone());
        let ran = process(NAMESPACES, move || {
            let _held = nix::unistd::dup(&leaked)?;
            support::enter(detached, &mut Plan::default())?;
            if close {
                syscalls::fd::close_on_exec_from(3)?;
            }
            Err(exec(&script))
        })?;
        assert_eq!(ran.output.contains(&attack.text), !close, "{ran:?}");
    }
    Ok(())
}

/// A descriptor from before clone3 names a folder of the parent's mount namespace.
pub(crate) fn staging_of_another_namespace(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    let detached = rootfs::bind(directory(&root)?.as_fd(), false)?;
    let staging = directory(&sandbox.dir)?;
    let ran = process(NAMESPACES, move || {
        rootfs::enter(detached, staging.as_fd(), &mut Plan::default())?;
        Ok(0)
    })?;
    let expected = "attach mount `new root`: Invalid argument (EINVAL): \
                    the staging directory was opened in another mount namespace";
    assert_eq!((ran.status, ran.output.trim()), (support::SETUP_FAILED, expected));
    Ok(())
}

pub(crate) fn nothing_of_ours_survives_exec(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    // What the test itself was started with.
    syscalls::fd::close_on_exec_from(3)?;
    let mut plan = Plan { workdir: "/root".into(), ..Plan::default() };
    plan.sysctls.push(("net.ipv4.ip_forward".into(), "1".into()));
    plan.masked.push("/etc/passwd".into());
    let volume = rootfs::bind(directory(&sandbox.dir)?.as_fd(), false)?;
    plan.mounts.push(rootfs::Mount::detached("/volume", volume, false));
    // 3 is the folder that ls itself has open.
    let listed = support::shell(&root, &mut plan, "exec ls /proc/self/fd")?.ok()?;
    assert_eq!(listed, "0\n1\n2\n3\n");
    Ok(())
}

/// A working directory that leads through a descriptor of the runtime (CVE-2024-21626).
pub(crate) fn a_working_directory_outside(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    let leaked = directory(Path::new("/"))?;
    use std::os::fd::AsRawFd;
    let magic = format!("/proc/self/fd/{}", leaked.as_raw_fd());
    std::os::unix::fs::symlink(&magic, root.join("link"))?;
    for workdir in [magic.as_str(), "/link"] {
        let mut plan = Plan { workdir: workdir.into(), ..Plan::default() };
        let ran = support::shell(&root, &mut plan, "true")?;
        assert_eq!(ran.status, support::SETUP_FAILED);
        assert!(ran.output.starts_with("open working directory"), "{}", ran.output);
        assert!(ran.output.contains("ELOOP"), "{}", ran.output);
    }
    // The second line of defence: the kernel's word for a place like that.
    let detached = rootfs::bind(directory(&root)?.as_fd(), false)?;
    let ran = process(NAMESPACES, move || {
        support::enter(detached, &mut Plan::default())?;
        fchdir(&leaked)?;
        println!("{}", syscalls::inroot::current_directory()?.display());
        Ok(0)
    })?;
    assert_eq!(ran.ok()?, "(unreachable)/\n");
    Ok(())
}
