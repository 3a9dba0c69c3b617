//! The end of the text: the files, the dialect, the rules and the verdict.

use std::io::{self, Write};

use crate::check::{Outcome, RuleOutcome, Verdict};
use crate::policy::{Applied, Match};
use crate::report::Sheet;
use crate::report::coverage::write_coverage;
use crate::report::text::TextOptions;
use crate::units::counted;

pub(super) fn write_summary(
    sheet: &Sheet<'_>,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let report = sheet.report;
    for table in &report.tables {
        match &table.file {
            Some(file) => {
                let rows = if table.rows == 1 { "row" } else { "rows" };
                writeln!(out, "{file:<30} {:>12} {rows}", table.rows)?;
            }
            None => writeln!(out, "{:<30} not there", table.table.file_name())?,
        }
    }
    let habits: Vec<_> = report.dialect.habits().map(|habit| habit.name()).collect();
    let dialect = if habits.is_empty() { "reference".to_owned() } else { habits.join(", ") };
    let steps = if report.overlapping { ", overlapping steps" } else { "" };
    writeln!(out, "dialect: {dialect}{steps}")?;
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    writeln!(out)?;
    if options.rules {
        for rule in &report.rules {
            write_rule(rule, out)?;
        }
        for (id, name) in &sheet.applied.deselected {
            writeln!(out, "{id} {name:<34} not run        deselected")?;
        }
        writeln!(out)?;
    }
    if let Some(coverage) = sheet.coverage {
        write_coverage(coverage, out)?;
        writeln!(out)?;
    }
    write_applied(sheet.applied, out)?;
    write_counts(sheet, out)?;
    write_verdict(sheet, out)
}

fn write_rule(rule: &RuleOutcome, out: &mut dyn Write) -> io::Result<()> {
    let (id, name) = (rule.rule.id, rule.rule.name);
    match &rule.outcome {
        Outcome::Holds { exercised } => {
            let compared = counted(*exercised, "comparison", "comparisons");
            writeln!(out, "{id} {name:<34} holds          {compared}")
        }
        Outcome::Violated { count } => {
            let found = counted(*count, "finding", "findings");
            writeln!(out, "{id} {name:<34} violated       {found}")
        }
        Outcome::NotExercised { reason } => {
            writeln!(out, "{id} {name:<34} not exercised  {reason}")
        }
    }
}

/// What the user's policy did.
fn write_applied(applied: &Applied, out: &mut dyn Write) -> io::Result<()> {
    if let Some(config) = &applied.config {
        writeln!(out, "config: {}", config.display())?;
    }
    for changed in &applied.severities {
        let (rule, from, to) = (changed.rule, changed.from, changed.to);
        writeln!(out, "severity: {rule} counts as {to} instead of {from}")?;
    }
    if let Some(accepted) = &applied.accepted {
        let by_rule: Vec<_> =
            accepted.by_rule.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
        let list = if by_rule.is_empty() { "none".to_owned() } else { by_rule.join(", ") };
        let (findings, listed, shows) = match accepted.matching {
            Match::Exact => {
                ("findings", "listed", "a new one among them shows only where their number grows")
            }
            Match::Kind => {
                ("kinds of findings", "kinds listed", "a new kind among them does not show")
            }
        };
        write!(out, "known {findings} in {}: {list}", accepted.path.display())?;
        match accepted.stale {
            0 => writeln!(out)?,
            stale => writeln!(out, "; {stale} {listed} there were not found again")?,
        }
        for (rule, count) in &accepted.by_number {
            writeln!(
                out,
                "known by number only: {} of {rule} beyond the first thousand, which are not told apart: \
                 {shows}",
                counted(*count, "finding", "findings")
            )?;
        }
    }
    Ok(())
}

fn write_counts(sheet: &Sheet<'_>, out: &mut dyn Write) -> io::Result<()> {
    let count = |wanted: fn(&Outcome) -> bool| {
        sheet.report.rules.iter().filter(|rule| wanted(&rule.outcome)).count()
    };
    let holds = count(|outcome| matches!(outcome, Outcome::Holds { .. }));
    let violated = count(|outcome| matches!(outcome, Outcome::Violated { .. }));
    let idle = count(|outcome| matches!(outcome, Outcome::NotExercised { .. }));
    let hold = if holds == 1 { "holds" } else { "hold" };
    write!(out, "rules: {holds} {hold}, {violated} with findings, {idle} not exercised")?;
    let deselected = &sheet.applied.deselected;
    if deselected.is_empty() {
        return writeln!(out);
    }
    let ids: Vec<_> = deselected.iter().map(|(id, _)| *id).collect();
    writeln!(out, ", {} not run ({})", ids.len(), ranges(&ids))
}

fn write_verdict(sheet: &Sheet<'_>, out: &mut dyn Write) -> io::Result<()> {
    let (errors, damages, warnings) = sheet.report.counts();
    let verdict = sheet.report.verdict();
    write!(
        out,
        "verdict: {} ({}, {}, {}",
        verdict.as_str(),
        counted(errors, "error", "errors"),
        counted(damages, "damage", "damages"),
        counted(warnings, "warning", "warnings")
    )?;
    let known = sheet.applied.accepted.as_ref().map_or(0, |accepted| accepted.total());
    if known > 0 {
        write!(out, "; {} not counted", counted(known, "known finding", "known findings"))?;
    }
    write!(out, ")")?;
    if verdict == Verdict::Clean && !sheet.applied.deselected.is_empty() {
        write!(out, " by the rules that were run")?;
    }
    if let Some(told) = ignored_damage(sheet.applied) {
        write!(out, ", {told}")?;
    }
    writeln!(out)
}

/// That deselected rules found damage.
pub(super) fn ignored_damage(applied: &Applied) -> Option<String> {
    let ids: Vec<_> = applied.ignored.keys().copied().collect();
    let of = (!ids.is_empty()).then(|| ids.join(", "))?;
    let count = counted(applied.ignored.values().sum(), "damage is", "damages are");
    Some(format!("but the log is damaged: {count} ignored ({of})"))
}

/// Ids with neighbours of one family joined: `M001-M003, Q002`.
fn ranges(ids: &[&str]) -> String {
    let number = |id: &str| id.get(1..).and_then(|digits| digits.parse::<u32>().ok());
    let follows = |first: &str, second: &str| {
        first.get(..1) == second.get(..1)
            && number(first).is_some_and(|first| number(second) == Some(first + 1))
    };
    let mut parts: Vec<(&str, &str)> = Vec::new();
    for id in ids {
        match parts.last_mut() {
            Some((_, last)) if follows(last, id) => *last = id,
            _ => parts.push((id, id)),
        }
    }
    let text = |(first, last): &(&str, &str)| match first == last {
        true => (*first).to_owned(),
        false => format!("{first}-{last}"),
    };
    parts.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn neighbours_are_joined() {
        assert_eq!(ranges(&["M001", "M002", "M003", "Q001", "Q003"]), "M001-M003, Q001, Q003");
        assert_eq!(ranges(&["M014", "K001"]), "M014, K001");
    }
}
