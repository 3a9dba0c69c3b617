//! One file of the log as a stream of located rows and problems.

use std::io::{self, Read};
use std::marker::PhantomData;

use crate::log::ids::{Foresight, IdTable, RequestKey};
use crate::log::reader::header::Header;
use crate::log::reader::problem::{FormKind, FormProblem};
use crate::log::reader::splitter::{Ending, Record, Splitter};
use crate::log::reader::{Located, Location};
use crate::log::schema::{ColumnError, Layout, RawRecord, Row, Table};
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
    foresight: Foresight,
    rows: u64,
    ended: bool,
    kind: PhantomData<R>,
}

impl<R: Row, S: Read> TableReader<R, S> {
    /// Reads the header of `input`; its problems are in the [`Header`].
    pub fn new(input: S) -> Self {
        let mut splitter = Splitter::new(input);
        let header = read_header::<R, S>(&mut splitter);
        let ended = !header.usable;
        Self {
            splitter,
            header,
            foresight: Foresight::default(),
            rows: 0,
            ended,
            kind: PhantomData,
        }
    }

    /// As [`new`](Self::new), but reads every record the long way. What comes out is the same.
    pub fn without_short_cut(input: S) -> Self {
        let mut reader = Self::new(input);
        reader.header.ordinary = None;
        reader
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

    /// What is left of the stream, and the header.
    pub(super) fn into_parts(self) -> (Splitter<S>, Header) {
        (self.splitter, self.header)
    }

    /// How many rows were yielded so far.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The next row or problem; `None` at the end of the file.
    #[inline(always)]
    pub fn next(&mut self, ids: &mut IdTable) -> Option<Item<R>> {
        if self.ended {
            return None;
        }
        let item = next_item(&mut self.splitter, &self.header, &mut self.foresight, ids);
        match &item {
            Some(Item::Row(_)) => self.rows += 1,
            Some(Item::Problem(problem)) => self.ended = problem.kind.cuts_file(),
            None => self.ended = true,
        }
        item
    }
}

#[inline]
fn next_item<R: Row, S: Read>(
    splitter: &mut Splitter<S>,
    header: &Header,
    foresight: &mut Foresight,
    ids: &mut IdTable,
) -> Option<Item<R>> {
    if let Some(ours) = header.ordinary
        && let Some((row, name, line, offset)) = splitter.scan::<R>(ours)
    {
        let row = Located { row, line, offset };
        return Some(Item::Row(named(row, name, foresight, ids)));
    }
    match splitter.next_record() {
        Ok(Some(record)) => Some(read_row::<R>(&record, header, ids)),
        Ok(None) => None,
        Err(error) => Some(Item::Problem(Box::new(unreadable::<R>(&error)))),
    }
}

/// Puts the row's request, if it has one, in its place.
#[inline]
pub(super) fn named<R: Row>(
    mut row: Located<R>,
    name: &[u8],
    foresight: &mut Foresight,
    ids: &mut IdTable,
) -> Located<R> {
    if !name.is_empty() {
        row.row.set_request(foresight.key(name, ids));
    }
    row
}

pub(super) fn unreadable<R: Row>(error: &io::Error) -> FormProblem {
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
            if ends_lines_in_cr::<R>(&record) {
                return Header::absent(R::SCHEMA, FormKind::LineEnds);
            }
            // A cut header may lack columns and the end of a name: nothing of it says how the file
            // was written.
            if record.ending == Ending::EndOfFile && !is_other_than_text(&record) {
                let at = Location { table: R::SCHEMA.table, line: 1, offset: record.offset };
                let mut header = Header::absent(R::SCHEMA, FormKind::Truncated);
                header.problems = vec![FormProblem::of_record(at, FormKind::Truncated)];
                return header;
            }
            Header::read(R::SCHEMA, &record)
        }
        Ok(None) => Header::absent(R::SCHEMA, FormKind::Empty),
        Err(error) => Header::absent(R::SCHEMA, unreadable::<R>(&error).kind),
    }
}

/// Whether what was read as one line is a header and others behind it, with CR between them. A CR as its
/// last byte may be cut off from its LF.
fn ends_lines_in_cr<R: Row>(record: &Record<'_>) -> bool {
    let text = record.text();
    let name = record.field(0).and_then(|name| std::str::from_utf8(name).ok());
    text[..text.len().saturating_sub(1)].contains(&b'\r')
        && name.is_some_and(|name| R::SCHEMA.column(name).is_some())
}

/// Whether a file begins as no text in UTF-8 does: compressed, or in UTF-16.
fn is_other_than_text(record: &Record<'_>) -> bool {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    record.text().starts_with(&GZIP) || record.text().contains(&0)
}

#[inline]
pub(super) fn read_row<R: Row>(record: &Record<'_>, header: &Header, ids: &mut IdTable) -> Item<R> {
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
    // The fields without quotes, as far as there are any.
    let fields: Vec<&[u8]> = (0..record.len()).filter_map(|index| record.field(index)).collect();
    let text = fields.join(&b","[..]);
    let mut problem = FormProblem::of_record(location::<R>(record), kind).with_text(&text);
    // In a first row that goes on in a torn one stands whose the torn one was, and not whose is lost.
    let joined = record.ending == Ending::LineBreak && record.len() > header.len;
    let of_another = matches!(R::SCHEMA.table, Table::PerRequest | Table::Events);
    if record.line != FIRST_ROW || !joined || !of_another {
        salvage::<R>(&mut problem, record, &header.layout, ids);
    }
    problem
}

/// The line of the first row.
const FIRST_ROW: u64 = 2;

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
