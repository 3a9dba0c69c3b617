//! How a record ends: whether the model is drained, stalled, cut or dead as recorded, and the totals.

use crate::conform::compare::{Comparison, Difference};
use crate::conform::record::{BadRecord, End, MAX_ITERATIONS};
use crate::conform::report::Moment;
use crate::engine::EngineCore;
use crate::units::counted;

/// A record counts as stalled when nothing moved for this many iterations, the one in which the
/// last request lost its blocks not included.
const STALLED_ITERATIONS: u64 = 8;

/// A record is cut after this many iterations.
const CUT_AFTER: u64 = 1000;

impl Comparison<'_, '_> {
    /// Compares how the record ends.
    pub(crate) fn end(&mut self, end: &End<'_>, core: &mut EngineCore) -> Result<(), BadRecord> {
        (self.fast, self.step) = (None, None);
        let all_arrived = self.arrived == self.requests.len();
        let expected = match &*end.status {
            "drained" => !core.has_work() && all_arrived && end.iterations == self.iterations,
            "stalled" => {
                core.has_work()
                    && all_arrived
                    && self.quiet >= STALLED_ITERATIONS
                    && end.iterations == self.iterations
            }
            // The engine may have drained in the very last iteration before the cut.
            "max_steps" => {
                let unfinished = core.has_work() || !all_arrived;
                let cut = end.iterations >= self.iterations;
                cut && (unfinished || end.iterations == CUT_AFTER)
            }
            "vllm_assertion" => self.dies(end.iterations, core),
            other => {
                let problem =
                    format!("status is {other}, not drained, stalled, max_steps or vllm_assertion");
                return Err(BadRecord::malformed(self.line, problem));
            }
        };
        let difference = if expected { self.totals(end, core) } else { self.status(end, core) };
        if let Some(difference) = difference {
            self.diverge(Moment::End, difference, core.scheduler(), None);
        }
        Ok(())
    }

    /// Whether the model's scheduler dies in the iteration that the record leaves out. Aborts in
    /// that very iteration are not recorded, so it is tried without.
    fn dies(&mut self, iterations: u64, core: &mut EngineCore) -> bool {
        let recorded = self.counts;
        let mut died = false;
        let last = iterations.max(self.iterations).min(MAX_ITERATIONS);
        for it in self.iterations..=last {
            self.begin(it, core);
            died = core.step(self).is_err();
            if died {
                break;
            }
        }
        (self.divergence, self.bad) = (None, None);
        self.counts = recorded;
        died
    }

    fn status(&self, end: &End<'_>, core: &EngineCore) -> Option<Difference> {
        let steps = |count| counted(count, "iteration", "iterations");
        let recorded = format!("{} after {}", end.status, steps(end.iterations));
        let model = format!(
            "{}, {} still to arrive, {} waiting or running, {} in flight, nothing scheduled for {}",
            steps(self.iterations),
            self.requests.len() - self.arrived,
            core.scheduler().running().len() + core.scheduler().waiting_len(),
            counted(core.in_flight().len() as u64, "batch", "batches"),
            steps(self.quiet),
        );
        Some(("status", recorded, model))
    }

    fn totals(&self, end: &End<'_>, core: &EngineCore) -> Option<Difference> {
        let counts = &self.counts;
        // The pass that died was counted or not, depending on where.
        let passes = if end.status == "vllm_assertion" && end.steps == counts.passes + 1 {
            end.steps
        } else {
            counts.passes
        };
        debug_assert!(core.scheduler().passes() >= counts.passes);
        let totals = [
            ("steps", end.steps, passes),
            ("preemptions", end.preemptions, counts.preempted),
            ("hit_tokens", end.hit_tokens, counts.hit_tokens),
            ("scheduled", end.scheduled, counts.scheduled),
            ("tokens", end.tokens, counts.tokens),
            ("finished", end.finished, counts.finished),
        ];
        let (field, recorded, model) =
            totals.into_iter().find(|(_, recorded, model)| recorded != model)?;
        Some((field, recorded.to_string(), model.to_string()))
    }
}
