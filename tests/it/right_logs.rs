//! Right logs of loggers that write less, or the same otherwise, without a finding in any of them.

use schedlog::check::Verdict;
use schedlog::log::dialect::Habit;
use schedlog::settings::Settings;

use crate::conform_cases::{Job, log};
use crate::cuts::replayed;
use crate::dialect_writer::{VARIATIONS, written};
use crate::fixtures::{repo, tripped};
use crate::mutants::full_logs;
use crate::sheets::{Sheet, Sheets};

fn clean(what: &str, change: impl Fn(&mut Sheets)) -> usize {
    let mut changed = 0;
    for (name, log) in full_logs() {
        let mut written = log.clone();
        change(&mut written);
        changed += usize::from(written != log);
        let (_directory, report) = written.log().check();
        assert_eq!(report.verdict(), Verdict::Clean, "{name}, {what}: {:?}", tripped(&report));
    }
    assert!(changed > 1, "{what}: {changed} logs were changed");
    changed
}

fn without_column(sheet: &mut Sheet, name: &str) {
    let column = sheet.column(name);
    sheet.header.remove(column);
    sheet.rows.iter_mut().for_each(|row| drop(row.remove(column)));
}

/// Events of these types have empty details.
fn without_details(log: &mut Sheets, types: &[&str]) {
    for event in 0..log.e.len() {
        if types.contains(&log.e.text(event, "event_type")) {
            log.e.set(event, "details", "");
        }
    }
}

#[test]
fn completed_rows_may_be_left_out_where_nothing_counts_them() {
    clean("no completed rows", |log| {
        log.r.rows.retain(|row| row[2] != "completed");
        without_column(&mut log.i, "completed_count");
    });
    for (name, mut log) in full_logs() {
        log.r.rows.retain(|row| row[2] != "completed");
        without_column(&mut log.i, "completed_count");
        let (_directory, report) = log.log().check();
        assert!(report.dialect.has(Habit::NoCompletedRows), "{name}");
    }
}

/// Twenty requests that end behind more rows than are looked at to find out how a log is written.
fn late_ends(settings: &str, habits: &[&str]) -> Sheets {
    let request = |place: usize| {
        let output = 350 + 4 * place;
        format!("{{\"timestamp\": 0, \"input_length\": 20, \"output_length\": {output}}}\n")
    };
    // Of the last one the client gives up, so that no step runs it without tokens.
    let last =
        r#"{"timestamp": 0, "input_length": 20, "output_length": 900, "abort_after_ms": 9000}"#;
    let trace: String = (0..20).map(request).chain([format!("{last}\n")]).collect();
    let mut log =
        replayed(&trace, &format!("max_model_len = 1024\nlatency = \"fixed\"\n{settings}"));
    for variation in VARIATIONS.iter().filter(|variation| habits.contains(&variation.habit)) {
        (variation.write)(&mut log);
    }
    log
}

#[test]
fn rows_that_are_left_out_are_known_though_the_first_of_them_is_far_behind() {
    let log = late_ends("", &["fixed-columns-only", "no-completed-rows"]);
    let (_directory, report) = log.log().check();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", tripped(&report));
    assert!(report.dialect.has(Habit::NoCompletedRows));
}

/// The length of the running queue for batch_size, which is another one only where drafts of a request wait
/// for their output behind more rows than are looked at.
pub(crate) fn late_other_batches() -> Sheets {
    let drafts =
        "async_scheduling = true\nspeculative_method = \"eagle\"\nnum_speculative_tokens = 2\n";
    late_ends(drafts, &["batch-is-running"])
}

/// A request whose last token is in flight runs and is not scheduled.
#[test]
fn batches_that_are_the_running_queue_are_known_though_they_differ_late() {
    let note = "batch_size is the length of the running queue, not of the batch";
    let mut log = late_other_batches();
    let (_directory, report) = log.log().check();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", tripped(&report));
    assert!(report.notes.iter().any(|told| told == note), "{:?}", report.notes);
    let last = log.i.len() - 8;
    log.i.add(last, "batch_size", -1);
    let (_directory, report) = log.log().check();
    assert!(report.rule("Q003").is_some_and(|rule| rule.errors > 3), "{:?}", tripped(&report));
}

/// An end of unknown reason beside a first token may be an abort, and is not the end of the step.
#[test]
fn steps_that_end_at_their_decisions_are_not_ended_by_aborts() {
    clean("ends at the decision, no reasons", |log| {
        for row in 0..log.i.len() {
            let [start, decided, ..] = log.moments(row);
            log.i.set(row, "end_time", decided);
            log.i.set(row, "duration", decided - start);
        }
        without_column(&mut log.i, "output_processing_duration");
        without_details(log, &["request_completed"]);
    });
}

#[test]
fn details_may_be_empty_for_some_types_of_events() {
    for types in [
        &["request_preempted"][..],
        &["request_resumed"],
        &["request_scheduled"],
        &["request_scheduled", "request_resumed"],
        &["request_evicted", "request_preempted"],
    ] {
        clean(&format!("no details of {types:?}"), |log| without_details(log, types));
    }
}

/// What resumes nothing has no tokens to tell of, nor need it name its step.
#[test]
fn resumptions_beside_first_schedulings_may_have_other_details() {
    clean("resumed at first, no details of it", |log| {
        let [kind, details] = ["event_type", "details"].map(|column| log.e.column(column));
        let rows = std::mem::take(&mut log.e.rows).into_iter();
        let with_resumption = |row: Vec<String>| {
            let resumed = (row[kind] == "request_scheduled").then(|| {
                let mut resumed = row.clone();
                resumed[kind] = "request_resumed".to_owned();
                resumed[details].clear();
                resumed
            });
            [Some(row), resumed].into_iter().flatten()
        };
        log.e.rows = rows.flat_map(with_resumption).collect();
    });
}

#[test]
fn events_of_one_moment_stand_in_any_order() {
    clean("schedulings of a moment the other way round", |log| {
        let scheduled = log.e.where_is("event_type", "request_scheduled");
        for (index, first) in scheduled.iter().enumerate() {
            let moment = log.e.text(*first, "timestamp").to_owned();
            let same = |event: &&usize| log.e.text(**event, "timestamp") == moment;
            let last = scheduled[index..].iter().take_while(same).last();
            // Each pair once.
            let begins = index == 0 || log.e.text(scheduled[index - 1], "timestamp") != moment;
            if let (true, Some(last)) = (begins, last) {
                log.e.rows.swap(*first, *last);
            }
        }
    });
}

/// As a data frame writes whole numbers of a column with empty cells.
#[test]
fn whole_numbers_may_have_a_fraction_of_zeros_where_fractions_are_known() {
    clean("tpot with .0", |log| {
        log.p.map_text(
            "tpot",
            |text| if text.is_empty() { String::new() } else { format!("{text}.0") },
        );
    });
}

/// A log in which nothing happened is right; one whose steps were never written is not.
#[test]
fn a_log_without_rows_is_told_so() {
    for (name, log) in full_logs() {
        let mut empty = log.clone();
        for sheet in [&mut empty.p, &mut empty.i, &mut empty.r, &mut empty.e, &mut empty.t] {
            sheet.rows.clear();
        }
        let (_directory, report) = empty.log().check();
        assert_eq!((report.verdict(), tripped(&report)), (Verdict::Clean, vec!["F001"]), "{name}");
        let mut stepless = log.clone();
        stepless.i.rows.clear();
        stepless.r.rows.clear();
        let (_directory, report) = stepless.log().check();
        assert_eq!(report.verdict(), Verdict::Damaged, "{name}: {:?}", tripped(&report));
        assert!(tripped(&report).contains(&"X005"), "{name}: {:?}", tripped(&report));
    }
}

/// A request that is over is preempted in the step behind, and soon another one gets the number by which
/// the checks knew it: what that has computed is its own.
#[test]
fn a_request_that_was_preempted_behind_its_end_is_not_taken_for_a_later_one() {
    const JOBS: [Job; 13] = [
        (12_000, 1, 25, 25),
        (29_000, 4, 12, 12),
        (53_000, 20, 12, 12),
        (65_000, 20, 12, 12),
        (77_000, 15, 3, 3),
        (94_000, 4, 12, 12),
        (118_000, 20, 25, 25),
        (126_000, 15, 1, 1),
        (172_000, 15, 3, 3),
        (180_000, 15, 3, 3),
        (185_000, 20, 3, 3),
        (202_000, 1, 3, 3),
        (207_000, 1, 1, 1),
    ];
    let settings = Settings {
        async_scheduling: Some(true),
        max_num_seqs: Some(8),
        max_model_len: Some(100),
        block_size: Some(4),
        num_gpu_blocks: Some(27),
        enable_prefix_caching: Some(false),
        ..Settings::default()
    };
    let (_directory, report) = log(&JOBS, settings).log().check();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", tripped(&report));
}

/// Fixed columns, of which none counts the completed requests.
fn with_fixed_columns(log: &mut Sheets) {
    let fixed = VARIATIONS.iter().find(|other| other.habit == "fixed-columns-only").unwrap();
    (fixed.write)(log);
}

/// Two requests are over with the first step and two with the last, and no row says so.
#[test]
fn completed_rows_may_be_left_out_of_a_log_of_two_steps() {
    let line = |tokens: u32| {
        format!("{{\"timestamp\": 0, \"input_length\": 15, \"output_length\": {tokens}}}\n")
    };
    let mut log = replayed(&[2, 2, 1, 1].map(line).concat(), "latency = \"fixed\"\n");
    with_fixed_columns(&mut log);
    log.r.rows.retain(|row| row[2] != "completed");
    assert_eq!(log.r.len(), 6);
    let (_directory, report) = log.log().check();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", tripped(&report));
    assert!(report.dialect.has(Habit::NoCompletedRows));
}

/// Output is processed in no time, so that the client of the last request gives up at the moment at which
/// its step ends: the request has got nothing from that step.
#[test]
fn a_last_request_may_be_aborted_at_the_end_of_its_step() {
    let trace = r#"{"timestamp": 0, "input_length": 8, "output_length": 4}
{"timestamp": 200, "input_length": 8, "output_length": 40, "abort_after_ms": 45}
"#;
    let settings = "latency = \"fixed\"\nlatency_forward_ns = 10000000\nschedule_base_ns = 0\n\
                    schedule_per_request_ns = 0\noutput_base_ns = 0\noutput_per_request_ns = 0\n";
    let mut log = replayed(trace, settings);
    assert_eq!(log.p.text(1, "finish_reason"), "abort");
    with_fixed_columns(&mut log);
    log.e.map_text("details", |_| String::new());
    let (_directory, report) = log.log().check();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", tripped(&report));
}

/// A scheduler that takes no time.
const NO_TIME: &str = "async_scheduling = true\nlatency = \"fixed\"\nschedule_base_ns = 0\n\
                       schedule_per_request_ns = 0\noutput_base_ns = 0\noutput_per_request_ns = 0\n\
                       max_model_len = 256\n";

/// Where two steps are in flight, one may be decided at the moment of the one before: nothing tells of which of
/// them a decision is that names no step.
#[test]
fn two_steps_may_be_decided_at_one_moment() {
    let line = "{\"timestamp\": 0, \"input_length\": 64, \"output_length\": 4}\n";
    let mut log = replayed(&line.repeat(4), &format!("{NO_TIME}max_num_batched_tokens = 64\n"));
    assert_eq!(log.moments(0)[1], log.moments(1)[1]);
    assert_eq!((log.i.n(0, "admitted_count"), log.i.n(1, "admitted_count")), (1, 1));
    log.e.map_text("details", |_| String::new());
    let (_directory, report) = log.log().check();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", tripped(&report));
    with_fixed_columns(&mut log);
    let (_directory, report) = log.log().check();
    assert_eq!(report.verdict(), Verdict::Clean, "fixed columns: {:?}", tripped(&report));
}

/// The clients give up at once, as the engine wakes up: nothing says so but that no request has a token.
#[test]
fn ends_of_requests_without_tokens_are_of_no_output() {
    let line = |at: u32| {
        format!(
            "{{\"timestamp\": {at}, \"input_length\": 8, \"output_length\": 9, \"abort_after_ms\": 0}}\n"
        )
    };
    let settings = "latency = \"fixed\"\nschedule_base_ns = 5003\n";
    let mut log = replayed(&[3, 41, 95, 133].map(line).concat(), settings);
    assert_eq!(log.p.where_is("output_tokens", "0").len(), 4);
    let starts: Vec<_> = (0..log.i.len()).map(|row| log.moments(row)[0]).collect();
    assert!((0..4).all(|row| starts.contains(&log.p.n(row, "completion_time"))));
    with_fixed_columns(&mut log);
    log.e.map_text("details", |_| String::new());
    let (_directory, report) = log.log().check();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", tripped(&report));
}

/// The last request waits in one step and is taken in by the next one, which is decided at that moment.
#[test]
fn waiting_rows_may_be_left_out_where_the_step_behind_is_decided_at_the_same_moment() {
    let trace = [(0, 135), (1, 189), (1, 250)].map(|(at, input)| {
        format!("{{\"timestamp\": {at}, \"input_length\": {input}, \"output_length\": 1}}\n")
    });
    let whole = "enable_chunked_prefill = false\nmax_num_batched_tokens = 256\n";
    let mut log = replayed(&trace.concat(), &format!("{NO_TIME}{whole}"));
    let waiting = log.r.where_is("state", "waiting");
    assert_eq!(waiting.len(), 1);
    log.r.rows.remove(waiting[0]);
    let (_directory, report) = log.log().check();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", tripped(&report));
}

/// All requests end in the last step that has rows, so that no step in front of it tells that their `completed`
/// rows are left out.
#[test]
fn completed_rows_may_be_left_out_of_a_log_whose_requests_all_end_in_its_last_step() {
    let line = "{\"timestamp\": 0, \"input_length\": 15, \"output_length\": 1}\n";
    for (settings, habits) in [
        ("", &["no-completed-rows"][..]),
        ("", &["no-completed-rows", "fixed-columns-only"]),
        ("", &["no-completed-rows", "fixed-columns-only", "ends-at-decision"]),
        ("max_num_seqs = 1\n", &["no-completed-rows", "no-initial-rows"]),
        ("max_num_seqs = 1\n", &["no-completed-rows", "no-initial-rows", "no-details"]),
    ] {
        let log = replayed(&line.repeat(3), &format!("latency = \"fixed\"\n{settings}"));
        for run_json in [true, false] {
            let (_directory, report) = written(&log, habits, run_json).check();
            let clean = report.verdict() == Verdict::Clean;
            assert!(clean, "{habits:?}, run.json {run_json}: {:?}", tripped(&report));
            assert!(report.dialect.has(Habit::NoCompletedRows), "{habits:?}");
        }
    }
}

/// Rows were cut off where others of the last step are missing, too, or another step behind it.
#[test]
fn completed_rows_are_lost_where_others_are() {
    let line = "{\"timestamp\": 0, \"input_length\": 15, \"output_length\": 1}\n";
    let log = replayed(&line.repeat(3), "latency = \"fixed\"\nmax_num_seqs = 3\n");
    let kept = |rows: usize| {
        let mut log = log.clone();
        log.r.rows.truncate(rows);
        log.log().check().1.verdict()
    };
    assert_eq!([2, 3, 4].map(kept), [Verdict::Damaged, Verdict::Clean, Verdict::Damaged]);
    let log = replayed(&line.repeat(4), "latency = \"fixed\"\nmax_num_seqs = 3\n");
    let mut cut = log.clone();
    cut.r.rows.truncate(4);
    assert_eq!(cut.log().check().1.verdict(), Verdict::Damaged);
}

/// The step behind is decided as it begins, at the very moment of the decision before it, and preempts: nothing
/// tells of which of the two the preemption is, and no row shows who is preempted.
#[test]
fn a_preemption_may_be_of_the_step_behind_that_is_decided_at_the_same_moment() {
    let trace = r#"{"timestamp": 26, "input_length": 8, "output_length": 1}
{"timestamp": 26, "input_length": 14, "output_length": 2}
"#;
    let settings = "max_model_len = 32\nnum_gpu_blocks = 3\nasync_scheduling = true\n\
                    speculative_method = \"eagle\"\nnum_speculative_tokens = 1\n\
                    schedule_base_ns = 0\n";
    let log = replayed(trace, settings);
    assert_eq!(log.moments(0)[1], log.moments(1)[1]);
    assert_eq!([0, 1].map(|row| log.i.n(row, "preempted_count")), [0, 1]);
    let (_directory, report) = written(&log, &["no-preempted-rows", "no-details"], true).check();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", tripped(&report));
}

/// A writer that quotes all fields.
#[test]
fn numbers_of_steps_may_be_quoted_where_rows_are_left_out() {
    let bare = full_logs().into_iter().find(|(name, _)| name == "tiny-cache-preemption").unwrap().1;
    for (habit, habits) in [
        (Habit::NoInitialRows, ["no-initial-rows"]),
        (Habit::NoCompletedRows, ["no-completed-rows"]),
        (Habit::NoPreemptedRows, ["no-preempted-rows"]),
    ] {
        let mut log = written(&bare, &habits, false);
        let rows = log.files.get_mut("per_iteration_requests.csv").unwrap();
        let text = String::from_utf8(rows.clone()).unwrap();
        let (header, lines) = text.split_once('\n').unwrap();
        let quoted = lines.lines().map(|line| format!("\"{}\"\n", line.replace(',', "\",\"")));
        *rows = format!("{header}\n{}", quoted.collect::<String>()).into_bytes();
        let (_directory, report) = log.check();
        assert_eq!(report.verdict(), Verdict::Clean, "{habits:?}: {:?}", tripped(&report));
        assert!(report.dialect.has(habit), "{habits:?}");
    }
}

/// All drafts are rejected, and no setting tells that there are any.
#[test]
fn steps_may_decode_drafts_of_which_nothing_else_tells() {
    let trace = "{\"timestamp\": 0, \"input_length\": 60, \"output_length\": 12}\n".repeat(6);
    let drafts =
        "speculative_method = \"eagle\"\nnum_speculative_tokens = 3\ndraft_acceptance = 0.0\n";
    for running in [1, 4] {
        let log = replayed(&trace, &format!("max_num_seqs = {running}\n{drafts}"));
        let (_directory, report) = written(&log, &["fixed-columns-only"], false).check();
        assert_eq!(report.verdict(), Verdict::Clean, "{running}: {:?}", tripped(&report));
    }
}

/// Shut down in mid-run: what is undefined is that of the end alone.
#[test]
fn zeros_of_a_request_that_did_not_end_show_the_dialect() {
    let log = Sheets::read(&repo("tests/fixtures/logs/zeros-of-a-request-that-did-not-end"));
    let (_directory, report) = log.log().check();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", tripped(&report));
    assert!(report.dialect.has(Habit::ZeroForUndefined));
    // Not where some of them are empty.
    let mut mixed = log;
    mixed.p.set(0, "throughput", "");
    let (_directory, report) = mixed.log().check();
    assert_eq!((report.verdict(), tripped(&report)), (Verdict::Violated, vec!["F005"]));
}

/// Shut down while the first step is in flight, of which there is no row.
#[test]
fn an_engine_may_be_shut_down_in_its_first_step() {
    let log = Sheets::read(&repo("tests/fixtures/logs/shut-down-in-the-first-step"));
    let (_directory, report) = log.log().check();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", tripped(&report));
    // A token shows that it had ended.
    let mut ended = log;
    ended.p.set(0, "output_tokens", 1);
    let (_directory, report) = ended.log().check();
    assert!(tripped(&report).contains(&"X005"), "{:?}", tripped(&report));
}

/// While a step was in flight, as its output came: nothing tells that these are no outputs, but the tokens.
#[test]
fn clients_may_end_all_requests() {
    let client = |at: u32| {
        format!(
            "{{\"timestamp\": {at}, \"input_length\": 60, \"output_length\": 40, \"abort_after_ms\": 40}}\n"
        )
    };
    let trace: String = (0..5).map(|request| client(request * 130)).collect();
    for overlapping in [false, true] {
        let settings = format!("latency = \"fixed\"\nasync_scheduling = {overlapping}\n");
        let log = replayed(&trace, &settings);
        assert_eq!(log.p.where_is("finish_reason", "abort").len(), 5);
        let habits = ["fixed-columns-only", "no-details"];
        let (_directory, report) = written(&log, &habits, false).check();
        assert_eq!(report.verdict(), Verdict::Clean, "{overlapping}: {:?}", tripped(&report));
    }
}
