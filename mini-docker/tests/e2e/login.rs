//! `login`, `logout`, `search`, and the settings that registries are reached with.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use rexpect::session::{PtySession, spawn_command};
use testkit::registry::{Options, Registry, TokenOptions, TokenServer};
use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Ran, Result, finish, transcript};

pub const TESTS: &[Test] = &[
    ("login_has_dockers_mistakes_and_help", login_has_dockers_mistakes_and_help),
    ("settings_are_checked_before_anything", settings_are_checked_before_anything),
    ("logout_needs_no_root_and_forgets", logout_needs_no_root_and_forgets),
    ("logout_tells_the_helper", logout_tells_the_helper),
    ("an_unanswered_password_leaves_the_terminal", an_unanswered_password_leaves_the_terminal),
    ("a_password_is_checked_and_kept", a_password_is_checked_and_kept),
    ("a_helper_gets_the_password", a_helper_gets_the_password),
    ("an_identity_token_replaces_the_password", an_identity_token_replaces_the_password),
    ("login_asks_at_a_terminal", login_asks_at_a_terminal),
    ("search_shows_a_table", search_shows_a_table),
];

/// A user with a home of their own, who need not be root.
struct User {
    docker: Docker,
    home: PathBuf,
}

impl User {
    fn new(sandbox: &Sandbox) -> Result<Self> {
        let home = sandbox.path("home");
        fs::create_dir(&home)?;
        Ok(Self { docker: Docker::new(sandbox), home })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.docker.command(args);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("HOME", &self.home).env_remove("DOCKER_CONFIG");
        command.env("PATH", format!("{}:{path}", self.home.display()));
        command
    }

    fn ran(&self, args: &[&str]) -> Result<Ran> {
        finish(&mut self.command(args))
    }

    fn with_input(&self, input: &str, args: &[&str]) -> Result<Ran> {
        let (mut reader, mut writer) = std::io::pipe()?;
        writer.write_all(input.as_bytes())?;
        drop(writer);
        let ran = finish(self.command(args).stdin(reader.try_clone()?))?;
        // What was not read would have been lost for whoever reads next.
        let mut rest = String::new();
        reader.read_to_string(&mut rest)?;
        assert_eq!(rest, "");
        Ok(ran)
    }

    fn login(&self, server: &str, password: &str) -> Result<Ran> {
        self.with_input(password, &["login", "-u", "alice", "--password-stdin", server])
    }

    fn config(&self) -> PathBuf {
        self.home.join(".docker/config.json")
    }

    fn write_config(&self, text: &str) -> Outcome {
        fs::create_dir_all(self.home.join(".docker"))?;
        Ok(fs::write(self.config(), text)?)
    }

    fn read_config(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_slice(&fs::read(self.config())?)?)
    }

    /// A credential helper `box` that keeps one secret in the home.
    fn install_helper(&self) -> Outcome {
        let program = self.home.join("docker-credential-box");
        let script = "#!/bin/sh\ncd \"$HOME\"\ncase $1 in\nstore) cat >secret ;;\nerase) cat >erased; rm -f secret ;;\n\
                      get) cat secret 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;;\nesac\n";
        fs::write(&program, script)?;
        Ok(fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?)
    }
}

fn login_has_dockers_mistakes_and_help(sandbox: &Sandbox) -> Outcome {
    let user = User::new(sandbox)?;
    let mut text = String::new();
    let mut told = |args: &[&str]| -> Outcome {
        let ran = user.ran(args)?;
        text.push_str(&format!("$ mini-docker {}\n", args.join(" ")));
        text.push_str(&format!("{}{}? {}\n", ran.stdout, ran.stderr, ran.code));
        Ok(())
    };
    for args in [
        &["login"][..],
        &["login", "-u", "alice", "localhost:5000"],
        &["login", "-p", "secret", "localhost:5000"],
        &["login", "--password-stdin", "localhost:5000"],
        &["login", "-u", "a", "-p", "b", "--password-stdin", "localhost:5000"],
        &["login", "-u", "a", "--password-stdin", "localhost:5000"],
        &["login", "-u", "a:b", "-p", "c", "localhost:5000"],
        &["login", "user@host"],
        &["login", "one", "two"],
        &["logout", "https://"],
        &["search"],
        &["search", "https://docker.io/busybox"],
        &["search", "--limit", "101", "busybox"],
        &["search", "--filter", "stars=many", "busybox"],
        &["search", "--filter", "size=1", "busybox"],
        &["login", "--help"],
        &["logout", "--help"],
        &["search", "--help"],
    ] {
        told(args)?;
    }
    user.write_config("{\n  \"auths\": {\n")?;
    for args in [&["login", "-u", "a", "-p", "b", "localhost:5000"][..], &["logout"]] {
        told(args)?;
    }
    user.write_config(r#"{"credsStore": "missing"}"#)?;
    told(&["logout"])?;
    let text = text.replace(&*sandbox.dir.to_string_lossy(), "[SANDBOX]");
    insta::assert_snapshot!(text);
    assert_eq!(fs::read_to_string(user.config())?, r#"{"credsStore": "missing"}"#);
    Ok(())
}

fn settings_are_checked_before_anything(sandbox: &Sandbox) -> Outcome {
    let user = User::new(sandbox)?;
    let file = sandbox.path("daemon.json");
    let path = file.to_str().unwrap();
    let mut text =
        transcript(&user.docker, sandbox, &["--config-file", path, "search", "busybox"])?;
    fs::write(&file, "{\n  \"registry-mirrors\": [\"mirror.example\"]\n}\n")?;
    text.push_str(&transcript(&user.docker, sandbox, &["login", "--config-file", path])?);
    insta::assert_snapshot!(text);
    let ran = finish(user.command(&["login"]).env("MINI_DOCKER_CONFIG_FILE", path))?;
    assert!(ran.stderr.contains("`mirror.example`: a mirror needs a scheme"), "{ran:?}");
    fs::write(&file, r#"{"data-root": "/x", "max-concurrent-downloads": 1}"#)?;
    let ran = finish(user.command(&["login"]).env("MINI_DOCKER_CONFIG_FILE", path))?;
    assert!(ran.stderr.contains("from a non TTY device"), "{ran:?}");
    Ok(())
}

fn logout_needs_no_root_and_forgets(sandbox: &Sandbox) -> Outcome {
    let user = User::new(sandbox)?;
    user.write_config(
        r#"{"auths": {"localhost:5000": {"auth": "YTpi"}, "https://localhost:5000/v1/": {"auth": "YTpi"},
            "https://index.docker.io/v1/": {"auth": "YTpi"}}, "psFormat": "x"}"#,
    )?;
    let copy = sandbox.path("mini-docker");
    fs::copy(env!("CARGO_BIN_EXE_mini-docker"), &copy)?;
    for path in [&sandbox.dir, &user.home, &user.home.join(".docker"), &user.config()] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534))?;
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&copy);
    let ran = finish(command.args(["logout", "https://localhost:5000/"]).env("HOME", &user.home))?;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert_eq!(ran.stdout, "Removing login credentials for localhost:5000\n");
    let hub = serde_json::json!({"https://index.docker.io/v1/": {"auth": "YTpi"}});
    assert_eq!(user.read_config()?["auths"], hub);
    // Root puts the file where it was, and leaves it to its owner.
    let ran = user.ran(&["logout"])?;
    assert_eq!(ran.stdout, "Removing login credentials for https://index.docker.io/v1/\n");
    assert_eq!(user.read_config()?, serde_json::json!({"auths": {}, "psFormat": "x"}));
    let metadata = fs::metadata(user.config())?;
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&metadata), 65534);
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    Ok(())
}

fn logout_tells_the_helper(sandbox: &Sandbox) -> Outcome {
    let user = User::new(sandbox)?;
    user.install_helper()?;
    user.write_config(r#"{"auths": {"h": {}}, "credHelpers": {"h": "box"}}"#)?;
    let ran = user.ran(&["logout", "h"])?;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert_eq!(fs::read_to_string(user.home.join("erased"))?, "h");
    assert_eq!(user.read_config()?["auths"], serde_json::json!({}));
    Ok(())
}

/// A shell at a terminal, which remembers how the terminal was.
fn shell(user: &User) -> Result<PtySession> {
    let mut command = Command::new("/bin/busybox");
    command.arg("sh").env("PS1", "host> ").env("HOME", &user.home).env_remove("DOCKER_CONFIG");
    let mut session = spawn_command(command, Some(10_000))?;
    session.exp_string("host> ")?;
    // rexpect makes a terminal that shows nothing that is typed.
    session.send_line("stty echo; A=$(stty -g); echo sa''ved")?;
    session.exp_string("saved")?;
    session.exp_string("host> ")?;
    Ok(session)
}

/// The terminal is as it was; then the shell ends.
fn leave(mut session: PtySession) -> Outcome {
    session.send_line("test \"$A\" = \"$(stty -g)\" && echo sa''me || echo dif''ferent")?;
    session.exp_regex("same|different").map(|(_, found)| assert_eq!(found, "same"))?;
    session.exp_string("host> ")?;
    session.send_line("exit")?;
    session.exp_eof()?;
    Ok(())
}

fn an_unanswered_password_leaves_the_terminal(sandbox: &Sandbox) -> Outcome {
    let user = User::new(sandbox)?;
    let mut session = shell(&user)?;
    let login = format!("{} login localhost:1; echo co''de $?", env!("CARGO_BIN_EXE_mini-docker"));
    for (end, code) in [('c', "code 130"), ('\\', "code 131")] {
        session.send_line(&login)?;
        session.exp_string("Username: ")?;
        session.send_line("alice")?;
        session.exp_string("Password: ")?;
        session.send("sec")?;
        session.send_control(end)?;
        session.exp_string(code)?;
        session.exp_string("host> ")?;
    }
    // The end of input is an empty answer.
    session.send_line(&login)?;
    session.exp_string("Username: ")?;
    session.send_control('d')?;
    session.exp_string("Non-null Username Required")?;
    session.exp_string("code 1")?;
    session.exp_string("host> ")?;
    assert!(!user.config().exists());
    leave(session)
}

fn a_password_is_checked_and_kept(sandbox: &Sandbox) -> Outcome {
    let user = User::new(sandbox)?;
    let options = Options { htpasswd: Some(("alice", "s:e cret")), ..Options::default() };
    let registry = Registry::start(sandbox, options)?;
    let server = registry.address();
    let ran = user.login(server, "wrong\n")?;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(!user.config().exists());

    let ran = user.login(&format!("http://{server}/"), "s:e cret\r\n")?;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Login Succeeded\n"), "{ran:?}");
    assert!(ran.stderr.starts_with("WARNING! Your password will be stored unencrypted in "));
    let config = user.read_config()?;
    // base64 of alice:s:e cret
    assert_eq!(config["auths"][server], serde_json::json!({"auth": "YWxpY2U6czplIGNyZXQ="}));
    assert_eq!(fs::metadata(user.config())?.permissions().mode() & 0o7777, 0o600);

    let ran = user.ran(&["login", server])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout, "Authenticating with existing credentials...\nLogin Succeeded\n");

    // A stored password that is wrong by now is told, and nobody is there to be asked for another.
    user.write_config(&format!(r#"{{"auths": {{"{server}": {{"auth": "YWxpY2U6b2xk"}}}}}}"#))?;
    let ran = user.ran(&["login", server])?;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.starts_with("Login did not succeed, error: "), "{ran:?}");
    assert!(ran.stderr.contains("from a non TTY device"), "{ran:?}");

    let ran = user.ran(&["login", "-u", "alice", "-p", "s:e cret", server])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let insecure = "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n";
    assert!(ran.stderr.starts_with(insecure), "{ran:?}");
    assert_eq!(user.ran(&["logout", server])?.code, 0);
    assert_eq!(user.read_config()?["auths"], serde_json::json!({}));
    Ok(())
}

fn a_helper_gets_the_password(sandbox: &Sandbox) -> Outcome {
    let user = User::new(sandbox)?;
    user.install_helper()?;
    user.write_config(r#"{"credsStore": "box"}"#)?;
    let options = Options { htpasswd: Some(("alice", "secret")), ..Options::default() };
    let registry = Registry::start(sandbox, options)?;
    let server = registry.address();
    let ran = user.login(server, "secret")?;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let kept: serde_json::Value = serde_json::from_slice(&fs::read(user.home.join("secret"))?)?;
    let expected =
        serde_json::json!({"ServerURL": server, "Username": "alice", "Secret": "secret"});
    assert_eq!(kept, expected);
    assert_eq!(user.read_config()?["auths"][server], serde_json::json!({}));
    let ran = user.ran(&["login", server])?;
    assert!(ran.stdout.contains("existing credentials...\nLogin Succeeded\n"), "{ran:?}");
    Ok(())
}

fn an_identity_token_replaces_the_password(sandbox: &Sandbox) -> Outcome {
    let user = User::new(sandbox)?;
    let options = TokenOptions { users: &[("alice", "secret")], ..TokenOptions::default() };
    let tokens = TokenServer::start(sandbox, options)?;
    let registry =
        Registry::start(sandbox, Options { token: Some(&tokens), ..Options::default() })?;
    let server = registry.address();
    assert_eq!(user.login(server, "wrong")?.code, 1);
    let ran = user.login(server, "secret")?;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Login Succeeded\n"), "{ran:?}");
    // No password is stored, so there is nothing to warn of.
    assert_eq!(ran.stderr, "");
    let entry = &user.read_config()?["auths"][server];
    assert_eq!(entry["auth"], "YWxpY2U6", "alice: without a password");
    assert!(entry["identitytoken"].as_str().is_some_and(|token| !token.is_empty()), "{entry}");
    Ok(())
}

fn login_asks_at_a_terminal(sandbox: &Sandbox) -> Outcome {
    let user = User::new(sandbox)?;
    let options = Options { htpasswd: Some(("alice", "secret")), ..Options::default() };
    let registry = Registry::start(sandbox, options)?;
    let mut session = shell(&user)?;
    let binary = env!("CARGO_BIN_EXE_mini-docker");
    session.send_line(&format!("{binary} login {}; echo co''de $?", registry.address()))?;
    session.exp_string("Username: ")?;
    session.send_line("alice")?;
    session.exp_string("Password: ")?;
    session.send_line("secret")?;
    let between = session.exp_string("Login Succeeded")?;
    assert!(!between.contains("secret"), "the password is shown: {between:?}");
    session.exp_string("code 0")?;
    session.exp_string("host> ")?;
    leave(session)
}

/// Answers every request as Docker Hub's index answers a search, until it is asked for `/quit`.
fn index(listener: std::net::TcpListener) -> Vec<String> {
    let body = r#"{"num_results": 2, "query": "box", "results": [
        {"name": "alice/box", "description": "A box\u001b[31m\nof alice", "star_count": 7},
        {"name": "box", "description": "The official box, with a description that goes on", "star_count": 900, "is_official": true}]}"#;
    let mut asked = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        // 22 begins a TLS handshake, which is tried first: this is no TLS server.
        while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.first() != Some(&22) {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(length) => request.extend_from_slice(&buffer[..length]),
            }
        }
        if request.first() == Some(&22) {
            continue;
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        let line = request.lines().next().unwrap_or_default().to_owned();
        if line.contains("/quit") {
            break;
        }
        asked.push(line);
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).ok();
    }
    asked
}

fn search_shows_a_table(sandbox: &Sandbox) -> Outcome {
    let user = User::new(sandbox)?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = std::thread::spawn(move || index(listener));
    let ran = user.ran(&["search", &format!("{address}/box")]);
    let official = user.ran(&["search", "-f", "is-official=true", &format!("{address}/box")]);
    std::net::TcpStream::connect(address)?.write_all(b"GET /quit HTTP/1.1\r\n\r\n")?;
    let asked = server.join().unwrap();
    let ran = ran?;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{asked:?} {ran:?}");
    insta::assert_snapshot!(ran.stdout);
    assert!(
        asked.iter().any(|line| line.contains("/v1/search?") && line.contains("n=25")),
        "{asked:?}"
    );
    let official = official?;
    assert!(!official.stdout.contains("alice"), "{official:?}");
    Ok(())
}
