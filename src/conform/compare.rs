//! Drives the engine core by a record and compares every recorded field of every step.

use std::iter::Sum;
use std::ops::AddAssign;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::conform::explain::explain;
use crate::conform::fast::{Cursor, StateText, Writer, is_plain};
use crate::conform::record::{
    BadRecord, Id, MAX_ITERATIONS, Record, RecordedRequest, Step, StepOrEnd,
};
use crate::conform::record_log::RecordLog;
use crate::conform::report::{Divergence, Moment};
use crate::conform::requests::{new_request, ranks};
use crate::conform::state::{RecordedState, ids, model_side, recorded_side};
use crate::engine::EngineCore;
use crate::scheduler::{Pass, Scheduler, Slot};
use crate::units::{Nanos, Priority, Tokens};

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
    /// The line of the iteration at hand.
    text: &'a str,
    pub(crate) line: usize,
    /// The line as far as the fast lane has read it; `None` once it was parsed.
    pub(crate) fast: Option<Cursor<'a>>,
    /// The line, parsed because something in it is not as the fast lane expects.
    pub(crate) step: Option<Step<'a>>,
    /// Whether the record's ids allow the fast lane.
    plain_ids: bool,
    /// What the line turned out to be when it had to be parsed in the middle of an iteration.
    pub(crate) bad: Option<BadRecord>,
    pub(crate) writer: Writer,
    /// The model's state after the pass and after the output.
    pub(crate) states: [StateText; 2],
    /// Proposals read by the fast lane, one per entry of the batch.
    pub(crate) proposed: Vec<Tokens>,
    /// Iterations begun so far, idle ones included.
    pub(crate) iterations: u64,
    /// Whether the model ran a pass in this iteration, and whether it processed an output.
    pub(crate) saw_pass: bool,
    pub(crate) saw_update: bool,
    pub(crate) divergence: Option<Box<Divergence>>,
    pub(crate) counts: Counts,
    /// Iterations since anything was scheduled.
    pub(crate) quiet: u64,
    pub(crate) requests: &'r [RecordedRequest<'a>],
    /// How many of them have arrived.
    pub(crate) arrived: usize,
    /// The ranks of their arrival times: all that the priority policy compares.
    ranks: Vec<Nanos>,
    index: HashMap<&'r str, usize, FxBuildHasher>,
    /// Where the requests are that have arrived and not finished.
    slots: Vec<Option<Slot>>,
    /// Whose slot it is.
    owners: Vec<usize>,
    /// Where the run is logged, if it is.
    pub(crate) log: Option<&'r mut RecordLog>,
}

/// Compares a record to the end or to the first difference, counts what was compared, and logs the
/// run as far as it is the same.
pub(crate) fn compare(
    mut record: Record<'_>,
    counts: &mut Counts,
    log: Option<&mut RecordLog>,
) -> Result<Option<Box<Divergence>>, BadRecord> {
    let requests = std::mem::take(&mut record.requests);
    let longest = record.header.config.max_model_len;
    if let Some(at) = requests.iter().position(|it| Tokens(it.prompt_len) >= longest) {
        let id = requests[at].id.as_str();
        let problem = format!(
            "the prompt of {id} leaves no room for a token under max_model_len ({longest})"
        );
        return Err(BadRecord::malformed(2 + at, problem));
    }
    let mut core = EngineCore::new(record.header.config.clone(), record.header.stop_tokens.clone());
    let mut comparison = Comparison::new(&requests, log)?;
    let result = comparison.run(&mut record, &mut core);
    *counts = comparison.counts;
    result.map(|()| comparison.divergence)
}

impl<'r, 'a> Comparison<'r, 'a> {
    fn new(
        requests: &'r [RecordedRequest<'a>],
        log: Option<&'r mut RecordLog>,
    ) -> Result<Self, BadRecord> {
        let mut index = HashMap::with_capacity_and_hasher(requests.len(), FxBuildHasher);
        for (at, request) in requests.iter().enumerate() {
            if index.insert(request.id.as_str(), at).is_some() {
                let problem = format!("request {} is there twice", request.id.as_str());
                return Err(BadRecord::malformed(2 + at, problem));
            }
        }
        Ok(Self {
            text: "",
            line: 0,
            fast: None,
            step: None,
            plain_ids: requests.iter().all(|request| is_plain(request.id.as_str())),
            bad: None,
            writer: Writer::default(),
            states: Default::default(),
            proposed: Vec::new(),
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
            log,
        })
    }

    fn run(&mut self, record: &mut Record<'a>, core: &mut EngineCore) -> Result<(), BadRecord> {
        loop {
            let (line, next) = record.read_next()?;
            self.line = line;
            match next {
                StepOrEnd::Step(text) => self.iterate(text, core)?,
                StepOrEnd::End(end) => return self.end(&end, core),
            }
            if self.divergence.is_some() {
                return Ok(());
            }
        }
    }

    /// One engine iteration, and those in which the engine slept before it.
    fn iterate(&mut self, text: &'a str, core: &mut EngineCore) -> Result<(), BadRecord> {
        let (it, added, aborted) = self.open(text)?;
        let problem = if it > MAX_ITERATIONS {
            Some(format!("iteration {it} is above {MAX_ITERATIONS}"))
        } else {
            let due = self.iterations;
            (it < due).then(|| format!("iteration {it} is out of order: {due} is the next"))
        };
        if let Some(problem) = problem {
            return Err(BadRecord::malformed(self.line, problem));
        }
        if it > self.iterations && !self.may_sleep_until(it, core) {
            let difference = ("it", it.to_string(), self.iterations.to_string());
            self.diverge(Moment::Arrivals, difference, core.scheduler(), None);
            return Ok(());
        }
        let arrived = self.arrived;
        self.begin(it, core);
        let arrivals = &self.requests[arrived..self.arrived];
        if !arrivals.iter().map(|request| &request.id).eq(&added) {
            let arrivals: Vec<_> = arrivals.iter().map(|request| request.id.clone()).collect();
            let difference = ("added", ids(&added), ids(&arrivals));
            self.diverge(Moment::Arrivals, difference, core.scheduler(), None);
            return Ok(());
        }
        for id in &aborted {
            if let Some(slot) = self.live(id.as_str()) {
                if let Some(aborted) = core.abort(slot) {
                    self.log(|timeline| timeline.aborted(&aborted));
                }
                self.forget(slot);
            }
        }
        (self.saw_pass, self.saw_update) = (false, false);
        self.quiet += 1;
        match core.step(self) {
            Err(assertion) => {
                self.parse();
                let difference = ("status", "a step".to_owned(), assertion.to_string());
                self.diverge(Moment::Scheduled, difference, core.scheduler(), None);
            }
            Ok(_) => self.check_presence(core.scheduler()),
        }
        self.counts.steps += 1;
        self.bad.take().map_or(Ok(()), Err)
    }

    /// Opens a line, in the fast lane if possible, and reads its arrivals and aborts.
    fn open(&mut self, text: &'a str) -> Result<(u64, Vec<Id<'a>>, Vec<Id<'a>>), BadRecord> {
        self.text = text;
        (self.fast, self.step) = (None, None);
        if self.plain_ids {
            let mut cursor = Cursor::new(text);
            if let Some(head) = cursor.head() {
                self.fast = Some(cursor);
                self.states[0].clear();
                return Ok(head);
            }
        }
        let step = Step::parse(text, self.line)?;
        let head = (step.it, step.added.clone(), step.aborted.clone());
        self.step = Some(step);
        Ok(head)
    }

    /// Goes on in the fast lane if the line so far allows it; else parses the line and returns
    /// false.
    pub(crate) fn fast(
        &mut self,
        read: impl FnOnce(&mut Self, &mut Cursor<'a>) -> Option<()>,
    ) -> bool {
        let Some(mut cursor) = self.fast else { return false };
        if read(self, &mut cursor).is_none() {
            self.parse();
            return false;
        }
        self.fast = Some(cursor);
        true
    }

    /// Leaves the fast lane.
    fn parse(&mut self) {
        self.fast = None;
        if self.step.is_none() {
            match Step::parse(self.text, self.line) {
                Ok(step) => self.step = Some(step),
                Err(bad) => self.bad = Some(bad),
            }
        }
    }

    /// Whether nothing more is to be compared.
    pub(crate) fn is_over(&self) -> bool {
        self.divergence.is_some() || self.bad.is_some()
    }

    /// Whether the engine had nothing to do, and nobody arrived, before iteration `it`.
    fn may_sleep_until(&self, it: u64, core: &EngineCore) -> bool {
        !core.has_work() && self.requests.get(self.arrived).is_none_or(|next| next.step >= it)
    }

    /// Begins iteration `it`, after those in which the engine slept: hands in its requests.
    pub(crate) fn begin(&mut self, it: u64, core: &mut EngineCore) {
        self.log_sleep(it - self.iterations);
        self.iterations = it + 1;
        let policy = core.scheduler().config().policy;
        while let Some(request) = self.requests.get(self.arrived).filter(|next| next.step <= it) {
            let slot = core.add_request(new_request(request, self.ranks[self.arrived]));
            if self.owners.len() <= slot.index() {
                self.owners.resize(slot.index() + 1, usize::MAX);
            }
            self.owners[slot.index()] = self.arrived;
            self.slots[self.arrived] = Some(slot);
            self.arrived += 1;
            self.log(|timeline| {
                let (id, length) = (request.id.as_str(), Tokens(request.prompt_len));
                let at = timeline.now();
                let priority = policy.priority_of(Priority(request.priority));
                let handle = timeline.arrived(at, id, length, priority)?;
                timeline.bind(slot, handle);
                Ok(())
            });
        }
    }

    /// What the record has and the model has not; the opposite shows in the hooks.
    fn check_presence(&mut self, model: &Scheduler) {
        let (saw_pass, saw_update) = (self.saw_pass, self.saw_update);
        let read_rest = |cursor: &mut Cursor<'_>| {
            if !saw_pass && !saw_update {
                cursor.literal(b"null")?;
            }
            if !saw_update {
                cursor.literal(br#","update":null}"#)?;
            }
            cursor.at_end().then_some(())
        };
        if self.fast(|_, cursor| read_rest(cursor)) {
            return;
        }
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
}
