//! What a hostile image or command must not reach. (More of them come with chapter 07's own issue.)

use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, wait_until};

pub const TESTS: &[Test] = &[
    ("the_hosts_binary_is_out_of_reach", the_hosts_binary_is_out_of_reach),
    ("a_pid_that_was_used_again_is_not_joined", a_pid_that_was_used_again_is_not_joined),
];

/// CVE-2019-5736: a container whose command is `/proc/self/exe` stays the runtime, and another process of the same pid
/// namespace reaches for its file through /proc.
fn the_hosts_binary_is_out_of_reach(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_mini-docker"));
    let before = std::fs::metadata(binary)?;
    let attacker = [
        "run",
        "--rm",
        "--init",
        "--name",
        "attacker",
        "--network",
        "none",
        "busybox",
        "sleep",
        "100",
    ];
    let mut attacker = docker.command(attacker).spawn()?;
    wait_until("the attacker is there", || Ok(docker.ran(["ps"])?.stdout.contains("attacker")))?;
    let inside =
        ["run", "--rm", "-i", "--pid", "container:attacker", "--network", "none", "busybox"];
    // It waits for its input, being the runtime.
    let command = inside.iter().chain(&["/proc/self/exe", "import", "-", "x"]);
    let mut victim = docker
        .command(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let attack = "for p in /proc/[0-9]*; do \
                    case $(readlink $p/exe) in /|*mini-docker*) chmod 4777 $p/exe; chown 1 $p/exe; echo > $p/exe; echo tried;; esac; \
                  done";
    let mut seen = String::new();
    wait_until("the attack has found its victim", || {
        let ran = docker.ran([
            "run",
            "--rm",
            "--pid",
            "container:attacker",
            "--network",
            "none",
            "busybox",
            "sh",
            "-c",
            attack,
        ])?;
        seen = ran.stderr;
        Ok(ran.stdout.contains("tried"))
    })?;
    let after = std::fs::metadata(binary)?;
    drop(victim.stdin.take());
    victim.wait()?;
    docker.ran(["rm", "-f", "attacker"])?;
    attacker.wait()?;
    assert_eq!(
        (after.mode(), after.uid(), after.len()),
        (before.mode(), before.uid(), before.len())
    );
    assert!(seen.contains("Read-only file system"), "{seen}");
    Ok(())
}

/// A container that has ended has no namespaces to join, whoever has its pid now.
fn a_pid_that_was_used_again_is_not_joined(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let run = ["run", "--name", "gone", "--network", "none", "busybox", "true"];
    assert_eq!(docker.ran(run)?.code, 0);
    // As if its supervisor had been killed, and this test had got its pid.
    let id = std::fs::read_to_string(docker.root.join("names/gone"))?;
    let record = docker.root.join("containers").join(id).join("record.json");
    let text = std::fs::read_to_string(&record)?;
    let (head, _) = text.split_once("\"status\":").unwrap();
    let running = format!(
        "{{\"state\":\"running\",\"pid\":{},\"started\":\"2026-01-01T00:00:00Z\"}}",
        std::process::id()
    );
    std::fs::write(&record, format!("{head}\"status\":{running}}}"))?;
    for flag in ["--pid", "--network"] {
        let refused = docker.ran(["run", "--rm", flag, "container:gone", "busybox", "true"])?;
        assert_eq!(refused.code, 125, "{refused:?}");
        assert!(refused.stderr.contains("it is not running"), "{refused:?}");
    }
    Ok(())
}
