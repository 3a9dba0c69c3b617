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

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn finish(&mut self, _: &LogEnd, cx: &mut Cx<'_>) {
        cx.exercised(cx.skew.compared as usize);
        let Some(differences) = &cx.skew.differences else { return };
        // A quantile is the upper edge of its bucket.
        let median = differences.value_at_quantile(0.5).min(cx.skew.most.0);
        let message = format!(
            "{} of {} comparisons of moments are off by a little: half of them by up to {median} ns, \
             the most by {} ns; the clock is read more than once for one moment",
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
