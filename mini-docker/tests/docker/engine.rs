//! The program that the scripts talk to: mini-docker, or podman with everything of its own in the sandbox.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::{Sandbox, skip};

use crate::support::{Docker, Result, busybox_tar, finish, stdout};

/// The version whose differences the scripts name.
pub const PODMAN: &str = "4.3.";

/// Who is asked.
pub enum Engine {
    MiniDocker(MiniDocker),
    Podman(Podman),
}

/// mini-docker with state roots of its own.
pub struct MiniDocker {
    program: PathBuf,
    roots: Docker,
}

/// podman as a person would set it up for one folder.
pub struct Podman {
    program: PathBuf,
    dir: PathBuf,
    /// The cgroup of its containers.
    parent: String,
}

impl Engine {
    /// The engine that `MINI_DOCKER_BIN` names, with the image `busybox` and no container.
    pub fn begin(sandbox: &Sandbox) -> Result<Self> {
        let engine = match std::env::var_os("MINI_DOCKER_BIN").map(PathBuf::from) {
            Some(program) if program.file_name().is_some_and(|name| name == "podman") => {
                Self::Podman(Podman::new(program, sandbox)?)
            }
            other => {
                let program = other.unwrap_or_else(|| env!("CARGO_BIN_EXE_mini-docker").into());
                Self::MiniDocker(MiniDocker { program, roots: Docker::new(sandbox) })
            }
        };
        let mut import = engine.command(&["import", "-c", "CMD [\"sh\"]"]);
        stdout(import.arg(busybox_tar(sandbox)?).arg("busybox"))?;
        Ok(engine)
    }

    /// As the scripts name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::MiniDocker(_) => "mini-docker",
            Self::Podman(_) => "podman",
        }
    }

    /// The command with these arguments, standard input closed.
    pub fn command(&self, args: &[&str]) -> Command {
        match self {
            Self::MiniDocker(docker) => docker.command(args),
            Self::Podman(podman) => podman.command(args),
        }
    }

    /// Ends and removes all containers.
    pub fn remove_all(&self) {
        let Ok(all) = finish(&mut self.command(&["ps", "-aq", "--no-trunc"])) else { return };
        let ids: Vec<&str> = all.stdout.lines().collect();
        if !ids.is_empty() {
            // podman asks first and waits ten seconds.
            let at_once: &[&str] = if self.name() == "podman" { &["-t", "0"] } else { &[] };
            let remove = [&["rm", "-f"], at_once, &ids].concat();
            finish(&mut self.command(&remove)).ok();
        }
    }

    /// Leaves nothing on the machine.
    pub fn clear(&self) {
        self.remove_all();
        if let Self::Podman(podman) = self {
            podman.leave();
        }
    }
}

impl MiniDocker {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("MINI_DOCKER_ROOT", &self.roots.root)
            .env("MINI_DOCKER_RUN_ROOT", &self.roots.run_root)
            .env_remove("COLUMNS")
            .stdin(Stdio::null())
            .args(args);
        command
    }
}

impl Podman {
    fn new(program: PathBuf, sandbox: &Sandbox) -> Result<Self> {
        let version = match Command::new(&program).arg("--version").output() {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(_) => return skip("needs podman (Debian: podman)"),
        };
        if !version.contains(&format!(" {PODMAN}")) {
            return skip(format!(
                "the differences are those of podman {PODMAN}x, this is {version}"
            ));
        }
        let podman = Self { program, dir: sandbox.path("podman"), parent: sandbox.name.clone() };
        let home = podman.dir.join("home/.config/containers");
        std::fs::create_dir_all(&home)?;
        let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        std::fs::write(home.join("policy.json"), policy)?;
        // This machine may not allow to raise limits, and podman asks for it by default. Its locks are shared by all
        // podmans of a machine unless they are files.
        std::fs::write(
            podman.dir.join("containers.conf"),
            "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n\
             [engine]\nlock_type = \"file\"\n",
        )?;
        Ok(podman)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("CONTAINERS_CONF", self.dir.join("containers.conf"))
            .env("HOME", self.dir.join("home"))
            .env("TMPDIR", &self.dir)
            .stdin(Stdio::null());
        for (flag, folder) in [("--root", "store"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(flag).arg(self.dir.join(folder));
        }
        // crun refuses to work where cgroup v1 and v2 are both in use.
        command.args(["--storage-driver=overlay", "--cgroup-manager=cgroupfs"]);
        command.args(["--events-backend=file", "--runtime=/usr/sbin/runc"]);
        let Some((verb, rest)) = args.split_first() else { return command };
        command.arg(verb);
        if matches!(*verb, "run" | "create") {
            command.arg("--cgroup-parent").arg(&self.parent);
        }
        command.args(rest);
        command
    }

    /// podman leaves the parents of its cgroups, and its store mounted on itself.
    fn leave(&self) {
        let script =
            "find /sys/fs/cgroup -depth -type d -path \"*/$0*\" -exec rmdir {} + 2> /dev/null";
        // What cleans up after a container is still on its way out: its cgroup cannot be removed before.
        for _ in 0..100 {
            Command::new("sh").args(["-c", script, &self.parent]).status().ok();
            if !has_cgroup(Path::new("/sys/fs/cgroup"), &self.parent) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Command::new("umount").arg("-q").arg(self.dir.join("store/overlay")).status().ok();
    }
}

/// Whether a hierarchy has that cgroup.
fn has_cgroup(root: &Path, name: &str) -> bool {
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten();
    hierarchies
        .map(|entry| entry.path())
        .any(|path| path.join(name).exists() || path.ends_with(name))
}
