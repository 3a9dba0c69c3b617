//! Fuzzing: what runs find, that they repeat themselves, and that broken loggers are caught.

use std::path::Path;

use schedlog::fuzz::case::Mode;
use schedlog::fuzz::coverage::EDGES;
use schedlog::fuzz::drive::{Rejection, drive};
use schedlog::fuzz::failure::Failure;
use schedlog::fuzz::generate::Limits;
use schedlog::fuzz::judge::{ReferenceLogger, Subject};
use schedlog::fuzz::run::{Found, RunOptions, RunState, run};
use schedlog::fuzz::sequence::{Call, EventSequence, RequestIndex};
use schedlog::fuzz::shrink::{Shrunk, shrink};
use schedlog::log::values::FinishReason;
use schedlog::logger::{LoggerError, SchedulerLogger};
use schedlog::units::{Blocks, Nanos, Priority, Tokens};

use crate::support::root;

pub(crate) fn options(seed: u64, cases: u64, mode: Mode, limits: Limits) -> RunOptions {
    RunOptions {
        seed,
        cases: Some(cases),
        time: None,
        mode,
        limits,
        keep_going: false,
        stop: Default::default(),
    }
}

/// Runs cases on one thread per subject.
pub(crate) fn fuzz(
    options: &RunOptions,
    mut subjects: Vec<Box<dyn Subject>>,
) -> (RunState, Vec<Found>) {
    let work = tempfile::tempdir().unwrap();
    run(options, &mut subjects, work.path(), |_| {})
}

/// Shrinks what was found.
pub(crate) fn smallest(found: &Found, subject: &mut dyn Subject) -> Shrunk {
    let work = tempfile::tempdir().unwrap();
    shrink(&found.case.sequence, found.failure.clone(), 3000, &mut |sequence| {
        subject.judge(sequence, work.path()).failure
    })
}

#[test]
fn the_logger_and_the_checks_agree_with_the_ledger() {
    let options = options(11, 512, Mode::Both, Limits::default());
    let (state, found) = fuzz(&options, vec![Box::new(ReferenceLogger), Box::new(ReferenceLogger)]);
    assert!(found.is_empty(), "{}", found[0].failure);
    assert_eq!(state.cases, 512);
    // A run that exercises nothing proves nothing.
    assert_eq!(state.coverage.edges(), EDGES.len());
    assert!(state.coverage.rules().count() > 40 && state.flagged > 50 && state.rejected > 1000);
}

#[test]
fn a_run_is_the_same_on_any_number_of_threads() {
    let options = options(5, 600, Mode::Both, Limits::default());
    let (one, _) = fuzz(&options, vec![Box::new(ReferenceLogger)]);
    let (three, _) = fuzz(
        &options,
        vec![Box::new(ReferenceLogger), Box::new(ReferenceLogger), Box::new(ReferenceLogger)],
    );
    let facts = |state: &RunState| {
        (state.cases, state.calls, state.rejected, state.flagged, state.coverage.points())
    };
    assert_eq!(facts(&one), facts(&three));
}

#[test]
fn saved_cases_stay_solved() {
    let directory = root().join("tests/fuzz");
    let mut names: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(!names.is_empty());
    let work = tempfile::tempdir().unwrap();
    for name in names {
        let sequence = EventSequence::read(&name).unwrap();
        let failure = ReferenceLogger.judge(&sequence, work.path()).failure;
        assert!(failure.is_none(), "{}: {}", name.display(), failure.unwrap());
        let again: EventSequence = serde_json::from_str(&sequence.to_json()).unwrap();
        assert_eq!(again, sequence);
    }
}

/// Counts one token too many for every answer of more than two.
struct Miscounting;

impl Subject for Miscounting {
    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn write(&mut self, sequence: &EventSequence, to: &Path) -> Result<Vec<Rejection>, Failure> {
        let mut wrong = sequence.clone();
        for call in &mut wrong.calls {
            if let Call::Running { computed_tokens, scheduled_tokens, .. } = call
                && computed_tokens.0 > 2
            {
                scheduled_tokens.0 += 1;
            }
        }
        let logger = SchedulerLogger::create(to, &wrong.run, wrong.logger_options()).unwrap();
        Ok(drive(&wrong, logger))
    }
}

#[test]
fn a_broken_logger_is_caught_and_its_case_is_small() {
    let options = options(1, 100, Mode::Legal, Limits::default());
    let (_, found) = fuzz(&options, vec![Box::new(Miscounting)]);
    let shrunk = smallest(&found[0], &mut Miscounting);
    assert!(
        matches!(
            shrunk.failure,
            Failure::Violated { as_called: false, .. } | Failure::Unnoticed { .. }
        ),
        "{}",
        shrunk.failure
    );
    assert!(shrunk.sequence.requests() <= 2 && shrunk.sequence.steps() <= 3);
    assert_eq!(
        Miscounting.judge(&shrunk.sequence, &root().join("target/tmp/fuzz")).failure.unwrap(),
        shrunk.failure
    );
}

/// A logger with one request that runs in a step without output.
fn under_way(directory: &Path) -> (SchedulerLogger, schedlog::logger::RequestHandle) {
    let mut saved = EventSequence::read(&root().join("tests/fuzz/preempted-time.json")).unwrap();
    // Nothing is known of the scheduler: the rules that need its settings stay out of it.
    saved.run.config.clear();
    let mut logger =
        SchedulerLogger::create(directory, &saved.run, saved.logger_options()).unwrap();
    let request = logger.record_request_arrival(Nanos(1), "a", Tokens(4), Priority(0)).unwrap();
    logger.begin_iteration(Nanos(2)).unwrap();
    let kv =
        schedlog::logger::KvCacheUsage { used: Blocks(1), total: Blocks(2), evicted: Blocks(0) };
    logger.record_schedule(Nanos(3), kv).unwrap();
    logger.record_request_scheduled(request, Tokens(0)).unwrap();
    logger
        .record_running(schedlog::logger::RunningRequest {
            request,
            kv_cache_blocks: Blocks(1),
            scheduled_tokens: Tokens(4),
            computed_tokens: Tokens(0),
            prefill: true,
        })
        .unwrap();
    (logger, request)
}

#[test]
fn a_step_under_way_at_shutdown_stands_in_every_file() {
    let directory = tempfile::tempdir().unwrap();
    let (logger, _) = under_way(directory.path());
    logger.shutdown(Nanos(9)).unwrap();
    let rows = |name: &str| {
        let text = std::fs::read_to_string(directory.path().join(name)).unwrap();
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(rows("per_iteration.csv")[0].starts_with("0,2,9,7,1,6,0,1,4,4,0,1,2,1,0,0,admit_new"));
    assert_eq!(rows("per_iteration_requests.csv").len(), 1);
    assert_eq!(rows("state_transitions.csv"), ["a,3,running,2,waiting"]);
    assert!(rows("per_request.csv")[0].contains("unfinished"));
}

#[test]
fn a_request_completes_by_a_token_of_the_output_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (mut logger, request) = under_way(directory.path());
    let complete = |logger: &mut SchedulerLogger, reason| {
        logger.record_request_completed(request, reason, Blocks(1), Tokens(0))
    };
    assert!(matches!(complete(&mut logger, FinishReason::Stop), Err(LoggerError::Hook(_))));
    logger.record_model_output(Nanos(5)).unwrap();
    assert!(matches!(complete(&mut logger, FinishReason::Stop), Err(LoggerError::Hook(_))));
    logger.record_tokens_generated(request, Tokens(1), Tokens(0)).unwrap();
    assert!(matches!(complete(&mut logger, FinishReason::Abort), Err(LoggerError::Hook(_))));
    let dropped = logger.record_request_dropped(Nanos(6), request, FinishReason::Abort, Blocks(1));
    assert!(matches!(dropped, Err(LoggerError::Hook(_))));
    complete(&mut logger, FinishReason::Stop).unwrap();
    logger.end_iteration(Nanos(7)).unwrap();
    // Not even a clock that runs backwards loses what is there.
    logger.shutdown(Nanos(0)).unwrap();
    schedlog::assert_log_holds!(directory.path());
}

#[test]
fn the_ledger_leaves_out_what_cannot_be() {
    let calls = [
        Call::Output { now: Nanos(1) },
        Call::Begin { now: Nanos(2) },
        Call::Begin { now: Nanos(3) },
        Call::Scheduled { request: RequestIndex(0), cached_tokens: Tokens(0) },
    ];
    let facts = schedlog::testing::Facts::of(&calls);
    assert_eq!(facts.left_out, [0, 2, 3]);
    assert!(!facts.is_complete);
}
