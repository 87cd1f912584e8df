//! How far a build is: on a terminal the running steps with their last lines of output, redrawn in place; elsewhere
//! plain lines, each with the number of its step, as BuildKit writes them.

use std::collections::{BTreeMap, VecDeque};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure;
use crate::format::sanitized;

/// How progress is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Manner {
    /// Redrawn in place on a terminal, plain elsewhere.
    #[default]
    Auto,
    /// Redrawn in place.
    Tty,
    /// Line by line.
    Plain,
    /// Not at all.
    Quiet,
}

/// Lines of output that a running step shows on a terminal.
const SHOWN: usize = 6;
/// Lines that are shown again when a step has failed.
const KEPT: usize = 20;
/// A line without an end is told when it is so long.
const LONGEST: usize = 4096;

/// A step that people see.
struct Step {
    number: usize,
    label: String,
    began: Instant,
    /// The beginning of a line whose end has not come.
    part: String,
    last: VecDeque<String>,
    bars: Vec<ProgressBar>,
    done: bool,
}

/// Tells of a build, on standard error.
pub(super) struct Display {
    plain: bool,
    quiet: bool,
    bars: Option<MultiProgress>,
    /// By stage: name and number of steps.
    stages: BTreeMap<usize, (Option<String>, usize)>,
    steps: BTreeMap<(usize, usize), Step>,
}

impl Display {
    /// `stages`: those that will be built, each with its name (none if it is the only one) and how many steps it has.
    pub(super) fn new(manner: Manner, stages: BTreeMap<usize, (Option<String>, usize)>) -> Self {
        let tty = match manner {
            Manner::Auto => std::io::stderr().is_terminal(),
            Manner::Tty => true,
            Manner::Plain | Manner::Quiet => false,
        };
        let bars = tty.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        let quiet = manner == Manner::Quiet;
        Self { plain: !tty && !quiet, quiet, bars, stages, steps: BTreeMap::new() }
    }

    /// After so long it wants to be drawn again, if nothing happens.
    pub(super) fn pause(&self) -> Option<u16> {
        let running = self.steps.values().any(|step| !step.done);
        (self.bars.is_some() && running).then_some(100)
    }

    /// Draws how long steps have taken so far.
    pub(super) fn tick(&mut self) {
        for step in self.steps.values().filter(|step| !step.done) {
            if let Some(head) = step.bars.first() {
                head.set_message(format!("{}  {}", step.label, seconds(step.began.elapsed())));
            }
        }
    }

    pub(super) fn begin(&mut self, stage: usize, step: usize, text: &str) {
        let number = self.steps.len() + 1;
        let label = format!("[{}] {}", self.place(stage, step), shown(text));
        if self.plain {
            failure::tell(&format!("#{number} {label}"));
        }
        let mut bars = Vec::new();
        if let Some(all) = &self.bars {
            let line = |template: &str| {
                let style = ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                all.add(ProgressBar::new(0).with_style(style))
            };
            bars.push(line("=> {wide_msg}"));
            bars[0].set_message(label.clone());
            bars[0].tick();
            bars.extend((0..SHOWN).map(|_| line("   {wide_msg:.dim}")));
        }
        let (part, last) = (String::new(), VecDeque::new());
        let step_of = Step { number, label, began: Instant::now(), part, last, bars, done: false };
        self.steps.insert((stage, step), step_of);
    }

    pub(super) fn cached(&mut self, stage: usize, step: usize) {
        self.finish(stage, step, "CACHED");
    }

    pub(super) fn done(&mut self, stage: usize, step: usize) {
        let Some(began) = self.steps.get(&(stage, step)).map(|step| step.began) else { return };
        self.flush(stage, step);
        self.finish(stage, step, &format!("DONE {}", seconds(began.elapsed())));
    }

    pub(super) fn why(&mut self, stage: usize, step: usize, reason: &str) {
        let Some(step) = self.steps.get(&(stage, step)) else { return };
        let text = format!("not cached: {}", shown(reason));
        if self.plain {
            failure::tell(&format!("#{} {text}", step.number));
        }
        if let Some(line) = step.bars.get(1) {
            line.set_message(text);
            line.tick();
        }
    }

    pub(super) fn output(&mut self, stage: usize, step: usize, text: &str) {
        let Some(of) = self.steps.get_mut(&(stage, step)) else { return };
        of.part.push_str(text);
        let mut lines: Vec<String> = Vec::new();
        while let Some(end) = of.part.find('\n') {
            lines.push(of.part.drain(..=end).collect());
        }
        if of.part.len() > LONGEST {
            lines.push(std::mem::take(&mut of.part));
        }
        lines.iter().for_each(|line| self.line(stage, step, line));
    }

    /// The last line of a step may have no end.
    fn flush(&mut self, stage: usize, step: usize) {
        let part = self.steps.get_mut(&(stage, step)).map(|step| std::mem::take(&mut step.part));
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            self.line(stage, step, &part);
        }
    }

    fn line(&mut self, stage: usize, step: usize, line: &str) {
        let Some(step) = self.steps.get_mut(&(stage, step)) else { return };
        // Of a line that was drawn over itself, what was there at the end.
        let line = line.trim_end_matches(['\n', '\r']);
        let line = sanitized(&plain(line.rsplit('\r').next().unwrap_or_default()));
        let time = step.began.elapsed().as_secs_f64();
        if self.plain {
            failure::tell(&format!("#{} {time:.3} {line}", step.number));
        }
        step.last.push_back(line);
        if step.last.len() > KEPT {
            step.last.pop_front();
        }
        let from = step.last.len().saturating_sub(SHOWN);
        for (bar, line) in step.bars.iter().skip(1).zip(step.last.iter().skip(from)) {
            bar.set_message(line.clone());
            bar.tick();
        }
    }

    /// The steps of a stage that has failed stay as they are.
    pub(super) fn failed(&mut self, stage: usize) {
        let running: Vec<usize> = self.running(stage);
        for step in running {
            self.flush(stage, step);
            self.finish(stage, step, "ERROR");
        }
    }

    /// The last lines of the step of a stage that began last.
    pub(super) fn last_lines(&self, stage: usize) -> Vec<String> {
        let mut steps = self.steps.range((stage, 0)..(stage + 1, 0));
        steps.next_back().map(|(_, step)| step.last.iter().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn warning(&mut self, text: &str) {
        if !self.quiet {
            self.say(&format!("warning: {}", shown(text)));
        }
    }

    /// A line of its own.
    pub(super) fn say(&self, text: &str) {
        match &self.bars {
            Some(bars) => drop(bars.println(text)),
            None if self.quiet => {}
            None => failure::tell(text),
        }
    }

    /// Ends what is drawn: what comes is written below.
    pub(super) fn end(&mut self) {
        for step in self.steps.values() {
            step.bars.iter().for_each(ProgressBar::finish_and_clear);
        }
        if let Some(bars) = &self.bars {
            bars.clear().ok();
        }
    }

    fn running(&self, stage: usize) -> Vec<usize> {
        let steps = self.steps.range((stage, 0)..(stage + 1, 0));
        steps.filter(|(_, step)| !step.done).map(|((_, step), _)| *step).collect()
    }

    fn finish(&mut self, stage: usize, step: usize, word: &str) {
        let Some(step) = self.steps.get_mut(&(stage, step)) else { return };
        step.done = true;
        step.bars.drain(..).for_each(|bar| bar.finish_and_clear());
        let line = match self.plain {
            true => format!("#{} {word}", step.number),
            false => format!("=> {word:<10} {}", step.label),
        };
        self.say(&line);
    }

    /// `2/5`, or `build 2/5` if there are several stages.
    fn place(&self, stage: usize, step: usize) -> String {
        match self.stages.get(&stage) {
            Some((Some(name), steps)) => format!("{name} {step}/{steps}"),
            Some((None, steps)) => format!("{step}/{steps}"),
            None => format!("{stage} {step}"),
        }
    }
}

/// Printable, and not endless.
fn shown(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = sanitized(&line.join(" "));
    match line.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// Without colours and cursor movements (ECMA-48, 5.4: `ESC [`, parameters, a letter), and with blanks for tabs.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' if rest.as_str().starts_with('[') => {
                rest.next();
                rest.find(|c| ('\x40'..='\x7e').contains(c));
            }
            '\t' => text.push_str("    "),
            c => text.push(c),
        }
    }
    text
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}
