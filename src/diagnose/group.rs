//! Repeated findings together, with what follows from them.

use std::collections::BTreeMap;

use crate::check::{CheckReport, Declaration, Finding, RuleOutcome, Severity};
use crate::diagnose::causes::{self, Cause};
use crate::diagnose::fold::Item;
use crate::diagnose::shape::shape;
use crate::diagnose::story::Story;
use crate::log::schema::Table;

/// Findings of another rule that follow from those of a group.
#[derive(Debug)]
pub struct Consequence<'a> {
    /// The rule.
    pub rule: &'static Declaration,
    /// Its findings.
    pub findings: Vec<&'a Finding>,
}

/// Findings of one rule that are alike.
#[derive(Debug)]
pub struct Group<'a> {
    /// The rule's part of the report.
    pub outcome: &'a RuleOutcome,
    /// How bad they are.
    pub severity: Severity,
    /// The message without its values.
    pub shape: String,
    /// The findings, in the order in which they were found.
    pub findings: Vec<&'a Finding>,
    /// What follows from them, in the order of the rules.
    pub consequences: Vec<Consequence<'a>>,
    /// What they have in common.
    pub causes: Vec<Cause>,
    /// For the first findings: what the log says of their requests.
    pub stories: Vec<Option<Story>>,
}

impl<'a> Group<'a> {
    /// Whether both have one cause, which is how the values of one column, or the times of one file, are wrong.
    fn is_of_one_mistake_with(&self, other: &Self) -> bool {
        let told = |cause: &&Cause| !causes::is_of_places(cause.id);
        let same = |cause: &Cause| {
            let in_row = [self, other].map(|it| it.place().map(|(table, _)| table));
            other.causes.contains(cause)
                && (self.place().is_some() && self.place() == other.place()
                    || causes::names_its_place(cause) && in_row[0] == in_row[1]
                    || cause.text.contains(".csv"))
        };
        self.severity == other.severity && self.causes.iter().filter(told).any(same)
    }

    fn take_in(&mut self, other: Self) {
        let own = Consequence { rule: other.rule(), findings: other.findings };
        for consequence in std::iter::once(own).chain(other.consequences) {
            let rule = consequence.rule.id;
            match self.consequences.iter_mut().find(|it| it.rule.id == rule) {
                Some(same) => same.findings.extend(consequence.findings),
                None => self.consequences.push(consequence),
            }
        }
    }

    /// The rule.
    #[must_use]
    pub const fn rule(&self) -> &'static Declaration {
        self.outcome.rule
    }

    /// The table and column that the findings point at.
    #[must_use]
    pub fn place(&self) -> Option<(Table, Option<&'static str>)> {
        place(self.findings.first()?)
    }

    /// How many findings follow from these.
    #[must_use]
    pub fn folded(&self) -> usize {
        self.consequences.iter().map(|consequence| consequence.findings.len()).sum()
    }
}

fn place(finding: &Finding) -> Option<(Table, Option<&'static str>)> {
    finding.primary.as_ref().map(|mark| (mark.at.table, mark.column))
}

/// Groups the roots; those of which a loss is known come first, then those with consequences, then the
/// order of the rules counts. `leads` are the findings that name a loss.
pub(super) fn group<'a>(
    report: &'a CheckReport,
    items: &[Item<'a>],
    leads: Vec<(usize, Cause)>,
) -> Vec<Group<'a>> {
    let mut index: BTreeMap<_, usize> = BTreeMap::new();
    let mut groups: Vec<(usize, Group<'a>)> = Vec::new();
    let mut group_of: Vec<usize> = vec![0; items.len()];
    for (number, item) in items.iter().enumerate().filter(|(_, item)| item.root.is_none()) {
        let shape = shape(item.finding);
        let key = (item.rule, item.severity, place(item.finding), shape.clone());
        let slot = *index.entry(key).or_insert_with(|| {
            let outcome = &report.rules[item.rule];
            groups.push((item.rule, empty(outcome, item.severity, shape)));
            groups.len() - 1
        });
        groups[slot].1.findings.push(item.finding);
        group_of[number] = slot;
    }
    for (item, root) in items.iter().filter_map(|item| Some((item, item.root?))) {
        let rule = report.rules[item.rule].rule;
        let consequences = &mut groups[group_of[root]].1.consequences;
        match consequences.iter_mut().find(|other| other.rule.id == rule.id) {
            Some(consequence) => consequence.findings.push(item.finding),
            None => consequences.push(Consequence { rule, findings: vec![item.finding] }),
        }
    }
    for (lead, cause) in leads {
        groups[group_of[lead]].1.causes.push(cause);
    }
    groups.sort_by_key(|(rule, group)| {
        let alone = (group.causes.is_empty(), group.consequences.is_empty());
        (std::cmp::Reverse(group.severity), alone, *rule)
    });
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Folds groups under an earlier one of the same place of which the values are wrong in the same way: that is one
/// mistake, which several rules have seen.
pub(super) fn merge(groups: &mut Vec<Group<'_>>) {
    let mut kept: Vec<Group<'_>> = Vec::new();
    for group in std::mem::take(groups) {
        match kept.iter_mut().find(|other| other.is_of_one_mistake_with(&group)) {
            Some(other) => other.take_in(group),
            None => kept.push(group),
        }
    }
    *groups = kept;
}

const fn empty(outcome: &RuleOutcome, severity: Severity, shape: String) -> Group<'_> {
    Group {
        outcome,
        severity,
        shape,
        findings: Vec::new(),
        consequences: Vec::new(),
        causes: Vec::new(),
        stories: Vec::new(),
    }
}
