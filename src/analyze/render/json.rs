//! The analysis for programs: `schedlog.analyze/1`.

use serde::Serializer;

use crate::analyze::model::Analysis;

/// The analysis as indented JSON with a final line break.
///
/// # Errors
/// What serialising gives; there is no analysis for which it does.
pub fn to_json(analysis: &Analysis) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(analysis)?;
    text.push('\n');
    Ok(text)
}

/// Serialises a sum over requests: whole as long as readers of JSON can take it, else rounded.
///
/// # Errors
/// What the serialiser gives.
pub(crate) fn wide<S: Serializer>(sum: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    match u64::try_from(*sum) {
        Ok(sum) => serializer.serialize_u64(sum),
        Err(_) => serializer.serialize_f64(*sum as f64),
    }
}

/// As [`wide`], where the sum may be unknown.
///
/// # Errors
/// What the serialiser gives.
pub(crate) fn wide_option<S: Serializer>(
    sum: &Option<u128>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match sum {
        Some(sum) => wide(sum, serializer),
        None => serializer.serialize_none(),
    }
}
