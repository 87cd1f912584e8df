//! The runtime so far: a command in namespaces of its own (chapter 01) that is root, but not *the*
//! root.
//!
//! `confined [--user SPEC] [--cap-add NAME]... [--cap-drop NAME]... [--ulimit NAME=SOFT:HARD]...
//! [--new-privileges] [COMMAND...]`. Needs root.

use std::error::Error;
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use namespaces::exec::{Command, exec};
use namespaces::{Kind, Plan, spawn};
use nix::mount::{MsFlags, mount};
use security::{CapSets, Confinement, User, compute, confine, user};
use syscalls::During;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code as u8),
        Err(error) => {
            eprintln!("confined: {error}");
            ExitCode::from(125)
        }
    }
}

fn run() -> Result<i32, Box<dyn Error>> {
    let (mut spec, mut add, mut drop) = (String::new(), Vec::new(), Vec::new());
    let mut confinement = Confinement { no_new_privileges: true, ..Confinement::default() };
    let mut arguments = std::env::args().skip(1).peekable();
    while let Some(flag) = arguments.next_if(|argument| argument.starts_with("--")) {
        if flag == "--new-privileges" {
            confinement.no_new_privileges = false;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match &*flag {
            "--user" => spec = value,
            "--cap-add" => add.push(value),
            "--cap-drop" => drop.push(value),
            "--ulimit" => confinement.rlimits.push(value.parse()?),
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }

    // Here the root is the host's, so are its files; in a container they are the image's.
    let read = |path| std::fs::read_to_string(path).ok();
    let (passwd, group) = (read("/etc/passwd"), read("/etc/group"));
    let who = user::resolve(&spec, passwd.as_deref(), group.as_deref(), &[])?;
    confinement.user = User { uid: who.uid, gid: who.gid, groups: who.groups };
    confinement.caps = CapSets::docker(&compute(&add, &drop, false)?, who.uid);

    let mut argv = arguments.map(CString::new).collect::<Result<Vec<_>, _>>()?;
    if argv.is_empty() {
        argv.push(c"sh".to_owned());
    }
    let env = std::env::vars_os().filter_map(|(name, value)| {
        CString::new([name.into_vec(), value.into_vec()].join(&b'=')).ok()
    });
    let command = Command { argv, env: env.collect() };

    let create = vec![Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Pid, Kind::Net];
    let plan = Plan { create, hostname: Some("box".to_owned()), ..Plan::default() };
    let mut child = spawn(&plan, None, |child| {
        child.wait_for_parent()?;
        let none: Option<&str> = None;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(none, "/", none, private, none).during("make private", "/")?;
        mount(Some("proc"), "/proc", Some("proc"), MsFlags::MS_NOSUID, none)
            .during("mount", "/proc")?;
        confine(&confinement)?;
        Err(exec(&command))
    })?;
    child.go()?;
    child.wait_exec()?;
    Ok(child.wait()?.shell_code())
}
