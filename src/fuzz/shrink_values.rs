//! Smaller values, tried one at a time once whole requests and steps cannot go.

use crate::fuzz::sequence::{Call, EventSequence};
use crate::fuzz::workload::{WorkRequest, Workload};
use crate::log::values::LogLevel;
use crate::settings::Settings;
use crate::units::Nanos;

/// A change that makes a workload simpler, or leaves it alone.
pub(super) type WorkloadChange = Box<dyn Fn(&mut Workload)>;
/// A change that makes a sequence simpler, or leaves it alone.
pub(super) type SequenceChange = Box<dyn Fn(&mut EventSequence)>;

/// Numbers between `least` and `value`, smallest first.
fn smaller(value: u64, least: u64) -> Vec<u64> {
    if value <= least {
        return Vec::new();
    }
    let mut steps = vec![least, least + (value - least) / 2, value - 1];
    steps.dedup();
    steps
}

/// Every change worth a trial, the coarsest first.
pub(super) fn smaller_workloads(workload: &Workload) -> Vec<WorkloadChange> {
    let mut changes: Vec<WorkloadChange> = Vec::new();
    push_global_changes(&mut changes);
    changes.push(Box::new(|w| w.shutdown_after = None));
    for (index, request) in workload.requests.iter().enumerate() {
        push_request_changes(&mut changes, index, request);
    }
    push_setting_changes(&mut changes, &workload.settings);
    changes.push(Box::new(|w| w.clock_step_ns = 1));
    changes.push(Box::new(|w| w.log_level = LogLevel::Standard));
    changes.push(Box::new(|w| w.flush_interval_iterations = 100));
    changes.push(Box::new(|w| w.flush_interval_ns = 60_000_000_000));
    changes.push(Box::new(|w| {
        for (index, request) in w.requests.iter_mut().enumerate() {
            request.id = format!("r{index}");
        }
    }));
    changes
}

/// Changes to all requests at once, where one alone would change what happens.
fn push_global_changes(changes: &mut Vec<WorkloadChange>) {
    changes.push(Box::new(|w| w.requests.iter_mut().for_each(|r| r.arrival_ns = 0)));
    changes.push(Box::new(|w| {
        for request in &mut w.requests {
            request.output_tokens = request.output_tokens.div_ceil(2);
            request.max_tokens = request.max_tokens.min(request.output_tokens);
        }
    }));
    changes.push(Box::new(|w| {
        for request in &mut w.requests {
            request.input_tokens = request.input_tokens.div_ceil(2);
            request.prefix_tokens = request.prefix_tokens.min(request.input_tokens);
        }
    }));
    changes.push(Box::new(|w| {
        // The smallest engine that takes the requests: blocks of one token, none to spare.
        let longest = w.requests.iter().map(|r| r.input_tokens.saturating_add(r.max_tokens)).max();
        let len = longest.unwrap_or(1).saturating_add(1);
        w.settings.block_size = Some(1);
        w.settings.max_model_len = Some(len);
        w.settings.num_gpu_blocks = Some(len.saturating_add(1));
        w.settings.max_num_batched_tokens = Some(len.saturating_mul(2));
        w.settings.long_prefill_token_threshold = None;
    }));
}

fn push_request_changes(changes: &mut Vec<WorkloadChange>, index: usize, request: &WorkRequest) {
    let mut push = |change: Box<dyn Fn(&mut WorkRequest)>| {
        changes.push(Box::new(move |workload: &mut Workload| {
            workload.requests.get_mut(index).into_iter().for_each(&change);
        }));
    };
    push(Box::new(|r| r.abort_after_ns = None));
    push(Box::new(|r| r.failed = false));
    push(Box::new(|r| (r.prefix, r.prefix_tokens) = (None, 0)));
    push(Box::new(|r| r.priority = 0));
    for value in smaller(u64::from(request.output_tokens), 1) {
        push(Box::new(move |r| {
            r.output_tokens = value as u32;
            r.max_tokens = r.max_tokens.min(r.output_tokens);
        }));
    }
    for value in smaller(u64::from(request.input_tokens), 1) {
        push(Box::new(move |r| {
            r.input_tokens = value as u32;
            r.prefix_tokens = r.prefix_tokens.min(r.input_tokens);
        }));
    }
    push(Box::new(|r| r.max_tokens = r.output_tokens));
    for value in smaller(request.arrival_ns, 0) {
        push(Box::new(move |r| r.arrival_ns = value));
    }
    for value in request.abort_after_ns.map_or_else(Vec::new, |at| smaller(at, 0)) {
        push(Box::new(move |r| r.abort_after_ns = Some(value)));
    }
}

fn push_setting_changes(changes: &mut Vec<WorkloadChange>, settings: &Settings) {
    let mut push = |change: Box<dyn Fn(&mut Settings)>| {
        changes.push(Box::new(move |workload: &mut Workload| change(&mut workload.settings)));
    };
    push(Box::new(|s| {
        s.speculative_method = None;
        s.num_speculative_tokens = None;
        s.draft_acceptance = None;
    }));
    push(Box::new(|s| s.async_scheduling = Some(false)));
    push(Box::new(|s| s.policy = None));
    push(Box::new(|s| s.watermark = None));
    push(Box::new(|s| s.long_prefill_token_threshold = None));
    push(Box::new(|s| s.max_num_active_seqs = None));
    push(Box::new(|s| s.enable_prefix_caching = Some(false)));
    push(Box::new(|s| s.enable_chunked_prefill = Some(true)));
    push(Box::new(|s| s.seed = Some(0)));
    if let Some(len) = settings.max_model_len {
        for value in smaller(u64::from(len), 2) {
            push(Box::new(move |s| s.max_model_len = Some(value as u32)));
        }
    }
    if let Some(blocks) = settings.num_gpu_blocks {
        for value in smaller(u64::from(blocks), 2) {
            push(Box::new(move |s| s.num_gpu_blocks = Some(value as u32)));
        }
    }
}

/// Every number of every call, made smaller, and times brought together.
pub(super) fn smaller_calls(sequence: &EventSequence) -> Vec<SequenceChange> {
    let mut changes: Vec<SequenceChange> = Vec::new();
    changes.push(Box::new(|sequence| {
        for now in sequence.calls.iter_mut().filter_map(Call::now_mut) {
            now.0 /= 1_000_000;
        }
    }));
    for index in 0..sequence.calls.len() {
        changes.push(Box::new(move |sequence| {
            let before = sequence.calls[..index].iter().rev().find_map(Call::now);
            let call = sequence.calls.get_mut(index).and_then(Call::now_mut);
            call.into_iter().for_each(|now| *now = before.unwrap_or(Nanos::ZERO));
        }));
        for number in 0..3 {
            changes.push(Box::new(move |sequence| {
                sequence.calls.get_mut(index).into_iter().for_each(|call| zero(call, number));
            }));
        }
    }
    changes
}

/// Sets the `number`-th count of a call to zero.
fn zero(call: &mut Call, number: usize) {
    let mut counts: Vec<&mut u32> = match call {
        Call::Arrival { input_tokens, .. } => vec![&mut input_tokens.0],
        Call::Schedule { kv_cache_used, evicted_blocks, .. } => {
            vec![&mut kv_cache_used.0, &mut evicted_blocks.0]
        }
        Call::Preempted { computed_tokens, blocks, .. }
        | Call::Completed { computed_tokens, blocks, .. } => {
            vec![&mut computed_tokens.0, &mut blocks.0]
        }
        Call::Scheduled { cached_tokens, .. } | Call::Resumed { cached_tokens, .. } => {
            vec![&mut cached_tokens.0]
        }
        Call::Running { kv_cache_blocks, scheduled_tokens, computed_tokens, .. } => {
            vec![&mut kv_cache_blocks.0, &mut scheduled_tokens.0, &mut computed_tokens.0]
        }
        Call::Generated { tokens, rejected_drafts, .. } => {
            vec![&mut tokens.0, &mut rejected_drafts.0]
        }
        Call::Allocated { blocks, .. } | Call::Dropped { blocks, .. } => vec![&mut blocks.0],
        _ => Vec::new(),
    };
    if let Some(count) = counts.get_mut(number) {
        **count = 0;
    }
}
