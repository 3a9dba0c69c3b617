//! Logs of a clock that tells whole units only, read once for each moment.

use std::collections::BTreeMap;

use schedlog::check::Verdict;
use schedlog::conform::log::{ConformOptions, LogVerdict, conform_log};

use super::{foreign, problems};
use crate::cuts::replayed;
use crate::dialect_writer::written;
use crate::mutants::full_logs;
use crate::sheets::Sheets;

/// The log as it is where every moment is the last whole unit before it, and every time the difference of two.
fn in_whole(log: &Sheets, unit: i64) -> Sheets {
    let mut log = foreign(log);
    let whole = |at: i64| at / unit * unit;
    let moment = |log: &Sheets, step: i64, moment: usize| log.moments(log.step(step))[moment];
    for row in 0..log.r.len() {
        let ends = log.r.text(row, "state") == "completed";
        let at = moment(&log, log.r.n(row, "iteration_id"), if ends { 3 } else { 1 });
        let since = whole(at - log.r.n(row, "time_in_state"));
        log.r.set(row, "time_in_state", whole(at) - since);
    }
    for row in 0..log.i.len() {
        let [start, decided, output, end] = log.moments(row).map(whole);
        for (column, value) in [
            ("start_time", start),
            ("end_time", end),
            ("duration", end - start),
            ("scheduling_overhead", decided - start),
            ("forward_pass_duration", output - decided),
            ("output_processing_duration", end - output),
        ] {
            log.i.set(row, column, value);
        }
    }
    log.e.map("timestamp", whole);
    let (mut entered, mut sums) = (BTreeMap::new(), BTreeMap::<_, [i64; 2]>::new());
    for row in 0..log.t.len() {
        let id = log.t.text(row, "request_id").to_owned();
        let arrival = |id: &str| whole(log.p.n(log.request(id).unwrap(), "arrival_time"));
        let now = whole(log.t.n(row, "timestamp"));
        let stayed = now - entered.insert(id.clone(), now).unwrap_or_else(|| arrival(&id));
        let ran = log.t.text(row, "prev_state") == "running";
        log.t.set(row, "timestamp", now);
        log.t.set(row, "duration_in_prev_state", stayed);
        sums.entry(id).or_default()[usize::from(ran)] += stayed;
    }
    for row in 0..log.p.len() {
        let arrival = log.p.n(row, "arrival_time");
        let [waited, ran] = sums.get(log.p.text(row, "request_id")).copied().unwrap_or_default();
        log.p.set(row, "waiting_time", waited);
        log.p.set(row, "execution_time", ran);
        let ttft = log.p.num(row, "ttft").map(|ttft| whole(arrival + ttft) - whole(arrival));
        ttft.into_iter().for_each(|ttft| log.p.set(row, "ttft", ttft));
        for column in ["arrival_time", "first_scheduled_time", "completion_time"] {
            let at = log.p.num(row, column);
            at.into_iter().for_each(|at| log.p.set(row, column, whole(at)));
        }
        let Some(end) = log.p.num(row, "completion_time") else { continue };
        let (latency, tokens) = (end - whole(arrival), log.p.n(row, "output_tokens"));
        log.p.set(row, "e2e_latency", latency);
        if let Some(ttft) = ttft.filter(|_| tokens > 1) {
            log.p.set(row, "tpot", (latency - ttft) / (tokens - 1));
        }
        let rate = (i128::from(tokens) * 2_000_000_000_000_000)
            .checked_div(i128::from(latency))
            .map(|twice| (twice + 1) / 2);
        let rate = rate.map(|rate| format!("{}.{:06}", rate / 1_000_000, rate % 1_000_000));
        log.p.set(row, "throughput", rate.unwrap_or_default());
    }
    log
}

fn right(name: &str, log: &Sheets) {
    for run_json in [true, false] {
        let (directory, report) = written(log, &[], run_json).check();
        let clean = report.verdict() == Verdict::Clean;
        assert!(clean, "{name}, run.json {run_json}: {}", problems(&report));
        let report = conform_log(directory.path(), &ConformOptions::default()).unwrap();
        let diverges = matches!(report.verdict, LogVerdict::Diverges(_));
        assert!(!diverges, "{name}, run.json {run_json}: {report:#?}");
    }
}

#[test]
fn a_clock_may_tell_whole_units_only() {
    for (name, log) in full_logs() {
        for unit in [100, 1_000, 1_000_000] {
            right(&format!("{name} in {unit} ns"), &in_whole(&log, unit));
        }
    }
}

/// Equally urgent requests come within one millisecond, in another order than that of their ids.
#[test]
fn requests_of_one_unit_of_the_clock_came_in_any_order() {
    let line = |i: u32| {
        let at = 400 * i;
        format!(
            "{{\"timestamp\": {}.{:03}, \"input_length\": 8, \"output_length\": 5, \
             \"request_id\": \"{}\"}}\n",
            at / 1000,
            at % 1000,
            (b'z' - i as u8) as char,
        )
    };
    let trace: String = (0..12).map(line).collect();
    let settings = "policy = \"priority\"\nmax_model_len = 64\nmax_num_seqs = 2\n\
                    latency = \"fixed\"\n";
    let log = replayed(&trace, settings);
    right("whole milliseconds", &in_whole(&log, 1_000_000));
    // The clock of this product's own logger tells nanoseconds: what it has of one moment is ordered by the ids.
    let mut own = in_whole(&log, 1_000_000);
    own.run = log.run.clone();
    let report = own.log().check().1;
    let errors = |rule: &str| report.rule(rule).unwrap().errors > 0;
    assert!(errors("Q006") && errors("Q011"), "{}", problems(&report));
}

/// Equally urgent requests of one unit: the one that came last is preempted, or of those that came at one moment the
/// first that runs.
#[test]
fn any_of_the_requests_of_one_unit_of_the_clock_may_be_preempted() {
    for apart in [0, 1, 400] {
        for overlap in [false, true] {
            let line = |i: u32| {
                let at = apart * i;
                format!(
                    "{{\"timestamp\": {}.{:03}, \"input_length\": {}, \"output_length\": 27}}\n",
                    at / 1000,
                    at % 1000,
                    21 + 2 * i,
                )
            };
            let trace: String = (0..6).map(line).collect();
            let settings = format!(
                "policy = \"priority\"\nmax_model_len = 64\nblock_size = 4\nnum_gpu_blocks = 25\n\
                 latency = \"fixed\"\nasync_scheduling = {overlap}\n"
            );
            let log = replayed(&trace, &settings);
            assert!(log.e.where_is("event_type", "request_preempted").len() > 2);
            right(&format!("{apart} us apart"), &in_whole(&log, 1_000_000));
        }
    }
}
