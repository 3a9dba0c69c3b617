//! Strategies for proptest. A failing case shrinks by its workload: requests, then values.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::config::Policy;
use crate::fuzz::dice::Dice;
use crate::fuzz::generate::Limits;
use crate::fuzz::hostile::hostile;
use crate::fuzz::sequence::EventSequence;
use crate::fuzz::workload::{WorkRequest, Workload};
use crate::log::values::LogLevel;
use crate::settings::{LatencyKind, Settings};

/// Sequences that the reference scheduler makes: a logger must take every call.
pub fn event_sequences() -> impl Strategy<Value = EventSequence> {
    event_sequences_with(Limits::default())
}

/// The same, of what a logger supports.
pub fn event_sequences_with(limits: Limits) -> impl Strategy<Value = EventSequence> {
    workloads(limits).prop_filter_map("the engine does not take the workload", |workload| {
        workload.record("proptest").ok()
    })
}

/// Sequences that no scheduler makes: a logger rejects or survives them.
pub fn hostile_sequences() -> impl Strategy<Value = EventSequence> {
    (event_sequences(), any::<u64>())
        .prop_map(|(sequence, seed)| hostile(&mut Dice::new(seed, 0), sequence))
}

/// Workloads of small engines under pressure.
pub fn workloads(limits: Limits) -> impl Strategy<Value = Workload> {
    let most = (limits.max_requests as usize).max(1);
    let log_levels = limits.log_levels.clone();
    let logging = (
        prop::sample::select(log_levels),
        prop::sample::select(vec![100u64, 7, 2, 1]),
        option::weighted(0.2, 0u32..40),
    );
    (8u32..80, logging).prop_flat_map(move |(len, logging)| {
        let requests = vec(request(&limits, len), 1..=most);
        (settings(&limits, len), requests, Just(logging)).prop_map(workload)
    })
}

fn workload(
    (settings, mut requests, (log_level, flush_interval_iterations, shutdown_after)): (
        Settings,
        Vec<WorkRequest>,
        (LogLevel, u64, Option<u32>),
    ),
) -> Workload {
    for (index, request) in requests.iter_mut().enumerate() {
        request.id = format!("r{index}");
    }
    Workload {
        settings,
        log_level,
        flush_interval_iterations,
        flush_interval_ns: 60_000_000_000,
        clock_step_ns: 1,
        shutdown_after,
        requests,
    }
}

fn settings(limits: &Limits, len: u32) -> impl Strategy<Value = Settings> + use<> {
    let sizes = (1u32..6, 0u32..80, prop::sample::select(vec![1u32, 2, 4, 8]), 0u32..20);
    let switches = (
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(if limits.prefix_caching { 0.5 } else { 0.0 }),
        prop::bool::weighted(if limits.priority { 0.3 } else { 0.0 }),
        prop::bool::weighted(if limits.overlapping_steps { 0.3 } else { 0.0 }),
    );
    (sizes, switches).prop_map(move |((seqs, more, block_size, spare), switches)| {
        let (chunked, reserve, caching, priority, overlap) = switches;
        let tokens = seqs + more;
        Settings {
            policy: Some(if priority { Policy::Priority } else { Policy::Fcfs }),
            max_num_seqs: Some(seqs),
            max_num_batched_tokens: Some(if chunked { tokens } else { tokens.max(len) }),
            max_model_len: Some(len),
            enable_chunked_prefill: Some(chunked),
            scheduler_reserve_full_isl: Some(reserve),
            async_scheduling: Some(overlap),
            block_size: Some(block_size),
            num_gpu_blocks: Some(len.div_ceil(block_size) + 1 + spare),
            enable_prefix_caching: Some(caching),
            latency: Some(LatencyKind::Fixed),
            ..Settings::default()
        }
    })
}

fn request(limits: &Limits, len: u32) -> impl Strategy<Value = WorkRequest> + use<> {
    let sizes = (1..=len, 1u32..20, option::weighted(0.3, 0u32..20));
    let when = (
        0u64..500_000_000,
        option::weighted(if limits.aborts { 0.1 } else { 0.0 }, 0u64..300_000_000),
    );
    let priority = if limits.priority { -2i64..3 } else { 0..1 };
    let prefix = option::weighted(if limits.prefix_caching { 0.5 } else { 0.0 }, 0u32..3);
    (sizes, when, priority, prefix).prop_map(|(sizes, when, priority, prefix)| {
        let (input_tokens, output_tokens, more) = sizes;
        WorkRequest {
            id: String::new(),
            arrival_ns: when.0,
            input_tokens,
            output_tokens,
            max_tokens: output_tokens + more.unwrap_or(0),
            priority,
            abort_after_ns: when.1,
            prefix,
            prefix_tokens: if prefix.is_some() { input_tokens / 2 } else { 0 },
            failed: false,
        }
    })
}
