//! What the pictures are made of: SVG with text as text, no script, no font of its own, for light and dark pages.

use std::fmt::Write;

/// Sizes in SVG units, which are pixels at 100 %.
pub(crate) const WIDTH: f64 = 880.0;
pub(crate) const LEFT: f64 = 258.0;
pub(crate) const RIGHT: f64 = 152.0;
pub(crate) const TOP: f64 = 86.0;
pub(crate) const ROW: f64 = 27.0;
pub(crate) const BAR: f64 = 15.0;
pub(crate) const GAP: f64 = 34.0;
/// Right edges of the two columns of figures.
pub(crate) const FIRST: f64 = WIDTH - 74.0;
pub(crate) const LAST: f64 = WIDTH - 20.0;

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
  .limit{stroke:#1a7f37;stroke-width:1.6;stroke-dasharray:4 3;fill:none}
  .halo{stroke:#ffffff;stroke-opacity:.75;stroke-width:4;fill:none}
  @media(prefers-color-scheme:dark){
    text{fill:#e6edf3} .quiet{fill:#9198a1} .back{fill:#0d1117;stroke:#3d444d} .grid{stroke:#262c34}
    .below{fill:#30363d} .added{fill:#4493f8} .whole{fill:#ab7df8} .cpu{fill:#f0883e} .spread{stroke:#e6edf3} .halo{stroke:#0d1117}
    .exec{fill:#e6edf3} .limit{stroke:#3fb950}
  }";

/// The picture so far.
pub(crate) struct Picture {
    out: String,
    pub(crate) scale: Scale,
}

impl Picture {
    /// An empty one; `description` is for those who do not see it.
    pub(crate) fn new(height: f64, description: &str, scale: Scale) -> Self {
        let mut picture = Self { out: String::new(), scale };
        picture.draw(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title\">"
        ));
        picture.draw(format_args!("<title id=\"title\">{}</title>", escape(description)));
        picture.draw(format_args!("<style>\n{STYLE}\n</style>"));
        let (width, height) = (WIDTH - 1.0, height - 1.0);
        picture.draw(format_args!(
            "<rect class=\"back\" x=\"0.5\" y=\"0.5\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>"
        ));
        picture
    }

    /// The whole text.
    pub(crate) fn finish(self) -> String {
        self.out + "</svg>\n"
    }

    pub(crate) fn draw(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        writeln!(self.out, "{element}").unwrap_or_default();
    }

    /// Text that begins, ends or is centred at a place, as its class says.
    pub(crate) fn words(&mut self, class: &str, x: f64, y: f64, words: &str) {
        let words = escape(words);
        self.draw(format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>"));
    }

    /// A bar from one value to another.
    pub(crate) fn bar(&mut self, class: &str, (from, to): (f64, f64), y: f64, height: f64) {
        let (left, right) = (self.scale.x(from.min(to)), self.scale.x(from.max(to)));
        let width = (right - left).max(1.0);
        self.draw(format_args!(
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\"/>"
        ));
    }

    /// Lines for the ticks of the scale, and the heads of the two columns of figures.
    pub(crate) fn axis(&mut self, bottom: f64, heads: [&str; 2]) {
        for tick in self.scale.ticks().collect::<Vec<_>>() {
            let (x, top) = (self.scale.x(tick), TOP - 4.0);
            self.draw(format_args!("<path class=\"grid\" d=\"M{x:.1} {top}V{bottom:.1}\"/>"));
            let unit = self.scale.unit;
            self.words("quiet middle", x, TOP - 10.0, &format!("{tick} {unit}"));
        }
        self.words("quiet right", FIRST, TOP - 10.0, heads[0]);
        self.words("quiet right", LAST, TOP - 10.0, heads[1]);
    }

    /// A line with a stop at each end, on a lighter one, so that it can be seen on every bar.
    pub(crate) fn spread(&mut self, low: f64, high: f64, y: f64) {
        let top = y - 3.0;
        let path = format!("M{low:.1} {y:.1}H{high:.1}M{low:.1} {top:.1}v6M{high:.1} {top:.1}v6");
        self.draw(format_args!("<path class=\"halo\" d=\"{path}\"/>"));
        self.draw(format_args!("<path class=\"spread\" d=\"{path}\"/>"));
    }

    /// Boxes with their meanings, and that of the spread. Returns where the next entry would begin.
    pub(crate) fn legend(&mut self, y: f64, entries: &[(&str, &str, f64)]) -> f64 {
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
        x + 110.0
    }
}

/// Values to horizontal places.
pub(crate) struct Scale {
    unit: &'static str,
    step: f64,
    end: f64,
}

impl Scale {
    /// A scale with round steps, at most eight, that holds `longest`.
    pub(crate) fn up_to(longest: f64, unit: &'static str) -> Self {
        let longest = longest.max(0.001);
        let power = 10f64.powf(longest.log10().floor() - 1.0);
        let steps = [1.0, 2.0, 5.0, 10.0, 20.0].map(|factor| factor * power);
        let step = steps.into_iter().find(|step| longest / step <= 8.0).unwrap_or(longest);
        Self { unit, step, end: (longest / step).ceil() * step }
    }

    pub(crate) fn x(&self, value: f64) -> f64 {
        LEFT + value.clamp(0.0, self.end) / self.end * (WIDTH - LEFT - RIGHT)
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
        let ticks = |longest| Scale::up_to(longest, "ms").ticks().collect::<Vec<_>>();
        assert_eq!(ticks(14.2), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0]);
        assert_eq!(ticks(0.55), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
        assert_eq!(ticks(8.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    }
}
