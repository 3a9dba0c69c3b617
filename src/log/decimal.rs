//! Decimal numbers that keep the digits that they were written with.

use std::fmt;

use crate::log::field::{Field, FieldError, parse_signed};
use crate::log::ids::{IdTable, Ids};
use crate::log::scan::Cursor;
use crate::log::sink::Sink;

/// A non-negative decimal number exactly as written: `mantissa / 10^scale`.
///
/// Rates and averages are written rounded; keeping the digits keeps the rounding checkable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// All digits, without the point.
    pub mantissa: u64,
    /// Digits behind the point.
    pub scale: u8,
}

impl Decimal {
    /// The whole number `value`.
    #[must_use]
    pub const fn whole(value: u64) -> Self {
        Self { mantissa: value, scale: 0 }
    }

    /// The nearest double; for display and statistics.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.mantissa as f64 / 10f64.powi(i32::from(self.scale))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scale == 0 {
            return write!(f, "{}", self.mantissa);
        }
        let width = usize::from(self.scale) + 1;
        let digits = format!("{:0width$}", self.mantissa);
        let (whole, fraction) = digits.split_at(digits.len() - usize::from(self.scale));
        write!(f, "{whole}.{fraction}")
    }
}

impl Field for Decimal {
    const KIND: &'static str = "decimal";

    fn parse(text: &[u8], _: &mut IdTable) -> Result<Self, FieldError> {
        parse_decimal(text)
    }

    fn scan(cursor: &mut Cursor<'_>) -> Option<Self> {
        parse_decimal(cursor.run()?).ok()
    }

    fn write<I: Ids + ?Sized, O: Sink>(&self, _: &I, out: &mut O) {
        out.put(self.to_string().as_bytes());
    }
}

/// Reads `12`, `12.5`, `1.5e-05` and the like, keeping every digit.
fn parse_decimal(text: &[u8]) -> Result<Decimal, FieldError> {
    if text.is_empty() {
        return Err(FieldError::Empty);
    }
    if text[0] == b'-' {
        return Err(FieldError::Negative);
    }
    let (number, exponent) = match memchr::memchr2(b'e', b'E', text) {
        None => (text, 0),
        Some(at) => {
            let power = text[at + 1..].strip_prefix(b"+").unwrap_or(&text[at + 1..]);
            let power = parse_signed(power).map_err(|_| FieldError::NotANumber)?;
            (&text[..at], power.clamp(-400, 400) as i32)
        }
    };
    let mut mantissa: u64 = 0;
    let (mut scale, mut seen_point, mut seen_digit) = (0i32, false, false);
    for &byte in number {
        match byte {
            b'0'..=b'9' => {
                seen_digit = true;
                let digit = u64::from(byte - b'0');
                match mantissa.checked_mul(10).and_then(|m| m.checked_add(digit)) {
                    Some(next) => {
                        mantissa = next;
                        scale += i32::from(seen_point);
                    }
                    // Digits beyond nineteen carry nothing that a double could have meant.
                    None if seen_point => {}
                    None => return Err(FieldError::Overflow(u64::MAX)),
                }
            }
            b'.' if !seen_point => seen_point = true,
            _ => return Err(FieldError::NotANumber),
        }
    }
    if !seen_digit {
        return Err(FieldError::NotANumber);
    }
    shift_decimal(mantissa, scale - exponent)
}

/// `mantissa / 10^scale` for any `scale`, brought to one between 0 and 255.
fn shift_decimal(mut mantissa: u64, mut scale: i32) -> Result<Decimal, FieldError> {
    while scale < 0 && mantissa != 0 {
        mantissa = mantissa.checked_mul(10).ok_or(FieldError::Overflow(u64::MAX))?;
        scale += 1;
    }
    Ok(match u8::try_from(scale.max(0)) {
        Ok(scale) if mantissa != 0 => Decimal { mantissa, scale },
        Ok(scale) => Decimal { mantissa: 0, scale: scale.min(19) },
        // Below 10^-255 nothing that a log measures is left.
        Err(_) => Decimal { mantissa: 0, scale: 19 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Field>(text: &str) -> Result<T, FieldError> {
        T::parse(text.as_bytes(), &mut IdTable::default())
    }

    #[test]
    fn decimals_keep_their_digits() {
        let cases = [
            ("12.50", Decimal { mantissa: 1250, scale: 2 }),
            ("7", Decimal::whole(7)),
            ("1.5e-05", Decimal { mantissa: 15, scale: 6 }),
            ("2.5e+3", Decimal::whole(2500)),
            ("0.000001", Decimal { mantissa: 1, scale: 6 }),
        ];
        for (text, value) in cases {
            assert_eq!(read::<Decimal>(text), Ok(value), "{text}");
        }
        assert_eq!(Decimal { mantissa: 1, scale: 6 }.to_string(), "0.000001");
        for bad in ["", ".", "nan", "inf", "1.2.3", "-1", "1e", "12x"] {
            assert!(read::<Decimal>(bad).is_err(), "{bad}");
        }
    }
}
