//! Runs every rule over one streaming pass.

use crate::check::context::{Cx, Tally};
use crate::check::cut::RowsCut;
use crate::check::declare::Declaration;
use crate::check::ends::Ends;
use crate::check::facts::LogFacts;
use crate::check::gather::Gather;
use crate::check::invariant::Invariant;
use crate::check::live::Observer;
use crate::check::report::{CheckReport, RuleOutcome, TableSummary};
use crate::check::runs::{self, Found};
use crate::check::skew::Skew;
use crate::check::view::{IterationView, Moments, Rows};
use crate::check::{CheckError, CheckOptions, LogSettings};
use crate::log::dialect::{Dialect, Habit};
use crate::log::ids::{Ids, RequestKey};
use crate::log::reader::{FormKind, FormProblem, Located, LogDir, TableFile};
use crate::log::run_info::{RunInfo, RunProblem, problem_at};
use crate::log::schema::{EventRow, IterationRow, Table};
use crate::log::values::{EventType, LogLevel};
use crate::units::IterationId;

/// One rule of this run.
struct Active {
    rule: &'static Declaration,
    check: Box<dyn Invariant>,
    tally: Tally,
}

struct Rules {
    active: Vec<Active>,
    skipped: Vec<(&'static Declaration, String)>,
    skew: Skew,
}

impl Rules {
    /// Calls every active rule.
    fn each(
        &mut self,
        facts: &LogFacts,
        ids: &crate::log::ids::IdTable,
        mut call: impl FnMut(&mut dyn Invariant, &mut Cx<'_>),
    ) {
        for active in &mut self.active {
            let severity = active.rule.severity;
            let mut cx =
                Cx { facts, ids, tally: &mut active.tally, severity, skew: &mut self.skew };
            call(active.check.as_mut(), &mut cx);
        }
    }
}

/// Checks the log in `dir` with these rules.
pub(super) fn run(
    dir: &LogDir,
    options: &CheckOptions,
    rules: &[&'static Declaration],
) -> Result<CheckReport, CheckError> {
    let found = runs::find(dir)?;
    let is_second = found.runs.is_second;
    let report = pass(dir, options, rules, found)?;
    if !dir.is_growing()
        && has_findings(&report)
        && let Some(rest) = dir.without_spoiled()
    {
        // What was read of those is not what was written.
        return run(&rest, options, rules);
    }
    if is_second || !starts_again(&report) {
        return Ok(report);
    }
    match runs::search(dir)? {
        Some(runs) => pass(dir, options, rules, Found { runs, counts: None }),
        None => Ok(report),
    }
}

/// Whether these rules find no error and no damage in the log; ends with the first.
pub(super) fn is_clean(
    dir: &LogDir,
    options: &CheckOptions,
    rules: &[&'static Declaration],
) -> Result<bool, CheckError> {
    let mut run = Run::start(dir, options, rules, runs::find(dir)?)?;
    run.missing_files(dir);
    while let Some((id, has_row)) = run.gather.next_step() {
        run.step(id, has_row, None);
        if run.tallies().any(|(_, tally)| tally.errors + tally.damages > 0) {
            return Ok(false);
        }
    }
    run.rest(dir)?;
    Ok(!has_findings(&run.into_report(dir)))
}

fn has_findings(report: &CheckReport) -> bool {
    report.rules.iter().any(|rule| rule.errors + rule.damages > 0)
}

/// Whether rows go back to what was before, or stand twice, as where a second run begins.
fn starts_again(report: &CheckReport) -> bool {
    const SHOW: [&str; 9] =
        ["F001", "F002", "F003", "F007", "M011", "M012", "S003", "X006", "X009"];
    // A first row that goes on in a torn one is damage.
    let torn = |rule: &RuleOutcome| rule.rule.id == "F002" && rule.damages > 0;
    let shows = |rule: &RuleOutcome| rule.errors > 0 && SHOW.contains(&rule.rule.id);
    report.rules.iter().any(|rule| shows(rule) || torn(rule))
}

fn pass(
    dir: &LogDir,
    options: &CheckOptions,
    rules: &[&'static Declaration],
    found: Found,
) -> Result<CheckReport, CheckError> {
    let mut run = Run::start(dir, options, rules, found)?;
    run.missing_files(dir);
    run.all_steps();
    run.rest(dir)?;
    Ok(run.into_report(dir))
}

fn first_facts(
    dir: &LogDir,
    options: &CheckOptions,
    Found { runs, counts }: Found,
) -> Result<LogFacts, CheckError> {
    let dialect = Dialect::detect_until(dir, options.skew_bound, &runs.cuts, counts)?;
    let run_info = run_info(dir, runs.is_second);
    let summary = dialect.is_summary.then_some(LogLevel::Summary);
    let given = options.settings.clone();
    let known = match run_info {
        Some(info) => given.or_run_info(info),
        None => given,
    };
    let overlapping = overlap(run_info, &dialect).unwrap_or(true);
    Ok(LogFacts {
        settings: known.or(options.fallback.clone()),
        skew: dialect.has(Habit::ClockSkew).then_some(dialect.skew_bound),
        dialect,
        overlapping,
        run_problems: run_problems(dir),
        has_run_info: dir.run_info.is_some() || !dir.run_problems.is_empty(),
        modelled: run_info.is_some_and(|info| info.engine.contains("model")),
        replayed: run_info.is_some_and(|info| !info.trace.is_empty()),
        log_level: run_info.map_or(summary, |info| Some(info.log_level)),
        declared_level: run_info.map(|info| info.log_level),
        ..LogFacts::default()
    })
}

/// What run.json says of the run that is checked. Where a second run was appended it is that run's, which
/// may have had other settings.
fn run_info(dir: &LogDir, is_first: bool) -> Option<&RunInfo> {
    dir.run_info.as_ref().filter(|_| !is_first)
}

/// Whether steps overlap, if anything tells.
fn overlap(run_info: Option<&RunInfo>, dialect: &Dialect) -> Option<bool> {
    let declared = run_info.map(|info| info.overlapping_steps);
    declared.or(dialect.steps_overlap)
}

fn run_problems(dir: &LogDir) -> Vec<RunProblem> {
    let mut problems = dir.run_problems.clone();
    if let Some(info) = &dir.run_info {
        problems.extend(LogSettings::impossible(&info.config).into_iter().map(|setting| {
            let value = &info.config[setting.key()];
            let message = format!("config.{setting} cannot be {value}");
            problem_at(&dir.run_text, setting.key(), message, false)
        }));
    }
    problems
}

/// Tells the rules that can be checked from those that cannot.
fn select(rules: &[&'static Declaration], facts: &LogFacts) -> Rules {
    let mut selected = Rules { active: Vec::new(), skipped: Vec::new(), skew: Skew::default() };
    for &rule in rules {
        match obstacle(rule, facts) {
            Some(reason) => selected.skipped.push((rule, reason)),
            None => {
                selected.active.push(Active { rule, check: (rule.make)(), tally: Tally::default() })
            }
        }
    }
    selected
}

/// Why a rule cannot be checked on this log.
fn obstacle(rule: &Declaration, facts: &LogFacts) -> Option<String> {
    for reads in rule.reads {
        let summary = facts.log_level == Some(LogLevel::Summary);
        if summary && reads.table == Table::PerIterationRequests && !facts.has(reads.table) {
            return Some(format!("log level summary has no {}", reads.table));
        }
        if !facts.has(reads.table) {
            return Some(format!("{} is not there or cannot be read", reads.table));
        }
        if let Some(column) =
            reads.columns.iter().find(|column| !facts.has_column(reads.table, column))
        {
            return Some(format!("{} has no column {column}", reads.table));
        }
    }
    let unknown = rule.needs.iter().find(|setting| !facts.settings.knows(**setting))?;
    let flag = unknown.key().replace('_', "-");
    Some(format!("{unknown} is not known: give --{flag}, or config.{unknown} in run.json"))
}

/// One pass over one log.
pub(super) struct Run {
    pub(super) gather: Gather,
    facts: LogFacts,
    rules: Rules,
    previous: Option<Located<IterationRow>>,
    previous_group: Option<IterationId>,
    events: Vec<Located<EventRow>>,
    every: Vec<Located<EventRow>>,
    over: Vec<RequestKey>,
    ends: Option<Ends>,
    /// Whether a second run was appended, of which run.json tells.
    is_first: bool,
}

impl Run {
    /// Opens the files and chooses the rules that can be checked.
    pub(super) fn start(
        dir: &LogDir,
        options: &CheckOptions,
        rules: &[&'static Declaration],
        found: Found,
    ) -> Result<Self, CheckError> {
        let runs = found.runs;
        let mut facts = first_facts(dir, options, found)?;
        let gather = Gather::open(dir, &mut facts, options.every_row, &runs)?;
        let events_end = runs.cuts[Table::Events as usize];
        let ends = Ends::open(dir, &facts.dialect, events_end)?;
        let rules = select(rules, &facts);
        Ok(Self {
            gather,
            facts,
            rules,
            previous: None,
            previous_group: None,
            events: Vec::new(),
            every: Vec::new(),
            over: Vec::new(),
            ends,
            is_first: runs.is_second,
        })
    }

    /// What the rules that are checked have found so far.
    pub(super) fn tallies(&self) -> impl Iterator<Item = (&'static Declaration, &Tally)> {
        self.rules.active.iter().map(|active| (active.rule, &active.tally))
    }

    fn missing_files(&mut self, dir: &LogDir) {
        for table in Table::ALL {
            let expected = match table {
                Table::PerIterationRequests => self.facts.log_level != Some(LogLevel::Summary),
                // Many loggers of this family do not write it; the reference logger always does.
                Table::StateTransitions => dir.is_of_reference_logger(),
                _ => true,
            };
            let kind = match dir.file(table) {
                None if dir.is_no_file(table) => FormKind::NoFile,
                None => match (dir.spoiled(table), expected) {
                    (Some((_, what)), _) => FormKind::Spoiled(what.to_owned()),
                    (None, true) => FormKind::MissingFile { instead: dir.instead_of(table) },
                    (None, false) => continue,
                },
                Some(_) => continue,
            };
            self.gather.shared.problems.push(FormProblem::of_file(table, kind));
        }
    }

    fn all_steps(&mut self) {
        while let Some((id, has_row)) = self.gather.next_step() {
            self.step(id, has_row, None);
        }
    }

    pub(super) fn step(
        &mut self,
        id: IterationId,
        has_row: bool,
        observer: Option<&mut dyn Observer>,
    ) {
        let gather = &mut self.gather;
        let iteration = if has_row { gather.iterations.pop(&mut gather.shared) } else { None };
        let mut moments = iteration.map(|row| Moments::of(&row.row, &self.facts.dialect));
        if let (Some(ends), Some(known)) = (&mut self.ends, &mut moments) {
            let next = gather.iterations.peek(0).map(|next| &next.row);
            let slack = self.facts.skew.unwrap_or_default();
            *known = ends.refine(*known, next, self.facts.overlapping, &self.facts.dialect, slack);
        }
        gather.begin(id, moments);
        let decided = moments.map(|moments| moments.decided);
        self.facts.last_decided = self.facts.last_decided.max(decided);
        gather.read_group(id, moments);
        let horizon = moments.map(|moments| moments.end);
        let events_until = horizon.map(|end| gather.with_skew(end, &self.facts));
        let decided = moments.map(|step| gather.decided(step, &self.facts));
        let outputs_until = horizon.and_then(|end| gather.outputs_until(end, &self.facts));
        let Self { events, every, .. } = self;
        gather.read_events(id, events_until, decided, outputs_until, events, every);
        gather.read_requests(horizon, &self.facts);
        if let Some(row) = &iteration {
            gather.end.last_iteration = Some(id);
            gather.end.last_iteration_at = Some(row.at());
            gather.end.last_end_time = gather.end.last_end_time.max(horizon);
        }
        self.facts.last_step = moments.or(self.facts.last_step);
        self.note_ends();
        self.show_problems();
        let row = iteration.as_ref().map(|step| &step.row);
        let damaged = self.gather.step_is_damaged(id) | self.rows_end_early(row, moments);
        self.show_events();
        let gather = &self.gather;
        let view = IterationView {
            id,
            iteration: iteration.as_ref(),
            moments,
            previous: self.previous.as_ref(),
            previous_group: self.previous_group,
            rows: Rows::of(&gather.groups),
            events: &self.events,
            damaged,
            blurred: moments.is_some_and(|step| gather.is_blurred(step, &self.facts)),
            histories: &gather.histories,
            recent: &gather.recent,
        };
        self.rules.each(&self.facts, &gather.shared.ids, |rule, cx| rule.iteration(&view, cx));
        if let Some(observer) = observer {
            observer.step(&view);
        }
        self.previous = iteration.or(self.previous);
        if !Rows::of(&self.gather.groups).is_empty() {
            self.previous_group = Some(id);
        }
        let mut over = std::mem::take(&mut self.over);
        self.gather.retire(&self.facts, &mut over);
        self.end_requests(&mut over);
        self.over = over;
    }

    /// Tells the facts which files have been read to their ends.
    fn note_ends(&mut self) {
        let gather = &self.gather;
        let end = &gather.end;
        let ends = [
            (Table::PerRequest, gather.requests.exhausted(), end.last_completion),
            (Table::PerIteration, gather.iterations.exhausted(), end.last_end_time),
            (Table::PerIterationRequests, gather.rows.exhausted(), end.last_group_end),
            (Table::Events, gather.events.exhausted(), end.last_event),
            (Table::StateTransitions, gather.transitions.exhausted(), end.last_end_change),
        ];
        for (table, exhausted, last) in ends {
            let facts = &mut self.facts.tables[table as usize];
            facts.exhausted = exhausted;
            facts.last_moment = last;
        }
    }

    /// Whether the rows of the steps end before they have told of this step.
    fn rows_end_early(&mut self, step: Option<&IterationRow>, moments: Option<Moments>) -> bool {
        let (Some(step), Some(moments)) = (step, moments) else { return false };
        let ended = self.gather.rows.exhausted() && self.facts.has(Table::PerIterationRequests);
        if !ended {
            return false;
        }
        let gather = &mut self.gather;
        gather.groups.settle(&mut gather.histories);
        let rows = Rows::of(&gather.groups);
        let early = RowsCut { step, moments, rows, facts: &self.facts }.is_here(&gather.histories);
        self.facts.rows_end_early |= early;
        if early {
            // Only what was before this step is told in full.
            let end = &mut self.gather.end.last_group_end;
            *end = (*end).min(Some(step.start_time));
        }
        early
    }

    fn show_problems(&mut self) {
        if self.gather.shared.problems.is_empty() {
            return;
        }
        let problems = self.gather.take_problems(&mut self.facts);
        let ids = &self.gather.shared.ids;
        for problem in &problems {
            self.rules.each(&self.facts, ids, |rule, cx| rule.form(problem, cx));
        }
    }

    fn show_events(&mut self) {
        let (every, ids) = (&self.every, &self.gather.shared.ids);
        if !every.is_empty() {
            self.rules.each(&self.facts, ids, |rule, cx| rule.events(every, cx));
            self.every.clear();
        }
    }

    /// Shows requests that are over to the rules and forgets them.
    fn end_requests(&mut self, over: &mut Vec<RequestKey>) {
        for key in over.drain(..) {
            if let Some(history) = self.gather.take_history(key) {
                let ids = &self.gather.shared.ids;
                self.rules.each(&self.facts, ids, |rule, cx| rule.request(&history, cx));
            }
            if !self.gather.shared.pinned(key) {
                self.gather.groups.release(key, self.gather.shared.ids.id(key));
                self.gather.shared.ids.release(key);
            }
        }
    }

    /// What is left when no step is: requests still alive, files longer than the others.
    fn rest(&mut self, dir: &LogDir) -> Result<(), CheckError> {
        loop {
            self.gather.rest_of_events(&mut self.every);
            if self.every.is_empty() {
                break;
            }
            self.show_events();
        }
        while self.gather.read_transition() {}
        while self.gather.read_request(&self.facts) {}
        self.note_ends();
        self.show_problems();
        let mut keys = self.gather.histories.keys();
        self.note_cut_off(&keys);
        self.end_requests(&mut keys);
        let repeats = std::mem::replace(&mut self.gather.repeats, super::repeats::Repeats::new(0));
        self.gather.shared.problems = repeats.confirm(dir)?;
        self.show_problems();
        self.count_rows();
        let (end, ids) = (&self.gather.end, &self.gather.shared.ids);
        self.rules.each(&self.facts, ids, |rule, cx| rule.finish(end, cx));
        Ok(())
    }

    /// A log that was not shut down has no rows of the requests that were alive.
    fn note_cut_off(&mut self, keys: &[RequestKey]) {
        let gather = &mut self.gather;
        let arrivals_told = self.facts.complete(Table::Events);
        let alive = |key: &RequestKey| {
            gather.histories.get(*key).is_some_and(|history| {
                // A single event of a request that came from nowhere shows nobody alive.
                let shown = history.last().is_some() || !history.transitions.is_empty();
                let arrived = history.event(EventType::RequestArrived).is_some();
                let known = shown || arrived || !arrivals_told && !history.events.is_empty();
                let over = history.record.is_some() || history.completion().is_some();
                known && !over && !history.has_vanished(&self.facts)
            })
        };
        let cut_off: Vec<_> = keys.iter().copied().filter(alive).collect();
        self.facts.killed = self.facts.complete(Table::PerRequest)
            && gather.end.unfinished == 0
            && !cut_off.is_empty();
        gather.end.cut_off = cut_off.len() as u64;
    }

    fn count_rows(&mut self) {
        let gather = &self.gather;
        let rows = [
            gather.requests.rows(),
            gather.iterations.rows(),
            gather.rows.rows(),
            gather.events.rows(),
            gather.transitions.rows(),
        ];
        for (facts, rows) in self.facts.tables.iter_mut().zip(rows) {
            facts.rows = rows;
        }
    }

    fn into_report(mut self, dir: &LogDir) -> CheckReport {
        let told = |active: &mut Active| std::mem::take(&mut active.tally.notes);
        let told: Vec<_> = self.rules.active.iter_mut().flat_map(told).collect();
        let mut rules: Vec<RuleOutcome> = self
            .rules
            .active
            .into_iter()
            .map(|active| RuleOutcome::new(active.rule, active.tally))
            .chain(
                self.rules
                    .skipped
                    .into_iter()
                    .map(|(rule, reason)| RuleOutcome::skipped(rule, reason)),
            )
            .collect();
        let position = |rule: &RuleOutcome| {
            crate::invariants::ALL.iter().position(|other| other.id == rule.rule.id)
        };
        rules.sort_by_key(position);
        let summary = |table: Table| TableSummary {
            table,
            file: dir.file(table).or(dir.spoiled(table).map(|(file, _)| file)).map(TableFile::name),
            rows: self.facts.table(table).rows,
        };
        let tables = Table::ALL.map(summary).into();
        let mut notes = Vec::new();
        if let Some(error) = &dir.run_info_error {
            notes.push(format!("run.json is there but was not read: {error}"));
        }
        if self.is_first && dir.run_info.is_some() {
            let what = "run.json may be of the second run: its settings were not used; give those of \
                        the first one as flags to check it against them";
            notes.push(what.to_owned());
        }
        if !self.facts.has(Table::PerIteration) {
            let what = "without per_iteration.csv nothing says when a request is over: all requests \
                        were kept in memory to the end of the log";
            notes.push(what.to_owned());
        }
        notes.extend(told);
        CheckReport {
            directory: dir.path.clone(),
            producer: dir.run_info.as_ref().map(|info| info.producer.clone()),
            overlapping: overlap(run_info(dir, self.is_first), &self.facts.dialect) == Some(true),
            dialect: self.facts.dialect,
            settings: self.facts.settings,
            tables,
            notes,
            begins_late: false,
            rules,
        }
    }
}
