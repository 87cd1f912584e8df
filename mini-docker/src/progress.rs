//! How far a pull or push is: bars that are redrawn in place on a terminal, Docker's plain lines elsewhere.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::{Mutex, OnceLock, PoisonError};

use images::{Image, LayerState, Observer, Pulled, PushedImage, Reference};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::cli::table;
use crate::failure;

/// Where the lines go: a verb of its own tells on standard output, `run` beside the container's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Standard output.
    Output,
    /// Standard error.
    Errors,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Pull,
    Push,
}

/// Shows a pull or push as it goes.
#[derive(Debug)]
pub struct Progress {
    direction: Direction,
    place: Place,
    quiet: bool,
    name: Reference,
    bars: Option<MultiProgress>,
    layers: OnceLock<Vec<Line>>,
    /// Whether the bars are done. Lines of several threads do not mix.
    ended: Mutex<bool>,
}

#[derive(Debug)]
struct Line {
    id: String,
    bar: Option<ProgressBar>,
    last: Mutex<&'static str>,
}

impl Progress {
    /// Of a pull of this name. `quiet`: nothing but the result.
    pub fn of_pull(name: &Reference, place: Place, quiet: bool) -> Self {
        Self::new(Direction::Pull, name, place, quiet)
    }

    /// Of a push to this name.
    pub fn of_push(name: &Reference, quiet: bool) -> Self {
        Self::new(Direction::Push, name, Place::Output, quiet)
    }

    fn new(direction: Direction, name: &Reference, place: Place, quiet: bool) -> Self {
        let terminal = match place {
            Place::Output => std::io::stdout().is_terminal(),
            Place::Errors => std::io::stderr().is_terminal(),
        };
        let target = match place {
            Place::Output => ProgressDrawTarget::stdout(),
            Place::Errors => ProgressDrawTarget::stderr(),
        };
        let bars = (terminal && !quiet).then(|| MultiProgress::with_draw_target(target));
        let (layers, ended) = (OnceLock::new(), Mutex::new(false));
        Self { direction, place, quiet, name: name.clone(), bars, layers, ended }
    }

    /// One line, above the bars while there are some.
    pub fn say(&self, text: &str) {
        if self.quiet {
            return;
        }
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.bars.as_ref().filter(|_| !*ended), self.place) {
            (Some(bars), _) => drop(bars.println(text)),
            (None, Place::Output) => table::print(&format!("{text}\n")),
            (None, Place::Errors) => failure::tell(text),
        }
    }

    /// The last lines of a pull.
    pub fn pulled(&self, pulled: &Pulled) {
        let name = pulled.loaded.reference.as_ref().unwrap_or(&self.name);
        self.end();
        self.say(&format!("Digest: {}", pulled.digest));
        let status = match pulled.up_to_date {
            true => "Image is up to date for",
            false => "Downloaded newer image for",
        };
        self.say(&format!("Status: {status} {}", name.familiar()));
    }

    /// The last line of a push.
    pub fn pushed(&self, pushed: &PushedImage) {
        self.end();
        let tag = self.name.tag().unwrap_or("latest");
        self.say(&format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size));
    }

    /// Leaves the bars as they are; what comes is written below.
    fn end(&self) {
        for line in self.layers.get().into_iter().flatten() {
            if let Some(bar) = line.bar.as_ref().filter(|bar| !bar.is_finished()) {
                bar.abandon();
            }
        }
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    fn show(&self, line: &Line, words: &'static str) {
        let mut last = line.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == words {
            return;
        }
        *last = words;
        match &line.bar {
            Some(bar) => bar.set_message(words),
            None => self.say(&format!("{}: {words}", line.id)),
        }
    }

    fn finish(&self, line: &Line, words: String) {
        match &line.bar {
            Some(bar) => {
                bar.set_style(plain());
                bar.finish_with_message(words);
            }
            None => self.say(&format!("{}: {words}", line.id)),
        }
    }

    fn moving(&self, line: &Line, words: &'static str, bytes: u64) {
        // A pipe gets a line for each change, not for each byte.
        if let Some(bar) = &line.bar {
            let mut last = line.last.lock().unwrap_or_else(PoisonError::into_inner);
            if *last != words {
                *last = words;
                bar.set_style(counting());
                bar.set_message(words);
            }
            bar.set_position(bytes);
        }
    }
}

impl Observer for Progress {
    fn begin(&self, image: &Image) {
        match self.direction {
            Direction::Pull => {
                let what = self.name.digest().map(|digest| digest.to_string());
                let what = what.as_deref().or(self.name.tag()).unwrap_or("latest").to_owned();
                self.say(&format!("{what}: Pulling from {}", familiar_repository(&self.name)));
            }
            Direction::Push => {
                self.say(&format!("The push refers to repository [{}]", self.name.name()));
            }
        }
        let lines = image.layers.iter().map(|layer| {
            let digest = match self.direction {
                Direction::Pull => &layer.digest,
                Direction::Push => &layer.diff_id,
            };
            let id: String = digest.trim_start_matches("sha256:").chars().take(12).collect();
            let bar = self.bars.as_ref().map(|bars| {
                let bar = ProgressBar::new(layer.size).with_style(plain()).with_prefix(id.clone());
                bars.add(bar)
            });
            Line { id, bar, last: Mutex::new("") }
        });
        self.layers.set(lines.collect()).ok();
        if self.direction == Direction::Push {
            self.layers.get().into_iter().flatten().for_each(|line| self.show(line, "Preparing"));
        }
    }

    fn layer(&self, at: usize, state: LayerState) {
        let Some(line) = self.layers.get().and_then(|layers| layers.get(at)) else { return };
        match (self.direction, state) {
            (_, LayerState::Planned) => self.show(line, "Pulling fs layer"),
            (_, LayerState::Waiting) => self.show(line, "Waiting"),
            (_, LayerState::Received(bytes)) => self.moving(line, "Downloading", bytes),
            (_, LayerState::Verified) if line.bar.is_some() => self.show(line, "Extracting"),
            (_, LayerState::Verified) => {
                self.show(line, "Verifying Checksum");
                self.show(line, "Download complete");
            }
            (_, LayerState::Unpacking) => self.show(line, "Extracting"),
            (_, LayerState::Compressing) => self.show(line, "Compressing"),
            (_, LayerState::Sent(bytes, of)) => {
                line.bar.iter().for_each(|bar| bar.set_length(of));
                self.moving(line, "Pushing", bytes);
            }
            (_, LayerState::Mounted(from)) => {
                let from = Reference::parse(&format!("{}/{from}", self.name.registry()));
                let from = from.map(|from| familiar_repository(&from)).unwrap_or_default();
                self.finish(line, format!("Mounted from {from}"));
            }
            (Direction::Pull, LayerState::Exists) => self.finish(line, "Already exists".into()),
            (Direction::Push, LayerState::Exists) => {
                self.finish(line, "Layer already exists".into());
            }
            (Direction::Pull, LayerState::Complete) => self.finish(line, "Pull complete".into()),
            (Direction::Push, LayerState::Complete) => self.finish(line, "Pushed".into()),
        }
    }
}

/// `library/busybox`: the repository without its registry, as Docker's progress names it.
fn familiar_repository(name: &Reference) -> String {
    name.repository().to_owned()
}

fn plain() -> ProgressStyle {
    style("{prefix}: {msg}")
}

/// With a bar where there is room for it: Docker leaves it out in the same way.
fn counting() -> ProgressStyle {
    let wide = console_width().is_some_and(|columns| columns >= 110);
    let template = match wide {
        true => "{prefix}: {msg} [{bar:50}] {done}/{all}",
        false => "{prefix}: {msg} {done}/{all}",
    };
    style(template)
        .progress_chars("=> ")
        .with_key("done", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            out.write_str(&table::size(state.pos())).ok();
        })
        .with_key("all", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            out.write_str(&table::size(state.len().unwrap_or_default())).ok();
        })
}

/// Columns of the terminal, on whichever stream it is.
fn console_width() -> Option<u16> {
    let (out, err) = (std::io::stdout(), std::io::stderr());
    let size = syscalls::tty::size(out.as_fd()).or_else(|_| syscalls::tty::size(err.as_fd()));
    size.ok().map(|size| size.cols).filter(|columns| *columns > 0)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
