//! `exec`: one more process in a container that runs.
//!
//! 1. The command looks at the container: it runs, is not paused, and its first process has its own root.
//! 2. What is executed is the container's own process with other arguments (`process`): user, environment, folder,
//!    capabilities and limits come from the spec.
//! 3. A *keeper* is forked. It becomes the parent of the new process and stays until that has ended, whatever becomes of
//!    the command: it holds the terminal, so that nobody hangs up, and collects the process, without which the kernel
//!    does not let process 1 of the container end (`zap_pid_ns_processes`).
//! 4. The keeper goes into the container's pid namespace for the moment of clone3; the child joins the cgroups, and all
//!    other namespaces in one call, by pidfd (`child`).
//! 5. Command and keeper talk as a visitor and a monitor do ([`crate::wire`]).

mod child;
mod keeper;
mod process;

use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context, Result};
use cgroups::{Cgroup, Hierarchies};
use namespaces::{Beside, Init, Plan, inspect};
use nix::errno::Errno;
use nix::unistd::Pid;
use oci_spec::runtime::Spec;
use syscalls::During;
use syscalls::tty::Size;

use crate::container;
use crate::containers::Containers;
use crate::engine::{Engine, open_dir};
use crate::failure::{self, Failure, code};
use crate::record::{Record, Status};
use crate::spec as translate;
pub use keeper::launch;

/// What is to be executed, and how it differs from the container's own process.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `-t`: it gets a terminal of its own.
    pub terminal: bool,
    /// `-u`: looked up in the container's own files. None: the container's user.
    pub user: Option<String>,
    /// `--env-file`.
    pub env_files: Vec<PathBuf>,
    /// `-e`: `NAME=value`, or `NAME` to pass on its value here.
    pub env: Vec<String>,
    /// `-w`. None: the container's.
    pub workdir: Option<String>,
    /// `--privileged`: all capabilities.
    pub privileged: bool,
}

/// A container that runs: its first process.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) pid: Pid,
    /// Names this process, whoever has the pid later.
    pub(crate) pidfd: OwnedFd,
}

/// Everything about a process that can be started.
#[derive(Debug)]
pub(crate) struct Job {
    command: namespaces::exec::Command,
    confinement: security::Confinement,
    folder: PathBuf,
    /// Written by the parent: the child has only the container's /proc, if any.
    oom_score_adj: Option<i32>,
    /// Path of the container's cgroup.
    cgroup: String,
}

/// What a process is given to read and write.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// Standard input, output and error. None: the container's own /dev/null, unless there is a terminal.
    pub(crate) streams: [Option<OwnedFd>; 3],
    /// Where the master side of its terminal is sent, and the size that it has from the beginning.
    pub(crate) terminal: Option<(UnixStream, Size)>,
    /// A lock of the parent's that may not outlive it.
    pub(crate) lock: Option<RawFd>,
}

impl Target {
    /// Finds the first process of a container.
    ///
    /// # Errors
    /// If it does not run, or stands still.
    fn find(engine: &Engine, record: &Record) -> Result<Self> {
        let name = &record.name;
        if let Status::Restarting { .. } = record.status {
            return Err(Failure::new(format!("container {name} is restarting"))
                .hint("wait until it is running: see `mini-docker ps`")
                .into());
        }
        let pid = record.pid().ok_or_else(|| not_running(name))?;
        let pidfd = container::process(engine, record)?.ok_or_else(|| not_running(name))?;
        if is_paused(&cgroup_path(engine, &record.id)) {
            return Err(Failure::new(format!(
                "container {name} is paused, unpause the container before exec"
            ))
            .hint(format!("mini-docker unpause {name}"))
            .into());
        }
        let target = Self { pid: Pid::from_raw(pid), pidfd };
        Ok(target)
    }

    fn has_ended(&self) -> bool {
        container::has_ended(self.pidfd.as_fd())
    }

    /// Its root as a place.
    fn root(&self) -> Result<OwnedFd> {
        let root = open_dir(format!("/proc/{}/root", self.pid).as_ref())?;
        // Ours only if the pid was still its own.
        if self.has_ended() {
            Err(Errno::ESRCH).during("open root of process", self.pid)?;
        }
        Ok(root)
    }
}

fn not_running(name: &str) -> Failure {
    Failure::new(format!("container {name} is not running"))
        .hint(format!("start it: mini-docker start {name}"))
}

fn cgroup_path(engine: &Engine, id: &str) -> String {
    format!("{}/{id}", engine.cgroup_parent())
}

/// Whether a container stands still.
pub(crate) fn is_paused(cgroup: &str) -> bool {
    let opened = Hierarchies::detect().ok().and_then(|all| Cgroup::open(&all, cgroup).ok());
    opened.is_some_and(|cgroup| cgroup.is_frozen().unwrap_or(false))
}

impl Job {
    /// What the user asks for.
    fn new(engine: &Engine, record: &Record, target: &Target, request: &Request) -> Result<Self> {
        let mut spec = Containers::new(engine).load_spec(&record.id)?;
        process::apply(engine, record, &mut spec, request, || target.root())?;
        Self::of(engine, &record.id, &spec)
    }

    /// Another command as the container's own user, with all that is the container's.
    pub(crate) fn plain(engine: &Engine, id: &str, args: &[String]) -> Result<Self> {
        let mut spec = Containers::new(engine).load_spec(id)?;
        if let Some(process) = spec.process_mut() {
            process.set_args(Some(args.to_vec()));
        }
        Self::of(engine, id, &spec)
    }

    fn of(engine: &Engine, id: &str, spec: &Spec) -> Result<Self> {
        let mut confinement = translate::confinement(spec)?;
        let process = spec.process().as_ref().context("the spec has no `process` part")?;
        Ok(Self {
            command: container::child::command(spec)?,
            oom_score_adj: confinement.oom_score_adj.take(),
            confinement,
            folder: process.cwd().clone(),
            cgroup: cgroup_path(engine, id),
        })
    }

    /// Path of the container's cgroup.
    pub(crate) fn cgroup(&self) -> &str {
        &self.cgroup
    }
}

/// Starts a process in a container. [`Init::wait_exec`] tells whether its program runs.
///
/// # Errors
/// The parent's own failed step; the process is gone then.
pub(crate) fn spawn(target: &Target, job: &Job, ends: Ends) -> Result<Init> {
    let cgroup = Cgroup::open(&Hierarchies::detect()?, &job.cgroup)?;
    let pidfd = target.pidfd.try_clone().context("copy a descriptor")?;
    // A pid that was used again shows other namespaces, but then the process behind the descriptor has none to join.
    let kinds = inspect::differences(target.pid)?;
    let plan = Plan { beside: Some(Beside { pidfd, kinds }), ..Plan::default() };
    let (joiner, ends) = (cgroup.joiner(), Cell::new(Some(ends)));
    let spawn = |place: Option<BorrowedFd<'_>>| {
        namespaces::spawn(&plan, place, |child| {
            child::become_program(child, job, &joiner, ends.take().unwrap_or_default())
        })
    };
    let mut init = match spawn(cgroup.clone_fd()) {
        // It hands its controllers down to cgroups of its own.
        Err(error) if error.errno == Errno::EBUSY => {
            spawn(Some(cgroup.clone_fd_beside(target.pid)?.as_fd()))
        }
        spawned => spawned,
    }?;
    // The child has its own copies.
    drop(ends);
    if let Some(value) = job.oom_score_adj {
        let path = format!("/proc/{}/oom_score_adj", init.pid);
        File::options()
            .write(true)
            .open(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, value.to_string().as_bytes()))
            .during("set oom_score_adj", value)?;
    }
    init.go()?;
    Ok(init)
}

/// Why there is no process, with Docker's exit code: 126, or 127 for a program that is not there.
fn cannot_start(target: &Target, name: &str, error: &anyhow::Error) -> Failure {
    // On its way out it has no namespaces any more, and may wait there for others to be collected.
    if target.has_ended() || container::is_ending(target.pid) {
        return not_running(name);
    }
    let failure = failure::explain(error);
    let code = failure.code.unwrap_or(code::NOT_EXECUTABLE);
    failure.code(code)
}
