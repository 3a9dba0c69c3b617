//! Columns of text.

/// On which side a column is flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells, made equally wide when written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    align: Vec<Align>,
}

impl Table {
    /// A table with these headings; the first column is words, the others numbers.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let mut align = vec![Align::Right; headings.len()];
        if let Some(first) = align.first_mut() {
            *first = Align::Left;
        }
        Self { rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()], align }
    }

    /// The table with one column aligned otherwise.
    pub(crate) fn align(mut self, column: usize, align: Align) -> Self {
        if let Some(place) = self.align.get_mut(column) {
            *place = align;
        }
        self
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Appends the table, each line indented.
    pub(crate) fn write(&self, out: &mut String) {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.align.len()).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), align) in row.iter().zip(&widths).zip(&self.align) {
                line.push_str("  ");
                match align {
                    Align::Left => line.push_str(&format!("{cell:<width$}")),
                    Align::Right => line.push_str(&format!("{cell:>width$}")),
                }
            }
            // A table without headings has an empty first row.
            if !line.trim_end().is_empty() {
                out.push_str(line.trim_end());
                out.push('\n');
            }
        }
    }
}
