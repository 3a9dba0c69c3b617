//! Moments that begin anew at 0 where a number of 31 or 32 bits ends.

use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::mixups::WRAPPED;
use crate::diagnose::pass::each;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, IterationRow};
use crate::units::Nanos;

/// Where numbers of so many bits end.
const ENDS: [u32; 2] = [31, 32];
/// How near to the end the last moment before it is, and to 0 the first behind: one in so many of the whole.
const NEAR: u64 = 4;

/// Rules that go by one row, or by no moment.
const WITHOUT_MOMENTS: &[&str] = &["M002", "M008", "M009", "C005", "K001", "K008", "X007", "K003"];

/// The moments of a file, and where they go back.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    before: Nanos,
    largest: Nanos,
    /// Where they go back by more than half of what came before: from where to where.
    back: Option<(Nanos, Nanos)>,
    times: u64,
}

impl Moments {
    fn see(&mut self, at: Nanos) {
        if at.0 < self.before.0 / 2 {
            self.times += 1;
            self.back.get_or_insert((self.before, at));
        }
        self.before = at;
        self.largest = self.largest.max(at);
    }

    /// At which end they begin anew, each time; how often.
    fn wraps(&self) -> Option<u32> {
        let (from, to) = self.back?;
        ENDS.into_iter().find(|bits| {
            let end = 1_u64 << bits;
            let all = self.largest.0 < end && self.largest.0 >= end - end / NEAR;
            all && from.0 >= end - end / NEAR && to.0 < end / NEAR
        })
    }
}

pub(super) fn find(dir: &LogDir, board: &mut Board<'_, '_>) -> Option<()> {
    if !board.has(&["M012"]) || !board.has(&["M010", "M011"]) {
        return Some(());
    }
    let (mut events, mut steps) = (Moments::default(), Moments::default());
    each::<EventRow>(dir, |row| row.request_id, |row, _| events.see(row.timestamp))?;
    each::<IterationRow>(dir, |_| None, |row, _| steps.see(row.start_time))?;
    let bits = events.wraps().filter(|bits| steps.wraps() == Some(*bits));
    let Some(bits) = bits.filter(|_| events.times == steps.times) else { return Some(()) };
    let kind = if bits == 31 { "with a sign" } else { "without a sign" };
    let text = format!(
        "moments of events.csv and of per_iteration.csv go back from just below 2^{bits} to just above 0: they \
         are cut to {bits} bits, as a whole number of 32 bits {kind} holds"
    );
    let explains = |seen: &Seen<'_>| !seen.rule.starts_with('F') && !seen.is(WITHOUT_MOMENTS);
    let lead = &["M012"];
    board.claim(Claim { cause: WRAPPED, text, lead, explains: Box::new(explains) });
    Some(())
}
