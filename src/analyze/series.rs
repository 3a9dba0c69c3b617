//! Steps over time in a bounded number of buckets that keep every peak.

use serde::Serialize;

use crate::analyze::distribution::ratio;
use crate::analyze::figures::Step;
use crate::units::Nanos;

/// Quantities of a step that change over time.
pub const TRACKS: [&str; 9] = [
    "batch_size",
    "total_tokens",
    "prefill_tokens",
    "decode_tokens",
    "kv_utilisation",
    "running",
    "waiting",
    "preempted",
    "duration_ns",
];

/// The values of the [`TRACKS`] in a step.
#[must_use]
pub fn values(step: &Step) -> [f64; TRACKS.len()] {
    let row = &step.row;
    [
        f64::from(row.batch_size.0),
        f64::from(row.total_tokens.0),
        f64::from(row.prefill_tokens.0),
        f64::from(row.decode_tokens.0),
        kv_utilisation(step),
        f64::from(row.running_count.0),
        f64::from(row.waiting_count.0),
        f64::from(row.preempted_count.0),
        step.moments.end.saturating_sub(step.moments.start).0 as f64,
    ]
}

/// Blocks in use / usable blocks; 0 without a cache.
#[must_use]
pub fn kv_utilisation(step: &Step) -> f64 {
    let (used, total) = (step.row.kv_cache_used.0, step.row.kv_cache_total.0);
    ratio(f64::from(used), f64::from(total)).unwrap_or(0.0)
}

/// Steps over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Series {
    /// Steps per bucket (the last may have fewer): a power of two.
    pub steps_per_bucket: u64,
    /// The buckets, in order.
    pub buckets: Vec<Bucket>,
}

/// Consecutive steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// The first step.
    pub first_iteration: u64,
    /// How many steps.
    pub steps: u64,
    /// The first decision.
    pub from_ns: Nanos,
    /// The end of the last one's hold.
    pub to_ns: Nanos,
    /// Per track, in the order of [`TRACKS`].
    pub tracks: Vec<Track>,
}

/// One quantity in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Track {
    /// Its name.
    pub name: &'static str,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The mean over steps.
    pub row_weighted_mean: f64,
    /// The mean over the time that each value held.
    pub time_weighted_mean: f64,
}

#[derive(Clone, Debug)]
struct Cell {
    first: u64,
    steps: u64,
    from: Nanos,
    to: Nanos,
    held: f64,
    min: [f64; TRACKS.len()],
    max: [f64; TRACKS.len()],
    sum: [f64; TRACKS.len()],
    weighted: [f64; TRACKS.len()],
}

impl Cell {
    fn of(step: &Step) -> Self {
        let values = values(step);
        let held = step.hold.0 as f64;
        Self {
            first: step.row.iteration_id.0,
            steps: 1,
            from: step.moments.decided,
            to: step.moments.decided.saturating_add(step.hold),
            held,
            min: values,
            max: values,
            sum: values,
            weighted: values.map(|value| value * held),
        }
    }

    fn merge(&mut self, next: &Self) {
        self.steps += next.steps;
        self.to = self.to.max(next.to);
        self.held += next.held;
        for track in 0..TRACKS.len() {
            self.min[track] = self.min[track].min(next.min[track]);
            self.max[track] = self.max[track].max(next.max[track]);
            self.sum[track] += next.sum[track];
            self.weighted[track] += next.weighted[track];
        }
    }

    fn bucket(&self) -> Bucket {
        let track = |(index, name): (usize, &&'static str)| {
            let row = self.sum[index] / self.steps as f64;
            Track {
                name,
                min: self.min[index],
                max: self.max[index],
                row_weighted_mean: row,
                time_weighted_mean: ratio(self.weighted[index], self.held).unwrap_or(row),
            }
        };
        Bucket {
            first_iteration: self.first,
            steps: self.steps,
            from_ns: self.from,
            to_ns: self.to,
            tracks: TRACKS.iter().enumerate().map(track).collect(),
        }
    }
}

/// Gathers steps into at most a given number of buckets.
#[derive(Clone, Debug)]
pub struct SeriesBuilder {
    most: usize,
    per_bucket: u64,
    cells: Vec<Cell>,
}

impl SeriesBuilder {
    /// A series of at most `most` buckets (at least two).
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most: most.max(2), per_bucket: 1, cells: Vec::new() }
    }

    /// Adds the next step.
    pub fn step(&mut self, step: &Step) {
        let cell = Cell::of(step);
        if let Some(last) = self.cells.last_mut().filter(|last| last.steps < self.per_bucket) {
            last.merge(&cell);
            return;
        }
        if self.cells.len() == self.most {
            self.halve();
            // An odd number of buckets leaves the last one half full.
            if let Some(last) = self.cells.last_mut().filter(|last| last.steps < self.per_bucket) {
                last.merge(&cell);
                return;
            }
        }
        self.cells.push(cell);
    }

    fn halve(&mut self) {
        self.per_bucket *= 2;
        self.cells = self
            .cells
            .chunks(2)
            .filter_map(|pair| {
                let (first, rest) = pair.split_first()?;
                let mut cell = first.clone();
                rest.iter().for_each(|next| cell.merge(next));
                Some(cell)
            })
            .collect();
    }

    /// The series so far.
    #[must_use]
    pub fn series(&self) -> Series {
        Series {
            steps_per_bucket: self.per_bucket,
            buckets: self.cells.iter().map(Cell::bucket).collect(),
        }
    }
}
