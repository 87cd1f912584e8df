//! A mount that exists before it has a place: made, filled and only then attached.
//!
//! `detached [-o KEY=VALUE] [--drop] FOLDER [COMMAND...]` makes a tmpfs, writes a file into it through its descriptor and
//! attaches it at FOLDER, for COMMAND only (default: `cat FOLDER/note`). With `--drop` it lets go of the mount instead.
//! Needs root.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use syscalls::mount::{Attr, FsContext, attach};
use syscalls::{During, inroot};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("detached: {error}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let (mut options, mut forget) = (vec!["size=64k".to_owned()], false);
    while let Some(flag) = arguments.next_if(|word| word.starts_with('-')) {
        match &*flag {
            "-o" => options.extend(arguments.next()),
            "--drop" => forget = true,
            _ => return Err("usage: detached [-o KEY=VALUE] [--drop] FOLDER [COMMAND...]".into()),
        }
    }
    let folder = arguments.next().ok_or("which folder?")?;
    let mut command: Vec<String> = arguments.collect();
    if command.is_empty() {
        command = vec!["cat".into(), format!("{folder}/note")];
    }

    // What is mounted from here on is seen by this process and its children alone.
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).during("create namespace", "mnt")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).during("make private", "/")?;

    let tmpfs = FsContext::open("tmpfs")?;
    for option in &options {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        tmpfs.set_string(key, value)?;
    }
    let detached = tmpfs.mount(Attr::NOSUID | Attr::NODEV)?;

    // No path leads to this file. The descriptor is the only way.
    let flags = OFlag::O_CREAT | OFlag::O_WRONLY;
    let note = inroot::open(detached.as_fd(), Path::new("note"), flags, Mode::S_IRUSR)
        .during("create file", "note")?;
    File::from(note).write_all(b"written before there was a path\n")?;

    if forget {
        // Closes the descriptor; after this line, using `detached` does not compile.
        drop(detached);
    } else {
        let target = File::open(&folder).during("open folder", &folder)?;
        attach(detached.as_fd(), target.as_fd()).during("attach mount", &folder)?;
    }
    let status = Command::new(&command[0]).args(&command[1..]).status()?;
    Ok(ExitCode::from(status.code().unwrap_or(1) as u8))
}
