//! What may stand where the user types: read from the definitions that parse the command line, so that nothing is said
//! twice. What exists on this machine is asked by `things.rs`.

use std::collections::BTreeMap;

use clap::{Arg, Command};

/// What may be typed next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Whole words, and what each is for. A word that ends with `=` or `:` goes on.
    pub(super) words: Vec<(String, String)>,
    /// Names of things that exist.
    pub(super) things: Vec<Things>,
    /// What stands before them in the word that is typed: `--volumes-from=`.
    pub(super) before: String,
    /// Also names of files.
    pub(super) files: bool,
}

/// Things that have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Things {
    /// Containers that can be started.
    Idle,
    /// Containers that run or wait to run again.
    Active,
    Containers,
    /// `NAME:`, with a path of the container to come.
    ContainerPaths,
    Images,
    Volumes,
    /// `NAME:`, with a place in the container to come.
    VolumeSources,
    /// `container:NAME`
    ContainerNetworks,
}

/// A command line up to the cursor.
pub(super) struct Line<'c> {
    command: &'c Command,
    /// The word of a flag that waits for its value.
    flag: Option<&'c Arg>,
    positionals: usize,
    /// Flags have ended.
    plain: bool,
    typed: &'c str,
    /// Values that flags have got, by the flags' ids.
    pub(super) values: BTreeMap<&'c str, &'c str>,
}

impl<'c> Line<'c> {
    /// `words` follow the name of the program; the last one is being typed. The command must have been built.
    pub(super) fn read(command: &'c Command, words: &'c [String]) -> Self {
        let (typed, before) = words.split_last().map_or(("", words), |(last, rest)| (last, rest));
        let (flag, positionals, plain, values) = (None, 0, false, BTreeMap::new());
        let mut line = Self { command, flag, positionals, plain, typed, values };
        before.iter().for_each(|word| line.word(word));
        line
    }

    fn word(&mut self, word: &'c str) {
        if let Some(flag) = self.flag.take() {
            self.values.insert(flag.get_id().as_str(), word);
        } else if self.plain {
            self.positionals += 1;
        } else if word == "--" {
            self.plain = true;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(a, b)| (a, Some(b)));
            let flag = self.long(name).filter(|flag| takes_value(flag));
            match (flag, value) {
                (Some(flag), Some(value)) => {
                    self.values.insert(flag.get_id().as_str(), value);
                }
                (flag, _) => self.flag = flag,
            }
        } else if word.len() > 1 && word.starts_with('-') {
            self.shorts(&word[1..]);
        } else if let Some(command) = self.subcommand(word) {
            self.command = command;
        } else {
            self.positionals += 1;
            // What follows belongs to the program in the container.
            self.plain = self.command.get_positionals().any(Arg::is_trailing_var_arg_set);
        }
    }

    /// `-it`, `-eNAME`, `-e` with its value to come.
    fn shorts(&mut self, shorts: &'c str) {
        for (at, short) in shorts.char_indices() {
            let is_it = |flag: &&Arg| flag.get_short() == Some(short);
            let Some(flag) = self.command.get_arguments().find(is_it) else { return };
            if takes_value(flag) {
                if at + short.len_utf8() == shorts.len() {
                    self.flag = Some(flag);
                }
                return;
            }
        }
    }

    fn long(&self, name: &str) -> Option<&'c Arg> {
        self.command.get_arguments().find(|flag| {
            let aliases = flag.get_all_aliases().unwrap_or_default();
            flag.get_long() == Some(name) || aliases.contains(&name)
        })
    }

    fn subcommand(&self, name: &str) -> Option<&'c Command> {
        (self.positionals == 0).then(|| self.command.find_subcommand(name)).flatten()
    }

    /// What may be typed.
    pub(super) fn answer(&self) -> Answer {
        if let Some(flag) = self.flag {
            return self.values_of(flag, "");
        }
        if !self.plain && self.typed.starts_with('-') {
            return match self.typed.split_once('=') {
                Some((name, _)) => match self.long(name.trim_start_matches('-')) {
                    Some(flag) => self.values_of(flag, &format!("{name}=")),
                    None => Answer::default(),
                },
                None => self.flags(),
            };
        }
        let mut answer = self.positional();
        if self.positionals == 0 {
            let verbs = self.command.get_subcommands().filter(|verb| !verb.is_hide_set());
            let verb = |verb: &Command| (verb.get_name().to_owned(), help(verb.get_about()));
            answer.words.extend(verbs.map(verb));
        }
        self.only_what_fits(answer)
    }

    fn flags(&self) -> Answer {
        let mut answer = Answer::default();
        for flag in self.command.get_arguments().filter(|flag| !flag.is_hide_set()) {
            let Some(long) = flag.get_long() else { continue };
            answer.words.push((format!("--{long}"), help(flag.get_help())));
        }
        self.only_what_fits(answer)
    }

    /// Values of a flag, each as a whole word.
    fn values_of(&self, flag: &Arg, before: &str) -> Answer {
        let word = |text: &str| (format!("{before}{text}"), String::new());
        let words = |texts: &[&str]| texts.iter().copied().map(word).collect();
        let mut answer = Answer { before: before.to_owned(), ..Answer::default() };
        match (flag.get_id().as_str(), self.command.get_name()) {
            ("restart", _) => {
                answer.words = words(&["no", "on-failure", "always", "unless-stopped"]);
            }
            ("mode", _) => {
                answer.words = words(&["bridge", "none", "host"]);
                answer.things = vec![Things::ContainerNetworks];
            }
            ("pid" | "ipc", "run" | "create") => {
                answer.words = words(&["host"]);
                answer.things = vec![Things::ContainerNetworks];
            }
            ("volumes_from" | "link", _) => answer.things = vec![Things::Containers],
            ("volume", "run" | "create") => {
                (answer.things, answer.files) = (vec![Things::VolumeSources], true);
            }
            ("signal" | "stop_signal", _) => answer.words = words(&SIGNALS),
            ("file" | "input" | "output" | "cidfile" | "env_file" | "label_file" | "root", _)
            | ("run_root" | "config_file", _) => answer.files = true,
            _ => {
                let values = flag.get_possible_values();
                answer.words = values.iter().map(|value| word(value.get_name())).collect();
            }
        }
        self.only_what_fits(answer)
    }

    /// What the next word without a dash stands for.
    fn positional(&self) -> Answer {
        let mut all = self.command.get_positionals();
        let last = self.command.get_positionals().last();
        // The last one may take all that come.
        let many = |arg: &&Arg| arg.get_num_args().is_some_and(|range| range.max_values() > 1);
        let Some(arg) = all.nth(self.positionals).or(last.filter(many)) else {
            return Answer::default();
        };
        let is_first = self.positionals == 0;
        let things = match (arg.get_id().as_str(), self.command.get_name()) {
            ("image", "run" | "create") if is_first => vec![Things::Images],
            ("container", "exec") if is_first => vec![Things::Active],
            ("source" | "destination", "cp") => vec![Things::ContainerPaths],
            // The command in a container: its files are not here, but people also type names of files for it.
            ("image", "run" | "create") | ("container", "exec") => vec![],
            ("containers", "start") => vec![Things::Idle],
            ("containers" | "container", verb) if WITH_PROCESSES.contains(&verb) => {
                vec![Things::Active]
            }
            ("containers" | "container", _) => vec![Things::Containers],
            ("images" | "image" | "source" | "target", _)
            | ("name", "pull" | "push" | "images" | "ls") => {
                vec![Things::Images]
            }
            ("volumes", _) => vec![Things::Volumes],
            ("names", _) => vec![Things::Containers, Things::Images, Things::Volumes],
            _ => vec![],
        };
        let files = matches!(arg.get_id().as_str(), "file" | "dir" | "context")
            || matches!(self.command.get_name(), "cp")
            || (things.is_empty() && matches!(self.command.get_name(), "run" | "create" | "exec"));
        let values = arg.get_possible_values();
        let words = values.iter().map(|value| (value.get_name().to_owned(), String::new()));
        Answer { words: words.collect(), things, files, before: String::new() }
    }

    fn only_what_fits(&self, mut answer: Answer) -> Answer {
        answer.words.retain(|(word, _)| word.starts_with(self.typed));
        answer
    }
}

/// Verbs that need processes.
const WITH_PROCESSES: [&str; 9] =
    ["stop", "kill", "pause", "unpause", "attach", "top", "stats", "port", "wait"];

const SIGNALS: [&str; 10] =
    ["TERM", "KILL", "HUP", "INT", "QUIT", "USR1", "USR2", "STOP", "CONT", "WINCH"];

fn takes_value(flag: &Arg) -> bool {
    flag.get_action().takes_values() && !flag.is_require_equals_set()
}

/// The first line of a help text.
fn help(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}
