//! What is told of mistakes that only bounds, or many rows together, show; and that right logs keep them.

use insta::assert_snapshot;
use schedlog::check::{CheckReport, Verdict};
use schedlog::diagnose::Diagnosis;

use crate::cuts::replayed;
use crate::dialect_writer::VARIATIONS;
use crate::fixtures::tripped;
use crate::mutants::bounds::{found_is_scheduled, memory_is_budget};
use crate::sheets::Sheets;
use crate::support::in_snapshots;

const SMALL: &str =
    "max_num_seqs = 8\nmax_num_batched_tokens = 128\nnum_gpu_blocks = 33\nmax_model_len = 512\n";

/// Requests, of which one in four begins alike, which arrive one by one, too many for a small cache.
fn busy(settings: &str) -> Sheets {
    let request = |place: u64| {
        let (at, input) =
            (place * 3_517_291 % 97_000_003 + place * 9_000_001, 40 + place * 17 % 60);
        format!(
            "{{\"timestamp\": {}.{:06}, \"input_length\": {input}, \"output_length\": {}, \"hash_ids\": [{}]}}\n",
            at / 1_000_000,
            at % 1_000_000,
            20 + place * 7 % 30,
            place % 4
        )
    };
    let trace: String = (0..40).map(request).collect();
    let log = replayed(&trace, &format!("{SMALL}{settings}"));
    let (_directory, report) = log.log().check();
    assert_eq!(report.verdict(), Verdict::Clean, "{settings}: {:?}", tripped(&report));
    assert!(report.rules.iter().all(|rule| rule.warnings == 0), "{settings}");
    log
}

fn told(log: &Sheets) -> (CheckReport, String) {
    let (_directory, report) = log.log().check();
    let mut text = String::new();
    for rule in &report.rules {
        for finding in rule.findings.iter().take(2) {
            text += &format!("{}: {}\n", rule.rule.id, finding.message);
        }
    }
    for group in Diagnosis::of(&report, false).groups {
        group.causes.iter().for_each(|cause| text += &format!("cause: {}\n", cause.text));
    }
    (report, text)
}

fn assert_told(name: &str, log: &Sheets) -> CheckReport {
    let (report, text) = told(log);
    in_snapshots("bounds", || assert_snapshot!(name, text));
    report
}

const DRAFTS: &str =
    "async_scheduling = true\nspeculative_method = \"eagle\"\nnum_speculative_tokens = 2\n";

/// Those of a request that was not preempted are exact.
#[test]
fn sums_are_judged_where_drafts_are_in_flight() {
    let log = busy(DRAFTS);
    assert!(!log.e.where_is("event_type", "request_preempted").is_empty());
    let mut more = log.clone();
    more.p.map("cached_tokens", |tokens| tokens + 16);
    assert_eq!(assert_told("cached-in-flight", &more).verdict(), Verdict::Violated);
    let mut lost = log.clone();
    lost.p.map("recomputed_tokens", |tokens| tokens + 1);
    assert_eq!(assert_told("recomputed-in-flight", &lost).verdict(), Verdict::Violated);
}

/// Without settings, and with the fixed columns alone.
fn bare(mut log: Sheets) -> Sheets {
    log.run = serde_json::Value::Null;
    let fixed = VARIATIONS.iter().find(|it| it.habit == "fixed-columns-only").unwrap();
    (fixed.write)(&mut log);
    log
}

#[test]
fn what_no_setting_tells_is_bounded_by_all_steps() {
    let log = busy("");
    let (_directory, report) = bare(log.clone()).log().check();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", tripped(&report));
    let mut found = log.clone();
    found_is_scheduled(&mut found);
    assert_eq!(tripped(&told(&bare(found)).0), ["K002"]);
    let mut budget = log;
    memory_is_budget(&mut budget);
    assert_eq!(tripped(&assert_told("budget", &bare(budget))), ["Q008"]);
}

fn each_time(log: &mut Sheets, change: impl Fn(i64) -> i64) {
    let of_requests = ["first_scheduled_time", "completion_time", "arrival_time", "ttft"];
    of_requests.iter().for_each(|column| log.p.map(column, &change));
    ["waiting_time", "execution_time", "e2e_latency"]
        .iter()
        .for_each(|column| log.p.map(column, &change));
}

#[test]
fn digits_that_were_lost_are_no_skew() {
    let log = busy("");
    let mut micros = log.clone();
    micros.run["producer"]["name"] = "another-logger".into();
    each_time(&mut micros, |time| (time + 500) / 1_000 * 1_000);
    assert_told("whole-microseconds", &micros);
    let mut floats = log.clone();
    floats.run["producer"]["name"] = "another-logger".into();
    floats.e.map("timestamp", |time| time as f32 as i64);
    assert_told("floats-of-32-bits", &floats);
}
