//! A header line to a layout, with everything that is odd about it.

use crate::log::reader::problem::{FormKind, FormProblem};
use crate::log::reader::splitter::Record;
use crate::log::schema::{Column, Group, Layout, RawRecord, TableSchema};

/// The header of one file.
#[derive(Clone, Debug)]
pub struct Header {
    /// Where the columns of the schema stand.
    pub layout: Layout,
    /// How many fields every record must have.
    pub len: usize,
    /// Names in the header that are aliases of the schema's.
    pub aliases: Vec<&'static str>,
    /// Whether the columns stand as the short cut needs them: the fixed ones in order, and behind
    /// them all others (true) or none (false).
    pub(super) ordinary: Option<bool>,
    /// Whether a row can be read at all.
    pub usable: bool,
    /// What is odd about it.
    pub problems: Vec<FormProblem>,
}

/// Fixed columns that some dialects leave out: `(file's column, nothing is wrong without it)`.
const DIALECT_OMITS: [&str; 3] =
    ["output_processing_duration", "kv_cache_memory_bytes", "priority_score"];

impl Header {
    /// The header of a file that has none.
    pub(super) fn absent(schema: &'static TableSchema, kind: FormKind) -> Self {
        Self {
            layout: Layout { positions: vec![None; schema.columns.len()] },
            len: 0,
            aliases: Vec::new(),
            ordinary: None,
            usable: false,
            problems: vec![FormProblem::of_file(schema.table, kind)],
        }
    }

    /// Reads a header.
    pub(super) fn read(schema: &'static TableSchema, record: &Record<'_>) -> Self {
        let mut header = Self {
            layout: Layout { positions: vec![None; schema.columns.len()] },
            len: record.len(),
            aliases: Vec::new(),
            ordinary: None,
            usable: true,
            problems: Vec::new(),
        };
        if let Some(separator) = other_separator(schema, record) {
            header.usable = false;
            let kind = FormKind::Separator(separator);
            header.problems.push(FormProblem::of_file(schema.table, kind));
            return header;
        }
        for index in 0..record.len() {
            header.place(schema, record.field(index).unwrap_or_default(), index);
        }
        header.find_missing(schema);
        header.check_order(schema);
        header.ordinary = header.ordinary_columns(schema);
        header
    }

    fn ordinary_columns(&self, schema: &'static TableSchema) -> Option<bool> {
        let (all, fixed) = (schema.columns.len(), schema.fixed_len());
        let stands = |index: usize| self.layout.positions[index] == Some(index);
        let ours = match self.len {
            len if len == all => true,
            len if len == fixed => false,
            _ => return None,
        };
        (0..self.len).all(stands).then_some(ours)
    }

    fn place(&mut self, schema: &'static TableSchema, name: &[u8], index: usize) {
        let known = std::str::from_utf8(name).ok().and_then(|text| schema.column(text));
        let problem = |kind| FormProblem::of_file(schema.table, kind).with_text(name);
        let Some(column) = known else {
            self.problems.push(problem(FormKind::UnknownColumn));
            return;
        };
        let declared = &schema.columns[column];
        if self.layout.positions[column].is_some() {
            let mut duplicate = problem(FormKind::DuplicateColumn);
            duplicate.column = Some(declared.name);
            self.problems.push(duplicate);
            return;
        }
        self.layout.positions[column] = Some(index);
        if name != declared.name.as_bytes() {
            self.aliases.extend(declared.alias);
        }
    }

    fn find_missing(&mut self, schema: &'static TableSchema) {
        for (index, column) in schema.columns.iter().enumerate() {
            if self.layout.has(index) || !is_required(column) {
                continue;
            }
            let fatal = !column.optional;
            self.usable &= !fatal;
            let mut problem = FormProblem::of_file(schema.table, FormKind::MissingColumn { fatal });
            problem.column = Some(column.name);
            self.problems.push(problem);
        }
    }

    /// The fixed columns that are there must stand first and in their order.
    fn check_order(&mut self, schema: &'static TableSchema) {
        let fixed: Vec<usize> =
            self.layout.positions[..schema.fixed_len()].iter().flatten().copied().collect();
        let in_order = fixed.iter().enumerate().all(|(expected, &found)| expected == found);
        let clean = self.problems.is_empty();
        if clean && !in_order {
            self.problems.push(FormProblem::of_file(schema.table, FormKind::ColumnOrder));
        }
    }
}

/// What separates the columns of a header without a comma, if that gives columns of the schema.
fn other_separator(schema: &'static TableSchema, record: &Record<'_>) -> Option<char> {
    if record.len() != 1 {
        return None;
    }
    let text = std::str::from_utf8(record.field(0)?).ok()?;
    let names = |separator: &char| {
        let unquoted = |name: &str| schema.column(name.trim().trim_matches('"')).is_some();
        text.split(*separator).filter(|name| unquoted(name)).count() > 1
    };
    [';', '\t', '|'].into_iter().find(names)
}

fn is_required(column: &Column) -> bool {
    column.group == Group::Fixed && !DIALECT_OMITS.contains(&column.name)
}
