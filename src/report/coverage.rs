//! What a log exercised, as text.

use std::io::{self, Write};

use crate::coverage::{Coverage, Dimension};

/// Writes what was seen of every kind, and what was not.
///
/// # Errors
/// What writing gives.
pub fn write_coverage(coverage: &Coverage, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "coverage:")?;
    for dimension in Dimension::ALL {
        let (seen, missing) = (coverage.seen(dimension), coverage.missing(dimension));
        let expected = dimension.expected();
        let covered = expected.len() - missing.len();
        writeln!(out, "  {:<15} {covered} of {}", dimension.name(), expected.len())?;
        if dimension == Dimension::Rules {
            // Their counts are in the list of rules.
            write_list("never", &missing, out)?;
            continue;
        }
        let times = |(what, count): &(String, u64)| format!("{what} {count}");
        let (expected, others): (Vec<_>, Vec<_>) =
            seen.iter().partition(|(what, _)| expected.contains(what));
        write_list("seen", &expected.into_iter().map(times).collect::<Vec<_>>(), out)?;
        write_list("never", &missing, out)?;
        write_list("beyond", &others.into_iter().map(times).collect::<Vec<_>>(), out)?;
    }
    Ok(())
}

fn write_list(label: &str, items: &[String], out: &mut dyn Write) -> io::Result<()> {
    const WIDTH: usize = 96;
    if items.is_empty() {
        return Ok(());
    }
    let mut line = format!("    {label:<7}");
    for (index, item) in items.iter().enumerate() {
        let separator = if index + 1 < items.len() { "," } else { "" };
        if line.len() + item.len() > WIDTH {
            writeln!(out, "{}", line.trim_end())?;
            line = " ".repeat(11);
        }
        line.push(' ');
        line.push_str(item);
        line.push_str(separator);
    }
    writeln!(out, "{line}")
}
