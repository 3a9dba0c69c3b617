//! A file of the log as text, in which cells are changed.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;

use hashbrown::HashMap;

use crate::diagnose::excerpt::{fields, layout};
use crate::log::reader::LogDir;
use crate::log::schema::{Layout, Table};
use crate::log::values::{EventType, State};

/// One file, row by row.
pub(super) struct Sheet {
    table: Table,
    text: String,
    /// The rows behind the header, without their line breaks.
    rows: Vec<Range<usize>>,
    lines: Vec<u64>,
    layout: Layout,
    by_offset: HashMap<usize, usize>,
}

impl Sheet {
    /// Reads a file of at most so many bytes.
    pub(super) fn read(dir: &LogDir, table: Table, most: u64) -> Option<Self> {
        let mut bytes = Vec::new();
        dir.file(table)?.open().ok()?.take(most + 1).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= most)?;
        let (mut rows, mut lines) = (Vec::new(), Vec::new());
        let (mut start, mut line, mut first, mut quoted) = (0, 1, 1, false);
        for (at, byte) in text.bytes().enumerate() {
            quoted ^= byte == b'"';
            if byte != b'\n' {
                continue;
            }
            line += 1;
            if !quoted {
                rows.push(start..text[start..at].trim_end_matches('\r').len() + start);
                lines.push(first);
                (start, first) = (at + 1, line);
            }
        }
        if rows.is_empty() {
            return None;
        }
        let layout = layout(table, text[rows[0].clone()].trim_start_matches('\u{feff}'));
        rows.remove(0);
        lines.remove(0);
        let by_offset = rows.iter().enumerate().map(|(row, at)| (at.start, row)).collect();
        Some(Self { table, text, rows, lines, layout, by_offset })
    }

    pub(super) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row that begins at this byte.
    pub(super) fn row_at(&self, offset: u64) -> Option<usize> {
        self.by_offset.get(&usize::try_from(offset).ok()?).copied()
    }

    pub(super) fn offset(&self, row: usize) -> u64 {
        self.rows[row].start as u64
    }

    pub(super) fn line(&self, row: usize) -> u64 {
        self.lines[row]
    }

    fn span(&self, row: usize, column: &str) -> Option<Range<usize>> {
        let place = (*self.layout.positions.get(self.table.schema().column(column)?)?)?;
        let at = &self.rows[row];
        let field = fields(&self.text[at.clone()]).nth(place)?;
        Some(at.start + field.start..at.start + field.end)
    }

    /// The text of a cell, without quotes.
    pub(super) fn cell(&self, row: usize, column: &str) -> Option<&str> {
        Some(self.text[self.span(row, column)?].trim_matches('"'))
    }

    /// Where a member of the details that is a whole number stands.
    fn member_span(&self, row: usize, member: &str) -> Option<Range<usize>> {
        let field = self.span(row, "details")?;
        let text = &self.text[field.clone()];
        let name = text.find(&format!("\"{member}\""))? + member.len() + 2;
        let value = name + text[name..].find(|it: char| it.is_ascii_digit() || it == '-')?;
        // Between both there are quotes, a colon and blanks only.
        let between = text[name..value].trim_matches(['"', ':', ' ']);
        let end = text[value + 1..].find(|it: char| !it.is_ascii_digit())? + value + 1;
        between.is_empty().then(|| field.start + value..field.start + end)
    }

    /// Where the value of a column, or of a member of the details, stands.
    fn value_span(&self, row: usize, place: Place) -> Option<Range<usize>> {
        match place.member {
            Some(member) => self.member_span(row, member),
            None => self.span(row, place.column),
        }
    }

    pub(super) fn value(&self, row: usize, place: Place) -> Option<&str> {
        Some(self.text[self.value_span(row, place)?].trim_matches('"'))
    }

    pub(super) fn number(&self, row: usize, place: Place) -> Option<i128> {
        self.value(row, place)?.parse().ok()
    }

    /// The file with another text in a cell.
    pub(super) fn with(&self, row: usize, place: Place, text: &str) -> Option<Vec<u8>> {
        let span = self.value_span(row, place)?;
        let quoted = self.text[span.clone()].starts_with('"');
        let text = if quoted { format!("\"{text}\"") } else { text.to_owned() };
        Some([&self.text[..span.start], &text, &self.text[span.end..]].concat().into_bytes())
    }

    /// The file with another number in each cell of a column that has one.
    pub(super) fn with_each(
        &self,
        place: Place,
        change: impl Fn(i128) -> Option<i128>,
    ) -> Option<Vec<u8>> {
        let (mut text, mut done) = (String::with_capacity(self.text.len()), 0);
        for row in
            (0..self.len()).filter(|row| place.kind.is_none() || self.kind(*row) == place.kind)
        {
            let Some(span) = self.value_span(row, place) else { continue };
            let Ok(number) = self.text[span.clone()].parse::<i128>() else { continue };
            text.push_str(&self.text[done..span.start]);
            text.push_str(&change(number)?.to_string());
            done = span.end;
        }
        text.push_str(&self.text[done..]);
        Some(text.into_bytes())
    }

    /// The file with these texts in cells of a column, by row.
    pub(super) fn with_all(
        &self,
        place: Place,
        texts: &BTreeMap<usize, String>,
    ) -> Option<Vec<u8>> {
        let (mut text, mut done) = (String::with_capacity(self.text.len()), 0);
        for (row, value) in texts {
            let span = self.value_span(*row, place)?;
            text.push_str(&self.text[done..span.start]);
            text.push_str(value);
            done = span.end;
        }
        text.push_str(&self.text[done..]);
        Some(text.into_bytes())
    }

    /// What kind of event or change a row is.
    pub(super) fn kind(&self, row: usize) -> Option<&'static str> {
        match self.table {
            Table::Events => {
                let kind = EventType::from_bytes(self.cell(row, "event_type")?.as_bytes())?;
                Some(kind.as_str())
            }
            Table::StateTransitions | Table::PerIterationRequests => {
                Some(State::from_bytes(self.cell(row, "state")?.as_bytes())?.as_str())
            }
            Table::PerRequest | Table::PerIteration => None,
        }
    }

    /// The file with a row behind the next one.
    pub(super) fn swapped(&self, row: usize) -> Option<Vec<u8>> {
        let (one, other) = (self.rows.get(row)?, self.rows.get(row + 1)?);
        let end = self.rows.get(row + 2).map_or(self.text.len(), |next| next.start);
        let (first, second) = (&self.text[one.start..other.start], &self.text[other.start..end]);
        let (before, behind) = (&self.text[..one.start], &self.text[end..]);
        (first != second).then(|| [before, second, first, behind].concat().into_bytes())
    }

    /// The file without a row.
    pub(super) fn without(&self, row: usize) -> Vec<u8> {
        let behind = self.rows.get(row + 1).map_or(self.text.len(), |next| next.start);
        [&self.text[..self.rows[row].start], &self.text[behind..]].concat().into_bytes()
    }
}

/// What a value stands under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) table: Table,
    pub(super) column: &'static str,
    /// Of the details, the member.
    pub(super) member: Option<&'static str>,
    /// Of a file of events or changes, the kind of the rows; all, if none.
    pub(super) kind: Option<&'static str>,
}

/// Members of details that are whole numbers.
pub(super) const MEMBERS: [&str; 7] = [
    "iteration_id",
    "cached_tokens",
    "computed_tokens",
    "lost_tokens",
    "input_tokens",
    "output_tokens",
    "blocks",
];
