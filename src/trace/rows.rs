//! Lines of a trace as rows of cells, found by column name, in either encoding.

use std::borrow::Cow;
use std::io::{BufRead, Read};
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{Column, Place, Problem, TraceError};
use super::format::{Encoding, Field, TraceFormat};
use super::input::Input;

/// The longest line that is read. A prompt of a million hash ids takes a tenth of it.
const LINE_LIMIT: u64 = 64 << 20;

/// The value of one column in one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'a> {
    /// JSON text, or the content of a CSV field.
    pub(super) text: &'a str,
    /// The column as the format names it.
    pub(super) name: &'static str,
    /// The column's number (CSV) or the value's place in the line (JSON), from 1.
    pub(super) position: u32,
}

/// One row: at most one cell per field.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) encoding: Encoding,
    cells: [Option<Cell<'a>>; Field::COUNT],
}

/// What is wrong with a row, and in which column.
#[derive(Debug)]
pub(super) struct RowError {
    pub(super) column: Option<Column>,
    pub(super) problem: Problem,
}

impl From<Problem> for RowError {
    fn from(problem: Problem) -> Self {
        Self { column: None, problem }
    }
}

impl<'a> Row<'a> {
    pub(super) fn cell(&self, field: Field) -> Option<Cell<'a>> {
        self.cells[field as usize]
    }

    /// `problem`, placed at `cell`.
    pub(super) fn at(&self, cell: &Cell<'_>, problem: Problem) -> RowError {
        let (position, name) = (cell.position, cell.name.to_owned());
        let column = match self.encoding {
            Encoding::Csv => Column::Csv { position, name },
            Encoding::Jsonl => Column::Json { position, name },
        };
        RowError { column: Some(column), problem }
    }

    fn put(&mut self, field: Field, cell: Cell<'a>) -> Result<(), RowError> {
        if field == Field::Ignored {
            return Ok(());
        }
        if self.cells[field as usize].is_some() {
            return Err(self.at(&cell, Problem::DuplicateColumn));
        }
        self.cells[field as usize] = Some(cell);
        Ok(())
    }
}

/// The rows of a trace, one at a time, in file order.
pub(super) struct Rows {
    name: String,
    reader: Box<dyn BufRead + Send>,
    format: TraceFormat,
    ignore_unknown: bool,
    /// The columns of a CSV file in file order; `None` for one to read past.
    header: Vec<Option<(Field, &'static str)>>,
    line: Vec<u8>,
    /// Lines taken so far, and the first line of the current row.
    lines: u64,
    first_line: u64,
}

impl Rows {
    /// Opens `input` and reads the header, if the format has one.
    pub(super) fn open(
        input: &Input,
        format: TraceFormat,
        ignore_unknown: bool,
    ) -> Result<Self, TraceError> {
        let mut rows = Self {
            name: input.name.clone(),
            reader: input.reader()?,
            format,
            ignore_unknown,
            header: Vec::new(),
            line: Vec::new(),
            lines: 0,
            first_line: 0,
        };
        if format.encoding() == Encoding::Csv {
            rows.read_header()?;
        }
        Ok(rows)
    }

    /// The line that the current row starts on.
    pub(super) const fn line(&self) -> u64 {
        self.first_line
    }

    /// Moves to the next row that is not blank; false at the end.
    pub(super) fn advance(&mut self) -> Result<bool, TraceError> {
        loop {
            self.line.clear();
            if !self.take_line()? {
                return Ok(false);
            }
            self.first_line = self.lines;
            if self.lines == 1 && self.line.starts_with(b"\xef\xbb\xbf") {
                self.line.drain(..3);
            }
            if !self.line.iter().all(u8::is_ascii_whitespace) {
                break;
            }
        }
        if self.format.encoding() == Encoding::Csv {
            self.join_quoted()?;
        }
        while self.line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            self.line.pop();
        }
        Ok(true)
    }

    /// Appends one line to the buffer.
    fn take_line(&mut self) -> Result<bool, TraceError> {
        let room = LINE_LIMIT - self.line.len() as u64;
        let read = (&mut self.reader).take(room + 1).read_until(b'\n', &mut self.line);
        self.lines += 1;
        match read {
            Err(error) => Err(self.fail(Problem::Unreadable(error))),
            Ok(0) => Ok(false),
            Ok(_) if self.line.len() as u64 > LINE_LIMIT => {
                self.first_line = self.lines;
                Err(self.fail(Problem::LineTooLong { limit: LINE_LIMIT }))
            }
            Ok(_) => Ok(true),
        }
    }

    /// A quoted CSV field may hold line ends: takes lines until every quote is closed.
    fn join_quoted(&mut self) -> Result<(), TraceError> {
        let mut counted = 0;
        let mut open = false;
        loop {
            open ^= memchr::memchr_iter(b'"', &self.line[counted..]).count() % 2 == 1;
            if !open {
                return Ok(());
            }
            counted = self.line.len();
            if !self.take_line()? {
                return Err(self.fail(Problem::OpenQuote));
            }
        }
    }

    fn read_header(&mut self) -> Result<(), TraceError> {
        if !self.advance()? {
            let problem = Problem::Empty { dropped: 0 };
            return Err(super::input::fail(&self.name, problem));
        }
        let text = self.text().map_err(|error| self.place(error))?;
        let names: Vec<String> = match unquoted(text) {
            Some(record) => record.iter().map(|name| name.trim().to_owned()).collect(),
            None => text.split(',').map(|name| name.trim().to_owned()).collect(),
        };
        let mut header = Vec::with_capacity(names.len());
        for (position, name) in (1..).zip(names) {
            let found = self.format.column(&name);
            let problem = match found {
                None if !self.ignore_unknown => self.unknown(),
                Some((field, _)) if field != Field::Ignored && header_has(&header, field) => {
                    Problem::DuplicateColumn
                }
                _ => {
                    header.push(found);
                    continue;
                }
            };
            let column = Some(Column::Csv { position, name: excerpt(&name) });
            return Err(self.place(RowError { column, problem }));
        }
        for spec in self.format.columns() {
            if spec.required && !header_has(&header, spec.field) {
                return Err(self.fail(Problem::MissingColumn { name: spec.names[0].to_owned() }));
            }
        }
        self.header = header;
        Ok(())
    }

    fn unknown(&self) -> Problem {
        let known: Vec<_> = self.format.columns().iter().map(|spec| spec.names[0]).collect();
        Problem::UnknownColumn { known: known.join(", ") }
    }

    fn text(&self) -> Result<&str, RowError> {
        std::str::from_utf8(&self.line).map_err(|error| RowError {
            column: Some(Column::Byte(position(error.valid_up_to()))),
            problem: Problem::NotUtf8,
        })
    }

    /// Hands the current row to `read`.
    pub(super) fn with_row<T>(
        &self,
        read: impl FnOnce(&Row<'_>) -> Result<T, RowError>,
    ) -> Result<T, RowError> {
        let text = self.text()?;
        match self.format.encoding() {
            Encoding::Jsonl => read(&self.json_row(text)?),
            Encoding::Csv => match unquoted(text) {
                Some(record) => read(&self.csv_row(record.iter())?),
                None => read(&self.csv_row(text.split(','))?),
            },
        }
    }

    fn csv_row<'a>(&self, fields: impl Iterator<Item = &'a str>) -> Result<Row<'a>, RowError> {
        let mut row = Row { encoding: Encoding::Csv, cells: [None; Field::COUNT] };
        let mut found = 0;
        for (index, text) in fields.enumerate() {
            found += 1;
            let Some(Some((field, name))) = self.header.get(index) else { continue };
            let text = text.trim();
            if !text.is_empty() {
                row.put(*field, Cell { text, name, position: position(index) })?;
            }
        }
        if found != self.header.len() {
            return Err(Problem::FieldCount { expected: self.header.len(), found }.into());
        }
        for (index, column) in self.header.iter().enumerate() {
            let Some((field, name)) = column else { continue };
            if self.is_required(*field) && row.cell(*field).is_none() {
                let cell = Cell { text: "", name, position: position(index) };
                return Err(row.at(&cell, Problem::MissingValue));
            }
        }
        Ok(row)
    }

    fn json_row<'a>(&self, text: &'a str) -> Result<Row<'a>, RowError> {
        let mut row = Row { encoding: Encoding::Jsonl, cells: [None; Field::COUNT] };
        let object = read_object(text)?;
        for (key, range) in object {
            let value = &text[range.clone()];
            let Some((field, name)) = self.format.column(&key) else {
                if self.ignore_unknown {
                    continue;
                }
                let column = Column::Json { position: position(range.start), name: excerpt(&key) };
                return Err(RowError { column: Some(column), problem: self.unknown() });
            };
            if value != "null" {
                row.put(field, Cell { text: value, name, position: position(range.start) })?;
            }
        }
        for spec in self.format.columns() {
            if spec.required && row.cell(spec.field).is_none() {
                return Err(Problem::MissingColumn { name: spec.names[0].to_owned() }.into());
            }
        }
        Ok(row)
    }

    fn is_required(&self, field: Field) -> bool {
        self.format.columns().iter().any(|spec| spec.required && spec.field == field)
    }

    /// `error` with the file and the line of the current row.
    pub(super) fn place(&self, error: RowError) -> TraceError {
        let RowError { column, problem } = error;
        let place = Place { file: self.name.clone(), line: Some(self.first_line), column };
        TraceError { place, problem }
    }

    fn fail(&self, problem: Problem) -> TraceError {
        self.place(problem.into())
    }
}

fn header_has(header: &[Option<(Field, &'static str)>], field: Field) -> bool {
    header.iter().flatten().any(|(known, _)| *known == field)
}

/// An index as a position that counts from 1.
fn position(index: usize) -> u32 {
    u32::try_from(index).map_or(u32::MAX, |index| index.saturating_add(1))
}

/// A text short enough to show in an error.
pub(super) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let mut short = String::new();
    for char in text.chars().take(CHARS_MAX) {
        if char.is_control() || char == char::REPLACEMENT_CHARACTER {
            short.extend(char.escape_debug());
        } else {
            short.push(char);
        }
    }
    if text.chars().nth(CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// The fields of a CSV record that has quotes; `None` for one that splits at its commas.
fn unquoted(text: &str) -> Option<csv::StringRecord> {
    memchr::memchr(b'"', text.as_bytes())?;
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(true) => Some(record),
        _ => None,
    }
}

/// The fields of a JSON object: their names and where in the line their values are.
type Fields<'a> = Vec<(Cow<'a, str>, Range<usize>)>;

/// A field name, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The names of a JSON object and where their values are in `text`.
pub(super) fn read_object(text: &str) -> Result<Fields<'_>, RowError> {
    struct Object<'t>(&'t str);

    impl<'de> Visitor<'de> for Object<'de> {
        type Value = Fields<'de>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::with_capacity(8);
            while let Some((Name(key), value)) = map.next_entry::<Name<'de>, &RawValue>()? {
                let value = value.get();
                // The value is a part of the text, so the difference of their addresses is its
                // place in the line.
                let start = (value.as_ptr().addr()).wrapping_sub(self.0.as_ptr().addr());
                let range = start..start.wrapping_add(value.len());
                if self.0.get(range.clone()) != Some(value) {
                    return Err(A::Error::custom("the value is not part of the line"));
                }
                fields.push((key, range));
            }
            Ok(fields)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(text);
    let fields = deserializer.deserialize_map(Object(text)).and_then(|fields| {
        deserializer.end()?;
        Ok(fields)
    });
    fields.map_err(|error| {
        let column = Some(Column::Byte(position(error.column().saturating_sub(1))));
        if error.is_eof() {
            return RowError { column, problem: Problem::TruncatedJson };
        }
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        RowError { column, problem: Problem::NotJson(message) }
    })
}
