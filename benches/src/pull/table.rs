//! The figures as a table, for a terminal and for a page, and what follows from them in words.

use super::report::{Ratio, Report, Row, Section, Verdict};
use crate::grid::{Grid, Line};

/// Column heads.
const HEAD: [&str; 8] =
    ["", "wall s", "p5 to p95", "× limit", "user s", "system s", "peak MB", "on disk s"];

/// Where the figures were taken, in words: one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Machine, disk and day.
    pub host: String,
    /// Versions of the peers.
    pub versions: String,
    /// Processors that this process may use.
    pub processors: usize,
}

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
        lines.push(Line::Heading(section.description.clone()));
        lines.extend(section.rows.iter().map(|row| Line::Cells(cells(row))));
    }
    Grid { head: HEAD.to_vec(), lines }
}

fn cells(row: &Row) -> Vec<String> {
    let Row { way, wall, p5, p95, user, system, peak, synced, to_limit } = row;
    vec![
        way.label().to_owned(),
        format!("{wall:.2}"),
        format!("{p5:.2} to {p95:.2}"),
        to_limit
            .map_or_else(String::new, |ratio| format!("{:.2} ± {:.2}", ratio.value, ratio.margin)),
        format!("{user:.2}"),
        format!("{system:.2}"),
        format!("{peak:.0}"),
        format!("{synced:.2}"),
    ]
}

fn notes(report: &Report, place: &Place) -> String {
    let mut notes = String::new();
    for section in &report.sections {
        let (name, _) = section.description.split_once(':').unwrap_or((&section.description, ""));
        for line in section.verdicts.iter().map(verdict).chain([basis(section, place.processors)]) {
            if !line.is_empty() {
                notes.push_str(&format!("{name}: {line}.\n"));
            }
        }
    }
    format!(
        "{notes}Medians of {} interleaved rounds, ± half the 95 % interval; user and system: CPU time of all processes; \
         peak: resident memory of the largest process; on disk: wall time with a sync of the file system after it.\n\
         {}\n{}\n",
        report.rounds, place.host, place.versions
    )
}

fn verdict(verdict: &Verdict) -> String {
    let ratio = |Ratio { value, margin }: Ratio| format!("{value:.2} ± {margin:.2}");
    let mut parts = Vec::new();
    if let Some(limit) = verdict.to_limit {
        parts.push(format!("takes {} of the limit", ratio(limit)));
    }
    if let Some(shared) = verdict.to_shared {
        parts.push(format!("{} of its CPU time shared by all processors", ratio(shared)));
    }
    if let Some((wall, peer)) = verdict.to_peer {
        parts.push(format!("{} of the time of `{}`, the quickest peer", ratio(wall), peer.label()));
    }
    if let Some(synced) = verdict.synced_to_peer {
        parts.push(format!("{} of a peer's time until all is on the disk", ratio(synced)));
    }
    if let Some(user) = verdict.user_to_podman {
        parts.push(format!("{} of podman's user CPU time", ratio(user)));
    }
    match &parts[..] {
        [] => String::new(),
        parts => format!("`{}` {}", verdict.way.label(), parts.join(", ")),
    }
}

/// What the ratios are ratios to.
fn basis(section: &Section, processors: usize) -> String {
    let mut parts = Vec::new();
    if let Some(limit) = section.limit {
        parts.push(format!("the limit is {limit:.2} s"));
    }
    if let Some(shared) = section.shared {
        parts.push(format!(
            "the CPU time of its two parts, shared by {processors} processors, is {shared:.2} s"
        ));
    }
    if let Some(registry) = section.registry {
        parts.push(format!("the registry takes {registry:.2} s of CPU time per pull"));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    fn place() -> Place {
        Place { host: "a machine".to_owned(), versions: "tar 1".to_owned(), processors: 2 }
    }

    #[test]
    fn notes_say_how_it_stands_and_against_what() {
        let text = text(&report(), &place());
        for part in [
            "mini-docker pull                 3.10  3.01 to 3.19  1.00 ± ",
            "one image: `mini-docker pull` takes 1.00 ± ",
            " of the time of `skopeo copy, umoci raw unpack`, the quickest peer, 0.57 ± ",
            " of a peer's time until all is on the disk, 0.25 ± 0.00 of podman's user CPU time.",
            "one image: the limit is 3.10 s; the CPU time of its two parts, shared by 2 processors, is 1.50 s; \
             the registry takes 0.25 s of CPU time per pull.",
            "Medians of 3 interleaved rounds",
            "a machine\ntar 1\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_page_has_rows_of_one_width_and_a_paragraph_for_each_note() {
        let text = markdown(&report(), &place());
        let rows: Vec<&str> = text.lines().take_while(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 9);
        assert!(rows.iter().all(|row| row.matches('|').count() == HEAD.len() + 1));
        assert!(text.ends_with("\n\na machine\n\ntar 1\n"), "{text}");
    }
}
