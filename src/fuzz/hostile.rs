//! Sequences that no scheduler makes: a legal one, damaged.

use crate::fuzz::dice::Dice;
use crate::fuzz::sequence::{Call, EventSequence, RequestIndex, SequenceKind};
use crate::log::values::{FinishReason, WaitingReason};
use crate::units::{Blocks, Nanos, Priority, Tokens};

/// Ids that a client may send and that a writer of CSV or JSON must survive.
const ODD_IDS: [&str; 10] =
    ["", "a,b", "\"", "\"\"\n", "r0", " r0", "7", "-1", "\u{1f980}\r\n", "null"];

/// Damages a sequence in a few places.
#[must_use]
pub fn hostile(dice: &mut Dice, mut sequence: EventSequence) -> EventSequence {
    sequence.kind = SequenceKind::Hostile;
    sequence.workload = None;
    for _ in 0..=dice.below(4) {
        damage(dice, &mut sequence.calls);
    }
    sequence
}

fn damage(dice: &mut Dice, calls: &mut Vec<Call>) {
    if calls.is_empty() {
        return;
    }
    let at = dice.index(calls.len());
    match dice.below(12) {
        0 => drop(calls.remove(at)),
        1 => {
            let twin = calls[at].clone();
            calls.insert(at, twin);
        }
        2 => {
            let other = dice.index(calls.len());
            calls.swap(at, other);
        }
        3 => retarget(dice, calls, at),
        4 => retime(dice, calls, at),
        5 => resize(dice, &mut calls[at]),
        6 | 7 => insert(dice, calls, at),
        8 => {
            // The scheduler stops anywhere, even inside a report.
            let now = calls[..at].iter().rev().find_map(Call::now).unwrap_or_default();
            calls.truncate(at);
            calls.push(Call::Shutdown { now });
        }
        9 => {
            // The process is killed.
            calls.truncate(at);
        }
        10 => {
            let end = (at + 1 + dice.index(12)).min(calls.len());
            calls.drain(at..end);
        }
        _ => {
            let end = (at + 1 + dice.index(12)).min(calls.len());
            let copy = calls[at..end].to_vec();
            let to = dice.index(calls.len());
            calls.splice(to..to, copy);
        }
    }
}

/// How many requests a sequence names.
fn named(calls: &[Call]) -> u32 {
    calls.iter().filter_map(Call::request).max().map_or(1, |request| request.0 + 1)
}

fn retarget(dice: &mut Dice, calls: &mut [Call], at: usize) {
    let other = RequestIndex(dice.between(0, named(calls)));
    if let Call::Arrival { request_id, .. } = &mut calls[at] {
        // An arrival keeps its ordinal: two requests are never the same one.
        dice.one_of(&ODD_IDS).clone_into(request_id);
    } else if let Some(request) = calls[at].request_mut() {
        *request = other;
    }
}

fn retime(dice: &mut Dice, calls: &mut [Call], at: usize) {
    let times: Vec<_> = calls.iter().filter_map(Call::now).collect();
    let (delta, wild) = (dice.below(1_000_000_000), dice.below(5));
    let other = times.get(dice.index(times.len().max(1))).copied().unwrap_or_default();
    if let Some(now) = calls[at].now_mut() {
        *now = match wild {
            0 => Nanos::ZERO,
            1 => other,
            2 => now.saturating_add(Nanos(delta)),
            3 => now.saturating_sub(Nanos(delta)),
            _ => Nanos(u64::MAX - delta),
        };
    }
}

/// Numbers on the edges of their types.
fn odd(dice: &mut Dice, value: u32) -> u32 {
    match dice.below(5) {
        0 => 0,
        1 => value.saturating_add(1),
        2 => value.saturating_sub(1),
        3 => u32::MAX,
        _ => dice.between(0, 100),
    }
}

fn resize(dice: &mut Dice, call: &mut Call) {
    match call {
        Call::Arrival { input_tokens, priority, .. } => {
            input_tokens.0 = odd(dice, input_tokens.0);
            *priority = Priority(dice.one_of(&[0, -1, i64::MAX, i64::MIN + 1]));
        }
        Call::Schedule { kv_cache_used, kv_cache_total, evicted_blocks, .. } => {
            match dice.below(3) {
                0 => kv_cache_used.0 = odd(dice, kv_cache_used.0),
                1 => kv_cache_total.0 = odd(dice, kv_cache_total.0),
                _ => evicted_blocks.0 = odd(dice, evicted_blocks.0),
            }
        }
        Call::Preempted { computed_tokens: tokens, .. }
        | Call::Scheduled { cached_tokens: tokens, .. }
        | Call::Resumed { cached_tokens: tokens, .. }
        | Call::Generated { tokens, .. } => tokens.0 = odd(dice, tokens.0),
        Call::Running { scheduled_tokens, computed_tokens, prefill, kv_cache_blocks, .. } => {
            match dice.below(4) {
                0 => scheduled_tokens.0 = odd(dice, scheduled_tokens.0),
                1 => computed_tokens.0 = odd(dice, computed_tokens.0),
                2 => kv_cache_blocks.0 = odd(dice, kv_cache_blocks.0),
                _ => *prefill = !*prefill,
            }
        }
        Call::Waiting { reason, .. } => *reason = dice.one_of(WaitingReason::ALL),
        Call::Completed { finish_reason, blocks, .. }
        | Call::Dropped { finish_reason, blocks, .. } => {
            *finish_reason = dice.one_of(FinishReason::ALL);
            blocks.0 = odd(dice, blocks.0);
        }
        Call::Allocated { blocks, .. } => blocks.0 = odd(dice, blocks.0),
        _ => {}
    }
}

/// A call out of nowhere.
fn insert(dice: &mut Dice, calls: &mut Vec<Call>, at: usize) {
    let now = calls[..at].iter().rev().find_map(Call::now).unwrap_or_default();
    let request = RequestIndex(dice.between(0, named(calls)));
    let (tokens, blocks) = (Tokens(dice.between(0, 20)), Blocks(dice.between(0, 5)));
    let finish_reason = dice.one_of(FinishReason::ALL);
    let call = match dice.below(13) {
        0 => Call::Arrival {
            now,
            request: RequestIndex(named(calls)),
            request_id: dice.one_of(&ODD_IDS).to_owned(),
            input_tokens: tokens,
            priority: Priority(0),
        },
        1 => Call::Begin { now },
        2 => Call::Schedule {
            now,
            kv_cache_used: blocks,
            kv_cache_total: Blocks(20),
            evicted_blocks: Blocks::ZERO,
        },
        3 => Call::Preempted { request, computed_tokens: tokens, blocks },
        4 => Call::Scheduled { request, cached_tokens: tokens },
        5 => Call::Resumed { request, cached_tokens: tokens },
        6 => Call::Running {
            request,
            kv_cache_blocks: blocks,
            scheduled_tokens: tokens,
            computed_tokens: tokens,
            prefill: dice.chance(50),
        },
        7 => Call::Waiting { request, reason: dice.one_of(WaitingReason::ALL) },
        8 => Call::Output { now },
        9 => Call::Generated { request, tokens, rejected_drafts: Tokens::ZERO },
        10 => Call::Completed { request, finish_reason, blocks, computed_tokens: tokens },
        11 => Call::Dropped { now, request, finish_reason, blocks },
        _ => Call::End { now },
    };
    calls.insert(at, call);
}
