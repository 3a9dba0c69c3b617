//! How many drafts a synchronous drafter proposed, where rows do not tell tokens.
//!
//! The step tells how many there were in all, and the tables how many each may have had. Which request
//! had how many makes no difference but for who can accept how many: the drafts that are rejected are taken
//! back with the output, and the others are told by the tokens of the next rows.

use crate::conform::log::group::Group;
use crate::conform::log::replay::Replay;
use crate::log::values::State;
use crate::scheduler::{BatchEntry, Pass, Slot, Status};
use crate::units::Tokens;

/// A running request that decodes.
#[derive(Clone, Copy, Debug)]
struct Drafter {
    slot: Slot,
    least: u32,
    most: u32,
}

impl Replay<'_> {
    /// Whether nothing but sums tells how many drafts were proposed.
    pub(super) fn drafts_are_summed(&self) -> bool {
        let drafting = self.config.speculative.is_some() && !self.config.async_scheduling;
        drafting && !self.tape.tells_tokens
    }

    /// Leaves as many drafts to the running requests as their tables hold, and as the step had in all, if
    /// that is told; as many as can be were proposed else, for all that is known.
    pub(super) fn learn_drafts(&mut self, group: &Group) {
        if group.step.row.total_tokens == Tokens::ZERO {
            // A step that schedules nobody leaves the drafts where they are, for the next one.
            return;
        }
        let drafters: Vec<_> =
            self.scheduler.running().iter().filter_map(|&slot| self.drafter(group, slot)).collect();
        let most = drafters.iter().map(|it| it.most.saturating_add(1)).fold(0, u32::saturating_add);
        let mut fewer = match self.are_drafts_told(group) {
            true => most.saturating_sub(group.step.row.decode_tokens.0),
            false => 0,
        };
        for Drafter { slot, least, most } in drafters {
            let taken = fewer.min(most - least);
            fewer -= taken;
            self.scheduler.keep_drafts(slot, Tokens(most - taken));
        }
    }

    /// Whether the running requests had all tokens that the step counts as decoded, and each as many as
    /// it could use.
    pub(super) fn are_drafts_told(&self, group: &Group) -> bool {
        let resumed = |key| {
            let live = self.live.get(&key);
            live.is_some_and(|it| self.scheduler.request(it.slot).status() == Status::Preempted)
        };
        self.has_room(group) && !group.running().any(|row| resumed(row.row.request_id))
    }

    /// A running request that decodes, with the fewest and the most drafts that its table holds.
    fn drafter(&self, group: &Group, slot: Slot) -> Option<Drafter> {
        let request = self.scheduler.request(slot);
        let row = group.queued_row(self.owners[slot.index()])?;
        if row.row.state != State::Running {
            return None;
        }
        let (known, computed) = (request.total_tokens(), request.computed_tokens());
        if known != computed + Tokens(1) || computed < request.prompt_tokens() {
            return None;
        }
        let proposed = request.draft_tokens().0;
        let limit = self.config.max_model_len;
        // The last position's token is never computed.
        let mut most = proposed.min(limit.saturating_sub(known + Tokens(1)).0);
        // One of its tokens is no draft.
        most = most.min(self.room(row, computed).saturating_sub(1));
        let (table, size) = (row.row.kv_cache_blocks.0, self.config.block_size);
        let beside = known.saturating_add(self.config.num_lookahead_tokens()).0;
        let before = table.saturating_sub(1).saturating_mul(size);
        let grown = request.held_blocks().0 < table && before >= beside;
        let least = if grown { (before - beside + 1).min(most) } else { 0 };
        Some(Drafter { slot, least, most })
    }

    /// Whether a step may differ from the pass in its place only because other requests had the drafts.
    pub(super) fn may_be_other_drafts(told: bool, pass: &Pass) -> bool {
        !told && pass.entries.iter().any(|entry| entry.drafts > Tokens::ZERO)
    }

    /// Lets an entry hold the tokens that the model returned for it: where only their sum is known, its
    /// drafts may have been counted with another request.
    pub(super) fn make_room_for(&mut self, entry: &mut BatchEntry, returned: Tokens) {
        let more = returned.saturating_sub(entry.drafts + Tokens(1));
        if more > Tokens::ZERO {
            self.scheduler.add_drafts(entry, more);
        }
    }
}
