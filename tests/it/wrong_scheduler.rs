//! A small scheduler of its own, synchronous and without prefix caching, that can be told to be wrong
//! in one way. It shares nothing with the product but the logger: without a bug it is a second
//! implementation of the same rules.

use std::path::Path;

use schedlog::engine::run::{LogOptions, reference_run_info};
use schedlog::log::values::{FinishReason, WaitingReason};
use schedlog::logger::{
    KvCacheUsage, LoggerOptions, RequestHandle, RunningRequest, SchedulerLogger,
};
use schedlog::settings::Resolved;
use schedlog::units::{Blocks, Bytes, Nanos, Priority, Tokens};

/// One way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    LeaksABlock,
    PreemptsTheFirst,
    AdmitsAfterAPreemption,
    ServesTheShortestFirst,
    LosesTheBudget,
    IgnoresTheWatermark,
    IgnoresPriority,
    PreemptsTheUrgent,
    IgnoresTheThreshold,
    CapsALoneRequest,
    AdmitsOneTooMany,
    DropsAChunk,
    DecodesFirst,
    ReservesOnlyTheChunk,
    PreemptedGoToTheBack,
    TriesTheNext,
    AllocatesLate,
    FreesLate,
    BlamesTheSeats,
    StopsAtTheFirstChunk,
    KeepsABlockOfAVictim,
}

/// What arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) at_us: u64,
    pub(crate) input: u32,
    pub(crate) output: u32,
    pub(crate) priority: i64,
}

#[derive(Clone, Debug)]
struct Request {
    id: String,
    job: Job,
    handle: RequestHandle,
    computed: u32,
    generated: u32,
    blocks: u32,
    ran: bool,
}

impl Request {
    fn known(&self) -> u32 {
        self.job.input + self.generated
    }

    fn key(&self) -> (i64, u64, String) {
        (self.job.priority, self.job.at_us, self.id.clone())
    }
}

/// The scheduler and its log.
pub(crate) struct WrongScheduler<'s> {
    /// What is wrong with the step at hand.
    bug: Bug,
    planned: Bug,
    /// The one step that is wrong, counted from 1, where not all are.
    only: Option<u64>,
    settings: &'s Resolved,
    logger: SchedulerLogger,
    now: u64,
    running: Vec<Request>,
    waiting: Vec<Request>,
    free: u32,
    /// Blocks that a late release gives back at the next step.
    late: u32,
    to_flush: bool,
    step: u64,
}

/// What a pass decided: positions of the running queue with tokens, and the waiting reason.
struct Pass {
    scheduled: Vec<(String, u32)>,
    preempted: Vec<(RequestHandle, u32, u32)>,
    new: Vec<RequestHandle>,
    resumed: Vec<RequestHandle>,
    reason: WaitingReason,
    budget: u32,
}

/// Runs the jobs and writes the log to `directory`.
pub(crate) fn run(bug: Bug, jobs: &[Job], settings: &Resolved, directory: &Path) {
    run_with((bug, None), jobs, settings, directory);
}

/// The same, where only one iteration may be told to be wrong.
pub(crate) fn run_with(
    (bug, only): (Bug, Option<u64>),
    jobs: &[Job],
    settings: &Resolved,
    directory: &Path,
) {
    let options = LogOptions::default();
    let info = reference_run_info(settings, &options);
    let logger_options =
        LoggerOptions { kv_bytes_per_block: Some(Bytes(1024)), ..Default::default() };
    let logger = SchedulerLogger::create(directory, &info, logger_options).unwrap();
    let free = settings.scheduler.num_gpu_blocks.0 - 1;
    let (running, waiting) = (Vec::new(), Vec::new());
    let mut scheduler = WrongScheduler {
        bug,
        planned: bug,
        only: only.map(|iteration| iteration + 1),
        settings,
        logger,
        now: 0,
        running,
        waiting,
        free,
        late: 0,
        to_flush: false,
        step: 0,
    };
    let mut jobs = jobs.iter().enumerate().peekable();
    loop {
        while let Some((index, job)) = jobs.next_if(|(_, job)| job.at_us * 1000 <= scheduler.now) {
            scheduler.arrive(index, *job);
        }
        let busy = !scheduler.running.is_empty() || !scheduler.waiting.is_empty();
        if busy || scheduler.to_flush {
            scheduler.iterate(|now, scheduler| {
                while let Some((index, job)) = jobs.next_if(|(_, job)| job.at_us * 1000 <= now) {
                    scheduler.arrive(index, *job);
                }
            });
            assert!(scheduler.step < 2000, "{bug:?} never ends");
        } else if let Some((_, job)) = jobs.peek() {
            scheduler.now = job.at_us * 1000;
        } else {
            break;
        }
    }
    let now = Nanos(scheduler.now);
    scheduler.logger.shutdown(now).unwrap();
}

impl WrongScheduler<'_> {
    fn arrive(&mut self, index: usize, job: Job) {
        let id = format!("r{index}");
        let (at, input) = (Nanos(job.at_us * 1000), Tokens(job.input));
        let priority = Priority(job.priority);
        let handle = self.logger.record_request_arrival(at, &id, input, priority).unwrap();
        let request = Request { id, job, handle, computed: 0, generated: 0, blocks: 0, ran: false };
        self.waiting.push(request);
    }

    fn blocks(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.settings.scheduler.block_size)
    }

    fn by_priority(&self) -> bool {
        self.settings.scheduler.policy == schedlog::config::Policy::Priority
            && self.bug != Bug::IgnoresPriority
    }

    fn iterate(&mut self, mut arrivals: impl FnMut(u64, &mut Self)) {
        self.step += 1;
        let wrong = self.only.is_none_or(|step| step == self.step);
        self.bug = if wrong { self.planned } else { Bug::None };
        self.to_flush = false;
        self.logger.begin_iteration(Nanos(self.now)).unwrap();
        if self.by_priority() {
            self.waiting.sort_by_key(Request::key);
        } else if self.bug == Bug::ServesTheShortestFirst {
            self.waiting.sort_by_key(|request| request.job.input);
        }
        let pass = self.schedule();
        self.free += std::mem::take(&mut self.late);
        if self.by_priority() {
            self.waiting.sort_by_key(Request::key);
        }
        self.now += 10_000;
        // Who arrives while the step is under way is seen by the next one.
        let known = self.waiting.len();
        arrivals(self.now, self);
        let late = self.waiting.split_off(known);
        self.log_pass(&pass);
        self.now += 1_000_000;
        self.waiting.extend(late);
        arrivals(self.now, self);
        self.logger.record_model_output(Nanos(self.now)).unwrap();
        self.now += 10_000;
        arrivals(self.now, self);
        self.output(&pass);
    }

    fn cap(&self) -> u32 {
        let everyone = self.running.len() + self.waiting.len();
        match self.settings.scheduler.long_prefill_token_threshold.0 {
            0 => u32::MAX,
            _ if self.bug == Bug::IgnoresTheThreshold => u32::MAX,
            cap if everyone > 1 || self.bug == Bug::CapsALoneRequest => cap,
            _ => u32::MAX,
        }
    }

    fn schedule(&mut self) -> Pass {
        let config = &self.settings.scheduler;
        let mut pass = Pass {
            scheduled: Vec::new(),
            preempted: Vec::new(),
            new: Vec::new(),
            resumed: Vec::new(),
            reason: WaitingReason::Preempted,
            budget: config.max_num_batched_tokens.0,
        };
        let cap = self.cap();
        self.schedule_running(cap, &mut pass);
        if self.bug == Bug::LosesTheBudget {
            pass.budget = config.max_num_batched_tokens.0;
        }
        if pass.preempted.is_empty() || self.bug == Bug::AdmitsAfterAPreemption {
            self.schedule_waiting(cap, &mut pass);
        }
        pass
    }

    fn schedule_running(&mut self, cap: u32, pass: &mut Pass) {
        let order: Vec<String> = self.running.iter().map(|r| r.id.clone()).collect();
        let decodes = self.running.iter().any(|r| r.computed >= r.job.input);
        for id in order {
            if pass.budget == 0 {
                return;
            }
            let Some(at) = self.running.iter().position(|r| r.id == id) else { continue };
            let request = &self.running[at];
            let mut tokens = (request.known() - request.computed).min(cap).min(pass.budget);
            let dropped = self.bug == Bug::DropsAChunk && tokens > 4 && self.step.is_multiple_of(3);
            let held_back =
                self.bug == Bug::DecodesFirst && decodes && request.computed < request.job.input;
            if dropped || held_back {
                tokens = 0;
            }
            if tokens == 0 {
                continue;
            }
            let late = u32::from(self.bug == Bug::AllocatesLate);
            let end = request.computed + tokens - late;
            let missing = self.blocks(end).saturating_sub(request.blocks);
            while missing > self.free {
                if self.preempt(pass) == id {
                    return;
                }
            }
            let request = self.running.iter_mut().find(|r| r.id == id).unwrap();
            self.free -= missing;
            request.blocks += missing;
            pass.budget -= tokens;
            pass.scheduled.push((id, tokens));
            let prefilling = request.computed + tokens < request.known();
            if self.bug == Bug::StopsAtTheFirstChunk && prefilling {
                return;
            }
        }
    }

    fn preempt(&mut self, pass: &mut Pass) -> String {
        let key = |r: &Request| (r.job.priority, r.job.at_us);
        let victim = match self.bug {
            Bug::PreemptsTheFirst => 0,
            _ if !self.by_priority() => self.running.len() - 1,
            bug => (1..self.running.len()).fold(0, |victim, at| {
                let (other, chosen) = (key(&self.running[at]), key(&self.running[victim]));
                let worse =
                    if bug == Bug::PreemptsTheUrgent { other < chosen } else { other > chosen };
                if worse { at } else { victim }
            }),
        };
        let mut victim = self.running.remove(victim);
        pass.preempted.push((victim.handle, victim.computed, victim.blocks));
        if let Some(at) = pass.scheduled.iter().position(|(id, _)| *id == victim.id) {
            pass.budget += pass.scheduled.remove(at).1;
        }
        self.free += victim.blocks - u32::from(self.bug == Bug::KeepsABlockOfAVictim);
        (victim.computed, victim.blocks) = (0, 0);
        let id = victim.id.clone();
        match self.bug {
            Bug::PreemptedGoToTheBack => self.waiting.push(victim),
            _ => self.waiting.insert(0, victim),
        }
        id
    }

    fn schedule_waiting(&mut self, cap: u32, pass: &mut Pass) {
        let config = &self.settings.scheduler;
        let more = u32::from(self.bug == Bug::AdmitsOneTooMany);
        let seats = (config.max_num_seqs.0 + more) as usize;
        let mut at = 0;
        while at < self.waiting.len() {
            if pass.budget == 0 {
                pass.reason = WaitingReason::MaxNumBatchedTokens;
                return;
            }
            if self.running.len() >= seats {
                pass.reason = WaitingReason::MaxNumSeqs;
                return;
            }
            let known = self.waiting[at].known();
            let tokens = known.min(cap).min(pass.budget);
            let margin = match self.bug {
                Bug::IgnoresTheWatermark => 0,
                _ if self.running.is_empty() => 0,
                _ => config.watermark_blocks.0,
            };
            let reserve =
                config.scheduler_reserve_full_isl && self.bug != Bug::ReservesOnlyTheChunk;
            let needed = self.blocks(if reserve { known } else { tokens });
            if needed + margin > self.free {
                pass.reason = WaitingReason::MemoryInsufficient;
                if self.bug != Bug::TriesTheNext {
                    return;
                }
                at += 1;
                continue;
            }
            let mut request = self.waiting.remove(at);
            request.blocks = self.blocks(tokens);
            self.free -= request.blocks;
            pass.budget -= tokens;
            let kinds = if request.ran { &mut pass.resumed } else { &mut pass.new };
            kinds.push(request.handle);
            request.ran = true;
            pass.scheduled.push((request.id.clone(), tokens));
            self.running.push(request);
        }
    }

    fn log_pass(&mut self, pass: &Pass) {
        let total = self.settings.scheduler.usable_blocks();
        let used = Blocks(total.0 - self.free);
        let logger = &mut self.logger;
        let usage = KvCacheUsage { used, total, evicted: Blocks(0) };
        logger.record_schedule(Nanos(self.now), usage).unwrap();
        for &(handle, computed, blocks) in &pass.preempted {
            logger.record_request_preempted(handle, Tokens(computed), Blocks(blocks)).unwrap();
        }
        for &handle in &pass.new {
            logger.record_request_scheduled(handle, Tokens(0)).unwrap();
        }
        for &handle in &pass.resumed {
            logger.record_request_resumed(handle, Tokens(0)).unwrap();
        }
        for request in &self.running {
            let scheduled = pass.scheduled.iter().find(|(id, _)| *id == request.id);
            let limit = request.job.input.max(request.known() - 1);
            let row = RunningRequest {
                request: request.handle,
                kv_cache_blocks: Blocks(request.blocks),
                scheduled_tokens: Tokens(scheduled.map_or(0, |(_, tokens)| *tokens)),
                computed_tokens: Tokens(request.computed),
                prefill: scheduled.is_some() && request.computed < limit,
            };
            logger.record_running(row).unwrap();
        }
        for request in &self.waiting {
            let reason = if self.bug == Bug::BlamesTheSeats && request.ran {
                WaitingReason::MaxNumSeqs
            } else {
                pass.reason
            };
            logger.record_waiting(request.handle, reason).unwrap();
        }
    }

    fn output(&mut self, pass: &Pass) {
        let mut finished = Vec::new();
        for (id, tokens) in &pass.scheduled {
            let request = self.running.iter_mut().find(|r| r.id == *id).unwrap();
            let before = request.computed;
            request.computed += tokens;
            if request.computed < request.known() {
                continue;
            }
            request.generated += 1;
            self.logger.record_tokens_generated(request.handle, Tokens(1), Tokens(0)).unwrap();
            if request.generated == request.job.output {
                finished.push((id.clone(), before));
            }
        }
        for (id, before) in finished {
            let at = self.running.iter().position(|r| r.id == id).unwrap();
            let request = self.running.remove(at);
            let (blocks, before) = (Blocks(request.blocks), Tokens(before));
            let handle = request.handle;
            let reason = FinishReason::Length;
            self.logger.record_request_completed(handle, reason, blocks, before).unwrap();
            let kept = u32::from(self.bug == Bug::LeaksABlock && request.id == "r0");
            match self.bug {
                Bug::FreesLate => self.late += request.blocks,
                _ => self.free += request.blocks - kept,
            }
            self.to_flush = true;
        }
        self.logger.end_iteration(Nanos(self.now)).unwrap();
    }
}
