//! The build checks that need more than one line: see <https://docs.docker.com/reference/build-checks/>. Those about a
//! single line are made while it is parsed.

use std::collections::BTreeSet;

use crate::error::Warning;
use crate::expand::Expander;
use crate::instruction::{Command, Dockerfile, Kind, Span, Stage, Word};
use crate::source::Source;

/// Arguments that every `FROM` knows without `ARG`. Dockerfile reference, "Automatic platform ARGs in the global scope".
const PLATFORM: [&str; 9] = [
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETSTAGE",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
];

/// All of them, by check.
pub(crate) fn check(source: &Source, file: &Dockerfile) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn =
        |rule, span: &Span, message: String| warnings.push(source.warning(rule, span, &message));
    duplicate_names(file, &mut warn);
    undefined_arguments(file, &mut warn);
    file.stages.iter().for_each(|stage| commands(stage, &mut warn));
    secrets(file, &mut warn);
    casing(source, file, &mut warn);
    warnings
}

type Warn<'a> = dyn FnMut(&'static str, &Span, String) + 'a;

fn duplicate_names(file: &Dockerfile, warn: &mut Warn<'_>) {
    let mut seen = BTreeSet::new();
    for stage in &file.stages {
        let Some(name) = &stage.name else { continue };
        if !seen.insert(name) {
            let message = format!("Duplicate stage name \"{name}\", stage names should be unique");
            warn("DuplicateStageName", &stage.span, message);
        }
    }
}

/// `FROM` sees the `ARG`s before the first `FROM` and no others, which surprises everybody once.
fn undefined_arguments(file: &Dockerfile, warn: &mut Warn<'_>) {
    let expander = Expander { escape: file.escape };
    let declared: BTreeSet<&str> =
        file.arguments.iter().map(|argument| &argument.name.text[..]).chain(PLATFORM).collect();
    for stage in &file.stages {
        for word in [Some(&stage.base), stage.platform.as_ref()].into_iter().flatten() {
            let mut undefined = Vec::new();
            let mut lookup = |name: &str| {
                if !declared.contains(name) {
                    undefined.push(name.to_owned());
                }
                None
            };
            // What is wrong with the word is said when it is used.
            let _ = expander.expand(word, &mut lookup);
            for name in undefined {
                let message = format!("FROM argument '{name}' is not declared");
                warn("UndefinedArgInFrom", &word.span, message);
            }
        }
    }
}

/// `CMD`, `ENTRYPOINT` and `HEALTHCHECK` count once in a stage; in shell form, the shell gets the signals.
fn commands(stage: &Stage, warn: &mut Warn<'_>) {
    let own_shell = stage.instructions.iter().any(|at| matches!(at.kind, Kind::Shell(_)));
    let mut seen: Vec<(&str, &Span)> = Vec::new();
    for instruction in &stage.instructions {
        let (name, command) = match &instruction.kind {
            Kind::Cmd(command) => ("CMD", Some(command)),
            Kind::Entrypoint(command) => ("ENTRYPOINT", Some(command)),
            Kind::Healthcheck(_) => ("HEALTHCHECK", None),
            _ => continue,
        };
        if matches!(command, Some(Command::Shell(_))) && !own_shell {
            let message = format!(
                "JSON arguments recommended for {name} to prevent unintended behavior related to \
                 OS signals"
            );
            warn("JSONArgsRecommended", &instruction.span, message);
        }
        if let Some((_, earlier)) = seen.iter_mut().find(|(other, _)| *other == name) {
            let message = format!(
                "Multiple {name} instructions should not be used in the same stage because only \
                 the last one will be used"
            );
            warn("MultipleInstructionsDisallowed", earlier, message);
            *earlier = &instruction.span;
        } else {
            seen.push((name, &instruction.span));
        }
    }
}

/// Words in the name of a variable that holds what should be in no layer and in no history.
const SENSITIVE: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "passwd",
    "password",
    "pword",
    "secret",
    "token",
];

/// `ENV API_TOKEN=...`, unless the name also says `PUBLIC`.
fn secrets(file: &Dockerfile, warn: &mut Warn<'_>) {
    let mut look = |instruction: &str, name: &Word| {
        let lower = name.text.to_ascii_lowercase();
        let says = |word: &str| lower.split('_').any(|part| part == word);
        if SENSITIVE.iter().any(|word| says(word)) && !says("public") {
            let name_text = &name.text;
            let message = format!(
                "Do not use ARG or ENV instructions for sensitive data ({instruction} \"{name_text}\")"
            );
            warn("SecretsUsedInArgOrEnv", &name.span, message);
        }
    };
    file.arguments.iter().for_each(|argument| look("ARG", &argument.name));
    for instruction in file.stages.iter().flat_map(|stage| &stage.instructions) {
        match &instruction.kind {
            Kind::Arg(arguments) => arguments.iter().for_each(|at| look("ARG", &at.name)),
            Kind::Env(pairs) => pairs.iter().for_each(|(name, _)| look("ENV", name)),
            _ => {}
        }
    }
}

/// All keywords small, or all in capitals: as most are.
fn casing(source: &Source, file: &Dockerfile, warn: &mut Warn<'_>) {
    let mut keywords = Vec::new();
    for stage in &file.stages {
        let spans = stage.instructions.iter().map(|instruction| &instruction.span);
        for span in std::iter::once(&stage.span).chain(spans) {
            let text = source.text().get(span.clone()).unwrap_or_default();
            let end = text.find(|char: char| !char.is_ascii_alphabetic());
            keywords.push((&text[..end.unwrap_or(text.len())], span));
        }
    }
    let lower = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase());
    let upper = |text: &str| text.bytes().all(|byte| byte.is_ascii_uppercase());
    let small = keywords.iter().filter(|(text, _)| lower(text)).count();
    let majority = if small > keywords.len() / 2 { "lowercase" } else { "uppercase" };
    for (text, span) in keywords {
        if if majority == "lowercase" { lower(text) } else { upper(text) } {
            continue;
        }
        let message =
            format!("Command '{text}' should match the case of the command majority ({majority})");
        warn("ConsistentInstructionCasing", span, message);
    }
}
