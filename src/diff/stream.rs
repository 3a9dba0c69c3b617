//! One file of a log as rows of fields in the schema's order.

use std::collections::VecDeque;

use crate::diff::{DiffError, Side};
use crate::log::field::FieldError;
use crate::log::ids::IdTable;
use crate::log::reader::{
    FormKind, Input, Item, Location, LogDir, Splitter, TableFile, TableReader,
};
use crate::log::schema::{Layout, RawRecord, Row, Table};

/// A row: its place, its text and its fields.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) side: Side,
    pub(super) fields: csv::StringRecord,
    /// Empty where the row does not belong to one.
    pub(super) iteration: Option<u64>,
}

/// Reads the rows of one file.
pub(super) struct Stream<R> {
    reader: Option<TableReader<R, Input>>,
    file: Option<TableFile>,
    /// The file once more, from the first row on that has a word of its own.
    raw: Option<Splitter<Input>>,
    ids: IdTable,
    path: String,
    text: Vec<u8>,
    /// Rows that were looked at and not taken yet.
    ahead: VecDeque<Fields>,
}

impl<R: Row> Stream<R> {
    pub(super) fn open(directory: &LogDir) -> Result<Self, DiffError> {
        let file = directory.file(R::SCHEMA.table).cloned();
        let path = file.as_ref().map(|file| file.path.display().to_string());
        Ok(Self {
            reader: directory.reader::<R>()?,
            file,
            raw: None,
            ids: IdTable::default(),
            path: path.unwrap_or_default(),
            text: Vec::new(),
            ahead: VecDeque::new(),
        })
    }

    /// Whether the log has the file.
    pub(super) fn is_there(&self) -> bool {
        self.reader.is_some()
    }

    /// Whether the file has the column.
    pub(super) fn has(&self, column: usize) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.header().layout.has(column))
    }

    /// Takes the next row that both sides should have.
    pub(super) fn next(&mut self) -> Result<Option<Fields>, DiffError> {
        self.peek(0)?;
        Ok(self.ahead.pop_front())
    }

    /// The row `distance` rows behind the next one.
    pub(super) fn peek(&mut self, distance: usize) -> Result<Option<&Fields>, DiffError> {
        while self.ahead.len() <= distance {
            let Some(row) = self.read()? else { break };
            self.ahead.push_back(row);
        }
        Ok(self.ahead.get(distance))
    }

    /// Arrivals stand in the order of the clock, not of decisions: per_request.csv tells of them.
    fn read(&mut self) -> Result<Option<Fields>, DiffError> {
        loop {
            let Some(fields) = self.next_of_any_kind()? else { return Ok(None) };
            let is_arrival =
                R::SCHEMA.table == Table::Events && fields.fields.get(1) == Some("request_arrived");
            if !is_arrival {
                return Ok(Some(fields));
            }
        }
    }

    fn next_of_any_kind(&mut self) -> Result<Option<Fields>, DiffError> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        if !reader.header().usable {
            return Err(self.problem("its header cannot be used".to_owned()));
        }
        match reader.next(&mut self.ids) {
            None => Ok(None),
            Some(Item::Problem(problem)) => {
                let layout = reader.header().layout.clone();
                // A word that is not one of ours is a word all the same.
                let foreign = matches!(problem.kind, FormKind::Field(FieldError::Unknown(_)));
                if let Some(at) = problem.at.filter(|_| foreign)
                    && let Some(row) = self.as_it_stands(at, &layout)?
                {
                    return Ok(Some(row));
                }
                let place = problem.at.map_or_else(String::new, |at| format!("line {}: ", at.line));
                let column = problem.column.map_or_else(String::new, |name| format!("{name}: "));
                Err(self.problem(format!("{place}{column}{}", problem.kind)))
            }
            Some(Item::Row(row)) => {
                self.text.clear();
                row.row.write(&self.ids, &mut self.text);
                let text = String::from_utf8_lossy(&self.text).trim_end().to_owned();
                Ok(Some(fields::<R>(row.line, text)))
            }
        }
    }

    /// The row at a place, its fields as they stand there in the order of the schema.
    fn as_it_stands(&mut self, at: Location, layout: &Layout) -> Result<Option<Fields>, DiffError> {
        let Some(file) = &self.file else { return Ok(None) };
        let raw = match &mut self.raw {
            Some(raw) => raw,
            None => self.raw.insert(Splitter::new(file.open()?)),
        };
        loop {
            let record = raw.next_record().map_err(|error| DiffError::Form {
                path: self.path.clone(),
                problem: error.to_string(),
            })?;
            let Some(record) = record.filter(|record| record.offset <= at.offset) else {
                return Ok(None);
            };
            if record.offset < at.offset {
                continue;
            }
            let field = |position: &Option<usize>| {
                let bytes = position.and_then(|index| record.field(index)).unwrap_or_default();
                String::from_utf8_lossy(bytes).into_owned()
            };
            let fields: csv::StringRecord = layout.positions.iter().map(field).collect();
            let text = line_of(&fields);
            return Ok(Some(with_fields::<R>(at.line, text, fields)));
        }
    }

    fn problem(&self, problem: String) -> DiffError {
        DiffError::Form { path: self.path.clone(), problem }
    }
}

fn fields<R: Row>(line: u64, text: String) -> Fields {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut fields = csv::StringRecord::new();
    // It was written by the schema a moment ago: reading it back cannot fail.
    let _ = reader.read_record(&mut fields);
    with_fields::<R>(line, text, fields)
}

/// A record as a line of CSV.
fn line_of(fields: &csv::StringRecord) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory cannot fail.
    let _ = writer.write_record(fields);
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

fn with_fields<R: Row>(line: u64, text: String, fields: csv::StringRecord) -> Fields {
    let at = R::SCHEMA.column("iteration_id");
    let iteration = at.and_then(|at| fields.get(at)).and_then(|id| id.parse().ok());
    Fields { side: Side { line, text }, fields, iteration }
}
