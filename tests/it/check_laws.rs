//! The checker finds nothing in what the reference logger writes, and something in what it does not.

use proptest::prelude::*;
use schedlog::check::{CheckOptions, CheckReport, Verdict, check_dir};
use schedlog::engine::replay::ReplayError;
use schedlog::engine::run::{LogOptions, RunError, replay_trace};
use schedlog::log::values::LogLevel;
use schedlog::report::{TextOptions, write_text};
use schedlog::settings::Resolved;
use schedlog::trace::{Trace, TraceRequest};

use crate::dialect_writer::{VARIATIONS, written};
use crate::fixtures::tripped;
use crate::golden::{bundled, replay_bundled};
use crate::sheets::Sheets;
use crate::strategies::{log_options, settings, traces};

fn text(report: &CheckReport) -> String {
    let mut out = Vec::new();
    write_text(report, &TextOptions::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn levels() -> [LogOptions; 3] {
    [LogLevel::Full, LogLevel::Standard, LogLevel::Summary]
        .map(|log_level| LogOptions { log_level, ..LogOptions::default() })
}

#[test]
fn bundled_traces_are_clean_at_every_level_and_exercise_every_rule() {
    let mut idle: Option<Vec<&str>> = None;
    for (name, trace) in bundled() {
        for options in levels() {
            let directory = tempfile::tempdir().unwrap();
            replay_bundled(&trace, directory.path(), &options);
            let report = check_dir(directory.path(), &CheckOptions::default()).unwrap();
            assert_eq!(report.verdict(), Verdict::Clean, "{name}: {}", text(&report));
            assert!(report.dialect.is_reference(), "{name}: {:?}", report.dialect);
            let here = report.rules.iter().filter(|rule| rule.exercised == 0);
            let here: Vec<_> = here.map(|rule| rule.rule.id).collect();
            idle = Some(match idle {
                None => here,
                Some(before) => before.into_iter().filter(|id| here.contains(id)).collect(),
            });
        }
    }
    assert_eq!(idle.unwrap(), [""; 0], "rules that no bundled trace exercises");
}

/// Replays; `None` where vLLM itself would hang or die under these settings.
fn replayed(
    requests: Vec<TraceRequest>,
    settings: &Resolved,
    options: &LogOptions,
) -> Option<tempfile::TempDir> {
    let directory = tempfile::tempdir().unwrap();
    let trace = Trace::from_requests("generated", requests);
    match replay_trace(&trace, settings, Some(directory.path()), options, |_| {}) {
        Ok(_) => Some(directory),
        Err(RunError::Replay(ReplayError::Assertion(_) | ReplayError::Stuck { .. })) => None,
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_replay_is_clean(
        requests in traces(12),
        settings in settings(),
        options in log_options(),
    ) {
        let directory = replayed(requests, &settings, &options);
        prop_assume!(directory.is_some());
        let report = check_dir(directory.unwrap().path(), &CheckOptions::default()).unwrap();
        prop_assert_eq!(tripped(&report), [""; 0], "{}", text(&report));
    }

    #[test]
    fn a_replay_in_any_dialect_is_clean(
        requests in traces(10),
        settings in settings(),
        chosen in proptest::collection::vec(proptest::bool::weighted(0.3), VARIATIONS.len()),
        run_json: bool,
    ) {
        let options = LogOptions { log_level: LogLevel::Full, ..LogOptions::default() };
        let directory = replayed(requests, &settings, &options);
        prop_assume!(directory.is_some());
        let log = Sheets::read(directory.unwrap().path());
        let chosen = VARIATIONS.iter().zip(&chosen).filter(|(_, chosen)| **chosen);
        let habits: Vec<_> = chosen.map(|(variation, _)| variation.habit).collect();
        let (_directory, report) = written(&log, &habits, run_json).check();
        let errors: u64 = report.rules.iter().map(|rule| rule.errors).sum();
        prop_assert_eq!(errors, 0, "{:?} {}", habits, text(&report));
    }
}
