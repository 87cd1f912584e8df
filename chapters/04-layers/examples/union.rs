//! Two containers on one image: what one of them writes, the other does not see.
//!
//! `union` tells the whole story. `union run NAME COMMAND...` runs a command in container NAME,
//! which keeps what it has written; `union diff NAME` lists that as a layer. All is kept in the
//! folder `union`, in the working directory. Needs root and a static /bin/busybox. Chapter 01 makes
//! the process, chapter 03 its root, this one the files in it.

use std::error::Error;
use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use layers::{DiffId, Store};
use namespaces::exec::{Command, exec};
use namespaces::{Kind, spawn};
use syscalls::During;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [] => story(),
        ["run", name, command @ ..] if !command.is_empty() => run(name, command),
        ["diff", name] => difference(name),
        _ => Err("usage: union [run NAME COMMAND... | diff NAME]".into()),
    };
    std::process::exit(outcome.unwrap_or_else(|error| {
        eprintln!("union: {error}");
        125
    }));
}

fn story() -> Result<i32, Box<dyn Error>> {
    for (name, command) in [
        ("alice", "cat /etc/greeting; ls /etc"),
        ("alice", "echo hello from alice > /etc/greeting; rm /etc/motd"),
        ("alice", "cat /etc/greeting; ls /etc"),
        ("bob", "cat /etc/greeting; ls /etc"),
    ] {
        println!("{name}: {command}");
        run(name, &["sh", "-c", command])?;
    }
    println!("alice's own layer:");
    difference("alice")
}

/// The image: two layers, topmost first.
fn image() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let store = Store::open(Path::new("union/layers"))?;
    let base = Path::new("union/base");
    if !base.exists() {
        make_base(base)?;
    }
    // A plain folder is an upper folder in which everything is new.
    let mut lower = Vec::new();
    layers::diff(fs::File::open(base)?.as_fd(), &mut lower)?;
    // The second layer deletes a file of the first: an empty file with a special name.
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir("etc", base.join("etc"))?;
    archive.append_data(&mut tar::Header::new_gnu(), "etc/.wh.issue", &[][..])?;
    let upper = archive.into_inner()?;
    let mut paths = Vec::new();
    for tar in [upper, lower] {
        let id = DiffId::of(&tar);
        store.add(&id, &tar[..])?;
        paths.push(store.path(&id));
    }
    Ok(paths)
}

fn make_base(base: &Path) -> std::io::Result<()> {
    for dir in ["bin", "etc", "dev", "proc", "sys", "tmp"] {
        fs::create_dir_all(base.join(dir))?;
    }
    fs::copy("/bin/busybox", base.join("bin/busybox"))?;
    for applet in ["sh", "cat", "ls", "rm", "echo", "mv", "mkdir", "find", "touch", "ln", "chmod"] {
        std::os::unix::fs::symlink("busybox", base.join("bin").join(applet))?;
    }
    for (name, text) in [("greeting", "hello\n"), ("issue", "busybox\n"), ("motd", "welcome\n")] {
        fs::write(base.join("etc").join(name), text)?;
    }
    Ok(())
}

fn run(name: &str, command: &[&str]) -> Result<i32, Box<dyn Error>> {
    let lowers = image()?;
    let folder = std::path::absolute(Path::new("union/containers").join(name))?;
    let (upper, work) = (folder.join("upper"), folder.join("work"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    let root = layers::overlay(&lowers, Some(&upper), Some(&work))?;

    let argv = command.iter().filter_map(|word| CString::new(*word).ok()).collect();
    let command = Command { argv, env: vec![c"PATH=/bin".into()] };
    let create = vec![Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Pid, Kind::Net];
    let plan = namespaces::Plan { create, ..namespaces::Plan::default() };
    let mut init = spawn(&plan, None, |_| {
        rootfs::enter(root, rootfs::staging()?.as_fd(), &mut rootfs::Plan::default())?;
        syscalls::fd::close_on_exec_from(3).during("close", "descriptors")?;
        Err(exec(&command))
    })?;
    init.go()?;
    init.wait_exec()?;
    Ok(init.wait()?.shell_code())
}

fn difference(name: &str) -> Result<i32, Box<dyn Error>> {
    let upper = Path::new("union/containers").join(name).join("upper");
    let mut layer = Vec::new();
    layers::diff(fs::File::open(upper)?.as_fd(), &mut layer)?;
    for entry in tar::Archive::new(&layer[..]).entries()? {
        println!("  {}", entry?.path()?.display());
    }
    Ok(0)
}
