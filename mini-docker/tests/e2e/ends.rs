//! Ends and starts at bad moments: a supervisor that is told to end while it takes the container down, a `restart` that is
//! killed, a disk that is full.

use std::fs::File;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Outcome, Sandbox, Test};

use crate::act::{TRAP, exit_code, ready, record, state};
use crate::policy::monitor;
use crate::support::{Docker, Result, wait_until};

pub const TESTS: &[Test] = &[
    ("a_monitor_hears_in_the_middle_of_a_clean_up", a_monitor_hears_in_the_middle_of_a_clean_up),
    ("a_monitor_hears_between_two_runs", a_monitor_hears_between_two_runs),
    ("a_killed_restart_leaves_nothing_of_rm", a_killed_restart_leaves_nothing_of_rm),
    ("a_failed_start_is_remembered", a_failed_start_is_remembered),
    ("an_end_on_a_full_disk_is_not_forgotten", an_end_on_a_full_disk_is_not_forgotten),
    ("a_full_disk_keeps_nobody_from_stopping", a_full_disk_keeps_nobody_from_stopping),
    ("a_pid_that_is_used_again_is_nobodys", a_pid_that_is_used_again_is_nobodys),
    ("input_that_nobody_reads_is_in_nobodys_way", input_that_nobody_reads_is_in_nobodys_way),
    ("a_keeper_that_nobody_listens_to_can_be_ended", a_keeper_that_nobody_listens_to_can_be_ended),
    ("many_visitors_are_no_trouble", many_visitors_are_no_trouble),
];

fn inspect(docker: &Docker, name: &str, template: &str) -> Result<String> {
    Ok(docker.ran(["inspect", "-f", template, name])?.stdout.trim_end().to_owned())
}

/// Whether a process waits for a lock of flock(2).
fn waits_for_a_lock(pid: Pid) -> Result<bool> {
    let locks = std::fs::read_to_string("/proc/locks")?;
    let pid = format!(" {pid} ");
    Ok(locks.lines().any(|line| line.contains("-> FLOCK") && line.contains(&pid)))
}

/// Whether a process has ended, collected or not.
fn has_gone(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

fn kill_process(docker: &Docker, name: &str) -> Outcome {
    let pid = record(docker, name)?["status"]["pid"].as_i64().unwrap_or_default();
    kill(Pid::from_raw(pid.try_into()?), Signal::SIGKILL)?;
    Ok(())
}

fn a_monitor_hears_in_the_middle_of_a_clean_up(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    ready(&docker, "web", &["--restart", "always", "--network", "bridge"], TRAP)?;
    let monitor = monitor(&docker, "web")?;
    // It wants this lock to take the container off the network.
    let lock = File::options().write(true).open(docker.run_root.join("networks/lock"))?;
    lock.lock()?;
    kill_process(&docker, "web")?;
    wait_until("it takes the container down", || waits_for_a_lock(monitor))?;
    kill(monitor, Signal::SIGTERM)?;
    drop(lock);
    wait_until("it has ended", || Ok(state(&docker, "web")? == "exited"))?;
    let ended = record(&docker, "web")?;
    assert_eq!((exit_code(&docker, "web")?, &ended["halted"]), (Some(137), &false.into()));
    assert_eq!(docker.ran(["rm", "web"])?.code, 0);
    Ok(())
}

fn a_monitor_hears_between_two_runs(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    ready(&docker, "fails", &["--restart", "always"], &format!("{TRAP}; exit 3"))?;
    let monitor = monitor(&docker, "fails")?;
    wait_until("its pauses are long enough", || {
        if state(&docker, "fails")? == "running" {
            kill_process(&docker, "fails").ok();
        }
        Ok(record(&docker, "fails")?["restarts"].as_i64() >= Some(5)
            && state(&docker, "fails")? == "restarting")
    })?;
    kill(monitor, Signal::SIGTERM)?;
    // By its own doing, not by that of a command that finds it dead.
    let id = std::fs::read_to_string(docker.root.join("names/fails"))?;
    let folder = docker.run_root.join("containers").join(id);
    wait_until("it lets go", || Ok(!folder.exists()))?;
    assert_eq!(state(&docker, "fails")?, "exited");
    assert_eq!(docker.ran(["rm", "fails"])?.code, 0);
    Ok(())
}

fn a_killed_restart_leaves_nothing_of_rm(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    assert_eq!(docker.sh(&["-v", "box:/shared"], ": > /shared/ready")?.code, 0);
    let before = docker.footprint()?;
    // Its end takes a moment.
    let slow = "trap ': > /shared/told; sleep 0.5; exit 7' TERM; rm -f /shared/told; : > /shared/ready; while :; do sleep 0.05; done";
    ready(&docker, "box", &["--rm"], slow)?;
    // Without an accident it is the same container as before, and still one that goes when it ends.
    let id = std::fs::read_to_string(docker.root.join("names/box"))?;
    let told = docker.root.join("volumes/box/_data/told");
    let file = docker.root.join("volumes/box/_data/ready");
    std::fs::remove_file(&file)?;
    assert_eq!(docker.ran(["restart", "box"])?.stdout, "box\n");
    wait_until("it is ready again", || Ok(file.exists()))?;
    assert_eq!(std::fs::read_to_string(docker.root.join("names/box"))?, id);
    assert_eq!(record(&docker, "box")?["auto_remove"], true);
    // Killed while the container ends, and killed when it has ended.
    let mut restart = docker.command(["restart", "box"]).stdout(Stdio::null()).spawn()?;
    wait_until("it is told", || Ok(told.exists()))?;
    restart.kill()?;
    restart.wait()?;
    wait_until("it is gone", || Ok(!docker.root.join("names/box").exists()))?;

    ready(&docker, "box", &["--rm"], slow)?;
    let pid = monitor(&docker, "box")?;
    let mut restart = docker.command(["restart", "box"]).stdout(Stdio::null()).spawn()?;
    wait_until("it is told", || Ok(told.exists()))?;
    // Stopped, it cannot start it again.
    let restarts = Pid::from_raw(restart.id() as i32);
    kill(restarts, Signal::SIGSTOP)?;
    wait_until("it has ended", || Ok(state(&docker, "box")? == "exited"))?;
    wait_until("its monitor has gone", || Ok(has_gone(pid)))?;
    // Nobody else takes it away meanwhile.
    assert!(docker.ran(["ps", "-a"])?.stdout.contains("Exited (7)"));
    restart.kill()?;
    restart.wait()?;
    assert_eq!(docker.ran(["ps", "-aq"])?.stdout, "");
    std::fs::remove_file(told)?;
    wait_until("nothing is left", || Ok(docker.footprint()?.same_as(&before).is_ok()))
        .or_else(|_| docker.footprint()?.same_as(&before))?;
    Ok(())
}

fn a_failed_start_is_remembered(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let state = "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}";
    let run = ["run", "-d", "--name", "bad", "--network", "none", "busybox", "nosuch"];
    let ran = docker.ran(run)?;
    assert_eq!(ran.code, 127, "{ran:?}");
    let told = ran.stderr.lines().next().unwrap_or_default();
    let told = told.strip_prefix("mini-docker: ").ok_or("no message")?;
    assert_eq!(inspect(&docker, "bad", state)?, format!("created 127 {told}"));
    assert_eq!(docker.ran(["wait", "bad"])?.stdout, "127\n");

    // One that could be started before, and can be again.
    let bind = sandbox.path("bind");
    std::fs::create_dir(&bind)?;
    let volume = format!("{}:/bind", bind.display());
    let run = ["run", "--name", "box", "--network", "none", "-v", &volume, "busybox"];
    assert_eq!(docker.ran(run.iter().chain(&["sh", "-c", "exit 3"]))?.code, 3);
    assert_eq!(inspect(&docker, "box", state)?, "exited 3");
    let finished = inspect(&docker, "box", "{{.State.FinishedAt}}")?;
    assert!(finished.starts_with("20"), "{finished}");
    std::fs::remove_dir(&bind)?;
    assert_eq!(docker.ran(["start", "box"])?.code, 1);
    let told = inspect(&docker, "box", state)?;
    assert!(told.starts_with("exited 128 ") && told.contains("bind"), "{told}");
    assert_eq!(inspect(&docker, "box", "{{.State.FinishedAt}}")?, finished);
    std::fs::create_dir(&bind)?;
    assert_eq!(docker.ran(["start", "-a", "box"])?.code, 3);
    assert_eq!(inspect(&docker, "box", state)?, "exited 3");
    assert_eq!(docker.ran(["rm", "bad", "box"])?.code, 0);

    // While it runs again, the end of the run before is still known, also to the next but one.
    ready(&docker, "again", &[], TRAP)?;
    assert_eq!(inspect(&docker, "again", "{{.State.FinishedAt}}")?, "0001-01-01T00:00:00Z");
    assert_eq!(docker.ran(["stop", "again"])?.code, 0);
    let finished = inspect(&docker, "again", "{{.State.FinishedAt}}")?;
    assert_eq!(docker.ran(["start", "again"])?.code, 0);
    assert_eq!(
        inspect(&docker, "again", "{{.State.Status}} {{.State.FinishedAt}}")?,
        format!("running {finished}")
    );
    assert_eq!(docker.ran(["rm", "-f", "again"])?.code, 0);
    Ok(())
}

/// The folder of the containers on a disk that can be filled, and is given back whatever happens.
struct Small {
    place: std::path::PathBuf,
}

impl Small {
    fn new(docker: &Docker) -> Result<Self> {
        let place = docker.root.join("containers");
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(&place).status()?;
        assert!(status.success());
        Ok(Self { place })
    }

    fn fill(&self) -> Outcome {
        let filler = File::create(self.place.join("filler"))?;
        let mut filler = std::io::BufWriter::with_capacity(4096, filler);
        assert!(std::io::copy(&mut std::io::repeat(0), &mut filler).is_err());
        Ok(())
    }

    fn empty(&self) -> Outcome {
        Ok(std::fs::remove_file(self.place.join("filler"))?)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.place).status().ok();
    }
}

fn an_end_on_a_full_disk_is_not_forgotten(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let small = Small::new(&docker)?;
    ready(&docker, "once", &[], TRAP)?;
    ready(&docker, "always", &["--restart", "always"], TRAP)?;
    let started = record(&docker, "always")?["status"]["started"].clone();
    small.fill()?;
    for name in ["once", "always"] {
        let pid = record(&docker, name)?["status"]["pid"].as_i64().unwrap_or_default();
        kill(Pid::from_raw(pid.try_into()?), Signal::SIGTERM)?;
        let folder = docker
            .run_root
            .join("containers")
            .join(std::fs::read_to_string(docker.root.join("names").join(name))?);
        wait_until("it has ended", || Ok(folder.join("ended").exists()))?;
    }
    // A command that cannot write it down either does not lose it.
    assert_eq!(docker.ran(["ps"])?.code, 0);
    small.empty()?;
    wait_until("there is room for it", || {
        docker.ran(["ps"])?;
        Ok(state(&docker, "once")? == "exited")
    })?;
    assert_eq!(exit_code(&docker, "once")?, Some(7));
    // Its monitor has not given up.
    wait_until("it runs again", || {
        let now = record(&docker, "always")?;
        Ok(now["status"]["state"] == "running" && now["status"]["started"] != started)
    })?;
    // And has counted, though it could not write.
    kill_process(&docker, "always")?;
    wait_until("it is written down", || {
        Ok(record(&docker, "always")?["restarts"].as_i64() > Some(1))
    })?;
    assert_eq!(docker.ran(["rm", "-f", "once", "always"])?.code, 0);
    drop(small);
    Ok(())
}

fn a_full_disk_keeps_nobody_from_stopping(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let small = Small::new(&docker)?;
    for end in [&["stop"][..], &["kill"], &["rm", "-f"]] {
        ready(&docker, "web", &["--restart", "always"], TRAP)?;
        let monitor = monitor(&docker, "web")?;
        small.fill()?;
        let ran = docker.ran(end.iter().chain(&["web"]))?;
        wait_until("its monitor goes", || Ok(has_gone(monitor)))
            .map_err(|error| format!("{error}: {ran:?}"))?;
        small.empty()?;
        if end != ["rm", "-f"] {
            docker.ran(["ps"])?;
            let code = if end == ["stop"] { 7 } else { 137 };
            assert_eq!(
                (state(&docker, "web")?.as_str(), exit_code(&docker, "web")?),
                ("exited", Some(code))
            );
            assert_eq!(docker.ran(["start", "web"])?.code, 0);
            assert_eq!(docker.ran(["rm", "-f", "web"])?.code, 0);
        }
        assert_eq!(docker.ran(["ps", "-aq"])?.stdout, "");
    }
    drop(small);
    Ok(())
}

/// The end of its process was seen and is not written down yet, and somebody else has got the pid.
fn a_pid_that_is_used_again_is_nobodys(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    ready(&docker, "box", &[], TRAP)?;
    let mut other = Command::new("sleep").arg("1000").spawn()?;
    let id = std::fs::read_to_string(docker.root.join("names/box"))?;
    let file = docker.root.join("containers").join(id).join("record.json");
    let text = std::fs::read_to_string(&file)?;
    let pid = record(&docker, "box")?["status"]["pid"].to_string();
    std::fs::write(
        &file,
        text.replace(&format!("\"pid\":{pid}"), &format!("\"pid\":{}", other.id())),
    )?;
    assert_eq!(record(&docker, "box")?["status"]["pid"], other.id());
    for act in [&["kill", "-s", "TERM", "box"][..], &["exec", "box", "true"], &["pause", "box"]] {
        let ran = docker.ran(act)?;
        assert!(ran.code == 1 && ran.stderr.contains("is not running"), "{act:?} {ran:?}");
    }
    let run = ["run", "--rm", "--network", "container:box", "busybox", "true"];
    let ran = docker.ran(run)?;
    assert!(ran.code == 125 && ran.stderr.contains("is not running"), "{ran:?}");
    assert_eq!(docker.ran(["rm", "-f", "box"])?.code, 0);
    assert!(other.try_wait()?.is_none(), "somebody else was killed");
    other.kill()?;
    other.wait()?;
    Ok(())
}

fn input_that_nobody_reads_is_in_nobodys_way(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script = "trap 'exit 7' INT; exec <&-; echo closed; while :; do sleep 0.05; done";
    let run = ["run", "-i", "--name", "box", "--network", "none", "busybox", "sh", "-c", script];
    let mut command = docker.command(run);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(child.stdout.take().unwrap()),
        &mut line,
    )?;
    assert_eq!(line, "closed\n");
    // More than fits into any pipe between.
    let mut stdin = child.stdin.take().unwrap();
    nix::fcntl::fcntl(&stdin, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    let mut left = 4 << 20;
    wait_until("it is taken", || {
        while left > 0 {
            match std::io::Write::write(&mut stdin, &vec![b'x'; left]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                written => left -= written?,
            }
        }
        Ok(left == 0)
    })
    .inspect_err(|_| drop(child.kill()))?;
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT)?;
    wait_until("the signal has come", || Ok(child.try_wait()?.is_some()))?;
    assert_eq!(child.wait()?.code(), Some(7));
    assert_eq!(docker.ran(["rm", "box"])?.code, 0);
    Ok(())
}

fn a_keeper_that_nobody_listens_to_can_be_ended(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    ready(&docker, "box", &[], TRAP)?;
    let mut client = docker
        .command(["exec", "-t", "box", "sh", "-c", ": > /shared/in; while ! test -e /shared/go; do sleep 0.05; done; seq 1 30000; : > /shared/out; sleep 1000"])
        .stdout(Stdio::null())
        .spawn()?;
    let shared = docker.root.join("volumes/box/_data");
    wait_until("it runs", || Ok(shared.join("in").exists()))?;
    let mut keepers = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name == "mini-docker:exe\n" {
            keepers.push(entry.file_name().to_string_lossy().parse()?);
        }
    }
    let [keeper] = keepers[..] else { return Err(format!("{keepers:?}").into()) };
    let keeper = Pid::from_raw(keeper);
    kill(Pid::from_raw(client.id() as i32), Signal::SIGSTOP)?;
    std::fs::write(shared.join("go"), "")?;
    // More than fits into the line to the client.
    wait_until("it has written", || Ok(shared.join("out").exists()))?;
    // Its process has ended with the container; what it has written is still to be told.
    assert_eq!(docker.ran(["rm", "-f", "box"])?.code, 0);
    wait_until("it is asked to end, and does", || {
        kill(keeper, Signal::SIGTERM).ok();
        Ok(has_gone(keeper))
    })?;
    client.kill()?;
    client.wait()?;
    Ok(())
}

/// More than a process may have descriptors.
fn many_visitors_are_no_trouble(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let descriptors = nix::sys::resource::Resource::RLIMIT_NOFILE;
    nix::sys::resource::setrlimit(descriptors, 1024, 4096)?;
    ready(&docker, "box", &["--restart", "always"], TRAP)?;
    nix::sys::resource::setrlimit(descriptors, 4096, 4096)?;
    let id = std::fs::read_to_string(docker.root.join("names/box"))?;
    let folder = docker.run_root.join("containers").join(id);
    let visitors: Vec<_> = (0..1100)
        .map(|_| mini_docker::wire::visit(&folder))
        .collect::<std::result::Result<Option<Vec<_>>, _>>()?
        .ok_or("no monitor")?;
    let monitor = monitor(&docker, "box")?;
    let ticks = || -> Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{monitor}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
    };
    kill_process(&docker, "box")?;
    wait_until("it is started again", || {
        Ok(state(&docker, "box")? == "running" && record(&docker, "box")?["restarts"] == 1)
    })?;
    let before = ticks()?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    let used = ticks()? - before;
    assert!(used < 50, "it uses {used} % of a processor");
    drop(visitors);
    assert_eq!(docker.ran(["stop", "box"])?.code, 0);
    assert_eq!(docker.ran(["rm", "box"])?.code, 0);
    Ok(())
}
