//! The lives of the requests, from events.csv: who was in which state when, and where time went.
//!
//! A log without events is read from state_transitions.csv instead.

use crate::log::ids::{IdTable, Ids, RequestKey};
use crate::log::reader::{Item, LogDir, LogDirError};
use crate::log::schema::{EventRow, Table, TransitionRow};
use crate::log::values::{EventType, FinishReason, State, WaitingReason};
use crate::units::Nanos;
use crate::view::collect::choice::{RequestFigures, finished};
use crate::view::collect::{Picture, PictureOptions};

/// Spans of one request that are kept.
const SPANS_KEPT: usize = 400;
/// Requests alive at the end of a log without their rows that are shown one by one.
const ALIVE_SHOWN: usize = 1_000;

/// A time in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The state.
    pub state: State,
    /// When it was entered.
    pub start: Nanos,
    /// When it was left; open while the log is read.
    pub end: Option<Nanos>,
    /// Why it waited, where it did and the log says so.
    pub reason: Option<WaitingReason>,
}

/// Where the time of a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before it was first scheduled.
    Queueing,
    /// Running, before its first token.
    Prefill,
    /// Running, after its first token (recomputation after a preemption included).
    Decode,
    /// Preempted, waiting to be resumed.
    Preempted,
}

/// Every phase with its name.
pub const PHASES: [(Phase, &str); 4] = [
    (Phase::Queueing, "queueing"),
    (Phase::Prefill, "prefill"),
    (Phase::Decode, "decode"),
    (Phase::Preempted, "preempted"),
];

/// Nanoseconds per phase.
pub type Phases = [f64; PHASES.len()];

/// Requests of similar latency.
#[derive(Clone, Debug, Default)]
pub struct Band {
    /// Which ones.
    pub name: &'static str,
    /// How many.
    pub requests: u64,
    /// Their time, by phase.
    pub phases: Phases,
    below: Option<f64>,
}

/// One live request.
#[derive(Debug, Default)]
struct Life {
    arrival: Option<Nanos>,
    state: Option<State>,
    since: Nanos,
    first_token: Option<Nanos>,
    phases: Phases,
    spans: Vec<Span>,
    input_tokens: u32,
    preemptions: u32,
}

impl Life {
    fn enter(&mut self, state: State, at: Nanos) {
        if self.state == Some(state) {
            return;
        }
        self.account(at);
        self.since = at;
        self.state = Some(state);
        self.preemptions += u32::from(state == State::Preempted);
        if let Some(last) = self.spans.last_mut() {
            last.end = last.end.or(Some(at.max(last.start)));
        }
        if state != State::Completed && self.spans.len() < SPANS_KEPT {
            self.spans.push(Span { state, start: at, end: None, reason: None });
        }
    }

    fn account(&mut self, at: Nanos) {
        let lasted = at.saturating_sub(self.since);
        match self.state {
            Some(State::Waiting) => self.phases[Phase::Queueing as usize] += lasted.0 as f64,
            Some(State::Preempted) => self.phases[Phase::Preempted as usize] += lasted.0 as f64,
            Some(State::Running) => {
                let first = self.first_token.unwrap_or(at).clamp(self.since, at.max(self.since));
                let prefill = first - self.since;
                self.phases[Phase::Prefill as usize] += prefill.0 as f64;
                self.phases[Phase::Decode as usize] += lasted.saturating_sub(prefill).0 as f64;
            }
            Some(State::Completed) | None => {}
        }
    }
}

struct Lives<'a> {
    ids: IdTable,
    slots: Vec<Option<Box<Life>>>,
    chosen: usize,
    picture: &'a mut Picture,
}

pub(super) fn read(
    dir: &LogDir,
    options: &PictureOptions,
    picture: &mut Picture,
) -> Result<(), LogDirError> {
    picture.bands = bands(picture);
    let mut ids = IdTable::default();
    picture.chosen.requests.retain(|request| {
        let new = ids.get(&request.id).is_none();
        ids.intern(&request.id);
        new
    });
    let chosen = picture.chosen.requests.len();
    let mut lives = Lives { ids, slots: Vec::new(), chosen, picture };
    for index in 0..chosen {
        let arrival = lives.picture.chosen.requests[index].arrival;
        lives.arrive(RequestKey(index as u32), arrival);
    }
    if dir.file(Table::Events).is_some() {
        lives.read_events(dir)?;
    } else {
        lives.read_transitions(dir)?;
    }
    lives.rest(options);
    Ok(())
}

fn bands(picture: &Picture) -> Vec<Band> {
    let band = |name, q: Option<f64>| Band {
        name,
        below: q.and_then(|q| picture.e2e.quantile(q)),
        ..Band::default()
    };
    let mut bands = vec![band("all finished", None)];
    // A band is shown where it has some requests.
    let parts: &[(&str, f64)] = match picture.e2e.count() {
        0..4 => &[],
        4..20 => &[("fastest half", 0.5), ("slowest half", 1.0)],
        20..1000 => &[("fastest half", 0.5), ("50 to 90 %", 0.9), ("slowest 10 %", 1.0)],
        _ => &[
            ("fastest half", 0.5),
            ("50 to 90 %", 0.9),
            ("90 to 99 %", 0.99),
            ("slowest 1 %", 1.0),
        ],
    };
    bands.extend(parts.iter().map(|(name, q)| band(name, Some(*q))));
    bands
}

impl Lives<'_> {
    fn life(&mut self, key: RequestKey) -> &mut Life {
        if self.slots.len() <= key.index() {
            self.slots.resize_with(key.index() + 1, || None);
        }
        self.slots[key.index()].get_or_insert_default()
    }

    fn arrive(&mut self, key: RequestKey, at: Nanos) {
        let life = self.life(key);
        if life.arrival.is_none() {
            life.arrival = Some(at);
            life.enter(State::Waiting, at);
        }
    }

    fn read_events(&mut self, dir: &LogDir) -> Result<(), LogDirError> {
        let Some(mut reader) = dir.reader::<EventRow>()? else { return Ok(()) };
        while let Some(item) = reader.next(&mut self.ids) {
            let Item::Row(row) = item else { continue };
            let Some(key) = row.row.request_id else { continue };
            let at = row.row.timestamp;
            self.picture.end = self.picture.end.max(at);
            use EventType as T;
            match row.row.event_type {
                T::RequestArrived => {
                    self.arrive(key, at);
                    self.life(key).input_tokens =
                        row.row.details.input_tokens.unwrap_or_default().0;
                }
                T::RequestScheduled | T::RequestResumed => {
                    self.life(key).enter(State::Running, at);
                }
                T::RequestPreempted => self.life(key).enter(State::Preempted, at),
                T::FirstTokenGenerated => {
                    let life = self.life(key);
                    life.first_token = life.first_token.or(Some(at));
                }
                T::RequestCompleted => self.complete(key, at, row.row.details.finish_reason),
                _ => self.forget_stranger(key),
            }
        }
        Ok(())
    }

    fn read_transitions(&mut self, dir: &LogDir) -> Result<(), LogDirError> {
        let Some(mut reader) = dir.reader::<TransitionRow>()? else { return Ok(()) };
        while let Some(item) = reader.next(&mut self.ids) {
            let Item::Row(row) = item else { continue };
            let (key, at) = (row.row.request_id, row.row.timestamp);
            self.picture.end = self.picture.end.max(at);
            self.arrive(key, at.saturating_sub(row.row.duration_in_prev_state));
            match row.row.state {
                // This file does not tell why.
                State::Completed => self.complete(key, at, None),
                state => self.life(key).enter(state, at),
            }
        }
        Ok(())
    }

    /// Blocks may be freed behind the end of a request, whose id is then new again.
    fn forget_stranger(&mut self, key: RequestKey) {
        let known = self.slots.get(key.index()).is_some_and(Option::is_some);
        if !known && key.index() >= self.chosen {
            self.ids.release(key);
        }
    }

    fn complete(&mut self, key: RequestKey, at: Nanos, reason: Option<FinishReason>) {
        let chosen = key.index() < self.chosen;
        let Some(mut life) = self.slots.get_mut(key.index()).and_then(Option::take) else { return };
        life.enter(State::Completed, at);
        if finished(reason) {
            self.book(&life, at);
        }
        if chosen {
            self.show(key.index(), *life);
        } else {
            self.ids.release(key);
        }
    }

    fn book(&mut self, life: &Life, at: Nanos) {
        let e2e = life.arrival.map(|arrival| at.saturating_sub(arrival).0 as f64);
        let mut found = false;
        for (index, band) in self.picture.bands.iter_mut().enumerate() {
            let inside = match (index, band.below, e2e) {
                (0, ..) => true,
                (_, Some(below), Some(e2e)) => !found && e2e <= below,
                _ => false,
            };
            found |= inside && index > 0;
            if inside {
                band.requests += 1;
                for (sum, phase) in band.phases.iter_mut().zip(&life.phases) {
                    *sum += phase;
                }
            }
        }
    }

    fn show(&mut self, index: usize, life: Life) {
        let Some(request) = self.picture.chosen.requests.get_mut(index) else { return };
        request.spans = life.spans;
        request.first_token = life.first_token;
    }

    /// Requests that are still alive at the end.
    fn rest(&mut self, options: &PictureOptions) {
        let slots = std::mem::take(&mut self.slots);
        let rows_missing = options.requests > 0 && !self.picture.chosen.has_unfinished;
        let mut room = ALIVE_SHOWN;
        for (index, life) in slots.into_iter().enumerate() {
            let Some(life) = life else { continue };
            if index < self.chosen {
                self.show(index, *life);
            } else if rows_missing && room > 0 {
                room -= 1;
                let request = RequestFigures {
                    id: self.ids.id(RequestKey(index as u32)).to_owned(),
                    arrival: life.arrival.unwrap_or_default(),
                    input_tokens: life.input_tokens,
                    preemptions: life.preemptions,
                    ..RequestFigures::default()
                };
                self.picture.chosen.requests.push(request);
                self.show(self.picture.chosen.requests.len() - 1, *life);
            }
        }
    }
}
