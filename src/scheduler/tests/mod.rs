//! The scheduler under small, hand-made workloads.

mod examples;
mod rules;

use crate::config::{Policy, SchedulerConfig, Speculative, SpeculativeMethod};
use crate::engine::{Driver, EngineCore};
use crate::scheduler::{
    ModelOutput, NewRequest, Pass, Scheduler, SchedulerAssertion, Slot, StopTokens, Update,
};
use crate::units::{Blocks, Nanos, Priority, Requests, TokenId, TokenRun, Tokens};

/// 15 usable blocks of 4 tokens, sequences of up to 32, a roomy budget.
fn config() -> SchedulerConfig {
    SchedulerConfig {
        policy: Policy::Fcfs,
        block_size: 4,
        num_gpu_blocks: Blocks(16),
        max_num_seqs: Requests(8),
        max_num_active_seqs: Requests(8),
        max_num_batched_tokens: Tokens(64),
        max_num_scheduled_tokens: Tokens(64),
        max_model_len: Tokens(32),
        enable_chunked_prefill: true,
        long_prefill_token_threshold: Tokens(0),
        long_prefill_token_threshold_adaptive: false,
        enable_prefix_caching: true,
        watermark_blocks: Blocks(0),
        scheduler_reserve_full_isl: true,
        async_scheduling: false,
        max_concurrent_batches: 1,
        speculative: None,
    }
}

fn asynchronous(depth: u32) -> SchedulerConfig {
    SchedulerConfig { async_scheduling: true, max_concurrent_batches: depth, ..config() }
}

fn ngram(k: u32) -> SchedulerConfig {
    let speculative = Some(Speculative::new(SpeculativeMethod::Ngram, Tokens(k)));
    SchedulerConfig { speculative, ..config() }
}

/// An engine with a model that generates token after token of each request's own stream.
struct Engine {
    core: EngineCore,
    model: Model,
}

/// What the model does, and what the scheduler decided last.
#[derive(Default)]
struct Model {
    /// Drafts accepted per verification.
    accepted: usize,
    /// Drafts proposed per request and step.
    proposed: Tokens,
    /// Requests to abort before the next output is processed.
    aborts: Vec<Slot>,
    pass: Option<Pass>,
    update: Option<Update>,
}

impl Driver for Model {
    fn scheduled(&mut self, _: &Scheduler, pass: &Pass) {
        self.pass = Some(pass.clone());
    }

    fn aborts_in_flight(&mut self, _: &Scheduler, _: &Pass, aborts: &mut Vec<Slot>) {
        aborts.append(&mut self.aborts);
    }

    fn model_output(&mut self, scheduler: &Scheduler, pass: &Pass, output: &mut ModelOutput) {
        for entry in &pass.entries {
            let request = scheduler.request(entry.slot);
            let samples = entry.samples && !request.is_finished();
            let accepted = self.accepted.min(entry.drafts.0 as usize);
            let count = if samples { accepted as u64 + 1 } else { 0 };
            let next = 1_000_000 * u64::from(entry.slot.0 + 1) + u64::from(request.len.0);
            output.push((next..next + count).map(TokenId));
        }
    }

    fn updated(&mut self, _: &Scheduler, _: &Pass, update: &Update) {
        self.update = Some(update.clone());
    }

    fn drafts(&mut self, _: &Scheduler, pass: &Pass, drafts: &mut Vec<Tokens>) {
        drafts.resize(pass.entries.len(), self.proposed);
    }
}

impl Engine {
    fn new(config: SchedulerConfig) -> Self {
        let core = EngineCore::new(config, StopTokens::default());
        Self { core, model: Model::default() }
    }

    /// Hands in a request whose prompt is its own, or shared where `stream` is equal.
    fn add(&mut self, id: &str, stream: u64, prompt: u32, max_tokens: u32) -> Slot {
        self.add_urgent(id, stream, prompt, max_tokens, 0, 0)
    }

    fn add_urgent(
        &mut self,
        id: &str,
        stream: u64,
        prompt: u32,
        max_tokens: u32,
        priority: i64,
        arrival: u64,
    ) -> Slot {
        self.core.add_request(NewRequest {
            id: id.into(),
            prompt: vec![TokenRun { first: TokenId(stream << 40), len: Tokens(prompt) }],
            max_tokens: Tokens(max_tokens),
            priority: Priority(priority),
            arrival_time: Nanos(arrival),
            cache_salt: None,
            skip_reading_prefix_cache: false,
        })
    }

    /// One iteration; the tokens scheduled, in batch order (none if no pass ran).
    fn step(&mut self) -> Vec<u32> {
        self.try_step().unwrap()
    }

    fn try_step(&mut self) -> Result<Vec<u32>, SchedulerAssertion> {
        (self.model.pass, self.model.update) = (None, None);
        self.core.step(&mut self.model)?;
        let pass = self.model.pass.iter().flat_map(|pass| &pass.entries);
        Ok(pass.map(|entry| entry.tokens.0).collect())
    }

    fn pass(&self) -> &Pass {
        self.model.pass.as_ref().unwrap()
    }

    fn update(&self) -> &Update {
        self.model.update.as_ref().unwrap()
    }

    fn blocks(&self, slot: Slot) -> Vec<u32> {
        self.core.scheduler().request(slot).blocks().iter().map(|block| block.0).collect()
    }

    fn free(&self) -> Vec<u32> {
        self.core.scheduler().free_queue().map(|block| block.0).collect()
    }

    fn names(&self, slots: impl IntoIterator<Item = Slot>) -> Vec<String> {
        slots.into_iter().map(|slot| self.core.scheduler().request(slot).id.to_string()).collect()
    }

    fn waiting(&self) -> Vec<String> {
        self.names(self.core.scheduler().waiting())
    }

    fn running(&self) -> Vec<String> {
        self.names(self.core.scheduler().running().iter().copied())
    }

    fn preempted(&self) -> Vec<String> {
        self.names(self.pass().preempted.iter().map(|preemption| preemption.slot))
    }
}
