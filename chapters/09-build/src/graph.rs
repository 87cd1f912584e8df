//! Which stage needs which.
//!
//! ```text
//! FROM rust AS build          0
//! FROM debian AS docs         1
//! FROM scratch                2 ── COPY --from=build ──▶ 0
//! COPY --from=build /app /
//! ```
//!
//! To build stage 2, stage 0 is built and stage 1 is not. As in BuildKit (`frontend/dockerfile/dockerfile2llb`):
//!
//! - `FROM name` is a stage before this one, else an image: `FROM debian AS debian` is no cycle.
//! - `COPY --from=` and `RUN --mount=from=` are any stage, by name or number, else an image. They may be further below,
//!   as long as nobody waits for himself.
//! - Of two stages with one name the later counts from there on, for `--from` everywhere.
//! - Names do not distinguish capital and small letters.
//! - `ONBUILD` of a stage belongs to the stages that are built on it.

use std::collections::{BTreeSet, HashMap};

use crate::error::{Fault, ParseError, nearest};
use crate::expand::ExpandError;
use crate::instruction::{Dockerfile, Instruction, Kind, Span, Word};
use crate::source::Source;

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nothing.
    Scratch,
    /// A stage, by its number.
    Stage(usize),
    /// An image, by the name as written, variables expanded.
    Image(String),
}

/// A stage and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `FROM`.
    pub base: Origin,
    /// Stages that must be finished before: the base and those of `--from`.
    pub dependencies: BTreeSet<usize>,
    /// Images that `--from` names.
    pub images: BTreeSet<String>,
}

/// All stages of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// By number.
    pub stages: Vec<Node>,
    /// The last stage of each name.
    names: HashMap<String, usize>,
}

/// `--target` names no stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("target stage \"{target}\" could not be found")]
pub struct UnknownTarget {
    /// As given.
    pub target: String,
    /// The stage that was meant, or all there are.
    pub hint: String,
}

/// A dependency, and the words that say so.
type Edge<'a> = (usize, &'a Span);

impl Graph {
    /// Reads the stages' bases and their `--from`. `expand` knows the `ARG`s before the first `FROM`, which both may use.
    ///
    /// # Errors
    /// If a word cannot be expanded, is empty, or is the number of no stage, and if stages wait for each other.
    pub fn new(
        source: &Source,
        file: &Dockerfile,
        expand: &mut dyn FnMut(&Word) -> Result<String, ExpandError>,
    ) -> Result<Self, ParseError> {
        Self::build(file, expand).map_err(|fault| source.explain(fault))
    }

    fn build(
        file: &Dockerfile,
        expand: &mut dyn FnMut(&Word) -> Result<String, ExpandError>,
    ) -> Result<Self, Fault> {
        let mut graph = Self { stages: Vec::new(), names: HashMap::new() };
        for (number, stage) in file.stages.iter().enumerate() {
            let name = expanded(&stage.base, expand)?;
            if name.is_empty() {
                let text = &stage.base.text;
                let message = format!("base name ({text}) should not be blank");
                let hint = "FROM knows the ARGs before the first FROM, and --build-arg";
                return Err(Fault::new(stage.base.span.clone(), message).hint(hint));
            }
            let base = graph.named(name);
            graph.stages.push(Node {
                dependencies: match base {
                    Origin::Stage(number) => BTreeSet::from([number]),
                    _ => BTreeSet::new(),
                },
                base,
                images: BTreeSet::new(),
            });
            if let Some(name) = &stage.name {
                graph.names.insert(name.clone(), number);
            }
        }
        let mut edges: Vec<Vec<Edge<'_>>> = Vec::new();
        for (number, stage) in file.stages.iter().enumerate() {
            let triggers = match graph.stages[number].base {
                Origin::Stage(base) => triggers(&file.stages[base].instructions),
                _ => Vec::new(),
            };
            let mut own: Vec<Edge<'_>> = Vec::new();
            for instruction in triggers.into_iter().chain(&stage.instructions) {
                for word in origins(&instruction.kind) {
                    let name = expanded(word, expand)?;
                    match graph.find(&name, word)? {
                        Origin::Stage(other) => {
                            graph.stages[number].dependencies.insert(other);
                            own.push((other, &word.span));
                        }
                        Origin::Image(image) => {
                            graph.stages[number].images.insert(image);
                        }
                        Origin::Scratch => {}
                    }
                }
            }
            edges.push(own);
        }
        match graph.order(&(0..graph.stages.len()).collect()) {
            Ok(_) => Ok(graph),
            Err(rest) => Err(graph.cycle(file, &rest, &edges)),
        }
    }

    /// What `FROM` or `--from=` means, variables expanded: a stage by name, or an image. A number is taken for the
    /// number of a stage if there is one.
    #[must_use]
    pub fn origin(&self, name: &str) -> Origin {
        match name.parse::<usize>() {
            Ok(number) if number < self.stages.len() => Origin::Stage(number),
            _ => self.named(name.to_owned()),
        }
    }

    fn named(&self, name: String) -> Origin {
        match self.names.get(&name.to_ascii_lowercase()) {
            Some(number) => Origin::Stage(*number),
            None if name == "scratch" => Origin::Scratch,
            None => Origin::Image(name),
        }
    }

    fn find(&self, name: &str, word: &Word) -> Result<Origin, Fault> {
        let fault = |message| Fault::new(word.span.clone(), message);
        if name.is_empty() {
            return Err(fault(format!("the name of a stage or image ({}) is blank", word.text)));
        }
        let digits = name.bytes().all(|byte| byte.is_ascii_digit());
        match self.origin(name) {
            Origin::Image(_) if digits => {
                let last = self.stages.len() - 1;
                let hint = format!("stages are numbered from 0 to {last}");
                Err(fault(format!("invalid stage index {name}")).hint(hint))
            }
            origin => Ok(origin),
        }
    }

    /// The stages that a target needs, and itself: each after those that it needs, else in the order of the text. Without
    /// a target it is the last stage.
    ///
    /// # Errors
    /// If there is no such stage.
    pub fn needed(&self, target: Option<&str>) -> Result<Vec<usize>, UnknownTarget> {
        let target = match target {
            Some(target) => self.target(target)?,
            None => self.stages.len() - 1,
        };
        let mut wanted = BTreeSet::new();
        let mut pending = vec![target];
        while let Some(stage) = pending.pop() {
            if wanted.insert(stage) {
                pending.extend(&self.stages[stage].dependencies);
            }
        }
        // There are no cycles: `new` has looked.
        Ok(self.order(&wanted).unwrap_or_default())
    }

    /// The number of the stage that `--target` names, by name or number.
    ///
    /// # Errors
    /// If there is no such stage.
    pub fn target(&self, target: &str) -> Result<usize, UnknownTarget> {
        if let Some(number) = self.names.get(&target.to_ascii_lowercase()) {
            return Ok(*number);
        }
        match target.parse::<usize>() {
            Ok(number) if number < self.stages.len() => return Ok(number),
            _ => {}
        }
        let mut names: Vec<&str> = self.names.keys().map(String::as_str).collect();
        names.sort_unstable();
        let hint = match nearest(target, names.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None if names.is_empty() => "no stage has a name: FROM image AS name".to_owned(),
            None => format!("stages are {}", names.join(", ")),
        };
        Err(UnknownTarget { target: target.to_owned(), hint })
    }

    /// The wanted stages, each after those that it needs; or those which wait for each other, and who waits for them.
    fn order(&self, wanted: &BTreeSet<usize>) -> Result<Vec<usize>, BTreeSet<usize>> {
        let mut waiting: HashMap<usize, usize> = HashMap::new();
        let mut users: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut ready = BTreeSet::new();
        for stage in wanted {
            let needs = self.stages[*stage].dependencies.intersection(wanted);
            let count = needs.map(|need| users.entry(*need).or_default().push(*stage)).count();
            waiting.insert(*stage, count);
            if count == 0 {
                ready.insert(*stage);
            }
        }
        let mut order = Vec::new();
        while let Some(stage) = ready.pop_first() {
            order.push(stage);
            waiting.remove(&stage);
            for user in users.get(&stage).into_iter().flatten() {
                if let Some(count) = waiting.get_mut(user) {
                    *count -= 1;
                    if *count == 0 {
                        ready.insert(*user);
                    }
                }
            }
        }
        match waiting.is_empty() {
            true => Ok(order),
            false => Err(waiting.into_keys().collect()),
        }
    }

    /// The error about a cycle among stages of which each waits for another of them.
    fn cycle(&self, file: &Dockerfile, rest: &BTreeSet<usize>, edges: &[Vec<Edge<'_>>]) -> Fault {
        let next = |stage: usize| {
            self.stages[stage].dependencies.iter().copied().find(|need| rest.contains(need))
        };
        // Whoever goes on along the first dependency is in the cycle sooner or later, and then comes back.
        let mut path: Vec<usize> = Vec::new();
        let mut stage = rest.first().copied().unwrap_or_default();
        while !path.contains(&stage) {
            path.push(stage);
            stage = next(stage).unwrap_or(stage);
        }
        let begin = path.iter().position(|other| *other == stage).unwrap_or_default();
        let cycle = &path[begin..];
        // Told from its first stage in the text on; the caret is under what this one says, unless only its FROM does.
        let first = cycle.iter().position(|other| cycle.iter().min() == Some(other)).unwrap_or(0);
        let mut names: Vec<String> = cycle[first..]
            .iter()
            .chain(&cycle[..=first])
            .map(|number| stage_name(file, *number))
            .collect();
        let start = cycle[first];
        let after = cycle[(first + 1) % cycle.len()];
        let edge = edges[start].iter().find(|(need, _)| *need == after);
        let span = edge.map_or(&file.stages[start].base.span, |(_, span)| span);
        let message = format!("circular dependency detected on stage: {}", names[0]);
        let hint = if cycle.len() == 1 {
            "a stage cannot copy from itself".to_owned()
        } else {
            let last = names.pop().unwrap_or_default();
            format!("{} needs {last} again", names.join(" needs "))
        };
        Fault::new(span.clone(), message).hint(hint)
    }
}

fn stage_name(file: &Dockerfile, number: usize) -> String {
    file.stages[number].name.clone().unwrap_or_else(|| format!("stage-{number}"))
}

fn expanded(
    word: &Word,
    expand: &mut dyn FnMut(&Word) -> Result<String, ExpandError>,
) -> Result<String, Fault> {
    expand(word).map_err(|error| {
        let hint = error.hint.map(str::to_owned);
        Fault { message: error.message, hint, span: error.span }
    })
}

/// What `ONBUILD` says in a stage.
fn triggers(instructions: &[Instruction]) -> Vec<&Instruction> {
    let inner = |instruction| match instruction {
        &Instruction { kind: Kind::Onbuild(ref inner), .. } => Some(&**inner),
        _ => None,
    };
    instructions.iter().filter_map(inner).collect()
}

/// The `--from` of an instruction.
fn origins(kind: &Kind) -> Vec<&Word> {
    match kind {
        Kind::Copy(transfer) | Kind::Add(transfer) => transfer.from.iter().collect(),
        Kind::Run(run) => run
            .mounts
            .iter()
            .flat_map(|mount| &mount.fields)
            .filter(|(key, _)| key == "from")
            .filter_map(|(_, value)| value.as_ref())
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
