//! The checker finds nothing in what the reference logger writes, and something in what it does not.

use proptest::prelude::*;
use schedlog::check::{CheckOptions, CheckReport, Verdict, check_dir};
use schedlog::engine::replay::ReplayError;
use schedlog::engine::run::{LogOptions, RunError, replay_trace};
use schedlog::log::values::LogLevel;
use schedlog::report::{TextOptions, write_text};
use schedlog::trace::Trace;

use crate::fixtures::tripped;
use crate::golden::{bundled, replay_bundled};
use crate::strategies::{settings, traces};

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_replay_is_clean(requests in traces(12), settings in settings(), level in 0..3usize) {
        let directory = tempfile::tempdir().unwrap();
        let trace = Trace::from_requests("generated", requests);
        let options = &levels()[level];
        match replay_trace(&trace, &settings, Some(directory.path()), options, |_| {}) {
            Ok(_) => {}
            Err(RunError::Replay(ReplayError::Assertion(_) | ReplayError::Stuck { .. })) => {
                return Err(TestCaseError::reject("vLLM itself would hang or die"));
            }
            Err(error) => panic!("{error}"),
        }
        let report = check_dir(directory.path(), &CheckOptions::default()).unwrap();
        prop_assert_eq!(tripped(&report), [""; 0], "{}", text(&report));
    }
}
