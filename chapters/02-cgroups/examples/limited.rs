//! The runtime so far: a command in namespaces of its own (chapter 01) that may use only so much (chapter 02).
//!
//! `limited [--memory SIZE[k|m|g]] [--cpus N] [--pids N] [--late] COMMAND...`. Says at the end what was used. `--late`
//! puts the command in its cgroup a second after its start: the mistake of the lesson. Needs root.

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use cgroups::{Cgroup, Error, Hierarchies, Limits};
use namespaces::exec::{Command, exec};
use namespaces::{Kind, Plan, spawn};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let (mut limits, mut late, mut wrong) = (Limits::default(), false, false);
    while let Some(flag) = arguments.next_if(|argument| argument.starts_with("--")) {
        let mut value = || arguments.next().unwrap_or_default();
        match &*flag {
            "--memory" => limits.memory = bytes(&value()),
            "--pids" => limits.pids = value().parse().ok(),
            "--cpus" => {
                let quota = value().parse().map(|cpus: f64| (cpus * 100_000.0) as i64);
                (limits.cpu_quota_us, limits.cpu_period_us) = (quota.ok(), Some(100_000));
            }
            "--late" => late = true,
            _ => wrong = true,
        }
    }
    // Swap counts as memory here: what does not fit is killed, not swapped.
    limits.memory_swap = limits.memory;
    if wrong || arguments.peek().is_none() {
        eprintln!("usage: limited [--memory SIZE] [--cpus N] [--pids N] [--late] COMMAND...");
        return ExitCode::from(125);
    }
    match run(&limits, late, arguments.collect()) {
        Ok(code) => ExitCode::from(code as u8),
        Err(error) => {
            eprintln!("limited: {error}");
            ExitCode::from(125)
        }
    }
}

fn run(limits: &Limits, late: bool, argv: Vec<String>) -> Result<i32, Error> {
    let words = argv.into_iter().filter_map(|word| CString::new(word).ok()).collect();
    let env = std::env::vars_os().filter_map(|(name, value)| {
        CString::new([name.into_vec(), value.into_vec()].join(&b'=')).ok()
    });
    let command = Command { argv: words, env: env.collect() };
    let plan = Plan { create: vec![Kind::Pid, Kind::Ipc, Kind::Cgroup], ..Plan::default() };

    // The limits are there before any process is. From here on the guard removes the cgroup, whatever happens.
    let hierarchies = Hierarchies::detect()?;
    let name = format!("limited-{}", std::process::id());
    let cgroup = Cgroup::create(&hierarchies, &name, limits)?;
    let (born_in, joiner) = (cgroup.clone_fd().filter(|_| !late), cgroup.joiner());

    let mut child = spawn(&plan, born_in, |child| {
        if !late {
            joiner.join_self()?; // v1; nothing to do on v2, where clone3 has done it
        }
        child.enter_cgroup_namespace()?;
        child.wait_for_parent()?;
        Err(exec(&command))
    })?;
    child.go()?;
    child.wait_exec()?;
    if late {
        std::thread::sleep(std::time::Duration::from_secs(1));
        cgroup.add(child.pid)?;
    }
    let code = child.wait()?.shell_code();

    let used = cgroup.stats();
    eprintln!(
        "limited: cpu {:.2} s, throttled in {} of {} periods; memory at most {} MiB; status {code}",
        used.cpu_usage_us as f64 / 1e6,
        used.nr_throttled,
        used.nr_periods,
        used.memory_peak.unwrap_or(0) >> 20,
    );
    if cgroup.oom_kills()? > 0 {
        eprintln!(
            "limited: killed: out of memory (limit {} MiB)",
            limits.memory.unwrap_or(0) >> 20
        );
    }
    cgroup.remove()?;
    Ok(code)
}

/// `64m` as bytes.
fn bytes(text: &str) -> Option<i64> {
    let (number, shift) = match text.to_ascii_lowercase() {
        lower if lower.ends_with('k') => (lower[..lower.len() - 1].to_owned(), 10),
        lower if lower.ends_with('m') => (lower[..lower.len() - 1].to_owned(), 20),
        lower if lower.ends_with('g') => (lower[..lower.len() - 1].to_owned(), 30),
        lower => (lower, 0),
    };
    number.parse::<i64>().ok().map(|number| number << shift)
}
