//! Zeros that stand for undefined values.

use crate::log::schema::RequestRow;
use crate::units::Nanos;

/// For every undefined value of a request: whether a 0 stands for it.
pub(super) fn zeros(row: &RequestRow) -> impl Iterator<Item = bool> + use<> {
    let zero = Some(Nanos::ZERO);
    let ttft = (row.output_tokens.0 == 0).then_some(row.ttft == zero);
    let tpot = (row.output_tokens.0 < 2).then_some(row.tpot.is_some_and(|tpot| tpot.mantissa == 0));
    // One that arrived at a moment of 0 may have ended at it.
    let lived = row.waiting_time.saturating_add(row.execution_time) > Nanos::ZERO;
    let endless = row.arrival_time > Nanos::ZERO
        && lived
        && row.completion_time.unwrap_or_default() == Nanos::ZERO;
    let of_end = [
        row.completion_time == zero,
        row.e2e_latency == zero,
        row.throughput.is_some_and(|rate| rate.mantissa == 0),
    ];
    ttft.into_iter().chain(tpot).chain(of_end.into_iter().filter(move |_| endless))
}
