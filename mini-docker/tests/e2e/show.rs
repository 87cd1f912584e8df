//! What people look at: `ps`, `inspect`, `stats`, `top`.

#[path = "show/inspect.rs"]
mod inspect;
#[path = "show/stats.rs"]
mod stats;

use cgroups::{Cgroup, Hierarchies};
use serde_json::{Value, json};
use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Result, transcript, wait_until};

pub const TESTS: &[Test] = &[
    ("ps_shows_what_docker_shows", ps_shows_what_docker_shows),
    ("ps_filters_choose", ps_filters_choose),
    ("ps_never_shows_a_dead_one_as_running", ps_never_shows_a_dead_one_as_running),
    ("ps_names_an_image_that_has_moved_by_its_id", ps_names_an_image_that_has_moved_by_its_id),
    ("inspect_tells_what_the_flags_said", inspect::inspect_tells_what_the_flags_said),
    ("inspect_tells_sizes_and_states", inspect::inspect_tells_sizes_and_states),
    ("stats_measure", stats::stats_measure),
    ("stats_follow_who_comes_and_goes", stats::stats_follow_who_comes_and_goes),
    ("stats_end_with_ctrl_c", stats::stats_end_with_ctrl_c),
    ("top_shows_processes", stats::top_shows_processes),
];

/// Starts a container in the background and returns its id.
fn started(docker: &Docker, flags: &[&str], script: &str) -> Result<String> {
    let fixed = ["run", "-d"].iter().chain(flags);
    let ran = docker.ran(fixed.chain(&["busybox", "sh", "-c", script]))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Ok(ran.stdout.trim().to_owned())
}

fn created(docker: &Docker, flags: &[&str], command: &[&str]) -> Result<String> {
    let ran = docker.ran(["create"].iter().chain(flags).chain(&["busybox"]).chain(command))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Ok(ran.stdout.trim().to_owned())
}

fn remove(docker: &Docker, names: &[&str]) -> Outcome {
    let ran = docker.ran(["rm", "-f"].iter().chain(names))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Ok(())
}

fn cgroup(docker: &Docker, id: &str) -> Result<Cgroup> {
    let engine = std::fs::read_to_string(docker.root.join("id"))?;
    Ok(Cgroup::open(&Hierarchies::detect()?, &format!("mini-docker-{engine}/{id}"))?)
}

/// A container that stands still until this is dropped: what is frozen on v1 cannot even be killed when a test fails.
struct Frozen(Cgroup);

impl Frozen {
    fn new(docker: &Docker, id: &str) -> Result<Self> {
        let frozen = Self(cgroup(docker, id)?);
        frozen.0.freeze()?;
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.thaw().ok();
    }
}

fn inspected(docker: &Docker, format: &str, name: &str) -> Result<String> {
    let ran = docker.ran(["inspect", "-f", format, name])?;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{format}");
    Ok(ran.stdout.trim_end_matches('\n').to_owned())
}

/// Ids, ages and the widths of columns are different each time.
fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{64}", "[ID]");
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[SHORT ID]");
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC", "[TIME]");
    settings.add_filter("(Less than a second|About a minute|[0-9]+ (seconds?|minutes))", "[AGE]");
    settings.add_filter(r"virtual [0-9.]+MB", "virtual [SIZE]");
    settings.add_filter(" {2,}", "  ");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn ps_shows_what_docker_shows(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    started(
        &docker,
        &[
            "--name",
            "web",
            "-p",
            "18080:80",
            "-p",
            "18081:18081",
            "--expose",
            "90",
            "-l",
            "b=2",
            "-l",
            "a=1",
        ],
        "echo some > /file; exec sleep 1000",
    )?;
    let frozen = started(&docker, &["--name", "frozen", "--network", "none"], "exec sleep 1000")?;
    let run = [
        "run",
        "--name",
        "ended",
        "--network",
        "none",
        "-v",
        "data:/data",
        "busybox",
        "sh",
        "-c",
        "exit 3",
    ];
    assert_eq!(docker.ran(run)?.code, 3);
    created(&docker, &["--name", "new", "--network", "none"], &["echo", "\u{1b}[31mred", "a\nb"])?;
    let written = docker.root.join("containers");
    let web = std::fs::read_to_string(docker.root.join("names/web"))?;
    wait_until("the file is written", || Ok(written.join(&web).join("upper/file").exists()))?;
    let still = Frozen::new(&docker, &frozen)?;
    let fields = "{{.ID}}|{{.Names}}|{{.State}}|{{.Labels}}|{{.Label \"b\"}}|{{.Mounts}}|{{.LocalVolumes}}|\
                  {{.Networks}}|{{.CreatedAt}}";
    let commands: &[&[&str]] = &[
        &["ps"],
        &["ps", "-a"],
        &["container", "ls", "-aq"],
        &["container", "ps", "-n", "2"],
        &["container", "list", "-lq", "--no-trunc"],
        &["ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.Command}}"],
        &["ps", "-a", "--format", fields],
        &["ps", "-a", "--format", "table {{.Names}}\\t{{.Status}}\\t{{.Ports}}"],
        &["ps", "-s", "--format", "table {{.Names}}\\t{{.Size}}"],
        &["ps", "-n", "1", "-s"],
        &["ps", "--format", "{{.Nope}}"],
        &["ps", "--filter", "colour=red"],
        &["ps", "--filter", "status=gone"],
        &["ps", "--filter", "name=["],
        &["ps", "--filter", "before=nosuch"],
        &["ps", "--filter", "web"],
    ];
    let mut text = String::new();
    for command in commands {
        text.push_str(&transcript(&docker, sandbox, command)?);
    }
    snapshot("ps", &text);
    let lines = docker.ran(["ps", "-a", "--format", "json"])?.stdout;
    let rows: Vec<Value> =
        lines.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
    let names: Vec<&Value> = rows.iter().map(|row| &row["Names"]).collect();
    assert_eq!(names, ["new", "ended", "frozen", "web"]);
    assert_eq!((&rows[2]["State"], &rows[0]["Size"]), (&json!("paused"), &json!("0B")));
    // The size is found out if somebody wants to see it.
    let size = docker.ran(["ps", "--filter", "name=web", "--format", "{{.Size}}"])?.stdout;
    assert!(size.starts_with("5B (virtual "), "{size}");
    drop(still);
    remove(&docker, &["web", "frozen", "ended", "new"])
}

fn ps_filters_choose(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // An image with one layer more.
    let run =
        ["run", "--name", "maker", "--network", "none", "busybox", "sh", "-c", "echo x > /made"];
    assert_eq!(docker.ran(run)?.code, 0);
    assert_eq!(docker.ran(["commit", "maker", "child"])?.code, 0);
    let volume = sandbox.path("folder");
    let bind = format!("{}:/bound", volume.display());
    let web = started(
        &docker,
        &[
            "--name",
            "web-1",
            "-p",
            "18080:80",
            "-p",
            "18053:53/udp",
            "--expose",
            "90",
            "-l",
            "a=1",
            "-l",
            "b",
        ],
        "exec sleep 1000",
    )?;
    let db = started(
        &docker,
        &["--name", "db", "--network", "none", "-l", "a=2", "-v", "data:/var/data", "-v", &bind],
        "exec sleep 1000",
    )?;
    let create = ["create", "--name", "web-2", "--network", "none", "child", "true"];
    assert_eq!(docker.ran(create)?.code, 0);
    let run = ["run", "--name", "failed", "--network", "none", "busybox", "sh", "-c", "exit 3"];
    assert_eq!(docker.ran(run)?.code, 3);
    let still = Frozen::new(&docker, &db)?;
    let parent = docker.ran(["images", "-q", "busybox"])?.stdout;
    let parent = format!("ancestor={}", parent.trim());
    let (id, folder) = (format!("id={}", &web[..9]), format!("volume={}", volume.display()));
    let table: &[(&[&str], &str)] = &[
        // Without -a only what runs, whatever the filter is, unless it is about states.
        (&["name=web"], "web-1"),
        (&["status=exited"], "failed maker"),
        (&["status=created"], "web-2"),
        (&["status=running"], "web-1"),
        (&["status=paused"], "db"),
        (&["status=paused", "status=created"], "web-2 db"),
        (&["status=dead"], ""),
        (&["status=removing"], ""),
        (&["status=restarting"], ""),
        // An exit code is none, though only what has ended has one: as Docker.
        (&["exited=3"], ""),
        (&["-a", "exited=3"], "failed"),
        (&["-a", "exited=0"], "maker"),
        (&["-a", "exited=0", "exited=3"], "failed maker"),
        (&["-a", "name=web"], "web-2 web-1"),
        (&["-a", "name=^web-[12]$"], "web-2 web-1"),
        (&["-a", "name=^/web-2$"], "web-2"),
        (&["-a", "name=web", "name=db"], "web-2 db web-1"),
        (&["-a", "name=web", "status=created"], "web-2"),
        (&["-a", &id], "web-1"),
        (&["-a", "label=a"], "db web-1"),
        (&["-a", "label=a=1"], "web-1"),
        (&["-a", "label=a", "label=b"], "web-1"),
        (&["-a", "label=a=2", "label=b"], ""),
        (&["-a", "ancestor=child"], "web-2"),
        (&["-a", "ancestor=busybox"], "failed web-2 db web-1 maker"),
        (&["-a", &parent], "failed web-2 db web-1 maker"),
        (&["-a", "ancestor=child", "ancestor=busybox"], "failed web-2 db web-1 maker"),
        (&["-a", "ancestor=nosuch"], ""),
        (&["-a", "before=db"], "web-1 maker"),
        (&["-a", "since=db"], "failed web-2"),
        (&["-a", "since=maker", "before=web-2"], "db web-1"),
        (&["-a", "volume=data"], "db"),
        (&["-a", "volume=/var/data"], "db"),
        (&["-a", &folder], "db"),
        (&["-a", "volume=/var"], ""),
        (&["-a", "network=bridge"], "web-1"),
        (&["-a", "network=none"], "failed web-2 db maker"),
        (&["-a", "publish=18080"], "web-1"),
        (&["-a", "publish=80"], ""),
        (&["-a", "publish=18000-18100/udp"], "web-1"),
        (&["-a", "expose=80"], "web-1"),
        (&["-a", "expose=90"], "web-1"),
        (&["-a", "expose=91", "publish=18080"], "web-1"),
        (&["-a", "expose=53"], ""),
        (&["-a", "health=none"], "failed web-2 db web-1 maker"),
        (&["-a", "health=healthy"], ""),
        (&["-a", "is-task=true"], ""),
        (&["is-task=false"], "db web-1"),
        (&["-n2", "name=web"], "web-2 web-1"),
        (&["-l", "label=a"], "db"),
    ];
    for (arguments, expected) in table {
        let mut command = vec!["ps", "--format", "{{.Names}}"];
        for argument in *arguments {
            if !argument.starts_with('-') {
                command.push("--filter");
            }
            command.push(argument);
        }
        let ran = docker.ran(&command)?;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}");
        assert_eq!(ran.stdout.replace('\n', " ").trim(), *expected, "{arguments:?}");
    }
    drop(still);
    remove(&docker, &["web-1", "web-2", "db", "failed", "maker"])
}

fn ps_never_shows_a_dead_one_as_running(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    started(&docker, &["--name", "victim", "--network", "none"], "exec sleep 1000")?;
    let pid = inspected(&docker, "{{.State.Pid}}", "victim")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(parent.parse()?),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    wait_until("it is gone", || {
        let all = docker.ran(["ps", "-a", "--format", "{{.Status}}"])?.stdout;
        // From one moment to the next, and never something else.
        assert!(all.starts_with("Up ") || all.starts_with("Exited (137) "), "{all}");
        Ok(all.starts_with("Exited"))
    })?;
    assert_eq!(docker.ran(["ps", "-q"])?.stdout, "");
    let state =
        inspected(&docker, "{{.State.Status}} {{.State.Running}} {{.State.Pid}}", "victim")?;
    assert_eq!(state, "exited false 0");
    remove(&docker, &["victim"])
}

fn ps_names_an_image_that_has_moved_by_its_id(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    created(&docker, &["--name", "one", "--network", "none"], &["true"])?;
    let image = || -> Result<String> {
        Ok(docker.ran(["ps", "-a", "--format", "{{.Image}}"])?.stdout.trim().to_owned())
    };
    assert_eq!(image()?, "busybox");
    let id = inspected(&docker, "{{.Image}}", "one")?;
    assert_eq!(docker.ran(["commit", "-m", "another", "one", "busybox"])?.code, 0);
    assert_eq!(format!("sha256:{}", image()?), id[..19]);
    // Its own settings are those of the image that it was made from.
    assert_eq!(inspected(&docker, "{{.Config.Image}} {{.Config.Cmd}}", "one")?, "busybox [true]");
    remove(&docker, &["one"])
}
