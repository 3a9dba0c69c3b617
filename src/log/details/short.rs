//! The [short cut](crate::log::scan) through an object as loggers write it: known members once each, whole
//! numbers, at most one blank behind a colon or a comma.

use crate::log::details::Details;

/// What is left of the text of a quoted field, in which each quote stands twice.
pub(super) struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn pass(&mut self, text: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Passes over a comma or a colon, and the blank behind it if there is one.
    fn pass_mark(&mut self, mark: u8) -> Option<()> {
        self.pass(&[mark])?;
        self.0 = self.0.strip_prefix(b" ").unwrap_or(self.0);
        Some(())
    }

    /// A string without anything that would have to be escaped.
    pub(super) fn word(&mut self) -> Option<&'a [u8]> {
        self.pass(b"\"\"")?;
        let ordinary = |byte: &u8| matches!(byte, b'a'..=b'z' | b'_');
        let len = self.0.iter().take_while(|byte| ordinary(byte)).count();
        let (word, rest) = self.0.split_at(len);
        self.0 = rest;
        self.pass(b"\"\"")?;
        Some(word)
    }

    /// A number of at most 18 digits, without zeros in front.
    pub(super) fn number(&mut self) -> Option<u64> {
        let len = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(len);
        if !matches!(len, 1..=18) || len > 1 && digits[0] == b'0' {
            return None;
        }
        self.0 = rest;
        Some(digits.iter().fold(0, |value, digit| 10 * value + u64::from(digit - b'0')))
    }

    pub(super) fn short(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let negative = self.pass(b"-").is_some();
        let number = self.number()? as i64;
        // JSON has a zero that is negative, which is no whole number.
        if negative { (number != 0).then_some(-number) } else { Some(number) }
    }
}

/// Reads an object from the text of a quoted field; `None` if it is out of the ordinary.
pub(super) fn object(text: &[u8]) -> Option<Details> {
    let mut rest = Rest(text);
    let mut details = Details::default();
    rest.pass(b"{")?;
    loop {
        let name = rest.word()?;
        rest.pass_mark(b':')?;
        let before = details.members();
        details.read_member(name, &mut rest)?;
        // A member that stands there twice is an error.
        if details.members() == before {
            return None;
        }
        if rest.pass_mark(b',').is_none() {
            break;
        }
    }
    rest.pass(b"}")?;
    rest.0.is_empty().then_some(details)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::field::Field;
    use crate::log::ids::IdTable;
    use crate::log::values::FinishReason;
    use crate::units::{Blocks, IterationId, Priority, Tokens};

    #[test]
    fn what_loggers_write_is_ordinary() {
        let details = Details {
            iteration_id: Some(IterationId(12)),
            priority: Some(Priority(-3)),
            finish_reason: Some(FinishReason::Length),
            blocks: Some(Blocks(0)),
            ..Details::default()
        };
        for text in [
            r#"{""iteration_id"":12,""priority"":-3,""finish_reason"":""length"",""blocks"":0}"#,
            r#"{""finish_reason"": ""length"", ""blocks"": 0, ""priority"": -3, ""iteration_id"": 12}"#,
        ] {
            assert_eq!(object(text.as_bytes()), Some(details), "{text}");
        }
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_left_to_the_long_way() {
        for text in [
            "",
            "{}",
            "{",
            r#"{""blocks"":1"#,
            r#"{""blocks"":1,}"#,
            r#"{""blocks"":1}}"#,
            r#"{""blocks"":01}"#,
            r#"{""blocks"":-1}"#,
            r#"{""blocks"":1.0}"#,
            r#"{""blocks"":4294967296}"#,
            r#"{""blocks"":1,""blocks"":1}"#,
            r#"{""blocks"":null}"#,
            r#"{""block"":1}"#,
            r#"{""priority"":-0}"#,
            r#"{""finish_reason"":""why""}"#,
        ] {
            assert_eq!(object(text.as_bytes()), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_what_the_long_way_reads(
            numbers in proptest::array::uniform9(proptest::option::of(0..2_000_000_u32)),
            blank in proptest::bool::ANY,
            changes in proptest::collection::vec((0..200_usize, b' '..b'~'), 0..3),
        ) {
            let details = Details {
                iteration_id: numbers[0].map(|n| IterationId(u64::from(n))),
                input_tokens: numbers[1].map(Tokens),
                priority: numbers[2].map(|n| Priority(i64::from(n) - 1_000_000)),
                cached_tokens: numbers[3].map(Tokens),
                computed_tokens: numbers[4].map(Tokens),
                lost_tokens: numbers[5].map(Tokens),
                finish_reason: numbers[6].map(|n| FinishReason::ALL[n as usize % FinishReason::ALL.len()]),
                output_tokens: numbers[7].map(Tokens),
                blocks: numbers[8].map(Blocks),
                unknown: false,
            };
            let mut json = serde_json::to_string(&details).unwrap();
            if blank {
                json = json.replace(':', ": ").replace(',', ", ");
            }
            if !details.is_empty() && numbers[2] != Some(1_000_000) {
                proptest::prop_assert_eq!(object(json.replace('"', "\"\"").as_bytes()), Some(details));
            }
            for (at, byte) in changes {
                let at = at % json.len();
                json.replace_range(at..=at, char::from(byte).encode_utf8(&mut [0; 4]));
            }
            if let Some(details) = object(json.replace('"', "\"\"").as_bytes()) {
                let long = Details::parse(json.as_bytes(), &mut IdTable::default());
                proptest::prop_assert_eq!(long, Ok(details));
            }
        }
    }
}
