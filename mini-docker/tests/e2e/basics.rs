//! What a container sees, and how its process begins and ends.

use std::io::Write;
use std::process::Stdio;

use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, finish};

pub const TESTS: &[Test] = &[
    ("a_container_sees_itself_only", a_container_sees_itself_only),
    ("exit_codes_and_signals_pass_through", exit_codes_and_signals_pass_through),
    ("input_and_output_are_the_containers", input_and_output_are_the_containers),
    ("environment_user_and_folder_are_as_asked", environment_user_and_folder_are_as_asked),
    ("the_default_confinement_is_dockers", the_default_confinement_is_dockers),
    ("a_read_only_root_can_have_writable_places", a_read_only_root_can_have_writable_places),
    ("a_plain_folder_runs", a_plain_folder_runs),
    ("init_reaps_and_forwards", init_reaps_and_forwards),
    ("ulimits_and_sysctls_are_set", ulimits_and_sysctls_are_set),
];

fn a_container_sees_itself_only(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script = "hostname; echo $$; ls /proc | grep -c '^[0-9]'; ip -o link | wc -l; ls /";
    let ran = docker.sh(&["--hostname", "box"], script)?;
    // sh, ls, grep and the subshell of the pipe are all there is.
    assert_eq!(ran.stdout.lines().take(2).collect::<Vec<_>>(), ["box", "1"]);
    let processes: u32 = ran.stdout.lines().nth(2).unwrap().parse()?;
    assert!((1..=4).contains(&processes), "{ran:?}");
    assert_eq!(ran.stdout.lines().nth(3), Some("1"));
    let files: Vec<&str> = ran.stdout.lines().skip(4).collect();
    assert_eq!(files, ["bin", "dev", "etc", "proc", "root", "sys", "tmp"]);
    assert!(!nix::unistd::gethostname()?.to_string_lossy().contains("box"));
    for kind in ["mnt", "uts", "ipc", "pid", "net", "cgroup"] {
        let inside = docker.sh(&[], &format!("readlink /proc/self/ns/{kind}"))?.stdout;
        let outside = std::fs::read_link(format!("/proc/self/ns/{kind}"))?;
        assert_ne!(inside.trim(), outside.to_string_lossy(), "{kind}");
    }
    Ok(())
}

fn exit_codes_and_signals_pass_through(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    for code in [0, 1, 42, 255] {
        assert_eq!(docker.sh(&[], &format!("exit {code}"))?.code, code);
    }
    // Process 1 cannot signal itself to death (pid_namespaces(7)); its child can.
    assert_eq!(docker.sh(&[], "sh -c 'kill -TERM $$'; exit $?")?.code, 143);
    // A signal to the command goes to the container.
    let script = "trap 'echo got it; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = docker
        .command(["run", "--rm", "--network", "none", "busybox", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line)?;
    assert_eq!(line, "ready\n");
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut output, &mut rest)?;
    assert_eq!((child.wait()?.code(), rest.as_str()), (Some(7), "got it\n"));
    Ok(())
}

fn input_and_output_are_the_containers(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let ran = docker.sh(&[], "echo out; echo err >&2")?;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    // 10 MB in, the same 10 MB out.
    let data: Vec<u8> = (0..10_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut child = docker
        .command(["run", "--rm", "-i", "--network", "none", "busybox", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().unwrap();
    let sent = data.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent));
    let output = child.wait_with_output()?;
    writer.join().unwrap()?;
    assert!(output.status.success());
    assert!(output.stdout == data, "{} bytes came back", output.stdout.len());
    // Without -i there is nothing to read.
    let mut child = docker
        .command(["run", "--rm", "--network", "none", "busybox", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // The container may be gone before this arrives.
    child.stdin.take().unwrap().write_all(b"unheard\n").ok();
    let output = child.wait_with_output()?;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    Ok(())
}

fn environment_user_and_folder_are_as_asked(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let file = sandbox.path("env");
    std::fs::write(&file, "# comment\nFROM_FILE=1\nBOTH=file\n")?;
    let flags = [
        "--env-file",
        file.to_str().unwrap(),
        "-e",
        "BOTH=flag",
        "-e",
        "PASSED",
        "-h",
        "box",
        "-w",
        "/new/dir",
    ];
    let fixed = ["run", "--rm", "--network", "none"];
    let command = ["busybox", "sh", "-c", "env | sort; pwd; id"];
    let ran =
        finish(docker.command(fixed.iter().chain(&flags).chain(&command)).env("PASSED", "on"))?;
    insta::assert_snapshot!(ran.stdout);
    let ran = docker.sh(&["-u", "12345:54321"], "id; echo $HOME")?;
    assert_eq!(ran.stdout, "uid=12345 gid=54321 groups=54321\n/\n");
    assert_eq!(docker.sh(&["-u", "nobody"], "true")?.code, 125);
    // A user that is not root can open its streams by name, as daemons that log to /dev/stdout do.
    let ran = docker.sh(&["-u", "12345"], "echo out > /dev/stdout; echo err > /dev/stderr")?;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(
        docker.sh(&["-u", "12345", "-t"], "echo tty > /dev/tty; echo pts > $(tty)")?.stdout,
        "tty\r\npts\r\n"
    );
    Ok(())
}

fn the_default_confinement_is_dockers(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status; \
                  for f in /proc/kcore /proc/keys /proc/timer_list; do wc -c < $f; done; \
                  echo 1 > /proc/sys/kernel/domainname; echo b > /proc/sysrq-trigger; \
                  mknod /tmp/sda b 8 0 && dd if=/tmp/sda of=/dev/null bs=1 count=1; \
                  mount -t tmpfs none /tmp; ls -l /dev; ls -l /proc/self/fd | wc -l";
    let ran = docker.sh(&[], script)?;
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"(?m)^(.{10}) .*? (\S+( -> .*)?)$", "$1 $2");
    settings.bind(|| insta::assert_snapshot!(format!("{}---\n{}", ran.stdout, ran.stderr)));
    let privileged = docker.sh(&["--privileged"], "mount -t tmpfs none /tmp && echo yes")?;
    assert_eq!(privileged.stdout, "yes\n", "{privileged:?}");
    let added = docker.sh(
        &["--cap-add", "sys_admin", "--cap-drop", "CHOWN"],
        "chown 1 /tmp; mount -t tmpfs none /tmp && echo yes",
    )?;
    assert_eq!(added.stdout, "yes\n", "{added:?}");
    assert!(added.stderr.contains("chown: /tmp: Operation not permitted"), "{added:?}");
    Ok(())
}

fn a_read_only_root_can_have_writable_places(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script = "touch /x || touch /tmp/x && df -k /tmp | awk 'END {print $2}'; ls -ld /tmp; echo > /dev/shm/y && echo shm";
    let ran = docker.sh(&["--read-only", "--tmpfs", "/tmp:size=1m,mode=1750"], script)?;
    assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!((lines[0], &lines[1][..10], lines[2]), ("1024", "drwxr-x--T", "shm"), "{ran:?}");
    Ok(())
}

fn a_plain_folder_runs(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::new(sandbox);
    let rootfs = sandbox.busybox_rootfs("plain")?;
    let folder = rootfs.to_str().unwrap();
    let fixed = ["run", "--rm", "--network", "none", "--rootfs", folder];
    let ran = docker.ran(fixed.iter().chain(&["sh", "-c", "echo made > /made; cat /made"]))?;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "made\n"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(rootfs.join("made"))?, "made\n");
    let refused = docker.ran(["run", "--rm", "--rootfs", "/no/such/folder", "sh"])?;
    assert_eq!(refused.code, 125);
    Ok(())
}

fn init_reaps_and_forwards(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // An orphan whose parent has gone is reaped by process 1: no zombie stays.
    let script = "(sleep 0.05 & ) ; sleep 0.3; cat /proc/[0-9]*/stat | grep -c ' Z ' ; echo $$";
    let with = docker.sh(&["--init"], script)?;
    assert_eq!(with.stdout, "0\n2\n", "{with:?}");
    let without = docker.sh(&[], "(sleep 0.05 & ) ; exec sleep 0.3")?;
    assert_eq!(without.code, 0);
    assert_eq!(docker.sh(&["--init"], "exit 42")?.code, 42);
    assert_eq!(docker.sh(&["--init"], "kill -KILL $$")?.code, 137);
    Ok(())
}

fn ulimits_and_sysctls_are_set(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let flags = [
        "--ulimit",
        "nofile=100:200",
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--sysctl",
        "kernel.msgmax=9000",
    ];
    let script = "ulimit -n; ulimit -Hn; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax";
    let ran = docker.sh(&flags, script)?;
    assert_eq!(ran.stdout, "100\n200\n1\n9000\n", "{ran:?}");
    let refused = docker.sh(&["--sysctl", "kernel.panic=1"], "true")?;
    assert_eq!(refused.code, 125, "a parameter of the whole machine: {refused:?}");
    Ok(())
}
