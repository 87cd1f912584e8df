//! A measurement: commands, and what the kernel knows of them afterwards.
//!
//! This program starts itself once more for each of them ([`MEASURE`]). The kernel adds up CPU time and remembers the
//! peak of memory for all children that a process has waited for; a process of its own has no other children.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use super::pool::side_by_side;

/// The argument with which this program measures one job, from standard input.
pub const MEASURE: &str = "measure";

/// Commands to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Programs and their arguments, in order.
    pub commands: Vec<Vec<String>>,
    /// Environment variables of theirs, beside those of this process.
    pub environment: BTreeMap<String, String>,
    /// How many of them run at the same time.
    pub at_once: usize,
    /// A new folder, in which they leave whatever they write. They run in the folder above it.
    pub folder: PathBuf,
}

/// What was read off a job. Times in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// From the start of the first command to the end of the last.
    pub wall: f64,
    /// CPU time of all processes in user mode.
    pub user: f64,
    /// CPU time of all processes in the kernel.
    pub system: f64,
    /// Largest resident set of any one process, in KiB. Shared pages count.
    pub peak: u64,
    /// `wall`, and a sync of the file system after it: when the files would survive a loss of power.
    pub synced: f64,
    /// CPU time of the registry meanwhile.
    pub registry: f64,
}

impl Job {
    /// Runs it in a process of its own.
    ///
    /// # Errors
    /// If a command does not succeed; with what it said on standard error.
    pub fn measure(&self) -> Result<Reading> {
        let tmp = self.folder.join("tmp");
        fs::create_dir(&tmp)?;
        let mut measure = Command::new("/proc/self/exe");
        measure.arg(MEASURE).stdin(Stdio::piped()).stdout(Stdio::piped());
        measure.current_dir(self.folder.parent().unwrap_or(&self.folder));
        // Nobody's credentials, settings or caches but those in the new folder.
        measure.env("HOME", &self.folder).env("TMPDIR", &tmp);
        for variable in ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_DATA_HOME"]
        {
            measure.env_remove(variable);
        }
        measure.envs(&self.environment);
        let mut process = measure.spawn().context("start the measuring process")?;
        let input = process.stdin.take().context("no standard input")?;
        serde_json::to_writer(input, self)?;
        let output = process.wait_with_output()?;
        ensure!(output.status.success(), "nothing measured");
        serde_json::from_slice(&output.stdout).context("read the measurement")
    }

    /// Runs it in this process, which must not have had other children.
    fn run(&self) -> Result<Reading> {
        let begin = Instant::now();
        side_by_side(self.at_once, &self.commands, |command| run(command))?;
        let wall = begin.elapsed().as_secs_f64();
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        // Of the file system that the folder is on.
        nix::unistd::syncfs(File::open(&self.folder)?)?;
        let seconds = |time: nix::sys::time::TimeVal| time.num_microseconds() as f64 / 1e6;
        Ok(Reading {
            wall,
            user: seconds(usage.user_time()),
            system: seconds(usage.system_time()),
            peak: usage.max_rss().unsigned_abs(),
            synced: begin.elapsed().as_secs_f64(),
            registry: 0.0,
        })
    }
}

/// The measuring process: reads a job from standard input, writes what it has measured to standard output.
///
/// # Errors
/// If a command does not succeed, or this is called by somebody else.
pub fn measuring_process() -> Result<()> {
    let job: Job = serde_json::from_reader(std::io::stdin())?;
    // Mounts that commands leave behind (podman does) go with this process.
    unshare(CloneFlags::CLONE_NEWNS).context("create mount namespace")?;
    let reading = job.run()?;
    println!("{}", serde_json::to_string(&reading)?);
    Ok(())
}

/// Runs one command; its standard output goes nowhere.
fn run(command: &[String]) -> Result<()> {
    let [program, arguments @ ..] = command else { bail!("no command") };
    // A file, since nobody reads a pipe meanwhile.
    let mut errors = tempfile::tempfile()?;
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors.try_clone()?)
        .status()
        .with_context(|| format!("run `{program}`"))?;
    if !status.success() {
        errors.rewind()?;
        let mut words = String::new();
        errors.read_to_string(&mut words)?;
        std::io::stderr().write_all(words.as_bytes())?;
        bail!("`{}`: {status}", command.join(" "));
    }
    Ok(())
}

/// Empties all regular files below a folder: their space is free again, their names stay. Returns how
/// many there are, counting each name of a hard link.
///
/// Removing them would cost the next measurement, not this one: before ext4 gives out an inode, it
/// looks whether it was in use a minute ago (`recently_deleted` in the kernel's `fs/ext4/ialloc.c`), and
/// after ten thousand removals that takes longer than all else that is done for a new file.
///
/// # Errors
/// If a folder cannot be read, or a file cannot be written.
pub fn empty(folder: &Path) -> Result<u64> {
    let mut files = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let metadata = path.symlink_metadata()?;
            if metadata.is_dir() {
                folders.push(path);
            } else if metadata.is_file() {
                files += 1;
                if metadata.len() > 0 {
                    let file = File::options().write(true).truncate(true).open(&path);
                    file.with_context(|| path.display().to_string())?;
                }
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(folder: &Path, at_once: usize, scripts: &[&str]) -> Job {
        let command = |script: &&str| ["sh", "-c", script].map(str::to_owned).to_vec();
        let commands = scripts.iter().map(command).collect();
        Job { commands, environment: BTreeMap::new(), at_once, folder: folder.to_owned() }
    }

    #[test]
    fn commands_run_in_order_or_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let (file, fifo) = (at("file"), at("fifo"));
        let (write, read) = (format!("sleep 0.2; echo x > {file}"), format!("cat {file}"));
        job(folder.path(), 1, &[&write, &read]).run().unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"x\n");
        // Each end of a FIFO waits for the other.
        let (make, write) = (format!("mkfifo {fifo}"), format!("echo x > {fifo}"));
        job(folder.path(), 1, &[&make]).run().unwrap();
        job(folder.path(), 2, &[&write, &format!("cat {fifo}")]).run().unwrap();
    }

    #[test]
    fn what_fails_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let error = job(folder.path(), 1, &["true", "exit 3"]).run().unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn cpu_time_and_memory_are_those_of_the_commands() {
        let folder = tempfile::tempdir().unwrap();
        // dd holds its block in memory: 64 MiB.
        let script = "dd if=/dev/zero of=/dev/null bs=64M count=1 && exec sha256sum /proc/self/exe";
        let reading = job(folder.path(), 1, &[script]).run().unwrap();
        assert!(reading.peak > 64 << 10, "{reading:?}");
        assert!(reading.user + reading.system > 0.0, "{reading:?}");
        assert!(reading.synced >= reading.wall && reading.wall > 0.0, "{reading:?}");
    }

    #[test]
    fn emptied_files_are_counted_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/file"), "text").unwrap();
        fs::hard_link(at("d/file"), at("link")).unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::write(outside.path(), "kept").unwrap();
        std::os::unix::fs::symlink(outside.path(), at("symlink")).unwrap();
        assert_eq!(empty(folder.path()).unwrap(), 2);
        assert_eq!(fs::read(at("d/file")).unwrap(), b"");
        assert_eq!(fs::read(outside.path()).unwrap(), b"kept");
    }
}
