//! Spellings that vLLM's command line takes and clap does not, and values of several commands.

use std::ffi::OsString;

use crate::log::values::LogLevel;
use crate::settings::{SETTINGS, UNSUPPORTED};
use crate::trace::parse_duration;
use crate::units::Nanos;

/// The value of `--log-level`.
pub(super) fn log_level(text: &str) -> Result<LogLevel, String> {
    LogLevel::from_bytes(text.as_bytes()).ok_or_else(|| "give full, standard or summary".to_owned())
}

/// The value of a flag that is a length of time.
pub(super) fn span(text: &str) -> Result<Nanos, String> {
    parse_duration(text).map_err(|error| {
        format!("{error}; give seconds, or a number with ns, us, ms, s, m or h, such as 1.5h")
    })
}

/// Brings flags into one spelling: `--max_num_seqs` is `--max-num-seqs`, `--no-SWITCH` is
/// `--SWITCH=false`. Settings that the model does not have are refused here, by name.
///
/// # Errors
/// Names the first flag that asks for something that is not modelled.
pub(super) fn normalise(
    arguments: impl Iterator<Item = OsString>,
) -> anyhow::Result<Vec<OsString>> {
    let mut literal = false;
    arguments
        .map(|argument| {
            // Behind `--` everything is a name.
            literal |= argument == "--";
            match argument.to_str().and_then(|text| text.strip_prefix("--")) {
                Some(flag) if !literal && !flag.is_empty() => flag_spelling(flag),
                _ => Ok(argument),
            }
        })
        .collect()
}

fn flag_spelling(flag: &str) -> anyhow::Result<OsString> {
    let (name, value) = match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    };
    let name = name.replace('_', "-");
    let setting = name.replace('-', "_");
    if let Some((_, what)) = UNSUPPORTED.iter().find(|(refused, _)| *refused == setting) {
        anyhow::bail!("--{name} asks for {what}, which the model does not have; leave it out");
    }
    let positive = setting.strip_prefix("no_");
    let switch = SETTINGS.iter().find(|info| info.is_switch() && Some(info.name) == positive);
    Ok(match (switch, value) {
        (Some(info), None) => format!("{}=false", info.flag()).into(),
        (_, Some(value)) => format!("--{name}={value}").into(),
        (_, None) => format!("--{name}").into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spell(arguments: &[&str]) -> anyhow::Result<Vec<OsString>> {
        normalise(arguments.iter().map(OsString::from))
    }

    #[test]
    fn vllm_spellings_are_understood() {
        let spelled =
            spell(&["--max_num_seqs=4", "--no-enable-prefix-caching", "--", "--no_such"]).unwrap();
        assert_eq!(
            spelled,
            ["--max-num-seqs=4", "--enable-prefix-caching=false", "--", "--no_such"]
        );
    }

    #[test]
    fn what_is_not_modelled_is_refused_by_name() {
        let error = spell(&["--pipeline-parallel-size", "2"]).unwrap_err().to_string();
        assert!(error.contains("pipeline parallelism"), "{error}");
    }
}
