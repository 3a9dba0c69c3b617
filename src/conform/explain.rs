//! Why a pass came out as it did, in words.

use crate::scheduler::kv_cache::KvCache;
use crate::scheduler::{
    AdmissionStop, AllocationCheck, Kind, Pass, Refusal, Scheduler, Slot, TokenBound,
};
use crate::units::counted;

/// The reasons behind a pass: preemptions, limits that cut a request's tokens, the end of admission.
#[must_use]
pub fn explain<K: KvCache>(model: &Scheduler<K>, pass: &Pass) -> Vec<String> {
    let name = |slot: Slot| model.request(slot).id().as_str();
    let mut reasons = Vec::new();
    for preemption in &pass.preempted {
        reasons.push(format!(
            "{} was preempted for {}: {}",
            name(preemption.slot),
            name(preemption.by),
            refusal(&preemption.refusal),
        ));
    }
    for entry in &pass.entries {
        let limit = match entry.bound {
            TokenBound::Demand => continue,
            TokenBound::PrefillThreshold => "the long prefill threshold",
            TokenBound::Budget => "what was left of the budget",
            TokenBound::ModelLen => "max_model_len",
            TokenBound::PrefillLookahead => "the drafter's prefill look-ahead",
            TokenBound::DraftPadding => "padding to a full set of drafts",
        };
        let kind = match entry.kind {
            Kind::New => "admitted with",
            Kind::Resumed => "resumed with",
            Kind::Running => "scheduled with",
        };
        reasons.push(format!("{} was {kind} {} tokens: {limit}", name(entry.slot), entry.tokens));
    }
    for &slot in &pass.set_aside {
        reasons.push(format!("{} was passed over: its output is still in flight", name(slot)));
    }
    if let (Some(stop), Some(slot)) = (&pass.admission_stop, pass.stopped_at) {
        reasons.push(format!("admission ended at {}: {}", name(slot), admission_stop(stop)));
    }
    reasons
}

/// What ended the admissions, in words.
#[must_use]
pub fn admission_stop(stop: &AdmissionStop) -> String {
    match stop {
        AdmissionStop::Preempted => "a request was preempted in this step".to_owned(),
        AdmissionStop::MaxNumSeqs { limit } => format!("{limit} requests run, which is the limit"),
        AdmissionStop::BudgetSpent { tokens, input, slots } => format!(
            "the budget is spent ({tokens} scheduled tokens and {input} batched tokens left, \
             {slots} drafting slots each)"
        ),
        AdmissionStop::PromptNotChunked { needed, room } => {
            format!("without chunked prefill its {needed} tokens do not fit in {room}")
        }
        AdmissionStop::DraftPadding { needed, room } => {
            format!("with its drafts it needs {needed} tokens, {room} are left")
        }
        AdmissionStop::PrefillLookahead { room } => {
            format!(
                "with {room} tokens left the chunk would end too close to the end of the prompt for the \
                 drafter's look-ahead"
            )
        }
        AdmissionStop::Memory(refused) => refusal(refused),
    }
}

/// A refused allocation, in words.
#[must_use]
pub fn refusal(refusal: &Refusal) -> String {
    let Refusal { check, needed, shared, watermark, free } = refusal;
    let what = match check {
        AllocationCheck::FullSequence => "the full sequence needs",
        AllocationCheck::Slots => "the step needs",
    };
    let mut text = format!("{what} {}", counted(needed.0.into(), "block", "blocks"));
    if shared.0 > 0 {
        text.push_str(&format!(" beside {shared} that it shares"));
    }
    if watermark.0 > 0 {
        text.push_str(&format!(" and a watermark of {watermark}"));
    }
    format!("{text}, {free} are free")
}
