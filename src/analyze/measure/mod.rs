//! From what the pass shows to the analysis: one accumulator per section.

mod fairness;
mod iterations;
mod latency;
mod preemption;
mod waiting;

use std::collections::BTreeMap;

pub use latency::LatencySamples;

use crate::analyze::distribution::{Distribution, Summary, ratio};
use crate::analyze::figures::{RequestFigures, Step};
use crate::analyze::model::{ANALYZE_SCHEMA, Analysis, Window};
use crate::analyze::pass::Sink;
use crate::analyze::series::SeriesBuilder;
use crate::analyze::slo::{Slo, SloCounter};
use crate::analyze::source::{LogDescription, Source};
use crate::log::dialect::Habit;
use crate::log::ids::IdTable;
use crate::log::moments::Moments;
use crate::log::schema::{EventRow, IterationRequestRow, Table};
use crate::log::values::{EventType, State};
use crate::units::Nanos;

/// What an analysis may be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnalyzeOptions {
    /// Objectives to measure against.
    pub slo: Option<Slo>,
    /// The most buckets of the series of steps; 0 leaves the series out.
    pub series_buckets: usize,
}

/// A sink that measures everything in [`Analysis`].
#[derive(Clone, Debug, Default)]
pub struct Measure {
    source: Source,
    window: WindowMeasure,
    requests: latency::RequestsMeasure,
    preemption: preemption::PreemptionMeasure,
    iterations: iterations::IterationsMeasure,
    waiting: waiting::WaitingMeasure,
    fairness: fairness::FairnessMeasure,
    rows_by_state: [u64; State::ALL.len()],
    stays: [Distribution; State::ALL.len()],
    events: [u64; EventType::ALL.len()],
    slo: Option<SloCounter>,
    series: Option<SeriesBuilder>,
}

/// The first and the last moment, and the time with a step in progress.
#[derive(Clone, Copy, Debug, Default)]
struct WindowMeasure {
    from: Option<Nanos>,
    to: Nanos,
    steps_to: Nanos,
    stepping: Nanos,
}

impl WindowMeasure {
    fn begin(&mut self, moment: Nanos) {
        self.from = Some(self.from.map_or(moment, |from| from.min(moment)));
    }

    fn step(&mut self, moments: &Moments) {
        self.begin(moments.start);
        let new_from = moments.start.max(self.steps_to);
        self.stepping = self.stepping.saturating_add(moments.end.saturating_sub(new_from));
        self.steps_to = self.steps_to.max(moments.end);
        self.to = self.to.max(moments.end);
    }

    fn window(&self) -> Window {
        let from = self.from.unwrap_or_default();
        let duration = self.to.saturating_sub(from);
        Window {
            from_ns: from,
            to_ns: self.to,
            duration_ns: duration,
            stepping_ns: self.stepping,
            stepping_share: ratio(self.stepping.0 as f64, duration.0 as f64),
        }
    }
}

impl Measure {
    /// A sink for these options.
    #[must_use]
    pub fn new(options: &AnalyzeOptions) -> Self {
        Self {
            slo: options.slo.map(SloCounter::new),
            series: (options.series_buckets > 0)
                .then(|| SeriesBuilder::new(options.series_buckets)),
            ..Self::default()
        }
    }

    /// The samples of the latencies of finished requests.
    #[must_use]
    pub const fn finished(&self) -> &LatencySamples {
        self.requests.finished()
    }

    /// The analysis of everything that was shown.
    #[must_use]
    pub fn analysis(self, log: LogDescription) -> Analysis {
        let window = self.window.window();
        let has = |table| self.source.has(table);
        let count = |names: &[&'static str], counts: &[u64]| -> BTreeMap<&'static str, u64> {
            names.iter().copied().zip(counts.iter().copied()).collect()
        };
        let states: Vec<_> = State::ALL.iter().map(|state| state.as_str()).collect();
        let events: Vec<_> = EventType::ALL.iter().map(|event| event.as_str()).collect();
        let throughput = self.requests.throughput(&window, self.iterations.tokens());
        let tells_recomputation = self.source.tells_progress();
        let breakdown = self.preemption.breakdown(tells_recomputation);
        let preemption = self.preemption.preemption(self.iterations.count(), tells_recomputation);
        let slo = self.slo.as_ref().map(|slo| slo.report(window.duration_ns));
        let events = has(Table::Events).then(|| count(&events, &self.events));
        let rows_by_state =
            has(Table::PerIterationRequests).then(|| count(&states, &self.rows_by_state));
        let stays = has(Table::StateTransitions).then(|| {
            let stays = self.stays.into_iter().map(Summary::from);
            states.into_iter().zip(stays).filter(|(_, stay)| stay.count > 0).collect()
        });
        let tells_reasons =
            has(Table::PerIterationRequests) && !self.source.dialect.has(Habit::NoInitialRows);
        let waiting = tells_reasons.then(|| self.waiting.waiting());
        let iterations = has(Table::PerIteration).then(|| self.iterations.iterations());
        let (requests, latency, latency_of_all_rows) = self.requests.finish();
        Analysis {
            schema: ANALYZE_SCHEMA,
            log,
            window,
            requests,
            latency,
            latency_of_all_rows,
            throughput,
            breakdown,
            preemption,
            iterations,
            rows_by_state,
            waiting,
            stays_ns: stays,
            events,
            fairness: self.fairness.fairness(),
            slo,
            series: self.series.map(|series| series.series()),
        }
    }
}

impl Sink for Measure {
    fn begin(&mut self, source: &Source) {
        self.source = source.clone();
    }

    fn row(&mut self, row: &IterationRequestRow, _: Option<&Moments>, _: &IdTable) {
        self.rows_by_state[row.state as usize] += 1;
        self.waiting.row(row);
    }

    fn step(&mut self, step: &Step) {
        self.window.step(&step.moments);
        self.iterations.step(step);
        if let Some(series) = &mut self.series {
            series.step(step);
        }
    }

    fn event(&mut self, event: &EventRow, _: &IdTable) {
        self.events[event.event_type as usize] += 1;
    }

    fn stay(&mut self, state: State, duration: Nanos) {
        self.stays[state as usize].record_nanos(Some(duration));
    }

    fn request(&mut self, request: &RequestFigures) {
        self.window.begin(request.arrival_ns);
        self.window.to = self.window.to.max(request.completion_ns.unwrap_or_default());
        self.requests.request(request);
        self.preemption.request(request);
        self.waiting.request(request);
        self.fairness.request(request);
        if let Some(slo) = &mut self.slo {
            slo.request(request);
        }
    }
}
