//! What holds of the analysis of any log of the reference logger.

use std::collections::BTreeSet;

use proptest::prelude::*;
use schedlog::analyze::series::SeriesBuilder;
use schedlog::analyze::{
    Activity, AnalyzeOptions, Ending, Measure, RequestFigures, Sink, Step, read_log,
};
use schedlog::engine::replay::ReplayError;
use schedlog::engine::run::{LogOptions, RunError, replay_trace};
use schedlog::trace::Trace;
use schedlog::units::Nanos;

use crate::strategies::{settings, traces};

/// Keeps everything that is shown.
#[derive(Default)]
struct Everything {
    requests: Vec<RequestFigures>,
    steps: Vec<Step>,
}

impl Sink for Everything {
    fn request(&mut self, request: &RequestFigures) {
        self.requests.push(request.clone());
    }

    fn step(&mut self, step: &Step) {
        self.steps.push(*step);
    }
}

fn holds_of(request: &RequestFigures) -> Result<(), TestCaseError> {
    let time = |activity| request.time(activity).0;
    let sum: u64 = Activity::ALL.into_iter().map(time).sum();
    prop_assert_eq!(Some(Nanos(sum)), request.e2e_ns, "{:?}", request);
    let waiting = time(Activity::Queueing) + time(Activity::Preempted);
    prop_assert_eq!(waiting, request.waiting_ns.0, "{:?}", request);
    prop_assert_eq!(sum - waiting, request.execution_ns.0);
    let waits: u64 = request.waits.iter().map(|wait| wait.time_ns.0).sum();
    prop_assert_eq!(waits, request.waiting_ns.0, "{:?}", request);
    if request.preemptions == 0 {
        prop_assert_eq!(time(Activity::Preempted) + time(Activity::Recomputation), 0);
        let queueing = request.first_scheduled_ns.map(|at| (at - request.arrival_ns).0);
        prop_assert_eq!(time(Activity::Queueing), queueing.unwrap_or(sum));
        if let Some(ttft) = request.ttft_ns {
            prop_assert_eq!(time(Activity::Queueing) + time(Activity::Prefill), ttft.0);
        }
    }
    let recomputed = time(Activity::Recomputation) > 0;
    prop_assert!(!recomputed || request.recomputed_tokens > Some(0), "{:?}", request);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_figures_add_up(requests in traces(12), settings in settings()) {
        let directory = tempfile::tempdir().unwrap();
        let trace = Trace::from_requests("generated", requests.clone());
        let options = LogOptions::default();
        match replay_trace(&trace, &settings, Some(directory.path()), &options, |_| {}) {
            Ok(_) => {}
            Err(RunError::Replay(ReplayError::Assertion(_) | ReplayError::Stuck { .. })) => {
                return Err(TestCaseError::reject("vLLM would hang or die"));
            }
            Err(error) => panic!("{error}"),
        }
        let (mut all, mut measure) =
            (Everything::default(), Measure::new(&AnalyzeOptions::default()));
        let log = read_log(directory.path(), &mut [&mut all, &mut measure]).unwrap();
        prop_assert!(log.cannot_say.is_empty());
        for request in &all.requests {
            holds_of(request)?;
        }
        let ids: BTreeSet<_> = all.requests.iter().map(|request| &request.request_id).collect();
        prop_assert_eq!(ids.len(), requests.len());
        let order: Vec<_> = all.requests.iter().map(|request| request.ordinal).collect();
        prop_assert_eq!(order, (0..requests.len() as u64).collect::<Vec<_>>());

        let analysis = measure.analysis(log);
        prop_assert_eq!(analysis.requests.total, requests.len() as u64);
        let finished: Vec<_> =
            all.requests.iter().filter(|request| request.ending.finished()).collect();
        let e2e: u128 = finished.iter().map(|request| u128::from(request.e2e_ns.unwrap().0)).sum();
        if let Some(breakdown) = &analysis.breakdown {
            prop_assert_eq!(breakdown.parts.iter().map(|part| part.time_ns).sum::<u128>(), e2e);
            prop_assert_eq!(breakdown.e2e_ns, e2e);
        }
        let waiting = analysis.waiting.unwrap();
        let reasons: u128 = waiting.reasons.iter().map(|reason| reason.time_ns).sum();
        prop_assert_eq!(reasons + waiting.unexplained_ns, waiting.time_ns);
        let waited: u64 = all.requests.iter().map(|request| request.waiting_ns.0).sum();
        prop_assert_eq!(waiting.time_ns, u128::from(waited));
        let aborted = all.requests.iter().filter(|request| request.ending == Ending::Abort).count();
        prop_assert_eq!(analysis.requests.by_ending["abort"], aborted as u64);
        if let Some(steps) = analysis.iterations.filter(|steps| steps.count > 0) {
            prop_assert_eq!(steps.prefill_tokens + steps.decode_tokens, steps.tokens);
            let kv = steps.kv_utilisation;
            prop_assert!(kv.time_weighted_mean <= kv.row_weighted.max);
            // Every moment from the first decision on is held or empty.
            let held: u64 = all.steps.iter().map(|step| step.hold.0 + step.empty.0).sum();
            let (first, last) = (all.steps.first().unwrap(), all.steps.last().unwrap());
            prop_assert_eq!(held, (last.moments.end - first.moments.decided).0);
        }
    }

    #[test]
    fn a_series_keeps_every_peak(
        values in prop::collection::vec((0u32..100, 1u64..50), 1..200),
        most in 2usize..20,
    ) {
        let mut builder = SeriesBuilder::new(most);
        let steps = steps(&values);
        steps.iter().for_each(|step| builder.step(step));
        let series = builder.series();
        prop_assert!(series.buckets.len() <= most);
        let mut left = &steps[..];
        for bucket in &series.buckets {
            let (here, rest) = left.split_at(bucket.steps as usize);
            left = rest;
            let batch: Vec<_> = here.iter().map(|step| f64::from(step.row.batch_size.0)).collect();
            let track = bucket.tracks[0];
            prop_assert_eq!(track.max, batch.iter().copied().fold(0.0, f64::max));
            prop_assert_eq!(track.min, batch.iter().copied().fold(f64::MAX, f64::min));
            prop_assert_eq!(track.row_weighted_mean, batch.iter().sum::<f64>() / batch.len() as f64);
            let held: f64 = here.iter().map(|step| step.hold.0 as f64).sum();
            let area: f64 =
                here.iter().zip(&batch).map(|(step, value)| value * step.hold.0 as f64).sum();
            prop_assert!((track.time_weighted_mean - area / held).abs() < 1e-9);
        }
        prop_assert!(left.is_empty());
    }
}

/// Steps with these batch sizes and durations.
fn steps(values: &[(u32, u64)]) -> Vec<Step> {
    use schedlog::log::ids::IdTable;
    use schedlog::log::moments::Moments;
    use schedlog::log::schema::{IterationRow, Layout, Row};
    let mut now = 0;
    let step = |(id, &(batch, duration)): (usize, &(u32, u64))| {
        let end = now + duration;
        let text = format!("{id},{now},{end},{duration},0,0,,{batch},0,0,0,0,0,0,0,0,idle,,,,,");
        let record: csv::ByteRecord = text.split(',').collect::<Vec<_>>().into();
        let layout = Layout::reference(IterationRow::SCHEMA);
        let row = IterationRow::parse(&record, &layout, &mut IdTable::default()).unwrap();
        let start = Nanos(now);
        now = end;
        let moments = Moments { start, decided: start, output: start, end: Nanos(end) };
        Step { row, moments, hold: Nanos(duration), empty: Nanos::ZERO }
    };
    values.iter().enumerate().map(step).collect()
}
