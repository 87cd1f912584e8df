//! Four ways out of a root, tried from inside by a root user with every capability.
//!
//! `escape [chroot | pivot_root | leak] [COMMAND...]`: shuts a program in with chroot(2), with this chapter, or with
//! this chapter but without closing descriptors before exec. The program is COMMAND (busybox has most), or else this
//! example itself, which tries to read a file of the host. Without arguments it tries chroot and pivot_root. Needs root
//! and a static /bin/busybox.

use std::error::Error;
use std::ffi::CString;
use std::fs::{self, read_to_string};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use namespaces::exec::exec;
use namespaces::{Kind, spawn};
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, mkdir};
use syscalls::{During, KernelError};

type Way = fn() -> nix::Result<()>;

const WAYS: [(&str, Way); 4] = [
    ("a second chroot", second_chroot),
    ("dot dot", climb),
    ("my own mount namespace", own_namespace),
    ("a leaked descriptor", leaked_descriptor),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [] => both(),
        ["attack", way, secret] => Ok(attack(way, Path::new(secret))),
        [how @ ("chroot" | "pivot_root" | "leak")] => attacks(how),
        [how @ ("chroot" | "pivot_root" | "leak"), command @ ..] => {
            small_root().and_then(|dir| Ok(contained(how, dir.path(), command)?))
        }
        _ => Err("usage: escape [chroot | pivot_root | leak] [COMMAND...]".into()),
    };
    std::process::exit(result.unwrap_or_else(|error| {
        eprintln!("escape: {error}");
        125
    }));
}

fn both() -> Result<i32, Box<dyn Error>> {
    println!("chroot:");
    attacks("chroot")?;
    println!("pivot_root:");
    attacks("pivot_root")
}

fn attacks(how: &str) -> Result<i32, Box<dyn Error>> {
    let dir = small_root()?;
    let secret = dir.path().join("secret").display().to_string();
    let mut escaped = 0;
    for (way, _) in WAYS {
        let result = match contained(how, dir.path(), &["/bin/escape", "attack", way, &secret])? {
            ESCAPED => "OUT: the host's file was read",
            HELD => "held",
            code => return Err(format!("the attacker ended with {code}").into()),
        };
        println!("  {way:<24}{result}");
        escaped += i32::from(result != "held");
    }
    Ok(i32::from(escaped > 0))
}

/// A folder with `root`, a root file system of busybox and this program, and `secret`, a file outside of it.
fn small_root() -> Result<tempfile::TempDir, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let bin = dir.path().join("root/bin");
    fs::create_dir_all(&bin)?;
    fs::copy("/bin/busybox", bin.join("busybox"))?;
    for applet in ["sh", "ls", "cat", "cut", "echo", "id", "mount", "touch", "wc"] {
        std::os::unix::fs::symlink("busybox", bin.join(applet))?;
    }
    fs::copy("/proc/self/exe", bin.join("escape"))?;
    fs::write(dir.path().join("secret"), "only on the host")?;
    Ok(dir)
}

/// Chapter 01 makes the process, chapter 03 its files. Returns its exit code.
fn contained(how: &str, dir: &Path, command: &[&str]) -> Result<i32, KernelError> {
    let argv = command.iter().filter_map(|word| CString::new(*word).ok()).collect();
    let command = namespaces::exec::Command { argv, env: vec![c"PATH=/bin".into()] };
    let create = vec![Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Pid, Kind::Net];
    let plan = namespaces::Plan { create, ..namespaces::Plan::default() };
    let root = dir.join("root");
    let detached = rootfs::bind(folder(&root)?.as_fd(), false)?;
    // Somebody forgot O_CLOEXEC.
    let leaked =
        open("/", OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).during("open", "/")?;
    let mut init = spawn(&plan, None, |_| {
        if how == "chroot" {
            // As `unshare --mount` does; only so that the attacker's mounts do not appear on the host.
            let (none, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
            mount(none, "/", none, private, none).during("make mounts private", "/")?;
            chroot(&root).during("chroot", root.display())?;
        } else {
            rootfs::enter(detached, rootfs::staging()?.as_fd(), &mut rootfs::Plan::default())?;
        }
        if how == "pivot_root" {
            syscalls::fd::close_on_exec_from(3).during("close", "descriptors")?;
        }
        Err(exec(&command))
    })?;
    drop(leaked);
    init.go()?;
    init.wait_exec()?;
    Ok(init.wait()?.shell_code())
}

fn folder(path: &Path) -> Result<OwnedFd, KernelError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).during("open directory", path.display())
}

const ESCAPED: i32 = 42;
const HELD: i32 = 43;

/// Inside: tries one way.
fn attack(way: &str, secret: &Path) -> i32 {
    // Without it, some ways would not be tried at all. Where there is one already, this one lies on top.
    let none: Option<&str> = None;
    mkdir("/proc", Mode::S_IRWXU).ok();
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none).ok();
    if let Some((_, go)) = WAYS.iter().find(|(name, _)| *name == way) {
        go().ok();
    }
    let seen = read_to_string(secret).is_ok_and(|text| text == "only on the host");
    if seen { ESCAPED } else { HELD }
}

/// `..` stops at the root of the process. With a new root below the working directory, it is never met on the way up.
fn second_chroot() -> nix::Result<()> {
    chdir("/")?;
    mkdir("below", Mode::S_IRWXU)?;
    chroot("below")?;
    climb()
}

/// chroot(2) leaves the working directory where it was: outside.
fn climb() -> nix::Result<()> {
    (0..64).try_for_each(|_| chdir(".."))?;
    chroot(".")
}

/// Joining a mount namespace sets `/` to the root of that namespace: for a chroot, the host's.
fn own_namespace() -> nix::Result<()> {
    setns(open("/proc/self/ns/mnt", OFlag::O_RDONLY, Mode::empty())?, CloneFlags::CLONE_NEWNS)
}

fn leaked_descriptor() -> nix::Result<()> {
    (3..256).find(|fd| chdir(format!("/proc/self/fd/{fd}").as_str()).is_ok());
    climb()
}
