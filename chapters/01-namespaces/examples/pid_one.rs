//! A small unshare(1): runs a command that is PID 1 of its own world.
//!
//! `pid_one [--init] [--shared KIND]... [COMMAND...]`, where KIND is mnt, uts, ipc, pid or net.
//! Needs root; or, with `--rootless`, a kernel that lets you be root of a user namespace.

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use namespaces::exec::{Command, exec, exit_code};
use namespaces::{IdMap, KernelError, Kind, Plan, reaper, spawn};
use nix::mount::{MsFlags, mount};
use syscalls::{During, step};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut create = vec![Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Pid, Kind::Net];
    let mut init = false;
    while let Some(flag) = arguments.next_if(|argument| argument.starts_with("--")) {
        match &*flag {
            "--init" => init = true,
            "--rootless" => create.push(Kind::User),
            "--shared" => {
                let name = arguments.next().unwrap_or_default();
                create.retain(|kind| kind.proc_name() != name);
            }
            _ => {
                eprintln!("usage: pid_one [--init] [--rootless] [--shared KIND]... [COMMAND...]");
                return ExitCode::from(125);
            }
        }
    }
    let argv: Vec<String> = match arguments.peek() {
        Some(_) => arguments.collect(),
        None => vec!["sh".to_owned()],
    };
    match run(create, init, argv) {
        Ok(code) => ExitCode::from(code as u8),
        Err(error) => {
            eprintln!("pid_one: {error}");
            ExitCode::from(if error.step == "exec" { exit_code(error.errno) as u8 } else { 125 })
        }
    }
}

fn run(create: Vec<Kind>, init: bool, argv: Vec<String>) -> Result<i32, KernelError> {
    let mut plan = Plan { create, ..Plan::default() };
    plan.hostname = plan.creates(Kind::Uts).then(|| "box".to_owned());
    if plan.creates(Kind::User) {
        let own = |id: u32| vec![IdMap { inside: 0, outside: id, count: 1 }];
        plan.uid_map = own(nix::unistd::getuid().as_raw());
        plan.gid_map = own(nix::unistd::getgid().as_raw());
    }
    // A string from the command line has no zero byte in it.
    let words = argv.into_iter().filter_map(|word| CString::new(word).ok()).collect();
    let env = std::env::vars_os().filter_map(|(name, value)| {
        CString::new([name.into_vec(), value.into_vec()].join(&b'=')).ok()
    });
    let command = Command { argv: words, env: env.collect() };

    let mut child = spawn(&plan, None, |child| {
        child.wait_for_parent()?;
        if plan.creates(Kind::Mount) {
            own_proc()?;
        }
        if init {
            reaper::become_init()?;
        }
        Err(exec(&command))
    })?;
    child.go()?;
    child.wait_exec()?;
    Ok(child.wait()?.shell_code())
}

/// /proc shows the pid namespace of the process that mounted it: the old one would still show the
/// host.
fn own_proc() -> Result<(), KernelError> {
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    step!("mount", "/, MS_PRIVATE", mount(none, "/", none, private, none))
        .during("make private", "/")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    step!("mount", "proc, /proc", mount(Some("proc"), "/proc", Some("proc"), flags, none))
        .during("mount", "/proc")
}
