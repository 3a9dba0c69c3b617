//! What a replay amounted to.

use crate::scheduler::{Kind, Pass, Update};
use crate::stats::Quantiles;
use crate::units::{Nanos, Tokens};

/// Counts and latencies of a run.
#[derive(Clone, Debug, Default)]
pub struct ReplayTotals {
    /// Requests that arrived.
    pub requests: u64,
    /// Of these, finished by a stop token or a limit.
    pub finished: u64,
    /// Of these, aborted by the client.
    pub aborted: u64,
    /// Of these, rejected at arrival.
    pub rejected: u64,
    /// Passes of the scheduler, empty ones included.
    pub iterations: u64,
    /// Requests admitted for the first time.
    pub admissions: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Tokens scheduled.
    pub scheduled_tokens: u64,
    /// Tokens found in the prefix cache at an admission.
    pub cached_tokens: u64,
    /// Tokens generated.
    pub output_tokens: u64,
    /// The virtual time at the end.
    pub simulated: Nanos,
    /// Time to first token, in ns.
    pub ttft: Quantiles,
    /// Time per output token behind the first, in ns.
    pub tpot: Quantiles,
    /// Arrival to completion, in ns.
    pub e2e: Quantiles,
}

impl ReplayTotals {
    pub(super) fn count_pass(&mut self, pass: &Pass) {
        self.iterations += 1;
        self.preemptions += pass.preempted.len() as u64;
        self.scheduled_tokens += u64::from(pass.total_tokens.0);
        // Admissions stand at the end of a batch.
        for entry in pass.entries.iter().rev().take_while(|entry| entry.kind != Kind::Running) {
            self.admissions += u64::from(entry.kind == Kind::New);
            self.cached_tokens += u64::from(entry.hit.0);
        }
    }

    pub(super) fn count_update(&mut self, update: &Update) {
        let appended: u64 = update.entries.iter().map(|entry| u64::from(entry.appended.0)).sum();
        self.output_tokens += appended;
    }

    pub(super) fn count_finished(
        &mut self,
        arrived: Nanos,
        first_token: Option<Nanos>,
        output: Tokens,
        now: Nanos,
    ) {
        self.finished += 1;
        let e2e = now.saturating_sub(arrived);
        self.e2e.record(e2e.0);
        if let Some(first) = first_token {
            let ttft = first.saturating_sub(arrived);
            self.ttft.record(ttft.0);
            if let Some(gaps) = output.0.checked_sub(1).filter(|gaps| *gaps > 0) {
                self.tpot.record(e2e.saturating_sub(ttft).0 / u64::from(gaps));
            }
        }
    }
}
