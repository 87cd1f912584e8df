//! Records, names, and what is left: by 200 runs, by supervisors that are killed, by a hundred at once.

use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, transcript, wait_until};

pub const TESTS: &[Test] = &[
    ("created_started_listed_removed", created_started_listed_removed),
    ("two_hundred_runs_leave_nothing", two_hundred_runs_leave_nothing),
    ("a_killed_supervisor_is_cleaned_up_after", a_killed_supervisor_is_cleaned_up_after),
    ("one_name_one_container", one_name_one_container),
    ("rm_force_ends_a_running_container", rm_force_ends_a_running_container),
    ("a_reboot_is_noticed", a_reboot_is_noticed),
];

fn created_started_listed_removed(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut text = String::new();
    for arguments in [
        &[
            "create",
            "--name",
            "one",
            "--network",
            "none",
            "busybox",
            "sh",
            "-c",
            "echo started; exit 3",
        ][..],
        &["ps"],
        &["ps", "-a"],
        &["start", "one"],
        &["ps", "-a"],
        &["create", "--name", "one", "busybox"],
        &["rm", "one"],
        &["ps", "-a"],
    ] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{64}", "[ID]");
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[SHORT ID]");
    settings.add_filter("(Less than a second|[0-9]+ seconds?) ago", "[AGO]");
    settings.add_filter(r"(CREATED|STATUS) +", "$1   ");
    settings.add_filter(r"\[AGO\] +", "[AGO]   ");
    settings.bind(|| insta::assert_snapshot!(text));
    Ok(())
}

fn two_hundred_runs_leave_nothing(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let run = [
        "run",
        "--rm",
        "-p",
        "18080:80",
        "-v",
        "/anonymous",
        "-m",
        "64m",
        "--pids-limit",
        "100",
        "busybox",
        "true",
    ];
    assert_eq!(docker.ran(run)?.code, 0);
    let before = docker.footprint()?;
    for number in 0..200 {
        let ran = docker.ran(run)?;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "run {number}");
    }
    docker.footprint()?.same_as(&before)?;
    Ok(())
}

fn a_killed_supervisor_is_cleaned_up_after(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    assert_eq!(docker.ran(["run", "--rm", "-v", "/data", "busybox", "true"])?.code, 0);
    let before = docker.footprint()?;
    // Moments spread over the whole of a start and what comes after: a different one each time and on each machine.
    let mut seed = u64::from(std::process::id());
    for number in 0..50 {
        let mut child = docker
            .command([
                "run",
                "--rm",
                "--name",
                "victim",
                "-p",
                "18080:80",
                "-v",
                "/anonymous",
                "busybox",
                "sleep",
                "100",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros((seed >> 33) % 60_000));
        child.kill()?;
        child.wait()?;
        let next = docker.ran(["ps", "-a", "-q"])?;
        assert_eq!(
            (next.code, next.stdout.as_str(), next.stderr.as_str()),
            (0, "", ""),
            "kill {number}"
        );
        // Network namespaces, and with them the container's side of a link, end in the background.
        wait_until("nothing is left", || Ok(docker.footprint()?.same_as(&before).is_ok()))
            .or_else(|_| docker.footprint()?.same_as(&before))
            .map_err(|error| format!("kill {number}: {error}"))?;
    }
    // The name is free and the port too.
    let ran =
        docker.ran(["run", "--rm", "--name", "victim", "-p", "18080:80", "busybox", "true"])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Ok(())
}

fn one_name_one_container(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let children: Vec<_> = (0..40)
        .map(|_| {
            let run =
                ["run", "--rm", "--name", "same", "--network", "none", "busybox", "sleep", "1"];
            docker.command(run).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
        })
        .collect::<Result<_, _>>()?;
    let mut codes = Vec::new();
    for child in children {
        let output = child.wait_with_output()?;
        if output.status.code() == Some(125) {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(text.contains("name `same` is already in use by container"), "{text}");
        }
        codes.push(output.status.code());
    }
    // A late one may find the name free again; all at once would be none.
    let winners = codes.iter().filter(|code| **code == Some(0)).count();
    assert!((1..=5).contains(&winners), "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == Some(125)).count(), 40 - winners, "{codes:?}");
    // Different ones all succeed.
    let children: Vec<_> = (0..40)
        .map(|_| docker.command(["run", "--rm", "busybox", "true"]).stderr(Stdio::piped()).spawn())
        .collect::<Result<_, _>>()?;
    for child in children {
        let output = child.wait_with_output()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn rm_force_ends_a_running_container(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    assert_eq!(docker.sh(&[], "true")?.code, 0);
    let before = docker.footprint()?;
    let run = ["run", "--name", "sleeper", "--network", "none", "busybox", "sleep", "100"];
    let mut child = docker.command(run).stderr(Stdio::null()).spawn()?;
    wait_until("it runs", || Ok(docker.ran(["ps"])?.stdout.contains("sleeper")))?;
    let refused = docker.ran(["rm", "sleeper"])?;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("is running"), "{refused:?}");
    let ran = docker.ran(["rm", "-f", "sleeper"])?;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "sleeper\n"), "{ran:?}");
    assert_eq!(child.wait()?.code(), Some(137));
    assert_eq!(docker.ran(["ps", "-aq"])?.stdout, "");
    docker.footprint()?.same_as(&before)?;
    Ok(())
}

fn a_reboot_is_noticed(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut children = Vec::new();
    for (name, rm) in [("kept", None), ("removed", Some("--rm"))] {
        let run = ["run", "--name", name, "--network", "none"];
        let run = run.into_iter().chain(rm).chain(["busybox", "sleep", "100"]);
        children.push(docker.command(run).spawn()?);
        wait_until("it runs", || Ok(docker.ran(["ps"])?.stdout.contains(name)))?;
    }
    for child in &mut children {
        child.kill()?;
        child.wait()?;
    }
    // What a reboot leaves: no process, an empty run root.
    let status = Command::new("rm").arg("-rf").arg(&docker.run_root).status()?;
    assert!(status.success());
    let listed = docker.ran(["ps", "-a"])?.stdout;
    assert!(listed.contains("kept") && listed.contains("Exited (137)"), "{listed}");
    assert!(!listed.contains("removed"), "{listed}");
    Ok(())
}
