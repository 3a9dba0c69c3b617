//! The steps: per_iteration.csv beside per_iteration_requests.csv, in one pass.

use crate::log::ids::{IdTable, RequestKey};
use crate::log::reader::{Input, Item, LogDir, LogDirError, TableReader};
use crate::log::schema::{IterationRequestRow, IterationRow};
use crate::log::values::{State, WaitingReason};
use crate::units::{IterationId, Nanos};
use crate::view::collect::choice::RequestFigures;
use crate::view::collect::tracks::{METRICS, Metric};
use crate::view::collect::{Picture, PictureOptions};

/// Changes of the reason of one request that are kept.
const REASONS_KEPT: usize = 400;

/// A moment from which a request waits for this reason.
type Change = (Nanos, Option<WaitingReason>);

/// A step whose end is not known yet: it lasts until the next one decides.
struct Pending {
    decided: u64,
    start: u64,
    end: u64,
    values: [f64; METRICS],
}

struct Groups {
    reader: Option<TableReader<IterationRequestRow, Input>>,
    ids: IdTable,
    ahead: Option<IterationRequestRow>,
    chosen: usize,
    reasons: Vec<Vec<Change>>,
    here: Vec<RequestKey>,
    before: Vec<RequestKey>,
    seen: Vec<u64>,
    groups: u64,
}

pub(super) fn read(
    dir: &LogDir,
    options: &PictureOptions,
    picture: &mut Picture,
) -> Result<(), LogDirError> {
    let Some(mut reader) = dir.reader::<IterationRow>()? else { return Ok(()) };
    let mut groups = Groups::open(dir, &picture.chosen.requests)?;
    let mut nobody = IdTable::default();
    let mut pending: Option<Pending> = None;
    while let Some(item) = reader.next(&mut nobody) {
        let Item::Row(row) = item else { continue };
        let step = note(&row.row, options, picture);
        let mut values = step.values;
        groups.read(row.row.iteration_id, Nanos(step.decided), &mut values);
        if let Some(before) = pending.take() {
            push(before, Some((step.start, step.decided)), picture);
        }
        pending = Some(Pending { values, ..step });
    }
    if let Some(last) = pending {
        push(last, None, picture);
    }
    for (request, reasons) in picture.chosen.requests.iter_mut().zip(groups.reasons) {
        explain(request, &reasons);
    }
    Ok(())
}

fn note(row: &IterationRow, options: &PictureOptions, picture: &mut Picture) -> Pending {
    picture.steps += 1;
    picture.preemptions += u64::from(row.preempted_count.0);
    picture.kv_total = picture.kv_total.max(u64::from(row.kv_cache_total.0));
    picture.end = picture.end.max(row.end_time);
    if options.wanted_steps.contains(&row.iteration_id) {
        picture.step_moments.insert(row.iteration_id, row.start_time);
    }
    let mut values = [0.0; METRICS];
    let mut set = |metric: Metric, value: f64| values[metric as usize] = value;
    set(Metric::Batch, f64::from(row.batch_size.0));
    set(Metric::Tokens, f64::from(row.total_tokens.0));
    set(Metric::Prefill, f64::from(row.prefill_tokens.0));
    set(Metric::Decode, f64::from(row.decode_tokens.0));
    set(Metric::KvUsed, f64::from(row.kv_cache_used.0));
    set(Metric::Running, f64::from(row.running_count.0));
    set(Metric::Waiting, f64::from(row.waiting_count.0));
    set(Metric::Preempted, f64::from(row.preempted_count.0));
    set(Metric::Duration, row.duration.0 as f64);
    let decided = row.start_time.saturating_add(row.scheduling_overhead);
    Pending { decided: decided.0, start: row.start_time.0, end: row.end_time.0, values }
}

/// Books a step until the next one decides, or until its end where nothing follows soon.
fn push(step: Pending, next: Option<(u64, u64)>, picture: &mut Picture) {
    let end = step.end.max(step.decided);
    // A log that runs backwards is drawn as far as it goes forwards.
    let from = picture.tracks.points().last().map_or(step.decided, |last| last.end);
    let from = from.max(step.decided.min(end));
    let Some((start, decided)) = next else {
        picture.tracks.push(from, end.max(from), &step.values);
        return;
    };
    let asleep = start.saturating_sub(end) > (end - step.start.min(end)).max(1_000_000);
    let decided = decided.max(from);
    if asleep {
        let end = end.max(from);
        picture.tracks.push(from, end, &step.values);
        picture.tracks.pause(end, decided.max(end));
    } else {
        picture.tracks.push(from, decided, &step.values);
    }
}

impl Groups {
    fn open(dir: &LogDir, chosen: &[RequestFigures]) -> Result<Self, LogDirError> {
        let mut ids = IdTable::default();
        for request in chosen {
            ids.intern(&request.id);
        }
        let mut groups = Self {
            reader: dir.reader::<IterationRequestRow>()?,
            ids,
            ahead: None,
            chosen: chosen.len(),
            reasons: vec![Vec::new(); chosen.len()],
            here: Vec::new(),
            before: Vec::new(),
            seen: Vec::new(),
            groups: 0,
        };
        groups.advance();
        Ok(groups)
    }

    fn advance(&mut self) {
        self.ahead = None;
        let Some(reader) = &mut self.reader else { return };
        while let Some(item) = reader.next(&mut self.ids) {
            if let Item::Row(row) = item {
                self.ahead = Some(row.row);
                return;
            }
        }
    }

    /// Reads the rows of a step and counts what kept requests out of it.
    fn read(&mut self, id: IterationId, decided: Nanos, values: &mut [f64; METRICS]) {
        self.groups += 1;
        while let Some(row) = self.ahead.filter(|row| row.iteration_id <= id) {
            let key = row.request_id;
            if row.iteration_id == id {
                let waits = matches!(row.state, State::Waiting | State::Preempted);
                if let Some(reason) = row.waiting_reason.filter(|_| waits) {
                    values[Metric::reason(reason)] += 1.0;
                }
                if key.index() < self.chosen {
                    self.change(key, decided, row.waiting_reason.filter(|_| waits));
                }
            }
            if self.seen.len() <= key.index() {
                self.seen.resize(key.index() + 1, 0);
            }
            if self.seen[key.index()] != self.groups {
                self.seen[key.index()] = self.groups;
                self.here.push(key);
            }
            self.advance();
        }
        self.forget_absent();
    }

    fn change(&mut self, key: RequestKey, at: Nanos, reason: Option<WaitingReason>) {
        let changes = &mut self.reasons[key.index()];
        let last = changes.last().and_then(|(_, reason)| *reason);
        if last != reason && changes.len() < REASONS_KEPT {
            changes.push((at, reason));
        }
    }

    /// Lets go of ids that this step has no row of; should they come back, they come as new ones.
    fn forget_absent(&mut self) {
        let ahead = self.ahead.map(|row| row.request_id);
        for key in self.before.drain(..) {
            let gone = self.seen[key.index()] != self.groups && Some(key) != ahead;
            if gone && key.index() >= self.chosen {
                self.ids.release(key);
            }
        }
        std::mem::swap(&mut self.before, &mut self.here);
    }
}

/// Cuts the waiting spans of a request where its reason changes.
fn explain(request: &mut RequestFigures, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    let mut spans = Vec::with_capacity(request.spans.len() + changes.len());
    for span in &request.spans {
        if span.state == State::Running {
            spans.push(*span);
            continue;
        }
        let mut rest = *span;
        let inside = |at: Nanos| at >= span.start && span.end.is_none_or(|end| at < end);
        // A step decides at the very moment at which a preempted request begins to wait.
        for (at, reason) in changes.iter().filter(|(at, reason)| inside(*at) && reason.is_some()) {
            if *at > rest.start && rest.reason != *reason {
                if rest.reason.is_some() {
                    spans.push(crate::view::collect::Span { end: Some(*at), ..rest });
                    rest.start = *at;
                }
                rest.reason = *reason;
            } else {
                rest.reason = *reason;
            }
        }
        spans.push(rest);
    }
    request.spans = spans;
}
