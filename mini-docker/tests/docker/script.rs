//! A script: commands one after the other, and what is expected of each.

use std::process::Command;

use testkit::{Outcome, Sandbox};

use crate::engine::Engine;
use crate::support::{Ran, Result, finish, wait_until};

/// Makes the list `TESTS` of the scripts with these names.
#[macro_export]
macro_rules! scripts {
    [$($name:ident),*] => {
        pub const TESTS: &[testkit::Test] =
            &[$((stringify!($name), |sandbox| Script::play(sandbox, stringify!($name), $name))),*];
    };
}

/// A script that runs. At its end everything is removed.
pub struct Script<'s> {
    pub sandbox: &'s Sandbox,
    pub engine: Engine,
    /// What a person would have seen.
    transcript: String,
    failures: Vec<String>,
    differences: Vec<String>,
    steady: bool,
}

/// A command that has run, and what is expected of it: each expectation is one of Docker's behaviour.
pub struct Step<'a, 's> {
    script: &'a mut Script<'s>,
    command: String,
    pub ran: Ran,
    /// The expectation named last and whether it was met; it counts when nothing more is said of it.
    last: Option<(bool, String)>,
}

/// Runs a script that waits for this: a shell that prints a line on each of its outputs, ends with 5 when it is asked to
/// end, and tells when it is sent USR1.
pub const SERVER: &str = "trap 'echo bye; exit 5' TERM; trap 'echo usr1' USR1; echo out; echo err >&2; \
     while :; do sleep 0.05; done";

/// Why podman's exit codes differ.
pub const OWN_ERROR: &str = "an error of its own is 125";

impl<'s> Script<'s> {
    /// Runs a script, with an engine of its own, to its verdict.
    pub fn play(sandbox: &'s Sandbox, name: &str, script: fn(&mut Self) -> Outcome) -> Outcome {
        let mut this = Self {
            sandbox,
            engine: Engine::begin(sandbox)?,
            transcript: String::new(),
            failures: Vec::new(),
            differences: Vec::new(),
            steady: true,
        };
        if let Err(error) = script(&mut this) {
            this.failures.push(error.to_string());
        }
        this.end(name)
    }

    /// What it prints is another thing each time: it is not compared as a whole.
    pub fn is_unsteady(&mut self) {
        self.steady = false;
    }

    /// The command with these arguments, standard input closed, outside of the script.
    pub fn command(&self, args: &[&str]) -> Command {
        self.engine.command(args)
    }

    /// Runs a command to its end.
    pub fn does(&mut self, args: &[&str]) -> Result<Step<'_, 's>> {
        let command = self.command(args);
        self.does_this(args, command)
    }

    /// Runs a command that was prepared further to its end.
    pub fn does_this(&mut self, args: &[&str], mut command: Command) -> Result<Step<'_, 's>> {
        let ran = finish(&mut command)?;
        let line = shown(args);
        self.transcript.push_str(&format!("$ docker {line}\n"));
        for (text, sign) in [(&ran.stdout, ""), (&ran.stderr, "! ")] {
            text.lines().for_each(|text| self.transcript.push_str(&format!("{sign}{text}\n")));
        }
        self.transcript.push_str(&format!("? {}\n\n", ran.code));
        Ok(Step { script: self, command: line, ran, last: None })
    }

    /// Runs a command that only prepares what comes; it must succeed. Returns its standard output without the last
    /// newline.
    pub fn prepare(&self, args: &[&str]) -> Result<String> {
        let output = crate::support::stdout(&mut self.command(args))?;
        Ok(output.trim_end_matches('\n').to_owned())
    }

    /// Starts a container of that name that runs until it is asked to end (see [`SERVER`]); waits until it can be asked.
    pub fn server(&self, name: &str, flags: &[&str]) -> Result<String> {
        let fixed = ["run", "-d", "--name", name, "--network", "none"];
        let run = [&fixed[..], flags, &["busybox", "sh", "-c", SERVER]].concat();
        let id = self.prepare(&run)?;
        self.wait_for_log(name, "out")?;
        Ok(id)
    }

    /// Waits until a container has printed that.
    pub fn wait_for_log(&self, name: &str, text: &str) -> Result<()> {
        wait_until(&format!("`{text}` in the log of {name}"), || {
            Ok(finish(&mut self.command(&["logs", name]))?.stdout.contains(text))
        })
    }

    /// What `inspect` says.
    pub fn inspect(&self, name: &str, template: &str) -> Result<String> {
        self.prepare(&["inspect", "-f", template, name])
    }

    /// Waits until a container is in that state.
    pub fn wait_for_state(&self, name: &str, state: &str) -> Result<()> {
        wait_until(&format!("{name} is {state}"), || {
            Ok(self.inspect(name, "{{.State.Status}}")? == state)
        })
    }

    /// The verdict. What mini-docker has printed is compared with what it printed when somebody looked.
    fn end(self, name: &str) -> Outcome {
        for difference in &self.differences {
            println!("{difference}");
        }
        if !self.failures.is_empty() {
            return Err(format!("{}\n\n{}", self.failures.join("\n"), self.transcript).into());
        }
        if let Engine::MiniDocker(_) = self.engine
            && self.steady
        {
            let text = self.transcript.replace(&*self.sandbox.dir.to_string_lossy(), "[SANDBOX]");
            snapshots(|| insta::assert_snapshot!(name, text.trim_end()));
        }
        Ok(())
    }
}

impl Drop for Script<'_> {
    fn drop(&mut self) {
        self.engine.clear();
    }
}

impl Step<'_, '_> {
    /// Any expectation.
    pub fn expect(mut self, what: impl Into<String>, so: impl FnOnce(&Ran) -> bool) -> Self {
        self.settle();
        self.last = Some((so(&self.ran), what.into()));
        self
    }

    /// It ends with this exit code.
    pub fn code(self, code: i32) -> Self {
        self.expect(format!("exit code {code}"), |ran| ran.code == code)
    }

    /// It prints exactly this on its standard output.
    pub fn prints(self, text: &str) -> Self {
        self.expect(format!("standard output {text:?}"), |ran| ran.stdout == text)
    }

    /// A line of its standard output is this.
    pub fn prints_line(self, line: &str) -> Self {
        self.expect(format!("the line {line:?}"), |ran| ran.stdout.lines().any(|own| own == line))
    }

    /// No line of its standard output is this.
    pub fn prints_no_line(self, line: &str) -> Self {
        self.expect(format!("not the line {line:?}"), |ran| {
            !ran.stdout.lines().any(|own| own == line)
        })
    }

    /// One line of its standard output contains all of these.
    pub fn prints_line_like(self, parts: &[&str]) -> Self {
        self.expect(format!("a line with {parts:?}"), |ran| {
            ran.stdout.lines().any(|line| parts.iter().all(|part| line.contains(part)))
        })
    }

    /// The lines of its standard output are these.
    pub fn prints_lines_in_any_order(self, text: &str) -> Self {
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        self.expect(format!("the lines {text:?}"), |ran| sorted(&ran.stdout) == sorted(text))
    }

    /// It prints an id, 64 hex digits.
    pub fn prints_id(self) -> Self {
        self.expect("an id", |ran| {
            ran.stdout.len() == 65
                && ran.stdout.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }

    /// It says exactly this on its standard error.
    pub fn says(self, text: &str) -> Self {
        self.expect(format!("standard error {text:?}"), |ran| ran.stderr == text)
    }

    /// Its standard error has these words, whatever is a capital.
    pub fn complains(self, words: &str) -> Self {
        let wanted = words.to_lowercase();
        self.expect(format!("the complaint {words:?}"), move |ran| {
            ran.stderr.to_lowercase().contains(&wanted)
        })
    }

    /// It ends with 1 and says that there is no such container.
    pub fn finds_none(self) -> Self {
        self.complains("no such container").code(1).differs("podman", OWN_ERROR)
    }

    /// That engine does not do what was expected last, and why. For that engine it is a failure to do it after all: then
    /// nothing differs, and this is to be taken away.
    pub fn differs(mut self, engine: &str, reason: &str) -> Self {
        if engine != self.script.engine.name() {
            return self;
        }
        let Some((met, what)) = self.last.take() else { return self };
        let line = format!("{engine} {}: not {what}: {reason}", self.command);
        if met {
            self.script.failures.push(format!("does not differ any more: {line}"));
        } else {
            self.script.differences.push(line);
        }
        self
    }

    fn settle(&mut self) {
        if let Some((false, what)) = self.last.take() {
            let failure = format!("{}: expected {what}: {:?}", self.command, self.ran);
            self.script.failures.push(failure);
        }
    }
}

impl Drop for Step<'_, '_> {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Arguments as a person would type them.
fn shown(args: &[&str]) -> String {
    let words: Vec<String> = args
        .iter()
        .map(|arg| {
            let plain =
                !arg.is_empty() && !arg.contains([' ', '{', '"', '\'', '\\', '*', ';', '$', '^']);
            if plain { (*arg).to_owned() } else { format!("'{}'", arg.replace('\'', "'\\''")) }
        })
        .collect();
    words.join(" ")
}

/// Binds snapshots to texts without what varies.
fn snapshots(run: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    for (what, shown) in [
        (r"[0-9a-f]{64}", "[ID]"),
        (r"\b[0-9a-f]{12}\b", "[SHORT ID]"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "[TIME]"),
        (r"(Less than a second|About a minute|[0-9]+ seconds?) ago", "[AGO]"),
        (r"Up (Less than a second|About a minute|[0-9]+ seconds?)", "Up [TIME]"),
        (r"virtual [0-9.]+[kM]?B", "virtual [SIZE]"),
        // Columns are as wide as what is in them.
        (r"(CREATED|STATUS|Created) {2,}", "$1   "),
        (r"(\[AGO\]|Up \[TIME\]) {2,}", "$1   "),
    ] {
        settings.add_filter(what, shown);
    }
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("snapshots");
    settings.bind(run);
}
