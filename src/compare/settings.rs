//! Which settings of two runs differ.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::log::run_info::RunInfo;

/// A setting that is not the same in all runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Its name in run.json: a key of `config`, a key of `trace` behind `trace.`, or a member.
    pub setting: String,
    /// Per run; null where run.json does not tell.
    pub values: Vec<Value>,
}

/// The settings that differ, in order of name; a run without run.json tells nothing.
#[must_use]
pub fn differences(runs: &[Option<RunInfo>]) -> Vec<Difference> {
    let told: Vec<_> = runs.iter().map(|info| info.as_ref().map(settings)).collect();
    let names: BTreeSet<_> = told.iter().flatten().flat_map(BTreeMap::keys).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let value = |run: &Option<BTreeMap<String, Value>>| {
                run.as_ref().and_then(|run| run.get(name)).cloned().unwrap_or(Value::Null)
            };
            let known = told.iter().filter(|run| run.is_some()).map(value);
            let distinct = known.collect::<Vec<_>>().windows(2).any(|pair| pair[0] != pair[1]);
            distinct.then(|| Difference {
                setting: name.clone(),
                values: told.iter().map(value).collect(),
            })
        })
        .collect()
}

fn settings(info: &RunInfo) -> BTreeMap<String, Value> {
    let mut settings = info.config.clone();
    let traces = info.trace.iter().map(|(name, value)| (format!("trace.{name}"), value.clone()));
    settings.extend(traces);
    let producer = format!("{} {}", info.producer.name, info.producer.version);
    settings.insert("producer".to_owned(), producer.into());
    settings.insert("engine".to_owned(), info.engine.clone().into());
    settings.insert("overlapping_steps".to_owned(), info.overlapping_steps.into());
    settings.insert("log_level".to_owned(), info.log_level.as_str().into());
    settings
}
