//! The tables as Parquet.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schedlog::log::schema::Table;

use super::{export, read_with_python};
use crate::analyze::log_of;
use crate::dialects::with_all_habits;
use crate::golden::bundled;

/// A value as CSV would have it.
fn cell(batch: &RecordBatch, column: usize, row: usize) -> String {
    let array = batch.column(column);
    if array.is_null(row) {
        return String::new();
    }
    match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        _ => array.as_string::<i32>().value(row).to_owned(),
    }
}

fn read(directory: &Path, table: Table) -> Vec<RecordBatch> {
    let name = table.file_name().replace(".csv", ".parquet");
    let file = File::open(directory.join(name)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

#[test]
fn every_value_of_every_table_is_there() {
    for (name, _) in bundled() {
        let (log, place) = (log_of(&name), tempfile::tempdir().unwrap());
        let out = place.path().join("tables");
        assert!(export(log.path(), "parquet", &out).status.success());
        for table in Table::ALL {
            let mut reader = csv::Reader::from_path(log.path().join(table.file_name())).unwrap();
            let header: Vec<_> = reader.headers().unwrap().iter().map(str::to_owned).collect();
            let mut expected = reader.records().map(Result::unwrap);
            for batch in read(&out, table) {
                let schema = batch.schema();
                let names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
                assert_eq!(names, header.iter().collect::<Vec<_>>());
                for row in 0..batch.num_rows() {
                    let record = expected.next().unwrap();
                    for (column, text) in record.iter().enumerate() {
                        let found = cell(&batch, column, row);
                        let equal =
                            found == text || found.parse::<f64>().ok() == text.parse::<f64>().ok();
                        assert!(equal, "{name} {table} {column}: {found} {text}");
                    }
                }
            }
            assert_eq!(expected.next(), None, "{name} {table}");
        }
    }
}

#[test]
fn a_dialect_has_the_same_columns() {
    let (log, place) = (with_all_habits().write(), tempfile::tempdir().unwrap());
    let out = place.path().join("tables");
    assert!(export(log.path(), "parquet", &out).status.success());
    assert!(!out.join("state_transitions.parquet").exists());
    let batches = read(&out, Table::PerIteration);
    assert_eq!(batches[0].num_columns(), Table::PerIteration.schema().columns.len());
    let again = export(log.path(), "parquet", &out);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("not empty"));
}

#[test]
fn other_tools_read_it() {
    let (log, place) = (log_of("tiny-cache-preemption"), tempfile::tempdir().unwrap());
    let out = place.path().join("tables");
    assert!(export(log.path(), "parquet", &out).status.success());
    read_with_python(log.path(), out.to_str().unwrap(), "-");
}
