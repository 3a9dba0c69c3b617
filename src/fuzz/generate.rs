//! Random workloads: small engines under pressure, and variations on known ones.

use crate::config::{Policy, SpeculativeMethod};
use crate::fuzz::dice::Dice;
use crate::fuzz::workload::{WorkRequest, Workload};
use crate::log::values::LogLevel;
use crate::settings::{LatencyKind, Settings};

/// What the logger or scheduler under test can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most requests of a case.
    pub max_requests: u32,
    /// Whether steps may overlap.
    pub overlapping_steps: bool,
    /// Whether drafts may be used.
    pub speculative: bool,
    /// Whether prefixes may be shared.
    pub prefix_caching: bool,
    /// Whether the queue may be served by priority.
    pub priority: bool,
    /// Whether requests may be aborted or rejected.
    pub aborts: bool,
    /// Log levels that it knows; not none.
    pub log_levels: Vec<LogLevel>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_requests: 12,
            overlapping_steps: true,
            speculative: true,
            prefix_caching: true,
            priority: true,
            aborts: true,
            log_levels: LogLevel::ALL.to_vec(),
        }
    }
}

/// A fresh workload. The engine may still refuse its settings.
#[must_use]
pub fn workload(dice: &mut Dice, limits: &Limits) -> Workload {
    let len = dice.between(8, 100);
    let settings = settings(dice, limits, len);
    // Few requests more often than many: small cases are fast, and most of what matters shows there.
    let most = dice.between(1, limits.max_requests);
    let requests = dice.between(1, most);
    let span_ns = dice.one_of(&[1, 1_000_000, 100_000_000, 2_000_000_000]);
    let mut workload = Workload {
        settings,
        log_level: dice.one_of(&limits.log_levels),
        flush_interval_iterations: dice.one_of(&[1, 2, 3, 7, 100]),
        flush_interval_ns: dice.one_of(&[1, 5_000_000, 60_000_000_000]),
        clock_step_ns: dice.one_of(&[1, 1, 1, 1_000]),
        shutdown_after: None,
        requests: (0..requests).map(|at| request(dice, limits, at, len, span_ns)).collect(),
    };
    if dice.chance(20) {
        workload.shutdown_after = Some(dice.between(0, 60));
    }
    workload
}

/// A fresh workload of a few short requests in a tiny engine.
#[must_use]
pub fn small_workload(dice: &mut Dice, limits: &Limits) -> Workload {
    let len = dice.between(4, 12);
    let mut settings = settings(dice, limits, len);
    settings.block_size = Some(dice.one_of(&[1, 2]));
    settings.num_gpu_blocks =
        settings.block_size.map(|size| len.div_ceil(size) + 1 + dice.between(0, 2));
    settings.max_num_batched_tokens = Some(dice.between(len, 3 * len));
    let requests = dice.between(1, limits.max_requests);
    let span_ns = dice.one_of(&[1, 20_000_000]);
    Workload {
        settings,
        log_level: LogLevel::Standard,
        flush_interval_iterations: dice.one_of(&[1, 2, 100]),
        flush_interval_ns: dice.one_of(&[1, 60_000_000_000]),
        clock_step_ns: 1,
        shutdown_after: dice.chance(50).then(|| dice.between(0, 20)),
        requests: (0..requests).map(|at| request(dice, limits, at, len, span_ns)).collect(),
    }
}

fn settings(dice: &mut Dice, limits: &Limits, len: u32) -> Settings {
    let seqs = dice.between(1, 6);
    let tokens = dice.between(seqs, 80);
    let chunked = dice.chance(75);
    let block_size = dice.one_of(&[1, 2, 4, 8, 16]);
    let spare = if dice.chance(60) { dice.between(0, 6) } else { dice.between(0, 60) };
    let method = (limits.speculative && dice.chance(25)).then(|| {
        use SpeculativeMethod as M;
        dice.one_of(&[M::Ngram, M::NgramGpu, M::Eagle, M::DraftModel])
    });
    // Prompt lookup on the CPU needs the tokens of the step before.
    let overlap =
        limits.overlapping_steps && method != Some(SpeculativeMethod::Ngram) && dice.chance(30);
    let priority = limits.priority && dice.chance(35);
    Settings {
        policy: Some(if priority { Policy::Priority } else { Policy::Fcfs }),
        max_num_seqs: Some(seqs),
        max_num_active_seqs: dice.chance(10).then(|| dice.between(1, seqs)),
        max_num_batched_tokens: Some(if chunked { tokens } else { tokens.max(len) }),
        max_model_len: Some(len),
        enable_chunked_prefill: Some(chunked),
        long_prefill_token_threshold: dice.chance(20).then(|| dice.between(1, len)),
        scheduler_reserve_full_isl: Some(dice.chance(50)),
        watermark: dice.chance(20).then(|| f64::from(dice.between(0, 30)) / 100.0),
        async_scheduling: Some(overlap),
        block_size: Some(block_size),
        num_gpu_blocks: Some(len.div_ceil(block_size) + 1 + spare),
        enable_prefix_caching: Some(limits.prefix_caching && dice.chance(60)),
        speculative_method: method,
        num_speculative_tokens: method.map(|_| dice.between(1, 4)),
        draft_acceptance: method.map(|_| f64::from(dice.between(0, 10)) / 10.0),
        seed: Some(dice.below(1000)),
        latency: Some(dice.one_of(&[LatencyKind::Fixed, LatencyKind::Linear])),
        ..Settings::default()
    }
}

fn request(dice: &mut Dice, limits: &Limits, at: u32, len: u32, span_ns: u64) -> WorkRequest {
    let input = if dice.chance(3) {
        len + dice.between(0, 2)
    } else if dice.chance(30) {
        dice.between(1, len)
    } else {
        dice.between(1, len.div_ceil(3))
    };
    let output =
        if dice.chance(60) { dice.between(1, 8) } else { dice.between(1, len.div_ceil(2)) };
    let shared = limits.prefix_caching && dice.chance(50);
    WorkRequest {
        id: format!("r{at}"),
        arrival_ns: dice.below(span_ns),
        input_tokens: input,
        output_tokens: output,
        max_tokens: if dice.chance(50) { output } else { output + dice.between(0, 20) },
        priority: if limits.priority && dice.chance(50) {
            i64::from(dice.between(0, 4)) - 2
        } else {
            0
        },
        abort_after_ns: (limits.aborts && dice.chance(12)).then(|| dice.below(300_000_000)),
        prefix: shared.then(|| dice.between(0, 2)),
        prefix_tokens: if shared { dice.between(1, input) } else { 0 },
        failed: limits.aborts && dice.chance(2),
    }
}

/// A variation on a workload that reached something rare.
#[must_use]
pub fn variation(dice: &mut Dice, limits: &Limits, parent: &Workload) -> Workload {
    let mut child = parent.clone();
    for _ in 0..=dice.below(3) {
        vary(dice, limits, &mut child);
    }
    for (index, request) in child.requests.iter_mut().enumerate() {
        request.id = format!("r{index}");
    }
    child
}

fn vary(dice: &mut Dice, limits: &Limits, child: &mut Workload) {
    let len = child.settings.max_model_len.unwrap_or(64);
    let at = dice.index(child.requests.len().max(1));
    match dice.below(9) {
        0 if child.requests.len() < limits.max_requests as usize => {
            let copy = child.requests.get(at).cloned();
            child.requests.extend(copy);
        }
        1 if child.requests.len() > 1 => drop(child.requests.remove(at)),
        2 => child.shutdown_after = dice.chance(60).then(|| dice.between(0, 40)),
        3 => child.clock_step_ns = dice.one_of(&[1, 1_000]),
        4 => {
            let blocks = child.settings.num_gpu_blocks.unwrap_or(16);
            let block_size = child.settings.block_size.unwrap_or(16);
            let least = len.div_ceil(block_size) + 1;
            let more = blocks + dice.between(0, 4);
            child.settings.num_gpu_blocks =
                Some(more.saturating_sub(dice.between(0, 6)).max(least));
        }
        5 => child.log_level = dice.one_of(&limits.log_levels),
        _ => {
            if let Some(request) = child.requests.get_mut(at) {
                let span_ns = request.arrival_ns.saturating_mul(2).max(1);
                *request = self::request(dice, limits, at as u32, len, span_ns);
            }
        }
    }
}
