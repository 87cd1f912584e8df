//! What is to be built: the Dockerfile, read and checked, with the images that it begins with.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use build::error::ParseError;
use build::expand::{ExpandError, Expander};
use build::graph::{Graph, Origin};
use build::instruction::{Dockerfile, Kind};
use build::parse::{Parsed, parse};
use build::scope::Globals;
use build::source::Source;
use images::{Image, Platform};
use jiff::Timestamp;

use super::Request;
use super::context::Context;
use super::talk::Place;
use crate::engine::Engine;
use crate::failure::{self, Failure};
use crate::transfer::{Policy, find_or_pull};

/// What a stage begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    Scratch,
    Stage(usize),
    /// By the name that the Dockerfile gives it.
    Image(String),
}

/// Everything that workers need to know; nothing of it changes any more.
pub(super) struct Plan<'p> {
    pub(super) request: &'p Request,
    pub(super) context: &'p Context,
    pub(super) source: &'p Source,
    pub(super) dockerfile: Dockerfile,
    graph: Graph,
    pub(super) globals: Globals,
    /// The stages to build, in an order in which each comes after those that it needs.
    pub(super) needed: Vec<usize>,
    pub(super) target: usize,
    pub(super) bases: BTreeMap<usize, Base>,
    /// The images of bases and of `--from`, by the name in the Dockerfile.
    pub(super) images: BTreeMap<String, Image>,
    /// Keeps their unpacked layers.
    _holds: Vec<images::commit::Hold>,
    /// `SOURCE_DATE_EPOCH`.
    pub(super) epoch: Option<i64>,
    /// The time of the build: that, or now.
    pub(super) now: Timestamp,
}

/// Reads the Dockerfile and finds the images.
///
/// # Errors
/// A mistake in it, an unknown target, an image that cannot be had.
pub(super) fn plan<'p>(
    engine: &Engine,
    request: &'p Request,
    context: &'p Context,
) -> Result<Plan<'p>> {
    let source = &context.dockerfile;
    let Parsed { dockerfile, warnings } = parse(source).map_err(|error| shown(&error))?;
    for warning in &warnings {
        if request.manner != super::Manner::Quiet {
            failure::tell(&format!("warning: {warning}"));
        }
    }
    let host = Platform::host();
    let variant = host.variant.clone().unwrap_or_default();
    let mut globals =
        Globals::new(request.arguments.clone(), &host.os, &host.architecture, &variant);
    let expander = Expander { escape: dockerfile.escape };
    let at = |error: ExpandError| {
        shown(&source.error(&error.span, error.message, error.hint.map(str::to_owned)))
    };
    for argument in &dockerfile.arguments {
        let expand = |word| expander.expand(word, &mut |name: &str| globals.value(name));
        let name = expand(&argument.name).map_err(at)?;
        let default = argument.default.as_ref().map(expand).transpose();
        let default = default.map_err(at)?;
        globals.declare(&name, default);
    }
    let expand = &mut |word: &_| expander.expand(word, &mut |name: &str| globals.value(name));
    let graph = Graph::new(source, &dockerfile, expand).map_err(|error| shown(&error))?;
    let last = dockerfile.stages.len() - 1;
    let unknown = |error: build::graph::UnknownTarget| {
        let hint = error.hint.clone();
        Failure::new(error.to_string()).hint(hint)
    };
    let target = match request.target.as_deref().filter(|target| !target.is_empty()) {
        Some(target) => graph.target(target).map_err(unknown)?,
        None => last,
    };
    let needed = graph.needed(request.target.as_deref().filter(|target| !target.is_empty()));
    let needed = needed.map_err(unknown)?;
    check_platforms(&dockerfile, &needed, &globals, &host)?;

    let (mut bases, mut names) = (BTreeMap::new(), BTreeSet::new());
    for &stage in &needed {
        let node = &graph.stages[stage];
        bases.insert(
            stage,
            match &node.base {
                Origin::Scratch => Base::Scratch,
                Origin::Stage(other) => Base::Stage(*other),
                Origin::Image(name) => {
                    names.insert(name.clone());
                    Base::Image(name.clone())
                }
            },
        );
        names.extend(node.images.iter().cloned());
    }
    let store = engine.images()?;
    let (mut images, mut holds) = (BTreeMap::new(), Vec::new());
    for name in names {
        let policy = if request.pull { Policy::Always } else { Policy::Missing };
        let quiet = request.manner == super::Manner::Quiet;
        let image = find_or_pull(engine, &name, policy, None, quiet)
            .map_err(|error| in_its_line(source, &dockerfile, &bases, &name, &error))?;
        holds.push(store.hold(&image)?);
        crate::image::unpack(engine, &store, &image)?;
        images.insert(name, image);
    }
    let epoch = epoch(request)?;
    let now = match epoch {
        Some(epoch) => Timestamp::from_second(epoch)?,
        None => Timestamp::now(),
    };
    let plan = Plan {
        request,
        context,
        source,
        dockerfile,
        graph,
        globals,
        needed,
        target,
        bases,
        images,
        _holds: holds,
        epoch,
        now,
    };
    plan.warn_of_unasked();
    Ok(plan)
}

/// An image that cannot be had, with the line that wants it. A mistyped stage is taken for an image.
fn in_its_line(
    source: &Source,
    dockerfile: &Dockerfile,
    bases: &BTreeMap<usize, Base>,
    name: &str,
    error: &anyhow::Error,
) -> anyhow::Error {
    let mut bases = bases.iter();
    let is_it = |base: &Base| matches!(base, Base::Image(other) if other == name);
    let base = bases.find(|(_, base)| is_it(base));
    let of_base = base.map(|(stage, _)| dockerfile.stages[*stage].base.span.clone());
    let mut instructions = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let from = instructions.find_map(|instruction| match &instruction.kind {
        Kind::Copy(transfer) => transfer.from.as_ref().filter(|from| from.text == name),
        Kind::Run(run) => {
            let fields = run.mounts.iter().flat_map(|mount| &mount.fields);
            let mut from = fields.filter(|(key, _)| key == "from");
            from.find_map(|(_, word)| word.as_ref().filter(|word| word.text == name))
        }
        _ => None,
    });
    let failure = failure::explain(error);
    let Some(span) = of_base.or(from.map(|word| word.span.clone())) else { return failure.into() };
    let mut stages = dockerfile.stages.iter().filter_map(|stage| stage.name.as_deref());
    let near = stages.find(|stage| strsim::damerau_levenshtein(stage, name) <= 2);
    let hint = near.map(|stage| format!("did you mean the stage {stage}?")).or(failure.hint);
    let Failure { message, hint, before, .. } = shown(&source.error(&span, failure.message, hint));
    Failure { before: [failure.before, before].concat(), hint, ..Failure::new(message) }.into()
}

/// A mistake as people see it: the line, the mistake, what to do.
pub(super) fn shown(error: &ParseError) -> Failure {
    let failure = Failure::new(format!("{}: {}", error.place, error.message))
        .before(error.excerpt.lines().map(str::to_owned));
    Failure { hint: error.hint.clone(), ..failure }
}

/// Only programs of this machine's kind can be run.
fn check_platforms(
    dockerfile: &Dockerfile,
    needed: &[usize],
    globals: &Globals,
    host: &Platform,
) -> Result<()> {
    let expander = Expander { escape: dockerfile.escape };
    for &stage in needed {
        let Some(word) = &dockerfile.stages[stage].platform else { continue };
        let text = expander
            .expand(word, &mut |name: &str| globals.value(name))
            .map_err(|error| Failure::new(error.message))?;
        let wanted: Platform = text.parse()?;
        if !host.runs(&wanted) {
            return Err(other_platform(&wanted, host).into());
        }
    }
    Ok(())
}

/// What is told to whoever wants an image for another machine.
pub(crate) fn other_platform(wanted: &Platform, host: &Platform) -> Failure {
    Failure::new(format!("cannot build for {wanted}: this machine is {host}"))
        .hint("build it on such a machine: programs of another kind cannot be run here")
}

/// `SOURCE_DATE_EPOCH`, of `--build-arg` or the environment.
fn epoch(request: &Request) -> Result<Option<i64>> {
    let name = "SOURCE_DATE_EPOCH";
    let given = request.arguments.get(name).cloned().or_else(|| std::env::var(name).ok());
    let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(seconds) if Timestamp::from_second(seconds).is_ok() => Ok(Some(seconds)),
        _ => Err(Failure::new(format!("{name} is not a time: `{text}`"))
            .hint("seconds since 1970, as `date +%s` and `git log -1 --format=%ct` print them")
            .into()),
    }
}

impl Plan<'_> {
    /// Names and numbers of steps of the stages that are built, for the display.
    pub(super) fn shown_stages(&self) -> BTreeMap<usize, (Option<String>, usize)> {
        let several = self.needed.len() > 1;
        let stages = self.needed.iter().map(|&number| {
            let stage = &self.dockerfile.stages[number];
            let name = stage.name.clone().unwrap_or_else(|| format!("stage-{number}"));
            let is_step = |kind: &Kind| {
                matches!(kind, Kind::Run(_) | Kind::Copy(_) | Kind::Add(_) | Kind::Workdir(_))
            };
            let steps = stage.instructions.iter().filter(|one| is_step(&one.kind)).count();
            (number, (several.then_some(name), steps + 1))
        });
        stages.collect()
    }

    /// The stage that `--from` of `stage` names; None for an image.
    pub(super) fn stage_named(&self, name: &str) -> Option<usize> {
        match self.graph.origin(name) {
            Origin::Stage(stage) => Some(stage),
            _ => None,
        }
    }

    /// Whether a name is `scratch`.
    pub(super) fn is_scratch(&self, name: &str) -> bool {
        self.graph.origin(name) == Origin::Scratch
    }

    /// What went wrong in a step, with its line and the last lines of its output.
    pub(super) fn explain(&self, failure: Failure, at: Option<Place>, last: &[String]) -> Failure {
        let Some(place) = at else { return failure };
        let error = self.source.error(&place.span, failure.message.clone(), failure.hint.clone());
        let Failure { message, hint, mut before, .. } = shown(&error);
        if place.step.is_some() && !last.is_empty() {
            let frame = || std::iter::once("------".to_owned());
            let last = last.iter().map(|line| format!(" {line}"));
            before = frame().chain(last).chain(frame()).chain(before).collect();
        }
        Failure { message, hint, before, ..failure }
    }

    /// A mistyped `--build-arg` would otherwise do nothing, silently.
    fn warn_of_unasked(&self) {
        let stages = self.dockerfile.stages.iter();
        let kinds = stages.flat_map(|stage| &stage.instructions).map(|one| &one.kind);
        let arguments = kinds.filter_map(|kind| match kind {
            Kind::Arg(arguments) => Some(arguments),
            _ => None,
        });
        let asked: BTreeSet<String> =
            arguments.flatten().map(|argument| argument.name.text.clone()).collect();
        let unasked = self.globals.unasked(&asked);
        if !unasked.is_empty() && self.request.manner != super::Manner::Quiet {
            let names = unasked.join(" ");
            failure::tell(&format!("warning: one or more build-args were not consumed: [{names}]"));
        }
    }
}
