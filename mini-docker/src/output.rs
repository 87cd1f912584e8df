//! Where an archive goes: standard output, or a file that appears when it is complete.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc::O_TMPFILE;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::linkat;

use crate::failure::Failure;
use crate::names;

/// An archive being written. Unless [`finish`](Self::finish) is reached, nothing of it stays, also after a kill.
#[derive(Debug)]
pub struct Output {
    file: File,
    goal: Goal,
}

#[derive(Debug)]
enum Goal {
    /// The bytes are where they belong as soon as they are written: a pipe, a device.
    Direct,
    /// A file without a name (`O_TMPFILE`), which the kernel forgets with the process, until it gets this one.
    Unnamed(PathBuf),
    /// For file systems that have no files without a name.
    Aside(Aside),
}

/// A file beside its place. Dropped, it is removed; signals that would end the process end the writing instead.
#[derive(Debug)]
struct Aside {
    path: PathBuf,
    target: PathBuf,
    signals: SignalFd,
    signal: Option<i32>,
}

impl Output {
    /// Opens a file, or standard output if `path` is None or `-`. `verb` is for the message: `save`.
    ///
    /// A regular file is written beside its place with mode 0600, and replaces what is there at the end.
    ///
    /// # Errors
    /// If standard output is a terminal, or the file cannot be written.
    pub fn open(path: Option<&Path>, verb: &str) -> Result<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            let stdout = io::stdout();
            if stdout.is_terminal() {
                return Err(Failure::new(format!("cowardly refusing to {verb} to a terminal"))
                    .hint("use the -o flag or redirect")
                    .into());
            }
            let file = stdout.as_fd().try_clone_to_owned().context("open standard output")?;
            return Ok(Self { file: file.into(), goal: Goal::Direct });
        };
        // A link stays a link, to what is written.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let failed = || format!("write `{}`", path.display());
        if let Ok(metadata) = fs::metadata(&target)
            && !metadata.is_file()
        {
            let kind = metadata.file_type();
            if kind.is_dir() || kind.is_socket() {
                let what = if kind.is_dir() { "a folder" } else { "a socket" };
                return Err(Failure::new(format!("`{}` is {what}", path.display()))
                    .hint("-o takes the name of the file to write")
                    .into());
            }
            let file = File::options().write(true).open(&target).with_context(failed)?;
            return Ok(Self { file, goal: Goal::Direct });
        }
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let unnamed = File::options().write(true).mode(0o600).custom_flags(O_TMPFILE).open(folder);
        match unnamed {
            Ok(file) => Ok(Self { file, goal: Goal::Unnamed(target) }),
            // EISDIR: a kernel or file system that takes it for the folder itself (open(2)).
            Err(error) if matches!(errno(&error), Errno::EOPNOTSUPP | Errno::EISDIR) => {
                let aside = Aside::new(&target).with_context(failed)?;
                let mut options = File::options();
                options.write(true).create_new(true).mode(0o600);
                let file = options.open(&aside.path).with_context(failed)?;
                Ok(Self { file, goal: Goal::Aside(aside) })
            }
            Err(error) => Err(error).with_context(failed),
        }
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// If the kernel refuses; nothing stays then.
    pub fn finish(self) -> Result<()> {
        match self.goal {
            Goal::Direct => Ok(()),
            Goal::Unnamed(target) => {
                name(&self.file, &target).with_context(|| format!("write `{}`", target.display()))
            }
            Goal::Aside(aside) => fs::rename(&aside.path, &aside.target)
                .with_context(|| format!("write `{}`", aside.target.display())),
        }
    }

    /// What a failed write means for the user, as an exit code or an error: a reader that has gone needs no words, a
    /// signal is its own reason, and for a full disk another `--root` would not help.
    ///
    /// # Errors
    /// `error`, or a better one.
    pub fn failed(self, error: anyhow::Error) -> Result<u8> {
        if let Goal::Aside(Aside { signal: Some(signal), .. }) = self.goal {
            return Ok(128 + signal as u8);
        }
        let of_cause = |cause: &(dyn std::error::Error + 'static)| match (
            cause.downcast_ref::<images::Error>(),
            cause.downcast_ref::<io::Error>(),
        ) {
            (Some(images::Error::Kernel(kernel)), _) => Some(kernel.errno),
            (_, Some(io)) => Some(errno(io)),
            _ => None,
        };
        // Reading may fail too.
        let writing = error.to_string().starts_with("write archive");
        match error.chain().find_map(of_cause).filter(|_| writing) {
            Some(Errno::EPIPE) => Ok(128 + Signal::SIGPIPE as u8),
            Some(Errno::ENOSPC) => Err(Failure::new("write archive: the disk is full")
                .hint("free space there, or write it to another disk")
                .into()),
            _ => Err(error),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Goal::Aside(aside) = &mut self.goal
            && let Ok(Some(info)) = aside.signals.read_signal()
        {
            aside.signal = Some(info.ssi_signo as i32);
            return Err(Errno::ECANCELED.into());
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Aside {
    fn new(target: &Path) -> Result<Self> {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT]
            .into_iter()
            .collect();
        set.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&set, flags)?;
        Ok(Self { path: beside(target)?, target: target.to_owned(), signals, signal: None })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // After the rename there is nothing under this name.
        fs::remove_file(&self.path).ok();
    }
}

/// A new name in the folder of a file.
fn beside(target: &Path) -> Result<PathBuf> {
    let name = target.file_name().context("it has no name")?.to_string_lossy();
    let id = names::new_id()?;
    Ok(target.with_file_name(format!(".{}.{}", name.get(..64).unwrap_or(&name), &id[..12])))
}

/// Gives a file without a name one, in the place of what has it now.
fn name(file: &File, target: &Path) -> Result<()> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |to: &Path| linkat(AT_FDCWD, &*own, AT_FDCWD, to, AtFlags::AT_SYMLINK_FOLLOW);
    match link(target) {
        Err(Errno::EEXIST) => {}
        other => return Ok(other?),
    }
    // link(2) replaces nothing, rename(2) does.
    let aside = beside(target)?;
    link(&aside)?;
    let renamed = fs::rename(&aside, target);
    if renamed.is_err() {
        fs::remove_file(&aside).ok();
    }
    Ok(renamed?)
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}
