//! The state fields of a record (queues, blocks) and the model's, side by side.

use crate::conform::fast::FREE_HEAD;
use crate::conform::record::{Id, RecordedPass, RecordedUpdate};
use crate::conform::report::Side;
use crate::scheduler::{Pass, Scheduler, Slot};
use crate::units::Tokens;

/// The recorded state at one moment.
#[derive(Clone, Copy)]
pub(crate) struct RecordedState<'r, 'a> {
    pub(crate) running: &'r [Id<'a>],
    pub(crate) waiting: &'r [Id<'a>],
    pub(crate) nblocks: &'r [u32],
    pub(crate) free: u32,
    pub(crate) used: u32,
    pub(crate) cached: u32,
    pub(crate) free_head: &'r [u32],
}

impl<'r, 'a> RecordedState<'r, 'a> {
    pub(crate) fn after_pass(pass: &'r RecordedPass<'a>) -> Self {
        Self {
            running: &pass.running,
            waiting: &pass.waiting,
            nblocks: &pass.nblocks,
            free: pass.free,
            used: pass.used,
            cached: pass.cached,
            free_head: &pass.free_head,
        }
    }

    /// The state after the update: what it states itself, else what the pass states. `Err` names a
    /// field that neither states.
    pub(crate) fn after_update(
        update: &'r RecordedUpdate<'a>,
        pass: Option<&'r RecordedPass<'a>>,
    ) -> Result<Self, &'static str> {
        let pass = pass.map(Self::after_pass);
        Ok(Self {
            running: update.running.as_deref().or(pass.map(|p| p.running)).ok_or("running")?,
            waiting: update.waiting.as_deref().or(pass.map(|p| p.waiting)).ok_or("waiting")?,
            nblocks: update.nblocks.as_deref().or(pass.map(|p| p.nblocks)).ok_or("nblocks")?,
            free: update.free.or(pass.map(|p| p.free)).ok_or("free")?,
            used: update.used.or(pass.map(|p| p.used)).ok_or("used")?,
            cached: update.cached.or(pass.map(|p| p.cached)).ok_or("cached")?,
            free_head: update
                .free_head
                .as_deref()
                .or(pass.map(|p| p.free_head))
                .ok_or("free_head")?,
        })
    }

    /// The first field in which the model differs, with both values.
    pub(crate) fn difference(&self, model: &Scheduler) -> Option<(&'static str, String, String)> {
        if !same_ids(self.running, model, model.running().iter().copied()) {
            return Some(("running", ids(self.running), slots(model, model.running().iter())));
        }
        if !same_ids(self.waiting, model, model.waiting()) {
            let waiting: Vec<Slot> = model.waiting().collect();
            return Some(("waiting", ids(self.waiting), slots(model, waiting.iter())));
        }
        let held = || model.running().iter().map(|&slot| model.request(slot).held_blocks().0);
        if !held().eq(self.nblocks.iter().copied()) {
            let held: Vec<u32> = held().collect();
            return Some(("nblocks", format!("{:?}", self.nblocks), format!("{held:?}")));
        }
        let numbers = [
            ("free", self.free, model.free_blocks().0),
            ("used", self.used, model.used_blocks().0),
            ("cached", self.cached, cached(model)),
        ];
        for (field, recorded, model) in numbers {
            if recorded != model {
                return Some((field, recorded.to_string(), model.to_string()));
            }
        }
        if !free_head(model).eq(self.free_head.iter().copied()) {
            let head: Vec<u32> = free_head(model).collect();
            return Some(("free_head", format!("{:?}", self.free_head), format!("{head:?}")));
        }
        None
    }
}

fn cached(model: &Scheduler) -> u32 {
    u32::try_from(model.cached_hashes()).unwrap_or(u32::MAX)
}

fn free_head(model: &Scheduler) -> impl Iterator<Item = u32> + '_ {
    model.free_queue().take(FREE_HEAD).map(|block| block.0)
}

/// Whether the recorded ids are those of the model's requests, in order.
pub(crate) fn same_ids(
    recorded: &[Id<'_>],
    model: &Scheduler,
    slots: impl Iterator<Item = Slot>,
) -> bool {
    recorded.iter().map(Id::as_str).eq(slots.map(|slot| model.request(slot).id().as_str()))
}

/// Recorded ids as text.
pub(crate) fn ids(ids: &[Id<'_>]) -> String {
    let ids: Vec<&str> = ids.iter().map(Id::as_str).collect();
    format!("[{}]", ids.join(" "))
}

/// The model's requests as text.
pub(crate) fn slots<'s>(model: &Scheduler, slots: impl Iterator<Item = &'s Slot>) -> String {
    let ids: Vec<&str> = slots.map(|&slot| model.request(slot).id().as_str()).collect();
    format!("[{}]", ids.join(" "))
}

/// The recorded side of a report.
pub(crate) fn recorded_side(
    state: &RecordedState<'_, '_>,
    pass: Option<&RecordedPass<'_>>,
    budget: Tokens,
) -> Side {
    let own = |ids: &[Id<'_>]| ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>();
    let scheduled = pass.map_or_else(Vec::new, |pass| {
        pass.scheduled.iter().map(|(id, tokens)| (id.as_str().to_owned(), *tokens)).collect()
    });
    Side {
        budget_left: budget.0.saturating_sub(pass.map_or(0, |pass| pass.total)),
        scheduled,
        running: own(state.running).into_iter().zip(state.nblocks.iter().copied()).collect(),
        waiting: own(state.waiting),
        free: state.free,
        free_head: state.free_head.to_vec(),
        cached: state.cached,
    }
}

/// The model's side of a report.
pub(crate) fn model_side(model: &Scheduler, pass: Option<&Pass>) -> Side {
    let name = |slot: Slot| model.request(slot).id().to_string();
    let budget = model.config().max_num_scheduled_tokens;
    Side {
        scheduled: pass.map_or_else(Vec::new, |pass| {
            pass.entries.iter().map(|entry| (name(entry.slot), entry.tokens.0)).collect()
        }),
        budget_left: pass.map_or(budget, |pass| pass.budget.tokens).0,
        running: model
            .running()
            .iter()
            .map(|&slot| (name(slot), model.request(slot).held_blocks().0))
            .collect(),
        waiting: model.waiting().map(name).collect(),
        free: model.free_blocks().0,
        free_head: free_head(model).collect(),
        cached: cached(model),
    }
}
