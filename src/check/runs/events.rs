//! The joint of events.csv, and what the first run tells of its requests.

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;

use crate::check::runs::joint::joint;
use crate::log::dialect::DEFAULT_SKEW_BOUND;
use crate::log::ids::Ids;
use crate::log::reader::{Location, LogDir, LogDirError};
use crate::log::schema::EventRow;
use crate::log::values::EventType;
use crate::units::Nanos;

/// Decisions that show which run a file is of.
const SEVERAL: usize = 16;

/// What is told of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Life {
    arrived: bool,
    scheduled: bool,
    end: Option<Nanos>,
}

/// What events.csv tells of the first run.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Where the second run begins.
    pub(super) joint: Option<Location>,
    /// Whether the rows before the joint are those of the first run.
    pub(super) is_sure: bool,
    /// Whether the joint alone shows that there is a second run.
    pub(super) is_certain: bool,
    /// The first decisions.
    pub(super) decided: Vec<Nanos>,
    /// How much an end in another file may differ.
    pub(super) slack: Nanos,
    /// The requests; none if the file cannot be read.
    lives: Option<HashMap<String, Life, FxBuildHasher>>,
}

impl Told {
    /// What a file tells that has nothing of the first run.
    pub(super) fn nothing(joint: Option<Location>) -> Self {
        let lives = joint.map(|_| HashMap::default());
        Self { joint, is_sure: true, lives, ..Self::default() }
    }

    /// Whether requests are told of at all.
    pub(super) const fn tells(&self) -> bool {
        self.lives.is_some()
    }

    /// Whether a request is one of the first run, if that can be told.
    pub(super) fn knows(&self, id: &str) -> Option<bool> {
        Some(self.lives.as_ref()?.contains_key(id))
    }

    /// Whether a request ran in the first run.
    pub(super) fn ran(&self, id: &str) -> bool {
        self.lives.as_ref().and_then(|lives| lives.get(id)).is_some_and(|life| life.scheduled)
    }

    /// Whether a request had this end, or none, in the first run, if that can be told.
    pub(super) fn fits(&self, id: &str, end: Option<Nanos>) -> Option<bool> {
        let lives = self.lives.as_ref()?;
        Some(match (lives.get(id).map(|life| life.end), end) {
            (Some(Some(told)), Some(end)) => told.0.abs_diff(end.0) <= self.slack.0,
            (Some(None), None) => true,
            _ => false,
        })
    }
}

/// Whether a request arrives that has arrived before, behind something else.
pub(super) fn arrive_again(dir: &LogDir) -> Result<bool, LogDirError> {
    let mut arrived: HashSet<String, FxBuildHasher> = HashSet::default();
    let mut last = None;
    let found = joint::<EventRow>(dir, |event, place, ids| {
        let arrives = event.row.event_type == EventType::RequestArrived;
        let key = event.row.request_id.filter(|_| arrives)?;
        // A row that stands twice is no other arrival.
        let copies = last.replace(event.row.timestamp) == Some(event.row.timestamp);
        let again = !arrived.insert(ids.id(key).to_owned());
        (again && !copies).then_some(place.at)
    })?;
    Ok(found.is_some())
}

/// Reads the events up to the joint, given the end of the first run if the clock went on behind it.
///
/// A run begins with an arrival: on a clock that starts again, or later than the end of the first run,
/// or of a request that has arrived. The arrival may be lost in a row that was torn, which may read as
/// an arrival in the far future.
pub(super) fn read(dir: &LogDir, end: Option<Nanos>) -> Result<Told, LogDirError> {
    let mut told = Told { slack: DEFAULT_SKEW_BOUND, ..Told::default() };
    let mut lives: HashMap<String, Life, FxBuildHasher> = HashMap::default();
    let (mut last, mut before_last): (Option<(Nanos, bool, Location)>, Option<Nanos>) =
        (None, None);
    let mut by_row = false;
    let found = joint::<EventRow>(dir, |event, place, ids| {
        let now = event.row.timestamp;
        let arrives = event.row.event_type == EventType::RequestArrived;
        let later = end.is_some_and(|end| now > end);
        let back = last.is_some_and(|(last, ..)| now < last);
        // An arrival later than its neighbours, of which the one behind starts again.
        let joined = last.filter(|(_, arrives, _)| *arrives && back && Some(now) < before_last);
        let id = event.row.request_id.map(|key| ids.id(key).to_owned());
        let life = id.map(|id| lives.entry(id).or_default());
        let again = arrives && life.as_ref().is_some_and(|life| life.arrived);
        if (back || later) && (arrives || place.torn) || again || joined.is_some() {
            told.is_sure = back || later;
            told.is_certain = back && again;
            by_row = true;
            return Some(joined.map_or(place.at, |(_, _, at)| at));
        }
        if let Some(life) = life {
            life.arrived |= arrives;
            life.scheduled |= event.row.event_type == EventType::RequestScheduled;
            if event.row.event_type == EventType::RequestCompleted {
                life.end = life.end.or(Some(now));
            }
        }
        if event.row.event_type == EventType::RequestScheduled && told.decided.len() < SEVERAL {
            told.decided.push(now);
        }
        before_last = last.map(|(last, ..)| last);
        last = Some((now, arrives, place.at));
        None
    })?;
    if found.is_some() && !by_row {
        // A second header.
        (told.is_sure, told.is_certain) = (true, true);
    }
    told.joint = found;
    let readable = dir.reader::<EventRow>()?.is_some_and(|reader| reader.header().usable);
    told.lives = readable.then_some(lives);
    Ok(told)
}
