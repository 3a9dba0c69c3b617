//! Values over time in bounded memory, without losing a peak.
//!
//! Every step is a point of its own until there are too many; then points that begin in the same
//! cell of time are merged, and cells grow by powers of two as the run goes on. A merged point keeps
//! the lowest and the highest value beside the mean.

use crate::log::values::WaitingReason;

/// A quantity that every step has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Requests with a token scheduled.
    Batch,
    /// Tokens scheduled.
    Tokens,
    /// Of those, prefill.
    Prefill,
    /// Of those, decode.
    Decode,
    /// KV cache blocks in use.
    KvUsed,
    /// Length of the running queue.
    Running,
    /// Length of the waiting queues.
    Waiting,
    /// Requests preempted.
    Preempted,
    /// Nanoseconds from the step's start to its end.
    Duration,
    /// Requests kept out for the first reason; the other reasons follow.
    FirstReason,
}

/// How many quantities a step has.
pub const METRICS: usize = Metric::FirstReason as usize + WaitingReason::ALL.len();

impl Metric {
    /// The index of the number of requests kept out for a reason.
    #[must_use]
    pub const fn reason(reason: WaitingReason) -> usize {
        Self::FirstReason as usize + reason as usize
    }
}

/// One quantity during one point.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stat {
    /// The lowest value.
    pub min: f64,
    /// The highest value.
    pub max: f64,
    /// The sum over the steps.
    pub sum: f64,
    area: f64,
}

/// One or more steps that follow one another.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// When it begins, in nanoseconds.
    pub start: u64,
    /// When it ends: where the next one begins.
    pub end: u64,
    /// How many steps it holds.
    pub steps: u64,
    stats: [Stat; METRICS],
}

impl Point {
    fn new(start: u64, end: u64, steps: u64, values: &[f64; METRICS]) -> Self {
        let width = end.saturating_sub(start) as f64;
        let stats =
            values.map(|value| Stat { min: value, max: value, sum: value, area: value * width });
        Self { start, end, steps, stats }
    }

    fn merge(&mut self, other: &Self) {
        self.end = other.end;
        // A time without steps has no shortest step.
        let duration = Metric::Duration as usize;
        let shortest = match (self.steps, other.steps) {
            (_, 0) => self.stats[duration].min,
            (0, _) => other.stats[duration].min,
            _ => self.stats[duration].min.min(other.stats[duration].min),
        };
        self.steps += other.steps;
        for (stat, other) in self.stats.iter_mut().zip(&other.stats) {
            stat.min = stat.min.min(other.min);
            stat.max = stat.max.max(other.max);
            stat.sum += other.sum;
            stat.area += other.area;
        }
        self.stats[duration].min = shortest;
    }

    const fn rests(&self, cell: u64) -> bool {
        self.steps == 0 && self.end.saturating_sub(self.start) >= cell
    }

    /// A quantity by index.
    #[must_use]
    pub const fn stat(&self, metric: usize) -> &Stat {
        &self.stats[metric]
    }

    /// The mean of a quantity, weighted by time.
    #[must_use]
    pub fn mean(&self, metric: usize) -> f64 {
        let (stat, width) = (&self.stats[metric], self.end.saturating_sub(self.start));
        if width == 0 { stat.max } else { (stat.area / width as f64).clamp(stat.min, stat.max) }
    }
}

/// The points of a run.
#[derive(Clone, Debug, Default)]
pub struct Tracks {
    points: Vec<Point>,
    cell: u64,
    capacity: usize,
}

impl Tracks {
    /// Keeps at least `capacity` points (where there are so many steps) and at most twice as many.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { points: Vec::new(), cell: 0, capacity: capacity.max(1) }
    }

    /// The points, in order of time and without gaps.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Adds a step that lasts until the next one. `start` is not before that of the step before.
    pub fn push(&mut self, start: u64, end: u64, values: &[f64; METRICS]) {
        self.add(Point::new(start, end.max(start), 1, values));
    }

    /// Adds a time without steps.
    pub fn pause(&mut self, start: u64, end: u64) {
        self.add(Point::new(start, end.max(start), 0, &[0.0; METRICS]));
    }

    fn add(&mut self, point: Point) {
        let cell = self.cell;
        match self.points.last_mut() {
            Some(last) if joins(last, &point, cell) => last.merge(&point),
            _ => self.points.push(point),
        }
        while self.points.len() > 2 * self.capacity {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        let span = match (self.points.first(), self.points.last()) {
            (Some(first), Some(last)) => last.end.saturating_sub(first.start),
            _ => return,
        };
        let wanted = (span / self.capacity as u64).max(1);
        let wanted = wanted.checked_next_power_of_two().unwrap_or(1 << 63);
        self.cell = wanted.max(self.cell.saturating_mul(2)).max(1);
        self.points = merged(&self.points, self.cell);
    }

    /// The same run in at most about `count` points.
    #[must_use]
    pub fn reduced(&self, count: usize) -> Vec<Point> {
        let mut points = self.points.clone();
        let mut cell = self.cell.max(1);
        while points.len() > count.max(1) && cell < 1 << 63 {
            cell *= 2;
            points = merged(&points, cell);
        }
        points
    }
}

/// Whether two neighbours become one. A time without steps that is longer than a cell stays alone:
/// merged, it would spread the step before over all of it.
const fn joins(last: &Point, next: &Point, cell: u64) -> bool {
    cell > 0 && last.start / cell == next.start / cell && !last.rests(cell) && !next.rests(cell)
}

fn merged(points: &[Point], cell: u64) -> Vec<Point> {
    let mut out: Vec<Point> = Vec::new();
    for point in points {
        match out.last_mut() {
            Some(last) if joins(last, point, cell) => last.merge(point),
            _ => out.push(point.clone()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(batch: f64) -> [f64; METRICS] {
        let mut values = [0.0; METRICS];
        values[Metric::Batch as usize] = batch;
        values
    }

    #[test]
    fn a_peak_survives_any_length() {
        let mut tracks = Tracks::new(100);
        for step in 0..1_000_000_u64 {
            let batch = if step == 777_777 { 4096.0 } else { (step % 7) as f64 };
            tracks.push(step * 1_000, (step + 1) * 1_000, &values(batch));
        }
        let points = tracks.points();
        assert!(points.len() <= 200 && points.len() >= 50, "{}", points.len());
        let peak = points.iter().map(|point| point.stat(0).max).fold(0.0, f64::max);
        assert_eq!(peak, 4096.0);
        assert_eq!(points.iter().map(|point| point.steps).sum::<u64>(), 1_000_000);
        assert!(points.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!((points[3].mean(0) - 3.0).abs() < 0.1);
        assert!(tracks.reduced(20).len() <= 20);
    }

    #[test]
    fn a_short_run_is_kept_step_by_step() {
        let mut tracks = Tracks::new(100);
        tracks.push(0, 10, &values(1.0));
        tracks.pause(10, 50);
        tracks.push(50, 60, &values(2.0));
        let batches: Vec<_> = tracks.points().iter().map(|point| point.mean(0)).collect();
        assert_eq!(batches, [1.0, 0.0, 2.0]);
    }
}
