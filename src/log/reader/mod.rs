//! Reading a log directory: any bytes in, located rows and located problems out.
//!
//! Nothing here judges a log. A file that cannot be read as CSV of its table yields
//! [`FormProblem`]s beside the rows that could be read; the rules decide what they mean.

mod ahead;
mod batches;
mod dir;
mod echo;
mod filled;
mod growing;
mod gzip;
mod header;
mod instead;
mod problem;
mod remote;
mod shares;
mod splitter;
mod steps;
mod table;

pub use ahead::{Ahead, Keyed, Shared};
pub use dir::{Input, LogDir, LogDirError, TableFile};
pub use echo::{Run, echo};
pub use growing::{Growing, Horizon};
pub use gzip::Gzip;
pub use header::Header;
pub use problem::{FormKind, FormProblem};
pub use splitter::{Ending, MAX_RECORD_BYTES, Record, Splitter};
pub use steps::{Piece, Reading, StepRows, Threads};
pub use table::{Item, TableReader};

use crate::log::schema::{Row, Table};

/// Where a record begins in one file of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The file.
    pub table: Table,
    /// The line, counted from 1 (the header).
    pub line: u64,
    /// The byte in the (uncompressed) file.
    pub offset: u64,
}

/// A row and where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Located<R> {
    /// The row.
    pub row: R,
    /// Its first line, counted from 1 (the header).
    pub line: u64,
    /// Its first byte in the (uncompressed) file.
    pub offset: u64,
}

impl<R: Row> Located<R> {
    /// Where the row stands.
    #[must_use]
    pub const fn at(&self) -> Location {
        Location { table: R::SCHEMA.table, line: self.line, offset: self.offset }
    }
}

impl<R> std::ops::Deref for Located<R> {
    type Target = R;
    fn deref(&self) -> &R {
        &self.row
    }
}
