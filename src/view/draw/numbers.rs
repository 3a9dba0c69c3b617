//! Numbers for people.

/// A whole number with its digits in groups of three.
#[must_use]
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0.0 && out != "0" {
        out.insert(0, '-');
    }
    out
}

/// Units of time with their nanoseconds, the largest first.
pub(super) const TIME_UNITS: [(&str, f64); 6] =
    [("h", 3.6e12), ("min", 6e10), ("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0)];

/// A duration in nanoseconds with three significant digits.
#[must_use]
pub fn duration(nanos: f64) -> String {
    let unit = TIME_UNITS[2..].iter().find(|(_, scale)| nanos >= *scale).unwrap_or(&("ns", 1.0));
    let value = nanos / unit.1;
    let digits = match value {
        value if value >= 100.0 || unit.1 == 1.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    if digits == 0 {
        return format!("{} {}", grouped(value), unit.0);
    }
    format!("{value:.digits$} {}", unit.0)
}

/// A number with as many decimals as `step` has.
pub(super) fn stepped(value: f64, step: f64) -> String {
    let mut decimals = 0;
    let mut scaled = step;
    while decimals < 9 && (scaled - scaled.round()).abs() > 1e-6 * scaled.max(1e-300) {
        scaled *= 10.0;
        decimals += 1;
    }
    if decimals == 0 { grouped(value) } else { format!("{value:.decimals$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(grouped(1_234_567.0), "1,234,567");
        assert_eq!(grouped(-12.4), "-12");
        assert_eq!(duration(1_234_000.0), "1.23 ms");
        assert_eq!(duration(12_345_000_000_000.0), "12,345 s");
        assert_eq!(duration(17.0), "17 ns");
        assert_eq!(stepped(0.30000000000000004, 0.1), "0.3");
        assert_eq!(stepped(2_000.0, 500.0), "2,000");
    }
}
