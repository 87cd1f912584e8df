//! The figures as a picture. From work to work they differ by more than a picture can hold, so the bars are multiples
//! of what `mini-docker build` takes for the same work.

use std::fmt::Write;

use super::report::{Report, Row, Section};
use super::step::Tool;
use crate::pull::table::Place;
use crate::svg::{BAR, FIRST, GAP, LAST, Picture, ROW, Scale, TOP};

/// Draws. Work that `mini-docker build` has not done is left out.
pub fn svg(report: &Report, place: &Place) -> String {
    let sections: Vec<(&Section, f64)> =
        report.sections.iter().filter_map(|section| Some((section, own(section)?))).collect();
    let multiples = |&(section, own): &(&Section, f64)| {
        section.rows.iter().map(|row| row.p95.max(row.user + row.system) / own).fold(0.0, f64::max)
    };
    let longest = sections.iter().map(multiples).fold(0.0, f64::max);
    let height = |(section, _): &(&Section, f64)| GAP + ROW * section.rows.len() as f64;
    let bottom = TOP + sections.iter().map(height).sum::<f64>();
    let scale = Scale::up_to(longest, "×");
    let mut picture = Picture::new(bottom + 56.0, &description(&sections), scale);

    picture.words("title", 20.0, 32.0, "What a build costs");
    let what = "wall time in that of mini-docker build for the same work";
    let subtitle = format!("{what}; median of {} interleaved rounds", report.rounds);
    picture.words("quiet", 20.0, 52.0, &subtitle);
    picture.axis(bottom, ["×", "ms"]);

    let mut y = TOP;
    for (section, own) in &sections {
        y += GAP;
        picture.words("quiet", 20.0, y - 8.0, section.work.label());
        for row in &section.rows {
            draw(&mut picture, y, row, *own);
            y += ROW;
        }
    }
    let entries = [
        ("added", "mini-docker build", 10.0),
        ("whole", "buildah", 10.0),
        ("below", "not builds", 10.0),
        ("cpu", "CPU time", 3.0),
    ];
    picture.legend(bottom + 22.0, &entries);
    picture.words("quiet", 20.0, bottom + 43.0, &place.host);
    picture.finish()
}

/// What `mini-docker build` takes.
fn own(section: &Section) -> Option<f64> {
    let row = section.rows.iter().find(|row| row.step.tool == Tool::MiniDocker)?;
    Some(row.wall)
}

fn draw(picture: &mut Picture, y: f64, row: &Row, own: f64) {
    let bar = y + 4.0;
    let base = bar + 12.0;
    let class = match row.step.tool {
        Tool::MiniDocker => "added",
        Tool::Oci | Tool::Chroot | Tool::OneLayer => "whole",
        Tool::Run | Tool::Cp => "below",
    };
    picture.words("", 20.0, base, row.step.label());
    picture.bar(class, (0.0, row.wall / own), bar, BAR);
    picture.bar("cpu", (0.0, (row.user + row.system) / own), bar + BAR + 1.0, 3.0);
    let (low, high) = (picture.scale.x(row.p5 / own), picture.scale.x(row.p95 / own));
    picture.spread(low, high, bar + BAR / 2.0);
    if let Some(ratio) = row.ratio {
        picture.words("quiet right", FIRST, base, &format!("{:.2}", ratio.value));
    }
    picture.words("right", LAST, base, &format!("{:.0}", row.wall));
}

/// The picture in a sentence, for those who do not see it.
fn description(sections: &[(&Section, f64)]) -> String {
    let mut words = "What a build costs".to_owned();
    for (section, own) in sections {
        let peer = section.rows.iter().find(|row| row.step.tool == Tool::Chroot);
        write!(words, "; {}: {own:.0} ms by mini-docker", section.work.label()).unwrap_or_default();
        if let Some(peer) = peer {
            write!(words, ", {:.0} ms by buildah", peer.wall).unwrap_or_default();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn each_row_has_a_bar() {
        let place =
            Place { host: "a <machine>".to_owned(), versions: String::new(), processors: 2 };
        let svg = svg(&report(), &place);
        let words = "20 steps, nothing changed: 21 ms by mini-docker, 210 ms by buildah; 20 times";
        assert!(svg.contains(words), "{svg}");
        // One more of each in the legend.
        for (class, count) in [("added", 4), ("whole", 2), ("below", 3), ("cpu", 7)] {
            assert_eq!(svg.matches(&format!("<rect class=\"{class}\"")).count(), count, "{class}");
        }
        assert!(svg.contains("a &lt;machine&gt;") && svg.ends_with("</svg>\n"));
    }
}
