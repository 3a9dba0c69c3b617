//! A run: cases in rounds, on several threads, the same for the same seed.
//!
//! What a case is depends on the seed, its number and what the rounds before its own covered; never
//! on which thread was faster. The first failure is the one with the smallest number.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::fuzz::case::{Case, Mode, make};
use crate::fuzz::coverage::{Coverage, Point, points};
use crate::fuzz::failure::Failure;
use crate::fuzz::generate::Limits;
use crate::fuzz::judge::Subject;
use crate::fuzz::watch::{Duration, Stopwatch};

/// Cases per round: coverage steers from one round to the next.
const ROUND: u64 = 256;

/// What a run does.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Everything is drawn from it.
    pub seed: u64,
    /// The most cases.
    pub cases: Option<u64>,
    /// The longest time; the round under way is finished.
    pub time: Option<Duration>,
    /// Legal, hostile, or both.
    pub mode: Mode,
    /// What cases may ask of the subject.
    pub limits: Limits,
    /// Go on after a failure; the first case of each kind is kept.
    pub keep_going: bool,
    /// Set from outside: the cases under way are finished, and what was found is kept.
    pub stop: Arc<AtomicBool>,
}

impl RunOptions {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What a run has done so far.
#[derive(Clone, Debug, Default)]
pub struct RunState {
    /// Cases run.
    pub cases: u64,
    /// Calls made.
    pub calls: u64,
    /// Calls that the logger refused.
    pub rejected: u64,
    /// Logs that the checks found fault with.
    pub flagged: u64,
    /// What was exercised.
    pub coverage: Coverage,
    /// The time that it took.
    pub elapsed: Duration,
}

/// A case that failed.
#[derive(Clone, Debug)]
pub struct Found {
    /// The case.
    pub case: Case,
    /// Why.
    pub failure: Failure,
    /// How many cases failed like this, as far as the run went.
    pub count: u64,
}

struct Outcome {
    case: Case,
    failure: Option<Failure>,
    points: BTreeSet<Point>,
    rejected: usize,
    flagged: bool,
}

/// Runs cases until one fails (unless it is to keep going), the number of cases is reached, or the
/// time is over. Every subject
/// gets a thread and a directory of its own below `work`. `progress` is called after each round.
pub fn run(
    options: &RunOptions,
    subjects: &mut [Box<dyn Subject>],
    work: &Path,
    mut progress: impl FnMut(&RunState),
) -> (RunState, Vec<Found>) {
    let started = Stopwatch::start();
    let mut state = RunState::default();
    let mut found = BTreeMap::new();
    let mut next = 0;
    loop {
        let end = options.cases.map_or(next + ROUND, |cases| cases.min(next + ROUND));
        let is_over = options.time.is_some_and(|time| started.elapsed() >= time);
        if next >= end || is_over || options.is_stopped() {
            return (state, found.into_values().collect());
        }
        round(options, subjects, work, next..end, &mut state, &mut found);
        next = end;
        state.elapsed = started.elapsed();
        progress(&state);
        if !found.is_empty() && !options.keep_going {
            return (
                state,
                found.into_values().min_by_key(|found| found.case.number).into_iter().collect(),
            );
        }
    }
}

fn round(
    options: &RunOptions,
    subjects: &mut [Box<dyn Subject>],
    work: &Path,
    numbers: std::ops::Range<u64>,
    state: &mut RunState,
    found: &mut BTreeMap<String, Found>,
) {
    let next = AtomicU64::new(numbers.start);
    // Behind the first failure nothing needs to run; before it, everything does.
    let last = AtomicU64::new(numbers.end - 1);
    let outcomes = Mutex::new(Vec::new());
    let coverage = &state.coverage;
    std::thread::scope(|scope| {
        for (job, subject) in subjects.iter_mut().enumerate() {
            let (next, last, outcomes) = (&next, &last, &outcomes);
            let directory = work.join(format!("job{job}"));
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number > last.load(Ordering::Relaxed) || options.is_stopped() {
                        return;
                    }
                    let made = make(options.seed, number, options.mode, &options.limits, coverage);
                    let Some(case) = made else { continue };
                    let outcome = try_case(case, &mut **subject, &directory);
                    if outcome.failure.is_some() && !options.keep_going {
                        last.fetch_min(number, Ordering::Relaxed);
                    }
                    outcomes.lock().unwrap_or_else(|poison| poison.into_inner()).push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(|poison| poison.into_inner());
    outcomes.retain(|outcome: &Outcome| outcome.case.number <= last.load(Ordering::Relaxed));
    outcomes.sort_by_key(|outcome| outcome.case.number);
    merge(outcomes, state, found);
}

fn try_case(case: Case, subject: &mut dyn Subject, directory: &Path) -> Outcome {
    let judgement = subject.judge(&case.sequence, directory);
    let mut points = points(&case.sequence);
    points.extend(judgement.exercised.iter().map(|id| Point::Rule(id)));
    Outcome {
        case,
        failure: judgement.failure,
        points,
        rejected: judgement.rejected,
        flagged: judgement.flagged,
    }
}

fn merge(outcomes: Vec<Outcome>, state: &mut RunState, found: &mut BTreeMap<String, Found>) {
    for outcome in outcomes {
        state.cases += 1;
        state.calls += outcome.case.sequence.calls.len() as u64;
        state.rejected += outcome.rejected as u64;
        state.flagged += u64::from(outcome.flagged);
        state.coverage.add(&outcome.points, &outcome.case.workload);
        if let Some(failure) = outcome.failure {
            let first = || Found { case: outcome.case, failure: failure.clone(), count: 0 };
            found.entry(failure.group()).or_insert_with(first).count += 1;
        }
    }
}
