//! The model's engine core under watch: feeds it what the record returned, compares what it decides.

use crate::conform::compare::{Comparison, Difference};
use crate::conform::fast::Cursor;
use crate::conform::record::{Id, RecordedKind, RecordedPass, RecordedUpdate};
use crate::conform::report::Moment;
use crate::conform::state::{RecordedState, ids, same_ids, slots};
use crate::engine::Driver;
use crate::engine::timeline::Timeline;
use crate::scheduler::{Aborted, Kind, ModelOutput, Pass, Scheduler, Slot, Update};
use crate::units::{TokenId, Tokens};

impl Driver for Comparison<'_, '_> {
    fn scheduling(&mut self, _: &Scheduler) {
        self.log(Timeline::begin);
    }

    fn scheduled(&mut self, scheduler: &Scheduler, pass: &Pass) {
        if self.is_over() {
            return;
        }
        self.compare_pass(scheduler, pass);
        self.log(|timeline| {
            timeline.decide(pass);
            timeline.log_pass(scheduler, pass)
        });
    }

    fn aborts_in_flight(&mut self, _: &Scheduler, _: &Pass, aborts: &mut Vec<Slot>) {
        self.log(|timeline| {
            timeline.await_output();
            timeline.log_output()
        });
        self.read_aborts(aborts);
    }

    fn aborted(&mut self, _: &Scheduler, aborted: &Aborted) {
        self.forget(aborted.slot);
        self.log(|timeline| timeline.aborted(aborted));
    }

    fn model_output(&mut self, scheduler: &Scheduler, pass: &Pass, output: &mut ModelOutput) {
        if self.is_over() || self.fast(|_, cursor| cursor.sampled(scheduler, pass, output)) {
            return;
        }
        output.clear();
        let Some(step) = &self.step else { return };
        let Some(recorded) = &step.update else {
            let difference = ("update", "no output".to_owned(), "an output".to_owned());
            self.diverge(Moment::Updated, difference, scheduler, Some(pass));
            return;
        };
        for (_, tokens) in &recorded.sampled {
            output.push(tokens.iter().map(|&token| TokenId(token)));
        }
        if let Some(difference) = sampled_difference(recorded, scheduler, pass) {
            self.diverge(Moment::Updated, difference, scheduler, Some(pass));
        }
    }

    fn updated(&mut self, scheduler: &Scheduler, pass: &Pass, update: &Update) {
        for finished in &update.finished {
            self.forget(finished.slot);
        }
        if self.is_over() {
            return;
        }
        self.compare_update(scheduler, pass, update);
        self.log(|timeline| {
            timeline.finish_output();
            timeline.log_update(pass, update)
        });
    }

    fn drafts(&mut self, scheduler: &Scheduler, pass: &Pass, drafts: &mut Vec<Tokens>) {
        if self.fast.is_some() {
            drafts.append(&mut self.proposed);
            return;
        }
        let update = self.step.as_ref().and_then(|step| step.update.as_ref());
        let recorded = update.and_then(|update| update.drafts.as_deref()).unwrap_or_default();
        let mut next = recorded.iter().peekable();
        for entry in &pass.entries {
            let request = scheduler.request(entry.slot);
            let named = next
                .next_if(|(id, _)| !request.is_finished() && id.as_str() == request.id().as_str());
            drafts.push(Tokens(named.map_or(0, |(_, count)| *count)));
        }
        let live = || {
            let entries = pass.entries.iter().map(|entry| entry.slot);
            entries.filter(|&slot| !scheduler.request(slot).is_finished())
        };
        let names = live().map(|slot| scheduler.request(slot).id().as_str());
        if !names.eq(recorded.iter().map(|(id, _)| id.as_str())) {
            let live: Vec<Slot> = live().collect();
            let difference = ("drafts", pairs(recorded), slots(scheduler, live.iter()));
            self.diverge(Moment::Updated, difference, scheduler, Some(pass));
        }
    }
}

/// Whether proposals are handed over after this batch.
fn hands_drafts(scheduler: &Scheduler, pass: &Pass) -> bool {
    let config = scheduler.config();
    config.speculative.is_some() && !config.async_scheduling && !pass.is_empty()
}

impl Comparison<'_, '_> {
    /// Compares a pass and the state after it.
    fn compare_pass(&mut self, scheduler: &Scheduler, pass: &Pass) {
        self.saw_pass = true;
        self.counts.passes += 1;
        self.counts.scheduled += pass.entries.len() as u64;
        self.counts.preempted += pass.preempted.len() as u64;
        self.counts.tokens += u64::from(pass.total_tokens.0);
        self.counts.hit_tokens += pass.entries.iter().map(|e| u64::from(e.hit.0)).sum::<u64>();
        if !pass.is_empty() {
            self.quiet = 0;
        }
        if self.fast(|own, cursor| own.read_pass(cursor, scheduler, pass)) {
            return;
        }
        let Some(step) = &self.step else { return };
        let difference = match &step.schedule {
            Some(recorded) => pass_difference(recorded, scheduler, pass),
            None => Some(("schedule", "no pass".to_owned(), "a pass".to_owned())),
        };
        if let Some(difference) = difference {
            self.diverge(Moment::Scheduled, difference, scheduler, Some(pass));
        }
    }

    /// Reads who was aborted while the batch was in flight.
    fn read_aborts(&mut self, aborts: &mut Vec<Slot>) {
        let scheduled = self.saw_pass;
        let mut named = Vec::new();
        let fast = self.fast(|_, cursor| {
            if !scheduled {
                cursor.literal(b"null")?;
            }
            cursor.literal(br#","update":{"aborted":"#)?;
            named = cursor.ids()?;
            Some(())
        });
        if fast {
            aborts.extend(named.iter().filter_map(|id| self.live(id.as_str())));
        } else if let Some(update) = self.step.as_ref().and_then(|step| step.update.as_ref()) {
            aborts.extend(update.aborted.iter().filter_map(|id| self.live(id.as_str())));
        }
    }

    /// Compares what became of an output and the state after it.
    fn compare_update(&mut self, scheduler: &Scheduler, pass: &Pass, update: &Update) {
        self.saw_update = true;
        self.counts.finished += update.finished.len() as u64;
        if self.fast(|own, cursor| own.read_update(cursor, scheduler, pass, update)) {
            return;
        }
        let Some(step) = &self.step else { return };
        let Some(recorded) = &step.update else { return };
        let difference = update_difference(recorded, scheduler, update).or_else(|| {
            match RecordedState::after_update(recorded, step.schedule.as_ref()) {
                Ok(state) => state.difference(scheduler),
                Err(field) => Some((field, "absent".to_owned(), "a state".to_owned())),
            }
        });
        let no_drafts = |recorded: &RecordedUpdate<'_>| {
            let proposed = recorded.drafts.as_deref().is_some_and(|drafts| !drafts.is_empty());
            (proposed && !hands_drafts(scheduler, pass))
                .then(|| ("drafts", "some".to_owned(), "none".to_owned()))
        };
        if let Some(difference) = difference.or_else(|| no_drafts(recorded)) {
            self.diverge(Moment::Updated, difference, scheduler, Some(pass));
        }
    }

    /// Reads the pass and the state after it in the fast lane.
    fn read_pass(
        &mut self,
        cursor: &mut Cursor<'_>,
        scheduler: &Scheduler,
        pass: &Pass,
    ) -> Option<()> {
        self.writer.clear();
        self.writer.pass(scheduler, pass);
        cursor.literal(self.writer.text())?;
        self.states[0].write(scheduler);
        cursor.literal(self.states[0].text())?;
        cursor.literal(b"}")
    }

    /// Reads what became of the output, the proposals, and the state in the fast lane.
    fn read_update(
        &mut self,
        cursor: &mut Cursor<'_>,
        scheduler: &Scheduler,
        pass: &Pass,
        update: &Update,
    ) -> Option<()> {
        self.writer.clear();
        self.writer.update(scheduler, update);
        cursor.literal(self.writer.text())?;
        self.proposed.clear();
        if hands_drafts(scheduler, pass) {
            cursor.drafts(scheduler, pass, &mut self.proposed)?;
        }
        let [before, after] = &mut self.states;
        after.write(scheduler);
        after.read_changes(before, cursor)?;
        cursor.literal(b"}}")
    }
}

/// The first field in which a pass differs.
fn pass_difference(
    recorded: &RecordedPass<'_>,
    scheduler: &Scheduler,
    pass: &Pass,
) -> Option<Difference> {
    if recorded.n != pass.step {
        return Some(("n", recorded.n.to_string(), pass.step.to_string()));
    }
    if !same_ids(&recorded.preempted, scheduler, pass.preempted.iter().map(|p| p.slot)) {
        let model: Vec<Slot> = pass.preempted.iter().map(|p| p.slot).collect();
        return Some(("preempted", ids(&recorded.preempted), slots(scheduler, model.iter())));
    }
    let name = |slot: Slot| scheduler.request(slot).id().as_str();
    let batch = || pass.entries.iter().map(|entry| (name(entry.slot), entry.tokens.0));
    if !batch().eq(recorded.scheduled.iter().map(|(id, tokens)| (id.as_str(), *tokens))) {
        let model: Vec<_> = batch().map(|(id, tokens)| format!("{id}:{tokens}")).collect();
        return Some(("scheduled", pairs(&recorded.scheduled), format!("[{}]", model.join(" "))));
    }
    if recorded.total != pass.total_tokens.0 {
        return Some(("total", recorded.total.to_string(), pass.total_tokens.to_string()));
    }
    entries_difference(recorded, pass)
        .or_else(|| blocks_difference(recorded, scheduler, pass))
        .or_else(|| hit_difference(recorded, scheduler, pass))
        .or_else(|| finished_ids_difference(recorded, scheduler, pass))
        .or_else(|| RecordedState::after_pass(recorded).difference(scheduler))
}

/// The lists aligned with the batch.
fn entries_difference(recorded: &RecordedPass<'_>, pass: &Pass) -> Option<Difference> {
    let kinds = || {
        pass.entries.iter().map(|entry| match entry.kind {
            Kind::New => RecordedKind::New,
            Kind::Resumed => RecordedKind::Resumed,
            Kind::Running => RecordedKind::Running,
        })
    };
    if !kinds().eq(recorded.kind.iter().copied()) {
        let model: Vec<_> = kinds().collect();
        return Some(("kind", format!("{:?}", recorded.kind), format!("{model:?}")));
    }
    let computed = || pass.entries.iter().map(|entry| entry.computed.0);
    if !computed().eq(recorded.computed.iter().copied()) {
        let model: Vec<_> = computed().collect();
        return Some(("computed", format!("{:?}", recorded.computed), format!("{model:?}")));
    }
    let drafts = || pass.entries.iter().map(|entry| entry.drafts.0);
    let same = match &recorded.spec {
        Some(spec) => drafts().eq(spec.iter().copied()),
        None => drafts().all(|count| count == 0),
    };
    (!same).then(|| {
        let model: Vec<_> = drafts().collect();
        ("spec", format!("{:?}", recorded.spec), format!("{model:?}"))
    })
}

/// The block ids, table by table.
fn blocks_difference(
    recorded: &RecordedPass<'_>,
    scheduler: &Scheduler,
    pass: &Pass,
) -> Option<Difference> {
    if recorded.blocks.len() != pass.entries.len() {
        let (recorded, model) = (recorded.blocks.len(), pass.entries.len());
        return Some(("blocks", format!("{recorded} tables"), format!("{model} tables")));
    }
    for (entry, recorded) in pass.entries.iter().zip(&recorded.blocks) {
        let request = scheduler.request(entry.slot);
        let new = &request.blocks()[entry.new_from as usize..];
        if !new.iter().map(|block| block.0).eq(recorded.iter().copied()) {
            let new: Vec<u32> = new.iter().map(|block| block.0).collect();
            let recorded = format!("{}: {recorded:?}", request.id());
            return Some(("blocks", recorded, format!("{}: {new:?}", request.id())));
        }
    }
    None
}

/// The prefix hits of the admissions.
fn hit_difference(
    recorded: &RecordedPass<'_>,
    scheduler: &Scheduler,
    pass: &Pass,
) -> Option<Difference> {
    let name = |slot: Slot| scheduler.request(slot).id().as_str();
    let hits = || {
        let admitted = pass.entries.iter().filter(|entry| entry.kind != Kind::Running);
        admitted.map(|entry| (name(entry.slot), entry.hit.0))
    };
    let recorded = || recorded.hit.0.iter().map(|(id, hit)| (id.as_str(), *hit));
    if hits().eq(recorded()) {
        return None;
    }
    let (mut model, mut record): (Vec<_>, Vec<_>) = (hits().collect(), recorded().collect());
    model.sort_unstable();
    record.sort_unstable();
    (model != record).then(|| ("hit", format!("{record:?}"), format!("{model:?}")))
}

/// The ends handed out; the record sorts them by id.
fn finished_ids_difference(
    recorded: &RecordedPass<'_>,
    scheduler: &Scheduler,
    pass: &Pass,
) -> Option<Difference> {
    if recorded.finished_ids.is_empty() && pass.finished.is_empty() {
        return None;
    }
    let name = |slot: &Slot| scheduler.request(*slot).id().as_str();
    let mut model: Vec<&str> = pass.finished.iter().map(name).collect();
    model.sort_unstable();
    let same = recorded.finished_ids.iter().map(Id::as_str).eq(model.iter().copied());
    (!same).then(|| ("finished_ids", ids(&recorded.finished_ids), format!("[{}]", model.join(" "))))
}

/// Whether the model returned tokens for the requests that the scheduler expects them for.
fn sampled_difference(
    recorded: &RecordedUpdate<'_>,
    scheduler: &Scheduler,
    pass: &Pass,
) -> Option<Difference> {
    let name = |slot: Slot| scheduler.request(slot).id().as_str();
    let expected = || {
        pass.entries.iter().map(|entry| {
            let samples = entry.samples && !scheduler.request(entry.slot).is_finished();
            (name(entry.slot), samples)
        })
    };
    let sampled = || recorded.sampled.iter().map(|(id, tokens)| (id.as_str(), !tokens.is_empty()));
    if expected().eq(sampled()) {
        return None;
    }
    let text = |pairs: Vec<(&str, bool)>| {
        let texts: Vec<_> =
            pairs.iter().map(|(id, some)| format!("{id}:{}", u8::from(*some))).collect();
        format!("[{}]", texts.join(" "))
    };
    Some(("sampled", text(sampled().collect()), text(expected().collect())))
}

/// What was kept and who finished.
fn update_difference(
    recorded: &RecordedUpdate<'_>,
    scheduler: &Scheduler,
    update: &Update,
) -> Option<Difference> {
    let name = |slot: Slot| scheduler.request(slot).id().as_str();
    let appended = || {
        let kept = update.entries.iter().filter(|entry| entry.appended > Tokens::ZERO);
        kept.map(|entry| (name(entry.slot), entry.appended.0))
    };
    if !appended().eq(recorded.appended.iter().map(|(id, count)| (id.as_str(), *count))) {
        let model: Vec<_> = appended().map(|(id, count)| format!("{id}:{count}")).collect();
        return Some(("appended", pairs(&recorded.appended), format!("[{}]", model.join(" "))));
    }
    let finished = || update.finished.iter().map(|end| (name(end.slot), end.reason.as_str()));
    if !finished().eq(recorded.finished.iter().map(|(id, reason)| (id.as_str(), &**reason))) {
        let model: Vec<_> = finished().collect();
        let recorded: Vec<_> =
            recorded.finished.iter().map(|(id, reason)| (id.as_str(), &**reason)).collect();
        return Some(("finished", format!("{recorded:?}"), format!("{model:?}")));
    }
    None
}

fn pairs(pairs: &[(Id<'_>, u32)]) -> String {
    let texts: Vec<_> =
        pairs.iter().map(|(id, count)| format!("{}:{count}", id.as_str())).collect();
    format!("[{}]", texts.join(" "))
}
