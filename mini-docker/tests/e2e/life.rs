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
    ("another_run_root_ends_nothing", another_run_root_ends_nothing),
    ("a_record_that_cannot_be_read_keeps_its_data", a_record_that_cannot_be_read_keeps_its_data),
    ("a_removal_that_was_killed_is_finished", a_removal_that_was_killed_is_finished),
    ("a_removal_that_fails_is_no_trap", a_removal_that_fails_is_no_trap),
    ("the_callers_umask_does_not_matter", the_callers_umask_does_not_matter),
    ("an_image_is_in_use_from_the_first_moment", an_image_is_in_use_from_the_first_moment),
    ("a_signal_during_the_start_ends_it", a_signal_during_the_start_ends_it),
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
        &["start", "-a", "one"],
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
    // What a reboot leaves: no process, an empty run root, another boot id.
    let status = Command::new("rm").arg("-rf").arg(&docker.run_root).status()?;
    assert!(status.success());
    let note = std::fs::read_to_string(docker.root.join("boot"))?;
    std::fs::write(docker.root.join("boot"), note.replacen(|_| true, "x", 1))?;
    let listed = docker.ran(["ps", "-a"])?.stdout;
    assert!(listed.contains("kept") && listed.contains("Exited (137)"), "{listed}");
    assert!(!listed.contains("removed"), "{listed}");
    Ok(())
}

fn another_run_root_ends_nothing(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let run = ["run", "--name", "prod", "--network", "none", "busybox", "sleep", "100"];
    let mut child = docker.command(run).stderr(Stdio::null()).spawn()?;
    wait_until("it runs", || Ok(docker.ran(["ps"])?.stdout.contains("prod")))?;
    let other = Docker { root: docker.root.clone(), run_root: sandbox.path("other") };
    let refused = other.ran(["ps"])?;
    assert_eq!(refused.code, 125, "{refused:?}");
    assert!(refused.stderr.contains("hint: use --run-root"), "{refused:?}");
    assert!(child.try_wait()?.is_none(), "it was ended");
    assert!(docker.ran(["ps"])?.stdout.contains("prod"));
    let removed = docker.ran(["rm", "-f", "prod"])?;
    assert_eq!(removed.code, 0, "{removed:?}");
    child.wait()?;
    Ok(())
}

fn a_record_that_cannot_be_read_keeps_its_data(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let run = [
        "run",
        "--name",
        "old",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "echo precious > /data",
    ];
    assert_eq!(docker.ran(run)?.code, 0);
    let id = std::fs::read_to_string(docker.root.join("names/old"))?;
    let folder = docker.root.join("containers").join(&id);
    let whole = std::fs::read_to_string(folder.join("record.json"))?;
    std::fs::write(folder.join("record.json"), "{\"id\":")?;
    // As after a reboot, which looks at every container.
    std::fs::remove_dir_all(&docker.run_root)?;
    std::fs::write(docker.root.join("boot"), "another boot\n")?;
    docker.ran(["ps", "-a"])?;
    assert_eq!(docker.ran(["rmi", "-f", "busybox"])?.code, 0);
    assert_eq!(std::fs::read_to_string(folder.join("upper/data"))?, "precious\n");
    // Its layers stay, too: nobody knows that it does not use them.
    std::fs::write(folder.join("record.json"), whole)?;
    assert_eq!(docker.ran(["start", "old"])?.code, 0);
    Ok(())
}

fn a_removal_that_was_killed_is_finished(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script = "mkdir /many; i=0; while [ $i -lt 3000 ]; do : > /many/$i; i=$((i+1)); done";
    let run = ["run", "--name", "big", "--network", "none", "busybox", "sh", "-c", script];
    assert_eq!(docker.ran(run)?.code, 0);
    let id = std::fs::read_to_string(docker.root.join("names/big"))?;
    let folder = docker.root.join("containers").join(id);
    let mut removal = docker.command(["rm", "big"]).stdout(Stdio::null()).spawn()?;
    let many = folder.join("upper/many");
    wait_until("the removal has begun", || {
        Ok(!many.join("0").exists() || !many.join("2999").exists())
    })?;
    removal.kill()?;
    removal.wait()?;
    // Half a container is none.
    assert_eq!(docker.ran(["ps", "-aq"])?.stdout, "");
    assert!(!folder.exists());
    assert_eq!(docker.ran(["create", "--name", "big", "busybox"])?.code, 0);
    Ok(())
}

fn a_removal_that_fails_is_no_trap(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let run =
        ["run", "--name", "stuck", "--network", "none", "busybox", "sh", "-c", "echo x > /file"];
    assert_eq!(docker.ran(run)?.code, 0);
    let id = std::fs::read_to_string(docker.root.join("names/stuck"))?;
    let file = docker.root.join("containers").join(id).join("upper/file");
    let immutable = |sign: &str| Command::new("chattr").arg(format!("{sign}i")).arg(&file).status();
    assert!(immutable("+")?.success());
    let failed = docker.ran(["rm", "stuck"])?;
    assert_eq!(failed.code, 1, "{failed:?}");
    // Others are not held up, and it is not listed as something that it is not.
    let next = docker.sh(&[], "echo works")?;
    assert_eq!((next.code, next.stdout.as_str()), (0, "works\n"));
    assert!(next.stderr.contains("warning: take away what is left"), "{next:?}");
    assert_eq!(docker.ran(["ps", "-aq"])?.stdout, "");
    assert!(immutable("-")?.success());
    assert_eq!(docker.ran(["ps", "-aq"])?.stderr, "");
    assert!(!file.exists());
    Ok(())
}

fn the_callers_umask_does_not_matter(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    for umask in ["077", "000"] {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("umask {umask}; exec \"$@\"")).arg("sh");
        shell.arg(env!("CARGO_BIN_EXE_mini-docker"));
        shell.args(["run", "--rm", "--network", "none", "-u", "1000", "busybox", "sh", "-c"]);
        shell.arg("cat /etc/hosts > /dev/null && stat -c %a / /etc/hosts /etc/resolv.conf");
        shell.env("MINI_DOCKER_ROOT", &docker.root).env("MINI_DOCKER_RUN_ROOT", &docker.run_root);
        assert_eq!(crate::support::stdout(&mut shell)?, "755\n644\n644\n", "umask {umask}");
    }
    Ok(())
}

fn an_image_is_in_use_from_the_first_moment(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // A start that fails leaves a container that was created, and can be started later.
    let failed = docker.ran([
        "run",
        "--name",
        "early",
        "--network",
        "none",
        "-u",
        "nosuch",
        "busybox",
        "true",
    ])?;
    assert_eq!(failed.code, 125);
    assert!(docker.ran(["ps", "-a"])?.stdout.contains("Created"));
    let again = docker.ran(["start", "early"])?;
    assert!(again.stderr.contains("unable to find user nosuch"), "{again:?}");
    let refused = docker.ran(["rmi", "busybox"])?;
    assert!(refused.stderr.contains("is used by container"), "{refused:?}");
    Ok(())
}

fn a_signal_during_the_start_ends_it(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::new(sandbox);
    let rootfs = sandbox.busybox_rootfs("filled")?;
    let folder = rootfs.join("big");
    std::fs::create_dir(&folder)?;
    for number in 0..5000 {
        std::fs::write(folder.join(number.to_string()), "x")?;
    }
    let tar = sandbox.path("filled.tar");
    let status =
        Command::new("tar").arg("-C").arg(&rootfs).arg("-cf").arg(&tar).arg(".").status()?;
    assert!(status.success());
    assert_eq!(docker.ran(["import", tar.to_str().unwrap(), "filled"])?.code, 0);
    // The volume is filled with what the image has there, which takes its time.
    let run = ["run", "--rm", "--network", "none", "-v", "big:/big", "filled", "echo", "started"];
    let child = docker.command(run).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let data = docker.root.join("volumes/big/_data");
    wait_until("the volume is being filled", || {
        Ok(std::fs::read_dir(&data).is_ok_and(|files| files.count() > 10))
    })?;
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT)?;
    let output = child.wait_with_output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(130), 0), "{stderr}");
    assert_eq!(stderr, "mini-docker: SIGINT came before the container had started\n");
    assert_eq!(docker.ran(["ps", "-aq"])?.stdout, "");
    Ok(())
}
