//! Any trace and any valid settings, for the laws.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use schedlog::config::{Policy, SpeculativeMethod};
use schedlog::engine::run::LogOptions;
use schedlog::log::values::LogLevel;
use schedlog::settings::{LatencyKind, Resolved, Settings};
use schedlog::trace::{Arrival, TraceRequest, private_token};
use schedlog::units::{Nanos, Priority, TokenId, TokenRun, Tokens, push_run};

/// A few requests that arrive within a second; prompts may share blocks of 8 tokens.
pub(crate) fn traces(max_requests: usize) -> impl Strategy<Value = Vec<TraceRequest>> {
    let request = (
        0u64..400,
        1u32..90,
        1u32..40,
        option::weighted(0.3, 0u32..30),
        -2i64..3,
        option::weighted(0.2, 0u64..300),
        option::weighted(0.5, 0u64..4),
    );
    let turn = option::weighted(0.2, 0u64..40);
    vec((request, turn), 1..=max_requests).prop_map(|rows| {
        let (rows, turns): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let mut requests: Vec<_> = rows
            .into_iter()
            .enumerate()
            .map(|(index, (at_ms, input, output, more, priority, abort_ms, prefix))| {
                let ordinal = index as u32;
                TraceRequest {
                    ordinal,
                    id: format!("r{index}").into(),
                    arrival: Arrival::At(Nanos(at_ms * 1_000_000)),
                    session: None,
                    input_tokens: Tokens(input),
                    output_tokens: Tokens(output),
                    max_tokens: Tokens(output + more.unwrap_or(0)),
                    priority: Priority(priority),
                    abort_after: abort_ms.map(|ms| Nanos(ms * 1_000_000)),
                    prompt: prompt(ordinal, input, prefix),
                    failed: false,
                }
            })
            .collect();
        requests.sort_by_key(|request| match request.arrival {
            Arrival::At(at) => at,
            Arrival::AfterTurn { .. } => Nanos::MAX,
        });
        follow(&mut requests, &turns);
        requests
    })
}

/// Makes some requests the next turn of the one before.
fn follow(requests: &mut [TraceRequest], turns: &[Option<u64>]) {
    for index in 1..requests.len() {
        let Some(pause_ms) = turns[index] else { continue };
        let name = || format!("s{index}");
        let session = requests[index - 1].session.get_or_insert_with(name).clone();
        requests[index].session = Some(session.clone());
        let delay = Nanos(pause_ms * 1_000_000);
        requests[index].arrival = Arrival::AfterTurn { session, delay };
    }
}

/// Half of the prompt from a shared prefix, if one is named; the rest is the request's own.
fn prompt(ordinal: u32, input: u32, prefix: Option<u64>) -> Vec<TokenRun> {
    let shared = if prefix.is_some() { input / 2 } else { 0 };
    let mut runs = Vec::new();
    if let Some(prefix) = prefix {
        push_run(&mut runs, TokenRun { first: TokenId(prefix << 32), len: Tokens(shared) });
    }
    let own = TokenRun { first: private_token(ordinal, shared), len: Tokens(input - shared) };
    push_run(&mut runs, own);
    runs
}

/// Settings of a small engine that vLLM would start with.
pub(crate) fn settings() -> impl Strategy<Value = Resolved> {
    let limits = (1u32..5, 8u32..80, 1u32..17, 30u32..120, 0u32..20);
    let switches = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let speculative = option::weighted(
        0.3,
        (
            prop::sample::select(vec![
                SpeculativeMethod::Ngram,
                SpeculativeMethod::NgramGpu,
                SpeculativeMethod::Eagle,
                SpeculativeMethod::DraftModel,
            ]),
            1u32..4,
            0.0..=1.0f64,
        ),
    );
    let rest = (option::weighted(0.3, 1u32..30), 0.0..0.3f64, any::<u64>());
    let bounds = (option::weighted(0.3, 1u32..5), option::weighted(0.3, 1u32..80), any::<bool>());
    (limits, switches, speculative, rest, bounds).prop_filter_map(
        "vLLM would not start",
        |(
            (seqs, tokens, block_size, len, spare),
            switches,
            speculative,
            (threshold, watermark, seed),
            (active, scheduled, adaptive),
        )| {
            let (chunked, caching, priority, reserve, overlap) = switches;
            let method = speculative.map(|(method, ..)| method);
            // Plain ngram drafts need the tokens of the step before.
            let overlap = overlap && method != Some(SpeculativeMethod::Ngram);
            let settings = Settings {
                policy: Some(if priority { Policy::Priority } else { Policy::Fcfs }),
                max_num_seqs: Some(seqs),
                max_num_batched_tokens: Some(if chunked { tokens } else { tokens.max(len) }),
                max_model_len: Some(len),
                enable_chunked_prefill: Some(chunked),
                long_prefill_token_threshold: threshold,
                long_prefill_token_threshold_adaptive: Some(adaptive && threshold.is_some()),
                max_num_active_seqs: active.map(|active| active.min(seqs)),
                max_num_scheduled_tokens: scheduled.map(|scheduled| {
                    if chunked {
                        scheduled.min(tokens)
                    } else {
                        scheduled.max(len).min(tokens.max(len))
                    }
                }),
                scheduler_reserve_full_isl: Some(reserve),
                watermark: Some(watermark),
                async_scheduling: Some(overlap),
                block_size: Some(block_size),
                num_gpu_blocks: Some(len.div_ceil(block_size) + 1 + spare),
                enable_prefix_caching: Some(caching),
                speculative_method: method,
                num_speculative_tokens: speculative.map(|(_, k, _)| k),
                draft_acceptance: speculative.map(|(.., chance)| chance),
                seed: Some(seed),
                latency: Some(LatencyKind::Linear),
                ..Settings::default()
            };
            settings.resolve().ok()
        },
    )
}

/// How a log is written.
pub(crate) fn log_options() -> impl Strategy<Value = LogOptions> {
    let levels = vec![LogLevel::Full, LogLevel::Standard, LogLevel::Summary];
    let options = (prop::sample::select(levels), 1u64..150, 1u64..2_000);
    options.prop_map(|(log_level, steps, ms)| LogOptions {
        log_level,
        flush_interval_iterations: steps,
        flush_interval: Nanos(ms * 1_000_000),
        ..LogOptions::default()
    })
}
