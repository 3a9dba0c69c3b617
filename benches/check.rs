//! What reading and checking a log costs: `just bench`, or `just bench rules` for single rules.
//!
//! Throughput is in rows of per_iteration_requests.csv. The log is made anew each time: 200 thousand
//! rows, 256 running requests, ids as a completions server gives them.

#![allow(clippy::unwrap_used)] // A benchmark that cannot go on has failed.

use std::io::Cursor;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use schedlog::check::{CheckOptions, Declaration, check_dir_with};
use schedlog::invariants::ALL;
use schedlog::log::ids::IdTable;
use schedlog::log::reader::{Item, Reading, Shared, Splitter, StepRows, TableReader, Threads};
use schedlog::log::schema::IterationRequestRow;
use tempfile::TempDir;

const ROWS: u64 = 200_000;
/// Rows of a request with the lengths below, on average.
const ROWS_PER_REQUEST: u64 = 514;

struct Log {
    dir: TempDir,
    rows: Vec<u8>,
    count: usize,
}

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace.jsonl");
    let schedlog = |words: &str, path: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_schedlog"));
        command.args(words.split_whitespace()).arg(path);
        assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    };
    let requests = ROWS / ROWS_PER_REQUEST;
    schedlog(
        &format!(
            "generate --requests {requests} --ids completion --arrival fixed --rate 42.6 \
             --input-length uniform:64:512 --output-length uniform:256:768 --out"
        ),
        &trace,
    );
    let log = dir.path().join("log");
    schedlog(&format!("replay --latency fixed {} --out", trace.display()), &log);
    let rows = std::fs::read(log.join("per_iteration_requests.csv")).unwrap();
    let count = rows.iter().filter(|byte| **byte == b'\n').count() - 1;
    Log { dir, rows, count }
});

fn main() {
    divan::main();
}

#[divan::bench]
fn splitter(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(LOG.count)).bench(|| {
        let mut splitter = Splitter::new(Cursor::new(&LOG.rows[..]));
        let mut fields = 0;
        while let Some(record) = splitter.next_record().unwrap() {
            fields += record.len();
        }
        fields
    });
}

/// Reads all rows; returns how many there are.
fn read(mut reader: TableReader<IterationRequestRow, Cursor<&'static [u8]>>) -> u64 {
    let mut ids = IdTable::default();
    while let Some(item) = reader.next(&mut ids) {
        if let Item::Row(row) = item {
            black_box(row);
        }
    }
    reader.rows()
}

#[divan::bench]
fn rows_the_long_way(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(LOG.count))
        .bench(|| read(TableReader::without_short_cut(Cursor::new(&LOG.rows[..]))));
}

#[divan::bench]
fn rows_by_the_short_cut(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(LOG.count))
        .bench(|| read(TableReader::new(Cursor::new(&LOG.rows[..]))));
}

#[divan::bench]
fn rows_with_runs(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(LOG.count)).bench(|| {
        let mut shared = Shared::default();
        let reader = TableReader::new(Cursor::new(&LOG.rows[..]));
        let reading = Reading { runs: Some(16), threads: Threads::None };
        let mut rows = StepRows::new(Some(reader), reading, None, &mut shared).unwrap();
        while let Some(id) = rows.peek().map(|row| row.row.iteration_id) {
            rows.take_step(id, &mut shared, |_, piece| {
                black_box(piece);
            });
        }
        rows.rows()
    });
}

fn check(bencher: Bencher<'_, '_>, rules: &[&'static Declaration]) {
    let log = LOG.dir.path().join("log");
    bencher
        .counter(ItemsCount::new(LOG.count))
        .bench(|| check_dir_with(&log, &CheckOptions::default(), rules).unwrap());
}

#[divan::bench]
fn check_with_every_rule(bencher: Bencher<'_, '_>) {
    check(bencher, ALL);
}

/// What is left without any rule: reading, and gathering what belongs together.
#[divan::bench]
fn check_without_rules(bencher: Bencher<'_, '_>) {
    check(bencher, &[]);
}

/// One rule and no other.
#[divan::bench(args = ALL.iter().map(|rule| rule.id), sample_count = 10)]
fn rules(bencher: Bencher<'_, '_>, id: &str) {
    let rule: Vec<_> = ALL.iter().copied().filter(|rule| rule.id == id).collect();
    check(bencher, &rule);
}
