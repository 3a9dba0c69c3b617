//! What must hold of any bytes. `cargo fuzz` looks for bytes of which it does not, and `cargo test`
//! tries those in `corpus/`.

use std::fmt::Debug;
use std::path::Path;

use schedlog::check::{CheckOptions, check_dir};
use schedlog::log::ids::IdTable;
use schedlog::log::reader::{Item, TableReader};
use schedlog::log::schema::{
    EventRow, IterationRequestRow, IterationRow, RequestRow, Row, Table, TransitionRow,
};
use schedlog::trace::{ReadOptions, Trace};

/// A file of a log: the first byte says which, the rest is its content.
pub(crate) fn read_log(bytes: &[u8]) {
    let Some((which, content)) = bytes.split_first() else { return };
    match which % 5 {
        0 => read_table::<RequestRow>(content),
        1 => read_table::<IterationRow>(content),
        2 => read_table::<IterationRequestRow>(content),
        3 => read_table::<EventRow>(content),
        _ => read_table::<TransitionRow>(content),
    }
}

/// Reads a table; a row that was read is written and read again as the same.
fn read_table<R: Row + PartialEq + Debug + Copy>(content: &[u8]) {
    let mut ids = IdTable::default();
    let mut reader = TableReader::<R, &[u8]>::new(content);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    while let Some(item) = reader.next(&mut ids) {
        let Item::Row(row) = item else { continue };
        first.clear();
        first.extend_from_slice(R::SCHEMA.header().as_bytes());
        first.push(b'\n');
        row.row.write(&ids, &mut first);
        let mut again = TableReader::<R, &[u8]>::new(&first);
        match again.next(&mut ids) {
            Some(Item::Row(copy)) => {
                second.clear();
                copy.row.write(&ids, &mut second);
                assert!(first.ends_with(&second) && copy.row == row.row, "{:?}", row.row);
            }
            other => panic!("a row that was written cannot be read: {other:?}: {:?}", row.row),
        }
    }
}

/// A trace: the bits of the first byte are options.
pub(crate) fn read_trace(bytes: &[u8]) {
    let Some((bits, content)) = bytes.split_first() else { return };
    let options = ReadOptions {
        skip_invalid: bits & 1 != 0,
        keep_failed: bits & 2 != 0,
        ignore_unknown: bits & 4 != 0,
        rebase: bits & 8 != 0,
        limit: (bits & 16 != 0).then_some(3),
        ..ReadOptions::default()
    };
    let Ok(trace) = Trace::from_bytes("fuzzed", content, &options) else { return };
    let counted = trace.summary().requests;
    let Ok(requests) = trace.requests() else { return };
    // What was found sound when it was opened can be read, and is as much as was said.
    let read = requests.map(|request| assert!(request.is_ok(), "{request:?}")).count();
    assert_eq!(read as u64, counted);
}

/// A whole log: files one behind the other, each begun by a line `==N` with its number.
pub(crate) fn check_log(bytes: &[u8], directory: &Path) {
    for table in Table::ALL {
        // It may be there from the input before.
        let _ = std::fs::remove_file(directory.join(table.file_name()));
    }
    let _ = std::fs::remove_file(directory.join("run.json"));
    for (name, content) in files(bytes) {
        std::fs::write(directory.join(name), content).expect("the directory can be written");
    }
    // Whatever it finds, it finds an end.
    let _ = check_dir(directory, &CheckOptions::default());
}

fn files(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let names: Vec<_> = Table::ALL.iter().map(|table| table.file_name()).collect();
    let mut files: Vec<(&'static str, Vec<u8>)> = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line {
            [b'=', b'=', number, ..] => {
                let index = usize::from(number.wrapping_sub(b'0')) % 6;
                files.push((names.get(index).copied().unwrap_or("run.json"), Vec::new()));
            }
            line => {
                if let Some((_, content)) = files.last_mut() {
                    content.extend_from_slice(line);
                }
            }
        }
    }
    files
}
