//! A log of any length as a picture of bounded size.

mod bins;
mod choice;
mod lives;
mod steps;
mod tracks;

use std::collections::{BTreeMap, BTreeSet};

pub use bins::Distribution;
pub use choice::{Chosen, RequestFigures};
pub use lives::{Band, PHASES, Phase, Phases, Span};
pub use tracks::{METRICS, Metric, Point, Stat, Tracks};

use crate::log::reader::{LogDir, LogDirError};
use crate::units::{IterationId, Nanos};

/// What a picture should keep.
#[derive(Clone, Debug)]
pub struct PictureOptions {
    /// Points in time that are told apart; a picture has at most twice as many.
    pub points: usize,
    /// Requests that are shown one by one.
    pub requests: usize,
    /// Requests that must be among them, by id.
    pub wanted_requests: BTreeSet<String>,
    /// Steps whose moments are needed.
    pub wanted_steps: BTreeSet<IterationId>,
}

impl Default for PictureOptions {
    fn default() -> Self {
        Self {
            points: 2_048,
            requests: 0,
            wanted_requests: BTreeSet::new(),
            wanted_steps: BTreeSet::new(),
        }
    }
}

/// What is shown of a log.
#[derive(Debug, Default)]
pub struct Picture {
    /// Rows of per_request.csv.
    pub requests: u64,
    /// Of those, the finished ones.
    pub finished: u64,
    /// Generated tokens of all requests.
    pub output_tokens: u64,
    /// Prompt tokens of all requests.
    pub input_tokens: u64,
    /// Rows of per_iteration.csv.
    pub steps: u64,
    /// Preemptions, by per_iteration.csv.
    pub preemptions: u64,
    /// The latest moment that the log tells of.
    pub end: Nanos,
    /// Time to first token of the requests that finished; so the next two.
    pub ttft: Distribution,
    /// Time per output token, in nanoseconds.
    pub tpot: Distribution,
    /// End-to-end latency.
    pub e2e: Distribution,
    /// Time in `waiting` and `preempted`.
    pub waiting: Distribution,
    /// What the steps tell, over time.
    pub tracks: Tracks,
    /// The most KV cache blocks that a step could use.
    pub kv_total: u64,
    /// Where the time of requests goes, by how long they took.
    pub bands: Vec<Band>,
    /// The requests that are shown one by one.
    pub chosen: Chosen,
    /// When the wanted steps began.
    pub step_moments: BTreeMap<IterationId, Nanos>,
}

/// Reads a log.
///
/// # Errors
/// If a file of it cannot be opened. What cannot be read in the files is passed over: the check says
/// what is wrong with them.
pub fn picture(dir: &LogDir, options: &PictureOptions) -> Result<Picture, LogDirError> {
    let mut picture = Picture { tracks: Tracks::new(options.points), ..Picture::default() };
    choice::read(dir, options, &mut picture)?;
    lives::read(dir, options, &mut picture)?;
    steps::read(dir, options, &mut picture)?;
    for life in &mut picture.chosen.requests {
        life.finish(picture.end);
    }
    Ok(picture)
}
