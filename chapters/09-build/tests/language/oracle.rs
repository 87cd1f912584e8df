//! The same Dockerfiles, read by another parser: the crate parse-dockerfile. Compared is what both say: instructions,
//! where they begin, images and names of stages, flags, what is copied, JSON forms, contents of heredocs.

use build::instruction::{Command, Dockerfile, Healthcheck, Heredoc, Instruction, Kind, Word};
use build::parse::parse;
use build::source::Source;
use parse_dockerfile as other;
use proptest::prelude::*;

use crate::made;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn both_say_the_same((file, choices) in made::dockerfile()) {
        let text = made::print(&file, &choices);
        let parsed = parse(&Source::new("made", &text[..])).expect("made to be correct");
        match other::parse(&text) {
            Ok(theirs) => prop_assert_eq!(ours(&parsed.dockerfile), said(&theirs), "{}", text),
            Err(error) => prop_assert!(false, "{error}\n{text}"),
        }
    }
}

fn ours(file: &Dockerfile) -> Vec<String> {
    let mut facts: Vec<String> = file.arguments.iter().map(|_| "ARG".to_owned()).collect();
    for stage in &file.stages {
        let flags = flag("platform", &stage.platform);
        let base = &stage.base.text;
        facts.push(format!("{} FROM {flags}{base} {:?}", stage.span.start, stage.name));
        facts.extend(stage.instructions.iter().map(our_instruction));
    }
    facts
}

fn our_instruction(instruction: &Instruction) -> String {
    let start = instruction.span.start;
    let said = match &instruction.kind {
        Kind::Add(copy) | Kind::Copy(copy) => {
            let sources: Vec<_> = copy.sources.iter().map(|word| &word.text).collect();
            let documents: Vec<_> = copy.heredocs.iter().map(our_heredoc).collect();
            let flags: String = ["from", "chown", "chmod", "checksum"]
                .iter()
                .zip([&copy.from, &copy.chown, &copy.chmod, &copy.checksum])
                .map(|(name, word)| flag(name, word))
                .collect();
            format!("{flags}{sources:?} {documents:?} {:?}", copy.target.text)
        }
        Kind::Run(run) => match &run.script {
            Some(script) => format!("{:?}", our_heredoc(script)),
            None => our_command(&run.command),
        },
        Kind::Cmd(command) | Kind::Entrypoint(command) => our_command(command),
        Kind::Healthcheck(Healthcheck::Test { command, .. }) => our_command(command),
        Kind::Healthcheck(Healthcheck::None) => "none".to_owned(),
        Kind::Shell(words) => format!("{words:?}"),
        Kind::Expose(words) | Kind::Volume(words) => {
            format!("{:?}", words.iter().map(|word| &word.text).collect::<Vec<_>>())
        }
        Kind::User(word) | Kind::Workdir(word) | Kind::Stopsignal(word) => word.text.clone(),
        Kind::Maintainer(word) => word.text.clone(),
        Kind::Onbuild(inner) => our_instruction(inner),
        _ => String::new(),
    };
    format!("{start} {said}")
}

fn flag(name: &str, word: &Option<Word>) -> String {
    word.as_ref().map_or_else(String::new, |word| format!("{name}={} ", word.text))
}

fn our_heredoc(heredoc: &Heredoc) -> (bool, String) {
    (heredoc.expand, heredoc.content.clone())
}

/// Theirs keeps line ends in shell form, so that only the beginning is compared.
fn our_command(command: &Command) -> String {
    match command {
        Command::Exec(words) => format!("{words:?}"),
        Command::Shell(text) => text.clone(),
    }
}

fn said(file: &other::Dockerfile<'_>) -> Vec<String> {
    let mut facts = Vec::new();
    let mut before = true;
    for instruction in &file.instructions {
        match instruction {
            other::Instruction::From(from) => {
                before = false;
                let flags = their_flags(&from.options, &["platform"]);
                let name = from.as_.as_ref().map(|(_, name)| name.value.to_ascii_lowercase());
                let start = from.from.span.start;
                facts.push(format!("{start} FROM {flags}{} {name:?}", from.image.value));
            }
            other::Instruction::Arg(_) if before => facts.push("ARG".to_owned()),
            instruction => facts.push(their_instruction(instruction)),
        }
    }
    facts
}

fn their_instruction(instruction: &other::Instruction<'_>) -> String {
    use other::Instruction as Their;
    let (keyword, said) = match instruction {
        Their::Add(add) => (
            &add.add,
            their_copy(&add.options, &add.src, &add.dest, &["chown", "chmod", "checksum"]),
        ),
        Their::Copy(copy) => {
            let flags = ["from", "chown", "chmod"];
            (&copy.copy, their_copy(&copy.options, &copy.src, &copy.dest, &flags))
        }
        Their::Run(run) => match &run.here_docs[..] {
            [] => (&run.run, their_command(&run.arguments)),
            documents => {
                let documents: Vec<_> = documents.iter().map(their_heredoc).collect();
                (&run.run, format!("{:?}", documents[0]))
            }
        },
        Their::Cmd(cmd) => (&cmd.cmd, their_command(&cmd.arguments)),
        Their::Entrypoint(entrypoint) => {
            (&entrypoint.entrypoint, their_command(&entrypoint.arguments))
        }
        Their::Healthcheck(health) => {
            let said = match &health.arguments {
                other::HealthcheckArguments::Cmd { arguments, .. } => their_command(arguments),
                _ => "none".to_owned(),
            };
            (&health.healthcheck, said)
        }
        Their::Shell(shell) => (&shell.shell, format!("{:?}", texts(&shell.arguments))),
        Their::Expose(expose) => (&expose.expose, format!("{:?}", texts(&expose.arguments))),
        Their::Volume(volume) => {
            let words = match &volume.arguments {
                other::JsonOrStringArray::Json(words) => texts(&words.value),
                other::JsonOrStringArray::String(words) => texts(words),
            };
            (&volume.volume, format!("{words:?}"))
        }
        Their::User(user) => (&user.user, user.arguments.value.to_string()),
        Their::Workdir(workdir) => (&workdir.workdir, workdir.arguments.value.to_string()),
        Their::Stopsignal(stop) => (&stop.stopsignal, stop.arguments.value.to_string()),
        Their::Maintainer(maintainer) => {
            (&maintainer.maintainer, maintainer.name.value.to_string())
        }
        Their::Onbuild(onbuild) => (&onbuild.onbuild, their_instruction(&onbuild.instruction)),
        Their::Env(env) => (&env.env, String::new()),
        Their::Label(label) => (&label.label, String::new()),
        Their::Arg(arg) => (&arg.arg, String::new()),
        _ => unreachable!("FROM is read by the caller, and there are no others"),
    };
    format!("{} {said}", keyword.span.start)
}

fn their_copy(
    options: &[other::Flag<'_>],
    sources: &[other::Source<'_>],
    target: &other::UnescapedString<'_>,
    flags: &[&str],
) -> String {
    let (mut paths, mut documents) = (Vec::new(), Vec::new());
    for source in sources {
        match source {
            other::Source::Path(path) => paths.push(path.value.to_string()),
            other::Source::HereDoc(document) => documents.push(their_heredoc(document)),
            _ => unreachable!("there are no others"),
        }
    }
    let flags = their_flags(options, flags);
    format!("{flags}{paths:?} {documents:?} {:?}", target.value)
}

fn their_flags(options: &[other::Flag<'_>], names: &[&str]) -> String {
    let mut text = String::new();
    for name in names {
        for flag in options.iter().filter(|flag| flag.name.value == *name) {
            let value = flag.value.as_ref().map_or("", |value| &value.value);
            text += &format!("{name}={value} ");
        }
    }
    text
}

fn their_heredoc(heredoc: &other::HereDoc<'_>) -> (bool, String) {
    (heredoc.expand, heredoc.value.to_string())
}

fn their_command(command: &other::Command<'_>) -> String {
    match command {
        other::Command::Exec(words) => format!("{:?}", texts(&words.value)),
        other::Command::Shell(text) => text.value.to_owned(),
        _ => unreachable!("there are no others"),
    }
}

fn texts(words: &[other::UnescapedString<'_>]) -> Vec<String> {
    words.iter().map(|word| word.value.to_string()).collect()
}

/// Written by hand, since nobody makes these.
#[test]
fn both_say_the_same_of_oddities() {
    for text in [
        "FROM a\nCMD ['a', 'b']\n",
        "FROM a\nRUN ['a'\n",
        "FROM a\nRUN [ -f x ] || true\n",
        "FROM a\nCOPY \"a b\" c\n",
        "FROM a\nRUN echo <<<EOF\n",
        "FROM a\nCMD []\n",
        "FROM a\nUSER a b\n",
        "FROM a\nWORKDIR /a b\n",
        "FROM a\nRUN <<\"EOF\"\nx \\\n# y\nEOF\n",
        "FROM a\nRUN <<-EOF\n\tx\n\tEOF\n",
    ] {
        let mine = parse(&Source::new("odd", text)).expect(text);
        let theirs = other::parse(text).expect(text);
        assert_eq!(ours(&mine.dockerfile), said(&theirs), "{text}");
    }
}

/// Where the other one is not Docker: whether we take it, whether they do.
#[test]
fn where_they_differ() {
    for (text, we, they) in [
        // Since BuildKit 0.22 there may be white space.
        ("FROM a\nRUN cat << EOF\nx\nEOF\n", true, false),
        // BuildKit's name of a heredoc reaches to the next white space.
        ("FROM a\nRUN cat <<EOF;x\nx\nEOF;x\n", true, false),
        // An array of something else than strings is refused.
        ("FROM a\nRUN [\"a\", 1]\n", false, true),
        ("FROM a\nVOLUME []\n", false, true),
        // They do not look into flags, names and pairs.
        ("FROM a\nCOPY --form=a b c\n", false, true),
        ("FROM a AS 1x\n", false, true),
        ("FROM a\nENV a\n", false, true),
        ("FROM a\nONBUILD FROM b\n", false, true),
        ("FROM a\nHEALTHCHECK --interval=x CMD a\n", false, true),
    ] {
        assert_eq!(parse(&Source::new("odd", text)).is_ok(), we, "we: {text}");
        assert_eq!(other::parse(text).is_ok(), they, "they: {text}");
    }
    // Two escape characters continue no line in BuildKit; there they do.
    let text = "FROM a\nRUN a \\\\\nUSER x\n";
    let mine = parse(&Source::new("odd", text)).expect("correct").dockerfile;
    assert_eq!(mine.stages[0].instructions.len(), 2);
    assert_eq!(other::parse(text).expect("correct").instructions.len(), 2);
}
