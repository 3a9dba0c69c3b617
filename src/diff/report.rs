//! The differences as text.

use std::fmt::Write as _;

use crate::diff::{DiffReport, Difference, Side};
use crate::units::counted;

/// The report as a user reads it: what differs first, in context, then the rest in a line each.
#[must_use]
pub fn render(report: &DiffReport) -> String {
    let mut text = String::new();
    for setting in &report.settings {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "setting {setting}");
    }
    let Some((first, others)) = report.differences.split_first() else {
        let rows = counted(report.rows, "row", "rows");
        let _ = writeln!(text, "the same: {rows} compared");
        return text;
    };
    let _ = writeln!(text, "{} differ, first in {}", first.class.as_str(), first.table);
    context(&mut text, first);
    for other in others {
        let _ = writeln!(text, "{}: {}", other.table, count(other));
    }
    text
}

fn count(difference: &Difference) -> String {
    let line =
        [&difference.golden, &difference.new].into_iter().flatten().map(|side| side.line).min();
    match (difference.rows, line) {
        (0, _) => "only one side has the file".to_owned(),
        (1, Some(line)) => format!("1 row differs, at line {line}"),
        (rows, line) => format!("{rows} rows differ, from line {} on", line.unwrap_or_default()),
    }
}

fn context(text: &mut String, difference: &Difference) {
    if difference.rows == 0 {
        let _ = writeln!(text, "  only one side has the file");
        return;
    }
    let columns: Vec<_> =
        difference.table.schema().columns.iter().map(|column| column.name).collect();
    let _ = writeln!(text, "         {}", columns.join(","));
    for row in &difference.before {
        let _ = writeln!(text, "         {row}");
    }
    side(text, "golden", difference.golden.as_ref());
    side(text, "new   ", difference.new.as_ref());
    for field in &difference.fields {
        let shown =
            |value: &str| if value.is_empty() { "empty".to_owned() } else { value.to_owned() };
        let (golden, new) = (shown(&field.golden), shown(&field.new));
        let _ = writeln!(text, "  {}: {golden} -> {new}", field.column);
    }
    let _ = writeln!(text, "{}: {}", difference.table, count(difference));
}

fn side(text: &mut String, name: &str, side: Option<&Side>) {
    let _ = match side {
        Some(side) => writeln!(text, "{name} > {}  (line {})", side.text, side.line),
        None => writeln!(text, "{name} > no such row"),
    };
}
