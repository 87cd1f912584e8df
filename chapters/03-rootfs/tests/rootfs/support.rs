//! Containers as small as they can be: clone3, [`rootfs::enter`], and either a shell script or Rust code inside.

use std::error::Error;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdout, execve, pipe2, read, write};
use rootfs::{Entered, Plan};
use syscalls::KernelError;
use syscalls::clone::{CloneArgs, Cloned, clone3};

pub(crate) const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWPID)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWNET);

/// Status of a container whose set-up failed; the message is its output.
pub(crate) const SETUP_FAILED: i32 = 125;

/// What a container did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) output: String,
}

impl Ran {
    /// The output if the status is 0.
    pub(crate) fn ok(self) -> Result<String, Box<dyn Error>> {
        match self.status {
            0 => Ok(self.output),
            status => Err(format!("status {status}: {}", self.output).into()),
        }
    }
}

pub(crate) fn directory(path: &Path) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Lets the process stop while the test looks at it from outside.
pub(crate) struct Pause {
    ready: OwnedFd,
    go: OwnedFd,
}

impl Pause {
    /// Returns when the test has looked.
    pub(crate) fn wait(&self) -> nix::Result<()> {
        write(&self.ready, b"x")?;
        read(&self.go, &mut [0]).map(drop)
    }
}

/// A process in `namespaces` that runs `body` with its standard output and error in a pipe.
pub(crate) fn process(
    namespaces: CloneFlags,
    body: impl FnOnce() -> Result<i32, Box<dyn Error>>,
) -> Result<Ran, Box<dyn Error>> {
    observed(namespaces, |_| body(), |_| Ok(()))
}

/// As [`process`]; while the body waits in its [`Pause`], `meanwhile` is called with its pid.
pub(crate) fn observed(
    namespaces: CloneFlags,
    body: impl FnOnce(&Pause) -> Result<i32, Box<dyn Error>>,
    meanwhile: impl FnOnce(Pid) -> Result<(), Box<dyn Error>>,
) -> Result<Ran, Box<dyn Error>> {
    let (output, input) = pipe2(OFlag::O_CLOEXEC)?;
    let (is_ready, ready) = pipe2(OFlag::O_CLOEXEC)?;
    let (go, may_go) = pipe2(OFlag::O_CLOEXEC)?;
    match clone3(&CloneArgs { namespaces, cgroup: None })? {
        Cloned::Child => {
            drop((output, is_ready, may_go));
            dup2_stdout(&input)?;
            dup2_stderr(&input)?;
            drop(input);
            let status = body(&Pause { ready, go }).unwrap_or_else(|error| {
                eprintln!("{error}");
                SETUP_FAILED
            });
            std::process::exit(status)
        }
        Cloned::Parent { pid, .. } => {
            drop((input, ready, go));
            // End of file: it has ended, or become another program, without a pause.
            if read(&is_ready, &mut [0])? == 1 {
                meanwhile(pid)?;
            }
            drop(may_go);
            let mut text = String::new();
            File::from(output).read_to_string(&mut text)?;
            match waitpid(pid, None)? {
                WaitStatus::Exited(_, status) => Ok(Ran { status, output: text }),
                other => Err(format!("{other:?}: {text}").into()),
            }
        }
    }
}

/// Enters the folder `root` as a container would; the mount is made by the caller, as the real runtime does.
pub(crate) fn enter(root: OwnedFd, plan: &mut Plan) -> Result<Entered, KernelError> {
    let staging = rootfs::staging()?;
    rootfs::enter(root, staging.as_fd(), plan)
}

/// Runs `script` in busybox's shell in a container on `root`.
pub(crate) fn shell(root: &Path, plan: &mut Plan, script: &str) -> Result<Ran, Box<dyn Error>> {
    let mount = rootfs::bind(directory(root)?.as_fd(), false)?;
    process(NAMESPACES, || {
        enter(mount, plan)?;
        Err(exec(script))
    })
}

/// Replaces the process with busybox's shell.
pub(crate) fn exec(script: &str) -> Box<dyn Error> {
    let arguments = ["sh", "-c", script].map(|text| CString::new(text).unwrap());
    let environment = [c"PATH=/bin"];
    execve(c"/bin/busybox", &arguments, &environment).unwrap_err().into()
}

/// A number that differs between runs.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).unwrap();
    u64::from_ne_bytes(bytes)
}
