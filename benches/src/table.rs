//! The figures as a table, for a terminal and for Markdown.

use crate::grid::{Grid, Line};
use crate::host::Host;
use crate::stats::{Summary, top};
use crate::{Program, Step};

/// Column heads.
const HEAD: [&str; 7] = ["step", "wall ms", "p5 to p95", "added ms", "share", "CPU ms", "to exec"];

/// For a terminal.
pub fn text(summaries: &[Summary], rounds: usize, host: &Host) -> String {
    format!("{}\n{}", grid(summaries).text(), notes(summaries, rounds, host))
}

/// For a page.
pub fn markdown(summaries: &[Summary], rounds: usize, host: &Host) -> String {
    format!("{}\n{}", grid(summaries).markdown(), notes(summaries, rounds, host))
}

fn grid(summaries: &[Summary]) -> Grid {
    let mut lines = Vec::new();
    for (at, row) in rows(summaries).into_iter().enumerate() {
        if begins_programs(summaries, at) {
            lines.push(Line::Heading("beside the ladder".to_owned()));
        }
        lines.push(Line::Cells(row.to_vec()));
    }
    Grid { head: HEAD.to_vec(), lines }
}

fn begins_programs(summaries: &[Summary], at: usize) -> bool {
    let beside = |at: usize| matches!(summaries[at].step, Step::Beside(_));
    at > 0 && beside(at) && !beside(at - 1)
}

fn rows(summaries: &[Summary]) -> Vec<[String; 7]> {
    let row = |summary: &Summary| {
        let Summary { step, wall, p5, p95, cpu, until_exec, added } = summary;
        [
            step.label().to_owned(),
            format!("{wall:.2}"),
            format!("{p5:.2} to {p95:.2}"),
            added.map_or_else(String::new, |added| {
                format!("{:+.2} ± {:.2}", added.wall, added.margin)
            }),
            added.map_or_else(String::new, |added| match added.is_clear() {
                true => format!("{:.0} %", added.share * 100.0),
                false => "(noise)".to_owned(),
            }),
            format!("{cpu:.2}"),
            until_exec.map_or_else(String::new, |until| format!("{until:.2}")),
        ]
    };
    summaries.iter().map(row).collect()
}

fn notes(summaries: &[Summary], rounds: usize, host: &Host) -> String {
    let mut notes = format!(
        "Medians of {rounds} interleaved rounds; wall: from the first call until everything is gone again; \
         added: difference of medians to the row above, ± half its 95 % interval.\n\
         {}\n",
        host.line()
    );
    let whole = summaries.iter().find(|s| s.step == Step::Beside(Program::Everything));
    if let (Some(top), Some(whole)) = (top(summaries), whole) {
        notes.push_str(&format!(
            "The whole command against the ladder's top: {:+.2} ms wall, {:+.2} ms CPU, for loading the binary, \
             command line, image, records, /etc files.\n",
            whole.wall - top.wall,
            whole.cpu - top.cpu
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rung;
    use crate::stats::Added;

    fn host() -> Host {
        Host {
            kernel: "Linux 1.0 x86_64".to_owned(),
            cpus: "2".to_owned(),
            cgroups: "v2".to_owned(),
            rcu: "normal",
            sha: true,
            date: "2000-01-01".to_owned(),
        }
    }

    fn summaries() -> Vec<Summary> {
        let added = |wall| Some(Added { wall, margin: 0.1, share: wall / 2.0 });
        let row = |step, added| Summary {
            step,
            wall: 2.0,
            p5: 1.0,
            p95: 3.0,
            cpu: 0.5,
            until_exec: None,
            added,
        };
        vec![
            row(Step::Ladder(Rung::Process), added(2.0)),
            row(Step::Ladder(Rung::Security), added(0.05)),
            row(Step::Beside(Program::Everything), None),
        ]
    }

    #[test]
    fn a_difference_within_its_margin_is_called_noise() {
        let text = text(&summaries(), 7, &host());
        let line = |word: &str| text.lines().find(|line| line.contains(word)).unwrap().to_owned();
        assert!(line("clone3").contains("100 %"));
        assert!(line("capabilities").contains("(noise)"));
        assert!(text.contains("Medians of 7 interleaved rounds"));
        assert!(text.contains("ladder's top: +0.00 ms wall, +0.00 ms CPU"));
    }

    #[test]
    fn markdown_rows_have_as_many_cells_as_the_head() {
        let text = markdown(&summaries(), 7, &host());
        let bars = |line: &str| line.matches('|').count();
        let rows: Vec<&str> = text.lines().take_while(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 6);
        assert!(rows.iter().all(|row| bars(row) == bars(rows[0])));
    }
}
