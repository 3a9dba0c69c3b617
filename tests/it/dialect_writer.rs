//! Writes a correct log in another dialect of the family, habit by habit.

use crate::sheets::{Sheet, Sheets};

/// A variation of the format, and the habit by which it is named.
pub(crate) struct Variation {
    pub(crate) habit: &'static str,
    pub(crate) write: fn(&mut Sheets),
}

const fn variation(habit: &'static str, write: fn(&mut Sheets)) -> Variation {
    Variation { habit, write }
}

/// In an order in which each can be written whatever was written before.
pub(crate) const VARIATIONS: &[Variation] = &[
    variation("batch-is-running", |s| {
        for row in 0..s.i.len() {
            let running = s.i.n(row, "running_count");
            s.i.set(row, "batch_size", running);
        }
    }),
    variation("joined-actions", joined_actions),
    variation("no-completed-rows", |s| s.r.rows.retain(|row| row[2] != "completed")),
    variation("no-initial-rows", |s| s.r.rows.retain(|row| row[2] != "waiting")),
    variation("no-preempted-rows", |s| s.r.rows.retain(|row| row[2] != "preempted")),
    variation("no-running-position", |s| {
        let rows = s.r.rows.iter_mut();
        for row in rows.filter(|row| row[2] == "running") {
            row[3] = "-1".to_owned();
        }
    }),
    variation("resumed-at-first", |s| {
        let rows = std::mem::take(&mut s.e.rows);
        for row in rows {
            let mut resumed = row.clone();
            resumed[1] = "request_resumed".to_owned();
            let first = row[1] == "request_scheduled";
            s.e.rows.push(row);
            s.e.rows.extend(first.then_some(resumed));
        }
    }),
    variation("no-details", |s| s.e.map_text("details", |_| String::new())),
    variation("fractional-tpot", fractional_tpot),
    variation("two-decimal-throughput", two_decimal_throughput),
    variation("zero-for-undefined", |s| {
        let undefined = [
            "first_scheduled_time",
            "completion_time",
            "e2e_latency",
            "ttft",
            "tpot",
            "throughput",
        ];
        for column in undefined {
            s.p.map_text(
                column,
                |text| if text.is_empty() { "0".to_owned() } else { text.to_owned() },
            );
        }
    }),
    variation("ends-at-decision", |s| {
        for row in 0..s.i.len() {
            let [start, decided, ..] = s.moments(row);
            s.i.set(row, "end_time", decided);
            s.i.set(row, "duration", decided - start);
        }
    }),
    variation("no-output-duration", |s| drop_column(&mut s.i, "output_processing_duration")),
    variation("forward-duration", |s| {
        rename(&mut s.i, "forward_pass_duration", "forward_duration");
    }),
    variation("fixed-columns-only", |s| {
        for column in [
            "admitted_count",
            "resumed_count",
            "completed_count",
            "evicted_blocks",
            "gpu_memory_bytes",
        ] {
            drop_column(&mut s.i, column);
        }
        for column in ["scheduled_tokens", "computed_tokens"] {
            drop_column(&mut s.r, column);
        }
        for column in ["finish_reason", "cached_tokens", "recomputed_tokens", "scheduled_tokens"] {
            drop_column(&mut s.p, column);
        }
        drop_column(&mut s.t, "prev_state");
    }),
    variation("fifteen-columns", |s| {
        let columns = [
            "kv_cache_memory_bytes",
            "priority_score",
            "finish_reason",
            "cached_tokens",
            "recomputed_tokens",
            "scheduled_tokens",
        ];
        for column in columns {
            drop_column(&mut s.p, column);
        }
    }),
    variation("no-transitions", |s| {
        s.t = Sheet::default();
        another_logger(&mut s.run);
    }),
];

/// A logger of which the reader knows nothing.
pub(crate) fn another_logger(run: &mut serde_json::Value) {
    if let Some(producer) = run.get_mut("producer") {
        producer["name"] = "another-logger".into();
    }
}

fn drop_column(sheet: &mut Sheet, name: &str) {
    if let Some(column) = sheet.header.iter().position(|column| column == name) {
        sheet.header.remove(column);
        sheet.rows.iter_mut().for_each(|row| drop(row.remove(column)));
    }
}

fn rename(sheet: &mut Sheet, from: &str, to: &str) {
    if let Some(column) = sheet.header.iter_mut().find(|column| *column == from) {
        to.clone_into(column);
    }
}

/// All decisions of a step instead of the weightiest.
fn joined_actions(s: &mut Sheets) {
    for row in 0..s.i.len() {
        let has = |column: &str| s.i.n(row, column) > 0;
        let decisions = [
            ("preempt", has("preempted_count")),
            ("admit_new", has("admitted_count")),
            ("resume", has("resumed_count")),
            ("continue", has("batch_size")),
        ];
        let names: Vec<_> =
            decisions.iter().filter(|(_, yes)| *yes).map(|(name, _)| *name).collect();
        let text = if names.is_empty() { "idle".to_owned() } else { names.join(";") };
        s.i.set(row, "scheduler_action", text);
    }
}

fn fractional_tpot(s: &mut Sheets) {
    for row in 0..s.p.len() {
        let tokens = s.p.n(row, "output_tokens");
        let times = (s.p.num(row, "e2e_latency"), s.p.num(row, "ttft"));
        if let (true, (Some(latency), Some(ttft))) = (tokens > 1, times) {
            let tpot = (latency - ttft) as f64 / (tokens - 1) as f64;
            s.p.set(row, "tpot", format!("{tpot:?}"));
        }
    }
}

/// Rounded once, from the times.
fn two_decimal_throughput(s: &mut Sheets) {
    for row in 0..s.p.len() {
        let latency = s.p.num(row, "e2e_latency").filter(|latency| *latency > 0);
        if let Some(latency) = latency.filter(|_| !s.p.text(row, "throughput").is_empty()) {
            let rate = s.p.n(row, "output_tokens") as f64 * 1e9 / latency as f64;
            s.p.set(row, "throughput", format!("{rate:.2}"));
        }
    }
}

/// The log in these habits.
pub(crate) fn written(log: &Sheets, habits: &[&str], run_json: bool) -> crate::fixtures::Log {
    let mut log = log.clone();
    for variation in VARIATIONS {
        if habits.contains(&variation.habit) {
            (variation.write)(&mut log);
        }
    }
    let missing = [
        (log.t.header.is_empty(), "state_transitions.csv"),
        (log.r.header.is_empty(), "per_iteration_requests.csv"),
    ];
    let mut log = log.log();
    for (_, file) in missing.into_iter().filter(|(missing, _)| *missing) {
        log = log.without(file);
    }
    if run_json { log } else { log.without("run.json") }
}
