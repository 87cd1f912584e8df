//! One container's cgroup: a directory in each hierarchy that is needed, made, joined, emptied and removed together.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::Pid;
use syscalls::{During, KernelError};

use crate::group::Group;
use crate::tree::{
    PATIENCE, directory, procs_below, remove_dir, remove_empty_parents, remove_tree,
};
use crate::{
    Controller, Error, Hierarchies, Hierarchy, Joiner, Limits, Stats, Version, compat, cpu, cpuset,
    devices, freezer, io, memory, pids, stats,
};

/// Joined even without a limit, so that statistics, OOM counts, pause and kill work.
const ALWAYS: [Controller; 5] = [
    Controller::Freezer,
    Controller::Pids,
    Controller::Memory,
    Controller::Cpuacct,
    Controller::Io,
];

/// A container's cgroup. The one that [`create`](Self::create) returns is a guard: dropping it kills what is in it and
/// removes it, unless [`keep`](Self::keep) was called, and only in the process that made it (a forked child has a copy).
#[derive(Debug)]
pub struct Cgroup {
    path: String,
    groups: Vec<Group>,
    /// The process in which dropping removes.
    owner: Option<Process>,
    /// Where destroying looks: other commands may have added a hierarchy since.
    hierarchies: Hierarchies,
}

impl Cgroup {
    /// Makes the cgroup and writes its limits, before any process is in it.
    ///
    /// `path` is relative to [`Hierarchy::parent`], `mini-docker/ID` for instance. An empty cgroup of that name, which
    /// a killed runtime may have left, is removed first.
    ///
    /// # Errors
    /// [`Error::MissingController`] for a limit that nothing here can enforce; [`Error::Invalid`]; [`Error::Kernel`]
    /// with `EBUSY` if a cgroup of that name has processes, `EROFS` or `EACCES` if cgroups are not ours to make.
    /// Whatever was made is removed again.
    pub fn create(h: &Hierarchies, path: &str, limits: &Limits) -> Result<Self, Error> {
        let path = checked(path)?;
        let asked = limits.controllers();
        if let Some(missing) = asked.iter().find(|controller| h.home(**controller).is_none()) {
            return Err(missing.missing());
        }
        // v2 always: it is where a process can be born, and where the kernel kills.
        let needed = |one: &&Hierarchy| {
            one.version == Version::V2
                || one.controllers.iter().any(|c| asked.contains(c) || ALWAYS.contains(c))
        };
        let hierarchies = Hierarchies { list: Vec::new() };
        let owner = Some(Process::current());
        let mut cgroup = Self { path: path.to_owned(), groups: Vec::new(), owner, hierarchies };
        for hierarchy in h.iter().filter(needed) {
            cgroup.groups.push(directory(hierarchy, path)?);
            // A failure from here on removes what we have made, and nothing of a namesake.
            cgroup.hierarchies.list.push(hierarchy.clone());
        }
        cgroup.hierarchies.clone_from(h);
        cgroup.write_limits(limits)?;
        if let Some(group) = cgroup.group(Controller::Devices) {
            devices::apply(group, limits)?;
        }
        Ok(cgroup)
    }

    /// Opens the cgroup of a container that was started earlier. Dropping it does nothing.
    ///
    /// # Errors
    /// `ENOENT` if no hierarchy has it.
    pub fn open(h: &Hierarchies, path: &str) -> Result<Self, Error> {
        let path = checked(path)?;
        let mut groups = Vec::new();
        for hierarchy in h.iter() {
            let place = hierarchy.parent.join(path);
            match Group::open(place, hierarchy.version, hierarchy.controllers.clone()) {
                Err(error) if error.errno == Errno::ENOENT => {}
                group => groups.push(group?),
            }
        }
        if groups.is_empty() {
            return Err(KernelError::new("open cgroup", path, Errno::ENOENT).into());
        }
        Ok(Self { path: path.to_owned(), groups, owner: None, hierarchies: h.clone() })
    }

    /// The v2 directory, for `CLONE_INTO_CGROUP`; `None` on a host without v2. On a hybrid host the child must join the
    /// v1 hierarchies as well, see [`joiner`](Self::joiner).
    pub fn clone_fd(&self) -> Option<BorrowedFd<'_>> {
        self.v2().map(|group| group.dir.as_fd())
    }

    /// Where another process can be born if the kernel refuses the container's own cgroup with `EBUSY`: it has made
    /// cgroups below it and hands controllers down to them. Then it is the one of `pid`, which is in there.
    ///
    /// # Errors
    /// `EXDEV` if the process is not in there, `ENOENT` if it has ended or there is no v2.
    pub fn clone_fd_beside(&self, pid: Pid) -> Result<OwnedFd, KernelError> {
        let group = self.v2().ok_or(Errno::ENOENT).during("find v2 cgroup", &self.path)?;
        compat::cgroup_beside(group, &self.path, pid)
    }

    /// What a child created with [`clone_fd`](Self::clone_fd) must still join: the v1 hierarchies. Empty on v2. A
    /// `cgroup.procs` that cannot be opened is reported by [`Joiner::join_self`].
    pub fn joiner(&self) -> Joiner {
        Joiner::new(self.groups.iter().filter(|group| group.version == Version::V1))
    }

    /// What a child must join that was not created with `CLONE_INTO_CGROUP`: everything.
    pub fn joiner_with_v2(&self) -> Joiner {
        Joiner::new(self.groups.iter())
    }

    /// Moves a running process in, with all its threads. What it has allocated before stays charged to its old cgroup.
    ///
    /// # Errors
    /// `ESRCH` if it has ended.
    pub fn add(&self, pid: Pid) -> Result<(), KernelError> {
        for group in &self.groups {
            group.write("cgroup.procs", &pid.to_string())?;
        }
        Ok(())
    }

    /// The processes in it and in the cgroups below it, as seen from our pid namespace.
    pub fn procs(&self) -> Vec<Pid> {
        let mut found: Vec<Pid> =
            self.groups.iter().flat_map(|group| procs_below(&group.path)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What it has used. Never fails: what cannot be read is 0 or `None`.
    pub fn stats(&self) -> Stats {
        stats::read(|controller| self.group(controller))
    }

    /// How many processes the kernel has killed in it because its memory limit was reached (or the host's memory).
    ///
    /// # Errors
    /// Those of reading `memory.events` (v2) or `memory.oom_control` (v1).
    pub fn oom_kills(&self) -> Result<u64, KernelError> {
        self.group(Controller::Memory).map_or(Ok(0), stats::oom_kills)
    }

    /// Stops all processes; returns when all have stopped.
    ///
    /// # Errors
    /// `EBUSY` if one does not stop within five seconds (then all run again); `ENOSYS` without a freezer.
    pub fn freeze(&self) -> Result<(), KernelError> {
        freezer::freeze(self.freezer()?)
    }

    /// Lets them run again.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze).
    pub fn thaw(&self) -> Result<(), KernelError> {
        freezer::thaw(self.freezer()?)
    }

    /// Whether all processes are stopped.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze).
    pub fn is_frozen(&self) -> Result<bool, KernelError> {
        freezer::is_frozen(self.freezer()?)
    }

    fn freezer(&self) -> Result<&Group, KernelError> {
        self.group(Controller::Freezer)
            .ok_or_else(|| KernelError::new("freeze cgroup", &self.path, Errno::ENOSYS))
    }

    /// Kills every process in it, frozen ones too, and returns when none is left. A cgroup that somebody else removes
    /// meanwhile has none.
    ///
    /// # Errors
    /// `ETIMEDOUT` if a process is still there after ten seconds (it waits for a device, uninterruptibly).
    pub fn kill(&self) -> Result<(), KernelError> {
        match self.kill_members() {
            // A file that is gone, or opened and then gone.
            Err(error)
                if matches!(error.errno, Errno::ENOENT | Errno::ENODEV)
                    && self.procs().is_empty() =>
            {
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn kill_members(&self) -> Result<(), KernelError> {
        let by_kernel = match self.v2().map(|group| group.write("cgroup.kill", "1")) {
            Some(Err(error)) if error.errno != Errno::ENOENT => return Err(error),
            written => written.is_some_and(|written| written.is_ok()),
        };
        // A container that is being removed may have left the freezer's hierarchy already.
        let freezer = self.group(Controller::Freezer).filter(|group| group.path.exists());
        if let Some(group) = freezer {
            freezer::thaw(group)?;
        }
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_micros(100);
        while !self.procs().is_empty() {
            // What the kernel has killed needs only time. On a hybrid host others may be in the v1 hierarchies alone.
            if !by_kernel || self.v2().is_none_or(|group| procs_below(&group.path).is_empty()) {
                compat::kill_each(freezer, || self.procs())?;
            }
            if Instant::now() > deadline {
                return Err(KernelError::new(
                    "kill processes of cgroup",
                    &self.path,
                    Errno::ETIMEDOUT,
                )
                .with_detail(format!("left: {:?}", self.procs())));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Writes new limits while it runs; what is `None` or empty stays as it is. Device rules are not changed.
    ///
    /// # Errors
    /// As [`create`](Self::create). `EBUSY` on v1 for a memory limit below what is in use.
    pub fn update(&self, limits: &Limits) -> Result<(), Error> {
        let mut added = Vec::new();
        for controller in limits.controllers() {
            if controller == Controller::Devices || self.group(controller).is_some() {
                continue;
            }
            // v1: a hierarchy that was not needed when the container started.
            let home = self.hierarchies.home(controller).ok_or_else(|| controller.missing())?;
            added.push(directory(home, &self.path)?);
        }
        let all = || self.groups.iter().chain(&added);
        write_limits(limits, |controller| {
            all().find(|group| group.controllers.contains(&controller))
        })?;
        let pids = if added.is_empty() { Vec::new() } else { self.procs() };
        for (group, pid) in added.iter().flat_map(|group| pids.iter().map(move |pid| (group, pid)))
        {
            match group.write("cgroup.procs", &pid.to_string()) {
                Err(error) if error.errno == Errno::ESRCH => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Kills what is left in it and removes it from every hierarchy; parents that are empty now go too.
    ///
    /// # Errors
    /// `EBUSY` if a process cannot be killed. All hierarchies are tried.
    pub fn remove(mut self) -> Result<(), KernelError> {
        self.owner = None;
        self.destroy()
    }

    /// Leaves the cgroup when the guard is dropped: a monitor takes over.
    pub fn keep(&mut self) {
        self.owner = None;
    }

    /// The path it was created with.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn v2(&self) -> Option<&Group> {
        self.groups.iter().find(|group| group.version == Version::V2)
    }

    fn group(&self, controller: Controller) -> Option<&Group> {
        self.groups.iter().find(|group| group.controllers.contains(&controller))
    }

    fn write_limits(&self, limits: &Limits) -> Result<(), Error> {
        write_limits(limits, |controller| self.group(controller))
    }

    /// The usual case, everybody has gone, is one rmdir per hierarchy. While a process is left the first one, v2, is
    /// refused, and the others are still there for killing.
    fn destroy(&self) -> Result<(), KernelError> {
        let mut outcome = Ok(());
        for tree in self.hierarchies.iter() {
            let place = tree.parent.join(&self.path);
            let removed = match remove_dir(&place) {
                // Processes are left, or cgroups that the container has made.
                Err(error) if error.errno == Errno::EBUSY => {
                    self.kill().and_then(|()| remove_tree(&place))
                }
                removed => removed,
            };
            outcome = outcome.and(removed);
            remove_empty_parents(&tree.parent, &place);
        }
        outcome
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if self.owner == Some(Process::current()) {
            // Nobody is left to hear of a failure; `reclaim` finds the rest.
            self.destroy().ok();
        }
    }
}

/// Who we are: the pid alone is not enough, in new pid namespaces many are number 1.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    pid_namespace: Option<u64>,
}

impl Process {
    fn current() -> Self {
        let namespace = nix::sys::stat::stat("/proc/self/ns/pid").ok();
        Self { pid: std::process::id(), pid_namespace: namespace.map(|stat| stat.st_ino) }
    }
}

/// Each controller writes its own files.
fn write_limits<'a>(
    limits: &Limits,
    group: impl Fn(Controller) -> Option<&'a Group>,
) -> Result<(), Error> {
    type Apply = fn(&Group, &Limits) -> Result<(), Error>;
    let steps: [(Controller, Apply); 5] = [
        (Controller::Cpuset, cpuset::apply),
        (Controller::Cpu, cpu::apply),
        (Controller::Memory, memory::apply),
        (Controller::Pids, pids::apply),
        (Controller::Io, io::apply),
    ];
    for (controller, apply) in steps {
        if let Some(group) = group(controller) {
            apply(group, limits)?;
        }
    }
    Ok(())
}

/// A relative path of plain names: it may not lead out of the parent.
fn checked(path: &str) -> Result<&str, Error> {
    let path = path.trim_matches('/');
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !plain {
        let reason = "it consists of plain names";
        return Err(Error::Invalid { what: "cgroup path", value: path.to_owned(), reason });
    }
    Ok(path)
}
