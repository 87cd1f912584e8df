//! A stage, instruction by instruction: each changes the settings, or makes a layer, or finds it in the cache.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context as _, Result};
use build::cache::{Cache, Ingredients, Layer, Record, Why};
use build::config::Settings;
use build::digest::{Changes, Content};
use build::expand::Expander;
use build::instruction::{Dockerfile, Instruction, Kind};
use build::parse::parse_trigger;
use build::scope::Scope;
use build::source::Source;
use jiff::Timestamp;

use super::aside::Aside;
use super::chain::{Chain, Writable};
use super::layer::{self, Press};
use super::plan::{Base, Plan};
use super::talk::{Line, Outcome, Place, Said, Talk, Told};
use super::{copy, run, workdir};
use crate::engine::Engine;
use crate::failure::Failure;

/// The life of a worker: it says at the end what came of its stage.
pub(super) fn work(engine: &Engine, plan: &Plan<'_>, stage: usize, talk: Talk<Told>) {
    let mut worker = match Worker::new(engine, plan, stage, talk) {
        Ok(worker) => worker,
        Err((error, mut talk)) => {
            talk.say(&Said::failed(&error, None)).ok();
            return;
        }
    };
    let said = match worker.build() {
        Ok(outcome) => Said::Finished(Box::new(outcome)),
        Err(error) => Said::failed(&error, worker.at.clone()),
    };
    // If the other end is gone, nobody wants to know.
    worker.talk.say(&said).ok();
}

/// A stage that is being built.
pub(super) struct Worker<'w> {
    pub(super) engine: &'w Engine,
    pub(super) plan: &'w Plan<'w>,
    stage: usize,
    talk: Talk<Told>,
    cache: Cache,
    pub(super) settings: Settings,
    pub(super) chain: Chain,
    pub(super) scope: Scope<'w>,
    history: Vec<Line>,
    author: String,
    pub(super) expander: Expander,
    /// Stages that were asked for.
    known: BTreeMap<usize, Rc<Outcome>>,
    /// When the files of the stage were made: of its newest layer.
    time: Timestamp,
    /// Number of the step that is shown, from 1; `FROM` is the first one.
    step: usize,
    /// Where we are, for errors.
    at: Option<Place>,
}

impl<'w> Worker<'w> {
    fn new(
        engine: &'w Engine,
        plan: &'w Plan<'w>,
        stage: usize,
        talk: Talk<Told>,
    ) -> Result<Self, (anyhow::Error, Talk<Told>)> {
        let cache = match super::cache(engine) {
            Ok(cache) => cache,
            Err(error) => return Err((error, talk)),
        };
        Ok(Self {
            engine,
            plan,
            stage,
            talk,
            cache,
            settings: Settings::of_scratch(),
            chain: Chain::default(),
            scope: Scope::new(&plan.globals),
            history: Vec::new(),
            author: String::new(),
            expander: Expander { escape: plan.dockerfile.escape },
            known: BTreeMap::new(),
            time: plan.now,
            step: 1,
            at: None,
        })
    }

    fn build(&mut self) -> Result<Outcome> {
        let dockerfile: &'w Dockerfile = &self.plan.dockerfile;
        let stage = &dockerfile.stages[self.stage];
        self.at = Some(Place { span: stage.span.clone(), step: None });
        let triggers = self.begin()?;
        for text in triggers {
            let source = Source::new("ONBUILD", text.clone());
            let instruction = parse_trigger(&source)
                .with_context(|| format!("a trigger of the base image: {text}"))?;
            self.instruction(&instruction)?;
        }
        for instruction in &stage.instructions {
            self.at = Some(Place { span: instruction.span.clone(), step: None });
            self.instruction(instruction)?;
        }
        if self.stage == self.plan.target {
            for (name, value) in &self.plan.request.labels {
                self.settings.set_label(name, value);
            }
        }
        Ok(Outcome {
            chain: self.chain.clone(),
            settings: self.settings.object().clone(),
            history: self.history.clone(),
            author: self.author.clone(),
            time: self.time,
        })
    }

    /// `FROM`: returns the triggers of the base.
    fn begin(&mut self) -> Result<Vec<String>> {
        match &self.plan.bases[&self.stage] {
            Base::Scratch => Ok(Vec::new()),
            Base::Stage(other) => {
                let outcome = self.stage_outcome(*other)?;
                let (settings, triggers) = Settings::of_base(outcome.settings.clone());
                self.settings = settings;
                self.chain = outcome.chain.clone();
                self.history = outcome.history.clone();
                self.author = outcome.author.clone();
                self.time = outcome.time;
                Ok(triggers)
            }
            Base::Image(name) => {
                let image = &self.plan.images[name];
                let object = self.engine.images()?.process_json(image)?;
                let (settings, triggers) = Settings::of_base(object);
                self.settings = settings;
                let below = image.layers.iter().map(|layer| layer.diff_id.clone()).collect();
                self.chain = Chain { image: Some(image.id.clone()), below, own: Vec::new() };
                self.author = image.config.author().clone().unwrap_or_default();
                if let Some(created) = image.created.filter(|_| self.plan.epoch.is_none()) {
                    self.time = created;
                }
                Ok(triggers)
            }
        }
    }

    /// What came of another stage; waits for it.
    pub(super) fn stage_outcome(&mut self, stage: usize) -> Result<Rc<Outcome>> {
        if let Some(outcome) = self.known.get(&stage) {
            return Ok(outcome.clone());
        }
        self.talk.say(&Said::Need(stage))?;
        match self.talk.hear()? {
            Some(Told::Stage(outcome)) => {
                let outcome = Rc::new(*outcome);
                self.known.insert(stage, outcome.clone());
                Ok(outcome)
            }
            None => Err(Failure::new("the build has ended").into()),
        }
    }

    fn instruction(&mut self, instruction: &Instruction) -> Result<()> {
        let text = instruction.text.clone();
        match &instruction.kind {
            Kind::Run(order) => return run::step(self, instruction, order),
            Kind::Copy(transfer) => return copy::step(self, instruction, transfer, "COPY"),
            Kind::Add(transfer) => return copy::step(self, instruction, transfer, "ADD"),
            Kind::Workdir(path) => {
                let path = self.expand(path)?;
                return self.workdir(&path, &text);
            }
            Kind::Arg(arguments) => {
                for argument in arguments {
                    let name = self.expand(&argument.name)?;
                    let default =
                        argument.default.as_ref().map(|word| self.expand(word)).transpose()?;
                    self.scope.declare(&name, default);
                }
            }
            Kind::Env(pairs) => {
                // All of a line see what was before the line.
                let pairs = self.expand_pairs(pairs)?;
                pairs.iter().for_each(|(name, value)| self.settings.set_env(name, value));
            }
            Kind::Label(pairs) => {
                let pairs = self.expand_pairs(pairs)?;
                pairs.iter().for_each(|(name, value)| self.settings.set_label(name, value));
            }
            Kind::Maintainer(name) => self.author.clone_from(&name.text),
            Kind::Cmd(command) => self.settings.set_cmd(command),
            Kind::Entrypoint(command) => self.settings.set_entrypoint(command),
            Kind::Shell(words) => self.settings.set_shell(words),
            Kind::Healthcheck(check) => self.settings.set_healthcheck(check),
            Kind::Onbuild(trigger) => self.settings.add_trigger(&trigger.trigger()),
            Kind::User(user) => {
                let user = self.expand(user)?;
                self.settings.set_user(&user);
            }
            Kind::Stopsignal(signal) => {
                let signal = self.expand(signal)?;
                self.settings.set_stop_signal(&signal).map_err(Failure::new)?;
            }
            Kind::Volume(paths) => {
                for path in paths {
                    let path = self.expand(path)?;
                    self.settings.add_volume(&path).map_err(Failure::new)?;
                }
            }
            Kind::Expose(ports) => {
                for word in ports {
                    for port in self.expand_words(word)? {
                        self.settings.expose(&port).map_err(Failure::new)?;
                    }
                }
            }
            _ => return Err(Failure::new(format!("`{text}` is not supported")).into()),
        }
        self.remember(text, true);
        Ok(())
    }

    /// `WORKDIR`: the directory is made if it is not there, for `USER`.
    fn workdir(&mut self, path: &str, text: &str) -> Result<()> {
        let path = self.settings.set_workdir(path);
        self.begin_step(text)?;
        let mut ingredients = self.ingredients(format!("WORKDIR {path}"));
        ingredients.parts.insert("USER".to_owned(), self.settings.user().to_owned());
        let made = self.made(ingredients, BTreeMap::new(), true, |worker, aside| {
            let tree = Writable::new(worker.engine, &worker.chain, aside)?;
            workdir::make(tree.root.as_fd(), Path::new(&path), worker.settings.user())
                .with_context(|| format!("make directory `{path}`"))?;
            Ok((tree.upper, true))
        })?;
        self.remember(format!("WORKDIR {path}"), made.is_none());
        Ok(())
    }

    /// Shows a step that people wait for.
    pub(super) fn begin_step(&mut self, text: &str) -> Result<()> {
        self.step += 1;
        if let Some(at) = &mut self.at {
            at.step = Some(self.step);
        }
        self.talk.say(&Said::Begin { step: self.step, text: text.to_owned() })
    }

    /// What any step depends on.
    pub(super) fn ingredients(&self, instruction: String) -> Ingredients {
        let mut parts = BTreeMap::new();
        if let Some(epoch) = self.plan.epoch {
            parts.insert("SOURCE_DATE_EPOCH".to_owned(), epoch.to_string());
        }
        Ingredients { parent: self.chain.id(), instruction, parts }
    }

    /// The layer of a step: out of the cache, or made now. `make` fills an upper folder and says where it is, and
    /// whether it is what the ingredients say. `files` is what is copied; with `skip`, a step that changes nothing has
    /// no layer.
    pub(super) fn made(
        &mut self,
        mut ingredients: Ingredients,
        files: BTreeMap<String, String>,
        skip: bool,
        make: impl FnOnce(&mut Self, &Aside) -> Result<(PathBuf, bool)>,
    ) -> Result<Option<Layer>> {
        let step = self.step;
        let found = self.cache.get(&ingredients.key()).filter(|_| !self.plan.request.no_cache);
        if let Some(mut record) = found
            && self.is_here(&record)?
        {
            self.talk.say(&Said::Cached { step })?;
            let now = Timestamp::now().as_second();
            // It is only the order in which the cache is pruned: not worth three files each time.
            if now - record.used >= 60 {
                record.used = now;
                self.cache.put(&record).ok();
            }
            return Ok(self.take(record));
        }
        if !self.plan.request.no_cache
            && let Some(reason) = self.why(&ingredients, &files)
        {
            self.talk.say(&Said::Why { step, reason })?;
        }
        let aside = Aside::new(self.engine)?;
        let (upper, is_true) = make(self, &aside)?;
        if !is_true {
            // What changed while it was read is not what the key says: it is found by nobody.
            ingredients.parts.insert("changed".to_owned(), crate::names::new_id()?);
        }
        let press = Press { engine: self.engine, cache: &self.cache, epoch: self.plan.epoch };
        let record = press.press(&upper, ingredients, files, skip)?;
        self.talk.say(&Said::Done { step })?;
        Ok(self.take(record))
    }

    /// What came of a step is part of the stage. An image that is built again out of the cache has the times of the
    /// first one, and so is the same image.
    fn take(&mut self, record: Record) -> Option<Layer> {
        if self.plan.epoch.is_none()
            && let Ok(made) = Timestamp::from_second(record.made)
        {
            self.time = made;
        }
        self.chain.own.extend(record.layer.clone());
        record.layer
    }

    fn is_here(&self, record: &Record) -> Result<bool> {
        record.layer.as_ref().map_or(Ok(true), |layer| layer::is_here(self.engine, layer))
    }

    /// Why a step is not taken from the cache, in words. None: nothing like it was built before.
    fn why(&self, ingredients: &Ingredients, files: &BTreeMap<String, String>) -> Option<String> {
        match self.cache.why(ingredients) {
            Why::New => None,
            Why::Below => Some("what it is built upon has changed".to_owned()),
            Why::Parts(names) => Some(format!("{} changed", names.join(", "))),
            Why::Files(before) => {
                let digest = build::hash::Digest::of(b"");
                let old = Content { digest, entries: before.files };
                let new = Content { digest, entries: files.clone() };
                Some(Changes::between(&old, &new).to_string())
            }
        }
    }

    /// Tells what a step writes.
    pub(super) fn output(&mut self, bytes: &[u8]) {
        let (step, text) = (self.step, String::from_utf8_lossy(bytes).into_owned());
        // If nobody listens any more, the end comes with the next message that matters.
        self.talk.say(&Said::Output { step, text }).ok();
    }

    /// Tells something that people should know.
    pub(super) fn warn(&mut self, text: String) -> Result<()> {
        self.talk.say(&Said::Warning(text))
    }

    /// Adds a line to the history.
    pub(super) fn remember(&mut self, created_by: String, empty: bool) {
        self.history.push(Line { created_by, created: self.time, empty });
    }

    /// The layers that a stage or an image has: for `--from`.
    pub(super) fn chain_of(&mut self, from: &str) -> Result<Chain> {
        match self.plan.stage_named(from) {
            Some(stage) => Ok(self.stage_outcome(stage)?.chain.clone()),
            None => {
                let image = self.plan.images.get(from).ok_or_else(|| {
                    Failure::new(format!("no stage and no image: {from}"))
                        .hint("--from takes the name or number of a stage before, or an image")
                })?;
                let below = image.layers.iter().map(|layer| layer.diff_id.clone()).collect();
                Ok(Chain { image: Some(image.id.clone()), below, own: Vec::new() })
            }
        }
    }
}
