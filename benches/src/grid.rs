//! Rows and columns, for a terminal and for a page.

/// A table whose first column is text and whose others are figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Column heads.
    pub(crate) head: Vec<&'static str>,
    /// From top to bottom.
    pub(crate) lines: Vec<Line>,
}

/// One line of a [`Grid`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// What the lines after it have in common.
    Heading(String),
    /// As many cells as there are heads.
    Cells(Vec<String>),
}

impl Grid {
    /// For a terminal.
    pub(crate) fn text(&self) -> String {
        let rows = self.lines.iter().filter_map(Line::cells);
        let width = |column: usize| {
            let cells = rows.clone().map(|row| row[column].chars().count());
            cells.chain([self.head[column].chars().count()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &[&str]| {
            let cells = cells.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        let mut text = line(&self.head);
        for row in &self.lines {
            match row {
                Line::Heading(words) => text.push_str(&format!("\n{words}\n")),
                Line::Cells(cells) => {
                    text.push_str(&line(&cells.iter().map(String::as_str).collect::<Vec<_>>()));
                }
            }
        }
        text
    }

    /// For a page.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("| {} |\n|---", self.head.join(" | "));
        text.push_str(&"|--:".repeat(self.head.len() - 1));
        text.push_str("|\n");
        for row in &self.lines {
            match row {
                Line::Heading(words) => {
                    text.push_str(&format!("| *{words}* |{}\n", " |".repeat(self.head.len() - 1)));
                }
                Line::Cells(cells) => {
                    let cells: Vec<String> =
                        cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
                    text.push_str(&format!("| {} |\n", cells.join(" | ")));
                }
            }
        }
        text
    }
}

impl Line {
    fn cells(&self) -> Option<&[String]> {
        match self {
            Self::Cells(cells) => Some(cells),
            Self::Heading(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_rows_complete() {
        let cells = |texts: [&str; 2]| Line::Cells(texts.map(str::to_owned).to_vec());
        let grid = Grid {
            head: vec!["what", "s"],
            lines: vec![
                cells(["a|é", "1.5"]),
                Line::Heading("more".to_owned()),
                cells(["long", ""]),
            ],
        };
        assert_eq!(grid.text(), "what    s\na|é   1.5\n\nmore\nlong\n");
        let markdown = "| what | s |\n|---|--:|\n| a\\|é | 1.5 |\n| *more* | |\n| long |  |\n";
        assert_eq!(grid.markdown(), markdown);
    }
}
