//! Single cells, and members of details, that are lost or in the wrong place.

use super::{Mutant, RawMutant, mutant};
use crate::fixtures::Log;
use crate::sheets::{Sheet, Sheets};

/// Empties a cell in the middle of those that are filled.
fn blank(sheet: &mut Sheet, column: &str) {
    let index = sheet.column(column);
    let filled: Vec<_> =
        (0..sheet.len()).filter(|row| !sheet.rows[*row][index].is_empty()).collect();
    if let Some(row) = filled.get(filled.len() / 2).filter(|_| filled.len() > 1) {
        sheet.rows[*row][index].clear();
    }
}

fn never_scheduled(s: &mut Sheets, column: &str) {
    for row in s.p.where_is("first_scheduled_time", "") {
        let input = s.p.n(row, "input_tokens");
        s.p.set(row, column, input);
    }
}

/// Changes the details of the events of a type.
fn details(
    s: &mut Sheets,
    kind: &str,
    change: impl Fn(&mut serde_json::Map<String, serde_json::Value>),
) {
    for row in s.e.where_is("event_type", kind) {
        let mut members = serde_json::from_str(s.e.text(row, "details")).unwrap();
        change(&mut members);
        s.e.set(row, "details", serde_json::Value::Object(members));
    }
}

/// One event of a type without a member.
fn lose_member(s: &mut Sheets, kind: &str, member: &str) {
    let rows = s.e.where_is("event_type", kind);
    if let Some(row) = rows.get(rows.len() / 2).copied().filter(|_| rows.len() > 1) {
        let mut members: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(s.e.text(row, "details")).unwrap();
        members.remove(member);
        s.e.set(row, "details", serde_json::Value::Object(members));
    }
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("blank-admitted", "a count is lost", &["F008"], |s| blank(&mut s.i, "admitted_count")),
    mutant("blank-evicted", "a count is lost", &["F008"], |s| blank(&mut s.i, "evicted_blocks")),
    mutant("blank-memory", "the device did not answer once", &["F008"], |s| {
        blank(&mut s.i, "gpu_memory_bytes")
    }),
    mutant("blank-scheduled", "a request's tokens are lost", &["F008"], |s| {
        blank(&mut s.r, "scheduled_tokens")
    }),
    mutant("blank-computed", "a request's tokens are lost", &["F008"], |s| {
        blank(&mut s.r, "computed_tokens")
    }),
    mutant("blank-reason-at-the-end", "a row without its reason", &["F008", "X007"], |s| {
        blank(&mut s.p, "finish_reason")
    }),
    mutant("blank-total", "a total is lost", &["F008"], |s| blank(&mut s.p, "scheduled_tokens")),
    mutant("blank-bytes", "a size is lost", &["F008"], |s| {
        blank(&mut s.p, "kv_cache_memory_bytes")
    }),
    mutant("blank-priority", "a score is lost", &["F008"], |s| blank(&mut s.p, "priority_score")),
    mutant("blank-owner", "an event of nobody", &["F008"], |s| blank(&mut s.e, "request_id")),
    mutant("blank-details", "an event without details", &["F009"], |s| blank(&mut s.e, "details")),
    mutant("blank-state-before", "the state left is lost", &["F008"], |s| {
        blank(&mut s.t, "prev_state")
    }),
    mutant("tokens-never-scheduled", "the prompt is booked at the arrival", &["K007"], |s| {
        never_scheduled(s, "scheduled_tokens")
    }),
    mutant("cached-never-scheduled", "the prompt is booked at the arrival", &["K007"], |s| {
        never_scheduled(s, "cached_tokens")
    }),
    mutant("tokens-when-completed", "the total in the last row", &["Q003"], |s| {
        for row in s.r.where_is("state", "completed") {
            let computed = s.r.n(row, "computed_tokens");
            s.r.set(row, "scheduled_tokens", computed);
        }
    }),
    mutant("computed-when-completed", "reset before the last row", &["K006"], |s| {
        for row in s.r.where_is("state", "completed") {
            s.r.set(row, "computed_tokens", 0);
        }
    }),
    mutant("evicted-from-the-start", "never used blocks are counted", &["C010"], |s| {
        // Where all blocks have been used the number may be right.
        let used: i64 = (0..s.e.len()).filter_map(|row| s.detail(row, "blocks")).sum();
        if used > 0 && s.setting("enable_prefix_caching") == 0 {
            let step = s.i.where_is("scheduler_action", "admit_new")[0];
            s.i.add(step, "evicted_blocks", 1);
        }
    }),
    mutant("details-of-another", "one struct for all events", &["F009"], |s| {
        details(s, "request_completed", |members| drop(members.insert("blocks".into(), 1.into())))
    }),
    mutant("details-of-no-event", "a member of the next version", &["F009"], |s| {
        details(s, "request_arrived", |members| drop(members.insert("tenant".into(), 1.into())))
    }),
    mutant("details-lose-step", "a hook without the step", &["F009"], |s| {
        lose_member(s, "request_scheduled", "iteration_id")
    }),
    mutant("details-lose-tokens", "a hook without the tokens", &["F009"], |s| {
        lose_member(s, "request_completed", "output_tokens")
    }),
];

const fn run_json(name: &'static str, story: &'static str, apply: fn(&mut Log)) -> RawMutant {
    RawMutant { name, story, rules: &["F010"], apply }
}

fn edit(log: &mut Log, change: impl FnOnce(&mut serde_json::Value)) {
    let mut run = serde_json::from_slice(&log.files["run.json"]).unwrap();
    change(&mut run);
    log.files.insert("run.json".to_owned(), serde_json::to_vec_pretty(&run).unwrap());
}

pub(super) const RAW_MUTANTS: &[RawMutant] = &[
    run_json("run-json-cut", "killed while writing it", |log| {
        let text = log.files["run.json"].clone();
        log.files.insert("run.json".to_owned(), text[..text.len() / 2].to_vec());
    }),
    run_json("run-json-empty", "opened and never written", |log| {
        log.files.insert("run.json".to_owned(), Vec::new());
    }),
    run_json("run-json-of-text", "every value as text", |log| {
        edit(log, |run| run["config"]["max_num_seqs"] = "16".into());
    }),
    run_json("run-json-flag-of-text", "a flag as text", |log| {
        edit(log, |run| run["overlapping_steps"] = "false".into());
    }),
    run_json("run-json-without-level", "a member is not written", |log| {
        edit(log, |run| drop(run.as_object_mut().unwrap().remove("log_level")));
    }),
    run_json("run-json-version-0", "a draft of the format", |log| {
        edit(log, |run| run["schema_version"] = 0.into());
    }),
    run_json("run-json-version-2", "the next version of the format", |log| {
        edit(log, |run| run["schema_version"] = 2.into());
    }),
    run_json("run-json-level-summary", "the default of another option", |log| {
        edit(log, |run| run["log_level"] = "summary".into());
    }),
    run_json("run-json-level-standard", "the default, whatever was chosen", |log| {
        edit(log, |run| run["log_level"] = "standard".into());
    }),
    run_json("run-json-level-full", "block events are not hooked up", |log| {
        let events = String::from_utf8(log.files["events.csv"].clone()).unwrap();
        let kept = events.split_inclusive('\n').filter(|line| !line.contains(",kv_cache_"));
        log.files.insert("events.csv".to_owned(), kept.collect::<String>().into_bytes());
    }),
];
