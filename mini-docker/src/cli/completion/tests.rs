//! What completion knows of the command line.

use clap::{Command, CommandFactory};

use super::words::{Answer, Line, Things};
use super::{NAME, shown};
use crate::cli::Cli;

fn built() -> Command {
    let mut command = shown(&Cli::command(), NAME);
    command.build();
    command
}

fn ask(line: &str) -> Answer {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    Line::read(&built(), &words).answer()
}

fn words(line: &str) -> Vec<String> {
    ask(line).words.into_iter().map(|(word, _)| word).collect()
}

#[test]
fn verbs_flags_and_values() {
    for (line, expected) in [
        ("pau", &["pause"][..]),
        ("system rest", &["restart-all"]),
        ("--root /r system rest", &["restart-all"]),
        ("run --memory-s", &["--memory-swap"]),
        ("run --rm -it --memory-s", &["--memory-swap"]),
        // Behind the image it is another program's.
        ("run debian --memory-s", &[]),
        ("exec c --privi", &[]),
        ("exec --privi", &["--privileged"]),
        ("logs c --fol", &["--follow"]),
        ("logs -- --fol", &[]),
        ("run --restart on", &["on-failure"]),
        ("run --restart=on", &["--restart=on-failure"]),
        ("run --net", &["--network"]),
        ("run --net h", &["host"]),
        ("run --network=h", &["--network=host"]),
        ("run --pull ", &["always", "missing", "never"]),
        ("kill -s US", &["USR1", "USR2"]),
        ("inspect --type v", &["volume"]),
        ("completion z", &["zsh"]),
        ("run --sig-proxy=f", &["--sig-proxy=false"]),
        ("__", &[]),
    ] {
        let mut expected: Vec<&str> = expected.to_vec();
        let mut found = words(line);
        expected.sort_unstable();
        found.sort();
        // A verb's own flags stand beside the global ones.
        found.retain(|word| expected.contains(&word.as_str()) || expected.is_empty());
        assert_eq!(found, expected, "{line}: {:?}", ask(line));
    }
    assert!(words("").contains(&"run".to_owned()) && !words("").contains(&"man".to_owned()));
    assert!(ask("pau").words[0].1.contains("stand still"), "{:?}", ask("pau"));
    assert!(words("rm --").contains(&"--root".to_owned()), "{:?}", words("rm --"));
}

#[test]
fn things_are_those_that_a_verb_can_use() {
    use Things::{Active, ContainerNetworks, ContainerPaths, Containers, Idle, Images, Volumes};
    for (line, things, files) in [
        ("rm ", &[Containers][..], false),
        ("rm one ", &[Containers], false),
        ("container rm -f on", &[Containers], false),
        ("start ", &[Idle], false),
        ("stop -t 5 ", &[Active], false),
        ("stop -t ", &[], false),
        ("exec -it ", &[Active], false),
        ("exec -it one ", &[], true),
        ("run ", &[Images], false),
        ("run -e A=B -it --name x ", &[Images], false),
        ("run debian ", &[], true),
        ("run --network ", &[ContainerNetworks], false),
        ("run --network=", &[ContainerNetworks], false),
        ("run --volumes-from=", &[Containers], false),
        ("run -v ", &[Things::VolumeSources], true),
        ("run --env-file ", &[], true),
        ("create ", &[Images], false),
        ("cp ", &[ContainerPaths], true),
        ("cp a:/x ", &[ContainerPaths], true),
        ("cp a:/x y ", &[], false),
        ("rmi ", &[Images], false),
        ("volume rm ", &[Volumes], false),
        ("inspect ", &[Containers, Images, Volumes], false),
        ("logs one ", &[], false),
        ("load -i ", &[], true),
        ("import ", &[], true),
    ] {
        let answer = ask(line);
        assert_eq!((answer.things.as_slice(), answer.files), (things, files), "{line}");
    }
}

/// Whoever adds a verb is reminded here.
#[test]
fn each_verb_that_takes_a_name_knows_of_what() {
    fn check(command: &Command, line: &str) {
        for verb in command.get_subcommands() {
            check(verb, &format!("{line}{} ", verb.get_name()));
        }
        let Some(arg) = command.get_positionals().next() else { return };
        let answer = ask(line);
        let own_words = ["search ", "login ", "logout ", "volume create "];
        let is_known = !answer.things.is_empty() || !answer.words.is_empty() || answer.files;
        assert!(is_known || own_words.contains(&line), "{line}: {}", arg.get_id());
    }
    check(&built(), "");
}
