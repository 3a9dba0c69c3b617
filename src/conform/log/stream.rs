//! One file of a log, row by row, as far as its first run goes.

use crate::check::runs::Cuts;
use crate::conform::log::verdict::{Trouble, Void};
use crate::log::ids::IdTable;
use crate::log::reader::{FormKind, Input, Item, Located, LogDir, TableReader};
use crate::log::schema::Row;

/// A file with one row of look-ahead.
#[derive(Debug)]
pub(super) struct Stream<R> {
    reader: TableReader<R, Input>,
    pub(super) head: Option<Located<R>>,
    /// Rows that could not be read, but for a cut end.
    pub(super) lost: u64,
    /// The byte at which a second run begins, which is not read.
    cut: u64,
    /// Why the file ends before its end.
    pub(super) broken: Option<FormKind>,
}

impl<R: Row> Stream<R> {
    /// Opens a file.
    pub(super) fn open(dir: &LogDir, ids: &mut IdTable, cuts: &Cuts) -> Result<Self, Trouble> {
        let table = R::SCHEMA.table;
        let reader = dir.reader::<R>()?.ok_or(Void::NoFile(table))?;
        let header = reader.header();
        if let Some(problem) = header.problems.first().filter(|_| !header.usable) {
            // A fixed column that the dialect lacks is named before what is odd beside it.
            let fatal = FormKind::MissingColumn { fatal: true };
            let problem = header.problems.iter().find(|it| it.kind == fatal).unwrap_or(problem);
            let column = problem.column.map(|column| format!("{column}: ")).unwrap_or_default();
            let why = format!("{column}{}", problem.kind);
            return Err(Void::BadFile { table, why }.into());
        }
        let cut = cuts[table as usize].map_or(u64::MAX, |at| at.offset);
        let mut stream = Self { reader, head: None, lost: 0, cut, broken: None };
        stream.fill(ids);
        Ok(stream)
    }

    /// Whether the file has a column.
    pub(super) fn has(&self, name: &str) -> bool {
        let layout = &self.reader.header().layout;
        R::SCHEMA.column(name).is_some_and(|column| layout.has(column))
    }

    fn fill(&mut self, ids: &mut IdTable) {
        self.head = loop {
            match self.reader.next(ids) {
                Some(Item::Row(row)) if row.offset >= self.cut => break None,
                Some(Item::Row(row)) => break Some(row),
                Some(Item::Problem(problem)) => {
                    if problem.at.is_some_and(|at| at.offset >= self.cut) {
                        break None;
                    }
                    let kind = problem.kind;
                    self.lost += u64::from(kind.loses_row() && !kind.cuts_file());
                    if kind.cuts_file() {
                        self.broken = Some(kind);
                    }
                }
                None => break None,
            }
        };
    }

    pub(super) fn next_if(
        &mut self,
        ids: &mut IdTable,
        wanted: impl FnOnce(&R) -> bool,
    ) -> Option<Located<R>> {
        if !self.head.as_ref().is_some_and(|head| wanted(&head.row)) {
            return None;
        }
        let row = self.head.take();
        self.fill(ids);
        row
    }
}
