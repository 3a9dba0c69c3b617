//! The text of rows that findings point at, fetched from the files after the check.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;

use crate::log::reader::{Location, LogDir};
use crate::log::schema::{Layout, Table};

/// The most of a row that is shown.
const SHOWN_BYTES: usize = 4 << 10;

/// Rows by location.
#[derive(Debug, Default)]
pub struct Excerpts {
    rows: BTreeMap<Location, String>,
    layouts: BTreeMap<Table, Layout>,
}

impl Excerpts {
    /// Fetches the rows at these locations; what cannot be read stays out.
    pub(crate) fn load(dir: &LogDir, locations: impl Iterator<Item = Location>) -> Self {
        let mut excerpts = Self::default();
        excerpts.extend(dir, locations);
        excerpts
    }

    /// Fetches more rows.
    pub(super) fn extend(&mut self, dir: &LogDir, locations: impl Iterator<Item = Location>) {
        let mut wanted: BTreeMap<Table, Vec<Location>> = BTreeMap::new();
        for location in locations.filter(|location| !self.rows.contains_key(location)) {
            wanted.entry(location.table).or_default().push(location);
        }
        for (table, mut locations) in wanted {
            locations.sort_unstable_by_key(|location| location.offset);
            locations.dedup();
            // A file that was there for the check and is not now shows no excerpt.
            let _ = self.read(dir, table, &locations);
        }
    }

    fn read(&mut self, dir: &LogDir, table: Table, locations: &[Location]) -> io::Result<()> {
        let Some(file) = dir.file(table) else { return Ok(()) };
        let mut input = file.open().map_err(io::Error::other)?;
        let (mut at, header) = read_header(&mut input)?;
        self.layouts.insert(table, layout(table, header.trim_start_matches('\u{feff}')));
        let mut kept: Vec<u8> = Vec::new();
        for location in locations {
            if location.offset < at {
                // The row begins inside what was read for the one before, and may end behind it.
                let behind = (at - location.offset) as usize;
                if let Some(start) = kept.len().checked_sub(behind) {
                    if memchr::memchr(b'\n', &kept[start..]).is_none() {
                        let more = SHOWN_BYTES.saturating_sub(behind) as u64;
                        at += input.by_ref().take(more).read_to_end(&mut kept)? as u64;
                    }
                    self.rows.insert(*location, first_line(&kept[start..]));
                }
                continue;
            }
            io::copy(&mut input.by_ref().take(location.offset - at), &mut io::sink())?;
            kept.clear();
            input.by_ref().take(SHOWN_BYTES as u64).read_to_end(&mut kept)?;
            at = location.offset + kept.len() as u64;
            self.rows.insert(*location, first_line(&kept));
        }
        Ok(())
    }

    /// The text of a row.
    #[must_use]
    pub fn row(&self, location: Location) -> Option<&str> {
        self.rows.get(&location).map(String::as_str)
    }

    /// The text of a field, without quotes.
    #[must_use]
    pub fn field(&self, location: Location, column: &str) -> Option<&str> {
        let text = &self.row(location)?[self.span(location, column)?];
        Some(text.trim_matches('"'))
    }

    /// A field that is a whole number.
    #[must_use]
    pub fn number(&self, location: Location, column: &str) -> Option<i128> {
        self.field(location, column)?.parse().ok()
    }

    /// Every field of a row by its column.
    #[must_use]
    pub fn fields(&self, location: Location) -> BTreeMap<&'static str, &str> {
        let columns = location.table.schema().columns.iter();
        columns
            .filter_map(|column| Some((column.name, self.field(location, column.name)?)))
            .collect()
    }

    /// Where a column stands in a row.
    #[must_use]
    pub fn span(&self, location: Location, column: &str) -> Option<Range<usize>> {
        let column = location.table.schema().column(column)?;
        let index = (*self.layouts.get(&location.table)?.positions.get(column)?)?;
        fields(self.row(location)?).nth(index)
    }
}

/// Reads the first line and says how long it is.
fn read_header(input: &mut impl Read) -> io::Result<(u64, String)> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    // Headers are short; the rest of the file must not be consumed here.
    while bytes.len() < SHOWN_BYTES && input.read(&mut byte)? == 1 {
        bytes.push(byte[0]);
        if byte[0] == b'\n' {
            break;
        }
    }
    Ok((bytes.len() as u64, first_line(&bytes)))
}

fn first_line(bytes: &[u8]) -> String {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim_end_matches('\r').to_owned()
}

pub(super) fn layout(table: Table, header: &str) -> Layout {
    let schema = table.schema();
    let names: Vec<_> = fields(header).map(|span| header[span].trim_matches('"')).collect();
    let positions = schema
        .columns
        .iter()
        .map(|column| {
            names.iter().position(|name| *name == column.name || column.alias == Some(*name))
        })
        .collect();
    Layout { positions }
}

/// The extents of the fields of a row, quotes included.
pub(super) fn fields(row: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut rest = Some(0);
    std::iter::from_fn(move || {
        let start = rest?;
        let mut quoted = false;
        let end = row[start..].bytes().position(|byte| {
            quoted ^= byte == b'"';
            byte == b',' && !quoted
        });
        let end = end.map_or(row.len(), |len| start + len);
        rest = (end < row.len()).then_some(end + 1);
        Some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    #[test]
    fn a_row_that_ends_behind_what_was_read_for_one_before_is_whole() {
        let mut text = format!("{}\n", Table::StateTransitions.schema().header());
        let mut places = Vec::new();
        for line in 0..500 {
            places.push(Location {
                table: Table::StateTransitions,
                line: line + 2,
                offset: text.len() as u64,
            });
            writeln!(text, "r{line},{line},running,{},waiting", 7 * line).unwrap();
        }
        let lines: Vec<_> = text.lines().skip(1).map(str::to_owned).collect();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(Table::StateTransitions.file_name()), &text).unwrap();
        let log = LogDir::open(dir.path()).unwrap();
        let excerpts = Excerpts::load(&log, places.iter().copied());
        for (line, at) in lines.iter().zip(places) {
            assert_eq!(excerpts.row(at), Some(line.as_str()));
        }
    }
}
