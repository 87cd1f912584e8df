//! What the tests of the command share: contexts, builds that are watched while they run, and what may stay of them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use testkit::Sandbox;

use crate::support::{Docker, Ran, Result, finish};

/// A folder with these files.
pub fn context(sandbox: &Sandbox, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let dir = sandbox.path(name);
    std::fs::create_dir_all(&dir).unwrap();
    for (path, text) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

/// `build` with plain progress and without a network.
pub fn command(docker: &Docker, flags: &[&str], context: &Path) -> Command {
    let mut command = docker.command(["build", "--progress", "plain", "--network", "none"]);
    command.args(flags).arg(context).env_remove("SOURCE_DATE_EPOCH");
    command
}

/// Builds to the end.
pub fn build(docker: &Docker, flags: &[&str], context: &Path) -> Result<Ran> {
    finish(&mut command(docker, flags, context))
}

/// Builds what must succeed; returns the progress.
pub fn built(docker: &Docker, flags: &[&str], context: &Path) -> Result<String> {
    let ran = build(docker, flags, context)?;
    if ran.code == 0 { Ok(ran.stderr) } else { Err(format!("{}\n{}", ran.code, ran.stderr).into()) }
}

/// Output of a command in a container of an image.
pub fn run(docker: &Docker, image: &str, args: &[&str]) -> Result<String> {
    let fixed = ["run", "--rm", "--network", "none", image];
    let ran = docker.ran([&fixed[..], args].concat())?;
    if ran.code == 0 { Ok(ran.stdout) } else { Err(format!("{image}: {ran:?}").into()) }
}

/// An image's id.
pub fn id(docker: &Docker, image: &str) -> Result<String> {
    let ran = docker.ran(["image", "inspect", "--format", "{{.Id}}", image])?;
    if ran.code == 0 { Ok(ran.stdout.trim().to_owned()) } else { Err(format!("{ran:?}").into()) }
}

/// The steps of a plain progress: `CACHED` or `DONE`, in order of their numbers.
pub fn ends(progress: &str) -> Vec<&str> {
    let mut ends: Vec<(u32, &str)> = progress
        .lines()
        .filter_map(|line| {
            let (number, text) = line.strip_prefix('#')?.split_once(' ')?;
            let word = text.split(' ').next()?;
            matches!(word, "CACHED" | "DONE" | "ERROR").then(|| (number.parse().unwrap(), word))
        })
        .collect();
    ends.sort();
    ends.into_iter().map(|(_, word)| word).collect()
}

/// A build that is going on.
pub struct Going {
    pub child: Child,
    lines: Receiver<String>,
    seen: String,
}

impl Going {
    /// Starts it.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(stderr)
                .lines()
                .map_while(|line| line.ok())
                .all(|line| sender.send(line).is_ok())
        });
        Ok(Self { child, lines, seen: String::new() })
    }

    /// Waits for a line with this text.
    pub fn until(&mut self, text: &str) -> Result<()> {
        while !self.seen.contains(text) {
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => self.seen.push_str(&format!("{line}\n")),
                Err(error) => return Err(format!("no {text:?}: {error}\n{}", self.seen).into()),
            }
        }
        Ok(())
    }

    /// Sends a signal to the command.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id().cast_signed()), signal)
            .unwrap();
    }

    /// Its exit code, and everything that it printed.
    pub fn end(mut self) -> Result<Ran> {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.wait()?;
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(60)) {
            self.seen.push_str(&format!("{line}\n"));
        }
        let code = status.code().unwrap_or_else(|| 1000 + status.signal().unwrap_or_default());
        Ok(Ran { code, stdout: String::new(), stderr: self.seen })
    }
}

/// What nothing may be left of: processes, mounts, control groups, containers, and what was being made.
pub fn leftovers(docker: &Docker) -> Result<BTreeSet<String>> {
    let footprint = docker.footprint()?;
    let mut left: BTreeSet<String> =
        footprint.processes.iter().map(|one| format!("process {one}")).collect();
    left.extend(footprint.cgroups.iter().map(|path| format!("cgroup {}", path.display())));
    let roots = [
        docker.root.to_string_lossy().into_owned(),
        docker.run_root.to_string_lossy().into_owned(),
    ];
    left.extend(
        footprint.mounts.into_iter().filter(|line| roots.iter().any(|root| line.contains(root))),
    );
    for folder in [
        docker.root.join("build/tmp"),
        docker.run_root.join("build"),
        docker.root.join("containers"),
        docker.run_root.join("containers"),
        docker.root.join("layers/tmp"),
        docker.root.join("images/tmp"),
    ] {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            left.insert(entry.path().display().to_string());
        }
    }
    Ok(left)
}

/// Binds snapshots to texts without times, ids and paths of the test.
pub fn snapshots(sandbox: &Sandbox, run: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.add_filter(&regex_escape(&sandbox.dir.to_string_lossy()), "[SANDBOX]");
    settings.add_filter(r"DONE \d+\.\ds", "DONE [TIME]");
    settings.add_filter(r"(?m)^(#\d+) \d+\.\d{3} ", "$1 [TIME] ");
    settings
        .add_filter(r"docker\.io cannot be reached: .*", "docker.io cannot be reached: [REASON]");
    settings.add_filter(r"[0-9a-f]{64}", "[DIGEST]");
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[ID]");
    settings.add_filter(
        r"(?m)^(.{16})(Less than a second|About a minute|\d+ seconds?|\d+ minutes?) ago +",
        "$1[TIME]  ",
    );
    settings.bind(run);
}

fn regex_escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            ['\\', c].into_iter().skip(usize::from(c.is_alphanumeric() || c == '/' || c == '-'))
        })
        .collect()
}

/// A command and what it printed, as a person sees it.
pub fn shown(docker: &Docker, what: &str, flags: &[&str], context: &Path) -> Result<String> {
    let ran = build(docker, flags, context)?;
    Ok(format!("$ mini-docker build {what}\n{}{}? {}\n", ran.stdout, ran.stderr, ran.code))
}
