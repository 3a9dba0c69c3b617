//! How many tokens each running request had and got in a step, also where rows do not tell.
//!
//! How many it had is known, or told with its admission. How many it got is bounded by what it can use
//! and by the blocks that it took, and the step tells the sum of all. Where that leaves several
//! ways, each request that may have got what the reference gives it has got that; if it is still
//! open who got the rest, so is the whole step.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::conform::log::group::Group;
use crate::conform::log::replay::{Replay, Track};
use crate::log::dialect::Habit;
use crate::log::ids::RequestKey;
use crate::log::reader::Located;
use crate::log::schema::IterationRequestRow;
use crate::scheduler::adopt::promised;
use crate::scheduler::{Pass, Status};
use crate::units::Tokens;

/// What a running request had and got.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Amount {
    /// Tokens computed before the step; for an admission, those found in the prefix cache.
    pub(super) computed: Tokens,
    /// Tokens that it got.
    pub(super) scheduled: Tokens,
}

pub(super) type Amounts = HashMap<RequestKey, Amount, FxBuildHasher>;

/// What a request may have got.
#[derive(Clone, Copy, Debug)]
struct Share {
    key: RequestKey,
    computed: Tokens,
    prefill: bool,
    least: u32,
    most: u32,
    reference: u32,
}

impl Replay<'_> {
    /// What the running requests of a step had and got; `None` if that is open.
    pub(super) fn amounts(&self, group: &Group, pass: &Pass) -> Option<Amounts> {
        if self.tape.tells_tokens {
            let told = |row: &Located<IterationRequestRow>| {
                let computed = row.row.computed_tokens.unwrap_or(Tokens::ZERO);
                let scheduled = row.row.scheduled_tokens.unwrap_or(Tokens::ZERO);
                (row.row.request_id, Amount { computed, scheduled })
            };
            return Some(group.running().map(told).collect());
        }
        if self.track != Track::Following {
            return self.amounts_of_decodes(group);
        }
        let shares: Option<Vec<_>> =
            group.running().map(|row| self.share(group, row, pass)).collect();
        let (prefill, decode): (Vec<_>, Vec<_>) = shares?.into_iter().partition(|it| it.prefill);
        let step = &group.step.row;
        let mut amounts = Amounts::default();
        for (shares, sum) in [(prefill, step.prefill_tokens), (decode, step.decode_tokens)] {
            // Which of them had how many drafts makes no difference.
            let decode = shares.iter().all(|share| !share.prefill);
            let summed =
                if decode && self.drafts_are_summed() { fill(&shares, sum.0) } else { None };
            let got = summed.or_else(|| spread(&shares, sum.0))?;
            amounts.extend(shares.iter().zip(got).map(|(share, got)| {
                (share.key, Amount { computed: share.computed, scheduled: Tokens(got) })
            }));
        }
        let batch = amounts.values().filter(|it| it.scheduled > Tokens::ZERO).count();
        let counted =
            self.tape.dialect.has(Habit::BatchIsRunning) || batch == step.batch_size.0 as usize;
        counted.then_some(amounts)
    }

    /// The same where nothing is known of the requests before the step: if all of them decode, each had
    /// computed all but its newest token, which it got, with drafts or without.
    fn amounts_of_decodes(&self, group: &Group) -> Option<Amounts> {
        let step = &group.step.row;
        let all_decode = step.prefill_tokens == Tokens::ZERO
            && step.batch_size.0 == step.running_count.0
            && (self.config.speculative.is_none() || self.has_room(group));
        if self.config.async_scheduling || !all_decode {
            return None;
        }
        let of_row = |row: &Located<IterationRequestRow>| {
            let request = self.scheduler.request(self.live.get(&row.row.request_id)?.slot);
            let known = request.prompt_tokens().saturating_add(row.row.tokens_generated);
            let computed = known.saturating_sub(Tokens(1));
            let most = self
                .room(row, computed)
                .min(self.config.num_speculative_tokens().0.saturating_add(1));
            let key = row.row.request_id;
            Some(Share { key, computed, prefill: false, least: 1, most, reference: 1 })
        };
        let shares: Vec<_> = group.running().map(of_row).collect::<Option<_>>()?;
        let got = fill(&shares, step.total_tokens.0)?;
        let amounts = shares.iter().zip(got).map(|(share, got)| {
            (share.key, Amount { computed: share.computed, scheduled: Tokens(got) })
        });
        Some(amounts.collect())
    }

    /// The most tokens for which the table of a request has room behind those computed.
    pub(super) fn room(&self, row: &Located<IterationRequestRow>, computed: Tokens) -> u32 {
        let held = row.row.kv_cache_blocks.0.saturating_mul(self.config.block_size);
        let beside = computed.saturating_add(self.config.num_lookahead_tokens());
        let free = if held < self.config.max_model_len.0 { held } else { u32::MAX };
        free.saturating_sub(beside.0)
    }

    fn share(
        &self,
        group: &Group,
        row: &Located<IterationRequestRow>,
        pass: &Pass,
    ) -> Option<Share> {
        let key = row.row.request_id;
        let slot = self.live.get(&key)?.slot;
        let request = self.scheduler.request(slot);
        let entry = pass.entries.iter().find(|entry| entry.slot == slot);
        let victim = pass.preempted.iter().find(|victim| victim.slot == slot);
        let ran = self.scheduler.status_before(slot, pass) == Status::Running;
        let size = self.config.block_size;
        // Its table before the step, unless the reference changed that and took it back.
        let (computed, held) = match (entry, victim) {
            _ if !ran && !self.config.enable_prefix_caching => (Tokens::ZERO, Some(0)),
            _ if !ran => {
                let hit = self.hit_of(group, row)?;
                (hit, Some(hit.0 / size))
            }
            (Some(entry), _) => (entry.computed, Some(entry.new_from)),
            (None, Some(victim)) => {
                (victim.computed, (!victim.left_batch).then_some(victim.blocks.0))
            }
            (None, None) => (request.computed_tokens(), Some(request.held_blocks().0)),
        };
        let promised = if ran {
            promised(slot, self.in_flight.iter().map(|flying| &flying.pass))
        } else {
            Tokens::ZERO
        };
        let known = request.prompt_tokens().saturating_add(row.row.tokens_generated);
        let known = known.saturating_add(promised);
        let wanted = known.saturating_sub(computed);
        let drafts = self.config.num_speculative_tokens();
        let drafts = if wanted <= Tokens(1) { drafts } else { Tokens::ZERO };
        let (mut least, mut most) = (u32::from(!ran), wanted.saturating_add(drafts).0);
        most = most.min(self.room(row, computed));
        let table = row.row.kv_cache_blocks.0;
        if held.is_some_and(|held| held < table) {
            let beside = computed.saturating_add(self.config.num_lookahead_tokens()).0;
            let before = (table - 1).saturating_mul(size).saturating_sub(beside);
            least = least.max(before.saturating_add(1));
        }
        let possible = least <= most && held.is_none_or(|held| held <= table);
        possible.then_some(Share {
            key,
            computed,
            prefill: computed < request.prompt_tokens().max(known.saturating_sub(Tokens(1))),
            least,
            most,
            reference: entry.map_or(0, |entry| entry.tokens.0),
        })
    }
}

/// What each got of a sum; `None` if that is open, or cannot be.
fn spread(shares: &[Share], sum: u32) -> Option<Vec<u32>> {
    let may_be = |share: &Share| (share.least..=share.most).contains(&share.reference);
    let kept = shares.iter().filter(|share| may_be(share)).map(|share| share.reference);
    let kept = kept.map(u64::from).sum::<u64>();
    let others: Vec<_> = shares.iter().filter(|share| !may_be(share)).copied().collect();
    let rest = u64::from(sum).checked_sub(kept).and_then(|rest| u32::try_from(rest).ok());
    if let Some(rest) = rest
        && let Some(got) = settle(&others, rest)
    {
        let mut got = got.into_iter();
        let of = |share| if may_be(share) { Some(share.reference) } else { got.next() };
        return shares.iter().map(of).collect();
    }
    settle(shares, sum)
}

/// What each got of a sum where only one way is possible: everybody the least or the most, or all but one
/// what alone they can have got.
fn settle(shares: &[Share], sum: u32) -> Option<Vec<u32>> {
    let sum = u64::from(sum);
    let mut got: Vec<_> = shares.iter().map(|share| share.least).collect();
    let most: u64 = shares.iter().map(|share| u64::from(share.most)).sum();
    let rest = sum.checked_sub(got.iter().copied().map(u64::from).sum())?;
    let open = |share: &Share| share.least < share.most;
    let mut of_open = (0..shares.len()).filter(|at| open(&shares[*at]));
    if sum == most {
        return Some(shares.iter().map(|share| share.most).collect());
    }
    if rest > 0 {
        let (Some(at), None) = (of_open.next(), of_open.next()) else { return None };
        if sum > most {
            return None;
        }
        // No more than the bound of one share, which is of this size.
        got[at] += rest as u32;
    }
    Some(got)
}

/// One way to share a sum.
fn fill(shares: &[Share], sum: u32) -> Option<Vec<u32>> {
    let least = shares.iter().map(|share| share.least.max(1));
    let mut rest = u64::from(sum).checked_sub(least.clone().map(u64::from).sum())?;
    let got = shares.iter().zip(least).map(|(share, least)| {
        let more = u64::from(share.most.saturating_sub(least)).min(rest);
        rest -= more;
        // No more than its share's bounds, which are of this size.
        least + more as u32
    });
    let got = got.collect();
    (rest == 0).then_some(got)
}

#[cfg(test)]
mod tests {
    use super::{Share, fill, spread};
    use crate::log::ids::RequestKey;
    use crate::units::Tokens;

    fn shares(bounds: &[(u32, u32, u32)]) -> Vec<Share> {
        let share = |&(least, most, reference): &(u32, u32, u32)| Share {
            key: RequestKey(0),
            computed: Tokens::ZERO,
            prefill: true,
            least,
            most,
            reference,
        };
        bounds.iter().map(share).collect()
    }

    #[test]
    fn what_the_reference_gives_is_kept_and_the_rest_is_told_by_the_sum() {
        assert_eq!(spread(&shares(&[(0, 1, 1), (0, 1, 0), (9, 12, 4)]), 12), Some(vec![1, 0, 11]));
        assert_eq!(spread(&shares(&[(1, 8, 8), (1, 8, 8)]), 16), Some(vec![8, 8]));
        assert_eq!(spread(&[], 0), Some(vec![]));
    }

    #[test]
    fn another_sum_is_told_only_by_the_bounds() {
        assert_eq!(spread(&shares(&[(0, 1, 1), (0, 1, 0)]), 2), Some(vec![1, 1]));
        assert_eq!(spread(&shares(&[(3, 9, 5)]), 7), Some(vec![7]));
        assert_eq!(spread(&shares(&[(1, 8, 8), (1, 8, 8)]), 10), None);
        assert_eq!(spread(&shares(&[(5, 8, 1), (5, 8, 1)]), 12), None);
        assert_eq!(spread(&shares(&[(5, 8, 1), (5, 8, 1)]), 10), Some(vec![5, 5]));
        assert_eq!(spread(&shares(&[(1, 2, 1)]), 3), None);
        assert_eq!(spread(&shares(&[(49, 49, 49), (9, 12, 9)]), 59), Some(vec![49, 10]));
        assert_eq!(spread(&shares(&[(49, 49, 49), (9, 12, 9)]), 62), None);
        assert_eq!(spread(&[], 1), None);
    }

    #[test]
    fn drafts_are_shared_as_far_as_tables_go() {
        assert_eq!(fill(&shares(&[(0, 3, 3), (1, 4, 4)]), 5), Some(vec![3, 2]));
        assert_eq!(fill(&shares(&[(0, 3, 3), (1, 4, 4)]), 8), None);
        assert_eq!(fill(&shares(&[(0, 3, 3), (2, 4, 4)]), 2), None);
    }
}
