//! Wrong logs for the messages that no mutant brings about.

use schedlog::diagnose::Diagnosis;
use schedlog::engine::run::LogOptions;
use schedlog::invariants::ALL;

use crate::dialect_writer::VARIATIONS;
use crate::fixtures::{Log, fixture};
use crate::golden::replay_bundled;
use crate::leads_files;
use crate::messages::{Messages, causes};
use crate::right_logs::late_other_batches;
use crate::sheets::{Sheets, TABLES};

/// What the fixtures say, and the logs below.
pub(super) fn of(logs: &[(String, Sheets)]) -> Messages {
    let mut messages = Messages::default();
    let mut note = |log: Log| {
        let (_directory, report) = log.check();
        messages.note(&report);
        messages.note_causes(&Diagnosis::of(&report, false));
    };
    for rule in ALL {
        note(Log::base().edited(&fixture(rule.id)));
    }
    for change in RAW {
        note(change(Log::base()));
    }
    let long = long_run();
    note(other_batch(&long).log());
    note(late_other_batches().log());
    let crowded = leads_files::crowded();
    for case in leads_files::CASES {
        let mut wrong = crowded.clone();
        (case.apply)(&mut wrong);
        note(wrong.log());
    }
    let logs = logs.iter().map(|(_, log)| log);
    for log in logs.chain([&long]) {
        note(twice(log.log(), "events.csv"));
        for change in CHANGES.iter().chain(causes::CHANGES) {
            let mut wrong = log.clone();
            change(&mut wrong);
            if wrong != *log {
                note(wrong.log());
            }
        }
    }
    messages
}

fn header_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1
}

/// A file that was copied behind itself.
fn twice(log: Log, table: &str) -> Log {
    log.map(table, |bytes| [&bytes, &bytes[header_len(&bytes)..]].concat())
}

fn without_rows(log: Log, table: &str) -> Log {
    log.map(table, |bytes| bytes[..header_len(&bytes)].to_vec())
}

/// A log of more steps than are looked at to find out what batch_size is.
fn long_run() -> Sheets {
    let place = tempfile::tempdir().unwrap();
    let trace = place.path().join("trace.jsonl");
    let request = r#"{"timestamp": 0, "input_length": 8, "output_length": 2100}"#;
    std::fs::write(&trace, format!("{request}\n")).unwrap();
    std::fs::write(trace.with_extension("toml"), "max_model_len = 4096\n").unwrap();
    replay_bundled(&trace, &place.path().join("log"), &LogOptions::default());
    Sheets::read(&place.path().join("log"))
}

/// With a batch_size of the last step that is what it is not in those before.
fn other_batch(log: &Sheets) -> Sheets {
    let mut log = log.clone();
    habits(&mut log, &["fixed-columns-only"]);
    // Behind the last token there is a step of nobody.
    let last = log.i.len() - 2;
    log.i.set(last, "batch_size", 0);
    log
}

/// Changes of the bytes of a file.
const RAW: &[fn(Log) -> Log] = &[
    |log| log.map("per_request.csv", |_| Vec::new()),
    |log| log.replace("per_iteration.csv", "gpu_memory_bytes\n", "evicted_blocks\n"),
    |log| log.map("events.csv", |bytes| [&bytes, &b"1,\"request_arrived\n"[..]].concat()),
    |log| log.map("events.csv", |bytes| [bytes, vec![b'7'; 3 << 20]].concat()),
    |log| twice(log, "per_request.csv"),
    |log| {
        TABLES.iter().fold(log, |log, table| match *table {
            "per_iteration.csv" => without_rows(log, table),
            table => twice(log, table),
        })
    },
    |log| TABLES.iter().fold(log, |log, table| without_rows(log, table)),
];

fn habits(s: &mut Sheets, habits: &[&str]) {
    for variation in VARIATIONS.iter().filter(|variation| habits.contains(&variation.habit)) {
        (variation.write)(s);
    }
}

/// Gives the last row in a state a reason.
fn reason(s: &mut Sheets, state: &str, reason: &str) {
    if let Some(row) = s.r.where_is("state", state).last() {
        s.r.set(*row, "waiting_reason", reason);
    }
}

/// Changes of any log; they leave one alone in which the message cannot come about.
const CHANGES: &[fn(&mut Sheets)] = &[
    // More evictions than preemptions, where no event tells of either.
    |s| {
        s.e.rows.clear();
        s.p.add(0, "eviction_count", 1);
    },
    |s| s.run["engine"] = "vllm 0.32".into(),
    // No event of freed blocks names its step.
    |s| {
        for event in s.e.where_is("event_type", "kv_cache_freed") {
            if let Some(blocks) = s.detail(event, "blocks") {
                s.e.set(event, "details", format!("{{\"blocks\":{blocks}}}"));
            }
        }
    },
    // Half of the rows of running requests have no place.
    |s| {
        let rows = s.r.where_is("state", "running");
        rows.iter().step_by(2).for_each(|row| s.r.set(*row, "queue_position", -1));
    },
    // A preempted request is not counted, and waiting ones have no rows.
    |s| {
        let Some(row) = s.r.where_is("state", "preempted").first().copied() else { return };
        let step = s.r.text(row, "iteration_id").to_owned();
        habits(s, &["no-initial-rows"]);
        s.i.where_is("iteration_id", &step)
            .iter()
            .for_each(|row| s.i.set(*row, "waiting_count", 0));
    },
    // batch_size is what it is not in the other steps.
    |s| {
        let before = s.clone();
        habits(s, &["batch-is-running"]);
        let differs = |row: &usize| before.i.rows[*row] != s.i.rows[*row];
        if let Some(row) = (0..s.i.len()).rfind(differs) {
            s.i.add(row, "batch_size", -1);
        }
    },
    // The first requests of the queue are never admitted.
    |s| {
        if s.p.len() > 1 {
            let last = s.p.text(s.p.len() - 1, "request_id").to_owned();
            habits(s, &["no-initial-rows"]);
            let arrival = s.i.n(0, "start_time").to_string();
            s.e.rows.retain(|row| row[2] != last || row[1] == "request_arrived");
            s.r.rows.retain(|row| row[1] != last);
            s.t.rows.retain(|row| row[0] != last);
            s.p.rows.retain(|row| row[0] != last);
            for row in s.e.where_is("request_id", &last) {
                s.e.set(row, "timestamp", &arrival);
            }
            s.e.rows.sort_by_key(|row| row[0].parse::<i64>().unwrap());
        }
    },
    |s| reason(s, "waiting", "recomputation"),
    |s| reason(s, "waiting", "preempted"),
    |s| reason(s, "preempted", "preempted"),
    |s| reason(s, "waiting", "max_num_batched_tokens"),
    |s| reason(s, "preempted", "max_num_batched_tokens"),
    |s| {
        s.run["config"]["num_speculative_tokens"] = 2.into();
        reason(s, "waiting", "max_num_batched_tokens");
    },
    |s| {
        s.run = serde_json::Value::Null;
        reason(s, "waiting", "max_num_seqs");
    },
    |s| {
        s.i.rows.clear();
        s.r.rows.clear();
    },
    // One that is not over stands before the others.
    |s| {
        if let Some(row) = s.p.rows.iter().position(|row| row[3].is_empty()) {
            let row = s.p.rows.remove(row);
            s.p.rows.insert(0, row);
        }
    },
    // All ends are stamped with the decisions of their steps.
    |s| {
        s.run = serde_json::Value::Null;
        habits(s, &["fixed-columns-only", "no-details"]);
        for row in s.e.where_is("event_type", "request_completed") {
            let end = s.e.text(row, "timestamp").to_owned();
            if let Some(step) = s.i.where_is("end_time", &end).first() {
                let decided = s.i.n(*step, "start_time") + s.i.n(*step, "scheduling_overhead");
                s.e.set(row, "timestamp", decided);
            }
        }
        s.e.rows.sort_by_key(|row| row[0].parse::<i64>().unwrap());
    },
];
