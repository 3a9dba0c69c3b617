//! The second pass: over the files once more, only for what will be shown.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::Finding;
use crate::diagnose::evidence::{StepRows, is_sum_of_changes, step_rows};
use crate::diagnose::excerpt::Excerpts;
use crate::diagnose::facts::{Facts, MOST_ROWS, Own, moment_of};
use crate::diagnose::group::Group;
use crate::diagnose::story::{Entry, Kind, Story, Sums};
use crate::diagnose::{SAMPLE, SHOWN_FINDINGS};
use crate::log::ids::{IdTable, Ids, RequestKey};
use crate::log::reader::{Item, Located, Location, LogDir};
use crate::log::schema::{
    EventRow, IterationRequestRow, IterationRow, RequestRow, Row, Table, TransitionRow,
};
use crate::log::values::{EventType, State};
use crate::units::{IterationId, Nanos};

/// What is looked for.
struct Lookup<'a> {
    dir: &'a LogDir,
    ids: IdTable,
    /// The stories of a request.
    wanted: BTreeMap<String, Vec<usize>>,
    /// The requests whose times are summed.
    summed: BTreeMap<String, Sums>,
    /// The stories that want rows of a step.
    steps: BTreeMap<IterationId, Vec<(usize, &'static StepRows)>>,
    stories: Vec<Story>,
    facts: Facts,
}

/// Tells the stories of the first findings of each group.
pub(super) fn tell(dir: &LogDir, groups: &mut [Group<'_>], excerpts: &Excerpts) -> Facts {
    let mut lookup = Lookup {
        dir,
        ids: IdTable::default(),
        wanted: BTreeMap::new(),
        summed: BTreeMap::new(),
        steps: BTreeMap::new(),
        stories: Vec::new(),
        facts: Facts::default(),
    };
    if groups.is_empty() {
        return lookup.facts;
    }
    let places = lookup.plan(groups, excerpts);
    lookup.iterations(groups, &places, excerpts);
    lookup.requests();
    lookup.events();
    lookup.transitions();
    lookup.rows();
    lookup.stories.iter_mut().for_each(Story::finish);
    let Lookup { stories, summed, mut facts, .. } = lookup;
    for (story, (group, finding)) in stories.into_iter().zip(places) {
        groups[group].stories.resize_with(finding + 1, || None);
        groups[group].stories[finding] = Some(story);
    }
    facts.sums = summed;
    facts
}

impl Lookup<'_> {
    /// Says which story is which finding's: (group, finding).
    fn plan(&mut self, groups: &[Group<'_>], excerpts: &Excerpts) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        for (group_index, group) in groups.iter().enumerate() {
            for request in group.findings.iter().take(SAMPLE).filter_map(|f| f.request.as_ref()) {
                self.summed.entry(request.clone()).or_default();
            }
            for (index, finding) in group.findings.iter().take(SHOWN_FINDINGS).enumerate() {
                let story = self.stories.len();
                let timestamp = finding.primary.as_ref().and_then(|mark| {
                    excerpts.number(mark.at, "timestamp").and_then(|at| u64::try_from(at).ok())
                });
                let mut told = Story { focus: timestamp.map(Nanos), ..Story::default() };
                if let Some(request) = &finding.request {
                    self.wanted.entry(request.clone()).or_default().push(story);
                }
                if let Some(rows) = step_rows(group.rule().id, finding)
                    && let Some(iteration) = finding.iteration
                {
                    told.rows_column = rows.column;
                    self.steps.entry(iteration).or_default().push((story, rows));
                }
                if is_sum_of_changes(group.rule().id) {
                    told.rows_column = "duration_in_prev_state";
                    told.changes_shown = Some(finding.related.len());
                }
                self.stories.push(told);
                places.push((group_index, index));
            }
        }
        places
    }

    /// Calls `see` for every row of a file that can be read; forgets ids that nobody asked for.
    fn each<R: Row>(
        &mut self,
        key: fn(&R) -> Option<RequestKey>,
        mut see: impl FnMut(&mut Self, &Located<R>, &str) -> bool,
    ) {
        // A file that cannot be read any more leaves the stories shorter.
        let Ok(Some(mut reader)) = self.dir.reader::<R>() else { return };
        let mut ids = std::mem::take(&mut self.ids);
        while let Some(item) = reader.next(&mut ids) {
            let Item::Row(row) = item else { continue };
            let key = key(&row.row);
            let go_on = see(self, &row, key.map_or("", |key| ids.id(key)));
            if let Some(key) = key {
                ids.release(key);
            }
            if !go_on {
                break;
            }
        }
        self.ids = ids;
    }

    fn note(&mut self, request: &str, at: Nanos, kind: Kind, entry: &Entry) {
        for story in self.wanted.get(request).into_iter().flatten() {
            self.stories[*story].note(at, kind, entry.clone());
        }
    }

    /// Sets the moments of findings that name a step.
    fn iterations(&mut self, groups: &[Group<'_>], places: &[(usize, usize)], excerpts: &Excerpts) {
        let mut focus: BTreeMap<IterationId, Vec<usize>> = BTreeMap::new();
        for (story, (group, finding)) in places.iter().enumerate() {
            if let Some(iteration) = groups[*group].findings[*finding].iteration {
                focus.entry(iteration).or_default().push(story);
            }
        }
        let sample = || {
            groups.iter().flat_map(|group| {
                group.findings.iter().take(SAMPLE).map(|finding| (group.rule().id, *finding))
            })
        };
        let named = sample().filter_map(|(_, finding)| Some(finding.iteration?.0));
        let near: BTreeSet<u64> =
            named.flat_map(|id| id.saturating_sub(1)..=id.saturating_add(1)).collect();
        let wanted: BTreeSet<i128> =
            sample().filter_map(|(rule, finding)| moment_of(rule, finding, excerpts)).collect();
        // As much before the first step of per_iteration.csv that is wrong as from it on.
        let of_steps = |finding: &Finding| {
            finding.primary.as_ref().is_some_and(|mark| mark.at.table == Table::PerIteration)
        };
        let wrong = sample().filter(|(_, finding)| of_steps(finding));
        let window = wrong.filter_map(|(_, finding)| finding.iteration).min();
        let window = window.map(|first| IterationId(first.0.saturating_sub(MOST_ROWS as u64 / 2)));
        self.each::<IterationRow>(
            |_| None,
            |this, row, _| {
                this.facts.note_moments(&row.row, &near, &wanted);
                this.facts.note_step(row, window);
                for story in focus.get(&row.iteration_id).into_iter().flatten() {
                    let decided = row.start_time.saturating_add(row.scheduling_overhead);
                    this.stories[*story].focus.get_or_insert(decided);
                }
                true
            },
        );
    }

    fn requests(&mut self) {
        self.each::<RequestRow>(
            |row| Some(row.request_id),
            |this, row, id| {
                this.facts.note_request(row);
                if this.summed.contains_key(id) {
                    let own = Own::of(&row.row);
                    this.facts.own.insert(id.to_owned(), own);
                }
                let entry = Entry { places: vec![row.at()], ..Entry::default() };
                this.note(id, row.arrival_time, Kind::Arrived, &entry);
                if let Some(end) = row.completion_time {
                    let entry = Entry { finish: row.finish_reason, ..entry };
                    this.note(id, end, Kind::Entered(State::Completed), &entry);
                }
                true
            },
        );
    }

    fn events(&mut self) {
        use EventType as T;
        self.each::<EventRow>(
            |row| row.request_id,
            |this, row, id| {
                this.facts.note_time((Table::Events, "timestamp"), row.timestamp);
                let kind = match row.event_type {
                    T::RequestArrived => Kind::Arrived,
                    T::RequestScheduled | T::RequestResumed => Kind::Entered(State::Running),
                    T::RequestPreempted => Kind::Entered(State::Preempted),
                    T::RequestCompleted => Kind::Entered(State::Completed),
                    T::RequestEvicted => Kind::Evicted,
                    T::FirstTokenGenerated => Kind::FirstToken,
                    T::KvCacheAllocated | T::KvCacheFreed => return true,
                };
                let entry = Entry {
                    iteration: row.details.iteration_id,
                    finish: row.details.finish_reason,
                    places: vec![row.at()],
                    gap: false,
                };
                this.note(id, row.timestamp, kind, &entry);
                true
            },
        );
    }

    fn transitions(&mut self) {
        let mut before: BTreeMap<String, State> = BTreeMap::new();
        self.each::<TransitionRow>(
            |row| Some(row.request_id),
            |this, row, id| {
                let table = Table::StateTransitions;
                this.facts.note_time((table, "timestamp"), row.timestamp);
                let lasted = (table, "duration_in_prev_state");
                this.facts.note_time(lasted, row.duration_in_prev_state);
                let entry = Entry { places: vec![row.at()], ..Entry::default() };
                this.note(id, row.timestamp, Kind::Entered(row.state), &entry);
                for story in this.wanted.get(id).into_iter().flatten() {
                    let story = &mut this.stories[*story];
                    match &mut story.changes_shown {
                        Some(0) => story.add_row(row.at()),
                        Some(left) => *left -= 1,
                        None => {}
                    }
                }
                if let Some(sums) = this.summed.get_mut(id) {
                    let state = before.insert(id.to_owned(), row.state).unwrap_or(State::Waiting);
                    let duration = row.duration_in_prev_state.0;
                    let side = match state {
                        State::Running => &mut sums.running,
                        State::Preempted => &mut sums.preempted,
                        State::Waiting | State::Completed => &mut sums.waiting,
                    };
                    *side = side.saturating_add(duration);
                    if state == State::Running {
                        sums.last_running = duration;
                    }
                    sums.preemptions += u64::from(row.state == State::Preempted);
                }
                true
            },
        );
    }

    /// Rows of the steps of findings; and the states of requests that no other file tells of.
    fn rows(&mut self) {
        let silent = |story: &usize| {
            !self.stories[*story].timeline.keys().any(|(_, kind)| matches!(kind, Kind::Entered(_)))
        };
        let untold: BTreeSet<String> = self
            .wanted
            .iter()
            .filter(|(_, stories)| stories.iter().any(silent))
            .map(|(id, _)| id.clone())
            .collect();
        let last = self.steps.keys().next_back().copied().max(self.facts.window.1);
        if last.is_none() && untold.is_empty() {
            return;
        }
        let mut states: BTreeMap<String, State> = BTreeMap::new();
        let mut changes: BTreeMap<IterationId, Vec<(String, State, Location)>> = BTreeMap::new();
        self.each::<IterationRequestRow>(
            |row| Some(row.request_id),
            |this, row, id| {
                let step = row.iteration_id;
                this.facts.note_row(&row.row, id);
                for (story, rows) in this.steps.get(&step).into_iter().flatten() {
                    if (rows.counts)(&row.row) {
                        this.stories[*story].add_row(row.at());
                    }
                }
                let kept = states.len() + changes.len() < 1 << 12;
                if untold.contains(id) && kept {
                    let before = states.insert(id.to_owned(), row.state);
                    if before != Some(row.state) {
                        let change = (id.to_owned(), row.state, row.at());
                        changes.entry(step).or_default().push(change);
                    }
                }
                !untold.is_empty() || Some(step) <= last
            },
        );
        self.date(&changes);
    }

    /// Gives changes that only the rows of steps show the moments of their steps.
    fn date(&mut self, changes: &BTreeMap<IterationId, Vec<(String, State, Location)>>) {
        if changes.is_empty() {
            return;
        }
        self.each::<IterationRow>(
            |_| None,
            |this, step, _| {
                for (id, state, at) in changes.get(&step.iteration_id).into_iter().flatten() {
                    let moment = match state {
                        State::Completed => step.end_time,
                        _ => step.start_time.saturating_add(step.scheduling_overhead),
                    };
                    let iteration = Some(step.iteration_id);
                    let entry = Entry { iteration, places: vec![*at], ..Entry::default() };
                    this.note(id, moment, Kind::Entered(*state), &entry);
                }
                true
            },
        );
    }
}
