//! What can be seen of containers: `ps`, `inspect`, `port`, `top`, `stats`.

use testkit::Outcome;

use crate::script::{OWN_ERROR, SERVER, Script};
use crate::scripts;

scripts![ps, inspect, port, top, stats];

fn ps(docker: &mut Script<'_>) -> Outcome {
    docker
        .does(&["ps"])?
        .code(0)
        .prints("CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n")
        .differs("podman", "two spaces between columns");
    docker.prepare(&[
        "create",
        "--name",
        "created",
        "--network",
        "none",
        "-l",
        "a=1",
        "busybox",
    ])?;
    docker.prepare(&[
        "run",
        "-d",
        "--name",
        "ended",
        "--network",
        "none",
        "-l",
        "a=2",
        "busybox",
        "sh",
        "-c",
        "exit 3",
    ])?;
    docker.prepare(&["wait", "ended"])?;
    let id = docker.server("up", &["-l", "b=1"])?;
    docker.does(&["ps"])?.code(0).prints_line_like(&["up", "Up ", &id[..12]]);
    docker
        .does(&["ps", "-a"])?
        .code(0)
        .prints_line_like(&["ended", "Exited (3) "])
        .prints_line_like(&["created", "Created"]);
    let names = ["--format", "{{.Names}}"];
    for (flags, expected) in [
        (&[][..], "up\n"),
        (&["-a"], "up\nended\ncreated\n"),
        (&["-l"], "up\n"),
        (&["-n", "2"], "up\nended\n"),
        (&["-a", "--filter", "status=exited"], "ended\n"),
        (&["-a", "-f", "status=created"], "created\n"),
        (&["-a", "-f", "status=exited", "-f", "status=created"], "ended\ncreated\n"),
        (&["-a", "-f", "exited=3"], "ended\n"),
        (&["-a", "-f", "exited=0"], ""),
        (&["-f", "exited=3"], ""),
        (&["-f", "status=exited"], "ended\n"),
        (&["-a", "-f", "name=e"], "ended\ncreated\n"),
        (&["-a", "-f", "name=^up$"], "up\n"),
        (&["-a", "-f", "label=a"], "ended\ncreated\n"),
        (&["-a", "-f", "label=a=2"], "ended\n"),
        (&["-a", "-f", "label=a", "-f", "label=b"], ""),
        (&["-a", "-f", "ancestor=busybox"], "up\nended\ncreated\n"),
        (&["-a", "-f", "before=ended"], "created\n"),
        (&["-a", "-f", "since=ended"], "up\n"),
    ] {
        let step = docker
            .does(&[&["ps"], flags, &names].concat())?
            .code(0)
            .prints_lines_in_any_order(expected);
        if flags.last() == Some(&"ancestor=busybox") {
            step.differs("podman", "wants the whole name");
        }
    }
    docker
        .does(&["ps", "-a", "-f", &format!("id={}", &id[..12]), "-q"])?
        .prints(&format!("{}\n", &id[..12]));
    docker
        .does(&["ps", "-q", "--format", "{{.Names}}"])?
        .code(0)
        .prints(&format!("{}\n", &id[..12]))
        .differs("podman", "takes one of the two")
        .says("WARNING: Ignoring custom format, because both --format and --quiet are set.\n")
        .differs("podman", "takes one of the two");
    docker
        .does(&["ps", "-a", "--format", "{{.Names}}"])?
        .prints("up\nended\ncreated\n")
        .differs("podman", "the oldest is the first");
    docker
        .does(&["ps", "-f", "nosuch=1"])?
        .complains("invalid filter")
        .code(1)
        .differs("podman", OWN_ERROR);
    docker
        .does(&["ps", "-s", "--format", "{{.Size}}"])?
        .code(0)
        .expect("a size", |ran| ran.stdout.contains("(virtual "));
    docker
        .does(&["ps", "--format", "table {{.Names}}\t{{.Image}}\t{{.Command}}"])?
        .code(0)
        .expect("a header", |ran| ran.stdout.starts_with("NAMES ") && ran.stdout.contains("IMAGE"))
        .prints_line_like(&["up", "busybox"]);
    docker
        .does(&["container", "ls", "-aq"])?
        .code(0)
        .expect("three", |ran| ran.stdout.lines().count() == 3);
    Ok(())
}

fn inspect(docker: &mut Script<'_>) -> Outcome {
    let id = docker.server(
        "one",
        &[
            "-e",
            "A=b",
            "-l",
            "who=me",
            "-w",
            "/tmp",
            "-h",
            "box",
            "--restart",
            "on-failure:2",
            "-m",
            "64m",
        ],
    )?;
    for (template, expected) in [
        ("{{.Id}}", id.as_str()),
        ("{{.Name}}", "/one"),
        ("{{.Path}}", "sh"),
        ("{{index .Args 0}}", "-c"),
        ("{{len .Args}}", "2"),
        ("{{.Config.Hostname}} {{.Config.WorkingDir}}", "box /tmp"),
        ("{{index .Config.Labels \"who\"}}", "me"),
        ("{{json .Config.Labels}}", "{\"who\":\"me\"}"),
        ("{{range .Config.Env}}{{if eq . \"A=b\"}}found{{end}}{{end}}", "found"),
        (
            "{{.State.Running}} {{.State.Paused}} {{.State.OOMKilled}} {{.State.ExitCode}}",
            "true false false 0",
        ),
        ("{{.HostConfig.Memory}} {{.HostConfig.NetworkMode}}", "67108864 none"),
        (
            "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}",
            "on-failure 2",
        ),
        ("{{.RestartCount}}", "0"),
        ("{{.Config.Image}}", "busybox"),
    ] {
        let step = docker
            .does(&["inspect", "--format", template, "one"])?
            .code(0)
            .prints(&format!("{expected}\n"));
        match template {
            "{{.Name}}" => drop(step.differs("podman", "no slash before the name")),
            "{{.Config.Image}}" => {
                drop(step.differs("podman", "the whole name: localhost/busybox:latest"));
            }
            _ => {}
        }
    }
    let whole = docker.prepare(&["inspect", "one"])?;
    for key in [
        "Id",
        "Created",
        "Path",
        "Args",
        "State",
        "Image",
        "Name",
        "HostConfig",
        "Mounts",
        "Config",
        "NetworkSettings",
    ] {
        assert!(whole.contains(&format!("\"{key}\": ")), "{key} is missing: {whole}");
    }
    assert!(whole.starts_with("[\n") && whole.ends_with("\n]"), "{whole}");
    // Of several the known ones are told.
    docker
        .does(&["inspect", "-f", "{{.State.Status}}", "one", "nosuch"])?
        .prints("running\n")
        .complains("no such object")
        .code(1)
        .differs("podman", OWN_ERROR);
    docker
        .does(&["inspect", "nosuch"])?
        .prints("[]\n")
        .complains("no such object")
        .code(1)
        .differs("podman", OWN_ERROR);
    docker
        .does(&["inspect", "-f", "{{.NoSuch}}", "one"])?
        .expect("a failure", |ran| ran.code != 0)
        .complains("NoSuch");
    docker.does(&["inspect", "-f", "{{.State", "one"])?.expect("a failure", |ran| ran.code != 0);
    Ok(())
}

fn port(docker: &mut Script<'_>) -> Outcome {
    let publish = ["-p", "127.0.0.1:18080:80", "-p", "127.0.0.1:18053:53/udp"];
    let run =
        [&["run", "-d", "--name", "one"][..], &publish, &["busybox", "sh", "-c", SERVER]].concat();
    docker.prepare(&run)?;
    docker
        .does(&["port", "one"])?
        .code(0)
        .says("")
        .prints_lines_in_any_order("80/tcp -> 127.0.0.1:18080\n53/udp -> 127.0.0.1:18053\n");
    docker.does(&["port", "one", "80"])?.code(0).prints("127.0.0.1:18080\n");
    docker.does(&["port", "one", "80/tcp"])?.code(0).prints("127.0.0.1:18080\n");
    docker.does(&["port", "one", "53/udp"])?.code(0).prints("127.0.0.1:18053\n");
    docker.does(&["port", "one", "53"])?.complains("53").code(1).differs("podman", OWN_ERROR);
    docker.does(&["port", "one", "81"])?.complains("81").code(1).differs("podman", OWN_ERROR);
    docker.does(&["ps", "--format", "{{.Ports}}"])?.expect("both", |ran| {
        ran.stdout.contains("127.0.0.1:18080->80/tcp")
            && ran.stdout.contains("127.0.0.1:18053->53/udp")
    });
    docker.server("two", &[])?;
    docker.does(&["port", "two"])?.code(0).prints("");
    docker.does(&["port", "nosuch"])?.finds_none();
    Ok(())
}

fn top(docker: &mut Script<'_>) -> Outcome {
    docker.is_unsteady();
    docker.prepare(&[
        "run",
        "-d",
        "--name",
        "one",
        "--network",
        "none",
        "busybox",
        "sleep",
        "1234",
    ])?;
    let pid = docker.inspect("one", "{{.State.Pid}}")?;
    docker
        .does(&["top", "one"])?
        .code(0)
        .prints_line_like(&["sleep 1234"])
        .expect("the columns of ps -ef", |ran| {
            let header: Vec<&str> =
                ran.stdout.lines().next().unwrap_or_default().split_whitespace().collect();
            header == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
        })
        .differs("podman", "columns of its own")
        .expect("pids as the host sees them", |ran| {
            ran.stdout
                .lines()
                .nth(1)
                .is_some_and(|line| line.split_whitespace().nth(1) == Some(pid.as_str()))
        })
        .differs("podman", "pids as the container sees them");
    docker.does(&["top", "one", "-o", "pid,comm"])?.code(0).prints_line_like(&["sleep"]).expect(
        "two columns",
        |ran| {
            ran.stdout.lines().next().is_some_and(|line| {
                line.split_whitespace().collect::<Vec<_>>() == ["PID", "COMMAND"]
            })
        },
    );
    docker.prepare(&["kill", "one"])?;
    docker.wait_for_state("one", "exited")?;
    docker.does(&["top", "one"])?.complains("running").code(1).differs("podman", OWN_ERROR);
    docker.does(&["top", "nosuch"])?.finds_none();
    Ok(())
}

fn stats(docker: &mut Script<'_>) -> Outcome {
    docker.is_unsteady();
    docker.server("one", &["-m", "64m"])?;
    docker.prepare(&["create", "--name", "two", "--network", "none", "busybox"])?;
    docker
        .does(&["stats", "--no-stream", "one"])?
        .code(0)
        .prints_line_like(&["one", "%", " / "])
        .expect("Docker's columns", |ran| {
            let header = ran.stdout.lines().next().unwrap_or_default();
            let columns: Vec<&str> =
                header.split("  ").map(str::trim).filter(|name| !name.is_empty()).collect();
            columns
                == [
                    "CONTAINER ID",
                    "NAME",
                    "CPU %",
                    "MEM USAGE / LIMIT",
                    "MEM %",
                    "NET I/O",
                    "BLOCK I/O",
                    "PIDS",
                ]
        })
        .differs("podman", "ID, NET IO, BLOCK IO, and two columns more")
        .expect("binary units", |ran| ran.stdout.contains("/ 64MiB"))
        .differs("podman", "powers of 1000");
    docker
        .does(&["stats", "--no-stream", "--format", "{{.Name}}"])?
        .code(0)
        .prints("one\n")
        .differs("podman", "lists also what does not run, whatever its help says");
    docker
        .does(&["stats", "--no-stream", "-a", "--format", "{{.Name}}"])?
        .code(0)
        .prints_lines_in_any_order("one\ntwo\n");
    docker
        .does(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "one"])?
        .code(0)
        .expect("one or two processes", |ran| matches!(ran.stdout.as_str(), "one 1\n" | "one 2\n"));
    docker.does(&["stats", "--no-stream", "nosuch"])?.finds_none();
    Ok(())
}
