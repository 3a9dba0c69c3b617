//! Opens the files of a log, each to be read by a thread if it is long enough for that.

use std::io;
use std::sync::Arc;

use crate::check::facts::LogFacts;
use crate::check::group::Groups;
use crate::check::runs::Runs;
use crate::log::reader::{
    Ahead, Input, Keyed, LogDir, LogDirError, Reading, Shared, StepRows, TableFile, TableReader,
    Threads,
};
use crate::log::schema::{IterationRequestRow, Row, Table};

/// Bytes of a file from which on a thread is worth its start.
const WORTH_A_THREAD: u64 = 1 << 20;
/// Bytes of a share of the rows of the steps. Of each share the first step is told row by row, and what is ready
/// is kept in memory.
const SHARE_BYTES: u64 = 4 << 20;

/// The file of a table if a thread may read it.
fn long_file(dir: &LogDir, table: Table) -> Option<&TableFile> {
    let file = dir.file(table).filter(|_| !dir.is_growing());
    file.filter(|file| file.stored_bytes() >= WORTH_A_THREAD)
}

/// What to say where the system has no thread to give.
fn no_thread(dir: &LogDir, table: Table) -> impl FnOnce(io::Error) -> LogDirError {
    let path = dir.path.join(table.file_name());
    |source| LogDirError::Unreadable { path, source }
}

/// A file with a little look-ahead.
pub(super) fn ahead<R: Row + Keyed + Send + 'static, const DEPTH: usize>(
    reader: Option<TableReader<R, Input>>,
    dir: &LogDir,
    runs: &Runs,
    shared: &mut Shared,
) -> Result<Ahead<R, Input, DEPTH>, LogDirError> {
    let table = R::SCHEMA.table;
    let cut = runs.cuts[table as usize];
    match long_file(dir, table) {
        Some(_) => Ahead::on_thread(reader, cut, shared).map_err(no_thread(dir, table)),
        None => Ok(Ahead::new(reader, cut, shared)),
    }
}

/// The rows of the steps. Of a finished file runs are read as such.
pub(super) fn step_rows(
    rows: Option<TableReader<IterationRequestRow, Input>>,
    dir: &LogDir,
    groups: &Groups,
    runs: &Runs,
    shared: &mut Shared,
) -> Result<StepRows<Input>, LogDirError> {
    let table = Table::PerIterationRequests;
    let cut = runs.cuts[table as usize];
    let wanted = groups.wants_runs().filter(|_| !dir.is_growing());
    let threads = match long_file(dir, table).map(TableFile::open).transpose()? {
        None => Threads::None,
        // One with a second run behind it is read up to there only.
        Some(Input::Plain(file)) if cut.is_none() => Threads::Shares(Arc::new(file), SHARE_BYTES),
        Some(_) => Threads::One,
    };
    let reading = Reading { runs: wanted, threads };
    StepRows::new(rows, reading, cut, shared).map_err(no_thread(dir, table))
}

/// What is odd about the header of a file of which nothing is the first run's.
pub(super) fn forget_headers(runs: &Runs, facts: &mut LogFacts, shared: &mut Shared) {
    let whole = |table: Table| runs.cuts[table as usize].is_some_and(|at| at.offset == 0);
    shared.problems.retain(|problem| !whole(problem.table));
    for table in Table::ALL.into_iter().filter(|table| whole(*table)) {
        facts.tables[table as usize].usable = false;
    }
}

pub(super) fn open_table<R: Row>(
    dir: &LogDir,
    facts: &mut LogFacts,
    shared: &mut Shared,
) -> Result<Option<TableReader<R, Input>>, LogDirError> {
    let reader = dir.reader::<R>()?;
    if let Some(reader) = &reader {
        let header = reader.header();
        let table = &mut facts.tables[R::SCHEMA.table as usize];
        table.usable = header.usable;
        table.layout = Some(header.layout.clone());
        shared.problems.extend(header.problems.iter().cloned());
    }
    Ok(reader.filter(|reader| reader.header().usable))
}
