//! The reference in the place of a log's scheduler: what it wrote itself conforms.

use std::path::Path;

use proptest::option;
use proptest::prelude::*;
use schedlog::conform::log::{
    Basis, ConformOptions as Options, LogReport, LogVerdict, Void, conform_log,
};
use schedlog::engine::replay::ReplayError;
use schedlog::engine::run::{LogOptions, RunError, replay_trace};
use schedlog::latency::{CpuCosts, FixedLatency, LatencyModel};
use schedlog::log::schema::Table;
use schedlog::log::values::LogLevel;
use schedlog::settings::Resolved;
use schedlog::trace::{ReadOptions, Trace};
use schedlog::units::Nanos;

use crate::golden::{bundled, replay_bundled};
use crate::strategies::{settings, traces};

/// Compares without and with the trace.
fn both(directory: &Path, trace: &Trace) -> [LogReport; 2] {
    [None, Some(trace)]
        .map(|trace| conform_log(directory, &Options { trace, ..Options::default() }).unwrap())
}

#[test]
fn logs_of_bundled_traces_conform() {
    for (name, path) in bundled() {
        for log_level in [LogLevel::Standard, LogLevel::Full] {
            let directory = tempfile::tempdir().unwrap();
            replay_bundled(
                &path,
                directory.path(),
                &LogOptions { log_level, ..LogOptions::default() },
            );
            let trace = Trace::open(&path, &ReadOptions::default()).unwrap();
            let [relaxed, exact] = both(directory.path(), &trace);
            assert_eq!(relaxed.basis, Basis::HitsFromLog, "{name}");
            assert_eq!(exact.basis, Basis::Exact, "{name}");
            for report in [relaxed, exact] {
                assert_eq!(report.verdict, LogVerdict::Conforms, "{name}: {report:#?}");
                assert_eq!(report.counts.same, report.counts.iterations, "{name}: {report:#?}");
                assert_eq!(report.notes, [""; 0], "{name}");
            }
        }
    }
}

/// Engines whose moments fall together.
pub(crate) fn latencies() -> impl Strategy<Value = LatencyModel> {
    let forward = prop_oneof![Just(0), Just(1), Just(1_000_000)];
    let cpu = (0u64..2, 0u64..2, 0u64..2).prop_map(|(schedule, per_request, output)| CpuCosts {
        schedule_base: Nanos(schedule),
        schedule_per_request: Nanos(per_request),
        output_base: Nanos(output),
        output_per_request: Nanos::ZERO,
    });
    (forward, cpu).prop_map(|(forward, cpu)| {
        LatencyModel::Fixed(FixedLatency { forward: Nanos(forward), cpu })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_the_reference_writes_conforms(
        requests in traces(12),
        settings in settings(),
        latency in option::weighted(0.2, latencies()),
    ) {
        let settings = Resolved { latency: latency.unwrap_or(settings.latency), ..settings };
        let directory = tempfile::tempdir().unwrap();
        let trace = Trace::from_requests("generated", requests);
        let options = LogOptions::default();
        match replay_trace(&trace, &settings, Some(directory.path()), &options, |_| {}) {
            Ok(_) => {}
            Err(RunError::Replay(ReplayError::Assertion(_) | ReplayError::Stuck { .. })) => {
                return Err(TestCaseError::reject("vLLM itself would hang or die"));
            }
            Err(error) => panic!("{error}"),
        }
        let taken_over = Options { always_take_over: true, ..Options::default() };
        let taken_over = conform_log(directory.path(), &taken_over).unwrap();
        for report in both(directory.path(), &trace).into_iter().chain([taken_over]) {
            if report.verdict == LogVerdict::Void(Void::NoIteration) {
                return Err(TestCaseError::reject("every request is refused at the door"));
            }
            prop_assert_eq!(&report.verdict, &LogVerdict::Conforms, "{:#?}", report);
            prop_assert_eq!(report.counts.same, report.counts.iterations, "{:#?}", report);
        }
    }
}

/// Cuts each file to its share, if it has one.
pub(crate) fn cut(directory: &Path, shares: &[Option<f64>], whole_rows: bool) {
    for (table, share) in Table::ALL.into_iter().zip(shares) {
        let path = directory.join(table.file_name());
        let Some(share) = share.filter(|_| path.is_file()) else { continue };
        let bytes = std::fs::read(&path).unwrap();
        let mut kept = (bytes.len() as f64 * share) as usize;
        while whole_rows && kept > 0 && bytes[kept - 1] != b'\n' {
            kept -= 1;
        }
        std::fs::write(&path, &bytes[..kept]).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// A killed run, a full disk, files flushed to different iterations: what is gone is never taken
    /// for a decision.
    #[test]
    fn a_cut_log_never_diverges(
        requests in traces(10),
        settings in settings(),
        log_level in prop::sample::select(vec![LogLevel::Standard, LogLevel::Full]),
        cuts in prop::collection::vec(option::weighted(0.4, 0.0..1.0f64), 5),
        whole_rows in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let trace = Trace::from_requests("generated", requests);
        let options = LogOptions { log_level, ..LogOptions::default() };
        if replay_trace(&trace, &settings, Some(directory.path()), &options, |_| {}).is_err() {
            return Err(TestCaseError::reject("vLLM itself would hang or die"));
        }
        cut(directory.path(), &cuts, whole_rows);
        for report in both(directory.path(), &trace) {
            prop_assert!(!matches!(report.verdict, LogVerdict::Diverges(_)), "{:#?}", report);
        }
    }
}
