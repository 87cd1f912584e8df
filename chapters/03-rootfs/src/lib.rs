//! Chapter 03: a process that sees only its own files.
//!
//! `chroot` changes the meaning of one string, `/`, for one process; everything the process can reach by other ways (an
//! open directory, `..` from outside, the mount table) is as before. Here the *mount table* changes: the process gets a
//! namespace of mounts in which the host's file systems do not exist any more, so there is nothing left to escape to.
//!
//! [`enter`] tells the story from top to bottom, each step in the order in which the kernel asks for it:
//!
//!  1. what is mounted here from now on stays here (private propagation);
//!  2. kernel parameters are written through a /proc of our own;
//!  3. the new root, a mount without a place so far, is attached;
//!  4. the mounts of the container, one after the other; a /dev is filled before it is attached;
//!  5. device nodes elsewhere;
//!  6. the terminal, made in the container's own devpts and bound on /dev/console;
//!  7. paths that tell or change too much about the host are covered or made read-only;
//!  8. the working directory is looked up, and created if it is missing;
//!  9. `pivot_root`: the new root becomes `/`, and the old one, with every file of the host, is detached;
//! 10. the root is made read-only if asked for;
//! 11. the working directory is entered and proved to lie inside.
//!
//! **Descriptors, not paths.** An image is data from strangers, and so is what another container writes to a shared
//! volume meanwhile. Each path of the container is resolved exactly once, by `openat2` with the new root as its `/`
//! ([`syscalls::inroot`]); everything after that, mounting included, is done to the descriptor. Nothing is ever
//! *taken* from the container's files: the device that covers a masked file, the terminal and the /proc for kernel
//! parameters are our own.
//!
//! Files, in reading order: [`plan`] (what to build), `root.rs` (places inside the new root), `mounts.rs`, `dev.rs`,
//! `terminal.rs`, `masks.rs`, [`sysctl`], `copy_up.rs`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{fchdir, pivot_root};
use syscalls::mount::{SetAttr, clone_tree, set_attr};
use syscalls::{During, KernelError, inroot, step};

mod copy_up;
mod dev;
mod masks;
mod mounts;
pub mod plan;
mod root;
pub mod sysctl;
mod terminal;

pub use plan::{
    Device, Mount, Plan, Source, default_devices, default_masked, default_mounts, default_readonly,
};
pub use syscalls::mount::{Attr, Propagation};
pub use syscalls::tty::Size;
pub use terminal::{make_controlling, new_terminal};

use root::Root;

/// What [`enter`] hands back to the process that is inside now.
#[derive(Debug, Default)]
pub struct Entered {
    /// The master side of the terminal if [`Plan::terminal`] asked for one: to be sent to whoever shows it.
    pub terminal: Option<OwnedFd>,
    /// The other side, for [`make_controlling`].
    pub slave: Option<OwnedFd>,
}

/// A finished root that has not been entered yet: `/` is still the host's.
#[derive(Debug)]
pub struct Prepared {
    root: OwnedFd,
    workdir: OwnedFd,
    workdir_name: String,
    last: (Attr, Option<Propagation>),
    entered: Entered,
}

/// Builds what `plan` says around `root` and makes it the `/` of the calling process, which must be alone (one thread)
/// in its own mount namespace. Working directory and umask (0022) are set.
///
/// `root` is a detached mount: an overlay, or a [`bind`] of a folder. It is attached on `staging`, which can be any
/// directory but must have been opened *in* the new mount namespace: one from before clone3 belongs to the namespace of
/// the parent, and mounts can be attached only in one's own. [`staging`] opens one.
///
/// The detached mounts of the plan are attached as they are; their descriptors stay open in `plan`, close-on-exec.
///
/// # Errors
/// The first step that failed. The process is then somewhere between two roots and can only end; with it ends its
/// mount namespace, so there is nothing to undo.
pub fn enter(
    root: OwnedFd,
    staging: BorrowedFd<'_>,
    plan: &mut Plan,
) -> Result<Entered, KernelError> {
    prepare(root, staging, plan)?.pivot()
}

/// Steps 1 to 8 of the story: all that can be done while the host is still in sight.
///
/// # Errors
/// As [`enter`].
pub fn prepare(
    root: OwnedFd,
    staging: BorrowedFd<'_>,
    plan: &mut Plan,
) -> Result<Prepared, KernelError> {
    // Modes of what is created below are meant as they are written.
    umask(Mode::empty());

    // 1. A mount namespace is a copy, but a copy of a *shared* mount still tells its peers outside what happens to it
    //    (systemd makes `/` shared). Without this line every mount below would appear on the host.
    own_propagation()?;

    // 2. Through a /proc that no image and no volume can have touched (CVE-2025-52881).
    sysctl::write_all(&plan.sysctls)?;

    // 3. pivot_root wants a mount; a detached one becomes one that counts only by being attached.
    let root = Root::attach(root, staging, plan.root_propagation)?;

    // 4. In the order of the plan: a later mount may lie inside an earlier one.
    let made = mounts::attach_all(&root, plan)?;

    // 5. What does not belong to our own /dev: made where the plan says.
    dev::nodes_elsewhere(&root, plan)?;

    // 6. Before the program starts, with its size: a program asks for it once, at its beginning.
    let entered = terminal::open(&root, plan.terminal, &made)?;

    // 7. With a null device and an empty directory of our own (CVE-2025-31133).
    masks::cover(&root, &plan.masked, &made)?;
    masks::make_read_only(&root, &plan.readonly)?;

    // 8. A missing working directory is created, as Docker does: so it comes before the root is read-only.
    let workdir_name = plan.workdir.display().to_string();
    let workdir = step!(
        "openat2",
        ("root, {:?}, RESOLVE_IN_ROOT", plan.workdir),
        inroot::create_dir_all(root.as_fd(), &plan.workdir)
    )
    .during("open working directory", &workdir_name)?;

    let read_only = if plan.read_only_root { Attr::RDONLY } else { Attr::empty() };
    // The kernel refuses pivot_root while the new root is shared.
    let shared = plan
        .root_propagation
        .filter(|wanted| matches!(wanted, Propagation::Shared | Propagation::Unbindable));
    let last = (read_only, shared);
    Ok(Prepared { root: root.into_fd(), workdir, workdir_name, last, entered })
}

impl Prepared {
    /// Steps 9 to 11: enters the new root and lets go of the old one.
    ///
    /// # Errors
    /// As [`enter`].
    pub fn pivot(self) -> Result<Entered, KernelError> {
        // 9. With both arguments ".", the old root lands on top of the new one, at the same place, so no folder for
        //    it must exist in the image; unmounting "." takes the topmost away: the old root with all that is below
        //    it (pivot_root(2), NOTES). Lazily: in one piece, whatever is in use there.
        step!("fchdir", "root", fchdir(&self.root)).during("change directory", "new root")?;
        step!("pivot_root", "\".\", \".\"", pivot_root(".", ".")).map_err(|errno| {
            let error = KernelError::new("change root", "", errno);
            match errno {
                Errno::EINVAL => error.with_detail(
                    "the root of an initial ramdisk cannot be changed; \
                     the host must run from a real root file system",
                ),
                _ => error,
            }
        })?;
        step!("umount2", "\".\", MNT_DETACH", umount2(".", MntFlags::MNT_DETACH))
            .during("detach old root", "")?;

        // 10. The mount of the root only: volumes and /dev below it keep their own attributes.
        let (set, propagation) = self.last;
        if !set.is_empty() || propagation.is_some() {
            let change = SetAttr { set, propagation, ..SetAttr::default() };
            step!("mount_setattr", ("root, {{{set:?}, propagation={propagation:?}}}"), {
                set_attr(self.root.as_fd(), false, &change)
            })
            .during("set mount attributes", "/")?;
        }

        // 11. By descriptor. The kernel says "(unreachable)" for a directory outside of the root: then a path of the
        //     plan or a descriptor has led out, and nothing may be executed from there (CVE-2024-21626).
        step!("fchdir", ("{}", self.workdir_name), fchdir(&self.workdir))
            .during("change directory", &self.workdir_name)?;
        let here = step!("getcwd", "", inroot::current_directory())
            .during("find working directory", &self.workdir_name)?;
        if !here.starts_with("/") {
            return Err(KernelError::new("enter working directory", here.display(), Errno::EXDEV)
                .with_detail("it lies outside of the container"));
        }
        umask(Mode::from_bits_truncate(0o022));
        Ok(self.entered)
    }
}

/// Opens `/`, a place on which [`enter`] can attach any root: it is covered only until `pivot_root`, only in the mount
/// namespace of the caller, and no folder has to be made for it.
///
/// # Errors
/// Those of open(2).
pub fn staging() -> Result<OwnedFd, KernelError> {
    open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .during("open directory", "/")
}

/// Copies a folder as a detached mount, with everything mounted below it if `recursive`: the root of
/// `run --rootfs DIR`. `dir` must be of the caller's mount namespace.
///
/// # Errors
/// Those of open_tree(2): `EPERM` without CAP_SYS_ADMIN, `EINVAL` for a folder of another mount namespace or, if not
/// `recursive`, one whose submounts are locked (it would uncover what they hide).
pub fn bind(dir: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, KernelError> {
    let flags = if recursive { " | AT_RECURSIVE" } else { "" };
    step!("open_tree", ("dir, \"\", OPEN_TREE_CLONE{flags}"), clone_tree(dir, "", recursive))
        .during("bind directory", "root file system")
}

fn own_propagation() -> Result<(), KernelError> {
    let host = open(Path::new("/"), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .during("open directory", "/")?;
    let private = SetAttr { propagation: Some(Propagation::Private), ..SetAttr::default() };
    step!(
        "mount_setattr",
        "\"/\", AT_RECURSIVE, {{propagation=Private}}",
        set_attr(host.as_fd(), true, &private)
    )
    .during("make mounts private", "/")
}
