//! The figures as a picture.
//!
//! The ladder is drawn as a waterfall: what a rung adds stands where the rung below ends, so the eye sees both the
//! price and the sum. Below it, on the same scale, the programs as plain bars.

use std::fmt::Write;

use crate::host::Host;
use crate::stats::{Summary, top};
use crate::svg::{BAR, FIRST, GAP, LAST, Picture, ROW, Scale, TOP};
use crate::{Program, Step};

/// Draws.
pub fn svg(summaries: &[Summary], rounds: usize, host: &Host) -> String {
    let (rungs, programs): (Vec<&Summary>, Vec<&Summary>) =
        summaries.iter().partition(|summary| summary.added.is_some());
    let longest = summaries.iter().map(|summary| summary.p95.max(summary.wall)).fold(0.0, f64::max);
    let gap = if programs.is_empty() { 0.0 } else { GAP };
    let bottom = TOP + ROW * summaries.len() as f64 + gap;
    let mut picture =
        Picture::new(bottom + 56.0, &description(summaries), Scale::up_to(longest, "ms"));

    picture.words("title", 20.0, 32.0, "What a start costs");
    let what = "a container that runs `true`, from the first call until everything is gone again";
    let subtitle = format!("{what}; median of {rounds} interleaved rounds");
    picture.words("quiet", 20.0, 52.0, &subtitle);
    picture.axis(bottom, ["added", "wall"]);

    let (mut y, mut below) = (TOP, 0.0);
    for rung in rungs {
        row(&mut picture, y, rung, below);
        below = rung.wall;
        y += ROW;
    }
    if !programs.is_empty() {
        y += GAP;
        picture.words("quiet", 20.0, y - 8.0, "beside the ladder, in the same rounds");
    }
    for program in programs {
        row(&mut picture, y, program, 0.0);
        y += ROW;
    }
    legend(&mut picture, bottom + 22.0);
    picture.words("quiet", 20.0, bottom + 43.0, &host.line());
    picture.finish()
}

/// A rung, which begins where the one below it ends, or a program.
fn row(picture: &mut Picture, y: f64, summary: &Summary, below: f64) {
    let bar = y + 4.0;
    let base = bar + 12.0;
    picture.words("", 20.0, base, summary.step.label());
    match summary.added {
        Some(added) => {
            if below > 0.0 {
                picture.bar("below", (0.0, below.min(summary.wall)), bar, BAR);
            }
            // A rung that measured faster than the one below it adds nothing to see.
            if summary.wall > below {
                picture.bar("added", (below, summary.wall), bar, BAR);
            }
            let clear = added.is_clear();
            let label = if clear { format!("{:+.2}", added.wall) } else { "noise".to_owned() };
            picture.words("quiet right", FIRST, base, &label);
        }
        None => picture.bar("whole", (0.0, summary.wall), bar, BAR),
    }
    picture.bar("cpu", (0.0, summary.cpu), bar + BAR + 1.0, 3.0);
    let (low, high) = (picture.scale.x(summary.p5), picture.scale.x(summary.p95));
    picture.spread(low, high, bar + BAR / 2.0);
    if let Some(until) = summary.until_exec {
        arrow(picture, picture.scale.x(until), bar + 1.0);
    }
    picture.words("right", LAST, base, &format!("{:.2}", summary.wall));
}

/// Points down to a moment.
fn arrow(picture: &mut Picture, x: f64, tip: f64) {
    picture.draw(format_args!("<path class=\"exec\" d=\"M{x:.1} {tip:.1}l-4 -5h8z\"/>"));
}

fn legend(picture: &mut Picture, y: f64) {
    let entries = [
        ("below", "the rungs below", 10.0),
        ("added", "what the rung adds", 10.0),
        ("whole", "a whole program", 10.0),
        ("cpu", "CPU time", 3.0),
    ];
    let x = picture.legend(y, &entries);
    arrow(picture, x + 4.0, y - 1.5);
    picture.words("quiet", x + 14.0, y, "exec: the program runs");
}

/// The picture in a sentence, for those who do not see it.
fn description(summaries: &[Summary]) -> String {
    let mut words = "What a container start costs, mechanism by mechanism".to_owned();
    if let (Some(first), Some(top)) = (summaries.first(), top(summaries)) {
        write!(words, ": from {:.2} ms for a bare process to {:.2} ms", first.wall, top.wall)
            .unwrap_or_default();
    }
    let whole = summaries.iter().find(|s| s.step == Step::Beside(Program::Everything));
    if let Some(whole) = whole {
        write!(words, "; the whole command takes {:.2} ms", whole.wall).unwrap_or_default();
    }
    words
}
