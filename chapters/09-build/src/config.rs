//! The settings of the image that is being built: what `ENV`, `CMD`, `EXPOSE` and so on leave in its config.
//!
//! An image's config (config.md of the OCI image specification) has an object `config`: what a container of it does if
//! nobody says otherwise. Each instruction changes that object and nothing else; `RUN` and `COPY` change files instead.
//! Docker has more keys in it than the specification: `Healthcheck`, `Shell`, `OnBuild`.

use serde_json::{Map, Value, json};

use crate::instruction::{Command, Healthcheck};

/// Search path of a shell in an image that says nothing about it.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The object `config`, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    object: Map<String, Value>,
    /// `CMD` was given in this stage: an `ENTRYPOINT` after it lets it stay.
    has_own_cmd: bool,
}

impl Settings {
    /// The settings of a stage that begins with an image or another stage; its triggers are taken out. One that has no
    /// `PATH` gets the default one, as in BuildKit.
    pub fn of_base(mut object: Map<String, Value>) -> (Self, Vec<String>) {
        object.retain(|_, value| !value.is_null());
        let triggers = object.shift_remove("OnBuild");
        let triggers = triggers.and_then(|list| serde_json::from_value(list).ok());
        let mut settings = Self { object, has_own_cmd: false };
        if settings.variable("PATH").is_none() {
            settings.set_env("PATH", DEFAULT_PATH);
        }
        (settings, triggers.unwrap_or_default())
    }

    /// The settings of `FROM scratch`.
    pub fn of_scratch() -> Self {
        let mut new = Self { object: Map::new(), has_own_cmd: false };
        new.set_env("PATH", DEFAULT_PATH);
        new.object.insert("WorkingDir".into(), "/".into());
        new
    }

    /// The object, for the image's config.
    pub fn object(&self) -> &Map<String, Value> {
        &self.object
    }

    /// `NAME=value`, in the order in which they were first set.
    pub fn env(&self) -> Vec<(String, String)> {
        let lines = self.strings("Env");
        lines.iter().filter_map(|line| line.split_once('=')).map(own).collect()
    }

    /// Value of one variable.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.env().into_iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// `ENV`.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let line = format!("{name}={value}");
        let mut lines = self.strings("Env");
        let same = |old: &&mut String| old.split_once('=').map(|(own, _)| own) == Some(name);
        match lines.iter_mut().find(same) {
            Some(old) => *old = line,
            None => lines.push(line),
        }
        self.object.insert("Env".into(), lines.into());
    }

    /// `LABEL`.
    pub fn set_label(&mut self, name: &str, value: &str) {
        object(&mut self.object, "Labels").insert(name.to_owned(), value.into());
    }

    /// `CMD`.
    pub fn set_cmd(&mut self, command: &Command) {
        self.has_own_cmd = true;
        self.object.insert("Cmd".into(), self.arguments(command).into());
    }

    /// `ENTRYPOINT`: a `CMD` of the base was meant for the old entry point, and goes.
    pub fn set_entrypoint(&mut self, command: &Command) {
        self.object.insert("Entrypoint".into(), self.arguments(command).into());
        if !self.has_own_cmd {
            self.object.shift_remove("Cmd");
        }
    }

    /// The words to execute: the exec form as it is, the shell form as one argument of the shell.
    pub fn arguments(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(arguments) => arguments.clone(),
            Command::Shell(line) => {
                let mut arguments = self.shell();
                arguments.push(line.clone());
                arguments
            }
        }
    }

    /// `SHELL`, or `/bin/sh -c`.
    pub fn shell(&self) -> Vec<String> {
        let shell = self.strings("Shell");
        if shell.is_empty() { vec!["/bin/sh".to_owned(), "-c".to_owned()] } else { shell }
    }

    /// `SHELL`.
    pub fn set_shell(&mut self, shell: &[String]) {
        self.object.insert("Shell".into(), shell.into());
    }

    /// `EXPOSE`: `80`, `53/udp`, `8000-8010`; with nothing said, of TCP.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn expose(&mut self, port: &str) -> Result<(), String> {
        let ports = ports(port)?;
        let exposed = object(&mut self.object, "ExposedPorts");
        exposed.extend(ports.into_iter().map(|port| (port, json!({}))));
        exposed.sort_keys();
        Ok(())
    }

    /// `VOLUME`.
    ///
    /// # Errors
    /// If the path is empty.
    pub fn add_volume(&mut self, path: &str) -> Result<(), String> {
        if path.is_empty() {
            return Err("VOLUME specified can not be an empty string".to_owned());
        }
        let volumes = object(&mut self.object, "Volumes");
        volumes.insert(path.to_owned(), json!({}));
        volumes.sort_keys();
        Ok(())
    }

    /// `USER`.
    pub fn set_user(&mut self, user: &str) {
        self.object.insert("User".into(), user.into());
    }

    /// Who executes the next `RUN`; empty is root.
    pub fn user(&self) -> &str {
        self.string("User")
    }

    /// `WORKDIR`: an absolute path, or one from the directory before. Returns the new one, cleaned.
    pub fn set_workdir(&mut self, path: &str) -> String {
        let path = join(self.workdir(), path);
        self.object.insert("WorkingDir".into(), path.as_str().into());
        path
    }

    /// Where relative paths begin.
    pub fn workdir(&self) -> &str {
        match self.string("WorkingDir") {
            "" => "/",
            path => path,
        }
    }

    /// `STOPSIGNAL`.
    ///
    /// # Errors
    /// If there is no such signal.
    pub fn set_stop_signal(&mut self, signal: &str) -> Result<(), String> {
        if !is_signal(signal) {
            return Err(format!("invalid signal: {signal}"));
        }
        self.object.insert("StopSignal".into(), signal.into());
        Ok(())
    }

    /// `HEALTHCHECK`: times in nanoseconds; what is not given is not written.
    pub fn set_healthcheck(&mut self, check: &Healthcheck) {
        let check = match check {
            Healthcheck::None => json!({"Test": ["NONE"]}),
            Healthcheck::Test {
                command,
                interval,
                timeout,
                start_period,
                start_interval,
                retries,
            } => {
                let test = match command {
                    Command::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
                    Command::Exec(words) => [&["CMD".to_owned()], &words[..]].concat(),
                };
                let mut object = Map::new();
                object.insert("Test".into(), test.into());
                let times = [
                    ("Interval", interval),
                    ("Timeout", timeout),
                    ("StartPeriod", start_period),
                    ("StartInterval", start_interval),
                ];
                for (key, time) in times.into_iter().filter(|(_, time)| !time.is_zero()) {
                    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                    object.insert(key.into(), nanoseconds.into());
                }
                if *retries > 0 {
                    object.insert("Retries".into(), (*retries).into());
                }
                Value::Object(object)
            }
        };
        self.object.insert("Healthcheck".into(), check);
    }

    /// `ONBUILD`: an instruction for whoever builds on this image.
    pub fn add_trigger(&mut self, instruction: &str) {
        let mut triggers = self.strings("OnBuild");
        triggers.push(instruction.to_owned());
        self.object.insert("OnBuild".into(), triggers.into());
    }

    fn string(&self, key: &str) -> &str {
        self.object.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn strings(&self, key: &str) -> Vec<String> {
        let list = self.object.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn object<'m>(map: &'m mut Map<String, Value>, key: &str) -> &'m mut Map<String, Value> {
    let value = map.entry(key).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("it was made an object above"),
    }
}

/// `80-82/udp` is `80/udp`, `81/udp`, `82/udp`.
fn ports(text: &str) -> Result<Vec<String>, String> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |text: &str| text.parse::<u16>().ok();
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => {
            Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
        }
        _ => Err(format!("invalid containerPort: {range}")),
    }
}

/// An absolute path without `.`, `..` and double slashes, as text: no link is looked at.
pub fn join(before: &str, path: &str) -> String {
    let start = if path.starts_with('/') { "" } else { before };
    let mut parts: Vec<&str> = Vec::new();
    for part in start.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// `SIGTERM`, `TERM`, `15`, `RTMIN+3`.
fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |sign: char, prefix: &str| {
        let rest = name.strip_prefix(prefix)?;
        let offset = if rest.is_empty() { "0" } else { rest.strip_prefix(sign)? };
        offset.parse::<u8>().ok().filter(|offset| *offset <= 30)
    };
    real_time('+', "RTMIN").is_some()
        || real_time('-', "RTMAX").is_some()
        || format!("SIG{name}").parse::<nix::sys::signal::Signal>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn base(value: Value) -> Settings {
        Settings::of_base(value.as_object().unwrap().clone()).0
    }

    fn shell(line: &str) -> Command {
        Command::Shell(line.to_owned())
    }

    fn exec(words: &[&str]) -> Command {
        Command::Exec(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn commands_are_wrapped_by_the_shell_of_their_time() {
        let mut settings = base(json!({}));
        settings.set_cmd(&shell("echo $A"));
        assert_eq!(settings.object["Cmd"], json!(["/bin/sh", "-c", "echo $A"]));
        settings.set_shell(&["/bin/bash".to_owned(), "-ec".to_owned()]);
        assert_eq!(settings.object["Cmd"], json!(["/bin/sh", "-c", "echo $A"]), "as it was");
        settings.set_entrypoint(&shell("exec app"));
        assert_eq!(settings.object["Entrypoint"], json!(["/bin/bash", "-ec", "exec app"]));
        settings.set_entrypoint(&exec(&["app", "-v"]));
        assert_eq!(settings.object["Entrypoint"], json!(["app", "-v"]));
    }

    #[test]
    fn an_entrypoint_resets_the_command_of_the_base_only() {
        let of_base = json!({"Cmd": ["sh"], "Entrypoint": ["/old"]});
        let mut settings = base(of_base.clone());
        settings.set_entrypoint(&exec(&["/new"]));
        assert_eq!(settings.object.get("Cmd"), None);
        let mut settings = base(of_base);
        settings.set_cmd(&exec(&["own"]));
        settings.set_entrypoint(&exec(&["/new"]));
        assert_eq!(settings.object["Cmd"], json!(["own"]));
    }

    #[test]
    fn variables_keep_their_place() {
        let mut settings = base(json!({"Env": ["PATH=/bin", "A=1", "B=x=y"]}));
        settings.set_env("A", "2");
        settings.set_env("C", "");
        assert_eq!(settings.object["Env"], json!(["PATH=/bin", "A=2", "B=x=y", "C="]));
        assert_eq!(settings.variable("B").as_deref(), Some("x=y"));
        assert_eq!(settings.variable("D"), None);
    }

    #[test]
    fn ports_and_volumes_are_sets() {
        let mut settings = base(json!({"ExposedPorts": {"80/tcp": {}}}));
        for port in ["443", "80/TCP", "53/udp", "8000-8002"] {
            settings.expose(port).unwrap();
        }
        let ports: Vec<_> = settings.object["ExposedPorts"].as_object().unwrap().keys().collect();
        assert_eq!(ports, ["443/tcp", "53/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp"]);
        for wrong in ["", "x", "80/icmp", "70000", "9-8", "-1"] {
            assert!(settings.expose(wrong).is_err(), "{wrong}");
        }
        settings.add_volume("/data").unwrap();
        settings.add_volume("/data").unwrap();
        assert_eq!(settings.object["Volumes"], json!({"/data": {}}));
        assert!(settings.add_volume("").is_err());
    }

    #[test]
    fn directories_are_joined_as_text() {
        let mut settings = base(json!({}));
        for (path, expected) in [
            ("a", "/a"),
            ("b/../c/.", "/a/c"),
            ("../../../x", "/x"),
            ("/abs//olute/", "/abs/olute"),
            ("/", "/"),
        ] {
            assert_eq!(settings.set_workdir(path), expected);
            assert_eq!(settings.workdir(), expected);
        }
    }

    #[test]
    fn signals_by_name_and_number() {
        let mut settings = base(json!({}));
        for known in ["SIGTERM", "TERM", "sigquit", "9", "64", "RTMIN+3", "SIGRTMIN", "RTMAX-1"] {
            settings.set_stop_signal(known).unwrap_or_else(|words| panic!("{words}"));
        }
        for unknown in ["", "SIG", "SIGFOO", "0", "65", "RTMIN+99", "-9"] {
            assert!(settings.set_stop_signal(unknown).is_err(), "{unknown}");
        }
        assert_eq!(settings.object["StopSignal"], "RTMAX-1");
    }

    #[test]
    fn a_health_check_as_docker_writes_it() {
        let mut settings = base(json!({}));
        let check = |command, interval, retries| Healthcheck::Test {
            command,
            interval: Duration::from_secs(interval),
            timeout: Duration::ZERO,
            start_period: Duration::ZERO,
            start_interval: Duration::ZERO,
            retries,
        };
        settings.set_healthcheck(&check(shell("curl -f localhost"), 5, 3));
        let expected = json!({"Test": ["CMD-SHELL", "curl -f localhost"],
            "Interval": 5_000_000_000_u64, "Retries": 3});
        assert_eq!(settings.object["Healthcheck"], expected);
        settings.set_healthcheck(&check(exec(&["/check"]), 0, 0));
        assert_eq!(settings.object["Healthcheck"], json!({"Test": ["CMD", "/check"]}));
        settings.set_healthcheck(&Healthcheck::None);
        assert_eq!(settings.object["Healthcheck"], json!({"Test": ["NONE"]}));
    }

    #[test]
    fn triggers_are_the_next_builds_business() {
        let object = json!({"OnBuild": ["RUN a"], "Cmd": null, "User": "u"});
        let (mut settings, triggers) = Settings::of_base(object.as_object().unwrap().clone());
        assert_eq!((triggers, settings.user()), (vec!["RUN a".to_owned()], "u"));
        assert_eq!(settings.object.len(), 2, "user, and a PATH");
        assert_eq!(settings.env(), [("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
        settings.add_trigger("COPY . .");
        assert_eq!(settings.object["OnBuild"], json!(["COPY . ."]));
        assert_eq!(Settings::of_scratch().env(), [("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    }
}
