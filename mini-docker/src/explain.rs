//! `run --explain`: the story of a start, as it happened.
//!
//! Every chapter sends an event for each kernel step (`syscalls::trace`). Parent and child write them as lines of JSON
//! into one anonymous file, which the child has by inheritance; they append, so that the kernel keeps their lines apart. When the container has ended, the lines are sorted into the numbered steps of the story.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context as LayerContext, Layer, SubscriberExt};

/// The steps of a start. Their order is that of the story; parent and child work on theirs at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Step {
    /// Image, record, spec.
    Prepare = 2,
    /// Limits.
    Cgroup = 3,
    /// Layers.
    Layers = 4,
    /// Volumes.
    Volumes = 5,
    /// clone3.
    Clone = 6,
    /// Network.
    Network = 7,
    /// Root file system.
    Rootfs = 8,
    /// Confinement and exec.
    Exec = 9,
    /// Waiting.
    Wait = 10,
    /// The way back.
    Undo = 11,
}

impl Step {
    const ALL: [Self; 10] = [
        Self::Prepare,
        Self::Cgroup,
        Self::Layers,
        Self::Volumes,
        Self::Clone,
        Self::Network,
        Self::Rootfs,
        Self::Exec,
        Self::Wait,
        Self::Undo,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Prepare => "resolve the image, make the record and the spec",
            Self::Cgroup => "make the cgroup and write the limits, before any process is in it",
            Self::Layers => {
                "stack the image's layers under a writable one: a mount without a place"
            }
            Self::Volumes => "open volumes and files as mounts without a place",
            Self::Clone => "clone the process into new namespaces",
            Self::Network => "give it an address: link, bridge, routes, published ports",
            Self::Rootfs => "build the root, change into it, let go of the old one",
            Self::Exec => "give up what the program must not have, and become it",
            Self::Wait => "carry signals and output until it ends",
            Self::Undo => "take everything away, in reverse",
        }
    }
}

static STEP: AtomicU8 = AtomicU8::new(Step::Prepare as u8);
static IS_CHILD: AtomicU8 = AtomicU8::new(0);
static STORY: OnceLock<Story> = OnceLock::new();

struct Story {
    /// The parent's pid: before the child has said who it is, its number tells.
    parent: i32,
    file: File,
    began: Instant,
}

/// One kernel step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// Number of the story's step.
    pub step: u8,
    /// Whether the container's own process did it.
    pub child: bool,
    /// When it had ended, in microseconds since the story began.
    pub at_us: u64,
    /// How long it took, in microseconds.
    pub us: u64,
    /// Package of the chapter.
    pub chapter: String,
    /// Name of the system call.
    pub call: String,
    /// Its arguments, for people.
    pub args: String,
    /// What the kernel refused.
    pub error: Option<String>,
}

/// Begins to listen.
///
/// # Errors
/// If the anonymous file cannot be made.
pub fn listen() -> Result<()> {
    let file = memfd_create("explain", MFdFlags::MFD_CLOEXEC).context("make an anonymous file")?;
    // The kernel does not lock the position of an anonymous file: only appending keeps the lines apart.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND)).context("append to an anonymous file")?;
    let parent = nix::unistd::getpid().as_raw();
    STORY.set(Story { parent, file: file.into(), began: Instant::now() }).ok();
    let subscriber = tracing_subscriber::registry().with(Recorder);
    tracing::subscriber::set_global_default(subscriber).context("listen to kernel steps")
}

/// From now on this process works on `step`.
pub fn step(step: Step) {
    STEP.store(step as u8, Ordering::Relaxed);
}

/// From now on this process is the child. Memory is not shared, so that the parent remains the parent.
pub fn is_child() {
    IS_CHILD.store(1, Ordering::Relaxed);
}

struct Recorder;

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: LayerContext<'_, S>) {
        let Some(story) = STORY.get() else { return };
        if event.metadata().target() != syscalls::trace::TARGET {
            return;
        }
        let mut line = Line {
            step: STEP.load(Ordering::Relaxed),
            child: IS_CHILD.load(Ordering::Relaxed) == 1
                || nix::unistd::getpid().as_raw() != story.parent,
            at_us: story.began.elapsed().as_micros() as u64,
            us: 0,
            chapter: String::new(),
            call: String::new(),
            args: String::new(),
            error: None,
        };
        event.record(&mut line);
        if let Ok(mut text) = serde_json::to_string(&line) {
            text.push('\n');
            // One write, one line. The story is a help, not a duty: if memory is short, it has gaps.
            (&story.file).write_all(text.as_bytes()).ok();
        }
    }
}

impl Visit for Line {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "us" {
            self.us = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "chapter" => value.clone_into(&mut self.chapter),
            "call" => value.clone_into(&mut self.call),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "args" => self.args = format!("{value:?}"),
            "error" => self.error = Some(format!("{value:?}")),
            _ => {}
        }
    }
}

/// The lines so far, in the order in which the steps ended.
///
/// # Errors
/// If the anonymous file cannot be read.
pub fn lines() -> Result<Vec<Line>> {
    let Some(story) = STORY.get() else { return Ok(Vec::new()) };
    let mut text = String::new();
    let mut file = &story.file;
    file.seek(SeekFrom::Start(0))?;
    file.read_to_string(&mut text)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Writes the story on standard error.
///
/// # Errors
/// If there is no story.
pub fn tell() -> Result<()> {
    let lines = lines()?;
    crate::failure::ask(&render(&lines));
    Ok(())
}

/// The story as text: the numbered steps, and below each its kernel steps with process, time and chapter.
pub fn render(lines: &[Line]) -> String {
    let mut text = String::new();
    for step in Step::ALL {
        let mine: Vec<&Line> = lines.iter().filter(|line| line.step == step as u8).collect();
        if mine.is_empty() {
            continue;
        }
        let total: u64 = mine.iter().map(|line| line.us).sum();
        writeln!(text, "{:>2}. {} ({total} µs in {} calls)", step as u8, step.title(), mine.len())
            .expect("a String takes all");
        for line in mine {
            let process = if line.child { "child" } else { "parent" };
            let error =
                line.error.as_deref().map(|error| format!(" = {error}")).unwrap_or_default();
            writeln!(
                text,
                "    {:>7} µs  {process:<6}  {:<13}  {}({}){error}",
                line.us,
                chapter(&line.chapter),
                line.call,
                line.args
            )
            .expect("a String takes all");
        }
    }
    let whole = lines.iter().map(|line| line.at_us).max().unwrap_or_default();
    let kernel: u64 = lines.iter().map(|line| line.us).sum();
    writeln!(
        text,
        "{} calls, {kernel} µs in them, {whole} µs from first to last (parent and child side by side)",
        lines.len()
    )
    .expect("a String takes all");
    text
}

/// The folder of a package: `02-cgroups`.
fn chapter(package: &str) -> String {
    const CHAPTERS: [&str; 9] = [
        "syscalls",
        "namespaces",
        "cgroups",
        "rootfs",
        "layers",
        "network",
        "volumes",
        "security",
        "images",
    ];
    match CHAPTERS.iter().position(|chapter| *chapter == package) {
        Some(number) => format!("{number:02}-{package}"),
        None => package.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_in_the_storys_order() {
        let line = |step: Step, child, call: &str| Line {
            step: step as u8,
            child,
            at_us: 10,
            us: 5,
            chapter: "rootfs".into(),
            call: call.into(),
            args: "\".\", \".\"".into(),
            error: None,
        };
        let text = render(&[
            line(Step::Rootfs, true, "pivot_root"),
            line(Step::Cgroup, false, "mkdirat"),
            line(Step::Rootfs, true, "umount2"),
        ]);
        insta::assert_snapshot!(text);
    }
}
