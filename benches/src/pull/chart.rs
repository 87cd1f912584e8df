//! The figures as a picture: for each image its bars, and the limit as a line through them.

use std::fmt::Write;

use super::report::{Report, Row, Section};
use super::step::{Tool, Way};
use super::table::Place;
use crate::svg::{BAR, FIRST, GAP, LAST, Picture, ROW, Scale, TOP};

/// Draws.
pub fn svg(report: &Report, place: &Place) -> String {
    let rows = || report.sections.iter().flat_map(|section| &section.rows);
    let longest = rows().map(|row| row.p95.max(row.user + row.system)).fold(0.0, f64::max);
    let height = |section: &Section| GAP + ROW * section.rows.len() as f64;
    let bottom = TOP + report.sections.iter().map(height).sum::<f64>();
    let scale = Scale::up_to(longest, "s");
    let mut picture = Picture::new(bottom + 56.0, &description(report), scale);

    picture.words("title", 20.0, 32.0, "What a pull costs");
    let what = "from a registry on loopback, or a folder, to unpacked files in an empty store";
    let subtitle = format!("{what}; median of {} interleaved rounds", report.rounds);
    picture.words("quiet", 20.0, 52.0, &subtitle);
    picture.axis(bottom, ["× limit", "wall"]);

    let mut y = TOP;
    for section in &report.sections {
        y += GAP;
        picture.words("quiet", 20.0, y - 8.0, &section.description);
        let top = y;
        for row in &section.rows {
            draw(&mut picture, y, row);
            y += ROW;
        }
        if let Some(limit) = section.limit {
            let (x, bottom) = (picture.scale.x(limit), y - 2.0);
            picture
                .draw(format_args!("<path class=\"limit\" d=\"M{x:.1} {top:.1}V{bottom:.1}\"/>"));
        }
    }
    legend(&mut picture, bottom + 22.0);
    picture.words("quiet", 20.0, bottom + 43.0, &place.host);
    picture.finish()
}

fn draw(picture: &mut Picture, y: f64, row: &Row) {
    let bar = y + 4.0;
    let base = bar + 12.0;
    let class = match row.way {
        Way::Pull(Tool::MiniDocker) | Way::Unpack(Tool::MiniDocker) => "added",
        Way::Pull(_) | Way::Unpack(_) => "whole",
        Way::Limit(_) => "below",
    };
    picture.words("", 20.0, base, row.way.label());
    picture.bar(class, (0.0, row.wall), bar, BAR);
    picture.bar("cpu", (0.0, row.user + row.system), bar + BAR + 1.0, 3.0);
    let (low, high) = (picture.scale.x(row.p5), picture.scale.x(row.p95));
    picture.spread(low, high, bar + BAR / 2.0);
    if let Some(ratio) = row.to_limit {
        picture.words("quiet right", FIRST, base, &format!("{:.2}", ratio.value));
    }
    picture.words("right", LAST, base, &format!("{:.2}", row.wall));
}

fn legend(picture: &mut Picture, y: f64) {
    let entries = [
        ("added", "mini-docker", 10.0),
        ("whole", "others", 10.0),
        ("below", "parts of the work", 10.0),
        ("cpu", "CPU time", 3.0),
    ];
    let x = picture.legend(y, &entries);
    let middle = y - 4.0;
    picture.draw(format_args!("<path class=\"limit\" d=\"M{x:.1} {middle:.1}h18\"/>"));
    picture.words("quiet", x + 24.0, y, "limit");
}

/// The picture in a sentence, for those who do not see it.
fn description(report: &Report) -> String {
    let mut words = "What a pull costs".to_owned();
    for section in &report.sections {
        let pull = |tool| section.rows.iter().find(|row| row.way == Way::Pull(tool));
        let (name, _) = section.description.split_once(':').unwrap_or((&section.description, ""));
        if let (Some(own), Some(podman)) = (pull(Tool::MiniDocker), pull(Tool::Podman)) {
            write!(
                words,
                "; {name}: {:.2} s by mini-docker, {:.2} s by podman",
                own.wall, podman.wall
            )
            .unwrap_or_default();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn each_row_has_a_bar_and_the_image_a_limit() {
        let place =
            Place { host: "a <machine>".to_owned(), versions: String::new(), processors: 2 };
        let svg = svg(&report(), &place);
        assert!(svg.contains("one image: 3.10 s by mini-docker, 8.10 s by podman"), "{svg}");
        // One more of each in the legend.
        for (class, count) in [("added", 2), ("whole", 3), ("below", 4), ("cpu", 7)] {
            assert_eq!(svg.matches(&format!("<rect class=\"{class}\"")).count(), count, "{class}");
        }
        assert_eq!(svg.matches("<path class=\"limit\"").count(), 2);
        assert!(svg.contains("a &lt;machine&gt;") && svg.ends_with("</svg>\n"));
    }
}
