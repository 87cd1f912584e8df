//! Tables as Docker prints them: columns as wide as their widest cell and three spaces, nothing else.

/// Rows below a header, aligned. Trailing space is cut.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    // Names and commands of images are the words of strangers.
    let clean = |row: &Vec<String>| row.iter().map(|cell| crate::format::sanitized(cell)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(clean).collect();
    let rows = rows.as_slice();
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 3 - cell.chars().count()));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// A time that has passed, as Docker says it: `5 minutes ago`.
pub(crate) fn ago(then: jiff::Timestamp) -> String {
    let seconds = (jiff::Timestamp::now().as_second() - then.as_second()).max(0);
    format!("{} ago", duration(seconds))
}

/// A number of seconds in the one unit that says enough, as Docker says it: hours are rounded, the others cut.
pub(crate) fn duration(seconds: i64) -> String {
    let hours = (seconds + 1800) / 3600;
    let (count, unit) = match seconds {
        ..1 => return "Less than a second".to_owned(),
        1 => return "1 second".to_owned(),
        2..60 => (seconds, "seconds"),
        60..120 => return "About a minute".to_owned(),
        120..3600 => (seconds / 60, "minutes"),
        _ => match hours {
            ..2 => return "About an hour".to_owned(),
            2..48 => (hours, "hours"),
            48..336 => (hours / 24, "days"),
            336..1440 => (hours / 24 / 7, "weeks"),
            1440..17_520 => (hours / 24 / 30, "months"),
            _ => (hours / 24 / 365, "years"),
        },
    };
    format!("{count} {unit}")
}

/// A size with three digits and a power of 1000, as Docker shows images: `1.24MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let text = match value {
        value if unit == 0 || value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    };
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// Prints, and does not mind if nobody reads on (`| head`).
pub(crate) fn print(text: &str) {
    use std::io::Write;
    std::io::stdout().write_all(text.as_bytes()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_not_padded() {
        let text = table(
            &["ID", "NAME"],
            &[vec!["1234".into(), "x".into()], vec!["5".into(), "long".into()]],
        );
        assert_eq!(text, "ID     NAME\n1234   x\n5      long\n");
    }

    #[test]
    fn sizes_and_times_read_as_dockers() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_240_000, "1.24MB"),
            (77_800_000, "77.8MB"),
            (196_000_000, "196MB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (300, "5 minutes"),
            (61, "About a minute"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (7200, "2 hours"),
            (171_000, "2 days"),
            (200_000, "2 days"),
            (1_209_600, "2 weeks"),
            (5_184_000, "2 months"),
            (63_071_999, "2 years"),
            (63_072_000, "2 years"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
