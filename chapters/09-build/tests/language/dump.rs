//! A parse tree as people can read it: a line for each instruction, words between backticks (which no test's word has)
//! or, from JSON, in quotes. Places are left out.

use build::instruction::{
    Argument, Command, Dockerfile, Healthcheck, Heredoc, Instruction, Kind, Transfer, Word,
};

pub(crate) fn dump(file: &Dockerfile) -> String {
    let mut text = String::new();
    if let Some(syntax) = &file.syntax {
        text += &format!("syntax {syntax}\n");
    }
    if file.escape != '\\' {
        text += &format!("escape {}\n", file.escape);
    }
    if !file.arguments.is_empty() {
        text += &format!("ARG{}\n", arguments(&file.arguments));
    }
    for stage in &file.stages {
        text += &format!("FROM {}", word(&stage.base));
        text += &option("platform", &stage.platform);
        if let Some(name) = &stage.name {
            text += &format!(" as {name}");
        }
        text.push('\n');
        for instruction in &stage.instructions {
            text += &format!("  {}\n", line(instruction));
        }
    }
    text
}

pub(crate) fn line(instruction: &Instruction) -> String {
    match &instruction.kind {
        Kind::Add(add) => format!("ADD{}", transfer(add)),
        Kind::Arg(names) => format!("ARG{}", arguments(names)),
        Kind::Cmd(cmd) => format!("CMD {}", command(cmd)),
        Kind::Copy(copy) => format!("COPY{}", transfer(copy)),
        Kind::Entrypoint(cmd) => format!("ENTRYPOINT {}", command(cmd)),
        Kind::Env(values) => format!("ENV{}", pairs(values)),
        Kind::Expose(ports) => format!("EXPOSE{}", words(ports)),
        Kind::Healthcheck(Healthcheck::None) => "HEALTHCHECK none".to_owned(),
        Kind::Healthcheck(Healthcheck::Test {
            command: test,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        }) => format!(
            "HEALTHCHECK interval {interval:?} timeout {timeout:?} start {start_period:?} \
             {start_interval:?} retries {retries} {}",
            command(test)
        ),
        Kind::Label(values) => format!("LABEL{}", pairs(values)),
        Kind::Maintainer(name) => format!("MAINTAINER {}", word(name)),
        Kind::Onbuild(inner) => format!("ONBUILD {}", line(inner)),
        Kind::Run(run) => {
            let mut text = "RUN".to_owned();
            for mount in &run.mounts {
                text += " mount(";
                let fields: Vec<_> = mount
                    .fields
                    .iter()
                    .map(|(key, value)| match value {
                        Some(value) => format!("{key} {}", word(value)),
                        None => key.clone(),
                    })
                    .collect();
                text += &fields.join(", ");
                text.push(')');
            }
            text += &option("network", &run.network);
            text += &option("security", &run.security);
            text += &format!(" {}", command(&run.command));
            if let Some(script) = &run.script {
                text += &heredoc(script);
            }
            text
        }
        Kind::Shell(words) => format!("SHELL {words:?}"),
        Kind::Stopsignal(signal) => format!("STOPSIGNAL {}", word(signal)),
        Kind::User(user) => format!("USER {}", word(user)),
        Kind::Volume(paths) => format!("VOLUME{}", words(paths)),
        Kind::Workdir(path) => format!("WORKDIR {}", word(path)),
        other => format!("{other:?}"),
    }
}

fn word(word: &Word) -> String {
    if word.json { format!("{:?}", word.text) } else { format!("`{}`", word.text) }
}

fn words(list: &[Word]) -> String {
    list.iter().map(|at| format!(" {}", word(at))).collect()
}

fn pairs(list: &[(Word, Word)]) -> String {
    list.iter().map(|(name, value)| format!(" {}={}", word(name), word(value))).collect()
}

fn arguments(list: &[Argument]) -> String {
    let one = |argument: &Argument| match &argument.default {
        Some(value) => format!(" {}={}", word(&argument.name), word(value)),
        None => format!(" {}", word(&argument.name)),
    };
    list.iter().map(one).collect()
}

fn option(name: &str, value: &Option<Word>) -> String {
    value.as_ref().map_or_else(String::new, |value| format!(" {name} {}", word(value)))
}

fn command(command: &Command) -> String {
    match command {
        Command::Exec(words) => format!("exec {words:?}"),
        Command::Shell(text) => format!("shell {text:?}"),
    }
}

fn heredoc(heredoc: &Heredoc) -> String {
    let expand = if heredoc.expand { "expanded" } else { "as is" };
    format!(" heredoc({} {expand} {:?})", heredoc.name, heredoc.content)
}

fn transfer(transfer: &Transfer) -> String {
    let mut text = String::new();
    for (name, value) in [
        ("from", &transfer.from),
        ("chown", &transfer.chown),
        ("chmod", &transfer.chmod),
        ("checksum", &transfer.checksum),
    ] {
        text += &option(name, value);
    }
    for (name, value) in [
        ("link", transfer.link),
        ("parents", transfer.parents),
        ("keep-git-dir", transfer.keep_git_dir),
    ] {
        text += &if value { format!(" {name}") } else { String::new() };
    }
    if let Some(unpack) = transfer.unpack {
        text += &format!(" unpack {unpack}");
    }
    if !transfer.exclude.is_empty() {
        text += &format!(" exclude{}", words(&transfer.exclude));
    }
    text += &words(&transfer.sources);
    text.extend(transfer.heredocs.iter().map(heredoc));
    text + &format!(" to {}", word(&transfer.target))
}
