//! `cp` by Docker's rules: what goes where, and what it brings along.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Ran, Result, finish, stdout, transcript, wait_until};

pub const TESTS: &[Test] = &[
    ("cp_follows_dockers_rules_both_ways", cp_follows_dockers_rules_both_ways),
    ("cp_says_what_is_wrong", cp_says_what_is_wrong),
    ("cp_tells_how_far_it_is_on_a_terminal", cp_tells_how_far_it_is_on_a_terminal),
    ("an_archive_of_what_is_in_a_folder_says_so", an_archive_of_what_is_in_a_folder_says_so),
    ("looking_at_files_is_an_event", looking_at_files_is_an_event),
    ("cp_carries_what_belongs_to_a_file", cp_carries_what_belongs_to_a_file),
    ("cp_of_a_big_file_is_the_file", cp_of_a_big_file_is_the_file),
];

pub fn ok(ran: Ran) -> Result<String> {
    if ran.code == 0 { Ok(ran.stdout) } else { Err(format!("{ran:?}").into()) }
}

pub fn shell(script: &str, dir: &Path) -> Result<String> {
    stdout(Command::new("sh").args(["-euc", script]).current_dir(dir))
}

/// A container in the background that has run a script. It goes with this value.
pub struct Boxed<'d> {
    docker: &'d Docker,
}

impl<'d> Boxed<'d> {
    pub fn new(docker: &'d Docker, flags: &[&str], script: &str) -> Result<Self> {
        let script = format!("{{ {script}\n}} && echo ready > /ready; exec sleep 1000");
        let fixed = ["run", "-d", "--name", "box", "--network", "none"];
        let image = ["busybox", "sh", "-c", &script];
        ok(docker.ran(fixed.iter().chain(flags).chain(&image))?)?;
        let started = Self { docker };
        wait_until("the script has run", || Ok(docker.ran(["cp", "box:/ready", "-"])?.code == 0))?;
        Ok(started)
    }
}

impl Drop for Boxed<'_> {
    fn drop(&mut self) {
        self.docker.ran(["rm", "-f", "box"]).ok();
    }
}

/// What is below a folder: path, and `dir`, `-> target` or the text.
pub fn listing(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            let kind = std::fs::symlink_metadata(&path)?.file_type();
            let what = if kind.is_dir() {
                folders.push(path.clone());
                "dir".to_owned()
            } else if kind.is_symlink() {
                format!("-> {}", std::fs::read_link(&path)?.display())
            } else if kind.is_file() {
                String::from_utf8_lossy(&std::fs::read(&path)?).into_owned()
            } else {
                "special".to_owned()
            };
            all.insert(path.strip_prefix(folder)?.display().to_string(), what);
        }
    }
    Ok(all)
}

/// Source, destination, what is new or different afterwards; or a part of the error, and nothing is.
type Rule = (
    &'static str,
    &'static str,
    std::result::Result<&'static [(&'static str, &'static str)], &'static str>,
);

/// Docker's documentation of `docker cp`, line by line.
const RULES: &[Rule] = &[
    ("file", "d", Ok(&[("d/file", "text")])),
    ("file", "d/", Ok(&[("d/file", "text")])),
    ("file", "d/.", Ok(&[("d/file", "text")])),
    ("file", "f", Ok(&[("f", "text")])),
    ("file", "n", Ok(&[("n", "text")])),
    ("file", "n/", Err("no such directory")),
    ("file", "f/", Err("not a directory")),
    ("file", "no/n", Err("no such directory")),
    ("file", "f/n", Err("not a directory")),
    ("file", "to-d", Ok(&[("d/file", "text")])),
    ("file", "to-f", Ok(&[("f", "text")])),
    ("file", "to-nothing", Ok(&[("nothing", "text")])),
    ("file", "to-itself", Err("ELOOP")),
    ("file/", "d", Err("not a directory")),
    ("file/.", "d", Err("not a directory")),
    ("nosuch", "d", Err("no such file|could not find the file")),
    ("dir", "d", Ok(&[("d/dir", "dir"), ("d/dir/inner", "in")])),
    ("dir/", "d/", Ok(&[("d/dir", "dir"), ("d/dir/inner", "in")])),
    ("dir/.", "d", Ok(&[("d/inner", "in")])),
    ("dir", "n", Ok(&[("n", "dir"), ("n/inner", "in")])),
    ("dir", "n/", Ok(&[("n", "dir"), ("n/inner", "in")])),
    ("dir/.", "n", Ok(&[("n", "dir"), ("n/inner", "in")])),
    ("dir", "f", Err("cannot copy directory")),
    ("dir/.", "f", Err("cannot copy directory")),
    ("dir", "no/n", Err("no such directory")),
    // What is there already stays, unless it is replaced.
    ("dir", "full", Ok(&[("full/dir/inner", "in")])),
    ("dir", "file-in-the-way", Err("cannot overwrite non-directory with directory")),
    ("file", "folder-in-the-way", Err("cannot overwrite directory with non-directory")),
    ("to-file", "d", Ok(&[("d/to-file", "-> file")])),
    ("-L to-file", "d", Ok(&[("d/to-file", "text")])),
    ("-L to-file", "n", Ok(&[("n", "text")])),
    ("to-dir", "d", Ok(&[("d/to-dir", "-> dir")])),
    ("to-dir/", "d", Ok(&[("d/to-dir", "dir"), ("d/to-dir/inner", "in")])),
    ("-L to-dir", "d", Ok(&[("d/to-dir", "dir"), ("d/to-dir/inner", "in")])),
    ("to-dir/.", "d", Ok(&[("d/inner", "in")])),
    ("dir/../file", "d/../n", Ok(&[("n", "text")])),
];

fn cp_follows_dockers_rules_both_ways(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // The same trees on both sides; what the container has is a folder that we can look into.
    shell(
        "mkdir -p inside/dir source/dir; for s in inside source; do cd $s
           printf text > file; printf in > dir/inner; ln -s file to-file; ln -s dir to-dir; cd ..; done",
        &sandbox.dir,
    )?;
    let goal = "rm -rf goal; mkdir -p goal/d goal/full/dir goal/file-in-the-way goal/folder-in-the-way/file; cd goal
        printf old > f; ln -s d to-d; ln -s f to-f; ln -s nothing to-nothing; ln -s to-itself to-itself
        printf old > full/dir/old; printf old > full/dir/inner; printf old > file-in-the-way/dir";
    let volume = format!("{}:/box", sandbox.dir.display());
    ok(docker.ran(["create", "--name", "box", "--network", "none", "-v", &volume, "busybox"])?)?;
    let here = |path: &str| sandbox.path(path).display().to_string();
    for (source, to, expected) in RULES {
        for out in [true, false] {
            shell(goal, &sandbox.dir)?;
            let before = listing(&sandbox.path("goal"))?;
            let (flag, from) = source.split_once(' ').map_or(("-q", *source), |pair| pair);
            let (from, to) = match out {
                true => (format!("box:/box/inside/{from}"), here(&format!("goal/{to}"))),
                false => (here(&format!("source/{from}")), format!("box:box/goal/{to}")),
            };
            let ran = docker.ran(["cp", flag, &from, &to])?;
            let mut wanted = before;
            match expected {
                Ok(news) => {
                    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{from} {to}: {ran:?}");
                    wanted.extend(news.iter().map(|(path, what)| ((*path).into(), (*what).into())));
                }
                Err(words) => {
                    assert_eq!(ran.code, 1, "{from} {to}: {ran:?}");
                    assert!(
                        words.split('|').any(|words| ran.stderr.contains(words)),
                        "{from} {to}: {ran:?}"
                    );
                }
            }
            // A directory that was begun before something was in the way is there, as with cp(1).
            assert_eq!(listing(&sandbox.path("goal"))?, wanted, "{from} {to}");
        }
    }
    ok(docker.ran(["rm", "box"])?)?;
    Ok(())
}

fn cp_says_what_is_wrong(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let _box = Boxed::new(&docker, &[], "true")?;
    let path = |name: &str| sandbox.path(name).display().to_string();
    std::fs::create_dir(sandbox.path("dir"))?;
    std::fs::write(sandbox.path("dir/file"), "text")?;
    let mut text = String::new();
    for arguments in [
        &["cp", "--quiet=false", &path("dir"), "box:/tmp"][..],
        &["cp", "-q=false", "box:/tmp/dir/.", &path("dir")],
        &["cp", &path("dir"), "box:/tmp"],
        &["cp", "box:/nosuch", &path("x")],
        &["cp", "nosuch:/x", &path("x")],
        &["cp", &path("nosuch"), "box:/"],
        &["cp", &path("dir"), "box:/bin/busybox"],
        &["cp", &path("dir/file"), "box:/no/such"],
        &["cp", &path("dir/file"), "box:/tmp/new/"],
        &["cp", &path("dir/file"), "box:/dev/null"],
        &["cp", &path("dir/file"), "box:/proc/sys/kernel/hostname"],
        &["cp", "box:/proc/version", &path("x")],
        &["cp", "box:/etc/passwd", "/dev/null"],
        &["cp", "box:/etc", "box:/tmp"],
        &["cp", "one", "two"],
        &["cp", "-", "-"],
        &["cp", "box:", &path("x")],
        &["cp", "box:/etc"],
        &["cp", "-", "box:/etc/passwd"],
        &["diff", "nosuch"],
    ] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    // A name with a colon is a container unless it says otherwise.
    std::fs::write(sandbox.path("a:b"), "text")?;
    for name in ["a:b", "./a:b"] {
        let mut command = docker.command(["cp", name, "box:/tmp/"]);
        let ran = finish(command.current_dir(&sandbox.dir))?;
        text.push_str(&format!(
            "$ mini-docker cp {name} box:/tmp/\n{}? {}\n",
            ran.stderr, ran.code
        ));
    }
    // A terminal is no place for an archive: script(1) gives it one.
    let binary = env!("CARGO_BIN_EXE_mini-docker");
    for verb in ["cp box:/etc -", "cp - box:/tmp", "cp box:/etc/passwd ."] {
        let roots = format!("--root {} --run-root {}", path("root"), path("run"));
        let typed = format!("{binary} {roots} {verb}");
        let mut script = Command::new("script");
        script.args(["-qec", &typed, "/dev/null"]).current_dir(&sandbox.dir);
        text.push_str(&format!("$ mini-docker {verb}   (in a terminal)\n"));
        let said = String::from_utf8_lossy(&script.output()?.stdout).replace('\r', "");
        text.push_str(&said.replace(&*sandbox.dir.to_string_lossy(), "[SANDBOX]"));
    }
    insta::assert_snapshot!(text);
    Ok(())
}

fn cp_tells_how_far_it_is_on_a_terminal(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let running = Boxed::new(&docker, &[], "true")?;
    shell("seq 100000 > numbers; tar -cf numbers.tar numbers", &sandbox.dir)?;
    let binary = env!("CARGO_BIN_EXE_mini-docker");
    let roots = format!(
        "--root {} --run-root {}",
        sandbox.path("root").display(),
        sandbox.path("run").display()
    );
    // The second half of the archive comes late: this copy cannot be done at once.
    let slow = "(head -c 300000 numbers.tar; sleep 0.3; tail -c +300001 numbers.tar)";
    let on_terminal = |flags: &str| -> Result<String> {
        let typed = format!("{slow} | {binary} {roots} cp {flags} - box:/tmp");
        let mut script = Command::new("script");
        script.args(["-qec", &typed, "/dev/null"]).current_dir(&sandbox.dir);
        Ok(String::from_utf8_lossy(&script.output()?.stdout).into_owned())
    };
    let said = on_terminal("")?;
    assert!(said.starts_with("\rCopying to container - "), "{said:?}");
    let end = "\r\u{1b}[KSuccessfully copied 589kB to box:/tmp\r\n";
    assert!(said.ends_with(end), "{said:?}");
    assert_eq!(on_terminal("-q")?, "");
    // In a pipe: nothing, or what was asked for.
    for (flags, expected) in [("", ""), ("-q=false", "Successfully copied 589kB to box:/tmp\n")] {
        let typed = format!("{slow} | {binary} {roots} cp {flags} - box:/tmp 2>&1");
        assert_eq!(shell(&typed, &sandbox.dir)?, expected, "{flags}");
    }
    drop(running);
    Ok(())
}

fn an_archive_of_what_is_in_a_folder_says_so(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let running = Boxed::new(&docker, &[], "mkdir -p /a/d; echo x > /a/d/f; ln /a/d/f /a/g")?;
    // As Docker names them.
    for (path, expected) in [
        ("/a", "a/ a/d/ a/d/f a/g "),
        ("/a/", "a/ a/d/ a/d/f a/g "),
        ("/a/.", "./ ./d/ ./d/f ./g "),
        ("/a/d/f", "f "),
    ] {
        let copy =
            docker.command(["cp", &format!("box:{path}"), "-"]).stdout(Stdio::piped()).spawn()?;
        let mut list = Command::new("sh");
        list.args(["-c", "tar -t | tr '\\n' ' '"]).stdin(copy.stdout.unwrap());
        assert_eq!(stdout(&mut list)?, expected, "{path}");
    }
    drop(running);
    Ok(())
}

fn looking_at_files_is_an_event(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let running = Boxed::new(&docker, &[], "true")?;
    let events = || {
        let range = ["events", "--since", "1", "--until", "0s", "--filter", "type=container"];
        let ran = docker.ran(range.iter().chain(&["--format", "{{.Status}}"]))?;
        Ok::<_, Box<dyn std::error::Error>>(ran.stdout)
    };
    let before = events()?;
    let here = sandbox.path("x").display().to_string();
    ok(docker.ran(["cp", "box:/etc/passwd", &here])?)?;
    ok(docker.ran(["cp", &here, "box:/tmp"])?)?;
    docker.ran(["cp", "box:/nosuch", &here])?;
    ok(docker.ran(["export", "-o", &here, "box"])?)?;
    ok(docker.ran(["top", "box"])?)?;
    let since = events()?[before.len()..].to_owned();
    assert_eq!(since, "archive-path\nextract-to-dir\nexport\ntop\n");
    drop(running);
    Ok(())
}

fn cp_carries_what_belongs_to_a_file(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let made = "mkdir -p /out/dir; cd /out; echo text > dir/file; ln dir/file hard; ln -s /etc/passwd link; mkfifo -m 600 fifo
        mknod null c 1 3; chown 5:6 dir dir/file; chmod 4750 dir/file; chmod 2711 dir
        touch -d '2001-02-03 04:05:06' dir/file; touch -d '2001-02-03 04:05:07' dir; chown -h 7:8 link";
    let running = Boxed::new(&docker, &[], made)?;
    let here = |path: &str| sandbox.path(path).display().to_string();
    let show = "find . -mindepth 1 -printf '%P %y %m %U:%G %n %T@ %l\\n' | LC_ALL=C sort | sed 's/\\.0000000000//'";
    let shown = |folder: &str| {
        let list = shell(&format!("cd {folder}; {show}"), &sandbox.dir)?;
        // Times that were not set are of now.
        let mut settings = String::new();
        for line in list.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let time = if words[5].starts_with("981") { words[5] } else { "now" };
            settings.push_str(&format!(
                "{} {} {}\n",
                words[..5].join(" "),
                time,
                words[6..].join(" ").trim()
            ));
        }
        Ok::<String, Box<dyn std::error::Error>>(settings)
    };
    let plain = docker.ran(["cp", "box:/out", &here("plain")])?;
    assert_eq!(plain.code, 0, "{plain:?}");
    assert!(plain.stderr.contains("1 device nodes were left out"), "{plain:?}");
    ok(docker.ran(["cp", "-a", "box:/out", &here("kept")])?)?;
    let mut text = format!("cp\n{}cp -a\n{}", shown("plain")?, shown("kept")?);

    // And back, with an attribute of the user's.
    xattr::set(sandbox.path("kept/dir/file"), "user.note", b"mine")?;
    ok(docker.ran(["cp", &here("kept"), "box:/in"])?)?;
    ok(docker.ran(["cp", "-a", &here("kept"), "box:/in-kept"])?)?;
    for name in ["in", "in-kept"] {
        ok(docker.ran([
            "cp",
            "-a",
            &format!("box:/{name}"),
            &sandbox.dir.display().to_string(),
        ])?)?;
        text.push_str(&format!("{name}\n{}", shown(name)?));
        let note = xattr::get(sandbox.path(format!("{name}/dir/file")), "user.note")?;
        assert_eq!(note.as_deref(), Some(&b"mine"[..]), "{name}");
    }
    drop(running);
    insta::assert_snapshot!(text);
    Ok(())
}

fn cp_of_a_big_file_is_the_file(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let running = Boxed::new(&docker, &[], "true")?;
    // 40 MB that repeat nowhere, and 5 GB of which only the two ends are there.
    shell(
        "mkdir from; seq 5000000 > from/numbers; truncate -s 5G from/holes; printf end >> from/holes
         printf begin | dd of=from/holes conv=notrunc 2> dd.log",
        &sandbox.dir,
    )?;
    let path = |name: &str| sandbox.path(name).display().to_string();
    ok(docker.ran(["cp", &path("from"), "box:/big"])?)?;
    ok(docker.ran(["cp", "box:/big", &path("back")])?)?;
    shell(
        "cmp from/numbers back/numbers; tail -c 3 back/holes | grep -q end; head -c 5 back/holes | grep -q begin",
        &sandbox.dir,
    )?;
    let (from, back) =
        (std::fs::metadata(path("from/holes"))?, std::fs::metadata(path("back/holes"))?);
    assert_eq!(from.len(), back.len());
    assert!(back.blocks() < 2000, "the holes were filled: {} blocks", back.blocks());
    let tar = docker.command(["cp", "box:/big/numbers", "-"]).stdout(Stdio::piped()).spawn()?;
    let mut cmp = Command::new("sh");
    cmp.args(["-c", "tar -xO numbers | cmp - from/numbers"]).current_dir(&sandbox.dir);
    let compared = cmp.stdin(tar.stdout.unwrap()).status()?;
    assert!(compared.success());
    drop(running);
    Ok(())
}
