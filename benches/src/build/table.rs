//! The figures as a table, for a terminal and for a page, and what follows from them in words.

use super::report::{Figure, Report, Row};
use super::step::{Step, Tool};
use super::work::Work;
use crate::grid::{Grid, Line};
use crate::pull::table::Place;

/// Column heads.
const HEAD: [&str; 9] = [
    "",
    "wall ms",
    "p5 to p95",
    "each RUN ms",
    "× mini-docker",
    "user ms",
    "system ms",
    "peak MB",
    "on disk ms",
];

/// What a build with nothing to do may take, in milliseconds: a person does not notice it.
pub const GOAL: f64 = 50.0;

/// For a terminal.
pub fn text(report: &Report, place: &Place) -> String {
    format!("{}\n{}", grid(report).text(), notes(report, place))
}

/// For a page.
pub fn markdown(report: &Report, place: &Place) -> String {
    // A paragraph for each line.
    let notes = notes(report, place).replace('\n', "\n\n");
    format!("{}\n{}\n", grid(report).markdown(), notes.trim_end())
}

fn grid(report: &Report) -> Grid {
    let mut lines = Vec::new();
    for section in &report.sections {
        lines.push(Line::Heading(section.work.label().to_owned()));
        lines.extend(section.rows.iter().map(|row| Line::Cells(cells(row))));
    }
    Grid { head: HEAD.to_vec(), lines }
}

fn cells(row: &Row) -> Vec<String> {
    let Row { step, wall, p5, p95, each, ratio, user, system, peak, synced } = row;
    vec![
        step.label().to_owned(),
        format!("{wall:.1}"),
        format!("{p5:.1} to {p95:.1}"),
        each.map_or_else(String::new, |each| format!("{each:.1}")),
        ratio.map_or_else(String::new, figure),
        format!("{user:.0}"),
        format!("{system:.0}"),
        format!("{peak:.0}"),
        format!("{synced:.0}"),
    ]
}

fn figure(Figure { value, margin }: Figure) -> String {
    format!("{value:.2} ± {margin:.2}")
}

fn notes(report: &Report, place: &Place) -> String {
    let mut notes = String::new();
    if let Some(row) = report.row(Step { work: Work::Nothing, tool: Tool::MiniDocker }) {
        let word = if row.wall < GOAL { "within" } else { "beyond" };
        notes.push_str(&format!(
            "Nothing changed: {:.1} ms, {word} the goal of {GOAL:.0} ms.\n",
            row.wall
        ));
    }
    let prices = report.prices.iter();
    let prices = prices.map(|price| {
        let one = Step { work: Work::One, ..price.step };
        format!("{}: {} ms", one.label(), figure(price.each))
    });
    let prices: Vec<String> = prices.collect();
    if !prices.is_empty() {
        notes.push_str(&format!(
            "One RUN more (twenty less one, divided by nineteen): {}.\n",
            prices.join("; ")
        ));
    }
    if let Some(above) = report.above_run {
        notes
            .push_str(&format!("A build of one RUN takes {} ms more than a run.\n", figure(above)));
    }
    format!(
        "{notes}Medians of {} interleaved rounds, ± half the 95 % interval; user and system: CPU time of all processes; \
         peak: resident memory of the largest process; on disk: wall time with a sync of the file system after it.\n\
         {}\n{}\n",
        report.rounds, place.host, place.versions
    )
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    fn place() -> Place {
        let (host, versions) = ("a machine".to_owned(), "buildah 1".to_owned());
        Place { host, versions, processors: 2 }
    }

    #[test]
    fn notes_say_how_it_stands() {
        let text = text(&report(), &place());
        for part in [
            "20 steps, nothing changed\nmini-docker build            21.0    20.1 to 21.9",
            "10.00 ± ",
            "Nothing changed: 21.0 ms, within the goal of 50 ms.",
            "divided by nineteen): mini-docker build: 20.00 ± ",
            "; mini-docker run: 20.00 ± 0.00 ms.",
            "A build of one RUN takes 10.00 ± 0.00 ms more than a run.",
            "Medians of 3 interleaved rounds",
            "a machine\nbuildah 1\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_page_has_rows_of_one_width_and_a_paragraph_for_each_note() {
        let text = markdown(&report(), &place());
        let rows: Vec<&str> = text.lines().take_while(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 11);
        assert!(rows.iter().all(|row| row.matches('|').count() == HEAD.len() + 1));
        assert!(text.ends_with("\n\na machine\n\nbuildah 1\n"), "{text}");
    }
}
