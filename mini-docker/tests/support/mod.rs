//! What the end-to-end tests share: a mini-docker with state roots of its own, and what it must leave unchanged.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use testkit::Sandbox;

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The built binary with its own `--root` and `--run-root`.
pub struct Docker {
    pub root: PathBuf,
    pub run_root: PathBuf,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Docker {
    /// Empty state roots in the sandbox.
    pub fn new(sandbox: &Sandbox) -> Self {
        Self { root: sandbox.path("root"), run_root: sandbox.path("run") }
    }

    /// State roots that hold the image `busybox`, made from the static busybox.
    pub fn with_busybox(sandbox: &Sandbox) -> Result<Self> {
        let docker = Self::new(sandbox);
        let tar = busybox_tar(sandbox)?;
        let mut import = docker.command(["import", "-c", "CMD [\"sh\"]"]);
        let ran = finish(import.arg(&tar).arg("busybox"))?;
        assert_eq!(ran.code, 0, "{ran:?}");
        Ok(docker)
    }

    /// The command with these arguments, standard input closed.
    pub fn command<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mini-docker"));
        command
            .env("MINI_DOCKER_ROOT", &self.root)
            .env("MINI_DOCKER_RUN_ROOT", &self.run_root)
            .env_remove("COLUMNS")
            .stdin(Stdio::null())
            .args(args);
        command
    }

    /// Runs it to its end.
    pub fn ran<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Ran> {
        finish(&mut self.command(args))
    }

    /// Runs `run --rm --network none busybox sh -c SCRIPT` with more flags.
    pub fn sh(&self, flags: &[&str], script: &str) -> Result<Ran> {
        let fixed = ["run", "--rm", "--network", "none"];
        self.ran(fixed.iter().chain(flags).chain(&["busybox", "sh", "-c", script]))
    }

    /// Everything that a container may not change for good.
    pub fn footprint(&self) -> Result<Footprint> {
        Ok(Footprint {
            mounts: std::fs::read_to_string("/proc/self/mountinfo")?
                .lines()
                .map(str::to_owned)
                .collect(),
            links: stdout(Command::new("ip").args(["-o", "link"]))?
                .lines()
                .map(str::to_owned)
                .collect(),
            rules: stdout(Command::new("nft").args(["list", "ruleset"]))?,
            cgroups: self.cgroups(),
            state: tree(&self.root)?.into_iter().chain(tree(&self.run_root)?).collect(),
            processes: self.processes()?,
        })
    }

    /// Control groups of this engine: every folder below any hierarchy that begins as its parent's name does.
    fn cgroups(&self) -> BTreeSet<PathBuf> {
        let Ok(id) = std::fs::read_to_string(self.root.join("id")) else { return BTreeSet::new() };
        let mut found = BTreeSet::new();
        search(Path::new("/sys/fs/cgroup"), &format!("mini-docker-{id}"), 5, &mut found);
        found
    }

    /// Processes that have our state root in their command line.
    fn processes(&self) -> Result<BTreeSet<String>> {
        let root = self.root.to_string_lossy().into_owned();
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let own = entry.file_name().to_string_lossy() == std::process::id().to_string();
            if !own
                && String::from_utf8_lossy(&environ).contains(&format!("MINI_DOCKER_ROOT={root}"))
            {
                let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                found.insert(String::from_utf8_lossy(&command).replace('\0', " "));
            }
        }
        Ok(found)
    }
}

/// What must be as before.
#[derive(Debug, PartialEq, Eq)]
pub struct Footprint {
    pub mounts: BTreeSet<String>,
    pub links: BTreeSet<String>,
    pub rules: String,
    pub cgroups: BTreeSet<PathBuf>,
    pub state: BTreeSet<PathBuf>,
    pub processes: BTreeSet<String>,
}

impl Footprint {
    /// Fails with what is there now and was not before, or is gone.
    pub fn same_as(&self, before: &Self) -> Result<()> {
        let mut text = String::new();
        let mut sets = |name: &str, now: BTreeSet<String>, then: BTreeSet<String>| {
            now.difference(&then).for_each(|new| text.push_str(&format!("new {name}: {new}\n")));
            then.difference(&now).for_each(|old| text.push_str(&format!("gone {name}: {old}\n")));
        };
        let strings = |paths: &BTreeSet<PathBuf>| {
            paths.iter().map(|path| path.display().to_string()).collect()
        };
        let lines = |text: &str| text.lines().map(str::to_owned).collect();
        sets("mount", self.mounts.clone(), before.mounts.clone());
        sets("link", self.links.clone(), before.links.clone());
        sets("rule", lines(&self.rules), lines(&before.rules));
        sets("cgroup", strings(&self.cgroups), strings(&before.cgroups));
        sets("file", strings(&self.state), strings(&before.state));
        sets("process", self.processes.clone(), before.processes.clone());
        if text.is_empty() {
            Ok(())
        } else {
            Err(text.chars().take(2000).collect::<String>().into())
        }
    }
}

fn search(dir: &Path, name: &str, depth: usize, found: &mut BTreeSet<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    {
        if entry.file_name().to_string_lossy().starts_with(name) {
            found.insert(entry.path());
        } else if depth > 0 {
            search(&entry.path(), name, depth - 1, found);
        }
    }
}

/// All paths below a folder but the contents of layers.
fn tree(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(all) };
    for entry in entries {
        let entry = entry?;
        all.push(entry.path());
        if entry.file_type()?.is_dir() && entry.file_name() != "diff" {
            all.extend(tree(&entry.path())?);
        }
    }
    Ok(all)
}

/// A tar of a busybox root file system.
pub fn busybox_tar(sandbox: &Sandbox) -> Result<PathBuf> {
    let tar = sandbox.path("busybox.tar");
    if !tar.exists() {
        let rootfs = sandbox.busybox_rootfs("busybox")?;
        let status =
            Command::new("tar").arg("-C").arg(rootfs).arg("-cf").arg(&tar).arg(".").status()?;
        assert!(status.success(), "tar failed");
    }
    Ok(tar)
}

/// Runs a command and keeps what it printed.
pub fn finish(command: &mut Command) -> Result<Ran> {
    let Output { status, stdout, stderr } = command.output()?;
    use std::os::unix::process::ExitStatusExt;
    Ok(Ran {
        code: status.code().unwrap_or_else(|| 1000 + status.signal().unwrap_or_default()),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}

/// Standard output of a command that must succeed.
pub fn stdout(command: &mut Command) -> Result<String> {
    let ran = finish(command)?;
    if ran.code == 0 { Ok(ran.stdout) } else { Err(format!("{command:?}: {ran:?}").into()) }
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = std::time::Instant::now();
    while began.elapsed().as_secs() < 10 {
        if so()? {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Err(format!("waited 10 s in vain: {what}").into())
}

/// Text of an exchange as a person would see it, for snapshots: what varies is replaced.
pub fn transcript(docker: &Docker, sandbox: &Sandbox, args: &[&str]) -> Result<String> {
    let ran = docker.ran(args)?;
    let words: Vec<String> = args
        .iter()
        .map(|arg| {
            if arg.contains(' ') || arg.is_empty() { format!("'{arg}'") } else { (*arg).to_owned() }
        })
        .collect();
    let mut text = format!("$ mini-docker {}\n", words.join(" "));
    text.push_str(&ran.stdout);
    text.push_str(&ran.stderr);
    text.push_str(&format!("? {}\n", ran.code));
    Ok(text.replace(&*sandbox.dir.to_string_lossy(), "[SANDBOX]"))
}
