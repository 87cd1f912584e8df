//! What the container's first process does between clone3 and exec. It is a copy of the parent with one thread; it
//! reports a failure as step and errno on a pipe that exec closes, and prints nothing.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result};
use namespaces::exec::Command;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use oci_spec::runtime::Spec;
use syscalls::{During, KernelError, inroot, step};

use crate::explain::{self, Step};
use crate::terminal::{self, send_fd};

/// Everything the child needs, made by the parent.
#[derive(Debug)]
pub struct Setup<'parent> {
    /// Locked by the supervisor alone.
    pub held: &'parent crate::containers::Held,
    /// Moves the child into its cgroup, on hierarchies into which it was not born.
    pub joiner: cgroups::Joiner,
    /// For the mounts at /sys/fs/cgroup.
    pub hierarchies: &'parent cgroups::Hierarchies,
    /// Mounts, devices, paths.
    pub files: crate::spec::Files,
    /// The detached mount that becomes `/`.
    pub root: OwnedFd,
    /// User, capabilities, limits.
    pub confinement: security::Confinement,
    /// What is executed.
    pub command: Command,
    /// Standard streams, unless the container has a terminal. None: its own /dev/null.
    pub streams: [Option<OwnedFd>; 3],
    /// Where the master side of the container's terminal is sent.
    pub terminal: Option<UnixStream>,
    /// Whether process 1 is a reaper of ours.
    pub init: bool,
}

/// The command of the spec.
///
/// # Errors
/// If an argument or variable contains a zero byte, which no program could see.
pub fn command(spec: &Spec) -> Result<Command> {
    let process = spec.process().as_ref().context("the spec has no `process` part")?;
    let strings = |strings: &Option<Vec<String>>| -> Result<Vec<CString>> {
        let strings = strings.iter().flatten();
        strings
            .map(|text| CString::new(text.as_str()).context("an argument has a zero byte in it"))
            .collect()
    };
    Ok(Command { argv: strings(process.args())?, env: strings(process.env())? })
}

/// Becomes the container. Returns only if a step failed.
///
/// # Errors
/// The step that failed, on what, and the kernel's answer.
pub fn become_container(
    child: &namespaces::Child,
    setup: Setup<'_>,
) -> Result<Infallible, KernelError> {
    explain::is_child();
    explain::step(Step::Rootfs);
    setup.held.leave_to_parent();
    // Limits first: what follows is charged to the container.
    setup.joiner.join_self()?;
    child.enter_cgroup_namespace()?;
    let mut plan = setup.files.plan;
    if let Some((place, attr)) = setup.files.cgroup {
        let mounts = cgroup_mounts(setup.hierarchies, attr)?;
        plan.mounts.splice(place..place, mounts);
    }

    // A session of its own: the user's terminal is not the container's.
    step!("setsid", "", setsid()).during("begin a session", "")?;
    let entered = rootfs::enter(setup.root, rootfs::staging()?.as_fd(), &mut plan)?;
    match (entered.terminal, entered.slave, setup.terminal) {
        (Some(master), Some(slave), Some(socket)) => {
            send_fd(socket.as_fd(), master.as_fd()).during("send", "terminal")?;
            rootfs::make_controlling(slave)?;
        }
        _ => give_streams(setup.streams)?,
    }
    if setup.confinement.user.uid != 0 {
        own_streams(setup.confinement.user.uid)?;
    }

    // If the supervisor dies, so does the container; this comes before the wait, so that there is no gap.
    explain::step(Step::Exec);
    die_with_parent()?;
    child.wait_for_parent()?;
    if setup.init {
        namespaces::reaper::become_init()?;
    }
    security::confine(&setup.confinement)?;
    // A change of user clears the request.
    die_with_parent()?;
    step!("close_range", "3, ~0, CLOSE_RANGE_CLOEXEC", syscalls::fd::close_on_exec_from(3))
        .during("close", "descriptors")?;
    Err(namespaces::exec::exec(&setup.command))
}

fn die_with_parent() -> Result<(), KernelError> {
    step!("prctl", "PR_SET_PDEATHSIG, SIGKILL", set_pdeathsig(Signal::SIGKILL))
        .during("ask for a signal", "at the supervisor's death")
}

fn cgroup_mounts(
    hierarchies: &cgroups::Hierarchies,
    attr: rootfs::Attr,
) -> Result<Vec<rootfs::Mount>, KernelError> {
    let base = Path::new("/sys/fs/cgroup");
    let mounts = cgroups::container_mounts(hierarchies)?;
    Ok(mounts
        .into_iter()
        .map(|(name, mount)| rootfs::Mount {
            target: if name.is_empty() { base.to_owned() } else { base.join(name) },
            source: rootfs::Source::Detached(mount),
            attr,
            read_only_recursive: false,
            propagation: None,
            copy_up: false,
            is_file: false,
        })
        .collect())
}

/// Gives terminal and pipes to the container's user, so that it can open /dev/stdout and /dev/tty by name.
pub(crate) fn own_streams(uid: u32) -> Result<(), KernelError> {
    let owner = Some(nix::unistd::Uid::from_raw(uid));
    let streams = [std::io::stdin().as_fd(), std::io::stdout().as_fd(), std::io::stderr().as_fd()]
        .map(|fd| fd.try_clone_to_owned());
    for stream in streams.into_iter().flatten() {
        let kind = nix::sys::statfs::fstatfs(&stream).map(|found| found.filesystem_type());
        let is_pipe = kind.is_ok_and(|kind| kind == terminal::PIPEFS);
        if is_pipe || nix::unistd::isatty(&stream).unwrap_or(false) {
            step!("fchown", ("stream, {uid}"), nix::unistd::fchown(&stream, owner, None))
                .during("give stream", "to the user")?;
        }
    }
    Ok(())
}

/// Makes the streams standard input, output and error. Where there is none, it is the container's own /dev/null: the
/// host's could be given another owner and mode from inside, for everybody.
pub(crate) fn give_streams(streams: [Option<OwnedFd>; 3]) -> Result<(), KernelError> {
    let null = if streams.iter().any(Option::is_none) { Some(own_null()?) } else { None };
    let [stdin, stdout, stderr] =
        streams.each_ref().map(|stream| stream.as_ref().or(null.as_ref()));
    if let Some(fd) = stdin {
        dup2_stdin(fd).during("give", "standard input")?;
    }
    if let Some(fd) = stdout {
        dup2_stdout(fd).during("give", "standard output")?;
    }
    if let Some(fd) = stderr {
        dup2_stderr(fd).during("give", "standard error")?;
    }
    Ok(())
}

/// The null device of the root that has just been entered. What lies there in its place (a volume on /dev) is refused.
fn own_null() -> Result<OwnedFd, KernelError> {
    let root = open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .during("open directory", "/")?;
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
    let null = step!(
        "openat2",
        "root, \"/dev/null\", O_RDWR | O_NOFOLLOW, RESOLVE_IN_ROOT",
        inroot::open(root.as_fd(), Path::new("/dev/null"), flags, Mode::empty())
    )
    .during("open null device", "/dev/null")?;
    if terminal::is_null(&fstat(&null).during("examine", "/dev/null")?) {
        return Ok(null);
    }
    Err(KernelError::new("open null device", "/dev/null", Errno::ENXIO)
        .with_detail("the container has another file there"))
}
