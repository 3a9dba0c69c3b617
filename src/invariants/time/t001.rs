//! T001: clock readings.

use crate::invariants::prelude::*;

declare_invariant! {
    /// One moment is one reading of the clock.
    ///
    /// A logger that reads its clock twice in one call writes moments that differ by the time between
    /// the readings: nanoseconds to tens of microseconds, more or less each time. That is no mistake
    /// of accounting, and no sum of such times can be trusted to the last digit. In a log where most
    /// times of a kind differ so, differences up to the bound (50 us unless told otherwise, and never
    /// more than a quarter of a usual step) are counted here, as one warning with their distribution,
    /// and the time rules judge what is beyond. A kind is what is made of other times, what two files
    /// tell of one fact, or the stamps of one type of event, of the changes or of the requests.
    ///
    /// Fewer than three differences, a constant one, one to another moment of the steps, or any in a log
    /// of this product's own logger, which reads its clock once per call, stays an error of the rule that
    /// finds it. So do differences of a kind of which nearly each is exactly a time inside its own step,
    /// such as that of the scheduling: something is counted from or to another moment, and two readings are
    /// never so far apart but by chance, where the clock is coarse.
    ///
    /// Where all moments of a file are whole microseconds, or what a float of 32 bits can hold, and those of
    /// others or the durations are finer, it is lost digits that make the difference, which is said instead.
    ///
    /// Blind spot: other mistakes smaller than the bound, in a log with the habit.
    ///
    /// Example: waiting_time and execution_time that miss e2e_latency by 280, 310 and 295 ns.
    pub static T001 = {
        name: "clock-skew",
        reads: [],
        also: [
            PerRequest(e2e_latency, waiting_time, execution_time, first_scheduled_time, completion_time),
            PerIteration(duration),
            PerIterationRequests(time_in_state),
            Events(timestamp),
            StateTransitions(timestamp),
        ],
        severity: Warning,
    } => Check
}

/// Moments in so many rows that are no chance, as one in a thousand is.
const SEVERAL: u64 = 16;
/// A float of 32 bits has all digits of what is below.
const EXACT: u64 = 1 << 24;
/// Moments that may add up in a difference.
const READINGS: u64 = 4;

/// Which digits the moments of a file have.
struct Digits {
    table: Table,
    moments: u64,
    micros: bool,
    /// Those that a float of 32 bits need not hold.
    large: u64,
    float: bool,
    last: u64,
}

impl Digits {
    const fn of(table: Table) -> Self {
        Self { table, moments: 0, micros: true, large: 0, float: true, last: 0 }
    }

    fn see(&mut self, Nanos(moment): Nanos) {
        self.moments += u64::from(moment > 0);
        self.micros &= moment.is_multiple_of(MICRO);
        self.large += u64::from(moment > 2 * EXACT);
        self.float &= (moment as f32) as u64 == moment;
        self.last = self.last.max(moment);
    }

    const fn in_micros(&self) -> bool {
        self.micros && self.moments >= SEVERAL
    }

    const fn in_floats(&self) -> bool {
        self.float && self.large >= SEVERAL && !self.in_micros()
    }
}

const MICRO: u64 = 1_000;

struct Check {
    files: [Digits; 4],
}

impl Default for Check {
    fn default() -> Self {
        use Table as T;
        let files = [T::PerRequest, T::PerIteration, T::Events, T::StateTransitions];
        Self { files: files.map(Digits::of) }
    }
}

impl Invariant for Check {
    fn events(&mut self, events: &[Located<EventRow>], cx: &mut Cx<'_>) {
        if cx.facts.skew.is_none() {
            return;
        }
        // Arrivals are as coarse as the trace that was sent.
        let own = |event: &&Located<EventRow>| event.row.event_type != EventType::RequestArrived;
        events.iter().filter(own).for_each(|event| self.files[2].see(event.row.timestamp));
    }

    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let Some(step) = view.iteration.filter(|_| cx.facts.skew.is_some()) else { return };
        self.files[1].see(step.row.start_time);
        self.files[1].see(step.row.end_time);
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        if cx.facts.skew.is_none() {
            return;
        }
        let row = request.record.as_ref().map(|record| &record.row);
        let moments = row.map(|row| [row.first_scheduled_time, row.completion_time]);
        let moments = moments.into_iter().flatten().flatten();
        moments.for_each(|moment| self.files[0].see(moment));
        let changes = request.transitions.iter();
        changes.for_each(|change| self.files[3].see(change.row.timestamp));
    }

    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        cx.exercised(cx.skew.compared as usize);
        let Some(differences) = &cx.skew.differences else { return };
        // A quantile is the upper edge of its bucket.
        let median = differences.value_at_quantile(0.5).min(cx.skew.most.0);
        let why = self.lost_digits(cx.skew.most.0);
        let why =
            why.unwrap_or_else(|| "the clock is read more than once for one moment".to_owned());
        let message = format!(
            "{} of {} comparisons of moments are off by a little: half of them by up to {median} ns, \
             the most by {} ns; {why}",
            differences.len(),
            cx.skew.compared,
            cx.skew.most,
        );
        let mut finding = Finding::new(message);
        for (at, difference) in &cx.skew.first {
            finding = finding.with_row(Some(*at), format!("off by {difference} ns"));
        }
        cx.found(finding);
    }
}

impl Check {
    /// What the moments of files have lost, where that explains differences up to this one.
    fn lost_digits(&self, most: u64) -> Option<String> {
        let names = |cut: fn(&Digits) -> bool| -> Option<String> {
            let cut = self.files.iter().filter(|file| cut(file));
            let names: Vec<_> = cut.map(|file| file.table.file_name()).collect();
            (!names.is_empty()).then(|| names.join(", "))
        };
        if let Some(files) = names(Digits::in_floats) {
            let last = self.files.iter().map(|file| file.last).max().unwrap_or_default();
            // Two neighbouring floats are so far apart there, at most.
            let apart = (last.next_power_of_two() / EXACT).max(1);
            return (most <= READINGS * apart).then(|| {
                format!(
                    "moments of {files} have only the digits that a float of 32 bits holds: keep them as \
                     whole numbers"
                )
            });
        }
        let files = names(Digits::in_micros)?;
        let finer = |file: &Digits| file.moments >= SEVERAL && !file.micros;
        (self.files.iter().any(finer) && most <= READINGS * MICRO).then(|| {
            format!(
                "moments of {files} are whole microseconds, and what they are compared with is not: they \
                 are rounded before they are written"
            )
        })
    }
}
