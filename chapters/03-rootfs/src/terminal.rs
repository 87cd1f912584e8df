//! The container's terminal: a pair made in its own devpts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, getpid, getsid, setsid};
use syscalls::mount::clone_tree;
use syscalls::tty::{self, Size};
use syscalls::{During, KernelError, inroot, step};

use crate::Entered;
use crate::mounts::Made;
use crate::root::Root;

const CONSOLE: &str = "/dev/console";
/// `linux/magic.h`.
const DEVPTS_SUPER_MAGIC: FsType = FsType(0x1cd1);

/// Makes a terminal pair if a size is given, and binds its slave side on /dev/console.
///
/// A terminal of the *host's* devpts would have a name that means another terminal, or none, in the container. Every
/// step goes through a descriptor: a path under /dev/pts could be swapped between looking and binding
/// (CVE-2025-52565).
pub(crate) fn open(root: &Root, size: Option<Size>, made: &Made) -> Result<Entered, KernelError> {
    let Some(size) = size else { return Ok(Entered::default()) };
    let devpts = made.devpts.as_ref().ok_or_else(|| {
        KernelError::new("create terminal", "", Errno::ENODEV)
            .with_detail("the container has no devpts of its own on /dev/pts")
    })?;
    let (master, slave) = pair(devpts.as_fd(), size)?;

    // In a /dev that is not ours, nothing is created: it may be the host's.
    let path = Path::new(CONSOLE);
    let found;
    let console = match made.dev.as_ref().and_then(|dev| dev.console.as_ref()) {
        Some(console) => Some(console),
        None => {
            found = root.find(path)?;
            found.as_ref().map(|place| &place.fd)
        }
    };
    if let Some(console) = console {
        let bound = step!("open_tree", "slave, \"\", OPEN_TREE_CLONE", {
            clone_tree(slave.as_fd(), "", false)
        })
        .during("bind terminal", CONSOLE)?;
        Root::mount(bound.as_fd(), console.as_fd(), path)?;
    }
    Ok(Entered { terminal: Some(master), slave: Some(slave) })
}

/// Master and slave side of a new terminal.
fn pair(devpts: BorrowedFd<'_>, size: Size) -> Result<(OwnedFd, OwnedFd), KernelError> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let master = step!(
        "openat",
        "devpts, \"ptmx\", O_RDWR | O_NOCTTY",
        openat(devpts, "ptmx", flags, Mode::empty())
    )
    .during("create terminal", "/dev/pts/ptmx")?;
    step!("ioctl", "master, TIOCSPTLCK, 0", tty::unlock(master.as_fd()))
        .during("unlock terminal", "")?;
    let slave = step!("ioctl", "master, TIOCGPTPEER", tty::open_peer(master.as_fd()))
        .during("open terminal", "")?;
    let Size { rows, cols } = size;
    step!("ioctl", ("master, TIOCSWINSZ, {rows}x{cols}"), tty::set_size(master.as_fd(), size))
        .during("set terminal size", format!("{rows}x{cols}"))?;
    Ok((master, slave))
}

/// Makes another terminal in the container that the calling process has joined: master and slave side. The container
/// may have put anything in the place of its /dev/pts, so what lies there must be a devpts.
///
/// # Errors
/// `ENODEV` if there is none.
pub fn new_terminal(size: Size) -> Result<(OwnedFd, OwnedFd), KernelError> {
    let root = crate::staging()?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let none = |errno| {
        KernelError::new("create terminal", "/dev/pts", errno)
            .with_detail("the container has no devpts there")
    };
    let devpts = step!(
        "openat2",
        "root, \"/dev/pts\", O_PATH | O_DIRECTORY, RESOLVE_IN_ROOT",
        inroot::open(root.as_fd(), Path::new("/dev/pts"), flags, Mode::empty())
    )
    .map_err(none)?;
    let kind = fstatfs(&devpts).during("examine", "/dev/pts")?.filesystem_type();
    if kind == DEVPTS_SUPER_MAGIC { pair(devpts.as_fd(), size) } else { Err(none(Errno::ENODEV)) }
}

/// Makes the slave side of a terminal the controlling terminal of the calling process, which becomes the leader of a
/// session, and its standard input, output and error.
///
/// # Errors
/// `EPERM` if the process leads a process group of somebody else's session, or has a terminal already.
pub fn make_controlling(slave: OwnedFd) -> Result<(), KernelError> {
    match step!("setsid", "", setsid()) {
        // It leads a session already.
        Err(Errno::EPERM) if getsid(None) == Ok(getpid()) => {}
        other => drop(other.during("create session", "")?),
    }
    step!("ioctl", "slave, TIOCSCTTY, 0", tty::set_controlling(slave.as_fd()))
        .during("set controlling terminal", "")?;
    dup2_stdin(&slave).during("redirect", "standard input")?;
    dup2_stdout(&slave).during("redirect", "standard output")?;
    dup2_stderr(&slave).during("redirect", "standard error")
}
