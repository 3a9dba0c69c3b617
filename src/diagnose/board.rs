//! The findings of a report, of which explanations of whole files take away what follows from them.

use std::collections::BTreeSet;

use crate::check::{CheckReport, Finding, Severity};
use crate::diagnose::causes::Cause;
use crate::diagnose::fold::Item;
use crate::log::schema::Table;

/// A finding as an explanation sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) rule: &'static str,
    pub(super) finding: &'a Finding,
    pub(super) severity: Severity,
    /// Whether it would be an error if the beginning of the log were not missing.
    pub(super) is_excused: bool,
}

impl<'a> Seen<'a> {
    /// Whether something contradicts itself.
    pub(super) const fn is_error(&self) -> bool {
        matches!(self.severity, Severity::Error) || self.is_excused
    }

    pub(super) fn request(&self) -> Option<&'a str> {
        self.finding.request.as_deref()
    }

    pub(super) fn iteration(&self) -> Option<u64> {
        self.finding.iteration.map(|id| id.0)
    }

    pub(super) fn column(&self) -> Option<&'static str> {
        self.finding.primary.as_ref().and_then(|mark| mark.column)
    }

    pub(super) fn table(&self) -> Option<Table> {
        self.finding.primary.as_ref().map(|mark| mark.at.table)
    }

    pub(super) fn is(&self, rules: &[&str]) -> bool {
        rules.contains(&self.rule)
    }

    /// Expected and actual, where both are whole numbers.
    pub(super) fn values(&self) -> Option<(i128, i128)> {
        let number = |text: &Option<String>| text.as_ref()?.parse::<i128>().ok();
        number(&self.finding.expected).zip(number(&self.finding.actual))
    }

    /// Whether rows are more than what counts them.
    pub(super) fn adds(&self) -> bool {
        self.values().is_some_and(|(rows, counted)| rows > counted)
    }

    /// Whether rows are fewer than what counts them: less is expected than found. What is no count may be
    /// so.
    pub(super) fn lacks(&self) -> bool {
        !self.is(&["Q001", "Q003", "K002", "C003", "X002"])
            || self.values().is_none_or(|(rows, counted)| match self.rule {
                // Here it is the rows that are found.
                "X002" => counted < rows,
                _ => rows < counted,
            })
    }
}

/// What is wrong with a file or the log as a whole.
pub(super) struct Claim<'l> {
    pub(super) cause: &'static str,
    pub(super) text: String,
    /// The rules whose finding names it, the best first.
    pub(super) lead: &'static [&'static str],
    pub(super) explains: Box<dyn Fn(&Seen<'_>) -> bool + 'l>,
}

/// The findings, of which claims take away what they explain.
pub(super) struct Board<'i, 'a> {
    items: &'i mut [Item<'a>],
    seen: Vec<Seen<'a>>,
    taken: Vec<bool>,
    leads: Vec<(usize, Cause)>,
}

impl<'i, 'a> Board<'i, 'a> {
    pub(super) fn of(report: &CheckReport, items: &'i mut [Item<'a>]) -> Self {
        let seen: Vec<_> = items
            .iter()
            .map(|item| {
                let Item { finding, severity, .. } = *item;
                let rule = report.rules[item.rule].rule;
                let is_excused = report.begins_late
                    && severity == Severity::Damage
                    && rule.severity == Severity::Error;
                Seen { rule: rule.id, finding, severity, is_excused }
            })
            .collect();
        let taken = vec![false; items.len()];
        Self { items, seen, taken, leads: Vec::new() }
    }

    /// The findings that lead, and what they lead.
    pub(super) fn into_leads(self) -> Vec<(usize, Cause)> {
        self.leads
    }

    /// Findings of errors that nothing has explained yet.
    pub(super) fn open(&self) -> impl Iterator<Item = Seen<'a>> {
        let errors = self.seen.iter().zip(&self.taken);
        errors.filter(|(seen, taken)| !**taken && seen.is_error()).map(|(seen, _)| *seen)
    }

    /// All findings, of whatever severity.
    pub(super) fn all(&self) -> impl Iterator<Item = Seen<'a>> {
        self.seen.iter().copied()
    }

    pub(super) fn has(&self, rules: &[&str]) -> bool {
        self.open().any(|seen| seen.is(rules))
    }

    /// The iterations of findings of a rule, in order.
    pub(super) fn iterations(&self, wanted: impl Fn(&Seen<'_>) -> bool) -> Vec<u64> {
        let all: BTreeSet<u64> =
            self.open().filter(wanted).filter_map(|seen| seen.iteration()).collect();
        all.into_iter().collect()
    }

    /// Folds what the claim explains under the finding that names it.
    pub(super) fn claim(&mut self, claim: Claim<'_>) {
        if let Some(lead) = self.fold(claim.lead, claim.explains) {
            self.leads.push((lead, Cause { id: claim.cause, text: claim.text }));
        }
    }

    /// Takes findings away from roots that are to be explained without them.
    pub(super) fn part(&mut self, stays: impl Fn(&Seen<'_>) -> bool) {
        let stay: Vec<bool> = self.seen.iter().map(stays).collect();
        for (index, item) in self.items.iter_mut().enumerate() {
            item.root = item.root.filter(|root| !stay[index] || stay[*root]);
        }
    }

    /// Folds some findings under the best of them, of these rules, and returns that.
    pub(super) fn fold(
        &mut self,
        lead: &[&str],
        explains: impl Fn(&Seen<'_>) -> bool,
    ) -> Option<usize> {
        let explained: Vec<usize> = (0..self.seen.len())
            .filter(|index| !self.taken[*index] && explains(&self.seen[*index]))
            .collect();
        let step = |seen: &Seen<'_>| seen.values().filter(|_| seen.rule == "M011");
        let goes_back =
            self.seen.iter().any(|seen| step(seen).is_some_and(|(next, found)| found < next));
        let place = |index: &usize| {
            let seen = &self.seen[*index];
            let rank = lead.iter().position(|rule| *rule == seen.rule)?;
            // One that says what there is too much of because something else is missing comes last, and one
            // that says that steps are missing which come later.
            let jumps = goes_back && step(seen).is_some_and(|(next, found)| next < found);
            let crooked = jumps || seen.rule == "X002" && !seen.lacks();
            seen.is_error().then_some((crooked, rank, *index))
        };
        let (_, _, lead) = explained.iter().filter_map(place).min()?;
        for index in 0..self.items.len() {
            let follows = explained.contains(&index)
                || self.items[index].root.is_some_and(|root| explained.contains(&root));
            if follows && index != lead {
                self.items[index].root = Some(lead);
                self.taken[index] = true;
            }
        }
        self.items[lead].root = None;
        self.taken[lead] = true;
        Some(lead)
    }
}
