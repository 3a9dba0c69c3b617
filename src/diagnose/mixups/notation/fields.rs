//! How a number, a moment or a JSON object stands in a field that cannot be read.

/// What pandas, Python, databases and spreadsheets write where there is nothing.
const NOTHING: [&str; 8] = ["nan", "none", "null", "nil", "<na>", "nat", "n/a", "na"];
/// What separates groups of three digits.
const BETWEEN_THOUSANDS: [char; 6] = [',', '.', '_', '\'', ' ', '\u{a0}'];

/// A number that is not written in digits alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// With zeros behind a point.
    Whole,
    /// With something else behind it.
    Fraction(f64),
    /// With a power of ten.
    Exponent,
}

/// How the text stands for a number.
pub(super) fn number(text: &str) -> Option<Number> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0)?;
    if text.contains(['e', 'E']) {
        return Some(Number::Exponent);
    }
    let (_, behind) = text.split_once('.')?;
    Some(if behind.bytes().all(|byte| byte == b'0') {
        Number::Whole
    } else {
        Number::Fraction(value)
    })
}

/// The value of a text that has a fraction, as one with a negative power of ten may have.
pub(super) fn fraction(text: &str) -> Option<f64> {
    match number(text)? {
        Number::Fraction(value) => Some(value),
        Number::Exponent => text.parse::<f64>().ok().filter(|value| value.fract() != 0.0),
        Number::Whole => None,
    }
}

/// Whether the text says that there is no value.
pub(super) fn is_nothing(text: &str) -> bool {
    NOTHING.contains(&text.to_lowercase().as_str())
}

/// Whether it is a number with something between its thousands.
pub(super) fn is_grouped(text: &str) -> bool {
    let Some(separator) = text.chars().find(|it| BETWEEN_THOUSANDS.contains(it)) else {
        return false;
    };
    let mut groups = text.split(separator);
    let digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let first = groups.next().unwrap_or_default();
    let rest: Vec<_> = groups.collect();
    // One point is that of a decimal.
    (separator != '.' || rest.len() > 1)
        && (1..=3).contains(&first.len())
        && digits(first)
        && rest.iter().all(|group| group.len() == 3 && digits(group))
}

/// The text with `9` for each digit, up to this many characters.
fn pattern(text: &str, most: usize) -> String {
    let digit = |it: char| if it.is_ascii_digit() { '9' } else { it };
    text.chars().take(most).map(digit).collect()
}

/// Whether it is a day, with or without an hour.
pub(super) fn is_date(text: &str) -> bool {
    matches!(pattern(text, 10).as_str(), "9999-99-99" | "9999/99/99" | "99/99/9999" | "99.99.9999")
}

/// Whether it is a duration in hours, minutes and seconds.
pub(super) fn is_clock(text: &str) -> bool {
    let hours = text.rsplit_once(' ').map_or(text, |(_, hours)| hours);
    let hours = pattern(hours, 8);
    hours.starts_with("9:99:99") || hours == "99:99:99"
}

/// How the JSON of an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Json {
    /// As Python prints a dict.
    Dict,
    /// With its numbers in quotes.
    QuotedNumbers,
    /// With backslashes before its quotes.
    Backslashes,
    /// In single quotes.
    SingleQuotes,
    /// In no quotes.
    Unquoted,
}

/// Whether it is an object of which a member is a text of digits alone.
fn has_quoted_number(field: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(field);
    object.is_ok_and(|object| object.values().any(|value| value.as_str().is_some_and(digits)))
}

/// How the JSON in this field is written.
pub(super) fn json(field: &str) -> Option<Json> {
    if field.starts_with("'{") {
        Some(Json::SingleQuotes)
    } else if field.contains('\\') {
        Some(Json::Backslashes)
    } else if field.starts_with("{'") {
        Some(Json::Dict)
    } else if has_quoted_number(field) {
        Some(Json::QuotedNumbers)
    } else {
        None
    }
}

/// How the JSON in this line is written, which has too many fields.
pub(super) fn json_of_line(line: &str) -> Option<Json> {
    if line.contains(",'{") {
        Some(Json::SingleQuotes)
    } else if line.contains("\\\"") {
        Some(Json::Backslashes)
    } else if line.contains(",{\"") || line.contains(",{'") {
        Some(Json::Unquoted)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number("12.0"), Some(Number::Whole));
        assert_eq!(number("0.25"), Some(Number::Fraction(0.25)));
        assert_eq!(number("1.2e+07"), Some(Number::Exponent));
        assert_eq!(fraction("5.1e-05"), Some(5.1e-5));
        assert_eq!((fraction("12.0"), fraction("1e3")), (None, None));
        for text in ["12", "-1.0", "nan", "inf", "seven", ""] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn thousands() {
        for text in ["10,206,000", "1,000", "10_206_000", "10'206'000", "10.206.000"] {
            assert!(is_grouped(text), "{text}");
        }
        for text in ["10206000", "10.206", "1,0000", "1,000.5", "1000,000", ",000", "1, 000"] {
            assert!(!is_grouped(text), "{text}");
        }
    }

    #[test]
    fn moments() {
        for text in ["2026-01-01", "2026-01-01T00:00:00.010206", "2026-01-01 00:00:00"] {
            assert!(is_date(text), "{text}");
        }
        for text in ["0:00:00.010206", "00:00:01", "0 days 00:00:00.010206000"] {
            assert!(is_clock(text) && !is_date(text), "{text}");
        }
        assert!(!is_clock("12") && !is_clock("1:2") && !is_clock("2026-01-01") && !is_date("12-3"));
    }

    #[test]
    fn objects() {
        assert_eq!(json("{'iteration_id': 0}"), Some(Json::Dict));
        assert_eq!(json("{\\iteration_id\\\": 0}\""), Some(Json::Backslashes));
        assert_eq!(json("{iteration_id: 0}"), None);
        assert_eq!(json("{\"iteration_id\": \"0\"}"), Some(Json::QuotedNumbers));
        assert_eq!(json("{\"iteration_id\": 0, \"cause\": \"x1\"}"), None);
        assert_eq!(json_of_line("0,e,r,{\"a\": 1, \"b\": 2}"), Some(Json::Unquoted));
        assert_eq!(json_of_line("0,e,r,\"{\\\"a\\\": 1}\""), Some(Json::Backslashes));
        assert_eq!(json_of_line("0,e,r,\"{\"\"a\"\": 1}\",5"), None);
    }
}
