//! Drives the engine core by a record and compares every recorded field of every step.

use std::iter::Sum;
use std::ops::AddAssign;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::conform::explain::explain;
use crate::conform::record::{BadRecord, End, Record, RecordedRequest, Step, StepOrEnd};
use crate::conform::report::{Divergence, Moment};
use crate::conform::state::{RecordedState, ids, model_side, recorded_side};
use crate::engine::EngineCore;
use crate::scheduler::{NewRequest, Pass, Scheduler, Slot};
use crate::units::{Nanos, Priority, RequestId, TokenId, TokenRun, Tokens, push_run};

/// What was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Engine iterations.
    pub steps: u64,
    /// Scheduling passes in them.
    pub passes: u64,
    /// Scheduled entries.
    pub scheduled: u64,
    /// Preemptions.
    pub preempted: u64,
    /// Requests finished by their output.
    pub finished: u64,
    /// Tokens scheduled.
    pub tokens: u64,
    /// Tokens found in the prefix cache.
    pub hit_tokens: u64,
}

impl Counts {
    /// Decisions: each scheduled entry (that it is scheduled, where in the batch, with how many
    /// tokens, drafts and which blocks), each preemption and each finish.
    #[must_use]
    pub fn decisions(&self) -> u64 {
        self.scheduled + self.preempted + self.finished
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.passes += other.passes;
        self.scheduled += other.scheduled;
        self.preempted += other.preempted;
        self.finished += other.finished;
        self.tokens += other.tokens;
        self.hit_tokens += other.hit_tokens;
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, counts| {
            sum += counts;
            sum
        })
    }
}

/// A field that differs, what the record says, what the model says.
pub(crate) type Difference = (&'static str, String, String);

/// A comparison under way; the [`crate::engine::Driver`] of the model's engine core.
pub(crate) struct Comparison<'r, 'a> {
    /// The iteration at hand.
    pub(crate) step: Option<Step<'a>>,
    line: usize,
    /// Iterations begun so far, idle ones included.
    iterations: u64,
    /// Whether the model ran a pass in this iteration, and whether it processed an output.
    pub(crate) saw_pass: bool,
    pub(crate) saw_update: bool,
    pub(crate) divergence: Option<Box<Divergence>>,
    pub(crate) counts: Counts,
    /// Iterations since anything was scheduled.
    pub(crate) quiet: u64,
    requests: &'r [RecordedRequest<'a>],
    /// How many of them have arrived.
    arrived: usize,
    /// The ranks of their arrival times: all that the priority policy compares.
    ranks: Vec<Nanos>,
    index: HashMap<&'r str, usize, FxBuildHasher>,
    /// Where the requests are that have arrived and not finished.
    slots: Vec<Option<Slot>>,
    /// Whose slot it is.
    owners: Vec<usize>,
}

/// Compares a record to the end or to the first difference, and counts what was compared.
pub(crate) fn compare(
    mut record: Record<'_>,
    counts: &mut Counts,
) -> Result<Option<Box<Divergence>>, BadRecord> {
    let requests = std::mem::take(&mut record.requests);
    let mut core = EngineCore::new(record.header.config.clone(), record.header.stop_tokens.clone());
    let mut comparison = Comparison::new(&requests)?;
    let result = comparison.run(&mut record, &mut core);
    *counts = comparison.counts;
    result.map(|()| comparison.divergence)
}

impl<'r, 'a> Comparison<'r, 'a> {
    fn new(requests: &'r [RecordedRequest<'a>]) -> Result<Self, BadRecord> {
        let mut index = HashMap::with_capacity_and_hasher(requests.len(), FxBuildHasher);
        for (at, request) in requests.iter().enumerate() {
            if index.insert(request.id.as_str(), at).is_some() {
                let problem = format!("request {} is there twice", request.id.as_str());
                return Err(BadRecord::malformed(2 + at, problem));
            }
        }
        Ok(Self {
            step: None,
            line: 0,
            iterations: 0,
            saw_pass: false,
            saw_update: false,
            divergence: None,
            counts: Counts::default(),
            quiet: 0,
            requests,
            arrived: 0,
            ranks: ranks(requests),
            index,
            slots: vec![None; requests.len()],
            owners: Vec::new(),
        })
    }

    fn run(&mut self, record: &mut Record<'a>, core: &mut EngineCore) -> Result<(), BadRecord> {
        loop {
            let (line, next) = record.next()?;
            self.line = line;
            match next {
                StepOrEnd::Step(step) => self.iterate(step, core)?,
                StepOrEnd::End(end) => return self.end(&end, core),
            }
            if self.divergence.is_some() {
                return Ok(());
            }
        }
    }

    /// One engine iteration, and those in which the engine slept before it.
    fn iterate(&mut self, step: Step<'a>, core: &mut EngineCore) -> Result<(), BadRecord> {
        let it = step.it;
        if it < self.iterations {
            return Err(BadRecord::malformed(self.line, format!("iteration {it} is out of order")));
        }
        if it > self.iterations && !self.may_sleep_until(it, core) {
            let difference = ("it", it.to_string(), self.iterations.to_string());
            self.diverge(Moment::Arrivals, difference, core.scheduler(), None);
            return Ok(());
        }
        self.iterations = it + 1;
        let arrived = self.arrived;
        self.hand_in(it, core);
        let added = self.requests[arrived..self.arrived].iter().map(|request| request.id.as_str());
        if !added.clone().eq(step.added.iter().map(|id| id.as_str())) {
            let model = format!("[{}]", added.collect::<Vec<_>>().join(" "));
            let difference = ("added", ids(&step.added), model);
            self.diverge(Moment::Arrivals, difference, core.scheduler(), None);
            return Ok(());
        }
        for id in &step.aborted {
            if let Some(slot) = self.live(id.as_str()) {
                core.abort(slot);
                self.forget(slot);
            }
        }
        self.step = Some(step);
        (self.saw_pass, self.saw_update) = (false, false);
        self.quiet += 1;
        match core.step(self) {
            Err(assertion) => {
                let difference = ("status", "a step".to_owned(), assertion.to_string());
                self.diverge(Moment::Scheduled, difference, core.scheduler(), None);
            }
            Ok(_) => self.check_presence(core.scheduler()),
        }
        self.counts.steps += 1;
        Ok(())
    }

    /// Whether the engine had nothing to do, and nobody arrived, before iteration `it`.
    fn may_sleep_until(&self, it: u64, core: &EngineCore) -> bool {
        !core.has_work() && self.requests.get(self.arrived).is_none_or(|next| next.step >= it)
    }

    /// Hands in the requests of this iteration.
    fn hand_in(&mut self, it: u64, core: &mut EngineCore) {
        while let Some(request) = self.requests.get(self.arrived).filter(|next| next.step <= it) {
            let slot = core.add_request(new_request(request, self.ranks[self.arrived]));
            if self.owners.len() <= slot.index() {
                self.owners.resize(slot.index() + 1, usize::MAX);
            }
            self.owners[slot.index()] = self.arrived;
            self.slots[self.arrived] = Some(slot);
            self.arrived += 1;
        }
    }

    /// What the record has and the model has not; the opposite shows in the hooks.
    fn check_presence(&mut self, model: &Scheduler) {
        let Some(step) = &self.step else { return };
        let missing = if step.schedule.is_some() && !self.saw_pass {
            (Moment::Scheduled, "schedule", "a pass", "no pass")
        } else if step.update.is_some() && !self.saw_update {
            (Moment::Updated, "update", "an output", "no output")
        } else {
            return;
        };
        let (moment, field, recorded, absent) = missing;
        self.diverge(moment, (field, recorded.to_owned(), absent.to_owned()), model, None);
    }

    /// The slot of a request that has arrived and not finished.
    pub(crate) fn live(&self, id: &str) -> Option<Slot> {
        self.index.get(id).and_then(|&at| self.slots[at])
    }

    /// Notes that a request has finished.
    pub(crate) fn forget(&mut self, slot: Slot) {
        self.slots[self.owners[slot.index()]] = None;
    }

    /// Notes the first difference.
    pub(crate) fn diverge(
        &mut self,
        moment: Moment,
        (field, recorded, model): Difference,
        scheduler: &Scheduler,
        pass: Option<&Pass>,
    ) {
        if self.divergence.is_some() {
            return;
        }
        let budget = scheduler.config().max_num_scheduled_tokens;
        let recorded_side = self.step.as_ref().and_then(|step| {
            let schedule = step.schedule.as_ref();
            let state = match moment {
                Moment::Arrivals | Moment::End => return None,
                Moment::Scheduled => RecordedState::after_pass(schedule?),
                Moment::Updated => {
                    RecordedState::after_update(step.update.as_ref()?, schedule).ok()?
                }
            };
            Some(recorded_side(&state, schedule, budget))
        });
        self.divergence = Some(Box::new(Divergence {
            line: self.line,
            iteration: self.iterations.saturating_sub(1),
            moment,
            field,
            recorded,
            model,
            recorded_side,
            model_side: model_side(scheduler, pass),
            reasons: pass.map_or_else(Vec::new, |pass| explain(scheduler, pass)),
        }));
    }

    /// Compares how the record ends.
    fn end(&mut self, end: &End<'_>, core: &mut EngineCore) -> Result<(), BadRecord> {
        self.step = None;
        let all_arrived = self.arrived == self.requests.len();
        let expected = match &*end.status {
            "drained" => !core.has_work() && all_arrived && end.iterations == self.iterations,
            "stalled" => {
                core.has_work()
                    && all_arrived
                    && self.quiet >= STALLED_ITERATIONS
                    && end.iterations == self.iterations
            }
            "max_steps" => (core.has_work() || !all_arrived) && end.iterations >= self.iterations,
            "vllm_assertion" => self.dies(end.iterations, core),
            other => {
                return Err(BadRecord::malformed(self.line, format!("unknown status {other}")));
            }
        };
        let difference = if expected { self.totals(end, core) } else { self.status(end, core) };
        if let Some(difference) = difference {
            self.diverge(Moment::End, difference, core.scheduler(), None);
        }
        Ok(())
    }

    /// Whether the model's scheduler dies in the iteration that the record leaves out. Aborts in
    /// that very iteration are not recorded, so it is tried without.
    fn dies(&mut self, iterations: u64, core: &mut EngineCore) -> bool {
        let recorded = self.counts;
        let mut died = false;
        for it in self.iterations..=iterations.max(self.iterations) {
            self.hand_in(it, core);
            died = core.step(self).is_err();
            if died {
                break;
            }
        }
        self.divergence = None;
        self.counts = recorded;
        died
    }

    fn status(&self, end: &End<'_>, core: &EngineCore) -> Option<Difference> {
        let recorded = format!("{} after {} iterations", end.status, end.iterations);
        let model = format!(
            "{} iterations, {} still to arrive, {} waiting or running, {} batches in flight, \
             nothing scheduled for {} iterations",
            self.iterations,
            self.requests.len() - self.arrived,
            core.scheduler().running().len() + core.scheduler().waiting_len(),
            core.in_flight().len(),
            self.quiet,
        );
        Some(("status", recorded, model))
    }

    fn totals(&self, end: &End<'_>, core: &EngineCore) -> Option<Difference> {
        let counts = &self.counts;
        // The pass that died was counted or not, depending on where.
        let passes = if end.status == "vllm_assertion" && end.steps == counts.passes + 1 {
            end.steps
        } else {
            counts.passes
        };
        debug_assert!(core.scheduler().passes() >= counts.passes);
        let totals = [
            ("steps", end.steps, passes),
            ("preemptions", end.preemptions, counts.preempted),
            ("hit_tokens", end.hit_tokens, counts.hit_tokens),
            ("scheduled", end.scheduled, counts.scheduled),
            ("tokens", end.tokens, counts.tokens),
            ("finished", end.finished, counts.finished),
        ];
        let (field, recorded, model) =
            totals.into_iter().find(|(_, recorded, model)| recorded != model)?;
        Some((field, recorded.to_string(), model.to_string()))
    }
}

/// A record counts as stalled when nothing moved for this many iterations, the one in which the
/// last request lost its blocks not included.
const STALLED_ITERATIONS: u64 = 8;

/// The ranks of the arrival times, equal for equal times.
fn ranks(requests: &[RecordedRequest<'_>]) -> Vec<Nanos> {
    let mut times: Vec<f64> = requests.iter().map(|request| request.arrival_time).collect();
    times.sort_by(f64::total_cmp);
    // Python's 0.0 and -0.0 are equal too.
    times.dedup_by(|a, b| a == b);
    let rank = |time: f64| times.partition_point(|&other| other < time);
    requests.iter().map(|request| Nanos(rank(request.arrival_time) as u64)).collect()
}

/// Streams are this far apart, so that tokens of different streams differ.
const STREAM: u64 = 65536;

fn new_request(request: &RecordedRequest<'_>, arrival_time: Nanos) -> NewRequest {
    let mut prompt = Vec::with_capacity(request.prompt.len());
    for &(stream, start, len) in &request.prompt {
        let first = TokenId(stream * STREAM + start);
        push_run(&mut prompt, TokenRun { first, len: Tokens(len) });
    }
    NewRequest {
        id: RequestId::from(request.id.as_str()),
        prompt,
        max_tokens: Tokens(request.max_tokens),
        priority: Priority(request.priority),
        arrival_time,
        cache_salt: request.salt.as_deref().map(str::to_owned),
        skip_reading_prefix_cache: request.skip_read,
    }
}
