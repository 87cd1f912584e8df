//! A file system in a file, for the stores of one tool alone.
//!
//! Before ext4 gives out an inode, it looks whether it was in use a minute ago (`recently_deleted` in the kernel's
//! `fs/ext4/ialloc.c`). buildah removes the ten thousand files of its working container when it has made a layer of
//! them; on a common file system whoever comes next would pay for that, with several times of what its own work takes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, umount2};

/// Bytes of a file system. The file has holes; only what is written takes space.
const SIZE: u64 = 16 << 30;

/// For so long ext4 remembers that an inode was in use.
const MEMORY: Duration = Duration::from_secs(61);

/// A mounted file system, new and empty. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Disk {
    file: PathBuf,
    folder: PathBuf,
    used: Option<Instant>,
}

impl Disk {
    /// Programs that this needs.
    pub(crate) const NEEDS: [&'static str; 2] = ["mkfs.ext4", "mount"];

    /// Makes `<folder>/<name>.ext4` and mounts it on `<folder>/<name>`.
    ///
    /// # Errors
    /// No loop device; no space.
    pub(crate) fn new(folder: &Path, name: &str) -> Result<Self> {
        let disk = Self {
            file: folder.join(format!("{name}.ext4")),
            folder: folder.join(name),
            used: None,
        };
        fs::create_dir(&disk.folder)?;
        File::create_new(&disk.file)?.set_len(SIZE)?;
        run(Command::new("mkfs.ext4").arg("-q").arg("-F").arg(&disk.file))?;
        // Otherwise the kernel initializes its tables while somebody is measured.
        let options = ["-o", "loop,noinit_itable"];
        run(Command::new("mount").args(options).arg(&disk.file).arg(&disk.folder))?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Notes that files were removed in it, or may have been.
    pub(crate) fn was_used(&mut self) {
        self.used = Some(Instant::now());
    }

    /// Waits until what was removed in it is forgotten.
    pub(crate) fn forget(&self) {
        if let Some(used) = self.used {
            sleep(MEMORY.saturating_sub(used.elapsed()));
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What cannot be removed is in a temporary folder and a private mount namespace.
        umount2(&self.folder, MntFlags::MNT_DETACH).ok();
        fs::remove_file(&self.file).ok();
        fs::remove_dir(&self.folder).ok();
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{words}", output.status);
    Ok(())
}
