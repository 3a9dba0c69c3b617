//! M009: throughput.

use crate::invariants::prelude::*;
use crate::log::decimal::Decimal;

declare_invariant! {
    /// throughput = output_tokens per second of e2e_latency, rounded to six decimals.
    ///
    /// A request without e2e_latency, or with one of 0, has none. A log that writes fewer decimals
    /// rounds to its own last digit and to nothing looser; more than six are of another format. The
    /// throughput of a request without output is 0, or empty in all of them.
    ///
    /// Blind spot: which of the two is meant, in a log with one such request.
    ///
    /// Example: 10 tokens in 2 s are 5.000000; 10.000000 was divided by the execution time.
    pub static M009 = {
        name: "throughput-formula",
        reads: [PerRequest(e2e_latency, output_tokens, throughput)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// Whether nothing per second is left out, by the first request without output.
    leaves_out: Option<bool>,
}

/// The decimals of the format.
const DECIMALS: u8 = 6;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = &request.record else { return };
        let row = &record.row;
        let latency = row.e2e_latency.filter(|latency| *latency > Nanos::ZERO);
        let Some(latency) = latency else {
            let latency = row.e2e_latency;
            cx.expect(row.throughput.is_none(), |ids| {
                let actual = row.throughput.map(|rate| rate.to_string()).unwrap_or_default();
                let why = if latency.is_some() { "of 0 ns" } else { "that is empty" };
                Finding::new(format!("throughput of a request with an e2e_latency {why}"))
                    .at(record.at(), "throughput")
                    .of(request.key, ids)
                    .values("empty", actual)
            });
            return;
        };
        let tokens = row.output_tokens;
        let left_out = row.throughput.is_none();
        let alike = tokens > Tokens::ZERO || *self.leaves_out.get_or_insert(left_out) == left_out;
        let holds = match row.throughput {
            Some(rate) if rate.scale > DECIMALS || !alike => false,
            Some(rate) if is_rate(rate, tokens, latency, cx) => true,
            // Divided by a reading of its own.
            Some(rate) if cx.slack() > Nanos::ZERO && rate.mantissa > 0 => {
                let by = Nanos((f64::from(tokens.0) * 1e9 / rate.as_f64()) as u64);
                cx.agree(latency, by, 1, record.at())
            }
            Some(_) => false,
            // Nothing per second may be left out.
            None => tokens == Tokens::ZERO && alike,
        };
        cx.expect(holds, |ids| {
            let expected = f64::from(tokens.0) / latency.as_secs_f64();
            let actual = row.throughput.map_or("empty".to_owned(), |rate| rate.to_string());
            let expected =
                if alike { format!("{expected:.6}") } else { "as in other rows".to_owned() };
            let message = match row.throughput {
                Some(rate) if rate.scale > DECIMALS => {
                    "throughput has more than six decimals".to_owned()
                }
                _ if !alike => "nothing per second is empty in one row and 0 in another".to_owned(),
                _ => format!("throughput is not {tokens} tokens in {latency} ns"),
            };
            Finding::new(message)
                .at(record.at(), "throughput")
                .of(request.key, ids)
                .values(expected, actual)
        });
    }
}

fn is_rate(rate: Decimal, tokens: Tokens, latency: Nanos, cx: &Cx<'_>) -> bool {
    // Digits that are not written are zeros: 0.5 stands for 0.500000.
    let digits = if cx.facts.dialect.has(Habit::TwoDecimalThroughput) { 2 } else { DECIMALS };
    let scale = rate.scale.max(digits);
    let Some(unit) = 10u128.checked_pow(u32::from(scale)) else { return false };
    let Some(mantissa) = 10u128
        .checked_pow(u32::from(scale - rate.scale))
        .and_then(|shift| shift.checked_mul(u128::from(rate.mantissa)))
    else {
        return false;
    };
    // |mantissa / unit - tokens * 1e9 / latency| <= half a unit, times unit * latency.
    let (Some(left), Some(right)) = (
        mantissa.checked_mul(u128::from(latency.0)),
        (u128::from(tokens.0) * 1_000_000_000).checked_mul(unit),
    ) else {
        return false;
    };
    // The quotient may have been computed in doubles: 53 bits of it are good.
    left.abs_diff(right).saturating_mul(2) <= u128::from(latency.0) + (right >> 50)
}
