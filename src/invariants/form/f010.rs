//! F010: run.json.

use crate::invariants::prelude::*;
use crate::log::values::LogLevel;

declare_invariant! {
    /// run.json, where it is there, is the JSON object that the format describes, and its settings have
    /// values that a scheduler can have.
    ///
    /// Rules that need a setting are not checked without it. A file that cannot be read is damage: what
    /// it would say is not known, and the rest of the log is checked. A newer `schema_version` is a
    /// warning: what is understood is used.
    ///
    /// A `log_level` that the files contradict is an error: `summary` has no rows in
    /// per_iteration_requests.csv, only `full` has block events, and there every request that was
    /// scheduled has some. Lost or cut events are not missed.
    ///
    /// Blind spot: settings that no rule uses; a setting that is possible and wrong; the level of a log
    /// in which no request was scheduled.
    ///
    /// Example: `"max_num_seqs": "256"`, a text instead of a number; `"block_size": 0`.
    pub static F010 = {
        name: "run-info",
        reads: [],
        also: [Events(timestamp, event_type)],
        severity: Damage,
    } => Check
}

#[derive(Default)]
struct Check {
    /// The first row in per_iteration_requests.csv, the first block event, and the first scheduling.
    row: Option<Location>,
    block_event: Option<Location>,
    scheduled: Option<Located<EventRow>>,
}

impl Invariant for Check {
    fn iteration(&mut self, view: &IterationView<'_>, _: &mut Cx<'_>) {
        self.row = self.row.or_else(|| view.rows.at(0));
    }

    fn events(&mut self, events: &[Located<EventRow>], cx: &mut Cx<'_>) {
        if cx.facts.declared_level.is_none() || self.block_event.is_some() {
            return;
        }
        for event in events {
            match event.row.event_type {
                EventType::KvCacheAllocated | EventType::KvCacheFreed => {
                    self.block_event = Some(event.at());
                    return;
                }
                EventType::RequestScheduled if self.scheduled.is_none() => {
                    self.scheduled = Some(*event);
                }
                _ => {}
            }
        }
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        if !cx.facts.has_run_info {
            cx.vacuous("there is no run.json");
        }
        cx.exercised(usize::from(cx.facts.has_run_info));
        for problem in &cx.facts.run_problems {
            let found = if problem.newer {
                let remedy = "what is understood of it is used";
                Finding::new(format!("{problem}; {remedy}")).as_severity(Severity::Warning)
            } else {
                let remedy = "correct it, or remove the file and give settings by flags";
                Finding::new(format!("{problem}; {remedy}"))
            };
            cx.found(found);
        }
        if let Some(level) = cx.facts.declared_level {
            self.judge_level(level, cx);
        }
    }
}

impl Check {
    /// Compares the level that run.json names with what is there.
    fn judge_level(&self, level: LogLevel, cx: &mut Cx<'_>) {
        let wrong = |what: &str, at: Location, levels: &str| {
            Finding::new(format!("run.json says that log_level is {level}, {what}"))
                .at_row(at)
                .values(levels, level)
                .as_severity(Severity::Error)
        };
        if let Some(at) = self.row.filter(|_| level == LogLevel::Summary) {
            let what = "but per_iteration_requests.csv has rows";
            cx.found(wrong(what, at, "standard or full"));
        }
        if let Some(at) = self.block_event.filter(|_| level != LogLevel::Full) {
            cx.found(wrong("but events.csv has block events", at, "full"));
        }
        if level == LogLevel::Full && self.block_event.is_none() {
            // A request gets blocks at the moment at which it is scheduled.
            let told = |event: &Located<EventRow>| {
                let latest = event.row.timestamp.saturating_add(cx.slack());
                cx.facts.whole(Table::Events) && cx.facts.covers(Table::Events, latest)
            };
            if let Some(event) = self.scheduled.filter(told) {
                let what = "but no event says that the scheduled request got blocks";
                cx.found(wrong(what, event.at(), "standard"));
            }
        }
    }
}
