//! Findings as annotations of GitHub's workflow commands.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::check::{Finding, Severity};
use crate::diagnose::{Group, SHOWN_FINDINGS};
use crate::report::explain::about;
use crate::report::summary::ignored_damage;
use crate::report::{Sheet, Suite, visible};
use crate::units::counted;

/// Writes the first findings of every group, a line each, and the verdicts as notices; what was not
/// checked or covered is an error.
///
/// # Errors
/// What writing gives.
pub fn write_annotations(suite: &Suite<'_>, out: &mut dyn Write) -> io::Result<()> {
    for sheet in suite.sheets {
        write_sheet(sheet, out)?;
    }
    let unread = suite.unread.iter().map(|it| format!("not checked: {}", it.error));
    let uncovered = suite.uncovered.iter().map(|text| format!("not covered: {text}"));
    for text in unread.chain(uncovered) {
        writeln!(out, "::error title=schedlog::{}", data(&text))?;
    }
    Ok(())
}

fn write_sheet(sheet: &Sheet<'_>, out: &mut dyn Write) -> io::Result<()> {
    for group in &sheet.diagnosis.groups {
        for (index, finding) in group.findings.iter().take(SHOWN_FINDINGS).enumerate() {
            write_finding(sheet, group, finding, index == 0, out)?;
        }
    }
    let (errors, damages, warnings) = sheet.report.counts();
    let directory = data(&sheet.report.directory.display().to_string());
    for note in &sheet.report.notes {
        writeln!(out, "::notice title=schedlog::{directory}: {}", data(&visible(note)))?;
    }
    let known = sheet.applied.accepted.as_ref().map_or(0, |accepted| accepted.total());
    let verdict = sheet.report.verdict().as_str();
    let ignored = ignored_damage(sheet.applied);
    let command = if ignored.is_some() { "warning" } else { "notice" };
    let ignored = ignored.map_or_else(String::new, |told| format!(", {told}"));
    writeln!(
        out,
        "::{command} title=schedlog::{directory}: {verdict}, {}, {}, {}, {}, {} not run{ignored}",
        counted(errors, "error", "errors"),
        counted(damages, "damage", "damages"),
        counted(warnings, "warning", "warnings"),
        counted(known, "known finding", "known findings"),
        counted(sheet.applied.deselected.len() as u64, "rule", "rules")
    )
}

fn write_finding(
    sheet: &Sheet<'_>,
    group: &Group<'_>,
    finding: &Finding,
    first: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let command = match group.severity {
        Severity::Error | Severity::Damage => "error",
        Severity::Warning => "warning",
    };
    write!(out, "::{command} ")?;
    if let Some(mark) = &finding.primary {
        let file = property(&sheet.path(mark.at.table).display().to_string());
        write!(out, "file={file},line={},", mark.at.line)?;
        if let Some((start, end)) = sheet.columns(mark) {
            write!(out, "col={start},endColumn={end},")?;
        }
    } else if let Some(table) = finding.file {
        write!(out, "file={},", property(&sheet.path(table).display().to_string()))?;
    }
    let rule = group.rule();
    let mut message = visible(&finding.message);
    // Writing to a string does not fail.
    if let Some(about) = about(finding) {
        let _ = write!(message, "\n{about}");
    }
    for cause in group.causes.iter().filter(|_| first) {
        let _ = write!(message, "\nlikely cause: {}", visible(&cause.text));
    }
    if first && group.findings.len() > 1 {
        let _ = write!(message, "\n{} findings like this", group.findings.len());
    }
    if first && group.folded() > 0 {
        let ids: Vec<_> = group.consequences.iter().map(|it| it.rule.id).collect();
        let _ = write!(message, "\nbecause of it also: {}", ids.join(", "));
    }
    writeln!(out, "title={} {}::{}", rule.id, property(rule.name), data(&message))
}

/// The text of a command's message.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_command_is_escaped() {
        assert_eq!(data("100 %\nnext: a,b"), "100 %25%0Anext: a,b");
        assert_eq!(property("C:\\a,b\r"), "C%3A\\a%2Cb%0D");
    }
}
