//! Small logs in dialects that were once compared wrongly, each with what must come out.

use schedlog::config::{Policy, SpeculativeMethod};
use schedlog::conform::log::{ConformOptions as Options, LogReport, LogVerdict, conform_log};
use schedlog::engine::run::{LogOptions, replay_trace};
use schedlog::log::values::LogLevel;
use schedlog::settings::Settings;
use schedlog::trace::{Arrival, Trace, TraceRequest, private_token};
use schedlog::units::{Nanos, Priority, TokenRun, Tokens};

use crate::conform_canaries::{replay, text};
use crate::defects::compressed;
use crate::dialect_writer::written;
use crate::fixtures::Log;
use crate::sheets::Sheets;

/// A request: when it arrives in microseconds, its prompt and output tokens, and the most of the latter.
pub(crate) type Job = (u64, u32, u32, u32);

fn trace(jobs: &[Job]) -> Trace {
    Trace::from_requests("cases", requests(jobs))
}

fn requests(jobs: &[Job]) -> Vec<TraceRequest> {
    let request = |(index, (at, input, output, most)): (usize, &Job)| TraceRequest {
        ordinal: index as u32,
        id: format!("r{index}").into(),
        arrival: Arrival::At(Nanos(at * 1_000)),
        session: None,
        input_tokens: Tokens(*input),
        output_tokens: Tokens(*output),
        max_tokens: Tokens(*most),
        priority: Priority(0),
        abort_after: None,
        prompt: vec![TokenRun { first: private_token(index as u32, 0), len: Tokens(*input) }],
        failed: false,
    };
    jobs.iter().enumerate().map(request).collect()
}

/// The reference's log of these requests.
pub(crate) fn log(jobs: &[Job], settings: Settings) -> Sheets {
    log_of(&trace(jobs), settings)
}

fn log_of(trace: &Trace, settings: Settings) -> Sheets {
    let directory = tempfile::tempdir().unwrap();
    let resolved = settings.resolve().unwrap();
    let options = LogOptions::default();
    replay_trace(trace, &resolved, Some(directory.path()), &options, |_| {}).unwrap();
    Sheets::read(directory.path())
}

fn small() -> Settings {
    Settings {
        max_num_seqs: Some(4),
        max_num_batched_tokens: Some(64),
        max_model_len: Some(64),
        block_size: Some(1),
        num_gpu_blocks: Some(129),
        enable_prefix_caching: Some(false),
        ..Settings::default()
    }
}

fn compared(log: &Log) -> LogReport {
    let directory = log.write();
    conform_log(directory.path(), &Options::default()).unwrap()
}

fn conforms(report: &LogReport) {
    assert_eq!(report.verdict, LogVerdict::Conforms, "{report:#?}");
    assert_eq!(report.counts.same, report.counts.iterations, "{report:#?}");
}

fn drafting(overlap: bool, acceptance: f64) -> Settings {
    let method = if overlap { SpeculativeMethod::NgramGpu } else { SpeculativeMethod::Ngram };
    Settings {
        speculative_method: Some(method),
        num_speculative_tokens: Some(2),
        draft_acceptance: Some(acceptance),
        async_scheduling: Some(overlap),
        ..small()
    }
}

/// Only the last step has a running request without a token, as its output in flight is its last one; the
/// other request has as many as there are running ones.
#[test]
fn a_dialect_that_shows_itself_in_the_last_step_only_is_recognised() {
    let log = log(&[(0, 8, 3, 3), (0, 8, 3, 9)], drafting(true, 0.0));
    let differ = |row: &usize| log.i.n(*row, "batch_size") != log.i.n(*row, "running_count");
    let steps: Vec<_> = (0..log.i.len()).filter(differ).collect();
    let last = log.r.n(log.r.len() - 1, "iteration_id") as usize;
    assert_eq!(steps, [last], "the log must show it there and nowhere else");
    assert!(log.i.n(last, "total_tokens") >= log.i.n(last, "running_count"));
    conforms(&compared(&written(&log, &["batch-is-running"], true)));
}

/// Of a log that does not say when its steps ended, cut behind any step: whether the drafts of the last
/// one brought a request to its end is not taken for told.
#[test]
fn an_end_behind_the_cut_of_the_steps_is_not_taken_for_one_of_the_last_that_is_there() {
    for acceptance in [0.0, 0.5, 1.0] {
        for overlap in [false, true] {
            let log = log(&[(0, 6, 9, 9), (5_000, 3, 14, 14)], drafting(overlap, acceptance));
            let habits = ["no-completed-rows", "ends-at-decision", "no-output-duration"];
            conforms(&compared(&written(&log, &habits, true)));
            for steps in 2..log.i.len() {
                let mut cut = log.clone();
                cut.i.rows.truncate(steps);
                let report = compared(&written(&cut, &habits, true));
                let told = !matches!(report.verdict, LogVerdict::Diverges(_));
                assert!(told, "{acceptance} {overlap}, {steps} steps: {report:#?}");
            }
        }
    }
}

fn never_diverges(what: &str, log: &Log) -> LogReport {
    let report = compared(log);
    assert!(!matches!(report.verdict, LogVerdict::Diverges(_)), "{what}: {report:#?}");
    report
}

/// A step without room passes a request over that is about to end, and per_request.csv ends before its
/// row: nothing tells that it is, but that the reference then decides as logged.
#[test]
fn a_limit_behind_the_end_of_per_request_is_seen_from_who_is_passed_over() {
    let jobs = [(1_000, 2, 5, 5), (5_000, 6, 1, 1), (5_000, 11, 4, 4)];
    let settings = Settings {
        max_num_batched_tokens: Some(24),
        max_model_len: Some(20),
        num_gpu_blocks: Some(22),
        async_scheduling: Some(true),
        ..small()
    };
    let log = log(&jobs, settings);
    for requests in 0..log.p.len() {
        let mut cut = log.clone();
        cut.p.rows.truncate(requests);
        let report = never_diverges(&format!("{requests} requests"), &cut.log());
        assert_eq!(report.counts.same, report.counts.iterations, "{report:#?}");
    }
}

/// The step that preempts a request whose last output is in flight may be behind the end of
/// per_iteration.csv; its `completed` row has no blocks then.
#[test]
fn a_preemption_behind_the_end_of_the_steps_is_not_held_against_who_completes() {
    let settings =
        Settings { max_model_len: Some(20), num_gpu_blocks: Some(22), ..drafting(true, 1.0) };
    let log = log(&[(12_000, 6, 2, 2), (12_000, 9, 3, 3)], settings);
    for steps in 2..log.i.len() {
        let mut cut = log.clone();
        cut.i.rows.truncate(steps);
        never_diverges(&format!("{steps} steps"), &cut.log());
    }
}

/// Where nothing counts ends and nobody is in the next step, all are over; after how many tokens is
/// not known of those whose rows are lost in both files.
#[test]
fn ends_that_no_file_but_events_tells_are_not_held_against_the_log() {
    for name in ["idle-gap", "shared-prefixes"] {
        let directory = tempfile::tempdir().unwrap();
        replay(name, directory.path(), LogLevel::Standard);
        let log = Sheets::read(directory.path());
        for row in log.r.where_is("state", "completed") {
            for requests in 0..log.p.len() {
                let mut cut = log.clone();
                cut.r.rows.truncate(row);
                cut.p.rows.truncate(requests);
                let what = format!("{name}, {row} rows, {requests} requests");
                never_diverges(&what, &written(&cut, &["fixed-columns-only"], true));
            }
        }
    }
}

/// A cut file tells less; one whose checksum is wrong may tell what is not so.
#[test]
fn a_compressed_file_with_a_wrong_checksum_is_damage_and_no_cut() {
    let directory = tempfile::tempdir().unwrap();
    replay("plain-run", directory.path(), LogLevel::Standard);
    let log = Sheets::read(directory.path()).log();
    let packed = |file: &str, change: fn(&mut Vec<u8>)| {
        let mut log = log.clone();
        let mut bytes = compressed(log.files.remove(file).unwrap());
        change(&mut bytes);
        log.files.insert(format!("{file}.gz"), bytes);
        compared(&log)
    };
    let checksum = |bytes: &mut Vec<u8>| {
        let at = bytes.len() - 8;
        bytes[at] ^= 1;
    };
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 8);
    for file in ["per_request.csv", "per_iteration.csv", "per_iteration_requests.csv", "events.csv"]
    {
        let right = packed(file, |_| {});
        assert_eq!((right.exit_code(), right.damage.len()), (0, 0), "{file}");
        let report = packed(file, checksum);
        assert_eq!((report.exit_code(), report.damage.len()), (2, 1), "{file} {report:#?}");
        assert!(report.damage[0].starts_with(&format!("{file}: ")), "{report:#?}");
        let shown = text(&report);
        let verdict = shown.lines().last().unwrap();
        assert!(verdict.ends_with(", but a file is damaged"), "{file} {verdict}");
        assert_eq!(packed(file, cut).exit_code(), 0, "{file}");
    }
}

/// That rows of waiting requests are left out shows by who waited; whoever did may be behind the end of
/// per_request.csv.
#[test]
fn a_dialect_without_waiting_rows_is_recognised_though_per_request_is_cut() {
    for name in ["watermark", "async-preemption", "too-long-prompts"] {
        let directory = tempfile::tempdir().unwrap();
        replay(name, directory.path(), LogLevel::Standard);
        let log = Sheets::read(directory.path());
        for requests in 0..log.p.len() {
            let mut cut = log.clone();
            cut.p.rows.truncate(requests);
            for habits in [&["no-initial-rows"][..], &["no-initial-rows", "fixed-columns-only"]] {
                let what = format!("{name}, {requests} requests, {habits:?}");
                never_diverges(&what, &written(&cut, habits, true));
            }
        }
    }
}

/// Behind the end of events.csv a running request that has no row any more may be over, or be preempted in
/// a dialect that does not show it.
#[test]
fn who_is_preempted_behind_the_end_of_the_events_is_not_taken_for_gone() {
    for name in ["tiny-cache-preemption", "async-preemption"] {
        let directory = tempfile::tempdir().unwrap();
        replay(name, directory.path(), LogLevel::Standard);
        let log = Sheets::read(directory.path());
        for habits in [&["no-preempted-rows"][..], &["no-preempted-rows", "no-initial-rows"]] {
            for events in 1..log.e.len() {
                let mut cut = log.clone();
                cut.e.rows.truncate(events);
                cut.p.rows.truncate(events / 8);
                let what = format!("{name} {habits:?}, {events} events");
                never_diverges(&what, &written(&cut, habits, true));
            }
        }
    }
}

/// The last step with running requests is the only one that could show that `completed` rows are left out,
/// and with the fixed columns nothing counts ends: who stops before its limit is over all the same.
#[test]
fn a_request_that_stops_early_in_the_only_step_is_over_though_no_row_tells() {
    let habits = ["no-completed-rows", "fixed-columns-only"];
    for overlap in [false, true] {
        for output in 1..4 {
            let settings = Settings { async_scheduling: Some(overlap), ..small() };
            let log = log(&[(0, 7, output, output + 1), (0, 9, output, output + 3)], settings);
            conforms(&compared(&written(&log, &habits, true)));
        }
    }
    for acceptance in [0.0, 0.5, 1.0] {
        let log = log(&[(0, 7, 3, 5)], drafting(false, acceptance));
        never_diverges(&format!("{acceptance}"), &written(&log, &habits, true));
    }
}

/// Of requests that wait without rows only the number is told: behind the end of events.csv one may give up
/// and another arrive, so that the number stays what it was.
#[test]
fn who_gives_up_unseen_while_another_arrives_is_not_taken_for_passed_over() {
    let arrivals = [0, 1_000, 2_000, 21_500].map(|at| (at, 8, 9, 9));
    let mut requests = requests(&arrivals);
    requests[1].abort_after = Some(Nanos(20_000_000));
    let settings = Settings { max_num_seqs: Some(1), ..small() };
    let log = log_of(&Trace::from_requests("cases", requests), settings);
    let log = written(&log, &["no-initial-rows"], true);
    conforms(&compared(&log));
    let sheets = Sheets::read(log.write().path());
    assert!(sheets.i.where_is("waiting_count", "3").is_empty(), "the number must not tell");
    for events in 1..sheets.e.len() {
        let mut cut = sheets.clone();
        cut.e.rows.truncate(events);
        cut.p.rows.clear();
        never_diverges(&format!("{events} events"), &cut.log());
    }
}

/// Two requests are admitted at one moment, and stand in events.csv in the other order: their rows tell in
/// which they were.
#[test]
fn admissions_of_one_moment_may_stand_in_any_order() {
    let mut log = log(&[(0, 8, 3, 3), (0, 9, 3, 3)], small());
    let admitted = log.e.where_is("event_type", "request_scheduled");
    let [first, second] = admitted[..] else { panic!("both are admitted: {admitted:?}") };
    assert_eq!(log.e.n(first, "timestamp"), log.e.n(second, "timestamp"));
    log.e.rows.swap(first, second);
    conforms(&compared(&log.log()));
}

/// A step preempts whoever it could schedule, so that nobody gets a token: the drafts of those who run on are
/// still there in the next one.
#[test]
fn a_step_that_schedules_nobody_leaves_the_drafts_where_they_are() {
    let settings = Settings {
        policy: Some(Policy::Priority),
        max_num_seqs: None,
        max_num_batched_tokens: None,
        max_model_len: Some(100),
        num_gpu_blocks: Some(101),
        speculative_method: Some(SpeculativeMethod::Eagle),
        num_speculative_tokens: Some(3),
        enable_prefix_caching: Some(true),
        ..drafting(false, 0.0)
    };
    let log = log(&[(0, 35, 8, 8), (0, 26, 8, 8), (0, 6, 8, 8)], settings);
    let idle =
        |row: &usize| log.i.n(*row, "total_tokens") == 0 && log.i.n(*row, "running_count") > 0;
    assert!((0..log.i.len()).any(|row| idle(&row)), "the log must have such a step");
    conforms(&compared(&written(&log, &["fixed-columns-only"], true)));
}
