//! `inspect` of containers.

use testkit::{Outcome, Sandbox};

use super::{Frozen, created, inspected, remove, started};
use crate::support::{Docker, Result, wait_until};

pub fn inspect_tells_what_the_flags_said(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let cidfile = sandbox.path("cid");
    let cidfile = cidfile.to_string_lossy();
    let flags = "--name box --hostname inside -p 127.0.0.1:18080:80/tcp -p 53/udp --expose 90 -v data:/data:ro -v /anonymous \
                 --tmpfs /run:size=1m --restart on-failure:5 --log-opt max-size=1m --log-opt max-file=2 \
                 --cap-add net_admin --cap-drop ALL --device /dev/null:/dev/nothing:r \
                 --security-opt no-new-privileges=false --sysctl net.core.somaxconn=100 --cpus 0.5 -m 64m \
                 --shm-size 8m --ulimit nofile=100:200 --pids-limit 50 --ip 172.17.0.9 --stop-timeout 3 \
                 --stop-signal SIGINT -l k=v -l a.b=c -e A=b -i --entrypoint sh --dns 9.9.9.9 \
                 --add-host db:1.2.3.4 --init --read-only --cidfile";
    let flags: Vec<&str> = flags.split_whitespace().chain([&*cidfile]).collect();
    let id = created(&docker, &flags, &["-c", "exit 3"])?;
    for (format, expected) in [
        (
            "{{.State.Status}} {{.State.Running}} {{.State.StartedAt}}",
            "created false 0001-01-01T00:00:00Z",
        ),
        (
            "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}",
            "on-failure:5",
        ),
        (
            "{{json .HostConfig.LogConfig}}",
            r#"{"Type":"json-file","Config":{"max-file":"2","max-size":"1048576"}}"#,
        ),
        (
            "{{.HostConfig.Binds}} {{json .HostConfig.Tmpfs}}",
            r#"[data:/data:ro] {"/run":"size=1m"}"#,
        ),
        (
            "{{json .HostConfig.PortBindings}}",
            r#"{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"18080"}],"53/udp":[{"HostIp":"","HostPort":""}]}"#,
        ),
        (
            r#"{{range $p, $b := .HostConfig.PortBindings}}{{$p}}={{(index $b 0).HostPort}} {{end}}"#,
            "53/udp= 80/tcp=18080 ",
        ),
        (
            "{{.HostConfig.CapAdd}} {{.HostConfig.CapDrop}} {{.HostConfig.Privileged}}",
            "[CAP_NET_ADMIN] [ALL] false",
        ),
        (
            "{{json .HostConfig.Devices}}",
            r#"[{"PathOnHost":"/dev/null","PathInContainer":"/dev/nothing","CgroupPermissions":"r"}]"#,
        ),
        (
            "{{.HostConfig.SecurityOpt}} {{.HostConfig.Sysctls}}",
            "[no-new-privileges=false] map[net.core.somaxconn:100]",
        ),
        ("{{.HostConfig.NanoCpus}} {{.HostConfig.CpuQuota}}", "500000000 0"),
        ("{{json .HostConfig.Links}} {{json .HostConfig.CgroupParent}}", r#"null """#),
        (
            "{{.HostConfig.Memory}} {{.HostConfig.ShmSize}} {{.HostConfig.PidsLimit}}",
            "67108864 8388608 50",
        ),
        ("{{json .HostConfig.Ulimits}}", r#"[{"Name":"nofile","Soft":100,"Hard":200}]"#),
        (
            "{{.HostConfig.NetworkMode}} {{.HostConfig.IpcMode}} {{.HostConfig.AutoRemove}}",
            "bridge private false",
        ),
        (
            "{{.HostConfig.Dns}} {{.HostConfig.ExtraHosts}} {{.HostConfig.Init}}",
            "[9.9.9.9] [db:1.2.3.4] true",
        ),
        ("{{.HostConfig.VolumesFrom}} {{.HostConfig.ReadonlyRootfs}}", "[] true"),
        (
            "{{.Config.Entrypoint}} {{.Config.Cmd}} {{.Path}} {{.Args}}",
            "[sh] [-c exit 3] sh [-c exit 3]",
        ),
        ("{{json .Config.ExposedPorts}}", r#"{"53/udp":{},"80/tcp":{},"90/tcp":{}}"#),
        ("{{json .Config.Volumes}}", r#"{"/anonymous":{}}"#),
        (
            "{{.Config.OpenStdin}} {{.Config.StdinOnce}} {{.Config.AttachStdin}} {{.Config.AttachStdout}}",
            "true true true true",
        ),
        (
            r#"{{index .Config.Labels "a.b"}} {{.Config.Labels.k}} {{.Config.Labels.none}}"#,
            "c v <no value>",
        ),
        (
            "{{.Config.StopSignal}} {{.Config.StopTimeout}} {{.Config.Hostname}} {{.Config.Env}}",
            "SIGINT 3 inside [A=b]",
        ),
        (
            "{{range .Mounts}}{{.Type}}:{{.Destination}}:{{.RW}} {{end}}",
            "volume:/data:false volume:/anonymous:true tmpfs:/run:true ",
        ),
        ("{{.NetworkSettings.IPAddress}}|{{.NetworkSettings.Ports}}|{{.RestartCount}}", "|map[]|0"),
        (
            "{{.SizeRw}} {{with .State.Health}}{{.Status}}{{else}}unchecked{{end}}",
            "<nil> unchecked",
        ),
    ] {
        assert_eq!(inspected(&docker, format, "box")?, expected, "{format}");
    }
    assert_eq!(inspected(&docker, "{{.HostConfig.ContainerIDFile}}", "box")?, cidfile);
    let log = inspected(&docker, "{{.LogPath}}", "box")?;
    assert!(log.ends_with(&format!("{id}/{id}-json.log")), "{log}");
    remove(&docker, &["box"])?;
    // What nobody asked for.
    started(
        &docker,
        &["--name", "plain", "--log-driver", "none", "-p", "18081:80"],
        "exec sleep 1000",
    )?;
    for (format, expected) in [
        (
            "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.LogConfig.Type}} {{.LogPath}}",
            "no none ",
        ),
        ("{{.HostConfig.Binds}} {{.HostConfig.CapAdd}} {{.HostConfig.Devices}}", "[] [] []"),
        (
            "{{.Config.AttachStdout}} {{.HostConfig.ShmSize}} {{.HostConfig.IpcMode}}",
            "false 67108864 private",
        ),
        (
            "{{.State.Status}} {{.State.Running}} {{.State.Paused}} {{.State.ExitCode}}",
            "running true false 0",
        ),
        (r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#, "18081"),
        (
            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
            &inspected(&docker, "{{.NetworkSettings.IPAddress}}", "plain")?,
        ),
    ] {
        assert_eq!(inspected(&docker, format, "plain")?, expected, "{format}");
    }
    assert!(inspected(&docker, "{{.NetworkSettings.IPAddress}}", "plain")?.starts_with("172.17."));
    remove(&docker, &["plain"])?;
    created(
        &docker,
        &["--name", "open", "--ipc", "host", "--pid", "host", "--privileged"],
        &["true"],
    )?;
    let format = "{{.HostConfig.IpcMode}} {{.HostConfig.PidMode}} {{.HostConfig.Privileged}} {{.HostConfig.ShmSize}}";
    assert_eq!(inspected(&docker, format, "open")?, "host host true 0");
    remove(&docker, &["open"])
}

pub fn inspect_tells_sizes_and_states(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script = "head -c 100000 /dev/zero > /file; exec sleep 1000";
    let id = started(&docker, &["--name", "box", "--network", "none"], script)?;
    let size = |key: &str| -> Result<u64> {
        let ran = docker.ran(["container", "inspect", "-s", "-f", key, "box"])?;
        Ok(ran.stdout.trim().parse()?)
    };
    wait_until("the file is written", || Ok(size("{{.SizeRw}}")? == 100_000))?;
    let layers: u64 =
        docker.ran(["inspect", "-f", "{{.Size}}", "busybox"])?.stdout.trim().parse()?;
    assert_eq!(size("{{.SizeRootFs}}")?, layers + 100_000);
    let state = "{{.State.Status}} {{.State.Running}} {{.State.Paused}} {{.State.Restarting}} {{.State.OOMKilled}}";
    let still = Frozen::new(&docker, &id)?;
    assert_eq!(inspected(&docker, state, "box")?, "paused true true false false");
    drop(still);
    assert_eq!(inspected(&docker, state, "box")?, "running true false false false");
    remove(&docker, &["box"])?;
    // It ends, is started again, and ends.
    let flags = ["--name", "again", "--network", "none", "--restart", "on-failure:1"];
    started(&docker, &flags, "exit 7")?;
    wait_until("it has ended for good", || {
        Ok(inspected(&docker, "{{.State.Status}} {{.RestartCount}}", "again")? == "exited 1")
    })?;
    let state = "{{.State.ExitCode}} {{.State.Running}} {{.State.Pid}} {{.State.Error}}|";
    assert_eq!(inspected(&docker, state, "again")?, "7 false 0 |");
    let times = inspected(&docker, "{{.State.StartedAt}} {{.State.FinishedAt}}", "again")?;
    let (start, end) = times.split_once(' ').unwrap();
    assert!(start < end && !start.starts_with("0001"), "{times}");
    remove(&docker, &["again"])
}
