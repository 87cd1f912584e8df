//! Chapter 07 against the real kernel: what a confined child has, and what it may still do.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use namespaces::exec::{Command, exec};
use namespaces::{Init, Kind, Plan, spawn};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use security::Capability::{self, *};
use security::{CapSets, Confinement, DEFAULT, KernelError, Rlimit, User, compute, confine};
use syscalls::{capability, keyring, pidfd};
use testkit::{Outcome, Sandbox};

fn main() {
    reach_for_own_binary_if_asked();
    testkit::main(&[
        ("root_keeps_the_fourteen", root_keeps_the_fourteen),
        ("another_user_keeps_only_the_bound", another_user_keeps_only_the_bound),
        ("ambient_capabilities_reach_the_program", ambient_capabilities_reach_the_program),
        ("what_was_dropped_is_refused", what_was_dropped_is_refused),
        ("no_program_gives_back_what_is_not_bounded", no_program_gives_back_what_is_not_bounded),
        ("no_new_privileges_stops_set_user_id", no_new_privileges_stops_set_user_id),
        ("what_we_lack_we_cannot_give", what_we_lack_we_cannot_give),
        ("limits_hold", limits_hold),
        ("a_raised_hard_limit_is_refused_clearly", a_raised_hard_limit_is_refused_clearly),
        ("the_oom_score_is_set_and_cannot_fall", the_oom_score_is_set_and_cannot_fall),
        ("a_false_proc_is_not_written_to", a_false_proc_is_not_written_to),
        ("keys_of_the_caller_are_out_of_reach", keys_of_the_caller_are_out_of_reach),
        ("the_own_binary_cannot_be_changed", the_own_binary_cannot_be_changed),
        ("the_lesson_is_true", the_lesson_is_true),
        ("the_lesson_where_mounts_are_shared", the_lesson_where_mounts_are_shared),
    ]);
}

/// Run from a copy of this test binary: tries, as root, what an attacker would try through /proc.
fn reach_for_own_binary_if_asked() {
    let Ok(how) = std::env::var("REACH_FOR_OWN_BINARY") else { return };
    if how == "protected" {
        security::run_from_read_only_mount().unwrap();
    }
    let me = Path::new("/proc/self/exe");
    let changed = std::fs::set_permissions(me, std::fs::Permissions::from_mode(0o4777));
    let arguments = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    match changed {
        Ok(()) => println!("changed {arguments}"),
        Err(error) => println!("{:?} {arguments}", Errno::from_raw(error.raw_os_error().unwrap())),
    }
    std::process::exit(0);
}

fn the_own_binary_cannot_be_changed(sandbox: &Sandbox) -> Outcome {
    for (how, answer, mode) in [("unprotected", "changed", 0o4777), ("protected", "EROFS", 0o755)] {
        let copy = sandbox.path(how);
        std::fs::copy(std::env::current_exe()?, &copy)?;
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
        let output = std::process::Command::new(&copy)
            .args(["its", "arguments"])
            .env("REACH_FOR_OWN_BINARY", how)
            .output()?;
        // Executed once more, it still has its arguments.
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{answer} its arguments\n"));
        assert_eq!(std::fs::metadata(&copy)?.permissions().mode() & 0o7777, mode, "{how}");
    }
    Ok(())
}

fn docker(uid: u32) -> Confinement {
    let set = BTreeSet::from(DEFAULT);
    Confinement {
        caps: CapSets::docker(&set, uid),
        user: User { uid, gid: uid, groups: vec![uid] },
        no_new_privileges: true,
        ..Confinement::default()
    }
}

/// Starts `sh -c SCRIPT`, confined, after `before` has run in the child.
fn start(
    confinement: &Confinement,
    script: &str,
    before: impl FnOnce(),
) -> Result<Init, KernelError> {
    let words = |list: &[&str]| list.iter().map(|word| CString::new(*word).unwrap()).collect();
    let path = format!("PATH={}", std::env::var("PATH").unwrap());
    let command = Command { argv: words(&["/bin/bash", "-c", script]), env: words(&[&path]) };
    let plan = Plan { create: vec![Kind::Uts, Kind::Ipc, Kind::Mount], ..Plan::default() };
    let mut init = spawn(&plan, None, |_| {
        before();
        confine(confinement)?;
        Err(exec(&command))
    })?;
    init.wait_exec()?;
    Ok(init)
}

/// Exit code of a confined `sh -c SCRIPT`.
fn run(confinement: &Confinement, script: &str) -> Result<i32, KernelError> {
    Ok(start(confinement, script, || {})?.wait()?.shell_code())
}

/// A line of /proc/PID/status of a confined process that sleeps.
fn status(confinement: &Confinement, names: &[&str]) -> Result<Vec<String>, KernelError> {
    let mut init = start(confinement, "exec sleep 1000", || {})?;
    // The second exec is the interesting one as well; either has the same sets.
    let text = std::fs::read_to_string(format!("/proc/{}/status", init.pid)).unwrap();
    pidfd::send_signal(init.pidfd.as_fd(), Signal::SIGKILL).unwrap();
    init.wait()?;
    let line = |name: &&str| {
        let found = text.lines().find_map(|line| line.strip_prefix(*name)?.strip_prefix(':'));
        found.unwrap_or("?").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    Ok(names.iter().map(line).collect())
}

const FIVE: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
/// The fourteen bits of DEFAULT, as every Docker container of a root user shows them.
const FOURTEEN: &str = "00000000a80425fb";
const NONE: &str = "0000000000000000";

fn root_keeps_the_fourteen(_: &Sandbox) -> Outcome {
    let found = status(&docker(0), &FIVE)?;
    assert_eq!(found, [NONE, FOURTEEN, FOURTEEN, FOURTEEN, NONE]);
    assert_eq!(status(&docker(0), &["NoNewPrivs"])?, ["1"]);
    let old = Confinement { no_new_privileges: false, ..docker(0) };
    assert_eq!(status(&old, &["NoNewPrivs"])?, ["0"]);
    Ok(())
}

fn another_user_keeps_only_the_bound(_: &Sandbox) -> Outcome {
    let mut confinement = docker(4321);
    confinement.user.groups = vec![4321, 10, 20];
    assert_eq!(status(&confinement, &FIVE)?, [NONE, NONE, NONE, FOURTEEN, NONE]);
    let who = status(&confinement, &["Uid", "Gid", "Groups"])?;
    assert_eq!(who, ["4321 4321 4321 4321", "4321 4321 4321 4321", "10 20 4321"]);
    Ok(())
}

fn ambient_capabilities_reach_the_program(_: &Sandbox) -> Outcome {
    let set = BTreeSet::from([CAP_NET_BIND_SERVICE]);
    let mut confinement = docker(4321);
    confinement.caps.permitted = set.clone();
    confinement.caps.inheritable = set.clone();
    confinement.caps.ambient = set;
    let bit = "0000000000000400";
    assert_eq!(status(&confinement, &FIVE)?, [bit, bit, bit, FOURTEEN, bit]);
    // Permitted alone does not pass an exec of an ordinary file.
    confinement.caps.ambient.clear();
    assert_eq!(status(&confinement, &FIVE)?, [bit, NONE, NONE, FOURTEEN, NONE]);
    Ok(())
}

fn with(add: &[&str], drop: &[&str]) -> Confinement {
    let own = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let set = compute(&own(add), &own(drop), false).unwrap();
    Confinement { caps: CapSets::docker(&set, 0), ..docker(0) }
}

fn what_was_dropped_is_refused(sandbox: &Sandbox) -> Outcome {
    let file = sandbox.path("file");
    std::fs::write(&file, "")?;
    let mount = "mount -t tmpfs none /mnt 2>/dev/null";
    let chown = format!("chown 1:1 {} 2>/dev/null", file.display());
    let host = format!("hostname {} 2>/dev/null", sandbox.name);
    // The attacks fail with the default set and succeed when it is weakened by the one capability.
    for (add, drop, attack, works) in [
        (&[][..], &[][..], mount, false),
        (&["SYS_ADMIN"], &[], mount, true),
        (&[], &[], &host, false),
        (&["SYS_ADMIN"], &[], &host, true),
        (&[], &[], &chown, true),
        (&[], &["CHOWN"], &chown, false),
        (&["ALL"], &[], mount, true),
        (&["ALL"], &["SYS_ADMIN"], mount, false),
        (&[], &["ALL"], &chown, false),
    ] {
        assert_eq!(run(&with(add, drop), attack)? == 0, works, "+{add:?} -{drop:?} {attack}");
    }
    Ok(())
}

/// The one that is forgotten most: without the bounding set, the next exec by root brings
/// everything back.
fn no_program_gives_back_what_is_not_bounded(_: &Sandbox) -> Outcome {
    let old = Confinement { no_new_privileges: false, ..with(&[], &[]) };
    let mut forgotten = old.clone();
    forgotten.caps.bounding = Capability::ALL.iter().copied().collect();
    let effective = |confinement: &Confinement| status(confinement, &["CapEff"]);
    assert_ne!(effective(&forgotten)?, [FOURTEEN]);
    assert_eq!(effective(&old)?, [FOURTEEN]);
    // A second lock on the same door: an exec gives nothing that was not there before.
    forgotten.no_new_privileges = true;
    assert_eq!(effective(&forgotten)?, [FOURTEEN]);
    Ok(())
}

fn no_new_privileges_stops_set_user_id(sandbox: &Sandbox) -> Outcome {
    let id = sandbox.path("id");
    std::fs::copy("/usr/bin/id", &id)?;
    std::fs::set_permissions(&id, std::fs::Permissions::from_mode(0o4755))?;
    std::fs::set_permissions(&sandbox.dir, std::fs::Permissions::from_mode(0o755))?;
    let answer = format!("test $({} -u) = 0", id.display());
    assert_eq!(run(&docker(4321), &answer)?, 1);
    let old = Confinement { no_new_privileges: false, ..docker(4321) };
    assert_eq!(run(&old, &answer)?, 0, "is {} on a mount with nosuid?", id.display());
    Ok(())
}

fn without(lacking: Capability) -> impl FnOnce() {
    move || {
        let mut sets = capability::get().unwrap();
        sets.effective &= !lacking.bit();
        sets.permitted &= !lacking.bit();
        capability::set(sets).unwrap();
    }
}

fn what_we_lack_we_cannot_give(_: &Sandbox) -> Outcome {
    let error = start(&with(&["SYS_BOOT"], &[]), "true", without(CAP_SYS_BOOT)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "set capabilities: Operation not permitted (EPERM): \
         this process does not have CAP_SYS_BOOT to give"
    );
    Ok(())
}

fn limits_hold(sandbox: &Sandbox) -> Outcome {
    let limit = |text: &str| text.parse::<Rlimit>().unwrap();
    let rlimits = vec![limit("nofile=20:30"), limit("RLIMIT_CORE=0"), limit("fsize=4096")];
    let confinement = Confinement { rlimits, oom_score_adj: Some(300), ..docker(0) };
    let open = "for i in $(seq 3 40); do eval \"exec $i</dev/null\" || exit $i; done 2>/dev/null";
    assert_eq!(run(&confinement, &format!("{open}; exit 0"))?, 20);
    assert_eq!(run(&confinement, "test $(ulimit -Hn) = 30 && test $(ulimit -c) = 0")?, 0);
    let write = format!("head -c 5000 /dev/zero >{}", sandbox.path("file").display());
    assert_ne!(run(&confinement, &write)?, 0);
    assert_eq!(sandbox.path("file").metadata()?.len(), 4096);
    assert_eq!(run(&docker(0), &write)?, 0);
    Ok(())
}

fn a_raised_hard_limit_is_refused_clearly(_: &Sandbox) -> Outcome {
    let mut confinement = docker(0);
    confinement.rlimits = vec!["nofile=10:20".parse()?, "nofile=10:-1".parse()?];
    let error = start(&confinement, "true", without(CAP_SYS_RESOURCE)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "set resource limit `nofile`: Operation not permitted (EPERM): raising the hard limit \
         from 20 to unlimited needs CAP_SYS_RESOURCE, which the caller lacks"
    );
    confinement.rlimits = vec![Rlimit { name: "RLIMIT_MEM".into(), soft: 1, hard: 1 }];
    let error = start(&confinement, "true", || {}).unwrap_err();
    assert!(error.detail.starts_with("there are as core cpu"), "{error}");
    Ok(())
}

fn the_oom_score_is_set_and_cannot_fall(_: &Sandbox) -> Outcome {
    let score = |value| Confinement { oom_score_adj: Some(value), ..docker(4321) };
    assert_eq!(run(&score(777), "test $(cat /proc/self/oom_score_adj) = 777")?, 0);
    let error = start(&score(-500), "true", without(CAP_SYS_RESOURCE)).unwrap_err();
    assert!(matches!(error.errno, Errno::EACCES | Errno::EPERM), "{error}");
    assert!(error.detail.contains("needs CAP_SYS_RESOURCE"), "{error}");
    let error = start(&score(1001), "true", || {}).unwrap_err();
    assert!(error.detail.contains("between -1000 and 1000"), "{error}");
    Ok(())
}

fn a_false_proc_is_not_written_to(sandbox: &Sandbox) -> Outcome {
    let confinement = Confinement { oom_score_adj: Some(100), ..docker(0) };
    let none: Option<&str> = None;
    let error = start(&confinement, "true", || {
        mount(Some("tmpfs"), "/proc", Some("tmpfs"), MsFlags::empty(), none).unwrap();
    });
    assert_eq!(error.unwrap_err().errno, Errno::ENOTTY);
    let trap = sandbox.path("trap");
    std::fs::write(&trap, "")?;
    let error = start(&confinement, "true", || {
        let target = format!("/proc/{}/oom_score_adj", std::process::id());
        mount(Some(&trap), target.as_str(), none, MsFlags::MS_BIND, none).unwrap();
    });
    assert_eq!(error.unwrap_err().errno, Errno::EXDEV);
    assert_eq!(std::fs::read_to_string(trap)?, "");
    Ok(())
}

fn keys_of_the_caller_are_out_of_reach(sandbox: &Sandbox) -> Outcome {
    if keyring::session() == Err(Errno::ENOSYS) {
        return testkit::skip("needs keyrings (CONFIG_KEYS)");
    }
    let mut seen = vec![keyring::session().unwrap_or_default()];
    for name in ["a", "b"] {
        let answer = sandbox.path(name);
        let mut init = spawn(&Plan::default(), None, |_| {
            confine(&docker(0))?;
            std::fs::write(&answer, keyring::session().unwrap().to_string()).unwrap();
            Err(exec(&Command { argv: vec![c"/bin/true".into()], env: Vec::new() }))
        })?;
        init.wait_exec()?;
        init.wait()?;
        seen.push(std::fs::read_to_string(&answer)?.parse()?);
    }
    let different: BTreeSet<i32> = seen.iter().copied().collect();
    assert_eq!(different.len(), 3, "the caller's, one's, another's: {seen:?}");
    Ok(())
}

fn the_lesson_is_true(sandbox: &Sandbox) -> Outcome {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    testkit::console::check(&readme, &sandbox.dir)
}

fn the_lesson_where_mounts_are_shared(sandbox: &Sandbox) -> Outcome {
    testkit::where_mounts_are_shared(sandbox, the_lesson_is_true)
}
