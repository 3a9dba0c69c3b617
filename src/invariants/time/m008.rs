//! M008: the time per output token.

use crate::invariants::prelude::*;
use crate::log::decimal::Decimal;

declare_invariant! {
    /// tpot = floor((e2e_latency - ttft) / (output_tokens - 1)), and empty below two output tokens.
    ///
    /// A log that writes fractions rounds to its own last digit and to nothing looser; a whole number that
    /// was written with a fraction of zeros is still rounded down.
    ///
    /// Blind spot: none.
    ///
    /// Example: (1000 - 400) / (4 - 1) is 200; 150 was divided by all four tokens.
    pub static M008 = {
        name: "tpot-formula",
        reads: [PerRequest(e2e_latency, ttft, tpot, output_tokens)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let Some(record) = &request.record else { return };
        let row = &record.row;
        if row.output_tokens.0 < 2 {
            cx.expect(row.tpot.is_none(), |ids| {
                let actual = row.tpot.map(|tpot| tpot.to_string()).unwrap_or_default();
                Finding::new("tpot is not defined below two output tokens")
                    .at(record.at(), "tpot")
                    .of(request.key, ids)
                    .values("empty", actual)
            });
            return;
        }
        let (Some(latency), Some(ttft)) = (row.e2e_latency, row.ttft) else { return };
        let Some(decoding) = latency.checked_sub(ttft) else { return };
        let steps = u64::from(row.output_tokens.0 - 1);
        let holds = match row.tpot {
            Some(tpot) if is_quotient(tpot, decoding.0, steps) => true,
            // Divided from readings of its own; the quotient is known to a nanosecond.
            Some(tpot) if cx.slack() > Nanos::ZERO => {
                let divided = Nanos((tpot.as_f64() * steps as f64) as u64);
                let near = divided.0.abs_diff(decoding.0) <= steps;
                near || cx.agree(decoding, divided, 1, record.at())
            }
            _ => false,
        };
        cx.expect(holds, |ids| {
            let actual = row.tpot.map_or("empty".to_owned(), |tpot| tpot.to_string());
            Finding::new(format!("tpot is not ({latency} - {ttft}) / {steps}"))
                .at(record.at(), "tpot")
                .of(request.key, ids)
                .values(decoding.0 / steps, actual)
        });
    }
}

/// Whether `value` is the quotient: rounded down if whole, to the nearest at its last digit else.
fn is_quotient(value: Decimal, dividend: u64, divisor: u64) -> bool {
    let whole = 10u64.checked_pow(u32::from(value.scale));
    if whole.is_some_and(|one| {
        value.mantissa.is_multiple_of(one) && value.mantissa / one == dividend / divisor
    }) {
        return true;
    }
    if value.scale == 0 {
        return false;
    }
    let exact = dividend as f64 / divisor as f64;
    let half_digit = 0.5 * 10f64.powi(-i32::from(value.scale));
    // A double has no more than its own precision to give.
    let precision = exact * 4.0 * f64::EPSILON;
    (value.as_f64() - exact).abs() <= half_digit + precision
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_the_last_digit_and_no_more() {
        let value = |mantissa, scale| Decimal { mantissa, scale };
        assert!(is_quotient(value(333, 0), 1000, 3));
        assert!(!is_quotient(value(334, 0), 1000, 3));
        assert!(is_quotient(value(33333, 2), 1000, 3));
        assert!(is_quotient(value(3330, 1), 1000, 3));
        assert!(is_quotient(value(6660, 1), 2000, 3));
        assert!(!is_quotient(value(3340, 1), 1000, 3));
        assert!(!is_quotient(value(33334, 2), 1000, 3));
        assert!(is_quotient(value(3_333_333_333_333_333, 13), 1000, 3));
    }
}
