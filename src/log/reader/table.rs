//! One file of the log as a stream of located rows and problems.

use std::io::{self, Read};
use std::marker::PhantomData;

use crate::log::ids::{IdTable, RequestKey};
use crate::log::reader::header::Header;
use crate::log::reader::problem::{FormKind, FormProblem};
use crate::log::reader::splitter::{Ending, Record, Splitter};
use crate::log::reader::{Located, Location};
use crate::log::schema::{ColumnError, Layout, RawRecord, Row};
use crate::units::IterationId;

/// The longest text that is taken for an id in a row that cannot be read.
const MAX_STRANGER_BYTES: usize = 200;

/// What a file yields next.
#[derive(Debug)]
pub enum Item<R> {
    /// A row.
    Row(Located<R>),
    /// Something that is not a row.
    Problem(Box<FormProblem>),
}

/// Streams the rows of one file.
#[derive(Debug)]
pub struct TableReader<R, S> {
    splitter: Splitter<S>,
    header: Header,
    rows: u64,
    ended: bool,
    row: PhantomData<R>,
}

impl<R: Row, S: Read> TableReader<R, S> {
    /// Reads the header of `input`; its problems are in the [`Header`].
    pub fn new(input: S) -> Self {
        let mut splitter = Splitter::new(input);
        let header = read_header::<R, S>(&mut splitter);
        let ended = !header.usable;
        Self { splitter, header, rows: 0, ended, row: PhantomData }
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Goes on behind what was the end of the file when it was last read.
    pub const fn resume(&mut self) {
        self.ended = !self.header.usable;
        self.splitter.resume();
    }

    /// How many rows were yielded so far.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The next row or problem; `None` at the end of the file.
    #[inline]
    pub fn next(&mut self, ids: &mut IdTable) -> Option<Item<R>> {
        if self.ended {
            return None;
        }
        match self.splitter.next_record() {
            Ok(Some(record)) => {
                let item = read_row::<R>(&record, &self.header, ids);
                if record.ending == Ending::EndOfFile {
                    self.ended = true;
                }
                self.rows += u64::from(matches!(item, Item::Row(_)));
                Some(item)
            }
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = true;
                Some(Item::Problem(Box::new(unreadable::<R>(&error))))
            }
        }
    }
}

fn unreadable<R: Row>(error: &io::Error) -> FormProblem {
    // A compressed file that ends too early is a truncated file.
    let kind = match error.kind() {
        io::ErrorKind::UnexpectedEof => FormKind::Truncated,
        _ => FormKind::Unreadable(error.to_string()),
    };
    FormProblem::of_file(R::SCHEMA.table, kind)
}

fn read_header<R: Row, S: Read>(splitter: &mut Splitter<S>) -> Header {
    let record = match splitter.skip_bom() {
        Ok(()) => splitter.next_record(),
        Err(error) => Err(error),
    };
    match record {
        Ok(Some(record)) => {
            let mut header = Header::read(R::SCHEMA, &record);
            if record.ending == Ending::EndOfFile {
                let at = Location { table: R::SCHEMA.table, line: 1, offset: record.offset };
                header.problems.push(FormProblem::of_record(at, FormKind::Truncated));
            }
            header
        }
        Ok(None) => Header::absent(R::SCHEMA, FormKind::Empty),
        Err(error) => Header::absent(R::SCHEMA, unreadable::<R>(&error).kind),
    }
}

#[inline]
fn read_row<R: Row>(record: &Record<'_>, header: &Header, ids: &mut IdTable) -> Item<R> {
    if record.ending == Ending::LineBreak && record.len() == header.len {
        match R::parse(record, &header.layout, ids) {
            Ok(row) => {
                return Item::Row(Located { row, line: record.line, offset: record.offset });
            }
            Err(error) => {
                return Item::Problem(Box::new(bad_field::<R>(record, header, ids, error)));
            }
        }
    }
    Item::Problem(Box::new(bad_record::<R>(record, header, ids)))
}

#[cold]
fn bad_field<R: Row>(
    record: &Record<'_>,
    header: &Header,
    ids: &mut IdTable,
    error: ColumnError,
) -> FormProblem {
    let text =
        header.layout.positions[error.column].and_then(|i| record.field(i)).unwrap_or_default();
    let mut problem =
        FormProblem::of_record(location::<R>(record), FormKind::Field(error.error)).with_text(text);
    problem.column = Some(R::SCHEMA.columns[error.column].name);
    salvage::<R>(&mut problem, record, &header.layout, ids);
    problem
}

#[cold]
fn bad_record<R: Row>(record: &Record<'_>, header: &Header, ids: &mut IdTable) -> FormProblem {
    let kind = match record.ending {
        Ending::LineBreak => FormKind::FieldCount { expected: header.len, found: record.len() },
        Ending::EndOfFile => FormKind::Truncated,
        Ending::UnclosedQuote => FormKind::UnclosedQuote,
        Ending::Oversized => FormKind::Oversized,
    };
    let mut problem = FormProblem::of_record(location::<R>(record), kind).with_text(record.text());
    salvage::<R>(&mut problem, record, &header.layout, ids);
    problem
}

fn location<R: Row>(record: &Record<'_>) -> Location {
    Location { table: R::SCHEMA.table, line: record.line, offset: record.offset }
}

/// Tells whose row was lost, if the record still says it: a request that is known already, or else
/// the text that may become known later.
fn salvage<R: Row>(problem: &mut FormProblem, record: &Record<'_>, layout: &Layout, ids: &IdTable) {
    let text = |name: &str| {
        let column = R::SCHEMA.columns.iter().position(|column| column.name == name)?;
        std::str::from_utf8(record.field(layout.positions[column]?)?).ok()
    };
    let request: Option<RequestKey> = text("request_id").and_then(|id| ids.get(id));
    problem.request = request;
    if request.is_none() {
        problem.stranger = text("request_id")
            .filter(|id| !id.is_empty() && id.len() <= MAX_STRANGER_BYTES)
            .map(str::to_owned);
    }
    problem.iteration = text("iteration_id").and_then(|id| id.parse().ok()).map(IterationId);
}
