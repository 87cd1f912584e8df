//! What `inspect`, `history` and `images` tell, and in which words.

use std::process::Command;

use serde_json::{Value, json};
use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Result, stdout, transcript};

pub const TESTS: &[Test] = &[
    ("an_image_is_told_as_docker_tells_it", an_image_is_told_as_docker_tells_it),
    ("formats_pick_what_is_asked_for", formats_pick_what_is_asked_for),
    ("history_names_every_layer", history_names_every_layer),
    ("images_are_filtered_and_formatted", images_are_filtered_and_formatted),
    ("a_container_is_told_before_and_after", a_container_is_told_before_and_after),
    ("what_is_missing_is_said_and_the_rest_shown", what_is_missing_is_said_and_the_rest_shown),
];

/// A docker-archive of two layers, whose config has what OCI has no field for, written by hand: nothing varies.
fn archive(sandbox: &Sandbox, name: &str, change: impl FnOnce(&mut Value)) -> Result<String> {
    let dir = sandbox.path(name);
    std::fs::create_dir_all(&dir)?;
    let mut diff_ids = Vec::new();
    for (layer, content) in [("one", "first layer\n"), ("two", "the second layer\n")] {
        let folder = dir.join(format!("{layer}.d"));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(layer), content)?;
        let tar = dir.join(format!("{layer}.tar"));
        stdout(
            Command::new("tar")
                .args(["--mtime=@0", "--owner=0", "--group=0", "--mode=0644", "-C"])
                .arg(&folder)
                .arg("-cf")
                .arg(&tar)
                .arg(layer),
        )?;
        let sum = stdout(Command::new("sha256sum").arg(&tar))?;
        diff_ids.push(format!("sha256:{}", sum.split(' ').next().unwrap_or_default()));
    }
    let mut config = json!({
        "architecture": "amd64",
        "os": "linux",
        "author": "somebody",
        "created": "2024-02-03T04:05:06.789Z",
        "docker_version": "24.0.7",
        "config": {
            "User": "1000",
            "ExposedPorts": { "80/tcp": {}, "443/tcp": {} },
            "Env": ["PATH=/bin", "A=b c"],
            "Cmd": ["serve", "--port", "80"],
            "Healthcheck": { "Test": ["CMD", "true"], "Interval": 30_000_000_000_i64 },
            "Volumes": { "/data": {} },
            "WorkingDir": "/srv",
            "Entrypoint": null,
            "OnBuild": ["RUN make"],
            "Labels": { "z": "last", "a.b": "first" },
            "StopSignal": "SIGINT",
        },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": [
            {
                "created": "2024-01-01T00:00:00Z",
                "created_by": "/bin/sh -c #(nop) ADD file:0123456789abcdef in\t/ and more of it",
            },
            { "created": "2024-01-02T00:00:00Z", "created_by": "CMD [\"serve\"]", "empty_layer": true },
            {
                "created": "2024-02-03T04:05:06Z",
                "created_by": "RUN \u{1b}[31mred # buildkit",
                "comment": "buildkit.dockerfile.v0",
            },
        ],
    });
    change(&mut config);
    std::fs::write(dir.join("config.json"), config.to_string())?;
    let manifest = json!([{
        "Config": "config.json",
        "RepoTags": [format!("{name}:1")],
        "Layers": ["one.tar", "two.tar"],
    }]);
    std::fs::write(dir.join("manifest.json"), manifest.to_string())?;
    let tar = sandbox.path(format!("{name}.tar"));
    let files = ["manifest.json", "config.json", "one.tar", "two.tar"];
    stdout(Command::new("tar").arg("-C").arg(&dir).arg("-cf").arg(&tar).args(files))?;
    Ok(tar.to_string_lossy().into_owned())
}

fn loaded(sandbox: &Sandbox) -> Result<Docker> {
    let docker = Docker::new(sandbox);
    for (name, created) in [("app", "2024-02-03T04:05:06.789Z"), ("older", "2020-02-03T04:05:06Z")]
    {
        let archive = archive(sandbox, name, |config| {
            config["created"] = created.into();
            if name == "older" {
                config["config"]["Labels"] = json!({ "kind": "old" });
                config.as_object_mut().unwrap().remove("history");
            }
        })?;
        let ran = docker.ran(["load", "-i", &archive])?;
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    Ok(docker)
}

/// Transcripts of several commands; what the clock changes is replaced.
fn told(docker: &Docker, sandbox: &Sandbox, commands: &[&[&str]]) -> Result<String> {
    commands.iter().map(|arguments| transcript(docker, sandbox, arguments)).collect()
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d+ (years|months|weeks|days) ago +", "[AGO]   ");
    settings.add_filter("CREATED {2,}", "CREATED ");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn an_image_is_told_as_docker_tells_it(sandbox: &Sandbox) -> Outcome {
    let docker = loaded(sandbox)?;
    snapshot("inspect_image", &told(&docker, sandbox, &[&["image", "inspect", "app:1"]])?);
    let by_id = docker.ran(["images", "-q", "app"])?.stdout;
    let all: Vec<String> = ["inspect", "image inspect", "inspect --type image"]
        .iter()
        .map(|verb| Ok(docker.ran(verb.split(' ').chain([by_id.trim()]))?.stdout))
        .collect::<Result<_>>()?;
    assert_eq!((&all[0], &all[0]), (&all[1], &all[2]));
    // The folders are there, and hold what the layers say.
    let object: Value = serde_json::from_str(&all[0])?;
    let data = &object[0]["GraphDriver"]["Data"];
    let read = |key: &str, file: &str| {
        std::fs::read_to_string(std::path::Path::new(data[key].as_str().unwrap()).join(file))
    };
    assert_eq!(read("LowerDir", "one")?, "first layer\n");
    assert_eq!(read("UpperDir", "two")?, "the second layer\n");
    assert_eq!(object[0]["Size"], json!(29));
    Ok(())
}

fn formats_pick_what_is_asked_for(sandbox: &Sandbox) -> Outcome {
    let docker = loaded(sandbox)?;
    let inspect = |format: &'static str| ["inspect", "-f", format, "app:1"];
    let commands = [
        "{{.Config.Env}} {{.Config.Entrypoint}} {{.Config.Labels}}",
        "{{json .Config.Healthcheck}}",
        "{{index .RepoTags 0}} {{.Architecture}}{{.Variant}} {{.Created}}",
        "{{range $key, $value := .Config.Labels}}{{$key}}={{$value}} {{end}}",
        r#"{{index .Config.Labels "a.b"}}|{{index .Config.Labels "none"}}|{{.Config.Labels.none}}"#,
        "{{range .Config.ExposedPorts}}{{.}}{{end}} {{len .RootFS.Layers}} layers",
        r#"{{join .Config.Cmd " "}} {{with .Config.Shell}}{{.}}{{else}}no shell{{end}}"#,
        "{{.Config.Nope}}",
        "{{.config}}",
        "{{.Config",
    ]
    .map(inspect);
    let mut commands: Vec<&[&str]> = commands.iter().map(|command| &command[..]).collect();
    commands.push(&["inspect", "-f", "{{.RepoTags}}", "app:1", "older:1"]);
    commands.push(&["image", "inspect", "-f", "{{.Id}}", "none:1"]);
    snapshot("inspect_formats", &told(&docker, sandbox, &commands)?);
    let line = docker.ran(["inspect", "-f", "json", "app:1", "older:1"])?.stdout;
    let objects: Value = serde_json::from_str(&line)?;
    assert_eq!((line.matches('\n').count(), objects.as_array().map(Vec::len)), (1, Some(2)));
    Ok(())
}

fn history_names_every_layer(sandbox: &Sandbox) -> Outcome {
    let docker = loaded(sandbox)?;
    let commands: &[&[&str]] = &[
        &["history", "app:1"],
        &["image", "history", "--no-trunc", "app:1"],
        &["history", "-H=false", "app:1"],
        &["history", "-q", "app:1"],
        &["history", "older:1"],
        &["history", "--format", "{{.ID}}: {{.CreatedBy | lower}}", "app:1"],
        &["history", "--format", "table {{.Size}}\\t{{.Comment}}", "app:1"],
        &["history", "nosuch"],
    ];
    snapshot("history", &told(&docker, sandbox, commands)?);
    Ok(())
}

fn images_are_filtered_and_formatted(sandbox: &Sandbox) -> Outcome {
    let docker = loaded(sandbox)?;
    assert_eq!(docker.ran(["tag", "app:1", "localhost:5000/team/app:v2"])?.code, 0);
    let dangling = archive(sandbox, "gone", |config| config["author"] = "nobody".into())?;
    assert_eq!(docker.ran(["load", "-i", &dangling])?.code, 0);
    assert_eq!(docker.ran(["tag", "older:1", "gone:1"])?.code, 0);
    let commands: &[&[&str]] = &[
        &["images"],
        &["image", "ls", "--digests", "app"],
        &["images", "-q", "--no-trunc", "app:1"],
        &["images", "-f", "dangling=true"],
        &["images", "-f", "dangling=false", "--format", "{{.Repository}}:{{.Tag}}"],
        &["images", "-f", "label=kind", "--format", "{{.Repository}}"],
        &["images", "-f", "label=kind=new", "--format", "{{.Repository}}"],
        &["images", "-f", "before=app:1", "--format", "{{.Repository}}"],
        &["images", "-f", "since=older:1", "--format", "{{.Repository}}"],
        &["images", "-f", "until=2022-01-01", "--format", "{{.Repository}}"],
        &["images", "-f", "reference=*5000/*/app", "--format", "{{.Repository}}"],
        &["images", "-f", "reference=a*:1", "-f", "reference=older", "--format", "{{.Repository}}"],
        &["images", "o*", "--format", "table {{.ID}}\\t{{.Repository}}\\t{{.CreatedAt}}"],
        &["images", "nosuch"],
        &["images", "--format", "{{.Nope}}"],
        &["images", "-f", "colour=red"],
        &["images", "-f", "dangling=maybe"],
        &["images", "-f", "reference=[", "-q"],
        &["images", "-f", "before=nosuch"],
        &["images", "-f", "dangling"],
    ];
    snapshot("images", &told(&docker, sandbox, commands)?);
    let lines = docker.ran(["images", "--format", "json", "older:1"])?.stdout;
    let row: Value = serde_json::from_str(lines.lines().next().unwrap())?;
    assert_eq!((&row["Repository"], &row["Tag"]), (&json!("older"), &json!("1")));
    Ok(())
}

fn a_container_is_told_before_and_after(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let create = [
        "create",
        "--name",
        "box",
        "--network",
        "none",
        "--hostname",
        "inside",
        "-e",
        "A=b",
        "-v",
        "data:/data",
        "-l",
        "k=v",
        "-m",
        "64m",
        "busybox",
        "sh",
        "-c",
        "exit 3",
    ];
    let id = docker.ran(create)?.stdout.trim().to_owned();
    let format = "{{.Id}} {{.Name}} {{.Path}} {{.Args}} {{.State.Status}} {{.State.ExitCode}} {{.State.Running}}";
    let told = |key: &str| {
        Ok::<_, Box<dyn std::error::Error>>(docker.ran(["inspect", "-f", format, key])?.stdout)
    };
    assert_eq!(told("box")?, format!("{id} /box sh [-c exit 3] created 0 false\n"));
    assert_eq!(docker.ran(["start", "-a", "box"])?.code, 3);
    assert_eq!(told(&id[..12])?, format!("{id} /box sh [-c exit 3] exited 3 false\n"));
    let format = "{{.HostConfig.Memory}} {{.HostConfig.NetworkMode}} {{.Config.Hostname}} {{.Config.Labels.k}} \
                  {{range .Mounts}}{{.Type}}:{{.Name}}:{{.Destination}}:{{.RW}}{{end}} {{.State.Health}}";
    let ran = docker.ran(["inspect", "--type", "container", "-f", format, "box"])?;
    assert_eq!(ran.stdout, "67108864 none inside v volume:data:/data:true <nil>\n", "{ran:?}");
    let objects: Value = serde_json::from_str(&docker.ran(["inspect", "box"])?.stdout)?;
    let upper = objects[0]["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap();
    assert!(std::path::Path::new(upper).is_dir(), "{upper}");
    let source = objects[0]["Mounts"][0]["Source"].as_str().unwrap();
    assert!(std::path::Path::new(source).is_dir(), "{source}");
    assert_eq!(docker.ran(["rm", "box"])?.code, 0);
    // A running one, told from inside the time that it runs.
    let mut running = docker.command([
        "run",
        "--rm",
        "-i",
        "--name",
        "live",
        "--network",
        "none",
        "busybox",
        "cat",
    ]);
    let mut child =
        running.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn()?;
    let is_up =
        || Ok(docker.ran(["inspect", "-f", "{{.State.Running}}", "live"])?.stdout == "true\n");
    let up = crate::support::wait_until("the container runs", is_up);
    let pid = docker.ran(["inspect", "-f", "{{.State.Pid}}", "live"])?.stdout;
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim()));
    drop(child.stdin.take());
    child.wait()?;
    up?;
    // On the host it has another number than in its own namespace.
    let status = status?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    assert_eq!(numbers.last(), Some(&"1"), "{status}");
    assert!(numbers.contains(&pid.trim()), "{pid} {numbers:?}");
    Ok(())
}

fn what_is_missing_is_said_and_the_rest_shown(sandbox: &Sandbox) -> Outcome {
    let docker = loaded(sandbox)?;
    assert_eq!(
        docker.ran(["volume", "create", "--label", "b=2", "--label", "a=1", "data"])?.code,
        0
    );
    let commands: &[&[&str]] = &[
        &["image", "inspect", "nosuch"],
        &["inspect", "nosuch"],
        &["inspect", "--type", "volume", "nosuch"],
        &["inspect", "--type", "floppy", "nosuch"],
        &["inspect", "-f", "{{.Name}}{{.RepoTags}}", "nosuch", "app:1"],
        &["inspect", "data"],
        &["volume", "inspect", "-f", "{{.Name}} {{.Labels}} {{.Options}}", "data", "nosuch"],
        &["volume", "ls"],
        &["volume", "ls", "--format", "{{.Name}}: {{.Label \"b\"}} {{.Labels}}"],
        &["volume", "ls", "--format", "table {{.Name}}\\t{{.Scope}}"],
    ];
    let text = told(&docker, sandbox, commands)?;
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "[TIME]");
    settings.bind(|| snapshot("missing", &text));
    Ok(())
}
