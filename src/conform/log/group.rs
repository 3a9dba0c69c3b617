//! One step of a log, with the rows of its queues and of the requests that it finished.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::log::ids::RequestKey;
use crate::log::moments::Moments;
use crate::log::reader::{Located, Location};
use crate::log::schema::{IterationRequestRow, IterationRow};
use crate::log::values::State;
use crate::units::{Blocks, IterationId, Tokens};

/// A request that a step's output finished, by its `completed` row or, in a dialect without those, by
/// its event and its row of per_request.csv.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completed {
    pub(super) key: RequestKey,
    /// Its output tokens, where the log tells.
    pub(super) tokens: Option<Tokens>,
    /// The blocks that it held, where the log tells.
    pub(super) blocks: Option<Blocks>,
    pub(super) at: Location,
}

impl From<&Located<IterationRequestRow>> for Completed {
    fn from(row: &Located<IterationRequestRow>) -> Self {
        Self {
            key: row.row.request_id,
            tokens: Some(row.row.tokens_generated),
            blocks: Some(row.row.kv_cache_blocks),
            at: row.at(),
        }
    }
}

/// One step of the log.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) step: Located<IterationRow>,
    pub(super) moments: Moments,
    /// The queues at `D`.
    pub(super) queued: Vec<Located<IterationRequestRow>>,
    /// The requests that its output finished.
    pub(super) completed: Vec<Completed>,
    /// Where the requests of `queued` stand in it.
    index: HashMap<RequestKey, usize, FxBuildHasher>,
    /// Whether a row in or before it could not be read, or a step is missing.
    pub(super) damaged: bool,
    /// Whether the rows end before they have told of all of it.
    pub(super) cut: bool,
    /// Whether `completed` is known to be whole.
    pub(super) ends_told: bool,
}

impl Group {
    /// A step of which only the row of per_iteration.csv was read.
    pub(super) fn new(step: Located<IterationRow>, moments: Moments) -> Self {
        Self {
            step,
            moments,
            queued: Vec::with_capacity(step.row.running_count.0.min(1 << 16) as usize),
            completed: Vec::new(),
            index: HashMap::default(),
            damaged: false,
            cut: false,
            ends_told: true,
        }
    }

    /// Takes in a row of per_iteration_requests.csv.
    pub(super) fn push(&mut self, row: Located<IterationRequestRow>) {
        if row.row.state == State::Completed {
            self.completed.push(Completed::from(&row));
            return;
        }
        let at = self.queued.len();
        self.damaged |= self.index.insert(row.row.request_id, at).is_some();
        self.queued.push(row);
    }

    pub(super) fn id(&self) -> IterationId {
        self.step.row.iteration_id
    }

    /// How many requests are in the queues, those without a row included.
    pub(super) fn alive(&self) -> usize {
        self.step.row.running_count.0 as usize + self.step.row.waiting_count.0 as usize
    }

    /// Requests with at least one token.
    pub(super) fn batch_size(&self) -> u32 {
        let scheduled = |row: &&Located<IterationRequestRow>| {
            row.row.scheduled_tokens.is_some_and(|tokens| tokens > Tokens::ZERO)
        };
        self.running().filter(scheduled).count() as u32
    }

    /// A request's place in the queues.
    pub(super) fn position(&self, key: RequestKey) -> Option<usize> {
        self.index.get(&key).copied()
    }

    /// A request's row in the queues.
    pub(super) fn queued_row(&self, key: RequestKey) -> Option<&Located<IterationRequestRow>> {
        self.position(key).map(|at| &self.queued[at])
    }

    /// A request's end if the output finished it.
    pub(super) fn completed_by(&self, key: RequestKey) -> Option<&Completed> {
        self.completed.iter().find(|done| done.key == key)
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Located<IterationRequestRow>> {
        self.queued.iter().filter(|row| row.row.state == State::Running)
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &Located<IterationRequestRow>> {
        self.queued.iter().filter(|row| row.row.state != State::Running)
    }
}
