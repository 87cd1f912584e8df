//! The command line as a whole.

use super::usage::{code_of, verb_in_use};
use super::*;

fn read(line: &str) -> Result<Command, String> {
    let words = line.split(' ').map(OsString::from);
    parse(words).map(|cli| cli.command).map_err(|error| error.to_string())
}

/// The flags of a command and of its own: what comes before, and the flag.
fn flags(command: &clap::Command, verb: &str, out: &mut Vec<(String, String)>) {
    for argument in command.get_arguments() {
        let (Some(name), clap::ArgAction::SetTrue) = (argument.get_long(), argument.get_action())
        else {
            continue;
        };
        out.push((verb.to_owned(), format!("--{name}")));
    }
    for command in command.get_subcommands() {
        flags(command, &format!("{verb} {}", command.get_name()), out);
    }
}

#[test]
fn every_flag_can_be_false_and_be_repeated() {
    let mut all = Vec::new();
    flags(&Cli::command(), "mini-docker", &mut all);
    assert!(all.len() > 70, "{all:?}");
    for (verb, flag) in all {
        // What is missing else does not matter here.
        for text in [format!("{verb} {flag}=false"), format!("{verb} {flag} {flag}=0")] {
            let error = read(&text).err().unwrap_or_default();
            let missing = error.contains("required arguments were not provided");
            assert!(error.is_empty() || missing, "{text}: {error}");
        }
        let error = read(&format!("{verb} {flag}=perhaps")).unwrap_err();
        assert!(error.contains("write true or false"), "{flag}: {error}");
    }
}

#[test]
fn short_flags_stand_together_and_the_last_may_be_false() {
    let line = |line: &str| format!("{:?}", read(line).unwrap());
    for (long, short) in [
        ("logs --follow --timestamps=false c", "logs -ft=false c"),
        ("exec --interactive --tty c sh", "exec -it c sh"),
        ("exec --interactive --tty=false c sh -c", "exec -it=false c sh -c"),
        ("rm --force --volumes c", "rm -fv c"),
        ("ps --all --quiet=false", "ps -aq=0"),
        ("start c", "start -a -a=false c"),
    ] {
        let [long, short] = [long, short].map(|text| line(&format!("mini-docker {text}")));
        assert_eq!(long, short);
    }
}

#[test]
fn a_wrong_command_line_has_dockers_code() {
    for (line, code, verb) in [
        ("run", 1, "run "),
        ("run --frobnicate x", 125, "run "),
        ("run -m x debian", 125, "run "),
        ("rm", 1, "rm "),
        ("exec c", 1, "exec "),
        ("logs one two", 1, "logs "),
        ("volume inspect", 1, "volume inspect "),
        ("--root /r volume inspect --frobnicate", 125, "volume inspect "),
        ("system df x", 1, "system df "),
        ("frobnicate", 1, ""),
        ("volume frobnicate", 1, "volume "),
        ("inspect --type bad x", 125, "inspect "),
        ("--frobnicate", 125, ""),
    ] {
        let words = line.split(' ').map(str::to_owned);
        let error = parse(std::iter::once("mini-docker").chain(line.split(' ')).map(Into::into));
        assert_eq!(code_of(&error.unwrap_err()), code, "{line}");
        assert_eq!(verb_in_use(words).1, verb, "{line}");
    }
}
