//! The figures as a picture: SVG with text as text, no script, no font of its own, for light and dark pages.
//!
//! The ladder is drawn as a waterfall: what a rung adds stands where the rung below ends, so the eye sees both the
//! price and the sum. Below it, on the same scale, the programs as plain bars.

use std::fmt::Write;

use crate::host::Host;
use crate::stats::{Summary, top};
use crate::{Program, Step};

/// Sizes in SVG units, which are pixels at 100 %.
const WIDTH: f64 = 880.0;
const LEFT: f64 = 258.0;
const RIGHT: f64 = 152.0;
const TOP: f64 = 86.0;
const ROW: f64 = 27.0;
const BAR: f64 = 15.0;
const GAP: f64 = 34.0;
/// Right edges of the two columns of figures.
const ADDED: f64 = WIDTH - 74.0;
const SUM: f64 = WIDTH - 20.0;

/// Colours of the light and the dark scheme. The background is drawn, since a page decides by itself whether it is dark
/// and does not always tell the picture.
const STYLE: &str = "\
  text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;font-size:13px;fill:#1f2328}
  .title{font-size:17px;font-weight:600}
  .quiet{fill:#59636e;font-size:12px}
  .right{font-variant-numeric:tabular-nums;text-anchor:end}
  .middle{text-anchor:middle}
  .back{fill:#ffffff;stroke:#d1d9e0}
  .grid{stroke:#e4e8ec}
  .below{fill:#dfe4ea}
  .added{fill:#0969da}
  .whole{fill:#8250df}
  .cpu{fill:#bc4c00}
  .spread{stroke:#1f2328;stroke-width:1.2;fill:none}
  .exec{fill:#1f2328}
  .halo{stroke:#ffffff;stroke-opacity:.75;stroke-width:4;fill:none}
  @media(prefers-color-scheme:dark){
    text{fill:#e6edf3} .quiet{fill:#9198a1} .back{fill:#0d1117;stroke:#3d444d} .grid{stroke:#262c34}
    .below{fill:#30363d} .added{fill:#4493f8} .whole{fill:#ab7df8} .cpu{fill:#f0883e} .spread{stroke:#e6edf3} .halo{stroke:#0d1117}
    .exec{fill:#e6edf3}
  }";

/// Draws.
pub fn svg(summaries: &[Summary], rounds: usize, host: &Host) -> String {
    let (rungs, programs): (Vec<&Summary>, Vec<&Summary>) =
        summaries.iter().partition(|summary| summary.added.is_some());
    let longest = summaries.iter().map(|summary| summary.p95.max(summary.wall)).fold(0.0, f64::max);
    let gap = if programs.is_empty() { 0.0 } else { GAP };
    let bottom = TOP + ROW * summaries.len() as f64 + gap;
    let mut picture = Picture { out: String::new(), scale: Scale::up_to(longest) };

    picture.frame(bottom + 56.0, &description(summaries));
    picture.words("title", 20.0, 32.0, "What a start costs");
    let what = "a container that runs `true`, from the first call until everything is gone again";
    let subtitle = format!("{what}; median of {rounds} interleaved rounds");
    picture.words("quiet", 20.0, 52.0, &subtitle);
    picture.axis(bottom);

    let (mut y, mut below) = (TOP, 0.0);
    for rung in rungs {
        picture.row(y, rung, below);
        below = rung.wall;
        y += ROW;
    }
    if !programs.is_empty() {
        y += GAP;
        picture.words("quiet", 20.0, y - 8.0, "beside the ladder, in the same rounds");
    }
    for program in programs {
        picture.row(y, program, 0.0);
        y += ROW;
    }
    picture.legend(bottom + 22.0);
    picture.words("quiet", 20.0, bottom + 43.0, &host.line());
    picture.out + "</svg>\n"
}

/// The picture so far.
struct Picture {
    out: String,
    scale: Scale,
}

impl Picture {
    fn draw(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        writeln!(self.out, "{element}").unwrap_or_default();
    }

    fn frame(&mut self, height: f64, title: &str) {
        self.draw(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title\">"
        ));
        self.draw(format_args!("<title id=\"title\">{}</title>", escape(title)));
        self.draw(format_args!("<style>\n{STYLE}\n</style>"));
        let (width, height) = (WIDTH - 1.0, height - 1.0);
        self.draw(format_args!(
            "<rect class=\"back\" x=\"0.5\" y=\"0.5\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>"
        ));
    }

    fn words(&mut self, class: &str, x: f64, y: f64, words: &str) {
        let words = escape(words);
        self.draw(format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>"));
    }

    fn bar(&mut self, class: &str, (from, to): (f64, f64), y: f64, height: f64) {
        let (left, right) = (self.scale.x(from.min(to)), self.scale.x(from.max(to)));
        let width = (right - left).max(1.0);
        self.draw(format_args!(
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\"/>"
        ));
    }

    fn axis(&mut self, bottom: f64) {
        for tick in self.scale.ticks().collect::<Vec<_>>() {
            let (x, top) = (self.scale.x(tick), TOP - 4.0);
            self.draw(format_args!("<path class=\"grid\" d=\"M{x:.1} {top}V{bottom:.1}\"/>"));
            self.words("quiet middle", x, TOP - 10.0, &format!("{tick} ms"));
        }
        self.words("quiet right", ADDED, TOP - 10.0, "added");
        self.words("quiet right", SUM, TOP - 10.0, "wall");
    }

    /// A rung, which begins where the one below it ends, or a program.
    fn row(&mut self, y: f64, summary: &Summary, below: f64) {
        let bar = y + 4.0;
        let base = bar + 12.0;
        self.words("", 20.0, base, summary.step.label());
        match summary.added {
            Some(added) => {
                if below > 0.0 {
                    self.bar("below", (0.0, below.min(summary.wall)), bar, BAR);
                }
                // A rung that measured faster than the one below it adds nothing to see.
                if summary.wall > below {
                    self.bar("added", (below, summary.wall), bar, BAR);
                }
                let clear = added.is_clear();
                let label = if clear { format!("{:+.2}", added.wall) } else { "noise".to_owned() };
                self.words("quiet right", ADDED, base, &label);
            }
            None => self.bar("whole", (0.0, summary.wall), bar, BAR),
        }
        self.bar("cpu", (0.0, summary.cpu), bar + BAR + 1.0, 3.0);
        let (low, high) = (self.scale.x(summary.p5), self.scale.x(summary.p95));
        self.spread(low, high, bar + BAR / 2.0);
        if let Some(until) = summary.until_exec {
            self.arrow(self.scale.x(until), bar + 1.0);
        }
        self.words("right", SUM, base, &format!("{:.2}", summary.wall));
    }

    /// Points down to a moment.
    fn arrow(&mut self, x: f64, tip: f64) {
        self.draw(format_args!("<path class=\"exec\" d=\"M{x:.1} {tip:.1}l-4 -5h8z\"/>"));
    }

    /// A line with a stop at each end, on a lighter one, so that it can be seen on every bar.
    fn spread(&mut self, low: f64, high: f64, y: f64) {
        let top = y - 3.0;
        let path = format!("M{low:.1} {y:.1}H{high:.1}M{low:.1} {top:.1}v6M{high:.1} {top:.1}v6");
        self.draw(format_args!("<path class=\"halo\" d=\"{path}\"/>"));
        self.draw(format_args!("<path class=\"spread\" d=\"{path}\"/>"));
    }

    fn legend(&mut self, y: f64) {
        let entries = [
            ("below", "the rungs below", 10.0),
            ("added", "what the rung adds", 10.0),
            ("whole", "a whole program", 10.0),
            ("cpu", "CPU time", 3.0),
        ];
        let mut x = 20.0;
        for (class, words, height) in entries {
            let top = y - 4.0 - height / 2.0;
            self.draw(format_args!(
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{top}\" width=\"14\" height=\"{height}\"/>"
            ));
            self.words("quiet", x + 20.0, y, words);
            x += 44.0 + 6.3 * words.len() as f64;
        }
        self.spread(x, x + 16.0, y - 4.0);
        self.words("quiet", x + 22.0, y, "5 % to 95 %");
        x += 110.0;
        self.arrow(x + 4.0, y - 1.5);
        self.words("quiet", x + 14.0, y, "exec: the program runs");
    }
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

/// Milliseconds to horizontal places.
struct Scale {
    step: f64,
    end: f64,
}

impl Scale {
    /// A scale with round steps, at most eight, that holds `longest`.
    fn up_to(longest: f64) -> Self {
        let longest = longest.max(0.001);
        let power = 10f64.powf(longest.log10().floor() - 1.0);
        let steps = [1.0, 2.0, 5.0, 10.0, 20.0].map(|factor| factor * power);
        let step = steps.into_iter().find(|step| longest / step <= 8.0).unwrap_or(longest);
        Self { step, end: (longest / step).ceil() * step }
    }

    fn x(&self, milliseconds: f64) -> f64 {
        LEFT + milliseconds.clamp(0.0, self.end) / self.end * (WIDTH - LEFT - RIGHT)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = (self.end / self.step).round() as usize;
        // Rounded, or 3 x 0.2 would be written 0.6000000000000001.
        (0..=count).map(|at| (at as f64 * self.step * 1e4).round() / 1e4)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::Scale;

    #[test]
    fn scales_are_round() {
        let ticks = |longest| Scale::up_to(longest).ticks().collect::<Vec<_>>();
        assert_eq!(ticks(14.2), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0]);
        assert_eq!(ticks(0.55), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
        assert_eq!(ticks(8.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    }
}
