//! What can be wrong with the form of a file, as data.

use std::fmt;

use crate::log::field::FieldError;
use crate::log::ids::RequestKey;
use crate::log::reader::Location;
use crate::log::schema::Table;
use crate::units::{IterationId, Nanos};

/// One thing that is wrong with the form of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormProblem {
    /// The file.
    pub table: Table,
    /// The record, if it is one record's problem.
    pub at: Option<Location>,
    /// The column, if it is one column's problem.
    pub column: Option<&'static str>,
    /// What is wrong.
    pub kind: FormKind,
    /// The text that is wrong, shortened.
    pub text: Option<String>,
    /// The request of an unreadable row, as far as it could be told and is known already.
    pub request: Option<RequestKey>,
    /// What stands where the id of a request would, if no request of that id is known yet.
    pub stranger: Option<String>,
    /// The iteration of an unreadable row, as far as it could be told.
    pub iteration: Option<IterationId>,
}

/// The kinds of form problems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormKind {
    /// The file is not there.
    MissingFile {
        /// What is there in its place, and what to do about it.
        instead: Option<String>,
    },
    /// What has its name is no file.
    NoFile,
    /// The file has no header.
    Empty,
    /// The file is there twice, plain and as gzip; the plain one is read.
    Twice,
    /// The fields are not separated by commas.
    Separator(char),
    /// The lines end in CR, without LF.
    LineEnds,
    /// A fixed column is missing; `fatal` if no row can be read without it.
    MissingColumn {
        /// Whether the file cannot be used without it.
        fatal: bool,
    },
    /// A column that no log of this family has.
    UnknownColumn,
    /// A column stands twice; the first one is read.
    DuplicateColumn,
    /// The fixed columns do not stand first and in their order.
    ColumnOrder,
    /// A record with too few or too many fields.
    FieldCount {
        /// The fields of the header.
        expected: usize,
        /// The fields of the record.
        found: usize,
    },
    /// A field that is not a value of its column.
    Field(FieldError),
    /// A quote that is never closed.
    UnclosedQuote,
    /// A record longer than any log's.
    Oversized,
    /// The file ends inside a record.
    Truncated,
    /// The file cannot be read on from here.
    Unreadable(String),
    /// Bytes of the file are wrong, nothing tells which: it is not read.
    Spoiled(String),
    /// A 0 where the value is undefined.
    ZeroForUndefined,
    /// A request id that another row of per_request.csv has already.
    DuplicateId,
    /// A second run was appended: its rows are not read.
    SecondRun {
        /// Per table: where it begins.
        cuts: [Option<Location>; 5],
    },
    /// The file was appended to itself: its second half is not read.
    Doubled,
    /// A row of an end that is earlier than one before it.
    OutOfOrder {
        /// The end, if it is one.
        at: Option<Nanos>,
        /// The later one before it; none if that request was not over.
        before: Option<Nanos>,
    },
}

impl FormProblem {
    /// A problem of a whole file.
    #[must_use]
    pub const fn of_file(table: Table, kind: FormKind) -> Self {
        Self {
            table,
            at: None,
            column: None,
            kind,
            text: None,
            request: None,
            stranger: None,
            iteration: None,
        }
    }

    /// A problem of one record.
    #[must_use]
    pub const fn of_record(at: Location, kind: FormKind) -> Self {
        Self {
            table: at.table,
            at: Some(at),
            column: None,
            kind,
            text: None,
            request: None,
            stranger: None,
            iteration: None,
        }
    }

    /// The problem with the text that shows it.
    #[must_use]
    pub fn with_text(mut self, text: &[u8]) -> Self {
        const SHOWN: usize = 80;
        let mut shown = String::from_utf8_lossy(&text[..text.len().min(SHOWN)]).into_owned();
        if text.len() > SHOWN {
            shown.push('…');
        }
        self.text = Some(shown);
        self
    }
}

impl FormKind {
    /// Whether the problem cost a row that the file would otherwise have.
    #[must_use]
    pub const fn loses_row(&self) -> bool {
        matches!(
            self,
            Self::FieldCount { .. }
                | Self::Field(_)
                | Self::UnclosedQuote
                | Self::Oversized
                | Self::Truncated
                | Self::Unreadable(_)
                | Self::Spoiled(_)
        )
    }
}

impl FormKind {
    /// Whether no row of the file can be read because of it.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Empty | Self::Separator(_) | Self::LineEnds | Self::MissingColumn { fatal: true }
        ) || self.cuts_file()
    }

    /// Whether nothing of the file can be read behind it.
    #[must_use]
    pub const fn cuts_file(&self) -> bool {
        matches!(self, Self::Truncated | Self::Unreadable(_) | Self::Spoiled(_))
    }
}

impl fmt::Display for FormKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingFile { instead: None } => f.write_str("the file is not there"),
            Self::MissingFile { instead: Some(instead) } => {
                write!(f, "the file is not there; {instead}")
            }
            Self::NoFile => f.write_str(
                "what has this name is no file (a directory, a pipe, a device or a link to nothing), so \
                 nothing was read",
            ),
            Self::Empty => f.write_str("the file has no header"),
            Self::Twice => f.write_str(
                "the file is there twice, plain and with .gz: the plain one was read; remove the other",
            ),
            Self::Separator(separator) => {
                let name = match separator {
                    ';' => "semicolons",
                    '\t' => "tabs",
                    _ => "bars",
                };
                write!(
                    f,
                    "the fields are separated by {name}, not by commas, so no row can be read; \
                     write the file anew with commas"
                )
            }
            Self::LineEnds => f.write_str(
                "the lines end in CR alone, not in LF or CR LF, so no row can be read; write LF, or \
                 convert the file with `tr '\\r' '\\n'`",
            ),
            Self::MissingColumn { fatal: true } => {
                f.write_str("a column is missing without which no row can be read")
            }
            Self::MissingColumn { fatal: false } => f.write_str("a fixed column is missing"),
            Self::UnknownColumn => f.write_str("the column is not one of the log's"),
            Self::DuplicateColumn => f.write_str("the column stands twice"),
            Self::ColumnOrder => {
                f.write_str("the fixed columns do not stand first and in their order")
            }
            Self::FieldCount { expected, found } => {
                write!(f, "the row has {found} fields, the header {expected}")
            }
            Self::Field(error) => write!(f, "the field {error}"),
            Self::UnclosedQuote => f.write_str("a quote is never closed"),
            Self::Oversized => f.write_str("the record is longer than any row of a log"),
            Self::Truncated => f.write_str("the file ends inside this row"),
            Self::Unreadable(error) => write!(f, "the file cannot be read on: {error}"),
            Self::Spoiled(error) => {
                write!(f, "bytes of the file are wrong, so none of its rows is judged: {error}")
            }
            Self::ZeroForUndefined => f.write_str("0 stands where the value is undefined"),
            Self::SecondRun { .. } => f.write_str("a second run was appended"),
            Self::Doubled => f.write_str(
                "all rows stand in the file once more from here on: it was appended to itself, and the \
                 second half is not checked",
            ),
            Self::OutOfOrder { before: Some(_), .. } => {
                f.write_str("the end is earlier than that of the row before")
            }
            Self::OutOfOrder { .. } => {
                f.write_str("a request that is over stands behind one that is not")
            }
            Self::DuplicateId => f.write_str("the request id has a row already"),
        }
    }
}
