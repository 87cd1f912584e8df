//! Flags that people bring along from Docker, in all their spellings.

use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, finish, transcript};

pub const TESTS: &[Test] = &[
    ("booleans_have_dockers_spellings", booleans_have_dockers_spellings),
    ("variables_are_taken_at_their_word", variables_are_taken_at_their_word),
    ("what_is_so_anyway_may_be_asked_for", what_is_so_anyway_may_be_asked_for),
    ("a_shared_namespace_keeps_its_parameters", a_shared_namespace_keeps_its_parameters),
    ("the_hosts_name_can_be_shared", the_hosts_name_can_be_shared),
    ("several_containers_are_started", several_containers_are_started),
    ("forced_removal_forgives_only_what_is_missing", forced_removal_forgives_only_what_is_missing),
];

fn booleans_have_dockers_spellings(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let run = |flags: &[&str], script: &str| {
        let fixed = ["run", "--network=none", "--name=it"];
        docker.ran(fixed.iter().chain(flags).chain(&["busybox", "sh", "-c", script]))
    };
    let exists = || Ok::<_, Box<dyn std::error::Error>>(docker.ran(["rm", "it"])?.code == 0);
    for (flags, kept) in [
        (&["--rm=true"][..], false),
        (&["--rm=1"], false),
        (&["--rm=false"], true),
        (&["--rm", "--rm=False"], true),
        (&["--rm=F", "--rm"], false),
    ] {
        let ran = run(flags, "true")?;
        assert_eq!((ran.code, exists()?), (0, kept), "{flags:?}: {ran:?}");
    }
    let id_and_write = "echo $$; tty >/dev/null && echo tty; touch /x 2>/dev/null && echo w";
    for (flags, expected) in [
        (&["--init=false", "--read-only=false", "-t=false", "-i=false"][..], "1\nw\n"),
        (&["--init=true", "--read-only=true"], "2\n"),
        (&["-t=true"], "1\r\ntty\r\nw\r\n"),
        (&["-d=false", "--privileged=false", "--sig-proxy=true", "--sig-proxy"], "1\nw\n"),
    ] {
        let ran = run(&[&["--rm"], flags].concat(), id_and_write)?;
        assert_eq!(ran.stdout, expected, "{flags:?}: {ran:?}");
    }
    // Clusters of short flags stay what they were, and a value after a blank is none.
    let ran = run(&["--rm", "-ti=false"], "tty")?;
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 1), "{ran:?}");
    let ran = docker.ran(["run", "--rm", "--network=none", "--init", "busybox", "echo", "x"])?;
    assert_eq!(ran.stdout, "x\n", "{ran:?}");
    let help = docker.ran(["run", "--help"])?.stdout;
    assert!(help.contains("  -i, --interactive ") && !help.contains("BOOL"), "{help}");
    let mut text = String::new();
    for flag in ["--rm=perhaps", "--sig-proxy=perhaps", "-d=perhaps"] {
        text.push_str(&transcript(&docker, sandbox, &["run", flag, "busybox", "true"])?);
    }
    insta::assert_snapshot!(text);
    Ok(())
}

fn variables_are_taken_at_their_word(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // Not through a shell: it would not pass on what cannot be a variable of its own.
    let ran = docker.ran([
        "run",
        "--rm",
        "--network=none",
        "-e",
        "-X=1",
        "-e",
        "A B=1",
        "--env=C= d ",
        "busybox",
        "env",
    ])?;
    for line in ["-X=1", "A B=1", "C= d "] {
        assert!(ran.stdout.lines().any(|other| other == line), "{line}: {ran:?}");
    }
    let file = sandbox.path("env");
    std::fs::write(&file, "export A=1\n")?;
    let refused = docker.sh(&["--env-file", file.to_str().unwrap()], "true")?;
    assert_eq!(refused.code, 125);
    assert!(refused.stderr.contains("invalid environment variable `export A=1`"), "{refused:?}");
    Ok(())
}

fn what_is_so_anyway_may_be_asked_for(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    for flags in [
        &["--cpus", "0"][..],
        &["--security-opt", "seccomp=unconfined"],
        &["--security-opt", "apparmor=unconfined", "--security-opt", "label=disable"],
        &["--pull", "never"],
        &["--pull=missing"],
        &["--restart", "no"],
    ] {
        let ran = docker.sh(flags, "grep NoNewPrivs /proc/self/status")?;
        assert_eq!(ran.stdout, "NoNewPrivs:\t1\n", "{flags:?}: {ran:?}");
    }
    // Without the age, which may be another one a moment later.
    let format = ["images", "--no-trunc", "--format", "{{.Repository}} {{.Tag}} {{.ID}} {{.Size}}"];
    let all = docker.ran(format.iter().chain(&["-a"]))?;
    assert_eq!((all.code, &all.stdout), (0, &docker.ran(format)?.stdout), "{all:?}");
    let mut text = String::new();
    for arguments in [
        &["--pull", "always"][..],
        &["--pull", "often"],
        &["--restart", "on-failure:3"],
        &["--ipc", "container:x"],
        &["--uts", "host", "--hostname", "box"],
    ] {
        let arguments: Vec<&str> =
            ["run", "--rm"].iter().chain(arguments).chain(&["busybox", "true"]).copied().collect();
        text.push_str(&transcript(&docker, sandbox, &arguments)?);
    }
    insta::assert_snapshot!(text);
    Ok(())
}

fn a_shared_namespace_keeps_its_parameters(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let owner = ["run", "--name=owner", "--network=none", "busybox", "sh", "-c", "echo; sleep 60"];
    let mut owner = docker.command(owner).stdout(std::process::Stdio::piped()).spawn()?;
    std::io::Read::read_exact(&mut owner.stdout.take().unwrap(), &mut [0])?;
    let before = docker.footprint()?;
    for (flags, name) in [
        (["--network", "host"], "net/core/somaxconn"),
        (["--network", "container:owner"], "net/core/somaxconn"),
        (["--ipc", "host"], "kernel/msgmax"),
        (["--uts", "host"], "kernel/domainname"),
    ] {
        // The value that it has: a machine on which this fails is still as it was.
        let value = std::fs::read_to_string(format!("/proc/sys/{name}"))?;
        let name = name.replace('/', ".");
        for privileged in ["--rm", "--privileged"] {
            let sysctl = format!("{name}={}", value.trim());
            let ran = docker.ran(
                ["run", "--rm", privileged, "--sysctl", &sysctl]
                    .iter()
                    .chain(&flags)
                    .chain(&["busybox", "true"]),
            )?;
            assert_eq!(ran.code, 125, "{flags:?}: {ran:?}");
            let message = format!("kernel parameter `{name}` is not the container's own");
            assert!(ran.stderr.contains(&message), "{flags:?}: {ran:?}");
            assert!(ran.stderr.contains("\nhint: "), "{flags:?}: {ran:?}");
        }
    }
    docker.footprint()?.same_as(&before)?;
    // A namespace of its own beside a shared one is still its own.
    let ran = docker.ran(
        ["run", "--rm", "--network=host", "--sysctl", "kernel.msgmax=9001", "busybox"]
            .iter()
            .chain(&["cat", "/proc/sys/kernel/msgmax"]),
    )?;
    assert_eq!(ran.stdout, "9001\n", "{ran:?}");
    docker.ran(["rm", "-f", "owner"])?;
    owner.wait()?;
    Ok(())
}

fn the_hosts_name_can_be_shared(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let host = nix::unistd::gethostname()?.to_string_lossy().into_owned();
    let ran = docker.sh(
        &["--uts", "host"],
        "hostname; cat /etc/hostname; echo $HOSTNAME; readlink /proc/self/ns/uts",
    )?;
    let namespace = std::fs::read_link("/proc/self/ns/uts")?;
    let expected = format!("{host}\n{host}\n{host}\n{}\n", namespace.display());
    assert_eq!(ran.stdout, expected, "{ran:?}");
    assert_eq!(nix::unistd::gethostname()?.to_string_lossy(), host);
    Ok(())
}

fn several_containers_are_started(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    for (name, script) in [("a", "echo a; exit 3"), ("b", "echo b"), ("c", "echo c; exit 4")] {
        let name = format!("--name={name}x");
        let created = ["create", &name, "--network=none", "busybox", "sh", "-c", script];
        assert_eq!(docker.ran(created)?.code, 0);
    }
    let names = |flags: &[&str]| -> crate::support::Result<Vec<String>> {
        let ran = docker.ran([&["ps"], flags].concat())?;
        assert_eq!(ran.code, 0, "{ran:?}");
        let name = |line: &str| line.split_whitespace().last().unwrap_or_default().to_owned();
        Ok(ran.stdout.lines().skip(1).map(name).collect())
    };
    assert_eq!(names(&["-l"])?, ["cx"]);
    assert_eq!(names(&["--latest"])?, ["cx"]);
    assert_eq!(names(&["-n", "2"])?, ["cx", "bx"]);
    assert_eq!(names(&["-n", "9"])?, ["cx", "bx", "ax"]);
    assert_eq!(names(&["-n", "-1"])?, Vec::<String>::new());
    assert_eq!(names(&["-a", "--last=1"])?, ["cx"]);
    let ran = docker.ran(["start", "bx", "ax", "nosuch", "cx"])?;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "bx\nax\ncx\n"), "{ran:?}");
    assert!(ran.stderr.contains("no such container: nosuch"), "{ran:?}");
    let ran = docker.ran(["start", "-a", "ax"])?;
    assert_eq!((ran.code, ran.stdout.as_str()), (3, "a\n"), "{ran:?}");
    let refused = docker.ran(["start", "-i", "ax", "bx"])?;
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
    Ok(())
}

fn forced_removal_forgives_only_what_is_missing(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let ran = docker.ran(["rm", "-f", "nosuch"])?;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    assert!(ran.stderr.contains("no such container: nosuch"), "{ran:?}");
    assert_eq!(docker.ran(["rm", "nosuch"])?.code, 1);
    // As many containers as there are first digits, and one more: two ids begin alike.
    for _ in 0..17 {
        let created = finish(&mut docker.command(["create", "busybox"]))?;
        assert_eq!(created.code, 0, "{created:?}");
    }
    let ids = docker.ran(["ps", "-aq"])?.stdout;
    let first = |digit: char| ids.lines().filter(move |id| id.starts_with(digit)).count();
    let digit = "0123456789abcdef".chars().find(|digit| first(*digit) > 1).unwrap();
    let ran = docker.ran(["rm", "-f", &digit.to_string()])?;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains("container ids begin with"), "{ran:?}");
    assert_eq!(docker.ran(["rm", "-f", ""])?.code, 1);
    assert_eq!(docker.ran(["ps", "-aq"])?.stdout, ids);
    Ok(())
}
