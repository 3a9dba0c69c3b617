//! Dates as integer nanoseconds.

use super::decimal;

/// Reads `2023-11-16 18:17:03.9799600`, with or without a fraction and a zone, as nanoseconds
/// since 1970. A time without a zone is taken as UTC; only differences matter.
pub(super) fn nanoseconds(text: &str, rounded: &mut bool) -> Option<i64> {
    let bytes = text.as_bytes();
    let fixed = bytes.get(..19)?;
    let digits = |from: usize, to: usize| {
        fixed[from..to].iter().try_fold(0_i64, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let signs = (fixed[4], fixed[7], fixed[10], fixed[13], fixed[16]);
    if !matches!(signs, (b'-', b'-', b' ' | b'T', b':', b':')) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let valid = (1700..2260).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !valid {
        return None;
    }
    let rest = text.get(19..)?;
    let zone_at = rest.find(['+', '-', 'Z']).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(zone_at);
    let nanos = match fraction.strip_prefix('.') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let read = decimal::scaled(fraction, 9).ok()?;
            *rounded |= !read.exact;
            i64::try_from(read.value).ok()?
        }
        None if fraction.is_empty() => 0,
        _ => return None,
    };
    let minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset(zone)?;
    Some((minutes * 60 + second) * 1_000_000_000 + nanos)
}

/// The minutes that a zone such as `+00:00` is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let (sign, digits) = match zone.as_bytes() {
        [] | b"Z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let two = |pair: &[u8]| match pair {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(i64::from((a - b'0') * 10 + (b - b'0'))),
        _ => None,
    };
    let (hours, minutes) = match digits {
        [h1, h2] => (two(&[*h1, *h2])?, 0),
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => (two(&[*h1, *h2])?, two(&[*m1, *m2])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; years start in March, so that the
/// leap day is the last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let era_days = year * 365 + year / 4 - year / 100 + year / 400;
    era_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_keep_every_digit() {
        let read = |text: &str| nanoseconds(text, &mut false);
        assert_eq!(read("1970-01-01 00:00:00"), Some(0));
        assert_eq!(read("2023-11-16 18:17:03.9799600"), Some(1_700_158_623_979_960_000));
        assert_eq!(read("2024-05-10 00:00:00.009930+00:00"), Some(1_715_299_200_009_930_000));
        assert_eq!(read("2024-05-10T02:00:00+02:00"), read("2024-05-10 00:00:00Z"));
        assert_eq!(read("2024-02-29 00:00:00"), Some(1_709_164_800_000_000_000));
        for text in [
            "",
            "2023-02-29 00:00:00",
            "2023-11-16 24:00:00",
            "2023-11-16 18:17:03.",
            "2023-11-16 18:17:03.1e5",
            "2023-11-16 18:17:03+1",
            "2023-11-16",
            "é023-11-16 18:17:03",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
