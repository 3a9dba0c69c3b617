//! A log as tables of text, for tests that change single cells and rows of it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use crate::fixtures::Log;

/// The files of a log.
pub(crate) const TABLES: [&str; 5] = [
    "per_request.csv",
    "per_iteration.csv",
    "per_iteration_requests.csv",
    "events.csv",
    "state_transitions.csv",
];

/// One file: a header and rows of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sheet {
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Sheet {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        let mut records =
            reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect());
        Self { header: records.next().unwrap_or_default(), rows: records.collect() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut writer = csv::WriterBuilder::new()
            .terminator(csv::Terminator::Any(b'\n'))
            .flexible(true)
            .from_writer(Vec::new());
        for row in std::iter::once(&self.header).chain(&self.rows) {
            writer.write_record(row).unwrap();
        }
        writer.into_inner().unwrap()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn column(&self, name: &str) -> usize {
        self.header.iter().position(|column| column == name).unwrap_or_else(|| panic!("{name}"))
    }

    pub(crate) fn text(&self, row: usize, name: &str) -> &str {
        &self.rows[row][self.column(name)]
    }

    /// The number in a cell; none if it is empty.
    pub(crate) fn num(&self, row: usize, name: &str) -> Option<i64> {
        self.text(row, name).parse().ok()
    }

    /// The number in a cell that has one.
    pub(crate) fn n(&self, row: usize, name: &str) -> i64 {
        self.num(row, name).unwrap_or_else(|| panic!("{name} of row {row} is empty"))
    }

    pub(crate) fn set(&mut self, row: usize, name: &str, value: impl Display) {
        let column = self.column(name);
        self.rows[row][column] = value.to_string();
    }

    /// Adds to a number; an empty cell stays empty.
    pub(crate) fn add(&mut self, row: usize, name: &str, delta: i64) {
        if let Some(value) = self.num(row, name) {
            self.set(row, name, value + delta);
        }
    }

    /// Rows with this text in a column.
    pub(crate) fn where_is(&self, name: &str, text: &str) -> Vec<usize> {
        (0..self.len()).filter(|row| self.text(*row, name) == text).collect()
    }

    /// Changes every number of a column.
    pub(crate) fn map(&mut self, name: &str, change: impl Fn(i64) -> i64) {
        for row in 0..self.len() {
            if let Some(value) = self.num(row, name) {
                self.set(row, name, change(value));
            }
        }
    }

    /// Changes every text of a column.
    pub(crate) fn map_text(&mut self, name: &str, change: impl Fn(&str) -> String) {
        for row in 0..self.len() {
            let text = change(self.text(row, name));
            self.set(row, name, text);
        }
    }
}

/// A log as sheets: `p` requests, `i` iterations, `r` their requests, `e` events, `t` changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sheets {
    pub(crate) p: Sheet,
    pub(crate) i: Sheet,
    pub(crate) r: Sheet,
    pub(crate) e: Sheet,
    pub(crate) t: Sheet,
    pub(crate) run: serde_json::Value,
}

impl Sheets {
    pub(crate) fn read(directory: &Path) -> Self {
        let file = |name: &str| std::fs::read(directory.join(name)).unwrap_or_default();
        Self {
            p: Sheet::parse(&file("per_request.csv")),
            i: Sheet::parse(&file("per_iteration.csv")),
            r: Sheet::parse(&file("per_iteration_requests.csv")),
            e: Sheet::parse(&file("events.csv")),
            t: Sheet::parse(&file("state_transitions.csv")),
            run: serde_json::from_slice(&file("run.json")).unwrap_or_default(),
        }
    }

    pub(crate) fn log(&self) -> Log {
        let mut files = BTreeMap::from([
            ("per_request.csv".to_owned(), self.p.bytes()),
            ("per_iteration.csv".to_owned(), self.i.bytes()),
            ("per_iteration_requests.csv".to_owned(), self.r.bytes()),
            ("events.csv".to_owned(), self.e.bytes()),
            ("state_transitions.csv".to_owned(), self.t.bytes()),
        ]);
        if !self.run.is_null() {
            files.insert("run.json".to_owned(), serde_json::to_vec(&self.run).unwrap());
        }
        Log { files }
    }

    /// The row of a step in `i`.
    pub(crate) fn step(&self, id: i64) -> usize {
        self.i.where_is("iteration_id", &id.to_string())[0]
    }

    /// `S`, `D`, `O`, `E` of a row of `i`.
    pub(crate) fn moments(&self, row: usize) -> [i64; 4] {
        let start = self.i.n(row, "start_time");
        let decided = start + self.i.n(row, "scheduling_overhead");
        let output = decided + self.i.n(row, "forward_pass_duration");
        [start, decided, output, self.i.n(row, "end_time")]
    }

    /// The step in whose `moment` (an index of [`Self::moments`]) something happened.
    pub(crate) fn step_at(&self, at: i64, moment: usize) -> Option<usize> {
        (0..self.i.len()).find(|row| self.moments(*row)[moment] == at)
    }

    /// The row of a request in `p`.
    pub(crate) fn request(&self, id: &str) -> Option<usize> {
        self.p.where_is("request_id", id).first().copied()
    }

    /// The rows of a request in `t`.
    pub(crate) fn changes(&self, id: &str) -> Vec<usize> {
        self.t.where_is("request_id", id)
    }

    /// The row of a request in a step, in this state.
    pub(crate) fn row_of(&self, step: i64, id: &str, state: &str) -> Option<usize> {
        (0..self.r.len()).find(|row| {
            self.r.n(*row, "iteration_id") == step
                && self.r.text(*row, "request_id") == id
                && self.r.text(*row, "state") == state
        })
    }

    /// The last row before `row` of the same request.
    pub(crate) fn row_before(&self, row: usize) -> Option<usize> {
        let id = self.r.text(row, "request_id");
        (0..row).rev().find(|other| self.r.text(*other, "request_id") == id)
    }

    /// A number in the details of an event.
    pub(crate) fn detail(&self, event: usize, key: &str) -> Option<i64> {
        let details: serde_json::Value =
            serde_json::from_str(self.e.text(event, "details")).ok()?;
        details.get(key)?.as_i64()
    }

    pub(crate) fn set_detail(
        &mut self,
        event: usize,
        key: &str,
        value: impl Into<serde_json::Value>,
    ) {
        let mut details: serde_json::Value =
            serde_json::from_str(self.e.text(event, "details")).unwrap();
        let value = value.into();
        if details[key] != value {
            details[key] = value;
            self.e.set(event, "details", details);
        }
    }

    pub(crate) fn setting(&self, key: &str) -> i64 {
        self.run["config"][key].as_i64().unwrap_or(0)
    }
}
