//! Dockerfiles that nobody wrote: a tree, and a text that says it.

use std::time::Duration;

use build::instruction::{
    Argument, Command, Dockerfile, Healthcheck, Heredoc, Instruction, Kind, Mount, Run, Span,
    Stage, Transfer, Word,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Nowhere: a made tree has no places.
const NOWHERE: Span = 0..0;

/// A tree, and the choices that make a text of it.
pub(crate) fn dockerfile() -> impl Strategy<Value = (Dockerfile, Vec<u8>)> {
    let tree = (
        prop_oneof![Just('\\'), Just('`')],
        option::of("[a-z/:0-9.]{1,12}"),
        vec(argument(), 0..3),
        vec(stage(), 1..4),
    );
    let tree = tree.prop_map(|(escape, syntax, arguments, stages)| Dockerfile {
        syntax,
        escape,
        arguments,
        stages,
    });
    (tree, vec(any::<u8>(), 1..40))
}

fn stage() -> impl Strategy<Value = Stage> {
    let parts = (option::of("[a-z][a-z0-9_.-]{0,8}"), plain(), option::of(plain()));
    (parts, vec(kind(), 0..6)).prop_map(|((name, base, platform), kinds)| Stage {
        name,
        base,
        platform,
        text: String::new(),
        span: NOWHERE,
        instructions: kinds.into_iter().map(instruction).collect(),
    })
}

fn instruction(kind: Kind) -> Instruction {
    Instruction { text: String::new(), span: NOWHERE, kind }
}

fn word(text: String, json: bool) -> Word {
    Word { text, span: NOWHERE, json }
}

fn plain() -> impl Strategy<Value = Word> {
    "[a-zA-Z0-9/$ü][a-z0-9/.:$_{}ü*=-]{0,10}".prop_map(|text| word(text, false))
}

/// A value that is one word thanks to quotes.
fn value() -> impl Strategy<Value = Word> {
    let text = "[a-z0-9$./:=]{0,8}|\"[a-z =']{0,8}\"|'[a-z =\"]{0,8}'|[a-z]\"[a-z ]{0,5}\"x";
    text.prop_map(|text| word(text, false))
}

fn name() -> impl Strategy<Value = Word> {
    "[A-Za-z_][A-Za-z0-9_.]{0,6}".prop_map(|text| word(text, false))
}

fn argument() -> impl Strategy<Value = Argument> {
    (name(), option::of(value())).prop_map(|(name, default)| Argument { name, default })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        vec(".{0,8}", 1..4).prop_map(Command::Exec),
        "[a-z\"'$][a-z0-9 $&|;\"'#=\\[\\]ü]{0,20}[a-z0-9;]".prop_map(Command::Shell),
    ]
}

fn heredoc() -> impl Strategy<Value = Heredoc> {
    ("[A-Z]{1,6}", any::<bool>(), vec("[a-z \t$#\\\\`\"'<]{0,12}", 0..4)).prop_map(
        |(name, expand, lines)| {
            let content = lines.iter().map(|line| format!("{line}\n")).collect();
            Heredoc { name, expand, content, span: NOWHERE }
        },
    )
}

fn transfer(add: bool) -> impl Strategy<Value = Transfer> {
    let plain_words = (vec(plain(), 1..4), vec(heredoc(), 0..3), plain());
    let json = vec("[^\0]{0,8}".prop_map(|text| word(text, true)), 2..5);
    let paths = prop_oneof![
        plain_words,
        json.prop_map(|mut words| {
            let target = words.pop().expect("two or more");
            (words, Vec::new(), target)
        }),
    ];
    let both = (option::of(plain()), option::of(plain()), any::<bool>(), vec(plain(), 0..3));
    let own = (option::of(plain()), any::<bool>(), option::of(any::<bool>()));
    (paths, both, own).prop_map(move |(paths, both, own)| {
        let (sources, mut heredocs, target) = paths;
        let (chown, chmod, link, exclude) = both;
        let (word, switch, unpack) = own;
        // Of two with one name the last content counts.
        heredocs.dedup_by(|a, b| a.name == b.name);
        heredocs.truncate(if heredocs.iter().skip(1).any(|h| h.name == heredocs[0].name) {
            1
        } else {
            3
        });
        Transfer {
            sources,
            heredocs,
            target,
            from: word.clone().filter(|_| !add),
            chown,
            chmod,
            link,
            parents: switch && !add,
            exclude,
            checksum: word.filter(|_| add),
            keep_git_dir: switch && add,
            unpack: unpack.filter(|_| add),
        }
    })
}

fn run() -> impl Strategy<Value = Kind> {
    let mount = ("[a-z/]{0,6}", option::of("[a-z$]{1,5}")).prop_map(|(target, from)| {
        let mut text = format!("target={target}");
        let mut fields = vec![("target".to_owned(), Some(word(target, false)))];
        if let Some(from) = from {
            text += &format!(",rw,from={from}");
            fields.push(("rw".to_owned(), None));
            fields.push(("from".to_owned(), Some(word(from, false))));
        }
        Mount { word: word(text, false), fields }
    });
    let command = prop_oneof![
        command().prop_map(|command| (command, None)),
        heredoc().prop_map(|heredoc| (Command::Shell(heredoc.content.clone()), Some(heredoc))),
    ];
    let network = option::of("none|host|default");
    (vec(mount, 0..3), network, command).prop_map(|(mounts, network, (command, script))| {
        let network = network.map(|text| word(text, false));
        Kind::Run(Run { command, script, mounts, network, security: None })
    })
}

fn health() -> impl Strategy<Value = Kind> {
    let time = || (0_u64..100_000).prop_map(Duration::from_millis);
    let test = (command(), time(), time(), time(), time(), 0_u32..1000);
    prop_oneof![
        1 => Just(Kind::Healthcheck(Healthcheck::None)),
        3 => test.prop_map(|(command, interval, timeout, start_period, start_interval, retries)| {
            Kind::Healthcheck(Healthcheck::Test {
                command, interval, timeout, start_period, start_interval, retries,
            })
        }),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    let simple = prop_oneof![
        vec(argument(), 1..4).prop_map(Kind::Arg),
        command().prop_map(Kind::Cmd),
        command().prop_map(Kind::Entrypoint),
        vec((name(), value()), 1..4).prop_map(Kind::Env),
        vec(plain(), 1..4).prop_map(Kind::Expose),
        vec((name(), value()), 1..4).prop_map(Kind::Label),
        plain().prop_map(Kind::Maintainer),
        vec("[^\0]{0,8}", 1..4).prop_map(Kind::Shell),
        plain().prop_map(Kind::Stopsignal),
        plain().prop_map(Kind::User),
        vec(plain(), 1..4).prop_map(Kind::Volume),
        plain().prop_map(Kind::Workdir),
        health(),
    ];
    let large = prop_oneof![
        run(),
        transfer(false).prop_map(Kind::Copy),
        transfer(true).prop_map(Kind::Add),
    ];
    let inner = prop_oneof![
        run(),
        transfer(false).prop_map(Kind::Copy),
        vec((name(), value()), 1..4).prop_map(Kind::Env),
    ];
    let trigger = inner.prop_map(|kind| Kind::Onbuild(Box::new(instruction(kind))));
    prop_oneof![4 => simple, 3 => large, 1 => trigger]
}

/// Writes a tree; the choices say what is between its words.
pub(crate) fn print(file: &Dockerfile, choices: &[u8]) -> String {
    let mut text = String::new();
    if let Some(syntax) = &file.syntax {
        text += &format!("# syntax={syntax}\n");
    }
    if file.escape != '\\' {
        text += &format!("#escape = {}\r\n", file.escape);
    }
    let mut printer = Printer { text, escape: file.escape, choices: choices.iter().cycle() };
    printer.text.push('\n');
    for argument in &file.arguments {
        let words = argument_words(std::slice::from_ref(argument));
        printer.line("arg", &words, &[]);
    }
    for stage in &file.stages {
        let mut words = flag("platform", &stage.platform);
        words.push(stage.base.text.clone());
        if let Some(name) = &stage.name {
            words.extend(["AS".to_owned(), name.clone()]);
        }
        printer.line("FROM", &words, &[]);
        for instruction in &stage.instructions {
            let (keyword, words, heredocs) = said(&instruction.kind);
            printer.line(&keyword, &words, &heredocs);
        }
    }
    printer.text
}

struct Printer<'a> {
    text: String,
    escape: char,
    choices: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl Printer<'_> {
    fn line(&mut self, keyword: &str, words: &[String], heredocs: &[&Heredoc]) {
        self.text += keyword;
        for word in words {
            let escape = self.escape;
            self.text += &match self.choices.next().copied().unwrap_or_default() % 8 {
                0 => "\t ".to_owned(),
                1 => format!(" {escape}\n   "),
                2 => format!(" {escape} \t\r\n# comment {escape}\n\n\t"),
                _ => " ".to_owned(),
            };
            self.text += word;
        }
        self.text += match self.choices.next().copied().unwrap_or_default() % 8 {
            0 => " \n# comment\n\n  ",
            1 => "\r\n",
            _ => "\n",
        };
        if !heredocs.is_empty() {
            let end = self.text.trim_end().len();
            let end = self.text[..end]
                .strip_suffix("# comment")
                .map_or(end, |text| text.trim_end().len());
            self.text.truncate(end);
            self.text.push('\n');
        }
        for heredoc in heredocs {
            self.text += &format!("{}{}\n", heredoc.content, heredoc.name);
        }
    }
}

fn said(kind: &Kind) -> (String, Vec<String>, Vec<&Heredoc>) {
    let texts = |words: &[Word]| words.iter().map(|word| word.text.clone()).collect::<Vec<_>>();
    let (keyword, words) = match kind {
        Kind::Add(add) => {
            return ("ADD".to_owned(), transfer_words(add), add.heredocs.iter().collect());
        }
        Kind::Copy(copy) => {
            return ("COPY".to_owned(), transfer_words(copy), copy.heredocs.iter().collect());
        }
        Kind::Run(run) => {
            let mut words = flag("network", &run.network);
            words.extend(run.mounts.iter().map(|mount| format!("--mount={}", mount.word.text)));
            match &run.script {
                Some(script) => words.push(marker(script)),
                None => words.push(command_text(&run.command)),
            }
            return ("RUN".to_owned(), words, run.script.iter().collect());
        }
        Kind::Onbuild(inner) => {
            let (keyword, mut words, heredocs) = said(&inner.kind);
            words.insert(0, keyword);
            return ("ONBUILD".to_owned(), words, heredocs);
        }
        Kind::Arg(arguments) => ("ARG", argument_words(arguments)),
        Kind::Cmd(command) => ("CMD", vec![command_text(command)]),
        Kind::Entrypoint(command) => ("EntryPoint", vec![command_text(command)]),
        Kind::Env(pairs) => ("ENV", pair_words(pairs)),
        Kind::Label(pairs) => ("LABEL", pair_words(pairs)),
        Kind::Expose(words) => ("EXPOSE", texts(words)),
        Kind::Volume(words) => ("VOLUME", texts(words)),
        Kind::Maintainer(word) => ("MAINTAINER", vec![word.text.clone()]),
        Kind::Stopsignal(word) => ("STOPSIGNAL", vec![word.text.clone()]),
        Kind::User(word) => ("USER", vec![word.text.clone()]),
        Kind::Workdir(word) => ("WORKDIR", vec![word.text.clone()]),
        Kind::Shell(words) => ("SHELL", vec![json(words)]),
        Kind::Healthcheck(health) => ("HEALTHCHECK", health_words(health)),
        _ => unreachable!("all are made above"),
    };
    (keyword.to_owned(), words, Vec::new())
}

fn flag(name: &str, word: &Option<Word>) -> Vec<String> {
    word.iter().map(|word| format!("--{name}={}", word.text)).collect()
}

fn argument_words(arguments: &[Argument]) -> Vec<String> {
    let one = |argument: &Argument| match &argument.default {
        Some(value) => format!("{}={}", argument.name.text, value.text),
        None => argument.name.text.clone(),
    };
    arguments.iter().map(one).collect()
}

fn pair_words(pairs: &[(Word, Word)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("{}={}", name.text, value.text)).collect()
}

fn command_text(command: &Command) -> String {
    match command {
        Command::Exec(words) => json(words),
        Command::Shell(text) => text.clone(),
    }
}

fn json(words: &[String]) -> String {
    serde_json::to_string(words).expect("strings")
}

fn marker(heredoc: &Heredoc) -> String {
    let quote = if heredoc.expand { "" } else { "\"" };
    format!("<<{quote}{}{quote}", heredoc.name)
}

fn transfer_words(transfer: &Transfer) -> Vec<String> {
    let mut words = Vec::new();
    for (name, word) in [
        ("from", &transfer.from),
        ("chown", &transfer.chown),
        ("chmod", &transfer.chmod),
        ("checksum", &transfer.checksum),
    ] {
        words.extend(flag(name, word));
    }
    words.extend(transfer.exclude.iter().map(|word| format!("--exclude={}", word.text)));
    words.extend(transfer.link.then(|| "--link".to_owned()));
    words.extend(transfer.parents.then(|| "--parents=TRUE".to_owned()));
    words.extend(transfer.keep_git_dir.then(|| "--keep-git-dir".to_owned()));
    words.extend(transfer.unpack.map(|unpack| format!("--unpack={unpack}")));
    if transfer.target.json {
        let all = transfer.sources.iter().chain([&transfer.target]);
        words.push(json(&all.map(|word| word.text.clone()).collect::<Vec<_>>()));
        return words;
    }
    words.extend(transfer.sources.iter().map(|word| word.text.clone()));
    words.extend(transfer.heredocs.iter().map(marker));
    words.push(transfer.target.text.clone());
    words
}

fn health_words(health: &Healthcheck) -> Vec<String> {
    let Healthcheck::Test { command, interval, timeout, start_period, start_interval, retries } =
        health
    else {
        return vec!["NONE".to_owned()];
    };
    let time = |name: &str, time: &Duration| format!("--{name}={}ms", time.as_millis());
    vec![
        time("interval", interval),
        time("timeout", timeout),
        time("start-period", start_period),
        time("start-interval", start_interval),
        format!("--retries={retries}"),
        "cmd".to_owned(),
        command_text(command),
    ]
}
