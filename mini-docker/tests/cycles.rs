//! 500 containers' lives in random order from eight loops at once, while commands and monitors are killed: at the end
//! nothing is left, nothing hangs, and what is listed is so.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use support::{Docker, Ran, Result, wait_until};
use testkit::{Outcome, Sandbox};

fn main() {
    testkit::main(&[
        ("five_hundred_cycles_with_kills", five_hundred_cycles_with_kills),
        ("a_hundred_at_once_with_one_name", a_hundred_at_once_with_one_name),
        ("a_hundred_at_once", a_hundred_at_once),
    ]);
}

const CYCLES: usize = 500;
const LOOPS: u64 = 8;
/// A command that takes longer hangs. The machine may be slow, and eight loops share it.
const LONGEST: Duration = Duration::from_secs(60);
/// For all of them together.
const DEADLINE: Duration = Duration::from_secs(240);

/// Numbers that look random (Marsaglia's xorshift64*): the same seed gives the same ones.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }
}

/// What has happened, to be told at the end.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<String, usize>,
    failures: Vec<String>,
}

/// One of the loops.
struct Loop<'a> {
    docker: &'a Docker,
    random: Random,
    tally: &'a Mutex<Tally>,
    began: Instant,
}

/// What a command may complain about when others do as they like with the same names.
const EXCUSES: &[&str] = &[
    "no such container",
    "no such object",
    "is already in use by container",
    "is running",
    "is not running",
    "it is restarting",
    "is being removed",
    "was removed",
    "was killed before it had started",
    // Its monitor was killed while the command listened to it.
    "monitor has ended",
];

impl Loop<'_> {
    fn count(&self, what: &str) {
        *self.tally.lock().unwrap().counts.entry(what.to_owned()).or_default() += 1;
    }

    fn fail(&self, text: String) {
        self.tally.lock().unwrap().failures.push(text);
    }

    /// Runs a command; kills it on its way now and then. What it says must be an excuse.
    fn does(&mut self, args: &[&str]) -> Result<()> {
        let mut command = self.docker.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let killed = self.random.one_in(6);
        if killed {
            std::thread::sleep(Duration::from_micros(self.random.below(40_000)));
            child.kill()?;
        }
        let Some(ran) = self.ended(child)? else {
            self.fail(format!("{args:?} hangs"));
            return Ok(());
        };
        self.count(&format!("{}{}", args[0], if killed { ", killed" } else { "" }));
        let text = ran.stderr.to_lowercase();
        let excused = EXCUSES.iter().any(|excuse| text.contains(excuse));
        if ran.code != 0 && !excused && !(killed && ran.code == 1009) {
            self.fail(format!("{args:?}: {ran:?}"));
        }
        if text.contains("panicked") || text.contains("warning") {
            self.fail(format!("{args:?}: {ran:?}"));
        }
        Ok(())
    }

    /// Waits for a command; None if it does not end. Its output fits into pipes.
    fn ended(&self, mut child: Child) -> Result<Option<Ran>> {
        let until = Instant::now() + LONGEST.min(DEADLINE.saturating_sub(self.began.elapsed()));
        while child.try_wait()?.is_none() {
            if Instant::now() > until {
                std::fs::read_to_string(format!("/proc/{}/stack", child.id()))
                    .map(|stack| eprintln!("{stack}"))
                    .ok();
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        use std::os::unix::process::ExitStatusExt;
        let output = child.wait_with_output()?;
        let signal = output.status.signal().unwrap_or_default();
        Ok(Some(Ran {
            code: output.status.code().unwrap_or(1000 + signal),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }))
    }

    /// One life: begun, then what comes.
    fn cycle(&mut self, own: &str) -> Result<()> {
        // Half of the time a name that other loops use, too.
        let shared = format!("shared-{}", self.random.below(4));
        let name = if self.random.one_in(2) { own } else { &shared };
        self.begin(name)?;
        for _ in 0..self.random.below(4) {
            if self.random.one_in(8) && kill_a_monitor(self.docker, &mut self.random)? {
                self.count("monitor, killed");
            }
            match self.random.below(8) {
                0 => self.does(&["start", name])?,
                1 => self.does(&["stop", "-t", "1", name])?,
                2 => self.does(&["restart", "-t", "0", name])?,
                3 => self.does(&["kill", name])?,
                4 => self.does(&["rm", name])?,
                5 => self.does(&["ps", "-a"])?,
                6 => self.does(&["inspect", "-f", "{{.State.Status}}", name])?,
                _ => self.does(&["rm", "-f", name])?,
            }
        }
        if self.random.one_in(4) { Ok(()) } else { self.does(&["rm", "-f", name]) }
    }

    fn begin(&mut self, name: &str) -> Result<()> {
        let network = self.random.one_of(&["none", "none", "bridge"]);
        let restart = self.random.one_of(&["no", "no", "always", "on-failure:2"]);
        let script = self.random.one_of(&[
            "trap 'exit 0' TERM; while :; do sleep 0.02; done",
            "exec sleep 1000",
            "sleep 0.0$((RANDOM % 10)); exit 1",
            "true",
        ]);
        let flags = ["--name", name, "--network", network, "--restart", restart];
        let program = ["busybox", "sh", "-c", script];
        let kind = self.random.below(4);
        let args: &[&str] = match kind {
            0 => &["create"],
            1 if restart == "no" => &["run", "-d", "--rm"],
            _ => &["run", "-d"],
        };
        self.does(&[args, &flags, &program].concat())?;
        if kind == 0 { self.does(&["start", name]) } else { Ok(()) }
    }
}

/// The monitors of this engine's containers: `/proc/locks` would not tell a folder that is gone, their names do.
fn monitors(docker: &Docker) -> Vec<Pid> {
    let own = format!("MINI_DOCKER_ROOT={}\0", docker.root.display());
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            let environ = std::fs::read(entry.path().join("environ")).ok()?;
            let ours = name.trim_end() == "mini-docker:mon"
                && String::from_utf8_lossy(&environ).contains(&own);
            ours.then_some(Pid::from_raw(pid))
        })
        .collect()
}

fn kill_a_monitor(docker: &Docker, random: &mut Random) -> Result<bool> {
    let all = monitors(docker);
    if all.is_empty() {
        return Ok(false);
    }
    let pid = all[random.below(all.len() as u64) as usize];
    // The number may be another process's by now; a descriptor's process is looked at before it is killed.
    let Ok(pidfd) = syscalls::pidfd::open(pid) else { return Ok(false) };
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.trim_end() != "mini-docker:mon" {
        return Ok(false);
    }
    Ok(syscalls::pidfd::send_raw(pidfd.as_fd(), Signal::SIGKILL as i32).is_ok())
}

fn seed() -> u64 {
    let given = std::env::var("MINI_DOCKER_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| now.as_nanos() as u64) | 1
    });
    eprintln!("seed {seed} (MINI_DOCKER_SEED={seed} plays the same hand again)");
    seed
}

fn five_hundred_cycles_with_kills(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // The bridge stays when its last container goes: it is made before anything is counted.
    assert_eq!(docker.ran(["run", "--rm", "-v", "/anonymous", "busybox", "true"])?.code, 0);
    let before = docker.footprint()?;
    let (seed, began) = (seed(), Instant::now());
    let (tally, cycles) = (Mutex::new(Tally::default()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 1..=LOOPS {
            let (docker, tally, cycles) = (&docker, &tally, &cycles);
            scope.spawn(move || {
                let random = Random(seed.wrapping_mul(number) | 1);
                let mut this = Loop { docker, random, tally, began };
                while cycles.fetch_add(1, Ordering::Relaxed) < CYCLES {
                    if began.elapsed() > DEADLINE {
                        return this.fail("the deadline is over".to_owned());
                    }
                    if let Err(error) = this.cycle(&format!("own-{number}")) {
                        return this.fail(error.to_string());
                    }
                }
            });
        }
    });
    let Tally { counts, mut failures } = tally.into_inner().unwrap();
    eprintln!("{CYCLES} cycles in {:.1?}: {counts:?}", began.elapsed());
    failures.extend(untruths(&docker)?);
    // Every name can be used again, by whoever wants it.
    clear(&docker)?;
    for number in 0..4 {
        let run = ["run", "--rm", "--name", &format!("shared-{number}"), "busybox", "true"];
        let ran = docker.ran(run)?;
        if ran.code != 0 {
            failures.push(format!("the name shared-{number} is stuck: {ran:?}"));
        }
    }
    // Network namespaces, and with them the container's side of a link, end in the background.
    let left = wait_until("nothing is left", || Ok(docker.footprint()?.same_as(&before).is_ok()));
    if left.is_err()
        && let Err(error) = docker.footprint()?.same_as(&before)
    {
        failures.push(error.to_string());
    }
    for what in ["run", "run, killed", "start", "stop", "restart", "kill", "rm", "monitor, killed"]
    {
        assert!(counts.contains_key(what), "no {what} among {counts:?}");
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "seed {seed}: {} failures\n{}",
            failures.len(),
            failures[..failures.len().min(30)].join("\n")
        )
        .into())
    }
}

fn clear(docker: &Docker) -> Result<()> {
    let all = docker.ran(["ps", "-aq", "--no-trunc"])?;
    for id in all.stdout.lines() {
        let removed = docker.ran(["rm", "-f", "-v", id])?;
        assert_eq!(removed.code, 0, "{removed:?}");
    }
    Ok(())
}

/// What a record says, of which this test needs little.
#[derive(serde::Deserialize)]
struct Record {
    status: Status,
}

#[derive(serde::Deserialize)]
struct Status {
    state: String,
    #[serde(default)]
    pid: i32,
}

/// Compares what is listed with what is so. Nobody else is at work; but what is about to be started again, or to end by
/// itself, comes to rest first.
fn untruths(docker: &Docker) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let truth = |found: &mut Vec<String>| -> Result<()> {
        found.clear();
        let listed = docker.ran(["ps", "-a", "--no-trunc"])?;
        let mut running = 0;
        for line in listed.stdout.lines().skip(1) {
            let id = line.split(' ').next().unwrap();
            let record =
                std::fs::read(docker.root.join("containers").join(id).join("record.json"))?;
            let record: Record = serde_json::from_slice(&record)?;
            let (state, pid) = (record.status.state, record.status.pid);
            let in_cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))
                .is_ok_and(|text| text.contains(id));
            let says_up = line.contains("Up ");
            if (state == "running") != says_up || says_up && !in_cgroup {
                found.push(format!(
                    "listed wrongly, {state}, pid {pid}, in its cgroup: {in_cgroup}: {line}"
                ));
            }
            if !says_up && !line.contains("Restarting") && in_cgroup {
                found.push(format!("still has processes: {line}"));
            }
            running += usize::from(says_up || line.contains("Restarting"));
        }
        let monitors = monitors(docker).len();
        if monitors != running {
            found.push(format!("{monitors} monitors for {running} containers:\n{}", listed.stdout));
        }
        if listed.stderr.contains("warning") {
            found.push(listed.stderr);
        }
        Ok(())
    };
    wait_until("what is listed is so", || truth(&mut found).map(|()| found.is_empty())).ok();
    Ok(found)
}

/// Starts them all before it waits for the first.
fn all_at_once(commands: impl Iterator<Item = Command>) -> Result<Vec<Ran>> {
    let children: Vec<Child> = commands
        .map(|mut command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn())
        .collect::<std::result::Result<_, _>>()?;
    children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output()?;
            Ok(Ran {
                code: output.status.code().unwrap_or(-1),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            })
        })
        .collect()
}

fn a_hundred_at_once_with_one_name(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let run = ["run", "-d", "--name", "same", "--network", "none", "busybox", "sleep", "1000"];
    let all = all_at_once((0..100).map(|_| docker.command(run)))?;
    let (won, lost): (Vec<&Ran>, Vec<&Ran>) = all.iter().partition(|ran| ran.code == 0);
    assert_eq!((won.len(), lost.len()), (1, 99), "{all:?}");
    let id = won[0].stdout.trim_end();
    let words = format!(
        "mini-docker: the container name `same` is already in use by container {}\nhint: ",
        &id[..12]
    );
    for ran in lost {
        assert_eq!((ran.code, ran.stdout.as_str()), (125, ""), "{ran:?}");
        assert!(ran.stderr.starts_with(&words), "{ran:?}");
    }
    assert_eq!(docker.ran(["ps", "-aq", "--no-trunc"])?.stdout.trim_end(), id);
    assert_eq!(untruths(&docker)?, Vec::<String>::new());
    clear(&docker)
}

fn a_hundred_at_once(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    assert_eq!(docker.ran(["run", "--rm", "-v", "/anonymous", "busybox", "true"])?.code, 0);
    let before = docker.footprint()?;
    let run = ["run", "-d", "busybox", "sleep", "1000"];
    let all = all_at_once((0..100).map(|_| docker.command(run)))?;
    for ran in &all {
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    }
    let mut ids: Vec<&str> = all.iter().map(|ran| ran.stdout.trim_end()).collect();
    let listed = docker.ran(["ps", "-q", "--no-trunc"])?.stdout;
    let mut listed: Vec<&str> = listed.lines().collect();
    ids.sort_unstable();
    listed.sort_unstable();
    assert_eq!(ids, listed);
    assert_eq!(untruths(&docker)?, Vec::<String>::new());
    // And they go at once, too.
    for ran in all_at_once(ids.iter().map(|id| docker.command(["rm", "-f", id])))? {
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    }
    wait_until("nothing is left", || Ok(docker.footprint()?.same_as(&before).is_ok()))
        .or_else(|_| docker.footprint()?.same_as(&before))
}
