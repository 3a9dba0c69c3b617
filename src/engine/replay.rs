//! Drives the engine core with a trace, on the virtual clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use xxhash_rust::xxh3::xxh3_64;

use crate::config::Policy;
use crate::engine::arrivals::ArrivalQueue;
use crate::engine::core::{Driver, EngineCore};
use crate::engine::timeline::Timeline;
use crate::engine::totals::ReplayTotals;
use crate::logger::{LoggerError, LoggerHooks};
use crate::scheduler::{
    Aborted, ModelOutput, NewRequest, Pass, Request, Scheduler, SchedulerAssertion, Slot,
    StopTokens, Update,
};
use crate::settings::Resolved;
use crate::trace::{TraceRequest, private_token};
use crate::units::{Nanos, TokenId, Tokens};

/// The token that ends an answer before its limit. No prompt has it: it is above all content.
const STOP_TOKEN: TokenId = TokenId(u64::MAX);

/// Why a replay could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError<E> {
    /// The trace could not be read on.
    #[error(transparent)]
    Trace(E),
    /// The log could not be written.
    #[error(transparent)]
    Log(#[from] LoggerError),
    /// vLLM's scheduler dies under these settings.
    #[error("vLLM's scheduler fails an assertion at this point: {0}; change the settings named")]
    Assertion(SchedulerAssertion),
    /// The virtual clock has left the range of a log.
    #[error(
        "the replay has reached {0} ns of virtual time, more than 292 years: check the arrival times and \
         delays of the trace, --time-unit, and the latency settings"
    )]
    TooLong(Nanos),
    /// No step can schedule anything any more.
    #[error(
        "the schedule is stuck at {now} ns: {waiting} requests wait, none runs, and the next in line \
         is kept out by {reason}; vLLM would spin like this for ever: change the setting that bounds it"
    )]
    Stuck {
        /// The moment.
        now: Nanos,
        /// Length of the waiting queue.
        waiting: usize,
        /// What keeps the head of the queue out.
        reason: String,
    },
}

/// What the model is to answer to a request of the trace.
#[derive(Clone, Copy, Debug, Default)]
struct Answer {
    ordinal: u32,
    /// How many tokens the model will produce.
    output_tokens: Tokens,
}

impl Answer {
    /// The token that comes `offset` tokens after those that the request has. The scheduler cuts what lies
    /// behind a stop token or a limit.
    #[inline]
    fn token(self, request: &Request, offset: Tokens) -> TokenId {
        let end = self.output_tokens < request.max_tokens();
        if request.output_tokens() + offset + Tokens(1) == self.output_tokens && end {
            STOP_TOKEN
        } else {
            private_token(self.ordinal, (request.total_tokens() + offset).0)
        }
    }
}

/// What a request of the trace is to do, beside what the scheduler knows of it.
#[derive(Clone, Debug, Default)]
struct Script {
    arrived: Nanos,
    first_token: Option<Nanos>,
    session: Option<String>,
    live: bool,
}

/// A request that has arrived but that no pass has seen: the engine takes it in at its next step.
#[derive(Debug)]
struct Mail<H> {
    at: Nanos,
    handle: H,
    request: TraceRequest,
}

/// An abort that a client will ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AbortTimer {
    at: Nanos,
    ordinal: u32,
    slot: Slot,
}

/// The latest moment of a replay; beyond it sums of times could leave their type.
const LATEST: Nanos = Nanos(i64::MAX as u64);

/// Passes in a row that may schedule nothing while nothing else can happen.
const STUCK_AFTER: u32 = 1000;

struct Replay<E, I, L: LoggerHooks> {
    arrivals: ArrivalQueue<I>,
    timeline: Timeline<L>,
    mail: Vec<Mail<L::Request>>,
    /// By scheduler slot.
    scripts: Vec<Script>,
    /// By scheduler slot; apart from the scripts, as every step reads those of its batch.
    answers: Vec<Answer>,
    aborts: BinaryHeap<Reverse<AbortTimer>>,
    totals: ReplayTotals,
    max_model_len: Tokens,
    policy: Policy,
    seed: u64,
    acceptance: u64,
    empty_passes: u32,
    stuck_on: Option<String>,
    /// Hooks cannot fail; the first error stops the loop after the step.
    error: Option<ReplayError<E>>,
}

/// Replays a trace in order of arrival and closes the log. `progress` is called now and then.
///
/// # Errors
/// Where the trace cannot be read, the log cannot be written, or the engine cannot go on. What the
/// log holds by then ends with whole rows.
pub fn replay<E, I, L>(
    trace: I,
    settings: &Resolved,
    logger: L,
    mut progress: impl FnMut(&ReplayTotals),
) -> Result<ReplayTotals, ReplayError<E>>
where
    I: Iterator<Item = Result<TraceRequest, E>>,
    L: LoggerHooks<Error = LoggerError>,
{
    let stop = StopTokens { eos_token_id: Some(STOP_TOKEN), stop_token_ids: Vec::new() };
    let mut core = EngineCore::new(settings.scheduler.clone(), stop);
    let mut replay = Replay::new(trace, settings, logger)?;
    loop {
        if replay.timeline.now() > LATEST {
            return Err(ReplayError::TooLong(replay.timeline.now()));
        }
        replay.receive_until(replay.timeline.now())?;
        replay.take_in_mail(&mut core);
        replay.abort_due(&mut core)?;
        if core.has_work() {
            core.step(&mut replay).map_err(ReplayError::Assertion)?;
        } else if let Some(next) = replay.arrivals.next_time() {
            replay.timeline.sleep_until(next);
        } else if replay.mail.is_empty() {
            break;
        }
        if let Some(error) = replay.error.take() {
            return Err(error);
        }
        replay.check_progress(&core)?;
        if replay.totals.iterations.is_multiple_of(1024) {
            progress(&replay.totals);
        }
    }
    replay.totals.simulated = replay.timeline.now();
    progress(&replay.totals);
    let totals = replay.totals;
    replay.timeline.shutdown()?;
    Ok(totals)
}

impl<E, I, L> Replay<E, I, L>
where
    I: Iterator<Item = Result<TraceRequest, E>>,
    L: LoggerHooks<Error = LoggerError>,
{
    fn new(trace: I, settings: &Resolved, logger: L) -> Result<Self, ReplayError<E>> {
        Ok(Self {
            arrivals: ArrivalQueue::new(trace).map_err(ReplayError::Trace)?,
            timeline: Timeline::new(settings.latency, logger),
            mail: Vec::new(),
            scripts: Vec::new(),
            answers: Vec::new(),
            aborts: BinaryHeap::new(),
            totals: ReplayTotals::default(),
            max_model_len: settings.scheduler.max_model_len,
            policy: settings.scheduler.policy,
            seed: settings.seed,
            acceptance: acceptance_threshold(settings.draft_acceptance),
            empty_passes: 0,
            stuck_on: None,
            error: None,
        })
    }

    /// Logs every arrival up to `now`; the engine sees them at its next step.
    fn receive_until(&mut self, now: Nanos) -> Result<(), ReplayError<E>> {
        while let Some((at, request)) = self.arrivals.pop_by(now).map_err(ReplayError::Trace)? {
            let id = request.id.as_str();
            let priority = self.policy.priority_of(request.priority);
            let handle = self.timeline.arrived(at, id, request.input_tokens, priority)?;
            self.totals.requests += 1;
            // A prompt must leave room for one token: vLLM rejects it otherwise.
            if request.failed || request.input_tokens >= self.max_model_len {
                self.timeline.rejected(at, handle)?;
                self.totals.rejected += 1;
                if let Some(session) = &request.session {
                    self.arrivals.turn_ended(session, at);
                }
            } else {
                self.mail.push(Mail { at, handle, request });
            }
        }
        Ok(())
    }

    fn take_in_mail(&mut self, core: &mut EngineCore) {
        for Mail { at, handle, request } in self.mail.drain(..) {
            let slot = core.add_request(NewRequest {
                id: request.id,
                prompt: request.prompt,
                max_tokens: request.max_tokens,
                priority: request.priority,
                arrival_time: at,
                cache_salt: None,
                skip_reading_prefix_cache: false,
            });
            self.timeline.bind(slot, handle);
            if slot.index() >= self.scripts.len() {
                self.scripts.resize(slot.index() + 1, Script::default());
                self.answers.resize(slot.index() + 1, Answer::default());
            }
            self.answers[slot.index()] =
                Answer { ordinal: request.ordinal, output_tokens: request.output_tokens };
            self.scripts[slot.index()] =
                Script { arrived: at, first_token: None, session: request.session, live: true };
            if let Some(patience) = request.abort_after {
                let at = at.saturating_add(patience);
                self.aborts.push(Reverse(AbortTimer { at, ordinal: request.ordinal, slot }));
            }
        }
    }

    /// The next abort that is due and whose request is still there.
    fn next_due_abort(&mut self) -> Option<Slot> {
        while let Some(Reverse(timer)) = self.aborts.peek().copied() {
            if timer.at > self.timeline.now() {
                return None;
            }
            self.aborts.pop();
            let at = timer.slot.index();
            if self.scripts[at].live && self.answers[at].ordinal == timer.ordinal {
                return Some(timer.slot);
            }
        }
        None
    }

    fn abort_due(&mut self, core: &mut EngineCore) -> Result<(), ReplayError<E>> {
        while let Some(slot) = self.next_due_abort() {
            if let Some(aborted) = core.abort(slot) {
                self.ended_by_abort(&aborted)?;
            }
        }
        Ok(())
    }

    fn ended_by_abort(&mut self, aborted: &Aborted) -> Result<(), ReplayError<E>> {
        self.timeline.aborted(aborted)?;
        self.totals.aborted += 1;
        self.end_script(aborted.slot);
        Ok(())
    }

    /// Marks the request of a slot as ended, which may release the next turn of its session.
    fn end_script(&mut self, slot: Slot) {
        let script = &mut self.scripts[slot.index()];
        script.live = false;
        if let Some(session) = script.session.take() {
            self.arrivals.turn_ended(&session, self.timeline.now());
        }
    }

    /// An engine that schedules nothing although requests wait, none runs and nothing will change.
    fn check_progress(&self, core: &EngineCore) -> Result<(), ReplayError<E>> {
        match &self.stuck_on {
            Some(reason) if self.empty_passes > STUCK_AFTER && self.aborts.is_empty() => {
                Err(ReplayError::Stuck {
                    now: self.timeline.now(),
                    waiting: core.scheduler().waiting_len(),
                    reason: reason.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    fn note_progress(&mut self, scheduler: &Scheduler, pass: &Pass) {
        let stalled = pass.is_empty() && scheduler.running().is_empty();
        match pass.admission_stop.filter(|_| stalled && scheduler.waiting_len() > 0) {
            Some(stop) => {
                self.empty_passes += 1;
                if self.empty_passes > STUCK_AFTER {
                    self.stuck_on = Some(format!("{stop:?}"));
                }
            }
            None => {
                self.empty_passes = 0;
                self.stuck_on = None;
            }
        }
    }

    /// Runs `work` unless an earlier hook has failed; keeps its error.
    fn guard(&mut self, work: impl FnOnce(&mut Self) -> Result<(), ReplayError<E>>) {
        if self.error.is_none()
            && let Err(error) = work(self)
        {
            self.error = Some(error);
        }
    }

    /// How many of `drafts` the model accepts for the output at position `output` of a request.
    ///
    /// A draw depends on the seed, the request and the position alone, not on when it is made.
    fn accepted_drafts(&self, ordinal: u32, output: Tokens, drafts: Tokens) -> Tokens {
        let accepted = (0..drafts.0).take_while(|draft| {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&self.seed.to_le_bytes());
            key[8..12].copy_from_slice(&ordinal.to_le_bytes());
            key[12..].copy_from_slice(&(output.0 + draft).to_le_bytes());
            xxh3_64(&key) < self.acceptance
        });
        Tokens(accepted.count() as u32)
    }
}

/// The chance `p` as the share of 64-bit draws that succeed.
fn acceptance_threshold(p: f64) -> u64 {
    // 2^64 times p; the cast saturates at 1.
    (p * 18_446_744_073_709_551_616.0) as u64
}

impl<E, I, L> Driver for Replay<E, I, L>
where
    I: Iterator<Item = Result<TraceRequest, E>>,
    L: LoggerHooks<Error = LoggerError>,
{
    fn scheduling(&mut self, _: &Scheduler) {
        self.guard(|replay| Ok(replay.timeline.begin()?));
    }

    fn scheduled(&mut self, scheduler: &Scheduler, pass: &Pass) {
        self.totals.count_pass(pass);
        self.note_progress(scheduler, pass);
        self.timeline.decide(pass);
        self.guard(|replay| {
            replay.receive_until(replay.timeline.now())?;
            Ok(replay.timeline.log_pass(scheduler, pass)?)
        });
    }

    fn aborts_in_flight(&mut self, _: &Scheduler, _: &Pass, aborts: &mut Vec<Slot>) {
        self.timeline.await_output();
        self.guard(|replay| {
            replay.receive_until(replay.timeline.now())?;
            Ok(replay.timeline.log_output()?)
        });
        while let Some(slot) = self.next_due_abort() {
            aborts.push(slot);
        }
    }

    fn aborted(&mut self, _: &Scheduler, aborted: &Aborted) {
        self.guard(|replay| replay.ended_by_abort(aborted));
    }

    fn model_output(&mut self, scheduler: &Scheduler, pass: &Pass, output: &mut ModelOutput) {
        for entry in &pass.entries {
            let request = scheduler.request(entry.slot);
            if !entry.samples || request.is_finished() {
                output.push([]);
                continue;
            }
            let answer = self.answers[entry.slot.index()];
            if entry.drafts == Tokens::ZERO {
                output.push_one(answer.token(request, Tokens::ZERO));
            } else {
                let done = request.output_tokens();
                let accepted = self.accepted_drafts(answer.ordinal, done, entry.drafts);
                let offsets = (0..=accepted.0).map(Tokens);
                output.push(offsets.map(|offset| answer.token(request, offset)));
            }
        }
    }

    fn updated(&mut self, scheduler: &Scheduler, pass: &Pass, update: &Update) {
        self.timeline.finish_output();
        let now = self.timeline.now();
        self.guard(|replay| {
            replay.receive_until(now)?;
            Ok(replay.timeline.log_update(pass, update)?)
        });
        for entry in update.entries.iter().filter(|entry| entry.first_token && !entry.gone) {
            self.scripts[entry.slot.index()].first_token = Some(now);
        }
        self.totals.count_update(update);
        for done in &update.finished {
            let script = &self.scripts[done.slot.index()];
            let output = scheduler.request(done.slot).output_tokens();
            self.totals.count_finished(script.arrived, script.first_token, output, now);
            self.end_script(done.slot);
        }
    }

    fn drafts(&mut self, scheduler: &Scheduler, pass: &Pass, drafts: &mut Vec<Tokens>) {
        let k = scheduler.config().num_speculative_tokens();
        for entry in &pass.entries {
            let room =
                self.max_model_len.saturating_sub(scheduler.request(entry.slot).total_tokens());
            drafts.push(k.min(room));
        }
    }
}
