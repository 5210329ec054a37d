//! Aligned columns, readable without colour and without lines.

use super::style::{Style, printable};

/// Between two columns.
const GAP: &str = "  ";

/// Rows under a heading.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    indent: usize,
    /// Longest line of a cell; what is longer goes on below, in its column.
    wrap: Option<usize>,
}

impl Table {
    /// Makes a table; without headings when all of them are empty.
    pub(crate) fn new<const N: usize>(heading: [&'static str; N]) -> Self {
        Self { heading: heading.into(), rows: Vec::new(), indent: 0, wrap: None }
    }

    /// Moves the whole table to the right.
    #[must_use]
    pub(crate) const fn indented(mut self, spaces: usize) -> Self {
        self.indent = spaces;
        self
    }

    /// Lets long cells go on below, so that every column stays where it is.
    #[must_use]
    pub(crate) const fn wrapped(mut self, characters: usize) -> Self {
        self.wrap = Some(characters);
        self
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let one_line = |cell: String| printable(&cell).replace(['\n', '\t'], " ");
        let cells = cells.map(one_line);
        let Some(width) = self.wrap else { return self.rows.push(cells.into()) };
        let lines = cells.map(|cell| wrapped(&cell, width));
        let count = lines.iter().map(Vec::len).max().unwrap_or_default();
        let line =
            |index: usize| lines.iter().map(|cell| cell.get(index).cloned().unwrap_or_default()).collect();
        self.rows.extend((0..count).map(line));
    }

    /// Tells whether there is no row.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes the table, every line with its break.
    pub(crate) fn render(&self, style: &Style) -> String {
        let widths = self.widths();
        let mut text = String::new();
        if self.heading.iter().any(|heading| !heading.is_empty()) {
            let cells: Vec<_> = self.heading.iter().map(|heading| (*heading).to_owned()).collect();
            let line = self.line(&cells, &widths);
            text.push_str(&style.strong(&line));
            text.push('\n');
        }
        for row in &self.rows {
            text.push_str(&self.line(row, &widths));
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize, heading: &&str| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).chain([heading.chars().count()]).max().unwrap_or(0)
        };
        self.heading.iter().enumerate().map(|(column, heading)| width(column, heading)).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let padded = cells.iter().zip(widths).map(|(cell, &width)| format!("{cell:<width$}"));
        let joined = padded.collect::<Vec<_>>().join(GAP);
        format!("{}{}", " ".repeat(self.indent), joined.trim_end())
    }
}

/// Breaks a text at spaces, or within words that are longer than a line.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let pieces = text.split(' ').flat_map(|word| {
        let characters: Vec<char> = word.chars().collect();
        let pieces: Vec<String> = characters.chunks(width).map(|piece| piece.iter().collect()).collect();
        if pieces.is_empty() { vec![String::new()] } else { pieces }
    });
    for piece in pieces {
        let last = lines.last_mut().expect("there is always a line");
        let length = last.chars().count();
        if length == 0 {
            last.push_str(&piece);
        } else if length + 1 + piece.chars().count() <= width {
            last.push(' ');
            last.push_str(&piece);
        } else {
            lines.push(piece);
        }
    }
    lines
}

/// Writes a table whose number of columns is known only when it is written.
pub(crate) fn wide(heading: &[String], rows: &[Vec<String>], style: &Style) -> String {
    let all: Vec<&[String]> = std::iter::once(heading).chain(rows.iter().map(Vec::as_slice)).collect();
    let width = |column: usize| {
        all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let line = |row: &&[String]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    let mut lines = all.iter().map(line);
    let first = lines.next().map(|line| style.strong(&line)).unwrap_or_default();
    std::iter::once(first).chain(lines).map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let mut table = Table::new(["SERVICE", "VERSION", ""]).indented(2);
        table.row(["orders".into(), "1.10.0".into(), String::new()]);
        table.row(["web".into(), "2.0.0".into(), "warm".into()]);
        assert_eq!(
            table.render(&Style::plain()),
            "  SERVICE  VERSION\n  orders   1.10.0\n  web      2.0.0    warm\n"
        );
    }

    #[test]
    fn a_long_cell_goes_on_below_and_moves_no_column() {
        let mut table = Table::new(["BY", "REASON", "N"]).wrapped(12);
        table.row(["ann".into(), "the old one was slow".into(), "1".into()]);
        table.row(["bob".into(), "x".repeat(15), "2".into()]);
        let expected =
            "BY   REASON        N\nann  the old one   1\n     was slow\nbob  xxxxxxxxxxxx  2\n     xxx\n";
        assert_eq!(table.render(&Style::plain()), expected);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_by_wrapping(text in "[a-zé ]{0,80}", width in 1_usize..30) {
            let lines = wrapped(&text, width);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= width));
            let plain = |text: &str| text.replace(' ', "");
            prop_assert_eq!(plain(&lines.concat()), plain(&text));
        }

        #[test]
        fn a_row_is_always_one_line(cells in prop::collection::vec(any::<[String; 2]>(), 0..5)) {
            let mut table = Table::new(["A", "B"]);
            let count = cells.len();
            cells.into_iter().for_each(|row| table.row(row));
            prop_assert_eq!(table.render(&Style::plain()).matches('\n').count(), count + 1);
        }
    }
}
