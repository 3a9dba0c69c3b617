//! Numbers from decimal text, exactly: no floating point between a trace and its nanoseconds.

use std::fmt;
use std::str::FromStr;

use crate::units::Nanos;

/// Why a text is not a usable decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not of the form `-1.25e3`.
    #[error("not a decimal number")]
    NotANumber,
    /// Outside what the integer type holds.
    #[error("the number is out of range")]
    OutOfRange,
}

/// A decimal number times a power of ten, as an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scaled {
    /// The integer nearest to the number; halves away from zero.
    pub(super) value: i128,
    /// Whether nothing was rounded off.
    pub(super) exact: bool,
}

/// Significant digits kept; more than any in-range result has, so that the rest only rounds.
const DIGITS_MAX: u32 = 36;

/// Reads `text` (`-12.5`, `1e-3`) and multiplies it by `10^shift`.
pub(super) fn scaled(text: &str, shift: i32) -> Result<Scaled, DecimalError> {
    let bytes = text.as_bytes();
    let (negative, bytes) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    let (mantissa, exponent) = match bytes.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&bytes[..at], exponent(&bytes[at + 1..])?),
        None => (bytes, 0),
    };
    let digits = Digits::read(mantissa)?;
    let power = exponent.saturating_add(shift).saturating_add(digits.power);
    let magnitude = digits.times_ten_to(power)?;
    let value = i128::try_from(magnitude.0).map_err(|_| DecimalError::OutOfRange)?;
    Ok(Scaled { value: if negative { -value } else { value }, exact: magnitude.1 })
}

/// The digits of a mantissa: `value * 10^power`, and whether digits beyond that were not zero.
struct Digits {
    value: u128,
    power: i32,
    sticky: bool,
}

impl Digits {
    fn read(mantissa: &[u8]) -> Result<Self, DecimalError> {
        let mut digits = Self { value: 0, power: 0, sticky: false };
        let (mut seen, mut kept, mut point) = (false, 0, false);
        for &byte in mantissa {
            match byte {
                b'.' if !point => point = true,
                b'0'..=b'9' => {
                    seen = true;
                    let digit = u128::from(byte - b'0');
                    if kept < DIGITS_MAX {
                        digits.value = digits.value * 10 + digit;
                        kept += u32::from(digits.value > 0);
                        digits.power = digits.power.saturating_sub(i32::from(point));
                    } else {
                        digits.sticky |= digit > 0;
                        digits.power = digits.power.saturating_add(i32::from(!point));
                    }
                }
                _ => return Err(DecimalError::NotANumber),
            }
        }
        if seen { Ok(digits) } else { Err(DecimalError::NotANumber) }
    }

    fn times_ten_to(&self, power: i32) -> Result<(u128, bool), DecimalError> {
        if self.value == 0 {
            return Ok((0, true));
        }
        let Ok(down) = u32::try_from(power.saturating_neg()) else {
            let up = u32::try_from(power).map_err(|_| DecimalError::OutOfRange)?;
            let factor = 10_u128.checked_pow(up).ok_or(DecimalError::OutOfRange)?;
            let value = self.value.checked_mul(factor).ok_or(DecimalError::OutOfRange)?;
            return Ok((value, !self.sticky));
        };
        let Some(divisor) = 10_u128.checked_pow(down) else { return Ok((0, false)) };
        let (quotient, rest) = (self.value / divisor, self.value % divisor);
        let up = rest > 0 && rest >= divisor - rest;
        Ok((quotient + u128::from(up), rest == 0 && !self.sticky))
    }
}

fn exponent(bytes: &[u8]) -> Result<i32, DecimalError> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(DecimalError::NotANumber);
    }
    let value = digits
        .iter()
        .fold(0_i32, |sum, b| sum.saturating_mul(10).saturating_add(i32::from(b - b'0')));
    Ok(if negative { -value } else { value })
}

/// Reads a duration such as `90`, `90s`, `1.5h`, `250ms`, `10us` or `7ns`; a bare number is seconds.
///
/// # Errors
/// Where the text is not a number with such a unit, is negative, or exceeds 292 years.
pub fn parse_duration(text: &str) -> Result<Nanos, DecimalError> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic() && c != 'e' && c != 'E');
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    let (shift, factor) = match unit {
        "ns" => (0, 1),
        "us" | "µs" => (3, 1),
        "ms" => (6, 1),
        "" | "s" => (9, 1),
        "m" | "min" => (9, 60),
        "h" => (9, 3600),
        _ => return Err(DecimalError::NotANumber),
    };
    let value = scaled(number.trim(), shift)?.value;
    let value = value.checked_mul(factor).ok_or(DecimalError::OutOfRange)?;
    match u64::try_from(value) {
        Ok(value) if value <= i64::MAX.unsigned_abs() => Ok(Nanos(value)),
        _ => Err(DecimalError::OutOfRange),
    }
}

/// How much faster than recorded the requests arrive: a positive decimal, kept exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateScale {
    digits: u64,
    decimals: u32,
}

impl RateScale {
    /// As recorded.
    pub const ONE: Self = Self { digits: 1, decimals: 0 };

    /// `time / scale`, rounded to the nearest nanosecond (halves up); `None` past 292 years.
    #[must_use]
    pub fn apply(self, time: Nanos) -> Option<Nanos> {
        if self == Self::ONE {
            return Some(time);
        }
        let digits = u128::from(self.digits);
        let numerator = u128::from(time.0) * 10_u128.pow(self.decimals);
        let value = u64::try_from((numerator + digits / 2) / digits).ok()?;
        (value <= i64::MAX.unsigned_abs()).then_some(Nanos(value))
    }
}

impl Default for RateScale {
    fn default() -> Self {
        Self::ONE
    }
}

impl FromStr for RateScale {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        const DECIMALS_MAX: u32 = 12;
        let read = scaled(text.trim(), DECIMALS_MAX.cast_signed())?;
        let mut digits = u64::try_from(read.value).map_err(|_| DecimalError::OutOfRange)?;
        if digits == 0 || !read.exact {
            return Err(DecimalError::OutOfRange);
        }
        let mut decimals = DECIMALS_MAX;
        while decimals > 0 && digits.is_multiple_of(10) {
            digits /= 10;
            decimals -= 1;
        }
        Ok(Self { digits, decimals })
    }
}

impl fmt::Display for RateScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = 10_u64.pow(self.decimals);
        let (whole, rest) = (self.digits / unit, self.digits % unit);
        match self.decimals {
            0 => write!(f, "{whole}"),
            decimals => write!(f, "{whole}.{rest:0width$}", width = decimals as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str, shift: i32) -> (i128, bool) {
        let read = scaled(text, shift).unwrap();
        (read.value, read.exact)
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(nanos("0.1", 9), (100_000_000, true));
        assert_eq!(nanos("03.9799600", 9), (3_979_960_000, true));
        assert_eq!(nanos("1e-3", 9), (1_000_000, true));
        assert_eq!(nanos("-2.5E+1", 0), (-25, true));
        assert_eq!(nanos("9007199254740993", 0), (9_007_199_254_740_993, true));
        assert_eq!(nanos("0e999999999999", 9), (0, true));
        assert_eq!(nanos("0.0000000000000000000000000000000000000000000000001e50", 0), (10, true));
    }

    #[test]
    fn digits_below_the_unit_round_and_say_so() {
        assert_eq!(nanos("0.30000000000000004", 6), (300_000, false));
        assert_eq!(nanos("0.5", 0), (1, false));
        assert_eq!(nanos("1e-99999999999", 9), (0, false));
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for text in ["", "-", ".", "e1", "1e", "1e+", "1.2.3", "0x10", "NaN", "1_000", " 1"] {
            assert_eq!(scaled(text, 0), Err(DecimalError::NotANumber), "{text:?}");
        }
        assert_eq!(scaled("1e40", 0), Err(DecimalError::OutOfRange));
        assert_eq!(scaled("1e2147483647", 9), Err(DecimalError::OutOfRange));
    }

    #[test]
    fn rate_scales_divide_exactly() {
        let scale: RateScale = "2.50".parse().unwrap();
        assert_eq!(scale.to_string(), "2.5");
        assert_eq!(scale.apply(Nanos(10)), Some(Nanos(4)));
        assert_eq!("3".parse::<RateScale>().unwrap().apply(Nanos(5)), Some(Nanos(2)));
        assert_eq!("0.05".parse::<RateScale>().unwrap().to_string(), "0.05");
        assert!("0".parse::<RateScale>().is_err() && "-1".parse::<RateScale>().is_err());
        assert_eq!("1e-12".parse::<RateScale>().unwrap().apply(Nanos(u64::MAX)), None);
    }

    #[test]
    fn durations_have_units() {
        let read: Vec<_> = ["90", "1.5h", "250ms", "7ns", "2min", "1e3us"]
            .iter()
            .map(|text| parse_duration(text).unwrap().0)
            .collect();
        let second = 1_000_000_000;
        assert_eq!(read, [90 * second, 5400 * second, second / 4, 7, 120 * second, 1_000_000]);
        assert!(parse_duration("-1s").is_err() && parse_duration("3 days").is_err());
    }
}
