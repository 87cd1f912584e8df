//! `exec`: one more process in a container that runs.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use rexpect::session::{PtySession, spawn_command};
use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Ran, Result, finish, transcript, wait_until};

pub const TESTS: &[Test] = &[
    ("exec_is_where_the_container_is", exec_is_where_the_container_is),
    ("exec_may_what_the_container_may", exec_may_what_the_container_may),
    ("exec_flags_change_the_process", exec_flags_change_the_process),
    ("exec_says_what_is_wrong", exec_says_what_is_wrong),
    ("exec_streams_are_the_users", exec_streams_are_the_users),
    ("exec_in_the_background", exec_in_the_background),
    ("exec_ends_with_its_container", exec_ends_with_its_container),
    ("exec_into_what_is_ending", exec_into_what_is_ending),
    ("exec_outlives_its_client", exec_outlives_its_client),
    ("a_stopped_client_holds_up_nobody", a_stopped_client_holds_up_nobody),
    ("exec_waits_for_the_containers_root", exec_waits_for_the_containers_root),
    ("exec_at_a_terminal", exec_at_a_terminal),
    ("term_is_that_of_a_terminal", term_is_that_of_a_terminal),
    ("exec_is_left_by_the_detach_keys", exec_is_left_by_the_detach_keys),
    ("a_signal_restores_the_terminal_of_exec", a_signal_restores_the_terminal_of_exec),
    ("exec_shows_the_container_nothing_of_the_host", exec_shows_the_container_nothing_of_the_host),
    ("exec_cannot_be_led_out_of_the_container", exec_cannot_be_led_out_of_the_container),
];

/// A container `box` that runs until it is removed.
fn with_box(sandbox: &Sandbox, flags: &[&str]) -> Result<Docker> {
    let docker = Docker::with_busybox(sandbox)?;
    run_box(&docker, flags, "trap 'exit 3' TERM; while :; do sleep 0.1; done")?;
    Ok(docker)
}

fn run_box(docker: &Docker, flags: &[&str], script: &str) -> Outcome {
    let run = ["run", "-d", "--name", "box", "--network", "none"];
    let ran = docker.ran(run.iter().chain(flags).chain(&["busybox", "sh", "-c", script]))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Ok(())
}

fn remove(docker: &Docker) -> Outcome {
    let ran = docker.ran(["rm", "-f", "box"])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Ok(())
}

/// Runs `exec FLAGS box sh -c SCRIPT`.
fn exec(docker: &Docker, flags: &[&str], script: &str) -> Result<Ran> {
    docker.ran(["exec"].iter().chain(flags).chain(&["box", "sh", "-c", script]))
}

/// What a script of `exec` prints, if it ends well.
fn said(docker: &Docker, flags: &[&str], script: &str) -> Result<String> {
    let ran = exec(docker, flags, script)?;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    Ok(ran.stdout)
}

/// Pid of the container's first process.
fn first_pid(docker: &Docker) -> Result<String> {
    let ran = docker.ran(["inspect", "-f", "{{.State.Pid}}", "box"])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Ok(ran.stdout.trim().to_owned())
}

/// The process, as the host sees it, whose arguments are these.
fn host_pid(arguments: &[&str]) -> Result<Option<String>> {
    let wanted: String = arguments.iter().map(|argument| format!("{argument}\0")).collect();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        if std::fs::read_to_string(entry.path().join("cmdline")).is_ok_and(|line| line == wanted) {
            return Ok(Some(entry.file_name().to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn exec_is_where_the_container_is(sandbox: &Sandbox) -> Outcome {
    let docker = with_box(sandbox, &["-h", "inside"])?;
    let namespaces = |pid: &str| -> Result<BTreeSet<String>> {
        let entries = std::fs::read_dir(format!("/proc/{pid}/ns"))?;
        entries
            .map(|entry| {
                let entry = entry?;
                let link = std::fs::read_link(entry.path())?;
                Ok(format!("{} {}", entry.file_name().display(), link.display()))
            })
            .collect()
    };
    assert_eq!(docker.ran(["exec", "-d", "box", "sleep", "4711"])?.code, 0);
    let (first, other) = (first_pid(&docker)?, host_pid(&["sleep", "4711"])?.unwrap());
    assert_eq!(namespaces(&other)?, namespaces(&first)?);
    assert_ne!(namespaces(&other)?, namespaces("self")?);
    let file =
        |pid: &str, name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    assert_eq!(file(&other, "cgroup"), file(&first, "cgroup"));
    assert_ne!(file(&other, "cgroup"), file("self", "cgroup"));
    assert_eq!(file(&other, "mountinfo"), file(&first, "mountinfo"));
    // It sees what the container sees, and its parent is nobody in there.
    let seen = said(
        &docker,
        &[],
        "hostname; cat /proc/$$/cgroup | cut -d: -f3 | sort -u; ps -o ppid,args | grep 471[1]",
    )?;
    assert_eq!(seen, "inside\n/\n    0 sleep 4711\n");
    remove(&docker)?;

    // With namespaces of the host there is less to join.
    run_box(&docker, &["--pid", "host", "--uts", "host"], "exec sleep 4712")?;
    assert_eq!(docker.ran(["exec", "-d", "box", "sleep", "4713"])?.code, 0);
    let (first, other) = (first_pid(&docker)?, host_pid(&["sleep", "4713"])?.unwrap());
    assert_eq!(namespaces(&other)?, namespaces(&first)?);
    remove(&docker)?;
    assert_eq!(host_pid(&["sleep", "4713"])?, None, "it ends with the container");
    Ok(())
}

fn exec_may_what_the_container_may(sandbox: &Sandbox) -> Outcome {
    let flags = ["--cap-drop", "CHOWN", "--cap-add", "SYS_TIME", "--ulimit", "nofile=123:456"];
    let docker = with_box(sandbox, &[&flags[..], &["--oom-score-adj", "77"]].concat())?;
    let script = "grep -E '^(Cap|NoNewPrivs|Uid|Gid|Groups)' /proc/$1/status; \
                  cat /proc/$1/oom_score_adj; grep 'open files' /proc/$1/limits";
    let ask = |who: &str| said(&docker, &[], &format!("set -- {who}; {script}"));
    let (first, own) = (ask("1")?, ask("self")?);
    assert_eq!(first, own);
    assert!(own.contains("\n77\n") && own.contains(" 123 "), "{own}");
    // All that the runtime has, that is: all that is in its own bounding set.
    let own = std::fs::read_to_string("/proc/self/status")?;
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap().trim();
    let privileged =
        said(&docker, &["--privileged"], "grep -E 'CapEff|NoNewPrivs' /proc/self/status")?;
    assert_eq!(privileged, format!("CapEff:\t{own}\nNoNewPrivs:\t0\n"));
    remove(&docker)
}

fn exec_flags_change_the_process(sandbox: &Sandbox) -> Outcome {
    let docker = with_box(sandbox, &["-e", "A=1", "-e", "B=2", "-w", "/tmp"])?;
    assert_eq!(said(&docker, &[], "pwd; echo $A $B $HOME $TERM")?, "/tmp\n1 2 /root\n");
    let file = sandbox.path("variables");
    std::fs::write(&file, "# a comment\nB=file\nD=file\n")?;
    let flags =
        ["--env-file", file.to_str().unwrap(), "-e", "C=3", "-e", "A", "-e", "D=x=y", "-w", "/etc"];
    assert_eq!(said(&docker, &flags, "pwd; echo $A-$B $C $D")?, "/etc\n-file 3 x=y\n");
    // Users are those of the container as it is now.
    said(
        &docker,
        &[],
        "echo app:x:1000:1001::/home/app:/bin/sh >> /etc/passwd; echo more:x:5:app >> /etc/group",
    )?;
    let ids = "echo $(id -u):$(id -g) $(id -G) $HOME";
    assert_eq!(said(&docker, &["-u", "app"], ids)?, "1000:1001 1001 5 /home/app\n");
    assert_eq!(said(&docker, &["-u", "7:8"], ids)?, "7:8 8 /\n");
    assert_eq!(said(&docker, &["-u", "app", "-e", "HOME=/x"], ids)?, "1000:1001 1001 5 /x\n");
    let effective = "grep CapEff /proc/self/status";
    assert_eq!(said(&docker, &["-u", "app"], effective)?, "CapEff:\t0000000000000000\n");
    // It can open its streams by name.
    assert_eq!(said(&docker, &["-u", "app"], "echo by name > /dev/stdout")?, "by name\n");
    remove(&docker)?;
    // A user and a home that were chosen for the container count here, too.
    run_box(&docker, &["-u", "3:4", "-e", "HOME=/chosen"], "exec sleep 1000")?;
    assert_eq!(said(&docker, &[], ids)?, "3:4 4 /chosen\n");
    assert_eq!(said(&docker, &["-u", "0"], ids)?, "0:0 0 /chosen\n");
    remove(&docker)
}

fn exec_says_what_is_wrong(sandbox: &Sandbox) -> Outcome {
    let docker = with_box(sandbox, &[])?;
    assert_eq!(docker.ran(["create", "--name", "idle", "busybox"])?.code, 0);
    let mut text = String::new();
    for arguments in [
        &["exec", "box", "sh", "-c", "exit 42"][..],
        &["exec", "box", "sh", "-c", "kill -9 $$"],
        &["exec", "box", "nosuch"],
        &["exec", "box", "/etc"],
        &["exec", "-u", "nosuch", "box", "true"],
        &["exec", "-w", "/nosuch", "box", "true"],
        &["exec", "-w", "etc", "box", "true"],
        &["exec", "-it", "box", "true"],
        &["exec", "-d", "box", "nosuch"],
        &["exec", "idle", "true"],
        &["exec", "nosuch", "true"],
        &["exec", "box"],
        &["exec", "--detach-keys", "ctrl-1", "box", "true"],
    ] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    let id = std::fs::read_to_string(docker.root.join("names/box"))?;
    let engine = std::fs::read_to_string(docker.root.join("id"))?;
    let cgroup = format!("mini-docker-{engine}/{id}");
    let cgroup = cgroups::Cgroup::open(&cgroups::Hierarchies::detect()?, &cgroup)?;
    cgroup.freeze()?;
    let paused = transcript(&docker, sandbox, &["exec", "box", "true"]);
    cgroup.thaw()?;
    text.push_str(&paused?);
    insta::assert_snapshot!(text);
    remove(&docker)
}

fn exec_streams_are_the_users(sandbox: &Sandbox) -> Outcome {
    let docker = with_box(sandbox, &[])?;
    // Only with -i is there anything to read.
    let mut command = docker.command(["exec", "box", "cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().unwrap().write_all(b"not for you").ok();
    assert_eq!(child.wait_with_output()?.stdout, b"");
    // A pipe through and through.
    let mut command = docker.command(["exec", "-i", "box", "wc", "-c"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().unwrap().write_all(&vec![b'x'; 10_000_000])?;
    assert_eq!(child.wait_with_output()?.stdout, b"10000000\n");
    // Files of the host stay outside, and what is in them arrives whole.
    let input = sandbox.path("input");
    std::fs::write(&input, vec![b'y'; 3_000_000])?;
    let (output, errors) = (sandbox.path("output"), sandbox.path("errors"));
    let script = "for n in 0 1 2; do readlink /proc/$$/fd/$n; done | cat >&2; cat";
    let mut command = docker.command(["exec", "-i", "box", "sh", "-c", script]);
    command
        .stdin(File::open(&input)?)
        .stdout(File::create(&output)?)
        .stderr(File::create(&errors)?);
    assert!(command.status()?.success());
    assert_eq!(std::fs::read(&output)?, std::fs::read(&input)?);
    let links = std::fs::read_to_string(&errors)?;
    assert!(
        links.lines().count() == 3 && links.lines().all(|link| link.starts_with("pipe:")),
        "{links}"
    );
    // Nothing else is open.
    assert_eq!(said(&docker, &[], "echo /proc/self/fd/*")?.matches("/fd/").count(), 4);
    // A reader that goes is noticed.
    let shell =
        format!("{} exec box cat /dev/zero | head -c 1 | wc -c", env!("CARGO_BIN_EXE_mini-docker"));
    let mut command = Command::new("sh");
    command.arg("-c").arg(shell);
    command.env("MINI_DOCKER_ROOT", &docker.root).env("MINI_DOCKER_RUN_ROOT", &docker.run_root);
    assert_eq!(finish(&mut command)?.stdout.trim(), "1");
    remove(&docker)
}

fn exec_in_the_background(sandbox: &Sandbox) -> Outcome {
    let docker = with_box(sandbox, &[])?;
    let script = "for n in 0 1 2; do readlink /proc/$$/fd/$n; done | cat > /links; \
                  echo nowhere; mv /links /done; exec sleep 4714";
    let ran = exec(&docker, &["-d"], script)?;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
    wait_until("it has run", || Ok(exec(&docker, &[], "cat /done")?.code == 0))?;
    assert_eq!(said(&docker, &[], "cat /done")?, "/dev/null\n".repeat(3));
    wait_until("it runs on", || Ok(host_pid(&["sleep", "4714"])?.is_some()))?;
    // With a terminal that nobody sees.
    let ran = exec(&docker, &["-dt"], "tty > /tty; yes | head -c 1000000; mv /tty /seen")?;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
    wait_until("its terminal is read", || Ok(exec(&docker, &[], "cat /seen")?.code == 0))?;
    assert_eq!(said(&docker, &[], "cat /seen")?, "/dev/pts/0\n");
    remove(&docker)?;
    assert_eq!(host_pid(&["sleep", "4714"])?, None);
    Ok(())
}

fn exec_ends_with_its_container(sandbox: &Sandbox) -> Outcome {
    let docker = with_box(sandbox, &[])?;
    let mut child = docker.command(["exec", "box", "sleep", "4715"]).spawn()?;
    wait_until("it runs", || Ok(host_pid(&["sleep", "4715"])?.is_some()))?;
    remove(&docker)?;
    assert_eq!(child.wait()?.code(), Some(137));
    // By itself, too.
    run_box(&docker, &[], "trap 'exit 3' TERM; while :; do sleep 0.1; done")?;
    let child = docker.command(["exec", "box", "sleep", "4715"]).spawn()?;
    wait_until("it runs", || Ok(host_pid(&["sleep", "4715"])?.is_some()))?;
    assert_eq!(exec(&docker, &[], "kill 1")?.stderr, "");
    assert_eq!(child.wait_with_output()?.status.code(), Some(137));
    wait_until("it has ended", || Ok(docker.ran(["ps", "-a"])?.stdout.contains("Exited (3)")))?;
    let late = exec(&docker, &[], "true")?;
    assert_eq!((late.code, late.stderr.contains("is not running")), (1, true), "{late:?}");
    remove(&docker)
}

/// Process 1 has let go of its namespaces, and waits until all others in its pid namespace were collected.
fn exec_into_what_is_ending(sandbox: &Sandbox) -> Outcome {
    let docker = with_box(sandbox, &[])?;
    assert_eq!(docker.ran(["exec", "-d", "box", "sleep", "4720"])?.code, 0);
    let pid = host_pid(&["sleep", "4720"])?.unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let keeper = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default();
    let keeper = nix::unistd::Pid::from_raw(keeper.trim().parse()?);
    nix::sys::signal::kill(keeper, nix::sys::signal::Signal::SIGSTOP)?;
    let first = first_pid(&docker)?;
    let number = nix::unistd::Pid::from_raw(first.parse()?);
    nix::sys::signal::kill(number, nix::sys::signal::Signal::SIGKILL)?;
    wait_until(
        "it is ending",
        || Ok(std::fs::read_link(format!("/proc/{first}/ns/mnt")).is_err()),
    )?;
    let late = exec(&docker, &[], "true")?;
    assert_eq!((late.code, late.stderr.contains("is not running")), (1, true), "{late:?}");
    nix::sys::signal::kill(keeper, nix::sys::signal::Signal::SIGCONT)?;
    remove(&docker)
}

fn exec_outlives_its_client(sandbox: &Sandbox) -> Outcome {
    let docker = with_box(sandbox, &[])?;
    let script =
        "echo first; while ! test -e /go; do sleep 0.05; done; echo more; echo survived > /state";
    for flags in [&[][..], &["-t"]] {
        said(&docker, &[], "rm -f /go /state")?;
        // A file, so that somebody must carry what is written.
        let output = sandbox.path("output");
        let mut command =
            docker.command(["exec"].iter().chain(flags).chain(&["box", "sh", "-c", script]));
        let mut child = command.stdout(File::create(&output)?).spawn()?;
        wait_until("it runs", || Ok(std::fs::read_to_string(&output)?.starts_with("first")))?;
        child.kill()?;
        child.wait()?;
        said(&docker, &[], "touch /go")?;
        wait_until("it goes on", || Ok(exec(&docker, &[], "cat /state")?.code == 0))?;
    }
    // ctrl-c ends the client, not the command.
    let mut child = docker.command(["exec", "box", "sleep", "4716"]).spawn()?;
    wait_until("it runs", || Ok(host_pid(&["sleep", "4716"])?.is_some()))?;
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT)?;
    assert_eq!(child.wait()?.code(), Some(130));
    assert!(host_pid(&["sleep", "4716"])?.is_some());
    remove(&docker)
}

/// The kernel does not let process 1 go before every process of its pid namespace was collected by its parent.
fn a_stopped_client_holds_up_nobody(sandbox: &Sandbox) -> Outcome {
    let docker = with_box(sandbox, &[])?;
    let mut child = docker.command(["exec", "box", "sleep", "4717"]).spawn()?;
    wait_until("it runs", || Ok(host_pid(&["sleep", "4717"])?.is_some()))?;
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP)?;
    let removed = remove(&docker);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT)?;
    assert_eq!(child.wait()?.code(), Some(137));
    removed
}

/// The record says early that a container runs: until it is in its root, its first process sees the host's.
fn exec_waits_for_the_containers_root(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    for _ in 0..15 {
        let run = ["run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000"];
        let mut start = docker.command(run).stdout(Stdio::null()).spawn()?;
        let mut ran = None;
        wait_until("it runs", || {
            let tried = docker.ran(["exec", "box", "ls", "/"])?;
            let runs = tried.code == 0;
            ran = runs.then_some(tried.stdout);
            Ok(runs)
        })?;
        assert_eq!(ran.unwrap(), "bin\ndev\netc\nproc\nroot\nsys\ntmp\n");
        assert!(start.wait()?.success());
        remove(&docker)?;
    }
    Ok(())
}

/// A shell on a terminal, in which `box` stands for `mini-docker exec`.
fn shell(docker: &Docker) -> Result<PtySession> {
    let mut command = Command::new("/bin/busybox");
    command.arg("sh").env("PS1", "host> ").env("BOX", env!("CARGO_BIN_EXE_mini-docker"));
    command.env("MINI_DOCKER_ROOT", &docker.root).env("MINI_DOCKER_RUN_ROOT", &docker.run_root);
    let mut session = spawn_command(command, Some(20_000))?;
    session.exp_string("host> ")?;
    Ok(session)
}

fn resize(session: &PtySession, rows: u16, cols: u16) -> Outcome {
    let pty = session.process().get_file_handle()?;
    let size = syscalls::tty::Size { rows, cols };
    syscalls::tty::set_size(std::os::fd::AsFd::as_fd(&pty), size)?;
    Ok(())
}

/// Ends the host's shell: it would ignore the signal by which the session is ended otherwise.
fn leave(mut session: PtySession) -> Outcome {
    session.send_line("exit")?;
    session.exp_eof()?;
    Ok(())
}

fn exec_at_a_terminal(sandbox: &Sandbox) -> Outcome {
    let docker = with_box(sandbox, &[])?;
    let mut session = shell(&docker)?;
    resize(&session, 43, 132)?;
    session.send_line("$BOX exec -it box stty size")?;
    session.exp_string("43 132")?;
    session.exp_string("host> ")?;
    session.send_line("A=$(stty -g); $BOX exec -it -e PS1='in> ' box sh")?;
    session.exp_string("in> ")?;
    session.send_line("tty; test -t 0 && echo ter''minal; echo $TERM")?;
    session.exp_string("/dev/pts/0")?;
    session.exp_string("terminal")?;
    session.exp_string("xterm")?;
    session.exp_string("in> ")?;
    session.send_line("exit")?;
    session.exp_string("host> ")?;
    session.send_line(
        "$BOX exec -it box sh -c \"trap 'stty size' WINCH; echo re''ady; while :; do sleep 0.1; done\"",
    )?;
    session.exp_string("ready")?;
    resize(&session, 20, 70)?;
    session.exp_string("20 70")?;
    session.send_control('c')?;
    session.exp_string("host> ")?;
    session.send_line("$BOX exec -it box sh")?;
    session.exp_string("/ # ")?;
    session.send_line("exit 9")?;
    session.exp_string("host> ")?;
    session.send_line("echo code $?; test \"$A\" = \"$(stty -g)\" && echo sa''me")?;
    session.exp_string("code 9")?;
    session.exp_string("same")?;
    session.exp_string("host> ")?;
    // A terminal that dies.
    session.send_line("$BOX exec -it box sh -c 'echo re\"\"ady; sleep 1000'; echo code $?")?;
    session.exp_string("ready")?;
    remove(&docker)?;
    session.exp_string("code 137")?;
    session.exp_string("host> ")?;
    leave(session)
}

/// As Docker: what has a terminal has TERM, whether or not the container's own process has either.
fn term_is_that_of_a_terminal(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    for (flags, without, with) in [
        (&[][..], "no", "xterm"),
        (&["-t"], "no", "xterm"),
        (&["-e", "TERM=vt100"], "vt100", "vt100"),
        (&["-t", "-e", "TERM=xterm"], "xterm", "xterm"),
    ] {
        run_box(&docker, flags, "sleep 1000")?;
        let script = "echo ${TERM-no}";
        assert_eq!(said(&docker, &[], script)?, format!("{without}\n"), "{flags:?}");
        assert_eq!(said(&docker, &["-t"], script)?, format!("{with}\r\n"), "{flags:?}");
        assert_eq!(said(&docker, &["-e", "TERM=dumb"], script)?, "dumb\n");
        remove(&docker)?;
    }
    Ok(())
}

fn exec_is_left_by_the_detach_keys(sandbox: &Sandbox) -> Outcome {
    let docker = with_box(sandbox, &[])?;
    let mut session = shell(&docker)?;
    let waits = "echo re\"\"ady; while ! test -e /go; do sleep 0.05; done; tty > /alive";
    for (flags, keys) in [("", &['p', 'q'][..]), ("--detach-keys ctrl-a", &['a'])] {
        said(&docker, &[], "rm -f /go /alive")?;
        session.send_line(&format!("$BOX exec -it {flags} box sh -c '{waits}'; echo code $?"))?;
        session.exp_string("ready")?;
        for key in keys {
            session.send_control(*key)?;
        }
        session.exp_string("code 0")?;
        session.exp_string("host> ")?;
        // Nobody has hung up: it writes to its terminal.
        said(&docker, &[], "touch /go")?;
        wait_until("it goes on", || Ok(exec(&docker, &[], "cat /alive")?.code == 0))?;
    }
    remove(&docker)?;
    leave(session)
}

fn a_signal_restores_the_terminal_of_exec(sandbox: &Sandbox) -> Outcome {
    let docker = with_box(sandbox, &[])?;
    let mut session = shell(&docker)?;
    session.send_line("A=$(stty -g); $BOX exec -it box sh -c 'echo re\"\"ady; exec sleep 4718'")?;
    session.exp_string("ready")?;
    let binary = env!("CARGO_BIN_EXE_mini-docker");
    let script = "echo re\"\"ady; exec sleep 4718";
    let mut client = None;
    wait_until("the client is there", || {
        // The keeper has the same arguments, but not the terminal.
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let line = format!("{binary}\0exec\0-it\0box\0sh\0-c\0{script}\0");
            let own = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            let stdin = std::fs::read_link(entry.path().join("fd/0")).unwrap_or_default();
            if own == line && stdin.starts_with("/dev/pts") {
                client = Some(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(client.is_some())
    })?;
    let pid = nix::unistd::Pid::from_raw(client.unwrap().parse()?);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
    session.exp_string("host> ")?;
    session.send_line("echo code $?; test \"$A\" = \"$(stty -g)\" && echo sa''me")?;
    session.exp_string("code 143")?;
    session.exp_string("same")?;
    assert!(host_pid(&["sleep", "4718"])?.is_some(), "the command runs on");
    remove(&docker)?;
    leave(session)
}

/// CVE-2016-9962, CVE-2019-5736: before its exec the new process is the runtime, among the container's own.
fn exec_shows_the_container_nothing_of_the_host(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let watch = "while :; do for p in /proc/[0-9]*; do readlink $p/exe; readlink $p/cwd; \
                 for f in $p/fd/*; do readlink $f; done; done; done 2>/dev/null \
                 | grep -v -e ^/bin/busybox -e ^pipe: -e ^/dev/null -e '^/$' -e ^/proc/ -e '^/seen$' > /seen";
    run_box(&docker, &[], watch)?;
    for _ in 0..25 {
        assert_eq!(said(&docker, &[], "echo here")?, "here\n");
    }
    assert_eq!(said(&docker, &[], "cat /seen")?, "");
    // Who is made to stay the runtime shows a file that nobody can change.
    let mut command = docker.command(["exec", "-i", "box", "/proc/self/exe", "import", "-", "x"]);
    let mut victim =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let attack = "for p in /proc/[0-9]*; do case $(readlink $p/exe) in /bin/busybox|'') ;; \
                  *) chmod 4777 $p/exe; echo > $p/exe; echo tried;; esac; done";
    let mut answer = String::new();
    wait_until("the attack has found its victim", || {
        let ran = exec(&docker, &[], attack)?;
        answer = ran.stderr;
        Ok(ran.stdout.contains("tried"))
    })?;
    drop(victim.stdin.take());
    victim.wait()?;
    assert_eq!(answer.matches("Read-only file system").count(), 2, "{answer}");
    remove(&docker)
}

/// CVE-2024-21626 and its relatives: the container's files are what others made of them.
fn exec_cannot_be_led_out_of_the_container(sandbox: &Sandbox) -> Outcome {
    let docker = with_box(sandbox, &["--privileged"])?;
    // Descriptors of the host are open until the exec.
    for number in 3..12 {
        let folder = format!("/proc/self/fd/{number}");
        let ran = exec(&docker, &["-w", &folder], "ls")?;
        assert_eq!((ran.code, ran.stdout.as_str()), (126, ""), "{ran:?}");
    }
    said(&docker, &[], "ln -s /proc/self/fd/5 /door; ln -s ../../../etc /etc2")?;
    assert_eq!(exec(&docker, &["-w", "/door"], "ls")?.code, 126);
    assert_eq!(said(&docker, &["-w", "/etc2"], "pwd -P")?, "/etc\n");
    // A user file that leads to the host's.
    said(&docker, &[], "rm /etc/passwd; ln -s /proc/1/root/etc/passwd /etc/passwd")?;
    let ran = exec(&docker, &["-u", "daemon"], "id")?;
    assert!(ran.stderr.contains("unable to find user daemon"), "{ran:?}");
    // Something else in the place of its terminals.
    said(&docker, &[], "umount /dev/pts; ln -s /etc /dev/pts/x; touch /dev/pts/ptmx")?;
    let ran = exec(&docker, &["-t"], "tty")?;
    assert_eq!(ran.code, 126, "{ran:?}");
    assert!(ran.stderr.contains("the container has no devpts there"), "{ran:?}");
    remove(&docker)
}
