//! What a pass of the reference and a step of the log do not agree on, the likely cause first.

use std::cell::LazyCell;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::conform::log::cache::Cache;
use crate::conform::log::group::Group;
use crate::conform::log::replay::LiveRequests;
use crate::conform::log::sides::{is_of_reference, reason_of};
use crate::conform::log::tape::Tape;
use crate::conform::log::verdict::Difference;
use crate::engine::timeline::waiting_reason;
use crate::log::dialect::Habit;
use crate::log::ids::{Ids, RequestKey};
use crate::log::reader::{Located, Location};
use crate::log::schema::IterationRequestRow;
use crate::log::values::{State, WaitingReason};
use crate::scheduler::{AdmissionStop, BatchEntry, Pass, Scheduler, Slot, Status};
use crate::units::{Blocks, Tokens};

/// Both sides of one step at `D`.
pub(super) struct Sight<'a> {
    pub(super) group: &'a Group,
    pub(super) pass: &'a Pass,
    pub(super) scheduler: &'a Scheduler<Cache>,
    pub(super) tape: &'a Tape,
    pub(super) live: &'a LiveRequests,
    pub(super) owners: &'a [RequestKey],
}

pub(super) type Differences = Vec<Difference>;

/// What the log says of the tokens of a request that does not run there.
pub(super) const NOT_RUNNING: &str = "not running";

impl Sight<'_> {
    /// Everything that differs.
    pub(super) fn differences(&self) -> Differences {
        let mut out = Vec::new();
        let without_row = self.presence(&mut out);
        self.generated(&mut out);
        let lead = out.len();
        self.choices(&mut out);
        out.extend(without_row);
        if !self.tape.tells_tokens {
            self.sums(&mut out);
        }
        self.batch(&mut out);
        self.queue("running queue", &self.logged_running(), &self.running(), &mut out);
        self.queue("waiting queue", &self.logged_waiting(), &self.waiting(), &mut out);
        self.tables_and_reasons(&mut out);
        if self.tape.tells_tokens {
            self.sums(&mut out);
        }
        self.counters(&mut out);
        if !out.is_empty() {
            out.splice(lead..lead, self.choices_by_rows());
            self.lead_with_the_first_choice(&mut out[lead..]);
        }
        out
    }

    pub(super) fn key(&self, slot: Slot) -> RequestKey {
        self.owners[slot.index()]
    }

    pub(super) fn name(&self, key: RequestKey) -> String {
        self.tape.ids.id(key).to_owned()
    }

    pub(super) fn names(&self, keys: &[RequestKey]) -> String {
        let names: Vec<_> = keys.iter().map(|key| self.tape.ids.id(*key)).collect();
        format!("[{}]", names.join(" "))
    }

    pub(super) fn running(&self) -> Vec<RequestKey> {
        self.scheduler.running().iter().map(|&slot| self.key(slot)).collect()
    }

    /// Those that wait and have rows.
    fn waiting(&self) -> Vec<RequestKey> {
        let waiting = self.scheduler.waiting();
        waiting.filter(|slot| !self.is_hidden(*slot)).map(|slot| self.key(slot)).collect()
    }

    /// Whether the dialect has no row of a request because of where it stands in the reference.
    pub(super) fn is_hidden(&self, slot: Slot) -> bool {
        self.tape.hides(self.scheduler.request(slot).status())
    }

    pub(super) fn logged_running(&self) -> Vec<RequestKey> {
        self.group.running().map(|row| row.row.request_id).collect()
    }

    fn logged_waiting(&self) -> Vec<RequestKey> {
        self.group.waiting().map(|row| row.row.request_id).collect()
    }

    /// The row of a request, or that of the step.
    pub(super) fn place(&self, key: RequestKey) -> Location {
        self.group.queued_row(key).map_or(self.group.step.at(), Located::at)
    }

    pub(super) fn of_request(
        &self,
        field: &'static str,
        key: RequestKey,
        logged: impl ToString,
        reference: impl ToString,
    ) -> Difference {
        Difference {
            field,
            request: Some(self.name(key)),
            logged: logged.to_string(),
            reference: reference.to_string(),
            at: self.place(key),
        }
    }

    /// The tokens that requests have at `D`.
    fn generated(&self, out: &mut Differences) {
        for row in &self.group.queued {
            let Some(live) = self.live.get(&row.row.request_id) else { continue };
            let known = self.scheduler.request(live.slot).output_tokens();
            if row.row.tokens_generated != known {
                let (field, key) = ("tokens_generated", row.row.request_id);
                out.push(self.of_request(field, key, row.row.tokens_generated, known));
            }
        }
    }

    /// Who is scheduled, from where on and with how many tokens.
    fn batch(&self, out: &mut Differences) {
        let batch: HashMap<RequestKey, &BatchEntry, FxBuildHasher> =
            self.pass.entries.iter().map(|entry| (self.key(entry.slot), entry)).collect();
        let mut tokens = Vec::new();
        for row in self.group.running() {
            let key = row.row.request_id;
            let Some(live) = self.live.get(&key) else { continue };
            let entry = batch.get(&key);
            let request = self.scheduler.request(live.slot);
            let scheduled = entry.map_or(Tokens::ZERO, |entry| entry.tokens);
            let computed = entry.map_or(request.computed_tokens(), |entry| entry.computed);
            if !self.tape.tells_tokens {
                continue;
            }
            if row.row.computed_tokens != Some(computed) {
                let logged = shown(row.row.computed_tokens);
                out.push(self.of_request("computed_tokens", key, logged, computed));
            }
            if row.row.scheduled_tokens != Some(scheduled) {
                let logged = shown(row.row.scheduled_tokens);
                tokens.push(self.of_request("scheduled_tokens", key, logged, scheduled));
            }
        }
        for entry in &self.pass.entries {
            let key = self.key(entry.slot);
            let runs = |row: &Located<IterationRequestRow>| row.row.state == State::Running;
            if !self.group.queued_row(key).is_some_and(runs) {
                tokens.push(self.of_request("scheduled_tokens", key, NOT_RUNNING, entry.tokens));
            }
        }
        out.append(&mut tokens);
    }

    fn queue(
        &self,
        field: &'static str,
        logged: &[RequestKey],
        reference: &[RequestKey],
        out: &mut Differences,
    ) {
        if logged == reference {
            return;
        }
        let first = logged.iter().zip(reference).position(|(logged, other)| logged != other);
        let at = first.unwrap_or(logged.len().min(reference.len()));
        let key = logged.get(at).or(reference.get(at)).copied();
        out.push(Difference {
            field,
            request: key.map(|key| self.name(key)),
            logged: self.names(logged),
            reference: self.names(reference),
            at: key.map_or(self.group.step.at(), |key| self.place(key)),
        });
    }

    fn tables_and_reasons(&self, out: &mut Differences) {
        let open = LazyCell::new(|| self.open_reasons());
        for row in &self.group.queued {
            let key = row.row.request_id;
            let Some(live) = self.live.get(&key) else { continue };
            let request = self.scheduler.request(live.slot);
            if row.row.kv_cache_blocks != request.held_blocks() {
                let (logged, reference) = (row.row.kv_cache_blocks, request.held_blocks());
                out.push(self.of_request("kv_cache_blocks", key, logged, reference));
            }
            let state = state_of(request.status());
            if row.row.state != state {
                out.push(self.of_request("state", key, row.row.state, state));
            } else if let Some(logged) = row.row.waiting_reason.filter(|it| is_of_reference(*it))
                && state != State::Running
            {
                let reference = reason_of(self.pass, live.slot);
                // Who was set aside does not wait for what the head waits for.
                let with_head = reference != WaitingReason::WaitingForOutput;
                let same = logged == reference || with_head && open.contains(&logged);
                if !same {
                    out.push(self.of_request("waiting_reason", key, logged, reference));
                }
            }
        }
    }

    /// What may have kept out the request at which admission ended where its prefix hits are unknown:
    /// with more of them it needs fewer tokens and blocks. Every number of hits is tried, so a limit
    /// that none of them meets is none of these.
    fn open_reasons(&self) -> Vec<WaitingReason> {
        let (Some(slot), Cache::Counted(cache)) = (self.pass.stopped_at, self.scheduler.kv_cache())
        else {
            return Vec::new();
        };
        let gate = matches!(
            self.pass.admission_stop,
            Some(
                AdmissionStop::Preempted
                    | AdmissionStop::BudgetSpent { .. }
                    | AdmissionStop::MaxNumSeqs { .. }
            )
        );
        if gate || !cache.is_head_unknown() {
            return Vec::new();
        }
        let request = self.scheduler.request(slot);
        let others_run = !self.scheduler.running().is_empty();
        let used = self.group.step.row.kv_cache_used;
        let with = |hits: u32| match self.scheduler.tokens_with_hits(slot, hits as usize, self.pass)
        {
            Err(stop) => Some(waiting_reason(stop)),
            Ok(tokens) => cache
                .may_refuse(request, tokens, hits, others_run, used)
                .then_some(WaitingReason::MemoryInsufficient),
        };
        let mut reasons: Vec<_> = (0..=cache.most_hits(request)).filter_map(with).collect();
        reasons.dedup();
        reasons
    }

    pub(super) fn counter(
        &self,
        field: &'static str,
        logged: impl ToString,
        reference: impl ToString,
    ) -> Difference {
        Difference {
            field,
            request: None,
            logged: logged.to_string(),
            reference: reference.to_string(),
            at: self.group.step.at(),
        }
    }

    /// What the step's batch adds up to.
    fn sums(&self, out: &mut Differences) {
        let step = &self.group.step.row;
        let entries = &self.pass.entries;
        let prefill: Tokens =
            entries.iter().filter(|entry| entry.prefill).map(|entry| entry.tokens).sum();
        let total = self.pass.total_tokens;
        let batch = match self.tape.dialect.has(Habit::BatchIsRunning) {
            true => self.scheduler.running().len(),
            false => entries.len(),
        };
        self.counted(
            [
                ("batch_size", step.batch_size.0, batch as u32),
                ("total_tokens", step.total_tokens.0, total.0),
                ("prefill_tokens", step.prefill_tokens.0, prefill.0),
                ("decode_tokens", step.decode_tokens.0, (total - prefill).0),
            ],
            out,
        );
    }

    fn counted<const N: usize>(&self, pairs: [(&'static str, u32, u32); N], out: &mut Differences) {
        for (field, logged, reference) in pairs {
            if logged != reference {
                out.push(self.counter(field, logged, reference));
            }
        }
    }

    fn counters(&self, out: &mut Differences) {
        let step = &self.group.step.row;
        let usable = self.scheduler.config().usable_blocks();
        let running = self.scheduler.running().len() as u32;
        self.counted(
            [
                ("kv_cache_total", step.kv_cache_total.0, usable.0),
                ("running_count", step.running_count.0, running),
                ("waiting_count", step.waiting_count.0, self.scheduler.waiting_len() as u32),
            ],
            out,
        );
        let (fewest, most) = self.scheduler.kv_cache().used(usable);
        let used = step.kv_cache_used.0;
        if used < fewest || most < used {
            let reference = if fewest == most {
                most.to_string()
            } else {
                format!("{fewest} to {most}, depending on which blocks are shared")
            };
            out.push(self.counter("kv_cache_used", used, reference));
        }
        if let Some(((fewest, most), evicted)) = self.evictions().zip(step.evicted_blocks)
            && (evicted < fewest || most < evicted)
        {
            let reference = if fewest == most {
                most.to_string()
            } else {
                format!("{fewest} to {most}, as many blocks as the step takes")
            };
            out.push(self.counter("evicted_blocks", evicted, reference));
        }
    }

    /// The fewest and the most cached blocks whose content the step may drop, if the log tells how many
    /// it did. Without content any block that is taken may have held some.
    pub(super) fn evictions(&self) -> Option<(Blocks, Blocks)> {
        let _ = self.group.step.row.evicted_blocks?;
        let most = self.pass.evicted_blocks;
        Some(match self.scheduler.kv_cache() {
            Cache::Content(_) => (most, most),
            Cache::Counted(_) => (Blocks::ZERO, most),
        })
    }
}

pub(super) fn sorted(keys: &[RequestKey]) -> Vec<RequestKey> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys
}

fn shown(tokens: Option<Tokens>) -> String {
    tokens.map_or_else(|| "nothing".to_owned(), |tokens| tokens.to_string())
}

pub(super) fn state_of(status: Status) -> State {
    match status {
        Status::Waiting => State::Waiting,
        Status::Running => State::Running,
        Status::Preempted => State::Preempted,
        Status::Finished(_) => State::Completed,
    }
}
