//! The five tables as Parquet files, for data frames and SQL.
//!
//! Columns have the names and the order of the log's own; a column that a dialect lacks is there and
//! null, so that the same query reads every log. Undefined values are null.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{ArrayBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field as ArrowField, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::export::{ExportError, NewDirectory};
use crate::log::ids::IdTable;
use crate::log::reader::{Input, Item, LogDir, TableReader};
use crate::log::schema::{
    Column, EventRow, IterationRequestRow, IterationRow, RequestRow, Row, TableSchema,
    TransitionRow,
};

/// Rows that are handed to the writer at once.
const BATCH_ROWS: usize = 8_192;
/// Rows of a row group: what is in memory at a time.
const GROUP_ROWS: usize = 131_072;

/// Writes a directory with a Parquet file per table that the log has.
///
/// # Errors
/// If the directory is not a log, `out` is not a new or empty directory, or a file cannot be
/// written; then there is no directory.
pub fn export(log: &Path, out: &Path) -> Result<(), ExportError> {
    let dir = LogDir::open(log)?;
    let place = NewDirectory::create(out)?;
    table::<RequestRow>(&dir, place.temporary())?;
    table::<IterationRow>(&dir, place.temporary())?;
    table::<IterationRequestRow>(&dir, place.temporary())?;
    table::<EventRow>(&dir, place.temporary())?;
    table::<TransitionRow>(&dir, place.temporary())?;
    place.finish()
}

fn form(schema: &TableSchema) -> impl Fn(String) -> ExportError {
    let table = schema.file_name;
    move |message| ExportError::Form { table, message }
}

fn table<R: Row>(dir: &LogDir, out: &Path) -> Result<(), ExportError> {
    let Some(reader) = dir.reader::<R>()? else { return Ok(()) };
    let schema = R::SCHEMA;
    let error = form(schema);
    let name = schema.file_name.trim_end_matches(".csv");
    let path = out.join(format!("{name}.parquet"));
    let file = File::create_new(&path).map_err(ExportError::io(&path))?;
    let arrow = Arc::new(Schema::new(schema.columns.iter().map(field).collect::<Vec<_>>()));
    let producer = dir.run_info.as_ref().map(|info| info.producer.name.clone());
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_key_value_metadata(Some(vec![KeyValue::new("producer".to_owned(), producer)]))
        .build();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&arrow), Some(properties))
        .map_err(|problem| error(problem.to_string()))?;
    let mut rows = Rows { reader, builders: schema.columns.iter().map(Builder::of).collect() };
    loop {
        let columns = rows.batch(schema)?;
        if columns.first().is_none_or(|column| column.is_empty()) {
            break;
        }
        let batch = RecordBatch::try_new(Arc::clone(&arrow), columns)
            .map_err(|problem| error(problem.to_string()))?;
        writer.write(&batch).map_err(|problem| error(problem.to_string()))?;
    }
    writer.close().map_err(|problem| error(problem.to_string()))?;
    Ok(())
}

fn field(column: &Column) -> ArrowField {
    ArrowField::new(column.name, data_type(column), column.optional)
}

/// The type of a column, by what the schema says it holds.
fn data_type(column: &Column) -> DataType {
    match column.kind {
        // Signed, because differences of unsigned columns wrap around in most tools.
        "nanoseconds" | "tokens" | "blocks" | "requests" | "ordinal" | "bytes" | "count"
        | "index" | "priority" => DataType::Int64,
        "decimal" => DataType::Float64,
        _ => DataType::Utf8,
    }
}

/// Gathers the values of one column.
enum Builder {
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
}

impl Builder {
    fn of(column: &Column) -> Self {
        match data_type(column) {
            DataType::Int64 => Self::Int(Int64Builder::new()),
            DataType::Float64 => Self::Float(Float64Builder::new()),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    /// Adds the value that stands in a CSV field.
    fn push(&mut self, text: &str) -> Result<(), String> {
        let number = |error: &dyn std::fmt::Display| format!("{text}: {error}");
        match self {
            Self::Int(builder) if text.is_empty() => builder.append_null(),
            Self::Int(builder) => {
                builder.append_value(text.parse().map_err(|error| number(&error))?);
            }
            Self::Float(builder) if text.is_empty() => builder.append_null(),
            Self::Float(builder) => {
                builder.append_value(text.parse().map_err(|error| number(&error))?);
            }
            Self::Text(builder) if text.is_empty() => builder.append_null(),
            Self::Text(builder) => builder.append_value(text),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Int(builder) => ArrayBuilder::finish(builder),
            Self::Float(builder) => ArrayBuilder::finish(builder),
            Self::Text(builder) => ArrayBuilder::finish(builder),
        }
    }
}

/// The rows of a table in batches.
struct Rows<R> {
    reader: TableReader<R, Input>,
    builders: Vec<Builder>,
}

impl<R: Row> Rows<R> {
    /// The columns of the next rows; empty ones at the end. Rows that cannot be read are left out.
    fn batch(&mut self, schema: &'static TableSchema) -> Result<Vec<ArrayRef>, ExportError> {
        // A fresh table of ids per batch keeps memory from growing with the log.
        let mut ids = IdTable::default();
        let mut text = Vec::new();
        let mut rows = 0;
        while rows < BATCH_ROWS {
            match self.reader.next(&mut ids) {
                Some(Item::Row(row)) => row.row.write(&ids, &mut text),
                Some(Item::Problem(_)) => continue,
                None => break,
            }
            rows += 1;
        }
        self.read(&text).map_err(|problem| form(schema)(problem.to_string()))?;
        Ok(self.builders.iter_mut().map(Builder::finish).collect())
    }

    /// Reads rows in the reference format, whatever the dialect that they were written in.
    fn read(&mut self, text: &[u8]) -> io::Result<()> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text);
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record)? {
            for (builder, text) in self.builders.iter_mut().zip(&record) {
                builder.push(text).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }
}
