//! What can be wrong with a trace: where, what, and what to do about it.

use std::fmt;
use std::io;

use super::MAX_LENGTH;
use super::summary::DropReason;
use crate::units::counted;

/// A trace that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}\n  help: {}", .problem.remedy())]
pub struct TraceError {
    /// Where.
    pub place: Place,
    /// What is wrong there.
    pub problem: Problem,
}

/// A place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named, or `<stdin>`.
    pub file: String,
    /// The line, counted from 1.
    pub line: Option<u64>,
    /// The column.
    pub column: Option<Column>,
}

/// A column of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// A CSV column.
    Csv {
        /// Counted from 1.
        position: u32,
        /// As in the header.
        name: String,
    },
    /// A JSON field.
    Json {
        /// The byte of the line where its value starts, counted from 1.
        position: u32,
        /// The field's name.
        name: String,
    },
    /// A byte of the line, counted from 1.
    Byte(u32),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match &self.column {
            Some(Column::Csv { position, name }) => write!(f, ": column {position} (`{name}`)"),
            Some(Column::Json { position, name }) => write!(f, ":{position}: field `{name}`"),
            Some(Column::Byte(position)) => write!(f, ":{position}"),
            None => Ok(()),
        }
    }
}

/// What is wrong with a trace.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be opened or read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// A standard input that does not fit in memory.
    #[error("standard input holds more than {} GiB", .limit >> 30)]
    StdinTooLarge {
        /// The most bytes taken.
        limit: u64,
    },
    /// No rows, or none left.
    #[error("the trace has no requests{}", if *.dropped == 0 { String::new() } else { format!(": {} left out", counted(*.dropped, "row was", "rows were")) })]
    Empty {
        /// Rows that were read and left out.
        dropped: u64,
    },
    /// The content is of no known format.
    #[error("the format is not known from the content; it starts with {start}")]
    UnknownFormat {
        /// The start of the first line.
        start: String,
    },
    /// A format that is known by sight, but not read.
    #[error("{what} is not read")]
    Unsupported {
        /// The format.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A unit for timestamps that are dates.
    #[error("the timestamps are dates and have no unit")]
    UnitOfDates,
    /// A hash block size of nothing.
    #[error("the hash block size must be at least 1")]
    ZeroHashBlock,
    /// A line that does not end.
    #[error("the line is longer than {} MiB", .limit >> 20)]
    LineTooLong {
        /// The most bytes of a line.
        limit: u64,
    },
    /// Bytes that are not text.
    #[error("not UTF-8 text")]
    NotUtf8,
    /// A line that ends inside its JSON value.
    #[error("the line ends inside a JSON object")]
    TruncatedJson,
    /// A line that is not a JSON object.
    #[error("not a JSON object: {0}")]
    NotJson(String),
    /// A quoted CSV field that does not end.
    #[error("a quoted field is not closed")]
    OpenQuote,
    /// A column that the format does not have.
    #[error("the format has no such column")]
    UnknownColumn {
        /// The columns of the format.
        known: String,
    },
    /// A column that occurs twice.
    #[error("the column is given twice")]
    DuplicateColumn,
    /// A column that the header or the row lacks.
    #[error("column `{name}` is missing")]
    MissingColumn {
        /// The column.
        name: String,
    },
    /// A row without a value where one is needed.
    #[error("the value is missing")]
    MissingValue,
    /// A row with more or fewer fields than the header.
    #[error("{found} fields where the header has {expected}")]
    FieldCount {
        /// Fields of the header.
        expected: usize,
        /// Fields of the row.
        found: usize,
    },
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A number below zero.
    #[error("negative: {0}")]
    Negative(String),
    /// A number that is too large.
    #[error("too large: {found} (at most {max})")]
    TooLarge {
        /// What is there.
        found: String,
        /// The largest number taken.
        max: u64,
    },
    /// A request without a prompt.
    #[error("a request needs at least one prompt token")]
    ZeroInput,
    /// A request that may not produce anything.
    #[error("a limit of 0 output tokens")]
    ZeroMaxTokens,
    /// A name given twice.
    #[error("request id `{id}` is already taken by line {first}")]
    DuplicateId {
        /// The name.
        id: String,
        /// The line of its first use.
        first: u64,
    },
    /// A number of hash ids that does not fit the prompt.
    #[error(
        "{} for {}, but blocks of {block} need {expected}",
        counted(*.found, "hash id", "hash ids"),
        counted(u64::from(*.input), "prompt token", "prompt tokens")
    )]
    HashIdCount {
        /// Hash ids of the row.
        found: u64,
        /// Hash ids that the prompt needs.
        expected: u64,
        /// Prompt tokens.
        input: u32,
        /// The hash block size in force.
        block: u32,
        /// A block size that fits this row.
        fits: Option<u32>,
    },
    /// A number of token ids that does not fit the prompt.
    #[error(
        "{} for {}",
        counted(*.found, "token id", "token ids"),
        counted(u64::from(*.input), "prompt token", "prompt tokens")
    )]
    TokenIdCount {
        /// Token ids of the row.
        found: u64,
        /// Prompt tokens.
        input: u32,
    },
    /// A row without a time of arrival.
    #[error("neither a timestamp nor a session's delay")]
    NoArrival,
    /// A pause after nothing.
    #[error("a delay without a session_id")]
    DelayWithoutSession,
    /// A turn that nothing precedes.
    #[error("session `{session}` has no earlier turn that this delay could follow")]
    FirstTurnHasDelay {
        /// The session.
        session: String,
    },
    /// A slow-down that leaves the range of time.
    #[error("an arrival or pause of {time} ns divided by the rate scale exceeds 292 years")]
    TooSlow {
        /// The time as recorded, in nanoseconds.
        time: u64,
    },
    /// More rows than requests can be numbered.
    #[error("more than 2^32 rows")]
    TooManyRows,
    /// A second reading that differs from the first.
    #[error("the file changed while it was read")]
    Changed,
}

impl Problem {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let fixed = match self {
            Self::Unreadable(error) => unreadable_remedy(error),
            Self::StdinTooLarge { .. } => "save it to a file and name the file",
            Self::Empty { dropped: 0 } => "check that the file is the one you meant",
            Self::Empty { .. } => "see the counts by reason; --keep-failed keeps failed requests",
            Self::UnknownFormat { .. } => {
                "name it with --trace-format, or give a CSV header \
                 with timestamp, input_length and output_length"
            }
            Self::Unsupported { remedy, .. } => remedy,
            Self::UnitOfDates => "leave out --time-unit",
            Self::ZeroHashBlock => "give the number of prompt tokens per hash id, such as 512",
            Self::LineTooLong { .. } => "one request per line; check that the file is a trace",
            Self::NotUtf8 => "re-encode the file as UTF-8",
            Self::TruncatedJson => "restore or remove the line, or pass --skip-invalid",
            Self::NotJson(_) => "one JSON object per line; fix the line or pass --skip-invalid",
            Self::OpenQuote => "close the quote, or double a quote inside a quoted field",
            Self::UnknownColumn { known, .. } => {
                return format!("known are {known}; remove it or pass --ignore-unknown");
            }
            Self::DuplicateColumn => "keep one of them; aliases count as the same column",
            Self::MissingColumn { .. } => "add the column, or name the right --trace-format",
            Self::MissingValue | Self::FieldCount { .. } | Self::WrongType { .. } => {
                "fix the row or pass --skip-invalid"
            }
            Self::Negative(_) | Self::ZeroMaxTokens => "fix the row or pass --skip-invalid",
            Self::TooLarge { .. } => "fix the row (or the unit), or pass --skip-invalid",
            Self::ZeroInput => "fix the row or pass --skip-invalid",
            Self::DuplicateId { .. } => "make the ids unique, or pass --skip-invalid",
            Self::HashIdCount { fits, .. } => return hash_block_remedy(*fits),
            Self::TokenIdCount { .. } => "give one id per prompt token, or none at all",
            Self::NoArrival => "give a timestamp, or a session_id and a delay",
            Self::DelayWithoutSession => "name the session, or remove the delay",
            Self::FirstTurnHasDelay { .. } => "give the first turn of a session a timestamp",
            Self::TooSlow { .. } => "give a larger --rate-scale",
            Self::TooManyRows => "split the trace, or pass --limit",
            Self::Changed => "read a file that nothing writes to",
        };
        fixed.to_owned()
    }

    /// The reason under which a row with this problem is counted; `None` where the problem is not
    /// one of a single row.
    pub(super) const fn drop_reason(&self) -> Option<DropReason> {
        Some(match self {
            Self::NotUtf8 => DropReason::NotUtf8,
            Self::TruncatedJson | Self::NotJson(_) => DropReason::NotJson,
            Self::FieldCount { .. } => DropReason::FieldCount,
            Self::UnknownColumn { .. } | Self::DuplicateColumn => DropReason::UnknownColumn,
            Self::MissingColumn { .. } | Self::MissingValue | Self::NoArrival => {
                DropReason::MissingValue
            }
            Self::WrongType { .. } => DropReason::WrongType,
            Self::Negative(_) | Self::TooLarge { .. } => DropReason::OutOfRange,
            Self::ZeroInput | Self::ZeroMaxTokens => DropReason::OutOfRange,
            Self::DuplicateId { .. } => DropReason::DuplicateId,
            Self::HashIdCount { .. } | Self::TokenIdCount { .. } => DropReason::HashIds,
            Self::DelayWithoutSession | Self::FirstTurnHasDelay { .. } => DropReason::Session,
            _ => return None,
        })
    }
}

fn unreadable_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "make the file readable",
        io::ErrorKind::IsADirectory => "name a file, not a directory",
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            "the compressed file is damaged or cut off; fetch it again"
        }
        _ => "check the file and the device that it is on",
    }
}

fn hash_block_remedy(fits: Option<u32>) -> String {
    match fits {
        Some(block) => format!("--hash-block-size {block} fits this row"),
        None => "no block size fits this row; fix hash_ids or pass --skip-invalid".to_owned(),
    }
}

/// The largest length a trace may have, as an error states it.
pub(super) const LENGTH_MAX: u64 = MAX_LENGTH as u64;
