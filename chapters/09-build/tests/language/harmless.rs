//! What holds for every text: no panic, and all places are places of the text. The fuzzer looks here too.

use build::expand::{Expander, expand_heredoc, words};
use build::graph::Graph;
use build::instruction::{Instruction, Kind, Span, Word};
use build::parse::{parse, parse_trigger};
use build::source::Source;

/// Reads a text; whatever comes out, its places are places of the text.
pub(crate) fn harmless(text: &str) {
    let source = Source::new("any", text);
    let inside = |span: &Span, what: &str| {
        assert!(text.get(span.clone()).is_some(), "{what} at {span:?} of {text:?}");
    };
    let _ = parse_trigger(&source);
    let parsed = match parse(&source) {
        Ok(parsed) => parsed,
        Err(error) => {
            inside(&error.span, &error.message);
            let shown = error.to_string();
            assert!(!shown.contains(|char: char| char.is_control() && char != '\n'), "{shown:?}");
            return;
        }
    };
    for warning in &parsed.warnings {
        inside(&warning.span, warning.rule);
    }
    let file = parsed.dockerfile;
    let expander = Expander { escape: file.escape };
    let expanded = |word: &Word| {
        inside(&word.span, &word.text);
        let mut lookup = |name: &str| (name.len() == 1).then(|| format!("{name} {name}"));
        let _ = expander.expand_words(word, &mut lookup);
        expander.expand(word, &mut lookup)
    };
    for stage in &file.stages {
        inside(&stage.span, "stage");
        assert!(text[stage.span.clone()].to_ascii_uppercase().starts_with("FROM"));
        let mut end = stage.span.end;
        for instruction in &stage.instructions {
            assert!(instruction.span.start >= end, "one after the other: {text:?}");
            end = instruction.span.end;
            inside(&instruction.span, &instruction.text);
            words(&instruction.kind).into_iter().for_each(|word| drop(expanded(word)));
            heredocs(instruction, &inside);
        }
    }
    if let Ok(graph) = Graph::new(&source, &file, &mut |word| expanded(word)) {
        let order = graph.needed(None).expect("there is a last stage");
        for (index, stage) in order.iter().enumerate() {
            let needs = &graph.stages[*stage].dependencies;
            assert!(needs.iter().all(|need| order[..index].contains(need)), "{text:?}");
        }
    }
}

fn heredocs(instruction: &Instruction, inside: &dyn Fn(&Span, &str)) {
    let heredocs = match &instruction.kind {
        Kind::Copy(transfer) | Kind::Add(transfer) => &transfer.heredocs[..],
        Kind::Run(run) => run.script.as_slice(),
        Kind::Onbuild(inner) => return heredocs(inner, inside),
        _ => &[],
    };
    for heredoc in heredocs {
        inside(&heredoc.span, &heredoc.name);
        let _ = expand_heredoc(heredoc, &mut |_| None);
    }
}
