//! Values that are off by one factor that is no unit.

use crate::diagnose::causes::{About, Case, Recogniser};

/// Findings that are no chance.
const SEVERAL: usize = 3;
/// By how much differences must differ at least.
const SPREAD: f64 = 8.0;
/// How far a value may be from the factor's, for what was cut off.
const NEAR: f64 = 1.0;

/// Values off by one factor.
pub(super) static FACTOR: Recogniser = Recogniser {
    id: "constant-factor",
    doc: "Every value is the expected one times the same number, which is no unit of time or size.",
    about: About::Values,
    find: |case| {
        // Numbers of steps and of events are no sizes.
        if ["M011", "Q001", "X002", "S005"].contains(&case.rule) {
            return None;
        }
        let pairs = case.pairs().filter(|pairs| pairs.len() >= SEVERAL)?;
        let largest = pairs.iter().max_by_key(|(expected, _)| *expected)?;
        if largest.0 <= 1 || largest.1 <= 0 {
            return None;
        }
        let factor = largest.1 as f64 / largest.0 as f64;
        let fits = |(expected, actual): &(i128, i128)| {
            let off = (*expected as f64 * factor - *actual as f64).abs();
            *expected != *actual && off <= NEAR
        };
        // What hardly varies fits an offset as well.
        let least = pairs.iter().map(|(expected, _)| *expected).min()?;
        let spread = (largest.0 - least) as f64 * (factor - 1.0).abs() > SPREAD;
        let apart = pairs.iter().any(|(expected, actual)| (expected - actual).abs() > 16)
            || factor.fract() == 0.0 && factor >= 2.0;
        (spread && apart && pairs.iter().all(fits)).then(|| told(case, factor))
    },
};

fn told(case: &Case<'_>, factor: f64) -> String {
    let column = case.column_name();
    if factor.fract() == 0.0 {
        return format!(
            "{column} is {factor} times too large in each: it counts something smaller, or is multiplied once more"
        );
    }
    if (0.9..1.1).contains(&factor) {
        let (percent, which) =
            ((factor - 1.0).abs() * 100.0, if factor > 1.0 { "more" } else { "less" });
        return format!(
            "{column} is {percent:.4} % {which} in each: the clocks of the two sides run at another pace"
        );
    }
    format!(
        "{column} is {factor:.4} times what it should be, in each: a factor is wrong or missing"
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{said, values};

    #[test]
    fn factors_that_are_no_units() {
        assert_eq!(
            said("kv_cache_used", &values(&[(8, 128), (16, 256), (3, 48)])),
            [
                "constant-factor: kv_cache_used is 16 times too large in each: it counts something smaller, or is \
              multiplied once more"
            ]
        );
        let drift =
            values(&[(1_000_000, 1_000_100), (9_000_000, 9_000_900), (4_000_000, 4_000_400)]);
        assert_eq!(
            said("timestamp", &drift),
            [
                "constant-factor: timestamp is 0.0100 % more in each: the clocks of the two sides run at another \
              pace"
            ]
        );
        assert_eq!(said("kv_cache_used", &values(&[(8, 128), (16, 255), (3, 40)])), [""; 0]);
    }
}
