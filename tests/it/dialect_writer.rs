//! Writes a correct log in another dialect of the family, habit by habit.

use crate::sheets::{Sheet, Sheets};

/// A variation of the format, and the habit by which it is named.
pub(crate) struct Variation {
    pub(crate) habit: &'static str,
    /// Whether it is believed only of logs without the columns behind the fixed ones.
    pub(crate) bare: bool,
    pub(crate) write: fn(&mut Sheets),
}

const fn variation(habit: &'static str, bare: bool, write: fn(&mut Sheets)) -> Variation {
    Variation { habit, bare, write }
}

/// In an order in which each can be written whatever was written before.
pub(crate) const VARIATIONS: &[Variation] = &[
    variation("batch-is-running", true, |s| {
        for row in 0..s.i.len() {
            let running = s.i.n(row, "running_count");
            s.i.set(row, "batch_size", running);
        }
    }),
    variation("joined-actions", false, joined_actions),
    variation("no-completed-rows", true, |s| s.r.rows.retain(|row| row[2] != "completed")),
    variation("no-waiting-rows", true, |s| s.r.rows.retain(|row| row[2] != "waiting")),
    variation("no-preempted-rows", true, |s| s.r.rows.retain(|row| row[2] != "preempted")),
    variation("no-running-position", false, |s| {
        for row in s.r.where_is("state", "running") {
            s.r.set(row, "queue_position", -1);
        }
    }),
    variation("resumed-at-first", false, |s| {
        let rows = std::mem::take(&mut s.e.rows);
        for row in rows {
            let mut resumed = row.clone();
            resumed[1] = "request_resumed".to_owned();
            let first = row[1] == "request_scheduled";
            s.e.rows.push(row);
            s.e.rows.extend(first.then_some(resumed));
        }
    }),
    variation("no-details", false, |s| s.e.map_text("details", |_| String::new())),
    variation("fractional-tpot", false, fractional_tpot),
    variation("two-decimal-throughput", false, two_decimal_throughput),
    variation("zero-for-undefined", false, |s| {
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
    variation("ends-at-decision", false, |s| {
        ends_at_decision(s);
        rename(&mut s.i, "forward_pass_duration", "forward_duration");
    }),
    variation("forward-duration", false, |s| {
        rename(&mut s.i, "forward_pass_duration", "forward_duration");
    }),
    variation("fixed-columns-only", false, |s| {
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
    variation("fifteen-columns", false, |s| {
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
    variation("no-transitions", false, |s| s.t = Sheet::default()),
];

/// The variation with this habit.
pub(crate) fn named(habit: &str) -> &'static Variation {
    VARIATIONS.iter().find(|variation| variation.habit == habit).unwrap()
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

/// The step is closed as its decision is taken; its output belongs to the forward pass.
fn ends_at_decision(s: &mut Sheets) {
    for row in 0..s.i.len() {
        let [start, decided, _, end] = s.moments(row);
        s.i.set(row, "end_time", decided);
        s.i.set(row, "duration", decided - start);
        s.i.set(row, "forward_pass_duration", end - decided);
    }
    drop_column(&mut s.i, "output_processing_duration");
}

/// The log in these habits; with `bare` ones also without the columns behind the fixed ones.
pub(crate) fn written(log: &Sheets, habits: &[&str], run_json: bool) -> crate::fixtures::Log {
    let mut log = log.clone();
    let bare = habits.iter().any(|habit| named(habit).bare);
    for variation in VARIATIONS {
        let wanted =
            habits.contains(&variation.habit) || bare && variation.habit == "fixed-columns-only";
        if wanted {
            (variation.write)(&mut log);
        }
    }
    let without = log.t.header.is_empty();
    let mut log = log.log();
    if without {
        log = log.without("state_transitions.csv");
    }
    if run_json { log } else { log.without("run.json") }
}
