//! Folds findings under those that they follow from.

use std::collections::BTreeMap;

use crate::check::{CheckReport, Finding, Severity};
use crate::diagnose::dependencies::{DEPENDENCIES, Shared};

/// A finding of the report and the one that it follows from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    /// The index of its rule in the report.
    pub(super) rule: usize,
    pub(super) finding: &'a Finding,
    pub(super) severity: Severity,
    /// The index of its root, if it is a consequence.
    pub(super) root: Option<usize>,
}

/// What findings are found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Request(&'a str),
    Iteration(u64),
    Log,
}

fn key(finding: &Finding, shared: Shared) -> Option<Key<'_>> {
    match shared {
        Shared::Request => finding.request.as_deref().map(Key::Request),
        Shared::Iteration => finding.iteration.map(|id| Key::Iteration(id.0)),
        Shared::Log => {
            (finding.request.is_none() && finding.iteration.is_none()).then_some(Key::Log)
        }
        Shared::All => Some(Key::Log),
    }
}

/// Every kept finding in the order of the report, with its root.
pub(super) fn fold(report: &CheckReport) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    for (rule, outcome) in report.rules.iter().enumerate() {
        for finding in &outcome.findings {
            let severity = finding.severity.unwrap_or(outcome.rule.severity);
            items.push(Item { rule, finding, severity, root: None });
        }
    }
    let id = |item: &Item<'_>| report.rules[item.rule].rule.id;
    let mut first: BTreeMap<(&str, Key<'_>), usize> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        for shared in [Shared::Request, Shared::Iteration, Shared::Log] {
            if let Some(key) = key(item.finding, shared) {
                first.entry((id(item), key)).or_insert(index);
            }
        }
    }
    let parents: Vec<Option<usize>> = items
        .iter()
        .map(|item| {
            let follows = DEPENDENCIES.iter().filter(|dependency| {
                dependency.consequences.contains(&id(item)) && dependency.root != id(item)
            });
            follows
                .filter_map(|dependency| {
                    let key = key(item.finding, dependency.shared)?;
                    first.get(&(dependency.root, key)).copied()
                })
                // Something worse is never hidden under something lighter.
                .find(|parent| items[*parent].severity >= item.severity)
        })
        .collect();
    for index in 0..items.len() {
        let mut root = parents[index];
        // The table has no cycle, so that this ends.
        while let Some(next) = root.and_then(|root| parents[root]) {
            root = Some(next);
        }
        items[index].root = root;
    }
    items
}
