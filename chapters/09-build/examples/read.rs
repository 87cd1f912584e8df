//! What a Dockerfile says: its stages, who needs whom, and what Docker would warn about.
//!
//! `cargo run -p build --example read -- Dockerfile [TARGET]`

use std::collections::HashMap;
use std::error::Error;

use build::expand::Expander;
use build::graph::Graph;
use build::parse::parse;
use build::source::Source;

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: read DOCKERFILE [TARGET]")?;
    let target = arguments.next();
    let source = Source::from_bytes(&path[..], std::fs::read(&path)?)?;
    let parsed = parse(&source)?;
    let file = &parsed.dockerfile;

    // Arguments before the first FROM: each may use those before it.
    let expander = Expander { escape: file.escape };
    let mut values: HashMap<String, String> = HashMap::new();
    for argument in &file.arguments {
        let Some(default) = &argument.default else { continue };
        let value = expander.expand(default, &mut |name: &str| values.get(name).cloned())?;
        values.insert(argument.name.text.clone(), value);
    }
    let mut expand = |word: &_| expander.expand(word, &mut |name: &str| values.get(name).cloned());
    let graph = Graph::new(&source, file, &mut expand)?;

    for number in
        graph.needed(target.as_deref()).map_err(|error| format!("{error}: {}", error.hint))?
    {
        let (stage, node) = (&file.stages[number], &graph.stages[number]);
        println!("{number}: {}   ({:?}, needs {:?})", stage.text, node.base, node.dependencies);
        for instruction in &stage.instructions {
            println!("   {:4} {}", source.line(instruction.span.start), instruction.text);
        }
    }
    for warning in &parsed.warnings {
        println!("{warning}");
    }
    Ok(())
}
