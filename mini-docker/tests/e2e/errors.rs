//! What people read when something is wrong: one line and a hint, and the right exit code.

use std::process::Command;

use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, busybox_tar, finish, transcript};

pub const TESTS: &[Test] = &[
    ("mistakes_get_one_line_and_a_hint", mistakes_get_one_line_and_a_hint),
    ("a_full_disk_is_named_and_nothing_stays", a_full_disk_is_named_and_nothing_stays),
    ("without_root_it_says_so", without_root_it_says_so),
    ("help_shows_every_flag", help_shows_every_flag),
    ("a_failed_start_leaves_nothing", a_failed_start_leaves_nothing),
];

fn mistakes_get_one_line_and_a_hint(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script = sandbox.path("scripts");
    std::fs::create_dir(&script)?;
    std::fs::write(script.join("crlf"), "#!/bin/sh\r\necho never\r\n")?;
    std::fs::write(script.join("loader"), "#!/no/such/interpreter\n")?;
    std::fs::write(script.join("plain"), "echo no execute permission\n")?;
    for name in ["crlf", "loader"] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(script.join(name), std::fs::Permissions::from_mode(0o755))?;
    }
    let volume = format!("{}:/s", script.display());
    let none = ["run", "--rm", "--network", "none"];
    let table: &[&[&str]] = &[
        &["busybox", "nosuch"],
        &["busybox", "/no/such"],
        &["busybox", "/tmp"],
        &["-v", &volume, "busybox", "/s/plain"],
        &["-v", &volume, "busybox", "/s/crlf"],
        &["-v", &volume, "busybox", "/s/loader"],
        &["nosuchimage", "true"],
        &["Busy:Box", "true"],
        &["--frobnicate", "busybox"],
        &["--netwrok", "none", "busybox"],
        &["-m", "1m", "busybox"],
        &["-m", "lots", "busybox"],
        &["--cpus", "1000", "busybox"],
        &["-v", "data:relative", "busybox"],
        &["--mount", "type=bind,source=/no/such,target=/x", "busybox"],
        &["--mount", "type=floppy,target=/x", "busybox"],
        &["-p", "80:x", "busybox"],
        &["--network", "nosuch", "busybox"],
        &["--network", "container:nosuch", "busybox"],
        &["--ip", "10.1.1.1", "busybox"],
        &["--cap-add", "FLY", "busybox"],
        &["--ulimit", "files=1", "busybox"],
        &["--security-opt", "magic", "busybox"],
        &["--user", "nobody", "busybox"],
        &["--workdir", "relative", "busybox"],
        &["-e", "=1", "busybox"],
        &["--device", "/dev/nosuch", "busybox"],
        &["--sysctl", "kernel.panic=1", "busybox", "true"],
        &["--name", "-", "busybox"],
        &["--stop-signal", "SIGNOPE", "busybox"],
        &["-v", "/a:/x", "-v", "/b:/x", "busybox"],
        &["--entrypoint", "", "busybox"],
    ];
    let mut text = String::new();
    for arguments in table {
        let arguments: Vec<&str> = none.iter().chain(*arguments).copied().collect();
        text.push_str(&transcript(&docker, sandbox, &arguments)?);
    }
    for arguments in [
        &["rm", "nosuch"][..],
        &["rmi", "nosuch"],
        &["volume", "rm", "nosuch"],
        &["volume", "create", "?"],
        &["volume", "inspect", "nosuch"],
        &["start", "nosuch"],
        &["load", "-i", "/no/such.tar"],
        &["frobnicate"],
        &["run"],
    ] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(
        r"from 0.01 to \d+\nhint: this machine has \d+ CPUs",
        "from 0.01 to [CPUS]\nhint: this machine has [CPUS] CPUs",
    );
    settings.bind(|| insta::assert_snapshot!(text));
    assert!(docker.footprint()?.cgroups.is_empty());
    Ok(())
}

fn a_full_disk_is_named_and_nothing_stays(sandbox: &Sandbox) -> Outcome {
    let small = sandbox.path("small");
    std::fs::create_dir(&small)?;
    let status = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "none"])
        .arg(&small)
        .status()?;
    assert!(status.success());
    let tar = busybox_tar(sandbox)?;
    let docker = Docker { root: small.join("root"), run_root: sandbox.path("run") };
    let text = transcript(&docker, sandbox, &["import", tar.to_str().unwrap(), "busybox"])?;
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{32}", "[RANDOM]");
    settings.bind(|| insta::assert_snapshot!("full_disk_import", text));
    let used = finish(Command::new("du").arg("-sk").arg(&small))?.stdout;
    let used: u32 = used.split('\t').next().unwrap().parse()?;
    assert!(used < 100, "{used} KiB are left on the full disk");

    // Room for the image, and then none for the container.
    let status = Command::new("mount").args(["-o", "remount,size=16m"]).arg(&small).status()?;
    assert!(status.success());
    assert_eq!(docker.ran(["import", tar.to_str().unwrap(), "busybox"])?.code, 0);
    let before = docker.footprint()?;
    let filler = Command::new("dd")
        .args(["if=/dev/zero", "bs=4k"])
        .arg(format!("of={}", small.join("filler").display()))
        .output()?;
    assert!(!filler.status.success());
    let ran = docker.sh(&["--hostname", "box"], "true")?;
    assert_eq!(ran.code, 125, "{ran:?}");
    assert!(ran.stderr.contains("No space left on device"), "{ran:?}");
    assert!(ran.stderr.contains("hint: the disk is full"), "{ran:?}");
    std::fs::remove_file(small.join("filler"))?;
    docker.footprint()?.same_as(&before)?;
    assert_eq!(docker.sh(&[], "true")?.code, 0);
    Ok(())
}

fn without_root_it_says_so(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::new(sandbox);
    let copy = sandbox.path("mini-docker");
    std::fs::copy(env!("CARGO_BIN_EXE_mini-docker"), &copy)?;
    std::os::unix::fs::chown(&sandbox.dir, Some(65534), None)?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&copy);
    command.env("MINI_DOCKER_ROOT", &docker.root).env("MINI_DOCKER_RUN_ROOT", &docker.run_root);
    let ran = finish(command.args(["run", "--rm", "busybox", "true"]))?;
    assert_eq!(ran.code, 125);
    insta::assert_snapshot!(ran.stderr);
    Ok(())
}

fn help_shows_every_flag(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::new(sandbox);
    let mut text = String::new();
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["create", "--help"],
        &["start", "--help"],
        &["ps", "--help"],
        &["rm", "--help"],
        &["load", "--help"],
        &["import", "--help"],
        &["images", "--help"],
        &["history", "--help"],
        &["inspect", "--help"],
        &["tag", "--help"],
        &["rmi", "--help"],
        &["volume", "--help"],
        &["volume", "create", "--help"],
        &["info", "--help"],
        &["--version"],
    ] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    insta::assert_snapshot!(text);
    Ok(())
}

fn a_failed_start_leaves_nothing(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    assert_eq!(docker.ran(["run", "--rm", "-v", "/data", "busybox", "true"])?.code, 0);
    let before = docker.footprint()?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = format!("127.0.0.1:{}:80", taken.local_addr()?.port());
    for arguments in [
        &["busybox", "nosuch"][..],
        &["-v", "/data", "busybox", "nosuch"],
        &["-p", &port, "busybox", "true"],
        &["--ip", "10.99.99.99", "busybox", "true"],
        &["--user", "nobody", "busybox", "true"],
        &["--sysctl", "kernel.panic=1", "busybox", "true"],
        &["-v", "/proc/self/nosuch/x:/y", "busybox", "true"],
    ] {
        let ran = docker.ran(["run", "--rm"].iter().chain(arguments))?;
        assert!(matches!(ran.code, 125 | 127), "{arguments:?}: {ran:?}");
        docker.footprint()?.same_as(&before).map_err(|error| format!("{arguments:?}: {error}"))?;
    }
    Ok(())
}
