//! The engine loop. Stands for `v1/engine/core.py: EngineCore.step` (one batch in flight) and
//! `step_with_batch_queue` (several) of vLLM 0.32.
//!
//! Both are the same loop: a batch is built and put behind those in flight; only when the queue is
//! full, or there is nothing left to build, the oldest one's output is processed. The core knows
//! neither time nor where requests and tokens come from; a [`Driver`] does.

use std::collections::VecDeque;

use crate::config::SchedulerConfig;
use crate::scheduler::schedule::SchedulerAssertion;
use crate::scheduler::{
    Aborted, ModelOutput, NewRequest, Pass, Scheduler, Slot, StopTokens, Update,
};
use crate::units::Tokens;

/// What stands around the engine core: the model, the clients and the observers.
///
/// Every slot that a hook sees, in the pass or in the scheduler's queues, may be read with
/// [`Scheduler::request`] during the hook.
pub trait Driver {
    /// A pass is about to run.
    fn scheduling(&mut self, _scheduler: &Scheduler) {}

    /// A pass has run; the scheduler is as decided, and the model has not been asked yet.
    fn scheduled(&mut self, _scheduler: &Scheduler, _pass: &Pass) {}

    /// The output of `pass` is there; requests named here are aborted before it is processed.
    fn aborts_in_flight(&mut self, _scheduler: &Scheduler, _pass: &Pass, _aborts: &mut Vec<Slot>) {}

    /// A request named by [`Driver::aborts_in_flight`] was aborted.
    fn aborted(&mut self, _scheduler: &Scheduler, _aborted: &Aborted) {}

    /// Fills in what the model returned for `pass`: one list per entry, in its order, empty unless
    /// the entry [samples](crate::scheduler::BatchEntry::samples) and its request is still there.
    fn model_output(&mut self, scheduler: &Scheduler, pass: &Pass, output: &mut ModelOutput);

    /// The output of `pass` has been processed.
    fn updated(&mut self, _scheduler: &Scheduler, _pass: &Pass, _update: &Update) {}

    /// Synchronous speculative decoding: fills in the drafter's proposals after a batch that was not
    /// empty, one count per entry of `pass`. What requests that are gone or still prefilling are
    /// given is ignored.
    fn drafts(&mut self, _scheduler: &Scheduler, _pass: &Pass, _drafts: &mut Vec<Tokens>) {}
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// A pass ran.
    pub scheduled: bool,
    /// The output of a batch was processed.
    pub processed: bool,
}

impl Progress {
    /// Whether the engine had nothing to do and may sleep until the next arrival.
    #[must_use]
    pub fn is_idle(self) -> bool {
        !self.scheduled && !self.processed
    }
}

/// The scheduler and the batches in flight.
#[derive(Debug)]
pub struct EngineCore {
    scheduler: Scheduler,
    in_flight: VecDeque<Pass>,
    /// Passes whose buffers are free.
    spare: Vec<Pass>,
    output: ModelOutput,
    update: Update,
    aborts: Vec<Slot>,
    drafts: Vec<Tokens>,
}

impl EngineCore {
    /// An idle engine.
    #[must_use]
    pub fn new(config: SchedulerConfig, stop_tokens: StopTokens) -> Self {
        Self {
            scheduler: Scheduler::new(config, stop_tokens),
            in_flight: VecDeque::new(),
            spare: Vec::new(),
            output: ModelOutput::default(),
            update: Update::default(),
            aborts: Vec::new(),
            drafts: Vec::new(),
        }
    }

    /// The scheduler.
    #[must_use]
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// The batches whose output is still to come, oldest first.
    pub fn in_flight(&self) -> impl ExactSizeIterator<Item = &Pass> {
        self.in_flight.iter()
    }

    /// Whether a step would do anything.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.scheduler.has_requests() || !self.in_flight.is_empty()
    }

    /// Takes in a request; the next step's pass sees it.
    pub fn add_request(&mut self, request: NewRequest) -> Slot {
        self.scheduler.add_request(request)
    }

    /// Takes a request out between two steps. `None` if it has already finished.
    pub fn abort(&mut self, slot: Slot) -> Option<Aborted> {
        self.scheduler.abort(slot)
    }

    /// One iteration of the engine.
    ///
    /// # Errors
    /// Where vLLM's scheduler dies on an assertion; the engine is of no use afterwards.
    pub fn step(&mut self, driver: &mut impl Driver) -> Result<Progress, SchedulerAssertion> {
        let mut progress = Progress::default();
        if self.scheduler.has_requests() {
            let mut pass = self.spare.pop().unwrap_or_default();
            driver.scheduling(&self.scheduler);
            self.scheduler.schedule(&mut pass)?;
            driver.scheduled(&self.scheduler, &pass);
            progress.scheduled = true;
            let executed = !pass.is_empty();
            self.in_flight.push_back(pass);
            let depth = self.scheduler.config().max_concurrent_batches as usize;
            if self.in_flight.len() < depth && (executed || self.scheduler.has_requests()) {
                return Ok(progress);
            }
        }
        if let Some(pass) = self.in_flight.pop_front() {
            self.process(&pass, driver);
            self.spare.push(pass);
            progress.processed = true;
        }
        Ok(progress)
    }

    /// Processes the output of a batch.
    fn process(&mut self, pass: &Pass, driver: &mut impl Driver) {
        self.aborts.clear();
        driver.aborts_in_flight(&self.scheduler, pass, &mut self.aborts);
        for &slot in &self.aborts {
            if let Some(aborted) = self.scheduler.abort(slot) {
                driver.aborted(&self.scheduler, &aborted);
            }
        }
        self.output.clear();
        driver.model_output(&self.scheduler, pass, &mut self.output);
        self.scheduler.update_from_output(pass, &self.output, &mut self.update);
        driver.updated(&self.scheduler, pass, &self.update);
        let config = self.scheduler.config();
        if config.speculative.is_some() && !config.async_scheduling && !pass.is_empty() {
            self.drafts.clear();
            driver.drafts(&self.scheduler, pass, &mut self.drafts);
            self.scheduler.update_draft_token_ids(pass, &self.drafts);
        }
    }
}
