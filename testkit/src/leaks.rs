//! What a test left on the machine.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::Sandbox;

/// What can be compared before and after a test from the harness's own namespaces.
pub(crate) struct Snapshot {
    mounts: Vec<String>,
}

impl Snapshot {
    pub(crate) fn take() -> std::io::Result<Self> {
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo")?;
        // Field 5 is the mount point (proc_pid_mountinfo(5)).
        let mut mounts: Vec<String> = mountinfo
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .map(str::to_owned)
            .collect();
        mounts.sort();
        Ok(Self { mounts })
    }
}

/// Lists what is there now and was not before; ends leftover processes so that one bad test stays alone.
pub(crate) fn after(before: &Snapshot, sandbox: &Sandbox) -> std::io::Result<Vec<String>> {
    let mut found = processes();
    let dir = sandbox.dir.to_string_lossy();
    for mount in Snapshot::take()?.mounts {
        // Tests of other processes may come and go meanwhile: only what names this sandbox is ours.
        if !before.mounts.contains(&mount)
            && (mount.contains(&*dir) || mount.contains(&sandbox.name))
        {
            found.push(format!("mount {mount}"));
        }
    }
    let mut cgroups = Vec::new();
    named(Path::new("/sys/fs/cgroup"), &sandbox.name, 4, &mut cgroups);
    found.extend(cgroups.iter().map(|path| format!("cgroup {}", path.display())));
    Ok(found)
}

/// Orphans of the test: we are their subreaper, so they are our children now.
fn processes() -> Vec<String> {
    let mut found = Vec::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {}
            Ok(_) => continue,
            Err(Errno::EINTR) => continue,
            Err(_) => return found,
        }
        let children = std::fs::read_to_string("/proc/self/task/self/children")
            .or_else(|_| {
                std::fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id()))
            })
            .unwrap_or_default();
        let mut any = false;
        for pid in children.split_whitespace() {
            any = true;
            // A process on its way out is not a leak: give it a moment.
            let gone = (0..200).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(5));
                !alive(pid)
            });
            if gone {
                continue;
            }
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            found.push(format!("process {pid} {}", name.trim()));
            if let Ok(number) = pid.parse() {
                kill(nix::unistd::Pid::from_raw(number), Signal::SIGKILL).ok();
            }
        }
        if !any {
            return found;
        }
    }
}

/// Whether a process exists and is no zombie.
fn alive(pid: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The state follows the name in parentheses, which may itself contain parentheses (proc_pid_stat(5)).
    stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z'))
}

/// Directories below `dir` whose name contains `name`.
fn named(dir: &Path, name: &str, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().contains(name) {
            found.push(entry.path());
        } else if depth > 0 {
            named(&entry.path(), name, depth - 1, found);
        }
    }
}
