//! Both sides' queues and what was left, for the report of a divergence.

use crate::conform::log::cache::Cache;
use crate::conform::log::group::Group;
use crate::conform::log::verdict::LogSide;
use crate::engine::timeline::waiting_reason;
use crate::log::ids::{IdTable, Ids};
use crate::log::values::WaitingReason;
use crate::scheduler::{Pass, Scheduler, Slot};
use crate::units::Tokens;

/// What the log shows at `D`.
pub(super) fn logged(group: &Group, ids: &IdTable, budget: Tokens) -> LogSide {
    let step = &group.step.row;
    let name = |key| ids.id(key).to_owned();
    let scheduled = group.running().filter_map(|row| {
        let tokens = row.row.scheduled_tokens.filter(|tokens| *tokens > Tokens::ZERO)?;
        Some((name(row.row.request_id), tokens.0))
    });
    let free = step.kv_cache_total.saturating_sub(step.kv_cache_used).0;
    LogSide {
        batch: scheduled.collect(),
        budget_left: budget.saturating_sub(step.total_tokens).0,
        running: group
            .running()
            .map(|row| (name(row.row.request_id), row.row.kv_cache_blocks.0))
            .collect(),
        waiting: group
            .waiting()
            .map(|row| {
                let reason = row.row.waiting_reason.map_or("", WaitingReason::as_str);
                (name(row.row.request_id), reason)
            })
            .collect(),
        free: (free, free),
    }
}

/// Where the reference is after its pass.
pub(super) fn reference(scheduler: &Scheduler<Cache>, pass: &Pass) -> LogSide {
    let name = |slot: Slot| scheduler.request(slot).id().to_string();
    let usable = scheduler.config().usable_blocks();
    let (fewest, most) = scheduler.kv_cache().used(usable);
    LogSide {
        batch: pass.entries.iter().map(|entry| (name(entry.slot), entry.tokens.0)).collect(),
        budget_left: pass.budget.tokens.0,
        running: scheduler
            .running()
            .iter()
            .map(|&slot| (name(slot), scheduler.request(slot).held_blocks().0))
            .collect(),
        waiting: scheduler
            .waiting()
            .map(|slot| (name(slot), reason_of(pass, slot).as_str()))
            .collect(),
        free: (usable.0.saturating_sub(most), usable.0.saturating_sub(fewest)),
    }
}

/// What kept a waiting request out of a pass.
pub(super) fn reason_of(pass: &Pass, slot: Slot) -> WaitingReason {
    if pass.set_aside.contains(&slot) {
        return WaitingReason::WaitingForOutput;
    }
    pass.admission_stop.map_or(WaitingReason::Preempted, waiting_reason)
}

/// Whether the reference has something for which a request could wait so. It has no adapters, grammars,
/// remote blocks or encoder inputs; a logger that does not know says nothing of its scheduler.
pub(super) const fn is_of_reference(reason: WaitingReason) -> bool {
    use WaitingReason as W;
    !matches!(
        reason,
        W::Unknown | W::WaitingForRemoteKvs | W::WaitingForFsm | W::LoraLimit | W::EncoderBudget
    )
}
