//! A file of another run of the same requests among those of this one: it is named, whichever it is.

use std::fmt::Write;
use std::path::Path;

use insta::assert_snapshot;
use schedlog::check::{CheckOptions, check_dir};
use schedlog::diagnose::Diagnosis;

use crate::edits::Edited;
use crate::sheets::TABLES;
use crate::support::in_snapshots;

/// Thirty requests of two runs: the ids are the same, and nothing else is.
fn run(directory: &Path, seed: u64, flags: &[&str]) -> Edited {
    let trace = directory.join(format!("run-{seed}.jsonl"));
    let mut text = String::new();
    let (mut at, mut dice) = (0, seed);
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    for _ in 0..30 {
        at += 5 + roll(40);
        let (input, output) = (20 + roll(100), 4 + roll(36));
        writeln!(
            text,
            "{{\"timestamp\": {at}, \"input_length\": {input}, \"output_length\": {output}}}"
        )
        .unwrap();
    }
    std::fs::write(&trace, text).unwrap();
    let settings = "max_num_seqs = 8\nmax_num_batched_tokens = 128\nnum_gpu_blocks = 40\n\
                    max_model_len = 400\n";
    std::fs::write(trace.with_extension("toml"), settings).unwrap();
    let flags: Vec<&str> = ["--log-level", "full"].iter().chain(flags).copied().collect();
    Edited::of_run(trace.with_extension("").to_str().unwrap(), &flags)
}

/// What is said first of the log.
fn first(log: &Edited) -> String {
    let report = check_dir(&log.path(), &CheckOptions::default()).unwrap();
    let diagnosis = Diagnosis::of(&report, false);
    let group = &diagnosis.groups[0];
    let causes: Vec<_> =
        group.causes.iter().map(|cause| format!("{}: {}", cause.id, cause.text)).collect();
    causes.join("; ")
}

#[test]
fn the_file_of_another_run_is_named_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut all = String::new();
    for flags in [&[] as &[&str], &["--async-scheduling"]] {
        for name in TABLES {
            let log = run(directory.path(), 7, flags);
            let other = run(directory.path(), 8, flags);
            std::fs::copy(other.path().join(name), log.path().join(name)).unwrap();
            let told = first(&log);
            assert!(told.starts_with("another-run: "), "{name}: {told}");
            assert!(told.ends_with("the file is of another run"), "{name}: {told}");
            assert!(told.contains(&format!(" of {name} are ")), "{name}: {told}");
            writeln!(all, "{told}").unwrap();
        }
    }
    in_snapshots("messages", || assert_snapshot!("another-run", all));
}

#[test]
fn moments_that_are_wrong_in_every_row_are_of_no_other_run() {
    let directory = tempfile::tempdir().unwrap();
    let ends = |log: &Edited| -> Vec<(i64, i64)> {
        let number = |text: &str| text.parse::<i64>().unwrap();
        let rows = log.rows("per_iteration.csv");
        rows.iter().map(|row| (number(&row["end_time"]), number(&row["start_time"]))).collect()
    };
    let log = run(directory.path(), 7, &[]);
    let steps = ends(&log);
    let log = log.number("per_request.csv", "completion_time", |_, at, _| {
        steps.iter().find(|(end, _)| *end == at).map_or(at, |(_, start)| *start)
    });
    assert_eq!(
        first(&log),
        "other-moment: completion_time is start_time of its step instead of end_time"
    );
}

#[test]
fn times_that_are_cut_to_microseconds_are_rounded_and_no_skew() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = run(directory.path(), 7, &["--async-scheduling"]);
    for (file, columns) in [
        ("per_request.csv", &["waiting_time", "execution_time", "e2e_latency", "ttft"] as &[&str]),
        (
            "per_iteration.csv",
            &[
                "duration",
                "scheduling_overhead",
                "forward_pass_duration",
                "output_processing_duration",
            ],
        ),
        ("per_iteration_requests.csv", &["time_in_state"]),
        ("state_transitions.csv", &["duration_in_prev_state"]),
    ] {
        for column in columns {
            log = log.number(file, column, |_, time, _| time / 1_000 * 1_000);
        }
    }
    assert_eq!(
        first(&log),
        "rounded-durations: durations in per_iteration.csv, per_iteration_requests.csv, per_request.csv, \
         state_transitions.csv are whole microseconds, and the moments that they lie between are not: each was \
         rounded before it was written. Write the difference of the two moments as it is, in nanoseconds"
    );
}

#[test]
fn a_corrected_clock_of_an_asynchronous_log_is_no_late_write() {
    let directory = tempfile::tempdir().unwrap();
    for by in [-3_000_000, 3_000_000] {
        let mut log = run(directory.path(), 7, &["--async-scheduling"]);
        let steps = log.rows("per_iteration.csv");
        let middle: i64 = steps[steps.len() / 2]["end_time"].parse().unwrap();
        for (file, columns) in [
            (
                "per_request.csv",
                &["arrival_time", "first_scheduled_time", "completion_time"] as &[&str],
            ),
            ("per_iteration.csv", &["start_time", "end_time"]),
            ("events.csv", &["timestamp"]),
            ("state_transitions.csv", &["timestamp"]),
        ] {
            for column in columns {
                log = log.number(file, column, |_, at, _| if at < middle { at } else { at + by });
            }
        }
        let told = first(&log);
        assert!(told.starts_with("clock-jumps: what lasts across a moment between "), "{told}");
    }
}

#[test]
fn an_offset_of_all_changes_is_told_with_its_size() {
    let directory = tempfile::tempdir().unwrap();
    let log = run(directory.path(), 7, &["--async-scheduling"]);
    let log =
        log.number("state_transitions.csv", "duration_in_prev_state", |_, time, _| time + 5_000);
    assert_eq!(
        first(&log),
        "constant-offset: duration_in_prev_state is too large by the same 5000 in each: it is measured from another \
         moment or counted from another base"
    );
}

#[test]
fn a_reason_that_is_always_the_same_is_told_of_the_details_that_have_it() {
    let stop = |_: usize, row: &mut crate::edits::Fields| {
        let details =
            row["details"].replace("\"length\"", "\"stop\"").replace("\"abort\"", "\"stop\"");
        row.insert("details".to_owned(), details);
    };
    let log = Edited::of("tiny-cache-preemption").edit("events.csv", stop);
    assert_eq!(
        first(&log),
        "always-the-same: finish_reason is stop in details of all 5 events that have it, and length in all of \
         their rows in per_request.csv: one of the two is always the same, whatever happened"
    );
    let log = Edited::of("aborts").edit("events.csv", stop);
    assert_eq!(
        first(&log),
        "always-the-same: finish_reason is stop in details of all 6 events that have it: it is always the same, not \
         that of the event"
    );
}

#[test]
fn counts_that_happen_to_be_alike_are_no_part_of_one_another() {
    // Events that stand twice double what is counted of them, which is as much as each other count of the request.
    let log = Edited::of("tiny-cache-preemption").reorder("events.csv", |rows| {
        let all = std::mem::take(rows);
        rows.extend(all.into_iter().flat_map(|row| [row.clone(), row]));
    });
    assert_eq!(
        first(&log),
        "written-twice: every row of events.csv stands twice, the one behind the other: it is written by two hooks, \
         or flushed twice"
    );
}

/// The lines of a file, each with the moment at which it is written; the header first.
fn by_moment(log: &Edited, name: &str) -> Vec<(u64, String)> {
    let read = |name: &str| std::fs::read_to_string(log.path().join(name)).unwrap();
    let field = |line: &str, place: usize| {
        line.split(',').nth(place).and_then(|field| field.parse().ok()).unwrap_or(0)
    };
    let ends: Vec<u64> =
        read("per_iteration.csv").lines().skip(1).map(|line| field(line, 2)).collect();
    let text = read(name);
    let moment = |line: &str| match name {
        "per_request.csv" => field(line, 3),
        "per_iteration.csv" => field(line, 2),
        "per_iteration_requests.csv" => ends[field(line, 0) as usize],
        "events.csv" => field(line, 0),
        _ => field(line, 1),
    };
    text.lines().skip(1).map(|line| (moment(line), line.to_owned())).collect()
}

/// Two engines write their rows into the same files, each as its steps end.
#[test]
fn engines_that_write_by_turns_into_one_directory_are_no_second_run() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other] = [7, 8].map(|seed| run(directory.path(), seed, &[]));
    let mixed = run(directory.path(), 7, &[]);
    for name in TABLES {
        let text = std::fs::read_to_string(one.path().join(name)).unwrap();
        let mut rows = by_moment(&one, name);
        rows.extend(by_moment(&other, name));
        rows.sort_by_key(|(at, _)| *at);
        let header = text.lines().next().unwrap().to_owned();
        let lines = std::iter::once(header).chain(rows.into_iter().map(|(_, line)| line));
        let text: String = lines.map(|line| line + "\n").collect();
        std::fs::write(mixed.path().join(name), text).unwrap();
    }
    let told = first(&mixed);
    assert!(told.starts_with("several-engines: "), "{told}");
}
