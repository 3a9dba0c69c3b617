//! The reference under the log's own inputs: who arrives when, which output is processed before which
//! pass, what the model returned. Every pass is compared with the step that the log has in its place.
//!
//! The moments of the log decide what the scheduler knows at a pass, not a model of the engine loop: an
//! output that was processed by `S` is known, one that was not is in flight. So any engine loop is
//! followed, as far as it keeps to the settings' number of batches in flight.
//!
//! After a divergence the reference takes over what the log decided ([`super::resync`]). Where it
//! cannot, nothing is compared until the log's engine was empty: from there a new reference starts with
//! nothing in its queues, as the log does.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;

use crate::config::SchedulerConfig;
use crate::conform::log::cache::Cache;
use crate::conform::log::counted::CountedCache;
use crate::conform::log::ends::End;
use crate::conform::log::group::Group;
use crate::conform::log::inputs::Before;
use crate::conform::log::prompts::Prompts;
use crate::conform::log::sides::is_of_reference;
use crate::conform::log::tape::Tape;
use crate::conform::log::verdict::{Basis, LogCounts, LogDivergence, Void};
use crate::log::ids::{Ids, RequestKey};
use crate::log::reader::FormKind;
use crate::log::schema::Table;
use crate::scheduler::allocation::KvCacheManager;
use crate::scheduler::{ModelOutput, Pass, Scheduler, Slot, StopTokens, Update};
use crate::units::{IterationId, Nanos, TokenId};

/// The token that ends an answer before its limit. No prompt has it: it is above all content.
pub(super) const STOP_TOKEN: TokenId = TokenId(u64::MAX);

/// Steps between two looks for ids that can be forgotten.
const RELEASE_EVERY: u64 = 1 << 14;

/// A request inside the reference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    pub(super) slot: Slot,
    pub(super) end: Option<End>,
    /// Its row of the trace, where there is one; names its tokens.
    pub(super) ordinal: Option<u32>,
}

/// A step whose output is not processed yet.
#[derive(Debug)]
pub(super) struct Flying {
    pub(super) group: Group,
    pub(super) pass: Pass,
    pub(super) judged: Judged,
}

/// How the decision of a step came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// As the reference decides.
    Same,
    /// Otherwise.
    Different,
    /// The log does not tell enough.
    Open,
    /// It was not compared.
    Skipped,
}

/// Whether the reference is where the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Track {
    /// It is.
    Following,
    /// It is not, but knows who is alive: it takes each step's decision over until it follows again.
    Behind {
        /// Steps in a row of which it did so.
        taken_over: u32,
    },
    /// It waits until the log's engine is empty.
    Lost,
}

pub(super) type LiveRequests = HashMap<RequestKey, Live, FxBuildHasher>;

/// A comparison under way.
#[derive(Debug)]
pub(super) struct Replay<'t> {
    pub(super) config: SchedulerConfig,
    pub(super) tape: Tape,
    pub(super) prompts: Option<Prompts<'t>>,
    pub(super) scheduler: Scheduler<Cache>,
    pub(super) in_flight: VecDeque<Flying>,
    pub(super) spare: Vec<Pass>,
    pub(super) live: LiveRequests,
    /// Requests whose rows came before the event of their arrival.
    pub(super) early: HashSet<RequestKey, FxBuildHasher>,
    /// The moment of the last request that arrived, and how many came before it then.
    pub(super) last_arrival: (Nanos, u64),
    /// Whether a request arrived of which nothing tells how long its prompt is.
    pub(super) has_stranger: bool,
    /// Whose slot it is, or was last.
    pub(super) owners: Vec<RequestKey>,
    pub(super) track: Track,
    /// `S` of the step before.
    previous: Nanos,
    pub(super) output: ModelOutput,
    pub(super) update: Update,
    pub(super) counts: LogCounts,
    pub(super) basis: Basis,
    pub(super) divergences: Vec<LogDivergence>,
    pub(super) diverged: u64,
    pub(super) first: Option<IterationId>,
    pub(super) notes: Vec<String>,
    /// Files that could not be read to their end, though they were not cut.
    pub(super) damage: Vec<String>,
    /// Steps at which the reference was not where the log is.
    skipped: u64,
    /// Steps that the log does not tell enough of to decide them.
    pub(super) undecided: u64,
    /// Steps of which is not told how many drafts each request had, where that decides something.
    pub(super) undrafted: u64,
    /// Iterations with waiting rows that give no reason.
    unreasoned: u64,
    /// Iterations with waiting rows whose reason the reference cannot have.
    foreign_reasons: u64,
    damaged: u64,
    /// How often the log does not tell what an output brought.
    pub(super) untold: u64,
    /// Whether everybody is over with the steps in flight, of whose ends no row tells.
    pub(super) all_over: bool,
    /// See [`super::ConformOptions::always_take_over`].
    pub(super) always_take_over: bool,
}

impl<'t> Replay<'t> {
    pub(super) fn new(config: SchedulerConfig, tape: Tape, prompts: Option<Prompts<'t>>) -> Self {
        let caching = config.enable_prefix_caching;
        let fresh = tape.first_step().is_some_and(|step| step.iteration_id == IterationId::ZERO);
        let (cache, basis) = if caching && prompts.is_some() {
            (Cache::Content(KvCacheManager::new(&config)), Basis::Exact)
        } else {
            let basis = if caching { Basis::HitsFromLog } else { Basis::Exact };
            (Cache::Counted(CountedCache::new(config.clone(), fresh)), basis)
        };
        Self {
            scheduler: scheduler(&config, cache),
            config,
            tape,
            prompts,
            in_flight: VecDeque::new(),
            spare: Vec::new(),
            live: LiveRequests::default(),
            early: HashSet::default(),
            last_arrival: (Nanos::ZERO, 0),
            has_stranger: false,
            owners: Vec::new(),
            track: Track::Following,
            previous: Nanos::ZERO,
            output: ModelOutput::default(),
            update: Update::default(),
            counts: LogCounts::default(),
            basis,
            divergences: Vec::new(),
            diverged: 0,
            first: None,
            notes: Vec::new(),
            damage: Vec::new(),
            skipped: 0,
            undecided: 0,
            undrafted: 0,
            unreasoned: 0,
            foreign_reasons: 0,
            damaged: 0,
            untold: 0,
            all_over: false,
            always_take_over: false,
        }
    }

    /// Goes through the whole log.
    pub(super) fn run(&mut self) -> Result<(), Void> {
        let mut cut = None;
        while let Some(group) = self.tape.next_group() {
            let id = group.id();
            self.counts.iterations += 1;
            if group.cut {
                cut = Some((id, Table::PerIterationRequests));
                break;
            }
            let uncounted = group.step.row.completed_count.is_none();
            let all_end = uncounted && self.tape.nobody_is_next();
            let told = group.ends_told;
            if let Some(table) = self.step(group)? {
                cut = Some((id, table));
                break;
            }
            self.all_over = !told && all_end && self.all_lengths_known();
            if !told && !self.all_over {
                // Who is left for the steps behind it is open.
                cut = Some((id, Table::PerIterationRequests));
                break;
            }
            if self.counts.iterations.is_multiple_of(RELEASE_EVERY) {
                self.release_ids();
            }
        }
        match cut {
            Some(_) => self.counts.iterations += self.tape.count_the_rest(),
            None => self.outputs_before(None),
        }
        self.note_what_was_left_out(cut);
        Ok(())
    }

    /// Whether per_request.csv tells with how many tokens each request of the reference ends.
    fn all_lengths_known(&self) -> bool {
        self.live.values().all(|live| live.end.is_some())
    }

    fn note_what_was_left_out(&mut self, cut: Option<(IterationId, Table)>) {
        if let Some((id, table)) = cut {
            let file = table.file_name();
            self.notes.push(format!("{file} ends before it has told of iteration {id}"));
        }
        for (table, why) in self.tape.broken() {
            let file = table.file_name();
            if let FormKind::Unreadable(_) = why {
                self.damage.push(format!("{file}: {why}"));
            } else {
                self.notes.push(format!("{file} is cut: what its end would tell is not compared"));
            }
        }
        // Of how many iterations, whether they have what follows, and that.
        let why = [
            (self.damaged, false, "could not be read in full"),
            (
                self.untold,
                true,
                "an output of which nothing tells how many drafts it accepted, as the dialect \
                 has no rows of preempted requests: not compared from there",
            ),
            (
                self.undecided,
                false,
                "may be decided in more than one way, as prompts are unknown: not compared",
            ),
            (
                self.undrafted,
                false,
                "may be decided in more than one way, as the dialect has no tokens per request and \
                 fewer drafts may have been proposed than can be: not compared",
            ),
            (
                self.unreasoned,
                true,
                "waiting requests without a waiting_reason: what kept those out is not compared",
            ),
            (
                self.foreign_reasons,
                true,
                "waiting requests whose waiting_reason is unknown, or of a feature that the \
                 reference does not have: what kept those out is not compared",
            ),
        ];
        for (count, has, what) in why {
            if count > 0 {
                let (steps, have) =
                    if count == 1 { ("iteration", "has ") } else { ("iterations", "have ") };
                let have = if has { have } else { "" };
                self.notes.push(format!("{count} {steps} {have}{what}"));
            }
        }
        if self.skipped > 0 {
            self.notes.push(format!(
                "{} of {} iterations were skipped: where the reference cannot take over what the \
                 log decided, it goes on where the rows of a step tell all, or the log's engine is \
                 empty",
                self.skipped, self.counts.iterations
            ));
        }
    }

    /// One step of the log, or the file that ends before it has told of it.
    fn step(&mut self, group: Group) -> Result<Option<Table>, Void> {
        let start = group.moments.start;
        let unreasoned = group.waiting().any(|row| row.row.waiting_reason.is_none());
        self.unreasoned += u64::from(unreasoned);
        let foreign = group
            .waiting()
            .any(|row| row.row.waiting_reason.is_some_and(|reason| !is_of_reference(reason)));
        self.foreign_reasons += u64::from(foreign);
        if self.track == Track::Following && group.damaged {
            self.damaged += 1;
            self.fall_behind(None);
        }
        self.outputs_before(Some(&group));
        if self.track != Track::Following {
            self.restart(&group);
        }
        if let Track::Behind { taken_over } = self.track {
            self.skipped += 1;
            self.tape.read_events(self.tape.latest(group.moments.decided));
            self.catch_up(group, taken_over)?;
        } else if self.track == Track::Following {
            self.hand_in(&group)?;
            self.abort_due(Before::Pass(&group));
            self.hand_in_hidden(&group)?;
            self.order_ties(&group);
            self.settle_victims(&group);
            if self.has_stranger {
                return Ok(Some(Table::PerRequest));
            }
            if self.is_unannounced(&group) {
                return Ok(Some(Table::Events));
            }
            self.abort_untold(&group);
            if self.has_untold_end(&group) {
                return Ok(Some(Table::Events));
            }
            self.tape.read_events(self.tape.latest(group.moments.decided));
            if self.lacks_hits(&group) {
                return Ok(Some(Table::Events));
            }
            if let Some(table) = self.decide(group)? {
                return Ok(Some(table));
            }
        } else {
            self.skipped += 1;
            self.tape.read_events(self.tape.latest(group.moments.decided));
            self.tape.forget_decisions(&group);
        }
        self.previous = start;
        Ok(None)
    }

    /// Whether the step has a request of which events.csv, which has ended, does not tell.
    fn is_unannounced(&self, group: &Group) -> bool {
        self.tape.events_ended()
            && group.queued.iter().any(|row| {
                let key = row.row.request_id;
                !self.live.contains_key(&key) && !self.owners.contains(&key)
            })
    }

    /// Whether somebody is over, or has come, of whom events.csv, which has ended, would have to tell.
    fn has_untold_end(&self, group: &Group) -> bool {
        let by_event = self.tape.ends_by_event() && self.without_row(group).next().is_some();
        let hidden = self.tape.dialect.hides_waiting() && self.live.len() != group.alive();
        self.tape.events_ended() && (by_event || hidden)
    }

    /// The reference is not where the log is any more.
    pub(super) fn lose(&mut self) {
        self.track = Track::Lost;
        self.in_flight.clear();
        self.live.clear();
    }

    /// Starts a new reference if everybody in the step's queues arrived since the step before: the
    /// engine was empty then, so nothing else is left of the past.
    fn restart(&mut self, group: &Group) {
        if self.track == Track::Lost {
            self.forget_the_past();
        }
        let (since, start) =
            (self.tape.latest(self.previous), self.tape.latest(group.moments.start));
        let new: HashSet<RequestKey, FxBuildHasher> = self
            .tape
            .mail
            .iter()
            .filter(|arrived| since < arrived.at && arrived.at <= start)
            .map(|arrived| arrived.key)
            .collect();
        let all_told = group.queued.len() == group.alive() || new.len() == group.alive();
        let all_new = group.queued.iter().all(|row| new.contains(&row.row.request_id));
        let hits_told = self.tape.tells_hits() || !self.config.enable_prefix_caching;
        if group.damaged || !all_told || !all_new || !hits_told {
            return;
        }
        self.lose();
        self.forget_the_past();
        self.forget_content();
        let cache = Cache::Counted(CountedCache::new(self.config.clone(), false));
        self.scheduler = scheduler(&self.config, cache);
        self.owners.clear();
        self.track = Track::Following;
        self.counts.restarts += 1;
    }

    /// Forgets what came before the step before and was not taken in.
    fn forget_the_past(&mut self) {
        let since = self.previous;
        while let Some(old) = self.tape.mail.front().copied().filter(|next| next.at <= since) {
            self.tape.mail.pop_front();
            // What was read ahead for it is not needed.
            let _ = self.tape.end_of(old.key);
            if let Some(prompts) = &mut self.prompts {
                prompts.forget(self.tape.ids.id(old.key));
            }
        }
        let since = self.tape.latest(since);
        self.tape.dropped.retain(|dropped| dropped.at > since);
        self.tape.ended.retain(|ended| ended.at > since);
    }

    /// Forgets the ids of requests that nothing names any more.
    fn release_ids(&mut self) {
        let mut named: HashSet<RequestKey, FxBuildHasher> =
            self.live.keys().chain(&self.early).chain(&self.owners).copied().collect();
        for flying in &self.in_flight {
            named.extend(flying.group.queued.iter().map(|row| row.row.request_id));
        }
        self.tape.release_ids(named);
    }
}

fn scheduler(config: &SchedulerConfig, cache: Cache) -> Scheduler<Cache> {
    let stop = StopTokens { eos_token_id: Some(STOP_TOKEN), stop_token_ids: Vec::new() };
    Scheduler::with_cache(config.clone(), stop, cache)
}
